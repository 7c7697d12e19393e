//! Quotes that wallets make by themselves, from the mint's question to the payment: the real
//! ledger, processor and dispatcher, and a mint that behaves as stock ones were seen to.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{json, Value as Json};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::mint::deposits::LedgerDeposits;
use crate::mint::dispatch::{Dispatcher, Plan};
use crate::mint::ledger::{
    self, Ledger as _, LedgerShare, Origin, Source, SqliteLedger, Terms, UNUSED_MS,
};
use crate::mint::processor::{Asker, Deposits as _, Refused, Wish};
use crate::mint::{Scheme, Work};
use crate::obs::Counts;
use crate::sys::unix_millis;
use crate::types::{Difficulty, Hash, QuoteRef};

/// Shares of difficulty 7 that are one payment each.
const PLAN: Plan = Plan {
    terms: Terms { unit_work: Work(1 << 32), min_amount: 1 },
    seal_ms: 0,
    quote_payments: 2,
    quote_life_ms: 86_400_000,
    keep_shares_ms: 86_400_000,
    calls: 8,
};

/// Everything between shares and a mint.
struct Rig {
    folder: PathBuf,
    ledger: SqliteLedger,
    deposits: Arc<LedgerDeposits<SqliteLedger>>,
    mint: FakeMint,
    processor: SocketAddr,
    stop: watch::Sender<bool>,
    work: Option<JoinHandle<()>>,
    shares: u8,
}

