//! Accepted shares on their way through a ledger: their miners hear of it when they are kept, and
//! not before. Without a ledger nothing of this runs.

mod calls;
mod quote;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

pub(crate) use calls::{failed_message, Calls};
pub use calls::{Account, Answer, Call, CallError, Code, RecordedShare, Reply};
pub use quote::{QuoteAnswer, QuoteUnknown};

use super::{Accounts, Directory, Event, Judged, MintNews};
use crate::obs::counts::{Counts, NOT_KEPT_REFUSED, NOT_KEPT_TAKEN};
use crate::sys::unix_millis;
use crate::types::{ConnId, Difficulty, Hash, PayoutKey, QuoteRef, RejectReason, Verdict};

/// Keeps accepted shares. Any thread.
pub trait ShareLedger: fmt::Debug + Send + Sync {
    /// Takes a share to keep it. Never blocks. false: there is no room, or the ledger can't keep
    /// anything now. Otherwise what became of it is told once, through [`Returns`].
    fn record(&self, share: LedgerShare) -> bool;

    /// Whether the pool has set a payout key for this user identity. Never blocks.
    fn has_payout(&self, user_identity: &Bytes) -> bool;

    /// A request of the pool. Never blocks; `answer` takes what it comes to, at any time.
    fn call(&self, call: Call, answer: Answer);

    /// Whose quote is this? Never blocks; `answer` takes what is found, at any time.
    fn find_quote(&self, quote: QuoteRef, answer: QuoteAnswer);
}

/// A share that the pool has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerShare {
    /// Comes back in [`Kept`].
    pub id: u64,
    /// Names the submit for ever: another share with this origin is the same submit.
    pub origin: Origin,
    /// Header hash, internal order.
    pub hash: Hash,
    /// The channel's user identity, less the payout key; opaque, 0 to 255 bytes.
    pub user_identity: Bytes,
    /// Where its credit goes; `None`: to nobody yet.
    pub payout_key: Option<PayoutKey>,
    /// The quote of a wallet's on which it is to be paid; it is locked to that key.
    pub quote: Option<QuoteRef>,
    /// The worker that the share names (extension 0x0002), opaque; empty: none.
    pub worker: Bytes,
    /// What the pool credits.
    pub credit: Difficulty,
    /// The hash meets nbits.
    pub block_candidate: bool,
    /// When its verdict came, milliseconds since the epoch.
    pub accepted_ms: i64,
}

/// A submit's name for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// 16 random bytes of this run of the process.
    pub run: [u8; 16],
    /// The link's name of the submit in it.
    pub submit_id: u64,
}

/// What became of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// [`LedgerShare::id`].
    pub id: u64,
    /// What.
    pub outcome: Keeping,
}

/// What became of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Durable, and credited.
    Recorded,
    /// The same submit was recorded before: nothing more is credited.
    Again,
    /// Another submit had this hash.
    Duplicate,
    /// It is not in the ledger.
    Failed,
}

/// A share whose verdict waits.
#[derive(Debug, Clone, Copy)]
struct Held {
    judged: Judged,
    keyed: bool,
}

/// What waits of one connection.
#[derive(Debug, Default)]
struct Waiting {
    shares: usize,
    /// What must not reach it before its verdicts.
    later: Vec<Event>,
}

#[derive(Debug, Default)]
struct Books {
    last_id: u64,
    held: HashMap<u64, Held>,
    of_conn: HashMap<ConnId, Waiting>,
    /// Where shares are counted that the pool accepted and the ledger does not have.
    counts: Counts,
}

/// Where a ledger says what became of shares, and from where the miners hear. Cheap to clone; any
/// thread.
#[derive(Debug, Clone)]
pub struct Returns {
    books: Arc<Mutex<Books>>,
    count: Arc<AtomicUsize>,
    freed: Arc<Notify>,
    directory: Directory,
    accounts: Accounts,
}

