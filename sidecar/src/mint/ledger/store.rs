//! The ledger in an SQLite file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{sync_channel, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch, Semaphore};

use crate::mint::{PayoutKey, Scheme};
use crate::obs::Counts;
use crate::sys::logging_thread;
use crate::types::QuoteRef;

use super::books::Books;
use super::bound::{self, Payouts};
use super::checkpoint::Checkpoints;
use super::due::Old;
use super::error::{LedgerError, OpenError};
use super::figures::Figures;
use super::model::{
    AccountBooks, Due, Health, Identity, Kept, LedgerShare, LostQuote, Outcome, Owed, Quote,
    QuoteNeed, Reading, Sealing, StoredEvent, Terms,
};
use super::schema;
use super::turn::Turn;
use super::verify::Audit;
use super::writer::{Answer, Task, Writer};
use super::{Ledger, Result};

/// Calls that wait for the writer at most; further callers wait for their turn.
const CALLS_MAX: usize = 64;

/// Readers that are kept open.
const READERS_KEPT: usize = 4;

/// How a ledger is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file, on a local file system. Others are made beside it (`-wal`, `-shm`, `.lock`).
    pub path: PathBuf,
    /// How shares are valued; the same in all the life of the file.
    pub scheme: Scheme,
    /// Shares that wait for the writer at most.
    pub max_shares: usize,
    /// Least time between two MintAccrued events of an account, in milliseconds.
    pub accrued_every_ms: i64,
}

/// The ledger in an SQLite file, with a thread of its own that writes. Cheap to clone. The file
/// is free for another process when the last clone is gone; that one waits for the writer to
/// finish what it has.
#[derive(Debug, Clone)]
pub struct SqliteLedger {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    identity: Identity,
    secret: [u8; 32],
    /// None only while this is dropped.
    tasks: Option<SyncSender<Task>>,
    calls: Semaphore,
    health: watch::Receiver<Health>,
    /// Idle readers.
    readers: Mutex<Vec<Books>>,
    /// Identities that the pool has set a key for.
    pub(super) payouts: RwLock<Payouts>,
    writer: Option<JoinHandle<()>>,
    /// Held as long as the writer runs.
    lock: Option<File>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writer ends when it has done all that was asked.
        drop(self.tasks.take());
        if let Some(writer) = self.writer.take() {
            if writer.join().is_err() {
                tracing::error!("the ledger's writer has panicked");
            }
        }
        drop(self.lock.take());
    }
}