impl Rig {
    async fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gsv2-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = ledger::Settings {
            path: folder.join("ledger.db"),
            scheme: Scheme::Linear,
            max_shares: 64,
            accrued_every_ms: 10_000,
        };
        let ledger = SqliteLedger::open(&at, mpsc::channel(64).0).unwrap();
        let (sent, sends) = watch::channel(0);
        let deposits = LedgerDeposits::new(ledger.clone(), PLAN.quote_life_ms, sends);
        let deposits = Arc::new(deposits);
        let processor = Processor::open(settings(), secret(), Arc::clone(&deposits)).await.unwrap();
        let address = processor.address();
        let (stop, stops) = watch::channel(false);
        let mut over = stops.clone();
        let serving = tokio::spawn(processor.serve(async move {
            // Its end is a stop as well.
            drop(over.wait_for(|stop| *stop).await);
        }));
        let mint = FakeMint::start(Mint::new(address), Database::default()).await.unwrap();
        let http = MintHttp::new(&api_settings(mint.url())).unwrap();
        let dispatcher =
            Dispatcher::new(ledger.clone(), http, secret(), PLAN, sent, Counts::default());
        let work = tokio::spawn(async move {
            dispatcher.run(stops).await;
            serving.await.unwrap();
        });
        let (processor, work, shares) = (address, Some(work), 0);
        Self { folder, ledger, deposits, mint, processor, stop, work, shares }
    }

    /// A wallet asks the mint for a quote with a key of its own.
    async fn wallet_asks(&self, key: usize) -> Json {
        let body = json!({ "unit": "hash", "amount": 1, "pubkey": KEYS[key] });
        soon(self.mint.post_quote(body)).await.unwrap()
    }

    /// A share comes whose channel named the quote; 7 units.
    async fn earn(&mut self, quote: QuoteRef) {
        self.shares += 1;
        let share = LedgerShare {
            id: 0,
            source: Source::V2(Origin { session: [1; 16], submit: self.shares.into() }),
            hash: Hash([self.shares; 32]),
            identity: Bytes::from_static(b"name"),
            payout_key: self.ledger.wallet_quote(quote).await.unwrap().or(Some(key(0))),
            quote: Some(quote),
            worker: Bytes::new(),
            credit: Difficulty { whole: 7, fraction: 0 },
            block_candidate: false,
            height: 0,
            at_ms: unix_millis(),
        };
        self.ledger.record_many(vec![share]).await.unwrap();
    }

    fn paid(&self, id: &str) -> u64 {
        self.mint.database().quote(id).unwrap().paid()
    }

    /// All of so many units is confirmed.
    async fn confirmed(&self, units: u64) {
        soon(async {
            loop {
                // A reading asks the processor once in ten seconds, which don't have to pass.
                self.mint.pass_ten_seconds();
                let name = Bytes::from_static(b"name");
                let books = self.ledger.account(name, Some(key(0))).await.unwrap();
                if books.is_some_and(|books| books.confirmed_amount == units) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert!(self.ledger.verify().await.unwrap().faults.is_empty());
    }

    async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(work) = self.work.take() {
            soon(work).await.unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // What can't be deleted does no harm.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn named(quote: &Json) -> (String, QuoteRef) {
    let text = |name: &str| quote[name].as_str().unwrap().to_owned();
    (text("quote"), QuoteRef::from_text(text("request").as_bytes()).unwrap())
}

#[tokio::test]
async fn pays_on_the_wallets_own_quote_until_it_is_full_and_then_on_one_of_the_pools() {
    let mut rig = Rig::start("wallets-own").await;
    let made = rig.wallet_asks(0).await;
    let (id, quote) = named(&made);
    assert_eq!(rig.ledger.wallet_quote(quote).await, Ok(Some(key(0))));
    // Valid for as long as it may be paid, and a month more.
    let valid_ms = made["expiry"].as_i64().unwrap() * 1_000 - unix_millis();
    assert!(valid_ms > UNUSED_MS + PLAN.quote_life_ms + 29 * 86_400_000, "{valid_ms}");
    // Somebody else's, which nobody names, changes nothing.
    rig.wallet_asks(0).await;
    for credits in 1..=2 {
        rig.earn(quote).await;
        rig.confirmed(7 * credits).await;
        assert_eq!(rig.paid(&id), 7 * credits);
    }
    rig.earn(quote).await;
    rig.confirmed(21).await;
    assert_eq!((rig.paid(&id), rig.mint.database().paid()), (14, 21));
    assert_eq!(rig.mint.database().quote_ids().len(), 3);
    rig.stop().await;
}

#[tokio::test]
async fn survives_a_quote_that_the_mint_asked_about_and_never_made() {
    let mut rig = Rig::start("never-made").await;
    let wish =
        |id: &str| Wish { quote_id: id.to_owned(), payout_key: key(0), asker: Asker::Wallet };
    let created = rig.deposits.create(wish("no-such-quote")).await.unwrap();
    assert_eq!(created.request, format!("ehash:{}", created.identifier));
    // The same id again would be another quote at the same place.
    let again = rig.deposits.create(wish("no-such-quote")).await;
    assert_eq!(again.unwrap_err(), Refused::Taken);
    rig.earn(QuoteRef::from_text(created.identifier.as_bytes()).unwrap()).await;
    rig.confirmed(7).await;
    let ids = rig.mint.database().quote_ids();
    assert_eq!((ids.len(), rig.paid(&ids[0])), (1, 7));
    rig.stop().await;
}

#[tokio::test]
async fn survives_the_loss_of_the_mints_database_with_the_wallets_quote_in_it() {
    let mut rig = Rig::start("lost-database").await;
    let (id, quote) = named(&rig.wallet_asks(0).await);
    rig.earn(quote).await;
    rig.confirmed(7).await;
    assert_eq!(rig.paid(&id), 7);
    // Another mint in its place, which knows nothing, on the same port.
    let mut settings = Mint::new(rig.processor);
    settings.listen = rig.mint.address();
    let spare = FakeMint::start(Mint::new(rig.processor), Database::default()).await;
    drop(std::mem::replace(&mut rig.mint, spare.unwrap()).stop().await);
    rig.mint = FakeMint::start(settings, Database::default()).await.unwrap();
    rig.earn(quote).await;
    let lost = soon(async {
        loop {
            let lost = rig.ledger.quote(quote.to_string()).await.unwrap().unwrap();
            if lost.state == ledger::QuoteState::Lost {
                return ledger::Books::open(rig.ledger.path()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for stuck in lost.stuck(i64::MAX, 10).unwrap() {
        if stuck.credit.state == ledger::CreditState::Lost {
            rig.ledger.requeue(stuck.credit.id).await.unwrap();
        }
    }
    rig.confirmed(14).await;
    assert!(rig.mint.database().quote(&id).is_none());
    rig.stop().await;
}

#[tokio::test]
async fn a_quote_that_was_paid_before_anything_was_sent_on_it_stops_all_sending() {
    let mut rig = Rig::start("paid-before").await;
    let (id, quote) = named(&rig.wallet_asks(0).await);
    // As a ledger did of which this one is an old copy.
    assert!(rig.mint.pay(&id, "gp1c:another", 5));
    rig.earn(quote).await;
    soon(async {
        while rig.ledger.quote(quote.to_string()).await.unwrap().unwrap().paid_seen != 5 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let books = ledger::Books::open(rig.ledger.path()).unwrap();
    assert!(books.stopped().unwrap().unwrap().contains("nothing was sent yet"));
    assert_eq!((rig.paid(&id), rig.mint.seen().credited), (5, 0));
    rig.ledger.resume_sending().await.unwrap();
    rig.confirmed(7).await;
    assert_eq!(rig.paid(&id), 12);
    rig.stop().await;
}
