//! Time for the mint bridge.

use tokio::time::Instant;

use crate::sys::unix_millis;

/// The wall clock as it was at the start, and from then on time as it passes: a clock that is set
/// while we run neither holds a credit back nor sends it twice as often.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    begun_ms: i64,
    begun: Instant,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { begun_ms: unix_millis(), begun: Instant::now() }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.begun_ms.saturating_add(elapsed)
    }
}