impl SqliteLedger {
    /// Opens the ledger, or makes it, and starts its writer. Outcomes of shares go to `outcomes`,
    /// those of a transaction together; a channel with room for [`Settings::max_shares`] batches
    /// never holds the writer up. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub fn open(
        settings: &Settings,
        outcomes: mpsc::Sender<Vec<Kept>>,
    ) -> std::result::Result<Self, OpenError> {
        Self::open_counted(settings, outcomes, Counts::default())
    }

    /// As [`SqliteLedger::open`]; what the writer does is counted there.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub fn open_counted(
        settings: &Settings,
        outcomes: mpsc::Sender<Vec<Kept>>,
        counts: Counts,
    ) -> std::result::Result<Self, OpenError> {
        let schema::Opened { mut conn, lock, identity } =
            schema::open(&settings.path, settings.scheme)?;
        let file = |source| OpenError::File { path: settings.path.clone(), source };
        let reader = Books::open(&settings.path)?;
        let secret = reader.secret().map_err(|error| file(std::io::Error::other(error)))?;
        let payouts = reader.payouts().map_err(|error| file(std::io::Error::other(error)))?;
        let (tasks, queue) = sync_channel(settings.max_shares.saturating_add(CALLS_MAX));
        let (health, watched) = watch::channel(Health::Up);
        let accrued_every_ms = settings.accrued_every_ms;
        let log = schema::open_log(&settings.path)?;
        let checkpoints = Checkpoints::start(&mut conn, log).map_err(file)?;
        counts.ledger.enabled.set(1);
        counts.ledger.standing.up();
        let writer =
            Writer { tasks: queue, outcomes, health, accrued_every_ms, checkpoints, counts };
        let named = identity.clone();
        let writer = logging_thread("ledger", move || writer.run(&conn, &named)).map_err(file)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: settings.path.clone(),
                identity,
                secret,
                tasks: Some(tasks),
                calls: Semaphore::new(CALLS_MAX),
                health: watched,
                readers: Mutex::new(vec![reader]),
                payouts: RwLock::new(payouts),
                writer: Some(writer),
                lock: Some(lock),
            }),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// What is constant in the life of the ledger.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// 32 random bytes of this ledger, for marks on what it asks of a mint (HMAC). Secret.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.shared.secret
    }

    /// The number of the last event, and of the first that is still here ([`Books::event_range`]).
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn event_range(&self) -> Result<(u64, u64)> {
        self.read(Books::event_range).await
    }

    /// Sums over the ledger ([`Books::figures`]).
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn figures(&self) -> Result<Figures> {
        self.read(Books::figures).await
    }

    /// Whether the ledger can be written, as it changes.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.clone()
    }

    /// Runs `work` in a transaction of the writer. `Err`: nothing of it is kept.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Turn<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = &self.shared;
        // One place in the queue for each.
        let _place = shared.calls.acquire().await.map_err(|_| LedgerError::Closed)?;
        let (sender, answer) = oneshot::channel();
        let call = Box::new(move |turn: Result<&mut Turn<'_>>| {
            let done = turn.and_then(work);
            let keep = done.is_ok();
            // A caller that is gone needs no answer.
            let answer: Answer = Box::new(move |committed| drop(sender.send(committed.and(done))));
            (keep, answer)
        });
        let tasks = shared.tasks.as_ref().ok_or(LedgerError::Closed)?;
        tasks.try_send(Task::Call(call)).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Busy,
            TrySendError::Disconnected(_) => LedgerError::Closed,
        })?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    /// Runs `read` on a connection that only reads, on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Books) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            let idle = shared.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let books = match idle {
                Some(books) => books,
                None => Books::open(&shared.path)
                    .map_err(|error| LedgerError::Storage(error.to_string()))?,
            };
            let found = read(&books);
            let mut readers = shared.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS_KEPT {
                readers.push(books);
            }
            found
        });
        done.await.map_err(|_| LedgerError::Closed)?
    }
}

impl Ledger for SqliteLedger {
    fn record(&self, share: LedgerShare) -> bool {
        let tasks = self.shared.tasks.as_ref();
        tasks.is_some_and(|tasks| tasks.try_send(Task::Share(Box::new(share))).is_ok())
    }

    async fn record_many(&self, shares: Vec<LedgerShare>, at_ms: i64) -> Result<Vec<Outcome>> {
        self.call(move |turn| {
            turn.refuse_forgotten(&shares)?;
            // A full disk may have ended the whole transaction: nothing is written after an error.
            let outcomes = shares.iter().map(|share| turn.record(share, at_ms));
            let outcomes = outcomes.collect::<Result<_>>()?;
            turn.flush()?;
            Ok(outcomes)
        })
        .await
    }

    async fn set_payout(
        &self,
        identity: Bytes,
        key: Option<PayoutKey>,
        claim_unassigned: bool,
        at_ms: i64,
    ) -> Result<u64> {
        let (named, some) = (identity.clone(), key.is_some());
        let set = self.call(move |turn| {
            let released = turn.set_payout(&named, key, claim_unassigned, at_ms)?;
            Ok((released, bound::next()))
        });
        let (released, order) = set.await?;
        self.payout_set(identity, some, order);
        Ok(released)
    }

    async fn account(
        &self,
        identity: Bytes,
        key: Option<PayoutKey>,
    ) -> Result<Option<AccountBooks>> {
        self.read(move |books| books.account(&identity, key.as_ref())).await
    }

    async fn close_due(&self, due: Due, at_ms: i64) -> Result<u64> {
        let found = self.read(move |books| books.to_close(due, at_ms)).await?;
        let closed = self.in_slices(found, move |turn, slice| turn.close_due(slice, at_ms)).await?;
        Ok(closed.into_iter().sum())
    }

