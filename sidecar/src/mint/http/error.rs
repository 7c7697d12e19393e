//! What can go wrong with a call to the mint.

use std::error::Error;
use std::time::Duration;

use super::super::text::printable;

/// Why a call gave nothing. The text may go to the log: what is the mint's in it is printable and
/// at most 1 KiB.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The mint answered, and refuses.
    #[error("the mint refuses: {detail} (code {code}); {}", kind.remedy())]
    Refused {
        /// What it means.
        kind: Refusal,
        /// The mint's code (NUT-00).
        code: u64,
        /// The mint's words.
        detail: String,
    },
    /// No connection, or one that broke. The mint may have done what was asked.
    #[error("the mint can't be reached: {0}; is it running, and is its url right?")]
    Unreachable(String),
    /// No answer in time. The mint may have done what was asked.
    #[error("the mint did not answer within {0:?}: is it overloaded, or is its processor (we)?")]
    TimedOut(Duration),
    /// Something answered, but not as a mint does.
    #[error("what answers is no mint, or one of another version: {0}; is the url right?")]
    NotAMint(String),
    /// The id of a quote that was to be read can't be one; nothing was sent.
    #[error("the id of the quote is no id")]
    NotAnId,
}

/// Why the mint refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 11006: the amount is outside of what the mint takes.
    Amount,
    /// 11013: the mint doesn't know the unit.
    Unit,
    /// 20006: the identifier or request that our processor gave is that of another quote, or a
    /// payment's name is that of a payment on another quote.
    InUse,
    /// 50000 with the words of it: the mint has no such quote.
    UnknownQuote,
    /// 50000: our payment processor is down or refused, or the mint's database failed.
    Backend,
    /// Another code.
    Other,
}

impl Refusal {
    const fn remedy(self) -> &'static str {
        match self {
            Self::Amount => "set min_mint of the mint to 1",
            Self::Unit => "set the same unit here and in the mint",
            Self::InUse => "the mint had this quote or payment before",
            Self::UnknownQuote => "was the mint's database replaced?",
            Self::Backend => "does the mint reach the payment processor, and was it let in?",
            Self::Other => "the mint's log may say why",
        }
    }
}

/// A failure of the connection, with all its causes.
pub(super) fn transport(error: &(dyn Error + 'static)) -> MintError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    MintError::Unreachable(printable(&text))
}
