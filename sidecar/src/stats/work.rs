//! Exact sums of difficulty, and the time they are spread over.

use gopool_sv2_proto::v1;

/// Hashes that a share of difficulty 1 takes.
const HASHES: f64 = 4_294_967_296.0;

/// Most that one event may add, in whole difficulty: far beyond all miners of the world for as long
/// as an event can cover. Sums in the database stop below 2^62, so none of them ever overflows.
const EVENT_MAX: u64 = 1 << 53;

/// A sum of credit in units of 2^-32, exact. In the database it is two integers, whole and rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(u128);

impl Work {
    /// What an event says; absent is none.
    #[must_use]
    pub fn of_event(difficulty: Option<&v1::Difficulty>) -> Self {
        let parts = difficulty.map_or((0, 0), |sum| (sum.whole.min(EVENT_MAX), sum.fraction));
        Self(u128::from(parts.0) << 32 | u128::from(parts.1))
    }

    /// From the two columns of the database.
    #[must_use]
    pub fn of_columns(whole: i64, fraction: i64) -> Self {
        let part = |value: i64| u128::from(u64::try_from(value).unwrap_or(0));
        Self((part(whole) << 32) + part(fraction))
    }

    /// The two columns of the database.
    #[must_use]
    pub fn columns(self) -> (i64, i64) {
        let whole = i64::try_from(self.0 >> 32).unwrap_or(i64::MAX);
        (whole, i64::try_from(self.0 & 0xffff_ffff).unwrap_or(0))
    }

    /// The exact sum.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// As a number, which holds 53 bits of it.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        let (whole, fraction) = self.columns();
        whole as f64 + fraction as f64 / HASHES
    }

    /// The hashrate that gives this work in so many milliseconds, in H/s; `None` in none.
    #[must_use]
    pub fn rate(self, ms: i64) -> Option<f64> {
        (ms > 0).then(|| self.as_f64() * HASHES * 1000.0 / ms as f64)
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// What of it falls into a part of its time.
    pub(super) fn during(self, span: Span, part: Part) -> Self {
        Self(span.share(self.0, part))
    }
}

/// Time that a sum was made in, in milliseconds since the epoch: from its beginning, which counts,
/// to its end, which doesn't. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The part of a span that falls into one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where the bucket begins.
    pub(super) bucket: i64,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The longest time that a sum is spread over: what is older is put at its beginning. Ten years.
const SPAN_MAX: i64 = 10 * 366 * 86_400_000;

impl Span {
    /// The time of an event that happened at `at` and covers what was since `since` (0: unknown).
    /// Nothing happens later than `now`, whatever a sidecar's clock says.
    pub(super) fn of_event(since: i64, at: i64, now: i64) -> Self {
        let to = at.clamp(1, now.max(1));
        let from = if since > 0 && since < to { since } else { to - 1 };
        Self { from: from.max(to - SPAN_MAX), to }
    }

    /// Its parts in buckets of `step` milliseconds; what ended before `oldest` is left out.
    pub(super) fn parts(self, step: i64, oldest: i64) -> impl Iterator<Item = Part> {
        let first = self.from.max(oldest).div_euclid(step) * step;
        let buckets = (0..).map(move |index| first + index * step);
        buckets.take_while(move |bucket| *bucket < self.to).map(move |bucket| Part {
            bucket,
            from: bucket.max(self.from),
            to: (bucket + step).min(self.to),
        })
    }

    /// What of a sum falls into a part, evenly spread. The parts of a span make the whole sum, none
    /// lost to rounding. For sums below 2^86.
    fn share(self, sum: u128, part: Part) -> u128 {
        let length = u128::from((self.to - self.from).unsigned_abs()).max(1);
        let until = |at: i64| {
            let passed = u128::from(u64::try_from(at - self.from).unwrap_or(0));
            sum * passed.min(length) / length
        };
        until(part.to) - until(part.from)
    }

    /// What of a count falls into a part.
    pub(super) fn count(self, count: u64, part: Part) -> i64 {
        i64::try_from(self.share(count.min(EVENT_MAX).into(), part)).unwrap_or(0)
    }
}

impl Part {
    /// How long it is, in milliseconds.
    pub(super) fn ms(self) -> i64 {
        self.to - self.from
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn loses_nothing_to_the_spreading(
            whole in 0_u64..=u64::MAX,
            fraction in any::<u32>(),
            count in 0_u64..1 << 53,
            from in 1_i64..10_000_000,
            length in 1_i64..5_000_000,
            step in prop::sample::select(vec![10_000_i64, 60_000, 300_000, 3_600_000]),
        ) {
            let span = Span { from, to: from + length };
            let work = Work::of_event(Some(&v1::Difficulty { whole, fraction }));
            let parts: Vec<Part> = span.parts(step, 0).collect();
            let sum = parts.iter().fold(Work::default(), |sum, part| {
                sum.and(work.during(span, *part))
            });
            prop_assert_eq!(sum, work);
            let counted: i64 = parts.iter().map(|part| span.count(count, *part)).sum();
            prop_assert_eq!(counted, i64::try_from(count).unwrap());
            prop_assert_eq!(parts.iter().map(|part| part.ms()).sum::<i64>(), length);
            prop_assert!(parts.iter().all(|part| part.bucket % step == 0 && part.ms() > 0));
        }

        #[test]
        fn keeps_sums_exact_in_two_columns(whole in 0_u64..1 << 53, fraction in any::<u32>()) {
            let work = Work::of_event(Some(&v1::Difficulty { whole, fraction }));
            let (high, low) = work.columns();
            prop_assert_eq!(Work::of_columns(high, low), work);
        }
    }

    #[test]
    fn takes_no_event_from_the_future_or_without_a_beginning() {
        assert_eq!(Span::of_event(0, 500, 1_000), Span { from: 499, to: 500 });
        assert_eq!(Span::of_event(900, 5_000, 1_000), Span { from: 900, to: 1_000 });
        assert_eq!(Span::of_event(9_000, 5_000, 1_000), Span { from: 999, to: 1_000 });
        assert_eq!(Span::of_event(-5, -5, 1_000), Span { from: 0, to: 1 });
        let long = Span::of_event(1, i64::MAX, i64::MAX);
        assert_eq!(long.to - long.from, SPAN_MAX);
    }

    #[test]
    fn says_the_rate_of_work() {
        let one = Work::of_event(Some(&v1::Difficulty { whole: 1, fraction: 1 << 31 }));
        assert_eq!(one.rate(1_000), Some(1.5 * HASHES));
        assert_eq!(one.rate(0), None);
        assert!(Work::of_event(None).is_none());
    }
}
