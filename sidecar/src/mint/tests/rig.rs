//! Everything between shares and a mint: the real ledger, processor and dispatcher, and a mint that
//! behaves as stock ones were seen to.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{json, Value as Json};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::mint::deposits::LedgerDeposits;
use crate::mint::dispatch::{Dispatcher, Plan};
use crate::mint::ledger::{
    self, AccountBooks, Ledger as _, LedgerShare, Origin, Source, SqliteLedger, Terms,
};
use crate::mint::{Scheme, Work};
use crate::obs::Counts;
use crate::types::{Difficulty, Hash, QuoteRef};

/// Shares of difficulty 7 that are one payment each.
pub(super) const PLAN: Plan = Plan {
    terms: Terms { unit_work: Work(1 << 32), min_amount: 1 },
    seal_ms: 0,
    seal_work: Work(u128::MAX),
    quote_payments: 2,
    quote_life_ms: 86_400_000,
    keep_shares_ms: 86_400_000,
    calls: 8,
};

pub(super) struct Rig {
    folder: PathBuf,
    pub(super) ledger: SqliteLedger,
    pub(super) deposits: Arc<LedgerDeposits<SqliteLedger>>,
    pub(super) dispatcher: Arc<Dispatcher<SqliteLedger>>,
    mint: Option<FakeMint>,
    mint_address: HeldAddress,
    processor: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    shares: u8,
}

impl Rig {
    /// All of it at work.
    pub(super) async fn start(name: &str) -> Self {
        let mut rig = Self::open(name).await;
        rig.run();
        rig
    }

    /// All of it but the dispatcher at work.
    pub(super) async fn open(name: &str) -> Self {
        Self::open_with(name, PLAN).await
    }

    /// The same, after another plan.
    pub(super) async fn open_with(name: &str, plan: Plan) -> Self {
        Self::open_patient(name, plan, PATIENCE).await
    }

    /// The same, with so much time for a call to the mint.
    pub(super) async fn open_patient(name: &str, plan: Plan, timeout: Duration) -> Self {
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
        let deposits = LedgerDeposits::new(ledger.clone(), plan.quote_life_ms, sends);
        let deposits = Arc::new(deposits);
        let processor = Processor::open(settings(), secret(), Arc::clone(&deposits)).await.unwrap();
        let address = processor.address();
        let (stop, mut over) = watch::channel(false);
        let serving = tokio::spawn(processor.serve(async move {
            // Its end is a stop as well.
            drop(over.wait_for(|stop| *stop).await);
        }));
        let listens = deposits.listens();
        let mint_address = HeldAddress::take().unwrap();
        let at = Mint { listen: mint_address.get(), ..Mint::new(address) };
        let mint = FakeMint::start(at, Database::default()).await.unwrap();
        let http = MintHttp::new(&api::Settings { timeout, ..api_settings(mint.url()) }).unwrap();
        let counts = Counts::default();
        let dispatcher =
            Dispatcher::new(ledger.clone(), http, secret(), plan, sent, listens, counts);
        let tasks = vec![serving];
        Self {
            folder,
            ledger,
            deposits,
            dispatcher,
            mint: Some(mint),
            mint_address,
            processor: address,
            stop,
            tasks,
            shares: 0,
        }
    }

    /// The dispatcher begins.
    pub(super) fn run(&mut self) {
        self.tasks.push(tokio::spawn(Arc::clone(&self.dispatcher).run(self.stop.subscribe())));
    }

    pub(super) fn mint(&self) -> &FakeMint {
        self.mint.as_ref().unwrap()
    }

    /// The mint is down, with its port.
    pub(super) async fn mint_goes(&mut self) -> Database {
        self.mint.take().unwrap().stop().await
    }

    /// A mint is there on the same port.
    pub(super) async fn mint_comes(&mut self, database: Database) {
        let settings = Mint { listen: self.mint_address.get(), ..Mint::new(self.processor) };
        self.mint = Some(FakeMint::start(settings, database).await.unwrap());
    }

    /// A wallet asks the mint for a quote with a key of its own.
    pub(super) async fn wallet_asks(&self, key: usize) -> Json {
        let body = json!({ "unit": "hash", "amount": 1, "pubkey": KEYS[key] });
        soon(self.mint().post_quote(body)).await.unwrap()
    }

    /// A share comes; 7 units. Its channel named the quote, if any.
    pub(super) async fn earn(&mut self, quote: Option<QuoteRef>) {
        self.shares += 1;
        let locked = match quote {
            Some(quote) => self.ledger.wallet_quote(quote).await.unwrap(),
            None => None,
        };
        let share = LedgerShare {
            id: 0,
            source: Source::V2(Origin { session: [1; 16], submit: self.shares.into() }),
            hash: Hash([self.shares; 32]),
            identity: Bytes::from_static(b"name"),
            payout_key: locked.or(Some(key(0))),
            quote,
            worker: Bytes::new(),
            credit: Difficulty { whole: 7, fraction: 0 },
            block_candidate: false,
            height: 0,
            at_ms: self.dispatcher.clock().now_ms(),
        };
        let at_ms = share.at_ms;
        self.ledger.record_many(vec![share], at_ms).await.unwrap();
    }

    pub(super) fn paid(&self, id: &str) -> u64 {
        self.mint().database().quote(id).unwrap().paid()
    }

    /// The books of the account that earns; `None`: it has earned nothing yet.
    pub(super) async fn account(&self) -> Option<AccountBooks> {
        self.ledger.account(Bytes::from_static(b"name"), Some(key(0))).await.unwrap()
    }

    /// Looks again and again until something is there, and gives it.
    pub(super) async fn until<T>(&self, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        soon(async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// All of so many units is confirmed.
    pub(super) async fn confirmed(&self, units: u64) {
        self.until(async || {
            // A reading asks the processor once in ten seconds, which don't have to pass.
            self.mint().pass_ten_seconds();
            self.account().await.filter(|books| books.confirmed_amount == units)
        })
        .await;
        assert!(self.ledger.verify().await.unwrap().faults.is_empty());
    }

    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            soon(task).await.unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // What can't be deleted does no harm.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The mint's id of a quote, and ours.
pub(super) fn named(quote: &Json) -> (String, QuoteRef) {
    let text = |name: &str| quote[name].as_str().unwrap().to_owned();
    (text("quote"), QuoteRef::from_text(text("request").as_bytes()).unwrap())
}
