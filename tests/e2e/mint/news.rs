//! Miners that have asked hear of their credits (extension 0x4548), and nobody else does.

use gopool_sv2_tests::attacker::Attacker;
use gopool_sv2_tests::peer::{Event, Kind, News, Peer, Place, MINT_CREDITS};
use gopool_sv2_tests::supply::Supply;
use gopool_sv2_tests::{Heard, CHANNEL_BIT};
use tokio::time::timeout;

use super::*;

/// 2^-16: a share makes one unit.
const DIFFICULTY: &str = "0.0000152587890625";
/// After this long nothing more is coming to somebody who should hear nothing.
const QUIET: Duration = Duration::from_secs(1);

fn even_rig() -> Rig {
    rig_with(&["-min-difficulty", DIFFICULTY, "-max-difficulty", DIFFICULTY])
}

fn user(rig: &Rig, key: Option<&str>) -> String {
    let key = key.map(|key| format!("~ehash={key}")).unwrap_or_default();
    format!("{}.rig{key}", rig.line.address)
}

/// A miner with one channel.
struct Miner {
    peer: Peer,
    sent: u32,
}

impl Miner {
    /// All have the same name. `asks`: for the extension.
    async fn start(rig: &Rig, key: Option<&str>, asks: bool) -> Self {
        let (url, user) = (rig.line.pool_url().unwrap(), user(rig, key));
        let place = Place { url, user, hash_rate: 1.0, sources: None, numbers: None };
        let mut peer = Peer::connect(&place, Kind::Extended).await.unwrap();
        if asks {
            peer.hear_of_credits().await.unwrap();
        }
        peer.open(&place).await.unwrap();
        peer.first_job().await.unwrap();
        Self { peer, sent: 0 }
    }

    fn channel(&self) -> u32 {
        self.peer.channel_id().unwrap()
    }

