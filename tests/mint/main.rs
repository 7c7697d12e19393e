//! Shares become credit at a mint: miners, sidecar and pool as processes, and a mint that has the
//! faults of stock ones. Every promise of the bridge by name; where each is kept stands in
//! promises.txt.

// Test code: a fault of the harness fails the test that meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod kills;
mod machine;
mod miners;
mod mint_faults;
mod promises;
mod restarts;
mod restores;
mod rig;

use std::future::Future;

/// Runs a test's async part.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    gopool_sv2_tests::block_on(work).expect("a runtime")
}
