//! The whole line over the real processes: miner ⇄ sidecar ⇄ minipool with a chain of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abuse;
mod admission;
mod books;
mod cli;
mod drain;
mod history;
mod hostile;
mod key_renewal;
mod ledger;
mod load;
mod mint;
mod names;
mod operate;
mod pace;
mod peer;
mod pool_away;
mod probe;
mod setup;
mod siege;
mod stats;
mod status;
mod supervised;
mod tips;
mod tls;

use std::future::Future;

/// Runs a test's async part.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    gopool_sv2_tests::block_on(work).expect("a runtime")
}
