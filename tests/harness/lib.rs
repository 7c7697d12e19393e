//! What the black-box tests share: the real processes, scratch directories, journals.
//!
//! A test makes a [`Line`]: minipool and the sidecar as processes of their own, on loopback and a
//! Unix socket in a directory that goes away with it. Only processes started here are ended, by
//! their id.

pub mod attacker;
mod books;
mod credits;
/// A Cashu mint with the faults of stock ones: the same one that the library's own tests have.
#[path = "../../sidecar/src/mint/fake/mod.rs"]
pub mod fake_mint;
mod line;
pub mod peer;
mod place;
mod process;
mod raw;
pub mod reference;
pub mod sink;
pub mod sources;
pub mod supply;

pub use books::{Books, Event};
pub use line::{Line, LineOptions, Tcp};
pub use process::{binaries, Process};
pub use raw::{Heard, RawFrame, RawPeer, CHANNEL_BIT};

/// What went wrong, in words.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A result whose error is shown as it is: harness faults fail the test that meets them.
pub type Result<T> = std::result::Result<T, Fault>;

/// Runs the async part of a test, on two threads.
///
/// # Errors
/// The system grants no threads.
pub fn block_on<T>(work: impl std::future::Future<Output = T>) -> Result<T> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    Ok(runtime.worker_threads(2).enable_all().build()?.block_on(work))
}
