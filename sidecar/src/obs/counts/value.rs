//! What counts are made of. Every one of them is an atomic that guards nothing but itself: any
//! thread, at the cost of an addition, and a reader may see two of them a moment apart.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::types::Difficulty;

/// Something that only grows, since the start of the process.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that comes and goes.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// One has come.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One has gone that had come.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An exact sum of difficulties.
#[derive(Debug, Default)]
pub struct WorkSum {
    whole: AtomicU64,
    fraction: AtomicU32,
}

impl WorkSum {
    /// Adds a credit.
    pub fn add(&self, credit: Difficulty) {
        let before = self.fraction.fetch_add(credit.fraction, Ordering::Relaxed);
        let carry = before.checked_add(credit.fraction).is_none();
        let whole = credit.whole.saturating_add(u64::from(carry));
        if whole > 0 {
            self.whole.fetch_add(whole, Ordering::Relaxed);
        }
    }

    /// The sum so far; beside an addition it may be short of its carry for a moment.
    #[must_use]
    pub fn get(&self) -> Difficulty {
        let (whole, fraction) = (&self.whole, &self.fraction);
        Difficulty {
            whole: whole.load(Ordering::Relaxed),
            fraction: fraction.load(Ordering::Relaxed),
        }
    }
}

/// Counts by a name from a list that is known beforehand: labels stay bounded. Names are looked up
/// in the list, so this is not for the share path.
#[derive(Debug)]
pub struct Tally {
    names: &'static [&'static str],
    counts: Vec<Count>,
    other: Count,
}

/// Under this [`Tally`] counts what is not in its list.
pub const OTHER: &str = "other";

impl Tally {
    /// Counts under these names.
    #[must_use]
    pub fn new(names: &'static [&'static str]) -> Self {
        let counts = names.iter().map(|_| Count::default()).collect();
        Self { names, counts, other: Count::default() }
    }

    /// One more under this name.
    pub fn one(&self, name: &str) {
        let index = self.names.iter().position(|known| *known == name);
        index.and_then(|index| self.counts.get(index)).unwrap_or(&self.other).one();
    }

    /// Every name with its count, in the order of the list, and [`OTHER`] when it has any.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let known = self.names.iter().copied().zip(self.counts.iter().map(Count::get));
        let other = self.other.get();
        known.chain((other > 0).then_some((OTHER, other)))
    }
}

/// How many buckets a [`Histogram`] has, less the one without an end.
pub const BUCKETS: usize = 16;

/// Upper ends of the buckets, in microseconds: from a tenth of a millisecond, over what a disk and
/// a network take, to what makes a miner leave.
pub const BUCKET_ENDS_US: [u64; BUCKETS] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000, 60_000_000,
];

/// Times, by their length.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Count; BUCKETS],
    longer: Count,
    sum_us: Count,
}

/// What a [`Histogram`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// How many fell into each bucket, not into those before it.
    pub buckets: [u64; BUCKETS],
    /// How many were longer than the last bucket's end.
    pub longer: u64,
    /// Their sum, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// One more time.
    pub fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let index = BUCKET_ENDS_US.partition_point(|end| *end < us);
        self.buckets.get(index).unwrap_or(&self.longer).one();
        self.sum_us.add(us);
    }

    /// What it holds.
    #[must_use]
    pub fn read(&self) -> Times {
        let mut times =
            Times { longer: self.longer.get(), sum_us: self.sum_us.get(), ..Times::default() };
        for (read, bucket) in times.buckets.iter_mut().zip(&self.buckets) {
            *read = bucket.get();
        }
        times
    }
}

impl Times {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.longer
    }

    /// The end of the bucket, in microseconds, that the given part of them does not exceed; `None`:
    /// there are none, or it is in the bucket without an end. `percent`: 1 to 100.
    #[must_use]
    pub fn quantile_us(&self, percent: u64) -> Option<u64> {
        let rank = (self.count() * percent).div_ceil(100);
        let mut below = 0;
        let found = self.buckets.iter().position(|count| {
            below += count;
            rank > 0 && below >= rank
        });
        found.and_then(|index| BUCKET_ENDS_US.get(index).copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_nobody_knows_make_no_label() {
        let tally = Tally::new(&["a", "b"]);
        tally.one("b");
        assert_eq!(tally.read().collect::<Vec<_>>(), [("a", 0), ("b", 1)]);
        for n in 0..100 {
            tally.one(&n.to_string());
        }
        assert_eq!(tally.read().collect::<Vec<_>>(), [("a", 0), ("b", 1), (OTHER, 100)]);
    }

    #[test]
    fn times_fall_into_the_bucket_that_ends_there() {
        let histogram = Histogram::default();
        for us in [0, 100, 101, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let times = histogram.read();
        assert_eq!((times.buckets[0], times.buckets[1]), (2, 1));
        assert_eq!((times.buckets[BUCKETS - 1], times.longer, times.count()), (1, 1, 5));
        assert_eq!(times.sum_us, 120_000_202);
        assert_eq!(times.quantile_us(40), Some(100));
        assert_eq!(times.quantile_us(50), Some(250));
        assert_eq!(times.quantile_us(100), None, "longer than any bucket");
        assert_eq!(Times::default().quantile_us(50), None);
        assert!(BUCKET_ENDS_US.is_sorted());
    }

    proptest! {
        #[test]
        fn no_credit_is_lost_in_a_sum(
            credits in prop::collection::vec((0_u64..1 << 40, any::<u32>()), 0..200),
        ) {
            let sum = WorkSum::default();
            let mut want = Difficulty::default();
            for (whole, fraction) in credits {
                let credit = Difficulty { whole, fraction };
                sum.add(credit);
                want = want.saturating_add(credit);
            }
            prop_assert_eq!(sum.get(), want);
        }
    }
}
