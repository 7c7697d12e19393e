//! Sidecar, pool and mint, each killed at any moment between a verdict and its confirmed payment.

use std::collections::BTreeMap;
use std::time::Duration;

use gopool_sv2_tests::fake_mint::{Database, FakeMint};
use gopool_sv2_tests::LineOptions;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use crate::block_on;
use crate::miners::{place, Miner, Told};
use crate::rig::{until, Options, Rig, KEYS};

/// Kills in a run; `GOPOOL_SV2_KILLS` asks for more.
const KILLS: u32 = 100;
/// Kills of one line, before the next one is begun.
const KILLS_PER_LINE: u32 = 100;
/// Who mines: names with and without keys.
const MINERS: [(&str, Option<&str>); 4] =
    [("a", Some(KEYS[0])), ("b", Some(KEYS[1])), ("c", Some(KEYS[0])), ("a", None)];

/// What a run came to.
#[derive(Debug, Default)]
struct Figures {
    kills: BTreeMap<&'static str, u32>,
    /// Shares that miners heard are accepted.
    acknowledged: usize,
    /// Submits whose answer a kill cut off.
    cut: u64,
    /// Shares in the ledger.
    kept: u64,
    /// Shares that only the pool has.
    pool_only: usize,
    /// Sum of what the mint shows.
    paid: u64,
    payments: usize,
    quotes: usize,
    events: usize,
}

/// Kills one of the three, and starts it again.
async fn kill(rig: &mut Rig, mint: FakeMint, random: &mut StdRng) -> (&'static str, FakeMint) {
    let which = random.gen_range(0..10);
    match which {
        0 => {
            rig.line.pool.take().unwrap().kill().unwrap();
            rig.line.start_pool().unwrap();
            ("pool", mint)
        }
        1 => {
            let database = mint.stop().await;
            sleep(Duration::from_millis(random.gen_range(0..300))).await;
            ("mint", rig.start_mint(database).await)
        }
        _ => {
            rig.line.start_sidecar().unwrap();
            ("sidecar", mint)
        }
    }
}

/// A line that is killed so often, and whose books are compared in the end.
async fn run(kills: u32, random: &mut StdRng, figures: &mut Figures) {
    let line = LineOptions { log: "info", ..LineOptions::default() };
    let mut rig = Rig::start(Options { line, ..Options::default() });
    let mut mint = rig.start_mint(Database::default()).await;
    let period = Duration::from_millis(8);
    let miners: Vec<_> = MINERS
        .iter()
        .map(|(name, key)| Miner::start(place(&rig.line, name, *key), period))
        .collect();
    for _ in 0..kills {
        let life = Duration::from_millis(random.gen_range(20..900));
        sleep(life).await;
        {
            // As a mint that has trouble with its database and its network.
            let mut faults = mint.faults();
            faults.drop_events = random.gen_range(0..3);
            faults.lose_answers = random.gen_range(0..2);
        }
        mint.pass_ten_seconds();
        let killed;
        (killed, mint) = kill(&mut rig, mint, random).await;
        *figures.kills.entry(killed).or_default() += 1;
    }
    *mint.faults() = Default::default();
    sleep(Duration::from_secs(1)).await;
    let mut told = Vec::new();
    for miner in miners {
        told.push(miner.stop().await);
    }
    compare(&rig, &mint, &told, figures).await;
    rig.line.stop().unwrap();
}

/// Waits until all that is in the ledger is at the mint, and compares the books.
async fn compare(rig: &Rig, mint: &FakeMint, told: &[Told], figures: &mut Figures) {
    let keyed = || {
        let accounts = rig.books().accounts(0, 1_000).unwrap();
        let keyed = accounts.into_iter().filter(|account| account.payout_key.is_some());
        keyed.map(|account| account.shares).sum::<u64>()
    };
    until("the ledger's last credit is confirmed", || {
        mint.pass_ten_seconds();
        let (confirmed, pending) = rig.confirmed_and_pending();
        confirmed == keyed() && pending == 0
    })
    .await;
    until("the pool knows", || rig.told("mint_confirmed", "amount") == keyed()).await;
    let kept = rig.verify();
    let (in_ledger, booked) = (rig.ledger_hashes(), rig.booked_hashes());
    assert_eq!(in_ledger.len() as u64, kept);
    for told in told {
        assert!(told.wrong.is_empty(), "{:?}", told.wrong);
        let lost = told.accepted.iter().filter(|hash| !in_ledger.contains(*hash));
        assert_eq!(lost.count(), 0, "acknowledged, and not in the ledger");
        figures.acknowledged += told.accepted.len();
        figures.cut += told.cut;
    }
    // Nobody is credited for what the pool did not accept.
    assert!(in_ledger.is_subset(&booked));
    figures.pool_only += booked.len() - in_ledger.len();
    // A share is one unit: not one of them was paid twice, or not at all.
    let database = mint.database();
    assert_eq!(database.paid(), keyed(), "paid");
    assert_eq!(rig.told("mint_sealed", "amount"), keyed(), "sealed");
    let events = rig.events();
    assert_eq!(events.len() as u64, rig.books().event_range().unwrap().0, "events");
    let payments = |kind: &str| events.iter().filter(|event| event[kind].is_object()).count();
    assert_eq!(payments("mint_confirmed"), payments("mint_sealed"), "each credit is paid once");
    let ids = database.quote_ids();
    figures.payments += ids
        .iter()
        .filter_map(|id| database.quote(id))
        .map(|quote| quote.payments.len())
        .sum::<usize>();
    figures.quotes += ids.len();
    figures.kept += kept;
    figures.paid += database.paid();
    figures.events += events.len();
}

#[test]
fn mq_1_mq_3_survives_kills_of_the_whole_line_at_any_moment() {
    let kills = std::env::var("GOPOOL_SV2_KILLS").ok().and_then(|kills| kills.parse().ok());
    let kills: u32 = kills.unwrap_or(KILLS);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut figures = Figures::default();
    let mut left = kills;
    while left > 0 {
        let now = left.min(KILLS_PER_LINE);
        block_on(run(now, &mut random, &mut figures));
        left -= now;
        println!("{} kills: {figures:?}", kills - left);
    }
    println!("{kills} kills: 0 lost, 0 double; {figures:#?}");
    assert!(figures.acknowledged > kills as usize, "it was killed before it did anything");
    assert!(figures.payments > 0 && figures.kills["sidecar"] > kills / 2);
}
