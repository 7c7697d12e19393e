//! A program with callbacks of its own on a whole bridge: real ledger, dispatcher and payment
//! processor, and a mint that behaves as stock ones were seen to.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags};
use tokio::time::{sleep, timeout};

use super::*;
use crate::backend::ledger::{Ledger as Link, Owner, Returns};
use crate::backend::{self, Accounts, Directory, Judged, Mailbox};
use crate::config;
use crate::event::{Stream, Way};
use crate::mint::fake::{Database, FakeMint, HeldAddress, Settings};
use crate::mint::ledger::{Books, Credit, CreditState, Quote};
use crate::mint::{Bridge, PayoutKey, Running};
use crate::obs::Counts;
use crate::types::{ChannelKey, ConnId, Difficulty, Hash, Verdict};

const CONN: ConnId = ConnId(3);
/// The generator of secp256k1 (SEC 2).
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// Units of a share.
const UNITS: u64 = 7;

fn key() -> PayoutKey {
    PayoutKey::from_hex(KEY.as_bytes()).unwrap()
}

/// Waits for what must come, and fails when it doesn't.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(120), what).await.expect("what must come does not come")
}

async fn until(holds: impl Fn() -> bool) {
    soon(async {
        while !holds() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The callbacks of a program. At each it looks at the ledger's file on a connection of its own,
/// which sees what is committed and nothing else.
#[derive(Debug)]
struct Program {
    ledger: PathBuf,
    heard: Mutex<Vec<Event>>,
    /// Those of them that the ledger's file did not show.
    early: Mutex<Vec<Event>>,
    /// Each call panics when it is through.
    panics: bool,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Program {
    fn called(&self, event: Event, is_committed: impl FnOnce(&Books) -> bool) {
        if !is_committed(&Books::open(&self.ledger).unwrap()) {
            self.early.lock().unwrap().push(event.clone());
        }
        self.heard.lock().unwrap().push(event);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        assert!(!self.panics, "it was bound to");
    }

    fn heard(&self) -> Vec<Event> {
        self.heard.lock().unwrap().clone()
    }

    /// Whether calls return.
    fn let_through(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }
}

fn credit(books: &Books, id: u64) -> Credit {
    books.credit(id).unwrap().unwrap()
}

fn quote(books: &Books, request: &str) -> Quote {
    books.quote(request.strip_prefix("ehash:").unwrap()).unwrap().unwrap()
}

impl QuoteCallbacks for Program {
    fn on_accrued(&self, event: &v1::MintAccrued) {
        self.called(Event::MintAccrued(event.clone()), |books| {
            let key = PayoutKey::from_bytes(&event.payout_key).ok();
            let account = books.account(&event.user_identity, key.as_ref()).unwrap();
            account.is_some_and(|account| account.shares >= event.shares && event.shares > 0)
        });
    }
    fn on_sealed(&self, event: &v1::MintSealed) {
        self.called(Event::MintSealed(event.clone()), |books| {
            let credit = credit(books, event.credit_id);
            (credit.amount, credit.shares) == (event.amount, event.shares) && event.amount > 0
        });
    }
    fn on_quote_open(&self, event: &v1::MintQuoteOpened) {
        self.called(Event::MintQuoteOpened(event.clone()), |books| {
            quote(books, &event.quote_request).quote_id.as_ref() == Some(&event.quote_id)
        });
    }
    fn on_sent(&self, event: &v1::MintSent) {
        self.called(Event::MintSent(event.clone()), |books| {
            let credit = credit(books, event.credit_id);
            let sent = matches!(credit.state, CreditState::Sent | CreditState::Confirmed);
            sent && credit.payment_id.as_ref() == Some(&event.payment_id)
        });
    }
    fn on_confirmed(&self, event: &v1::MintConfirmed) {
        self.called(Event::MintConfirmed(event.clone()), |books| {
            let credit = credit(books, event.credit_id);
            (credit.state, credit.amount) == (CreditState::Confirmed, event.amount)
        });
    }
    fn on_issued(&self, event: &v1::MintIssued) {
        self.called(Event::MintIssued(event.clone()), |books| {
            quote(books, &event.quote_request).issued_seen >= event.issued_amount
        });
    }
    fn on_failed(&self, event: &v1::MintFailed) {
        self.called(Event::MintFailed(event.clone()), |books| {
            // A quote that is open has forgotten them.
            let quote = quote(books, &event.quote_request);
            quote.attempts >= event.attempts || quote.quote_id.is_some()
        });
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::MintAccrued(_) => "accrued",
        Event::MintSealed(_) => "sealed",
        Event::MintQuoteOpened(_) => "quote open",
        Event::MintSent(_) => "sent",
        Event::MintConfirmed(_) => "confirmed",
        Event::MintIssued(_) => "issued",
        Event::MintFailed(_) => "failed",
        _ => "something else",
    }
}

/// All events of a ledger.
fn events(ledger: &Path) -> Vec<Event> {
    let file = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut all = file.prepare("SELECT payload FROM event ORDER BY seq").unwrap();
    let payloads = all.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let events = payloads.map(|payload| v1::Event::decode(&payload.unwrap()[..]).unwrap());
    events.map(|event| event.event.unwrap()).collect()
}

/// The way to a pool that takes no events.
struct Nobody;

enum Never {}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody")
    }
}

impl Way for Nobody {
    type Stream = Never;
    type Error = &'static str;

    async fn begin(&self, _: v1::PublishStart) -> Result<Never, &'static str> {
        Err("it takes no events")
    }

    fn takes_none(&self, _: &&'static str) -> bool {
        true
    }
}

impl Stream for Never {
    async fn send(&mut self, _: v1::PublishRequest) -> bool {
        match *self {}
    }

    async fn receive(&mut self) -> Result<Option<v1::PublishResponse>, String> {
        match *self {}
    }
}

/// A bridge with callbacks, and the link that hands shares to it.
struct Stand {
    folder: PathBuf,
    program: Arc<Program>,
    link: Link,
    told: Mailbox,
    bridge: Running,
    mint: HeldAddress,
    processor: HeldAddress,
    earned: u64,
    acknowledged: u64,
}

impl Stand {
    /// There is no mint yet. `panics`: the callbacks do.
    async fn start(name: &str, panics: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("gsv2-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let ledger = folder.join("ledger.db");
        let [mint, processor] = [0; 2].map(|_| HeldAddress::take().unwrap());
        let config = config::Mint {
            ledger_file: Some(ledger.clone()),
            url: format!("http://{mint}"),
            seal_interval_sec: 0,
            processor: config::Processor {
                listen: processor.get(),
                allow_plain: true,
                ..config::Processor::default()
            },
            ..config::Mint::default()
        };
        let program = Arc::new(Program {
            ledger,
            heard: Mutex::default(),
            early: Mutex::default(),
            panics,
            open: Mutex::new(true),
            opened: Condvar::new(),
        });
        let bridge = Bridge::open(&config, 1_024, Counts::default()).await.unwrap().unwrap();
        let bridge = bridge.calling(Arc::clone(&program) as Arc<dyn QuoteCallbacks>);
        let directory = Directory::default();
        let told = directory.attach(CONN, 1_024).0;
        let returns = Returns::new(directory, Accounts::default());
        let link = Link::new(bridge.ledger(), returns.clone());
        let bridge = bridge.start(returns, Nobody, "here");
        let (earned, acknowledged) = (0, 0);
        Self { folder, program, link, told, bridge, mint, processor, earned, acknowledged }
    }

    async fn start_mint(&self) -> FakeMint {
        let settings = Settings { listen: self.mint.get(), ..Settings::new(self.processor.get()) };
        soon(FakeMint::start(settings, Database::default())).await.unwrap()
    }

    /// The pool accepts a share of this name; returns when its miner has heard so.
    async fn earn(&mut self, name: &str) {
        self.earned += 1;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.earned.to_le_bytes());
        let judged = Judged {
            channel: ChannelKey::new(CONN, 1).unwrap(),
            token: self.earned,
            submit_id: self.earned,
            verdict: Verdict::Accepted {
                hash: Hash(hash),
                credit: Difficulty { whole: UNITS, fraction: 0 },
                block_candidate: false,
            },
        };
        let user_identity = Bytes::copy_from_slice(name.as_bytes());
        let owner = Owner { user_identity, payout_key: Some(key()), quote: None };
        self.link.keep(judged, owner, Bytes::new());
        let told = soon(self.told.recv()).await.unwrap();
        let backend::Event::Verdict(judged) = told else { panic!("{told:?}") };
        assert!(matches!(judged.verdict, Verdict::Accepted { .. }), "{judged:?}");
        self.acknowledged += 1;
    }

    /// All that was earned is confirmed.
    async fn confirmed(&self, mint: &FakeMint) {
        let books = Books::open(&self.program.ledger).unwrap();
        until(|| {
            // A reading asks the processor once in ten seconds, which don't have to pass.
            mint.pass_ten_seconds();
            let accounts = books.accounts(0, 1_000).unwrap();
            let sum: u64 = accounts.iter().map(|account| account.confirmed_amount).sum();
            sum == UNITS * self.earned
        })
        .await;
        assert_eq!((mint.database().paid(), self.acknowledged), (UNITS * self.earned, self.earned));
        assert_eq!(books.verify().unwrap().faults, Vec::<String>::new());
    }

    /// Every event was heard once, in order, and none before its commit.
    async fn all_heard(&self) -> BTreeSet<&'static str> {
        let all = || events(&self.program.ledger);
        until(|| self.program.heard().len() >= all().len()).await;
        assert_eq!(self.program.heard(), all());
        assert_eq!(*self.program.early.lock().unwrap(), []);
        all().iter().map(kind).collect()
    }

    async fn stop(self) {
        drop(self.link);
        soon(self.bridge.stop()).await;
        // What can't be deleted does no harm.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A mint that comes late, pays, and is minted from.
async fn every_kind_is_heard(name: &str, panics: bool) {
    let mut stand = Stand::start(name, panics).await;
    stand.earn("a").await;
    let program = Arc::clone(&stand.program);
    until(|| program.heard().iter().any(|event| kind(event) == "failed")).await;
    let mint = stand.start_mint().await;
    stand.confirmed(&mint).await;
    let quote = mint.database().quote_ids().pop().unwrap();
    soon(mint.issue(&quote, UNITS - 2)).await.unwrap();
    // The next reading shows what was minted, too.
    stand.earn("a").await;
    stand.confirmed(&mint).await;
    let kinds = ["accrued", "sealed", "quote open", "sent", "confirmed", "issued", "failed"];
    assert_eq!(stand.all_heard().await, BTreeSet::from(kinds));
    stand.stop().await;
}

#[tokio::test]
async fn mq_12_each_kind_is_heard_in_order_and_after_its_commit() {
    every_kind_is_heard("callbacks", false).await;
}

#[tokio::test]
async fn mq_12_callbacks_that_panic_change_nothing() {
    every_kind_is_heard("callbacks-panic", true).await;
}

#[tokio::test]
async fn mq_12_a_callback_that_blocks_holds_up_callbacks_and_nothing_else() {
    let mut stand = Stand::start("callbacks-block", false).await;
    let mint = stand.start_mint().await;
    stand.program.let_through(false);
    for account in 0..100 {
        stand.earn(&format!("a{account}")).await;
    }
    stand.confirmed(&mint).await;
    let waiting = events(&stand.program.ledger).len() - 1;
    assert!(waiting > WAITING + BATCH as usize, "{waiting} have room");
    assert_eq!(stand.program.heard().len(), 1);
    stand.program.let_through(true);
    stand.all_heard().await;
    // A program that never comes back does not hold up the stop.
    stand.program.let_through(false);
    stand.earn("last").await;
    stand.confirmed(&mint).await;
    let program = Arc::clone(&stand.program);
    stand.stop().await;
    program.let_through(true);
}
