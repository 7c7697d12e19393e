//! The order in which connections come and go: behind the shares of those that mine.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

/// Where connections that come, or go, wait for each other. When thousands do at once, the shares
/// of everybody else meet a few of them at a time, as many as have their turn, and not all. Cheap
/// to clone; any thread.
#[derive(Debug, Clone)]
pub struct Passage(Arc<Semaphore>);

/// A connection's turn, which ends when this is dropped. Not to be held while anything is waited
/// for.
#[derive(Debug)]
#[must_use]
pub(super) struct Turn<'a> {
    _place: Option<SemaphorePermit<'a>>,
}

impl Passage {
    /// So many have their turn at the same time; at 1, they go one behind the other.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Waits until the connections before have had their turns, first come first, and then until
    /// everything else that is ready now has had its own.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // The places are never closed.
        let place = self.0.acquire().await.ok();
        yield_now().await;
        Turn { _place: place }
    }

    /// Whether nobody has a turn.
    #[cfg(test)]
    pub(super) fn is_free(&self, at_once: usize) -> bool {
        self.0.available_permits() == at_once
    }
}