    async fn seal(&self, terms: Terms, most: u32, at_ms: i64) -> Result<Sealing> {
        // Closed credits take no more shares: their roots can be made beside the writer.
        let rooted = self.read(move |books| books.closed(most)).await?;
        let seal = move |turn: &mut Turn<'_>, slice: &[_]| turn.seal(slice, terms, at_ms);
        let mut sealing = Sealing::default();
        for done in self.in_slices(rooted, seal).await? {
            sealing.sealed += done.sealed;
            sealing.carried += done.carried;
        }
        Ok(sealing)
    }

    async fn due_quotes(&self, at_ms: i64, most: u32) -> Result<Vec<QuoteNeed>> {
        self.read(move |books| books.due_quotes(at_ms, most)).await
    }

    async fn new_quote(
        &self,
        account_id: i64,
        quote_ref: String,
        request: String,
        at_ms: i64,
    ) -> Result<()> {
        self.call(move |turn| turn.new_quote(account_id, &quote_ref, &request, at_ms)).await
    }

    async fn new_wallet_quote(
        &self,
        quote: QuoteRef,
        key: PayoutKey,
        quote_id: String,
        at_ms: i64,
    ) -> Result<()> {
        self.call(move |turn| turn.new_wallet_quote(quote, &key, &quote_id, at_ms)).await
    }

    async fn wallet_quote(&self, quote: QuoteRef) -> Result<Option<PayoutKey>> {
        self.read(move |books| books.wallet_quote(quote)).await
    }

    async fn forget_quotes(&self, made_by_ms: i64, keep: u64, most: u64) -> Result<u64> {
        let beyond = self.read(move |books| books.unused_beyond(keep)).await?;
        let by = made_by_ms.max(beyond.unwrap_or(i64::MIN));
        self.call(move |turn| turn.forget_quotes(by, most)).await
    }

    async fn quote_creating(&self, quote_ref: String) -> Result<()> {
        self.call(move |turn| turn.quote_creating(&quote_ref)).await
    }

    async fn set_candidate(&self, quote_ref: String, quote_id: String) -> Result<()> {
        self.call(move |turn| turn.set_candidate(&quote_ref, &quote_id)).await
    }

    async fn quote_again(
        &self,
        quote_ref: String,
        next_try_ms: i64,
        detail: String,
        at_ms: i64,
    ) -> Result<()> {
        self.call(move |turn| turn.quote_again(&quote_ref, next_try_ms, &detail, at_ms)).await
    }

    async fn quote_opened(
        &self,
        quote_ref: String,
        quote_id: String,
        expiry_s: i64,
        at_ms: i64,
    ) -> Result<()> {
        self.call(move |turn| turn.quote_opened(&quote_ref, &quote_id, expiry_s, at_ms)).await
    }

    async fn quote(&self, quote_ref: String) -> Result<Option<Quote>> {
        self.read(move |books| books.quote(&quote_ref)).await
    }

    async fn unread_quotes(&self, read_by_ms: i64, most: u32) -> Result<Vec<Quote>> {
        self.read(move |books| books.unread_quotes(read_by_ms, most)).await
    }

    async fn quote_unshown(&self, quote_ref: String, at_ms: i64) -> Result<()> {
        self.call(move |turn| turn.quote_unshown(&quote_ref, at_ms)).await
    }

    async fn close_quote(&self, quote_ref: String) -> Result<()> {
        self.call(move |turn| turn.rotate(&[Old::Open(quote_ref)]).map(drop)).await
    }

    async fn idle_quotes(&self, read_by_ms: i64, most: u32) -> Result<Vec<Quote>> {
        self.read(move |books| books.idle_quotes(read_by_ms, most)).await
    }

    async fn rotate(&self, payments_max: u64, opened_by_ms: i64) -> Result<u64> {
        let old = self.read(move |books| books.old_quotes(payments_max, opened_by_ms)).await?;
        Ok(self.in_slices(old, |turn, slice| turn.rotate(slice)).await?.into_iter().sum())
    }

    async fn rotate_expiring(&self, at_ms: i64) -> Result<u64> {
        let old = self.read(move |books| books.expiring_quotes(at_ms)).await?;
        Ok(self.in_slices(old, |turn, slice| turn.rotate(slice)).await?.into_iter().sum())
    }

