//! The durable ledger: every accepted share, what it is owed, and what became of that.
//!
//! A share is in the ledger, on the disk, before its miner is told that it was accepted. Its hash
//! is the key of its row, so no share counts twice, whatever door or restart it comes through.
//!
//! ```text
//! share ─→ credit: OPEN → CLOSED → SEALED → ASSIGNED → SENT → CONFIRMED
//!                            └→ CARRIED
//! quote:           NEW → CREATING → OPEN → CLOSING → SETTLED
//! ```
//!
//! A share belongs to the one credit of its account that is open when it comes. Whose account that
//! is: identity and key of the share's own channel, or the key that the pool's API set for the
//! identity; none: the share is kept as unassigned. Nothing is bound by being first, so who opens a
//! channel under a stranger's name gets nothing of the stranger's. A channel may name a quote that
//! its miner's wallet made: its shares make credits of their own, which are paid there.
//!
//! One thread writes ([`SqliteLedger`]); readers have connections of their own ([`Books`]). The
//! ledger reads no clock: every time is given by the caller, in milliseconds since the epoch.
//! Every call may be made again: what was done already is not done twice.

mod back;
mod books;
mod bound;
mod checkpoint;
mod credits;
mod due;
mod error;
mod figures;
mod model;
mod notice;
mod quotes;
mod review;
mod root;
mod schema;
mod shares;
mod sinks;
mod slices;
mod sql;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod turn;
mod verify;
mod wallet;
mod writer;

use std::future::Future;

use bytes::Bytes;

use crate::mint::PayoutKey;
use crate::types::QuoteRef;

pub use books::Books;
pub use error::{LedgerError, OpenError};
pub use figures::{Figures, OfState};
pub use model::{
    AccountBooks, Credit, Due, Health, Identity, Kept, LedgerShare, LostQuote, Origin, Outcome,
    Owed, Quote, QuoteNeed, Reading, Sealing, Source, StoredEvent, Stuck, Terms, NAME_BYTES_MAX,
    POOL_CLOCK_MS,
};
pub use notice::Notice;
pub use review::QuoteSums;
pub use root::{payment_id, ShareRoot};
pub use slices::{Pace, SLICE};
pub use state::{CreditState, QuoteState};
pub use store::{Settings, SqliteLedger};
pub use verify::{Audit, Export};
pub use writer::BATCH_SHARES_MAX;

/// How long a quote that a wallet made is remembered before anybody uses it, in milliseconds.
pub const UNUSED_MS: i64 = 24 * 3_600 * 1_000;

/// What a call gives.
pub type Result<T> = std::result::Result<T, LedgerError>;

