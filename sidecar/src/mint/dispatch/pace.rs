//! Work in slices with rests between them, so that the shares of a moment in which much is due wait
//! for a slice and not for all of it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Longest rest: a disk that is slow makes the work slow enough by itself.
const REST_MAX: Duration = Duration::from_millis(10);

/// A row of slices.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the last rest ended.
    begun: Instant,
}

impl Pace {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now() }
    }

    /// After a slice: rests twice as long as it took, so that at most a third of the time goes
    /// there. How much can be done follows from that: with 2 ms a slice some 40,000 credits a
    /// minute go all the way from open to sent.
    pub(super) async fn rest(&mut self) {
        sleep(self.begun.elapsed().saturating_mul(2).min(REST_MAX)).await;
        self.begun = Instant::now();
    }
}
