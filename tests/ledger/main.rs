//! What survives when the ledger's process, or the power of its box, goes away at any moment.

// Test code: a fault of the harness fails the test that meets it, with its seed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod kill;
mod lossy;
mod power;
mod shares;

use gopool_sv2_tests::Result;