/// The ledger. A call that answers `Ok` is on the disk; one that answers `Err` has changed no row.
pub trait Ledger: Send + Sync + 'static {
    /// Takes a share to be written; its outcome comes with the others of its transaction. Never
    /// blocks. `false`: no room, or the ledger is closed; then nothing comes.
    fn record(&self, share: LedgerShare) -> bool;

    /// Writes shares of the pool's own door, all in one transaction. One outcome for each, in
    /// order. Refuses them all when one that is not there may have been deleted
    /// ([`Ledger::prune`]). They may be of any age: credits that they open begin at `at_ms`.
    fn record_many(
        &self,
        shares: Vec<LedgerShare>,
        at_ms: i64,
    ) -> impl Future<Output = Result<Vec<Outcome>>> + Send;

    /// Sets where shares of an identity go from now on that come on channels without a key; no
    /// key: nowhere. With `claim_unassigned` the unassigned work of the identity so far goes there,
    /// too: answers how many shares that were.
    fn set_payout(
        &self,
        identity: Bytes,
        key: Option<PayoutKey>,
        claim_unassigned: bool,
        at_ms: i64,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// The books of an account; `None`: no such account.
    fn account(
        &self,
        identity: Bytes,
        key: Option<PayoutKey>,
    ) -> impl Future<Output = Result<Option<AccountBooks>>> + Send;

    /// Closes the open credits of accounts with a key that are due, at most 256. Answers how many.
    fn close_due(&self, due: Due, at_ms: i64) -> impl Future<Output = Result<u64>> + Send;

    /// Gives amounts to closed credits, at most `most` of them. What is beyond 2^62 for one credit
    /// is carried to the next.
    fn seal(
        &self,
        terms: Terms,
        most: u32,
        at_ms: i64,
    ) -> impl Future<Output = Result<Sealing>> + Send;

    /// Accounts that need a quote, and quotes that are not open yet and due; at most `most` of
    /// each.
    fn due_quotes(
        &self,
        at_ms: i64,
        most: u32,
    ) -> impl Future<Output = Result<Vec<QuoteNeed>>> + Send;

    /// Writes down a quote that is to be asked for, under a name of the caller's choice, 1 to 128
    /// bytes, never used before. Refused while the account has one that takes credits.
    fn new_quote(
        &self,
        account_id: i64,
        quote_ref: String,
        request: String,
        at_ms: i64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// A wallet asks the mint for a quote by itself, locked to its key; the mint makes it under
    /// this id. Refused when a quote has the name or the id.
    fn new_wallet_quote(
        &self,
        quote: QuoteRef,
        key: PayoutKey,
        quote_id: String,
        at_ms: i64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The key of a quote that a wallet made ([`Books::wallet_quote`]).
    fn wallet_quote(
        &self,
        quote: QuoteRef,
    ) -> impl Future<Output = Result<Option<PayoutKey>>> + Send;

    /// Forgets quotes of wallets that nobody has used: those made by `made_by_ms`, and all but the
    /// newest `keep`; at most `most`. Answers how many.
    fn forget_quotes(
        &self,
        made_by_ms: i64,
        keep: u64,
        most: u64,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// The mint is about to be asked for the quote.
    fn quote_creating(&self, quote_ref: String) -> impl Future<Output = Result<()>> + Send;

    /// The mint makes the quote under this id. Refused while it has another.
    fn set_candidate(
        &self,
        quote_ref: String,
        quote_id: String,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The mint does not have the quote: to be asked for again, not before `next_try_ms`. Forgets
    /// the candidate.
    fn quote_again(
        &self,
        quote_ref: String,
        next_try_ms: i64,
        detail: String,
        at_ms: i64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The mint has the quote. `expiry_s`: seconds since the epoch, 0 for never.
    fn quote_opened(
        &self,
        quote_ref: String,
        quote_id: String,
        expiry_s: i64,
        at_ms: i64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// A quote by our name of it.
    fn quote(&self, quote_ref: String) -> impl Future<Output = Result<Option<Quote>>> + Send;

    /// Quotes to read at the mint ([`Books::unread_quotes`]).
    fn unread_quotes(
        &self,
        read_by_ms: i64,
        most: u32,
    ) -> impl Future<Output = Result<Vec<Quote>>> + Send;

    /// The mint answered, and did not show the quote: it is read again, not at once.
    fn quote_unshown(
        &self,
        quote_ref: String,
        at_ms: i64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// An open quote takes no more credits: the mint does not show it.
    fn close_quote(&self, quote_ref: String) -> impl Future<Output = Result<()>> + Send;

    /// Quotes of any age that were not read for long ([`Books::idle_quotes`]).
    fn idle_quotes(
        &self,
        read_by_ms: i64,
        most: u32,
    ) -> impl Future<Output = Result<Vec<Quote>>> + Send;

    /// Lets quotes take no more credits that have `payments_max` or were opened by `opened_by_ms`;
    /// a wallet's also when it was made [`UNUSED_MS`] before that, open or not. At most 256 of
    /// each; answers how many.
    fn rotate(
        &self,
        payments_max: u64,
        opened_by_ms: i64,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Lets quotes take no more credits of whose time from their opening to their expiry half is
    /// over, but not in their first minute; a wallet's when it has expired, for its expiry was told
    /// when it was made. At most 256; answers how many.
    fn rotate_expiring(&self, at_ms: i64) -> impl Future<Output = Result<u64>> + Send;

    /// The mint does not know the quote any more. What was sent on it is lost until the operator
    /// says [`Ledger::requeue`]; answers how many credits that are. What was not sent gets another
    /// quote.
    fn quote_lost(
        &self,
        quote_ref: String,
        detail: String,
        at_ms: i64,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Quotes that the mint did not know, on which credits were sent that wait for another quote's
    /// payments to go out, or for the operator: the former as far as the quotes were not read since
    /// `read_by_ms`, the latter since `lost_by_ms`; at most `most`.
    fn lost_quotes(
        &self,
        read_by_ms: i64,
        lost_by_ms: i64,
        most: u32,
    ) -> impl Future<Output = Result<Vec<LostQuote>>> + Send;

    /// The mint was asked for such a quote, and still does not know it: what waits may be sent
    /// elsewhere.
    fn quote_gone(&self, lost: LostQuote, at_ms: i64) -> impl Future<Output = Result<()>> + Send;

    /// The mint answered for a quote, and did not show what was paid on it.
    fn quote_hidden(
        &self,
        quote_ref: String,
        at_ms: i64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The mint knows such a quote again: what was sent on it, and is not confirmed elsewhere, goes
    /// back there as sent; it takes nothing new. Answers how many credits. None while one of them
    /// is sent on another quote, for the mint may have taken it there, and while sending is
    /// stopped.
    fn quote_back(&self, quote_ref: String, at_ms: i64)
        -> impl Future<Output = Result<u64>> + Send;

    /// Gives sealed credits to the wallet's quote that their channels named, as long as that is
    /// open and has less than `payments_max` of their account; others to the open quote of their
    /// account, in order, as long as it has less than `payments_max`. At most 256 of each; answers
    /// how many.
    fn assign(&self, payments_max: u64, at_ms: i64) -> impl Future<Output = Result<u64>> + Send;

    /// Credits to be sent for the first time, in order. None while sending is stopped, or a quote
    /// that takes credits was not looked at since the ledger was opened: were this an old copy, the
    /// mint would show that more was paid than this ledger knows of.
    fn due_credits(&self, at_ms: i64, most: u32) -> impl Future<Output = Result<Vec<Owed>>> + Send;

    /// Credits that were sent and not confirmed, in the order of sending, after that place: to be
    /// sent again on each new stream to the mint. None while sending is stopped.
    fn unconfirmed(&self, after: u64, most: u32) -> impl Future<Output = Result<Vec<Owed>>> + Send;

    /// Writes down that credits are sent, before the mint is told. Refused while sending is
    /// stopped.
    fn mark_sent(&self, credits: Vec<u64>, at_ms: i64) -> impl Future<Output = Result<()>> + Send;

    /// A credit could not be sent: not before `next_try_ms` again. Each call counts as a try.
    fn defer(
        &self,
        credit: u64,
        next_try_ms: i64,
        detail: String,
        at_ms: i64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Whether all that were ever told of events are told of them since the ledger was opened: had
    /// one of them more than that, sending would be stopped.
    fn sinks_heard(&self) -> impl Future<Output = Result<bool>> + Send;

    /// What was sent on a quote, confirmed or not, in order: the answer to a mint that asks.
    fn payments_of(&self, quote_ref: String) -> impl Future<Output = Result<Vec<Owed>>> + Send;

    /// A reading of a quote: `paid` and `issued` are the mint's totals for it. Confirms all that
    /// was sent when the mint shows all of it. More than that stops all sending.
    fn confirm(
        &self,
        quote_ref: String,
        paid: u64,
        issued: u64,
        at_ms: i64,
    ) -> impl Future<Output = Result<Reading>> + Send;

    /// Events after `seq`, in order, at most `most`.
    fn events_after(
        &self,
        seq: u64,
        most: u32,
    ) -> impl Future<Output = Result<Vec<StoredEvent>>> + Send;

    /// A consumer has kept all events up to `seq`. Never goes back.
    fn ack(&self, consumer: String, seq: u64) -> impl Future<Output = Result<()>> + Send;

    /// Stops sending, for a reason that stays until [`Ledger::resume_sending`].
    fn stop_sending(&self, reason: String) -> impl Future<Output = Result<()>> + Send;

    /// Lets sending go on. What the mint showed too much is known from then on: only more than
    /// that stops sending again. What was known before is counted anew. So is what it had been paid
    /// on quotes that it lost, and wallets were not seen to mint ([`Books::known_gone`]).
    fn resume_sending(&self) -> impl Future<Output = Result<()>> + Send;

    /// Holds a credit back that is sealed but not final.
    fn freeze_credit(&self, credit: u64) -> impl Future<Output = Result<()>> + Send;

    /// Lets a credit that was held back go on from where it was.
    fn unfreeze_credit(&self, credit: u64) -> impl Future<Output = Result<()>> + Send;

    /// Holds an account back (or lets it go on): its shares are kept, nothing of it is closed,
    /// sealed or sent.
    fn freeze_account(
        &self,
        account_id: i64,
        frozen: bool,
    ) -> impl Future<Output = Result<()>> + Send;

    /// A lost credit is to be sent on another quote, as the same payment.
    fn requeue(&self, credit: u64) -> impl Future<Output = Result<()>> + Send;

    /// Deletes the shares of credits that were confirmed or carried by `by_ms`, and events older
    /// than that which all who were ever to be told of events have acknowledged; at most `most` of
    /// each. Answers how many rows.
    fn prune(&self, by_ms: i64, at_ms: i64, most: u64) -> impl Future<Output = Result<u64>> + Send;

    /// Does it add up ([`Books::verify`])?
    fn verify(&self) -> impl Future<Output = Result<Audit>> + Send;
}
