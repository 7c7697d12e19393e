//! Shares become ehash: the way from an accepted share to a credit at a Cashu mint.
//!
//! ```text
//! verdict → ledger (durable) → credit, sealed by time → deposit quote of the mint → confirmed
//! ```
//!
//! [`ledger`] is the one place where it is written down who is owed what; [`work`] says how much
//! that is, and [`key`] to whom it goes. Nothing in here judges a share.

pub mod key;
pub mod ledger;
pub mod work;

pub use key::{KeyError, PayoutKey};
pub use work::{Scheme, Work};
