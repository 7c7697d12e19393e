//! Latencies and their percentiles, exact: every sample is kept.

use std::time::Duration;

use serde_json::{json, Value};

/// Nanoseconds of one unit of a kept sample: four bytes then reach seven minutes.
const UNIT_NS: u128 = 100;

/// Samples of one run, four bytes each.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Room for `samples` of them, so that none is slow for want of memory.
    pub fn with_room(samples: usize) -> Self {
        Self(Vec::with_capacity(samples))
    }

    /// Keeps a sample, to 100 ns.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(u32::try_from(sample.as_nanos() / UNIT_NS).unwrap_or(u32::MAX));
    }

    /// Takes over another's samples.
    pub fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Sorts them and looks at the ranks that matter; `None` without a sample.
    pub fn summary(mut self) -> Option<Summary> {
        self.0.sort_unstable();
        let at = |permille| Some(micros(*self.0.get(rank(self.0.len(), permille)?)?));
        Some(Summary {
            count: self.0.len(),
            min: at(0)?,
            p50: at(500)?,
            p90: at(900)?,
            p99: at(990)?,
            p999: at(999)?,
            max: at(1000)?,
        })
    }
}

/// What a run's latencies come to, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Samples.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// Half are not above it.
    pub p50: f64,
    /// Of 10, 9 are not above it.
    pub p90: f64,
    /// Of 100, 99 are not above it.
    pub p99: f64,
    /// Of 1,000, 999 are not above it; the largest of fewer samples.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// As it stands in a report.
    pub fn to_json(self) -> Value {
        json!({
            "count": self.count, "min": self.min, "p50": self.p50, "p90": self.p90,
            "p99": self.p99, "p999": self.p999, "max": self.max,
        })
    }
}

/// The index of the smallest of `count` sorted samples that `permille` of them are not above
/// (nearest rank); `None` without a sample.
fn rank(count: usize, permille: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    Some((count * permille).div_ceil(1000).saturating_sub(1).min(last))
}

fn micros(units: u32) -> f64 {
    f64::from(units) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(micros: impl IntoIterator<Item = u64>) -> Option<Summary> {
        let mut latencies = Latencies::default();
        micros.into_iter().for_each(|us| latencies.push(Duration::from_micros(us)));
        latencies.summary()
    }

    #[test]
    fn percentiles_are_nearest_ranks_whatever_the_order_of_samples() {
        let got = summary((1..=1000).rev()).unwrap();
        let (count, min, max) = (1000, 1.0, 1000.0);
        let want = Summary { count, min, p50: 500.0, p90: 900.0, p99: 990.0, p999: 999.0, max };
        assert_eq!(got, want);
        // With one more, each rank is the first that covers its share.
        let got = summary(1..=1001).unwrap();
        assert_eq!((got.p50, got.p90, got.p99, got.p999), (501.0, 901.0, 991.0, 1000.0));
    }

    #[test]
    fn few_samples_give_their_largest_for_high_percentiles() {
        let got = summary([7, 3, 5]).unwrap();
        assert_eq!((got.min, got.p50, got.p90, got.p999, got.max), (3.0, 5.0, 7.0, 7.0, 7.0));
        let got = summary([4]).unwrap();
        assert_eq!((got.min, got.p50, got.max), (4.0, 4.0, 4.0));
        assert_eq!(summary([]), None);
    }

    #[test]
    fn one_slow_share_in_a_thousand_shows_in_the_maximum_only() {
        let got = summary((0..999).map(|_| 10).chain([50_000])).unwrap();
        assert_eq!((got.p99, got.p999, got.max), (10.0, 10.0, 50_000.0));
        let got = summary((0..998).map(|_| 10).chain([50_000, 60_000])).unwrap();
        assert_eq!((got.p99, got.p999, got.max), (10.0, 50_000.0, 60_000.0));
    }

    #[test]
    fn samples_too_long_to_keep_count_as_the_longest() {
        let mut latencies = Latencies::with_room(1);
        latencies.push(Duration::from_secs(100_000));
        let mut other = Latencies::default();
        other.push(Duration::from_nanos(1_250));
        latencies.merge(other);
        assert_eq!(latencies.len(), 2);
        let got = latencies.summary().unwrap();
        assert_eq!((got.min, got.max), (1.2, micros(u32::MAX)));
    }
}
