//! Time for the mint bridge.

#[cfg(test)]
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;

use crate::sys::unix_millis;

/// The wall clock as it was at the start, and from then on time as it passes: a clock that is set
/// while we run neither holds a credit back nor sends it twice as often.
#[derive(Debug)]
pub struct Clock {
    begun_ms: i64,
    begun: Instant,
    /// How much a test has let pass at once.
    #[cfg(test)]
    passed_ms: AtomicI64,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            begun_ms: unix_millis(),
            begun: Instant::now(),
            #[cfg(test)]
            passed_ms: AtomicI64::new(0),
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        #[cfg(test)]
        let elapsed = elapsed + self.passed_ms.load(Ordering::Relaxed);
        self.begun_ms.saturating_add(elapsed)
    }

    /// Lets time pass.
    #[cfg(test)]
    pub fn pass(&self, ms: i64) {
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
    }
}
