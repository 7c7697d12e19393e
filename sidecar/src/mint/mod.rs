//! Shares become ehash: the way from an accepted share to a credit at a Cashu mint.
//!
//! ```text
//! verdict → ledger (durable) → credit, sealed → deposit quote of the mint → confirmed
//!
//! http ──→ the mint's API: asks for a quote, reads a quote
//! processor ←── the mint: where to pay, what was paid, and a stream of what is paid now
//! ```
//!
//! [`ledger`] is the one place where it is written down who is owed what; [`work`] says how much
//! that is. [`dispatch`] brings it to the mint, and [`token`] ties the two roads there: by it the
//! [`processor`] knows the quotes that [`http`] asked for. Nothing in here judges a share.

mod bridge;
mod callbacks;
mod clock;
mod deposits;
pub mod dispatch;
#[cfg(test)]
pub mod fake;
mod figures;
mod herald;
pub mod http;
mod keeper;
pub mod ledger;
mod outbox;
mod pem;
pub mod processor;
#[cfg(test)]
mod tests;
mod text;
pub mod token;
pub mod work;

pub use crate::types::PayoutKey;
pub use bridge::{http_settings, Bridge, BridgeError, Running};
pub use callbacks::{CreditLog, QuoteCallbacks};
pub use token::{QuoteSecret, Token};
pub use work::{Scheme, Work};
