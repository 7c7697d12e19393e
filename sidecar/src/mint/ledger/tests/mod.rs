//! Promises of the ledger, kept on a file in a folder of its own.

#[cfg(test)]
mod back;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod file;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod log;
#[cfg(test)]
mod model;
#[cfg(test)]
mod news;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod schemes;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod states;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod waits;
#[cfg(test)]
mod wallet;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::*;
use crate::mint::{Scheme, Work};
use crate::types::{Difficulty, Hash, QuoteRef};

/// Work of one unit in tests: difficulty 10.
const TERMS: Terms = Terms { unit_work: Work(10 << 32), min_amount: 1 };

const TABLES: [&str; 11] = [
    "meta", "account", "payout", "quote", "naming", "former", "credit", "share", "event",
    "consumer", "sink",
];

/// Everything is due.
const NOW: Due = Due { opened_by_ms: i64::MAX, work_from: Work::ZERO };

/// A ledger in a folder that is deleted with it.
struct Stand {
    folder: PathBuf,
    settings: Settings,
    ledger: Option<SqliteLedger>,
    outcomes: mpsc::Receiver<Vec<Kept>>,
}

impl Stand {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gsv2-ledger-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let settings = Settings {
            path: folder.join("ledger.db"),
            scheme: Scheme::Linear,
            max_shares: 8_192,
            accrued_every_ms: 10_000,
        };
        let (ledger, outcomes) = start(&settings).unwrap();
        Self { folder, settings, ledger: Some(ledger), outcomes }
    }

    fn ledger(&self) -> &SqliteLedger {
        self.ledger.as_ref().unwrap()
    }

    /// Closes the file and opens it again.
    fn reopen(&mut self) {
        self.ledger = None;
        let (ledger, outcomes) = start(&self.settings).unwrap();
        (self.ledger, self.outcomes) = (Some(ledger), outcomes);
    }

    /// Records shares by the way of the listener, and waits for all outcomes, in order of ids.
    async fn record_all(&mut self, shares: Vec<LedgerShare>) -> Vec<Outcome> {
        let ids: Vec<u64> = shares.iter().map(|share| share.id).collect();
        let mut kept = Vec::new();
        for share in shares {
            assert!(self.ledger().record(share));
        }
        while kept.len() < ids.len() {
            // One that never comes is a fault, and no reason to wait for ever.
            let next = tokio::time::timeout(Duration::from_secs(30), self.outcomes.recv()).await;
            kept.extend(next.expect("an outcome for each share").unwrap());
        }
        assert!(kept.iter().map(|kept| kept.id).eq(ids), "one outcome for each, in order");
        kept.into_iter().map(|kept| kept.outcome).collect()
    }

    async fn record(&mut self, share: LedgerShare) -> Outcome {
        self.record_all(vec![share]).await[0]
    }

    async fn books(&self, identity: &str, key: Option<PayoutKey>) -> AccountBooks {
        let identity = Bytes::copy_from_slice(identity.as_bytes());
        self.ledger().account(identity, key).await.unwrap().unwrap()
    }

    /// Closes and seals all there is.
    async fn seal(&self, at_ms: i64) -> Sealing {
        while self.ledger().close_due(NOW, at_ms).await.unwrap() > 0 {}
        self.ledger().seal(TERMS, 1_000, at_ms).await.unwrap()
    }

    /// Opens a quote for an account that has none.
    async fn open_quote(&self, account: i64, name: &str) {
        let (ledger, quote) = (self.ledger(), name.to_owned());
        ledger.new_quote(account, quote.clone(), format!("ehash:{name}"), 1).await.unwrap();
        ledger.quote_creating(quote.clone()).await.unwrap();
        ledger.quote_opened(quote, format!("id-{name}"), 0, 2).await.unwrap();
    }

    /// A wallet asks for a quote of this number, locked to a key.
    async fn wallet_quote(&self, n: u64, key: PayoutKey, at_ms: i64) -> QuoteRef {
        let quote = QuoteRef::from_number(n.into());
        let made = self.ledger().new_wallet_quote(quote, key, format!("w{n}"), at_ms).await;
        made.unwrap();
        quote
    }

    /// The mint says that it has the wallets' quotes that credits wait for, under these ids.
    async fn prove_quotes(&self, at_ms: i64) -> Vec<String> {
        let mut proven = Vec::new();
        for need in self.ledger().due_quotes(at_ms, 100).await.unwrap() {
            let QuoteNeed::Unfinished(quote) = need else { continue };
            let id = quote.candidate_quote_id.unwrap();
            let name = quote.quote_ref;
            self.ledger().quote_opened(name, id.clone(), 0, at_ms).await.unwrap();
            proven.push(id);
        }
        proven
    }

    /// Brings all that is sealed for an account as far as SENT on a new quote.
    async fn send(&self, account: i64, name: &str) -> Vec<Owed> {
        self.open_quote(account, name).await;
        while self.ledger().assign(256, 3).await.unwrap() > 0 {}
        self.look().await;
        let due = self.ledger().due_credits(0, 1_000).await.unwrap();
        let ids = due.iter().map(|owed| owed.credit_id).collect();
        self.ledger().mark_sent(ids, 3).await.unwrap();
        due
    }

    /// The mint is asked for the quotes it lost, does not know them, and shows of the others what
    /// it showed before.
    async fn look(&self) {
        for lost in self.ledger().lost_quotes(i64::MAX, i64::MAX, 100).await.unwrap() {
            self.ledger().quote_gone(lost, 3).await.unwrap();
        }
        for quote in self.ledger().unread_quotes(i64::MAX, 100).await.unwrap() {
            let (paid, issued) = (quote.paid_seen, quote.issued_seen);
            self.ledger().confirm(quote.quote_ref, paid, issued, 3).await.unwrap();
        }
    }

    async fn credit(&self, id: u64) -> Credit {
        let books = Books::open(&self.settings.path).unwrap();
        books.credit(id).unwrap().unwrap()
    }

    /// All events, decoded; checks that their numbers have no gap.
    async fn events(&self) -> Vec<v1::event::Event> {
        let events = self.ledger().events_after(0, 100_000).await.unwrap();
        let (last, first) = Books::open(&self.settings.path).unwrap().event_range().unwrap();
        let numbers = events.iter().map(|event| event.seq);
        assert!(numbers.eq(first..=last), "a gap in the events");
        let decode = |stored: &StoredEvent| {
            let event = v1::Event::decode(stored.payload.clone()).unwrap();
            assert_eq!(event.seq, stored.seq);
            event.event.unwrap()
        };
        events.iter().map(decode).collect()
    }

    /// The whole file as rows, to see whether a call changed any.
    fn rows(&self) -> Vec<String> {
        let books = Books::open(&self.settings.path).unwrap();
        let mut rows = Vec::new();
        for table in TABLES {
            let mut all = books.conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = all.column_count();
            let mut found = all.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                let values: Vec<rusqlite::types::Value> =
                    (0..columns).map(|column| row.get(column).unwrap()).collect();
                rows.push(format!("{table} {values:?}"));
            }
        }
        rows
    }

    async fn assert_sound(&self) -> Audit {
        let audit = self.ledger().verify().await.unwrap();
        assert!(audit.faults.is_empty(), "{:?}", audit.faults);
        audit
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.ledger = None;
        // What can't be deleted does no harm.
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn start(
    settings: &Settings,
) -> std::result::Result<(SqliteLedger, mpsc::Receiver<Vec<Kept>>), OpenError> {
    let (sender, outcomes) = mpsc::channel(settings.max_shares);
    Ok((SqliteLedger::open(settings, sender)?, outcomes))
}

/// The n-th payout key.
fn key(n: u32) -> PayoutKey {
    let secp = secp256k1::Secp256k1::new();
    let secret: [u8; 32] = Sha256::digest(n.to_be_bytes()).into();
    let secret = secp256k1::SecretKey::from_slice(&secret).unwrap();
    let public = secp256k1::PublicKey::from_secret_key(&secp, &secret);
    PayoutKey::from_bytes(&public.serialize()).unwrap()
}

/// The n-th share, of difficulty 7 and a half, as submit n of session 1.
fn share(n: u64, identity: &str, payout_key: Option<PayoutKey>) -> LedgerShare {
    LedgerShare {
        id: n,
        source: Source::V2(Origin { session: [1; 16], submit: n }),
        hash: Hash(Sha256::digest(n.to_be_bytes()).into()),
        identity: Bytes::copy_from_slice(identity.as_bytes()),
        payout_key,
        quote: None,
        worker: Bytes::from_static(b"w"),
        credit: Difficulty { whole: 7, fraction: 1 << 31 },
        block_candidate: false,
        height: 900_000,
        at_ms: 1_000,
    }
}

/// What `count` of those shares are worth.
fn worth(count: u64) -> Work {
    Work(u128::from(count) * ((7 << 32) + (1 << 31)))
}
