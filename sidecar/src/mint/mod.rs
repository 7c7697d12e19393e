//! Shares become ehash: the way from an accepted share to a credit at a Cashu mint.
//!
//! Between us and a stock mint there are two roads, and we stand at either end:
//!
//! ```text
//! http ──→ the mint's API: asks for a quote, reads a quote
//! processor ←── the mint: where to pay, what was paid, and a stream of what is paid now
//! ```
//!
//! [`token`] ties the two: by it the processor knows the quotes that [`http`] asked for.

#[cfg(test)]
pub mod fake;
pub mod http;
mod pem;
pub mod processor;
#[cfg(test)]
mod tests;
mod text;
pub mod token;

pub use token::{QuoteSecret, Token};
