//! What the processor asks of whoever keeps the books.

use std::fmt;
use std::future::Future;

use tokio::sync::watch;

use crate::types::PayoutKey;

/// The books behind the processor: deposit quotes by our names of them, and what was paid on each.
///
/// The processor keeps nothing itself. What it tells a mint was read here at that moment, so a
/// payment must be durable here before it can be read.
pub trait Deposits: Send + Sync + 'static {
    /// The mint is about to make a quote. Written down before the answer: from it on the mint may
    /// pay the quote. The mint does not say whether it made the quote after all.
    fn create(&self, wish: Wish) -> impl Future<Output = Result<Created, Refused>> + Send;

    /// All that was ever sent on a quote, by our name of it, confirmed or not, in order. None for a
    /// name that isn't known.
    fn payments(
        &self,
        identifier: &str,
    ) -> impl Future<Output = Result<Vec<Payment>, Unavailable>> + Send;

    /// Payments that were sent and are not confirmed, in the order of their places, those after
    /// `after` only, at most `most`. None: there are no more at present.
    fn unconfirmed(
        &self,
        after: Place,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Sent>, Unavailable>> + Send;

    /// Changes each time that there is more to read by [`Deposits::unconfirmed`]. The value means
    /// nothing. Closed when the books are.
    fn woken(&self) -> watch::Receiver<u64>;

    /// A mint has opened a stream of payments: it is there. Must not block.
    fn mint_listens(&self) {}
}

/// Where a payment stands in the order of sending. A payment that is sent, or sent again, gets a
/// place after all that were given before, so that a reader who goes on from the last place he saw
/// misses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place(pub u64);

impl Place {
    /// Before the first.
    pub const START: Self = Self(0);
}

/// A quote that the mint is about to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The mint's id of it: printable ASCII, at most 128 bytes. Who knows it can look at the quote.
    pub quote_id: String,
    /// The key it is locked to.
    pub payout_key: PayoutKey,
    /// Who asks for it.
    pub asker: Asker,
}

/// Who asks for a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// The pool, under its own name of the quote: the token was right.
    Pool {
        /// As it was given to [`crate::mint::http::MintHttp::create`].
        reference: String,
    },
    /// Somebody's wallet. Its name of ours is to be made up: nothing of the request may go into it.
    Wallet,
}

/// A quote that is in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Our name of it, by which the mint asks for its payments; unique for ever.
    pub identifier: String,
    /// What wallets are shown; unique for ever.
    pub request: String,
    /// Until when it may be paid, seconds since the epoch; `None`: for ever.
    pub expiry: Option<u64>,
}

/// One payment on a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its name, unique over all quotes of the mint, and the same each time.
    pub payment_id: String,
    /// In the mint's unit; never 0, which a mint drops.
    pub amount: u64,
}

/// A payment that the mint is to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its place in the order of sending.
    pub place: Place,
    /// Our name of its quote.
    pub identifier: String,
    /// The payment.
    pub payment: Payment,
}

/// Why a quote is not to be made. The text goes to the log; a wallet sees none of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No quote of that name is being asked for.
    #[error("no quote of this name is being asked for")]
    UnknownReference,
    /// The quote is to be locked to another key.
    #[error("the quote of this name is for another key")]
    OtherKey,
    /// The quote exists, or another candidate for it may yet come to be.
    #[error("the quote of this name has an id already")]
    Taken,
    /// The books can't be written now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The books can't be read or written now; why, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger is not available: {}", self.0)
    }
}

impl std::error::Error for Unavailable {}