    async fn quote_lost(&self, quote_ref: String, detail: String, at_ms: i64) -> Result<u64> {
        self.call(move |turn| turn.quote_lost(&quote_ref, &detail, at_ms)).await
    }

    async fn lost_quotes(
        &self,
        read_by_ms: i64,
        lost_by_ms: i64,
        most: u32,
    ) -> Result<Vec<LostQuote>> {
        self.read(move |books| books.lost_quotes(read_by_ms, lost_by_ms, most)).await
    }

    async fn quote_gone(&self, lost: LostQuote, at_ms: i64) -> Result<()> {
        self.call(move |turn| turn.quote_gone(&lost, at_ms)).await
    }

    async fn quote_hidden(&self, quote_ref: String, at_ms: i64) -> Result<()> {
        self.call(move |turn| turn.quote_hidden(&quote_ref, at_ms)).await
    }

    async fn quote_back(&self, quote_ref: String, at_ms: i64) -> Result<u64> {
        self.call(move |turn| turn.quote_back(&quote_ref, at_ms)).await
    }

    async fn assign(&self, payments_max: u64, at_ms: i64) -> Result<u64> {
        let found = self.read(move |books| books.assignable(payments_max)).await?;
        let assign =
            move |turn: &mut Turn<'_>, slice: &[_]| turn.assign(slice, payments_max, at_ms);
        Ok(self.in_slices(found, assign).await?.into_iter().sum())
    }

    async fn due_credits(&self, at_ms: i64, most: u32) -> Result<Vec<Owed>> {
        self.read(move |books| books.due_credits(at_ms, most)).await
    }

    async fn unconfirmed(&self, after: u64, most: u32) -> Result<Vec<Owed>> {
        self.read(move |books| books.unconfirmed(after, most)).await
    }

    async fn mark_sent(&self, credits: Vec<u64>, at_ms: i64) -> Result<()> {
        self.call(move |turn| turn.mark_sent(&credits, at_ms)).await
    }

    async fn defer(&self, credit: u64, next_try_ms: i64, detail: String, at_ms: i64) -> Result<()> {
        self.call(move |turn| turn.defer(credit, next_try_ms, &detail, at_ms)).await
    }

    async fn sinks_heard(&self) -> Result<bool> {
        self.read(Books::sinks_heard).await
    }

    async fn payments_of(&self, quote_ref: String) -> Result<Vec<Owed>> {
        self.read(move |books| books.payments_of(&quote_ref)).await
    }

    async fn confirm(
        &self,
        quote_ref: String,
        paid: u64,
        issued: u64,
        at_ms: i64,
    ) -> Result<Reading> {
        self.call(move |turn| turn.confirm(&quote_ref, paid, issued, at_ms)).await
    }

    async fn events_after(&self, seq: u64, most: u32) -> Result<Vec<StoredEvent>> {
        self.read(move |books| books.events_after(seq, most)).await
    }

    async fn ack(&self, consumer: String, seq: u64) -> Result<()> {
        self.call(move |turn| turn.ack(&consumer, seq)).await
    }

    async fn stop_sending(&self, reason: String) -> Result<()> {
        self.call(move |turn| turn.stop_sending(&reason).map(drop)).await
    }

    async fn resume_sending(&self) -> Result<()> {
        self.call(|turn| turn.resume_sending()).await
    }

    async fn freeze_credit(&self, credit: u64) -> Result<()> {
        self.call(move |turn| turn.freeze_credit(credit)).await
    }

    async fn unfreeze_credit(&self, credit: u64) -> Result<()> {
        self.call(move |turn| turn.unfreeze_credit(credit)).await
    }

    async fn freeze_account(&self, account_id: i64, frozen: bool) -> Result<()> {
        self.call(move |turn| turn.freeze_account(account_id, frozen)).await
    }

    async fn requeue(&self, credit: u64) -> Result<()> {
        self.call(move |turn| turn.requeue(credit)).await
    }

    async fn prune(&self, by_ms: i64, at_ms: i64, most: u64) -> Result<u64> {
        self.call(move |turn| {
            Ok(turn.prune_shares(by_ms, most)? + turn.prune_events(by_ms, at_ms, most)?)
        })
        .await
    }

    async fn verify(&self) -> Result<Audit> {
        self.read(Books::verify).await
    }
}
