//! Much work in small pieces, with rests between them: the shares of a moment in which much is due
//! wait for a piece and not for all of it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::store::SqliteLedger;
use super::turn::Turn;
use super::Result;

/// Rows of one kind that are moved on in one call.
pub const SLICE: u32 = 16;

/// Most rows that are looked for at a time.
pub(super) const FOUND_MAX: u32 = 256;

/// Longest rest: a disk that is slow makes the work slow enough by itself.
const REST_MAX: Duration = Duration::from_millis(10);

/// A row of slices.
#[derive(Debug)]
pub struct Pace {
    /// When the last rest ended.
    begun: Instant,
}

impl Pace {
    /// Begins the first slice.
    #[must_use]
    pub fn start() -> Self {
        Self { begun: Instant::now() }
    }

    /// After a slice: rests twice as long as it took, so that at most a third of the time goes
    /// there. How much can be done follows from that: with 2 ms a slice some 40,000 credits a
    /// minute go all the way from open to sent.
    pub async fn rest(&mut self) {
        sleep(self.begun.elapsed().saturating_mul(2).min(REST_MAX)).await;
        self.begun = Instant::now();
    }
}

impl SqliteLedger {
    /// Does `work` with what was found, a slice in each call; answers what each came to. What was
    /// done before an error stays done.
    pub(super) async fn in_slices<T: Send + 'static, D: Send + 'static>(
        &self,
        mut found: Vec<T>,
        work: impl Fn(&mut Turn<'_>, &[T]) -> Result<D> + Clone + Send + 'static,
    ) -> Result<Vec<D>> {
        let (mut done, mut pace) = (Vec::new(), Pace::start());
        while !found.is_empty() {
            let left = found.split_off(found.len().min(SLICE as usize));
            let (slice, work) = (std::mem::replace(&mut found, left), work.clone());
            done.push(self.call(move |turn| work(turn, &slice)).await?);
            if !found.is_empty() {
                pace.rest().await;
            }
        }
        Ok(done)
    }
}
