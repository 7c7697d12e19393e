//! An example mint for ehash that needs nothing installed, and the stock wallet of the Cashu
//! Development Kit, as two programs: `ehash-mint` and `ehash-wallet`.
//!
//! The mint is cdk's own, with its own database and its own HTTP API. Like the stock program
//! `cdk-mintd` with the backend `grpcprocessor` it knows nothing of shares: a payment processor,
//! which it dials over gRPC, says which quotes were paid. For real use there is `cdk-mintd`
//! itself; the folder `mintd` has its configuration.

pub mod file;
pub mod mint;
pub mod processor;
pub mod wallet;

/// The unit of the ehash, as mints and wallets write it.
pub const UNIT: &str = "hash";

/// The payment method of its quotes: part of the paths of the mint's HTTP API.
pub const METHOD: &str = "ehash";
