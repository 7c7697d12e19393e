//! What goes into the ledger and what comes out of it.

use bytes::Bytes;

use crate::mint::{PayoutKey, Scheme, Work};
use crate::types::{Difficulty, Hash, QuoteRef};

use super::state::{CreditState, QuoteState};

/// Longest identity and longest worker of a share, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// How much the pool's clock may be ahead of ours, in milliseconds.
pub const POOL_CLOCK_MS: i64 = 600_000;

/// Where an accepted share came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The pool's own door: it was told through RecordShares.
    V1,
    /// A submit of this listener.
    V2(Origin),
}

/// Names a submit for ever, so that the same one is known when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The session of the link (Hello.session_id), 16 random bytes.
    pub session: [u8; 16],
    /// The submit of that session (Submit.id).
    pub submit: u64,
}

/// A share that the pool accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerShare {
    /// Of the caller's choice; comes back with the outcome.
    pub id: u64,
    /// Where it came from.
    pub source: Source,
    /// Header hash. No hash is written twice.
    pub hash: Hash,
    /// Whose share it is: the user identity of its channel, 0 to 255 opaque bytes.
    pub identity: Bytes,
    /// The key that its own channel carried when it was opened.
    pub payout_key: Option<PayoutKey>,
    /// The quote of a wallet's that it named, which is locked to that key; only with a key.
    pub quote: Option<QuoteRef>,
    /// Worker of extension 0x0002, 0 to 255 opaque bytes.
    pub worker: Bytes,
    /// What the pool booked.
    pub credit: Difficulty,
    /// The hash meets nbits.
    pub block_candidate: bool,
    /// Height of the block it was for, 0 when unknown.
    pub height: u32,
    /// When it was accepted, milliseconds since the epoch.
    pub at_ms: i64,
}

/// What became of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the ledger, on the disk.
    Recorded,
    /// The same submit was recorded before; no second credit.
    Again,
    /// Another submit had this hash.
    Duplicate,
    /// It is not in the ledger: that could not be written, or the share is out of bounds.
    Failed,
}

impl Outcome {
    /// Its name in statistics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Again => "again",
            Self::Duplicate => "duplicate",
            Self::Failed => "failed",
        }
    }
}

/// The outcome of one share of [`super::Ledger::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// [`LedgerShare::id`].
    pub id: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// Whether the ledger can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The last transaction was committed.
    Up,
    /// The last transaction failed, for this reason. The next one is tried all the same.
    Down(String),
}

/// Which credits [`super::Ledger::close_due`] closes: those that one of the two holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Opened at or before this time.
    pub opened_by_ms: i64,
    /// Holds at least this much work.
    pub work_from: Work,
}

/// How credits become amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Work that makes one unit of the mint; not zero.
    pub unit_work: Work,
    /// Less than this (or than 1) is carried to the next credit. At most 2^62.
    pub min_amount: u64,
}

/// What one call of [`super::Ledger::seal`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealing {
    /// Credits that got an amount.
    pub sealed: u64,
    /// Credits that were too small and went into the carry.
    pub carried: u64,
}

/// The books of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountBooks {
    /// Its number in the ledger.
    pub id: i64,
    /// User identity, opaque bytes.
    pub identity: Bytes,
    /// Where its credit goes; `None`: unassigned.
    pub payout_key: Option<PayoutKey>,
    /// Work that no amount holds yet: open and closed credits, and the carry.
    pub accrued: Work,
    /// Shares, all time.
    pub shares: u64,
    /// Amounts sealed but not confirmed, in the mint's unit.
    pub pending_amount: u64,
    /// Amounts that the mint confirmed.
    pub confirmed_amount: u64,
    /// Amounts that the wallet was seen to have minted.
    pub issued_amount: u64,
    /// `request` texts of its quotes, newest first, at most 16.
    pub quote_requests: Vec<String>,
    /// The mint's ids of those quotes, in the same order.
    pub quote_ids: Vec<String>,
    /// Held back by the operator.
    pub frozen: bool,
}