    /// Mines so many shares; each must be accepted.
    async fn mine(&mut self, shares: u32) {
        for _ in 0..shares {
            // The seed is the extranonce: no header comes twice.
            let mut supply = Supply::new(self.peer.task().unwrap(), self.sent.into());
            self.peer.submit(self.sent, &supply.share().unwrap(), "").unwrap();
            self.peer.flush().await.unwrap();
            self.sent += 1;
        }
        let mut open = shares;
        while open > 0 {
            match self.peer.event().await.unwrap() {
                Event::Accepted { count, .. } => open -= count,
                event @ Event::Rejected { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
    }

    /// What it is told, until it is as wanted.
    async fn hears(&mut self, what: &str, wanted: impl Fn(&[News]) -> bool) -> Vec<News> {
        let mut heard = self.peer.news();
        while !wanted(&heard) {
            let event = timeout(PATIENCE, self.peer.event()).await;
            event.unwrap_or_else(|_| panic!("never: {what}; heard: {heard:?}")).unwrap();
            heard.extend(self.peer.news());
        }
        heard
    }

    /// What it is told of credits, until they make so much.
    async fn hears_of(&mut self, amount: u64) -> Vec<Credited> {
        let credits = |heard: &[News]| heard.iter().map(credited).collect::<Vec<_>>();
        let sum = |heard: &[News]| credits(heard).iter().map(|credit| credit.amount).sum::<u64>();
        credits(&self.hears("all credits are told", |heard| sum(heard) >= amount).await)
    }

    async fn hears_nothing(&mut self) {
        while let Ok(event) = timeout(QUIET, self.peer.event()).await {
            event.unwrap();
        }
        assert_eq!(self.peer.news(), []);
    }
}

/// A MintCreditNotification.
#[derive(Debug, PartialEq)]
struct Credited {
    channel: u32,
    seq: u64,
    quote: String,
    amount: u64,
    paid: u64,
    url: String,
}

fn credited(news: &News) -> Credited {
    match news.clone() {
        News::Credited {
            channel_id: channel,
            credit_seq: seq,
            quote_id: quote,
            amount,
            amount_paid: paid,
            mint_url: url,
        } => Credited { channel, seq, quote, amount, paid, url },
        failed @ News::Failed { .. } => panic!("{failed:?}"),
    }
}

/// Checks what was told on one channel: the credits of this key, which make `amount`, in order, and
/// on the mint's only quote for it.
fn check(told: &[Credited], rig: &Rig, mint: &FakeMint, (channel, key, amount): (u32, &str, u64)) {
    let (database, mut sum) = (mint.database(), 0);
    let of_key = |id: &String| database.quote(id).unwrap().pubkey.as_deref() == Some(key);
    let quotes: Vec<_> = database.quote_ids().into_iter().filter(of_key).collect();
    assert_eq!(quotes.len(), 1);
    for credit in told {
        sum += credit.amount;
        let at = (credit.channel, &credit.quote, credit.url.as_str());
        assert_eq!(at, (channel, &quotes[0], format!("http://{}", rig.mint).as_str()));
        assert!(credit.amount > 0 && (sum..=amount).contains(&credit.paid), "{told:?}");
    }
    assert!(told.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{told:?}");
    assert_eq!((sum, told.last().map(|last| last.paid)), (amount, Some(amount)));
    assert_eq!(database.quote(&quotes[0]).unwrap().paid(), amount);
}

/// A connection of the account that asks, by hand: the bytes as they are.
fn ask_by_hand(rig: &Rig, key: &str) -> (Attacker, u32) {
    let mut raw = Attacker::new(&rig.line);
    assert_eq!(raw.set_up().next_frame().0, 0x01, "SetupConnection.Success");
    let [low, high] = MINT_CREDITS.to_le_bytes();
    let wish = [1, 0, 1, 0, low, high];
    // RequestExtensions, and its Success: the same number, and the same list.
    assert_eq!(raw.send(0x0001, 0x00, &wish).next_frame(), (0x01, wish.to_vec()));
    let (opened, payload) = raw.send_open(9, &user(rig, Some(key))).next_frame();
    assert_eq!(opened, 0x14, "OpenExtendedMiningChannel.Success");
    (raw, u32::from_le_bytes(payload[4..8].try_into().unwrap()))
}

/// What it is told of credits, until they make so much.
fn hear_by_hand(raw: &mut Attacker, amount: u64) -> Vec<Credited> {
    let mut told: Vec<Credited> = Vec::new();
    while told.iter().map(|credit| credit.amount).sum::<u64>() < amount {
        let Heard::Frame(frame) = raw.hear(PATIENCE) else { panic!("it ends: {told:?}") };
        if frame.extension_type & !CHANNEL_BIT == MINT_CREDITS {
            assert_eq!(frame.extension_type, 0xc548, "without the channel bit");
            told.push(credited(&News::read(frame.message_type, &frame.payload).unwrap()));
        }
    }
    told
}

#[test]
fn a_miner_that_asked_hears_of_each_credit_and_nobody_else_does() {
    let rig = even_rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        let mut asked = Miner::start(&rig, Some(KEYS[0]), true).await;
        let (mut by_hand, by_hand_channel) = ask_by_hand(&rig, KEYS[0]);
        let mut silent = Miner::start(&rig, Some(KEYS[0]), false).await;
        // Who has another key, or none, is somebody else, whatever name he writes.
        let mut stranger = Miner::start(&rig, Some(KEYS[1]), true).await;
        let mut keyless = Miner::start(&rig, None, true).await;
        asked.mine(20).await;
        assert_eq!(rig.owed(|_| true), 20, "a share is a unit");
        let mut told = asked.hears_of(20).await;
        check(&told, &rig, &mint, (asked.channel(), KEYS[0], 20));
        // The work of one is the account's: the other hears of it, because he asked.
        silent.mine(15).await;
        told.extend(asked.hears_of(15).await);
        check(&told, &rig, &mint, (asked.channel(), KEYS[0], 35));
        stranger.mine(10).await;
        let strangers = stranger.hears_of(10).await;
        check(&strangers, &rig, &mint, (stranger.channel(), KEYS[1], 10));
        keyless.mine(5).await;
        for other in [&mut asked, &mut silent, &mut stranger, &mut keyless] {
            other.hears_nothing().await;
        }
        let same = hear_by_hand(&mut by_hand, 35);
        check(&same, &rig, &mint, (by_hand_channel, KEYS[0], 35));
        let seqs = |told: &[Credited]| told.iter().map(|credit| credit.seq).collect::<Vec<_>>();
        assert_eq!(seqs(&same), seqs(&told));
    });
    rig.line.stop().unwrap();
}

#[test]
fn a_miner_that_asked_hears_once_that_the_mint_is_away() {
    let rig = even_rig();
    block_on(async {
        let mut asked = Miner::start(&rig, Some(KEYS[0]), true).await;
        asked.mine(20).await;
        let heard = asked.hears("it is told", |heard| !heard.is_empty()).await;
        let error_code = "mint-unavailable".to_owned();
        assert_eq!(heard, [News::Failed { channel_id: asked.channel(), error_code }]);
        until("it was tried again", || {
            let tries = |event: &Value| event["mint_failed"]["attempts"].as_u64();
            rig.events().iter().filter_map(tries).max() >= Some(2)
        })
        .await;
        let mint = rig.start_mint(Database::default()).await;
        // Credits only.
        let told = asked.hears_of(20).await;
        check(&told, &rig, &mint, (asked.channel(), KEYS[0], 20));
    });
    rig.line.stop().unwrap();
}
