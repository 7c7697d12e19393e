//! Shares become ehash: the way from an accepted share to a credit at a Cashu mint.
//!
//! ```text
//! verdict → ledger (durable) → credit, sealed by time → deposit quote of the mint → confirmed
//! ```
//!
//! [`ledger`] is the one place where it is written down who is owed what; [`work`] says how much
//! that is. Nothing in here judges a share.

mod bridge;
mod clock;
mod deposits;
pub mod dispatch;
pub mod http;
mod keeper;
pub mod ledger;
mod outbox;
mod pem;
pub mod processor;
mod text;
pub mod token;
pub mod work;

pub use crate::types::PayoutKey;
pub use bridge::{http_settings, Bridge, BridgeError, Running};
pub use token::{QuoteSecret, Token};
pub use work::{Scheme, Work};
