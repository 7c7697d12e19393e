//! How often something may happen: a bucket of tokens without a clock of its own.

use std::time::Duration;

/// A rate with a burst. Cheap to copy; one serves any number of [`Bucket`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time in which one token comes; zero: no limit.
    every: Duration,
    /// What a full bucket holds, as time.
    depth: Duration,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { every: Duration::ZERO, depth: Duration::ZERO };

    /// `count` tokens per `period`, of which up to `burst` (at least one) may be taken at once.
    /// A count of 0 is no limit.
    #[must_use]
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let every = period.checked_div(count).unwrap_or_default();
        Self { every, depth: every.saturating_mul(burst.max(1)) }
    }
}

/// Who is held to a [`Rate`]. Starts full. Times are those since any fixed moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it is full again. All there is to remember: between takes it fills by itself.
    full_at: Duration,
}

impl Bucket {
    /// Takes `tokens` at the time `now`; false, and nothing is taken, when it holds fewer.
    pub fn take(&mut self, rate: Rate, tokens: u32, now: Duration) -> bool {
        let full_at = self.full_at.max(now).saturating_add(rate.every.saturating_mul(tokens));
        let fits = full_at.saturating_sub(now) <= rate.depth;
        if fits {
            self.full_at = full_at;
        }
        fits
    }

    /// Fills it at once.
    pub const fn fill(&mut self) {
        self.full_at = Duration::ZERO;
    }

    /// Whether it is full: then it is as good as a new one.
    #[must_use]
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn takes_the_burst_and_then_the_rate() {
        let rate = Rate::new(10, SECOND, 3);
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, at: u64| {
            (0..9).filter(|_| bucket.take(rate, 1, Duration::from_millis(at))).count()
        };
        assert_eq!(taken(&mut bucket, 5_000), 3);
        assert_eq!(taken(&mut bucket, 5_099), 0);
        assert_eq!(taken(&mut bucket, 5_100), 1);
        assert_eq!(taken(&mut bucket, 5_250), 1);
        assert!(!bucket.is_full(Duration::from_millis(5_300)));
        assert!(bucket.is_full(Duration::from_millis(5_500)));
        assert_eq!(taken(&mut bucket, 60_000), 3);
        bucket.fill();
        assert_eq!(taken(&mut bucket, 60_000), 3);
    }

    #[test]
    fn no_count_is_no_limit() {
        let rate = Rate::new(0, SECOND, 0);
        assert_eq!(rate, Rate::UNLIMITED);
        let mut bucket = Bucket::default();
        assert!((0..100_000).all(|_| bucket.take(rate, 7, SECOND)));
    }

    proptest! {
        #[test]
        fn never_gives_more_than_burst_and_rate_allow(
            count in 1_u32..50,
            burst in 0_u32..20,
            steps in prop::collection::vec((0_u64..500, 1_u32..4), 1..200),
        ) {
            let rate = Rate::new(count, SECOND, burst);
            let (mut bucket, mut now, mut taken) = (Bucket::default(), 0, 0);
            for (pause, tokens) in steps {
                now += pause;
                if bucket.take(rate, tokens, Duration::from_millis(now)) {
                    taken += u64::from(tokens);
                }
                let most = u64::from(burst.max(1)) + now * u64::from(count) / 1_000;
                // A token's time is rounded down to nanoseconds.
                prop_assert!(taken <= most + 1, "{taken} of {most}");
            }
        }
    }
}