/// A credit as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// Its number; never used again.
    pub id: u64,
    /// Its account's number.
    pub account_id: i64,
    /// Where it stands.
    pub state: CreditState,
    /// How its shares were valued.
    pub scheme: Scheme,
    /// Work of its shares.
    pub work: Work,
    /// How many shares.
    pub shares: u64,
    /// In the mint's unit; 0 before it is sealed, and when it was carried.
    pub amount: u64,
    /// Commits to its shares ([`super::ShareRoot`]), from the time it is sealed.
    pub share_root: Option<[u8; 32]>,
    /// Unique at the mint, from the time it is sealed.
    pub payment_id: Option<String>,
    /// The quote it is paid on.
    pub quote_ref: Option<String>,
    /// The wallet's quote that the channels of its shares named: where it is to be paid, as long as
    /// that takes credits.
    pub wish: Option<String>,
    /// Failed tries to send it.
    pub attempts: u32,
    /// Not to be sent before this time.
    pub next_try_ms: i64,
    /// When it was opened.
    pub opened_ms: i64,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// A credit that is to be told to the mint, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Its number.
    pub credit_id: u64,
    /// Unique at the mint.
    pub payment_id: String,
    /// In the mint's unit.
    pub amount: u64,
    /// The quote it is paid on.
    pub quote_ref: String,
    /// The mint's id of that quote.
    pub quote_id: String,
    /// [`CreditState::Assigned`], [`CreditState::Sent`] or [`CreditState::Confirmed`].
    pub state: CreditState,
    /// Failed tries so far.
    pub attempts: u32,
    /// Its place in the order of sending; 0 before it was sent.
    pub place: u64,
}

/// A deposit quote as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Our name of it, unique for ever.
    pub quote_ref: String,
    /// The account it was made for; `None`: a wallet made it, for all who name it.
    pub account_id: Option<i64>,
    /// The key it is locked to.
    pub payout_key: PayoutKey,
    /// Its `request` text at the mint.
    pub request: String,
    /// Where it stands.
    pub state: QuoteState,
    /// The id under which the mint is making it, while the answer is not known.
    pub candidate_quote_id: Option<String>,
    /// The mint's id of it, from the time it is open.
    pub quote_id: Option<String>,
    /// When it expires, seconds since the epoch, as the mint said; 0: never.
    pub expiry_s: i64,
    /// When it was opened; 0 before.
    pub opened_ms: i64,
    /// Credits that were assigned to it.
    pub payments: u64,
    /// `amount_paid` of its last reading.
    pub paid_seen: u64,
    /// `amount_issued` of its last reading.
    pub issued_seen: u64,
    /// When it was last read; 0: never.
    pub last_read_ms: i64,
    /// Failed tries to create it.
    pub attempts: u32,
    /// Not to be tried before this time.
    pub next_try_ms: i64,
}

impl Quote {
    /// Who asked the mint for it: `wallet` or `pool`.
    #[must_use]
    pub const fn made_by(&self) -> &'static str {
        match self.account_id {
            Some(_) => "pool",
            None => "wallet",
        }
    }
}

/// A quote that somebody has to do something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuoteNeed {
    /// An account has sealed credits and no quote that takes them.
    Missing {
        /// The account.
        account_id: i64,
        /// The key to lock the quote to.
        payout_key: PayoutKey,
    },
    /// A quote is to be asked for (again), or its answer to be found out.
    Unfinished(Quote),
}

/// A quote that the mint did not know when it was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostQuote {
    /// The quote.
    pub quote: Quote,
    /// Credits that were sent on it and are to be sent on another one, with our name of that one.
    pub waiting: Vec<(u64, String)>,
}

/// What a reading of a quote means for the credits sent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The mint shows all that was sent: so many credits are confirmed now, that were not.
    Even(u64),
    /// The mint shows less than was sent.
    Behind {
        /// By how much, in its unit.
        missing: u64,
    },
    /// The mint shows more than was ever sent: sending has been stopped.
    Surplus {
        /// By how much, in its unit.
        extra: u64,
    },
}

/// An event of the durable sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// From 1, gapless.
    pub seq: u64,
    /// An encoded `gopool.sv2.v1.Event`, seq and time in it.
    pub payload: Bytes,
}

/// A credit that waits, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The credit.
    pub credit: Credit,
    /// Whose it is.
    pub identity: Bytes,
    /// Where it is to go.
    pub payout_key: Option<PayoutKey>,
}

/// What is constant in the life of a ledger, but for its source of events, which gets another name
/// when the operator says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Goes into each payment's name, 16 random bytes.
    pub pool_id: [u8; 16],
    /// Names the sequence of events, 16 random bytes.
    pub source_id: [u8; 16],
    /// How shares are valued.
    pub scheme: Scheme,
}