impl Returns {
    #[cfg_attr(
        not(feature = "mint"),
        allow(dead_code, reason = "only the mint bridge keeps shares")
    )]
    pub(crate) fn new(directory: Directory, accounts: Accounts) -> Self {
        Self {
            books: Arc::default(),
            count: Arc::default(),
            freed: Arc::default(),
            directory,
            accounts,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Nothing panics while it is held, and the maps are whole between any two statements.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are kept, or not: their miners hear it. An id that doesn't wait (any more) is ignored.
    pub fn kept(&self, kept: impl IntoIterator<Item = Kept>) {
        let mut books = self.lock();
        let mut by_conn: HashMap<ConnId, Vec<Judged>> = HashMap::new();
        for Kept { id, outcome } in kept {
            let Some(held) = books.held.remove(&id) else { continue };
            let judged = books.judged(held, outcome);
            by_conn.entry(judged.channel.conn()).or_default().push(judged);
        }
        self.tell(&mut books, by_conn);
    }

    /// The ledger is gone: nothing more will be kept of what waits.
    pub fn lost(&self) {
        let ids: Vec<_> = self.lock().held.keys().copied().collect();
        self.kept(ids.into_iter().map(|id| Kept { id, outcome: Keeping::Failed }));
    }

    /// From now on what the pool accepted and the ledger could not keep is counted there. Before
    /// the first share: what was counted elsewhere stays there.
    pub fn count_in(&self, counts: Counts) {
        self.lock().counts = counts;
    }

    /// Whether any miner hears news of a mint.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// Tells every connection that has a channel of the account and has asked for such news, once.
    /// One that has much to hear already does not hear it. Answers how many hear it.
    pub fn tell_news(&self, identity: Bytes, key: PayoutKey, news: MintNews) -> usize {
        let news = Arc::new(news);
        let found = self.accounts.of(&(identity, key)).into_iter();
        let told = found.filter(|(conn, channels)| {
            let (channels, news) = (channels.clone(), Arc::clone(&news));
            self.directory.offer(*conn, Event::MintCredit { channels, news })
        });
        told.count()
    }

    fn tell(&self, books: &mut Books, by_conn: HashMap<ConnId, Vec<Judged>>) {
        let mut told = 0;
        for (conn, judged) in by_conn {
            told += judged.len();
            let done = books.of_conn.get_mut(&conn).is_some_and(|waiting| {
                waiting.shares = waiting.shares.saturating_sub(judged.len());
                waiting.shares == 0
            });
            self.directory.judged(&judged);
            if done {
                let later = books.of_conn.remove(&conn).map(|waiting| waiting.later);
                for event in later.unwrap_or_default() {
                    self.directory.deliver(conn, event);
                }
            }
        }
        if told > 0 {
            self.count.fetch_sub(told, Ordering::Relaxed);
            self.freed.notify_one();
        }
    }
}

impl Books {
    fn judged(&mut self, Held { mut judged, keyed }: Held, outcome: Keeping) -> Judged {
        match outcome {
            Keeping::Recorded | Keeping::Again => {}
            Keeping::Duplicate => judged.verdict = Verdict::Rejected(RejectReason::Duplicate),
            Keeping::Failed if keyed => {
                self.counts.ledger.not_kept.one(NOT_KEPT_REFUSED);
                judged.verdict = Verdict::Rejected(RejectReason::BackendUnavailable);
            }
            Keeping::Failed => self.counts.ledger.not_kept.one(NOT_KEPT_TAKEN),
        }
        judged
    }
}

/// The link's end of a ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    ledger: Arc<dyn ShareLedger>,
    run: [u8; 16],
    returns: Returns,
    /// It was said that the ledger takes no shares.
    complained: AtomicBool,
    pub(crate) calls: Calls,
}

/// Whose a share is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user_identity: Bytes,
    pub(crate) payout_key: Option<PayoutKey>,
    pub(crate) quote: Option<QuoteRef>,
}

impl Ledger {
    #[cfg_attr(
        not(feature = "mint"),
        allow(dead_code, reason = "only the mint bridge keeps shares")
    )]
    pub(crate) fn new(ledger: Arc<dyn ShareLedger>, returns: Returns) -> Self {
        let (run, complained) = (rand::random(), AtomicBool::new(false));
        Self { ledger, run, returns, complained, calls: Calls::new() }
    }

    #[cfg_attr(
        not(feature = "mint"),
        allow(dead_code, reason = "only the mint bridge keeps shares")
    )]
    pub(crate) fn returns(&self) -> Returns {
        self.returns.clone()
    }

    /// How many shares wait to be kept.
    pub(crate) fn held(&self) -> usize {
        self.returns.count.load(Ordering::Relaxed)
    }

    /// Is told when fewer wait.
    pub(crate) fn freed(&self) -> Arc<Notify> {
        Arc::clone(&self.returns.freed)
    }

    /// Keeps a share that the pool accepted. Its miner hears when that is done.
    pub(crate) fn keep(&self, judged: Judged, owner: Owner, worker: Bytes) {
        let Verdict::Accepted { hash, credit, block_candidate } = judged.verdict else { return };
        let conn = judged.channel.conn();
        let keyed = owner.payout_key.is_some() || self.ledger.has_payout(&owner.user_identity);
        let id = {
            let mut books = self.returns.lock();
            books.last_id += 1;
            let id = books.last_id;
            books.held.insert(id, Held { judged, keyed });
            books.of_conn.entry(conn).or_default().shares += 1;
            id
        };
        self.returns.count.fetch_add(1, Ordering::Relaxed);
        let taken = self.ledger.record(LedgerShare {
            id,
            origin: Origin { run: self.run, submit_id: judged.submit_id },
            hash,
            user_identity: owner.user_identity,
            payout_key: owner.payout_key,
            quote: owner.quote,
            worker,
            credit,
            block_candidate,
            accepted_ms: unix_millis(),
        });
        if !taken {
            // Once: how many there are is counted.
            if !self.complained.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    "the ledger takes no share now: it is full, or its writer is gone. Those with \
                     a payout key are refused, others told as accepted; both are counted as not \
                     kept. Look at the log before this line; if it goes on, restart the sidecar"
                );
            }
            self.returns.kept([Kept { id, outcome: Keeping::Failed }]);
        }
    }

    /// A request of the pool. What can't be let in is answered at once.
    pub(crate) fn call(
        &self,
        call_id: u64,
        call: Result<Call, CallError>,
    ) -> Result<(), CallError> {
        let call = call?;
        self.ledger.call(call, self.calls.begin(call_id)?);
        Ok(())
    }

    /// Delivers an event behind the verdicts that wait for its connection.
    pub(crate) fn deliver_after(&self, conn: ConnId, event: Event) {
        let mut books = self.returns.lock();
        match books.of_conn.get_mut(&conn) {
            Some(waiting) => waiting.later.push(event),
            None => {
                self.returns.directory.deliver(conn, event);
            }
        }
    }
}

#[cfg(test)]
mod tests;
