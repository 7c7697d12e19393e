//! Times of a run and what they come to.

use std::fmt;
use std::time::{Duration, Instant};

use crate::miner::{Fate, Journal};

/// Sorted times in a few words.
pub struct Spread {
    count: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50, p99, max } = self;
        write!(f, "p50 {p50:.0?}, p99 {p99:.0?}, max {max:.0?} of {count}")
    }
}

/// What sorted times come to, by nearest rank. There must be one at least.
pub fn spread(sorted: &[Duration]) -> Spread {
    let count = sorted.len();
    let at = |percent: usize| sorted[(count * percent).div_ceil(100).max(1) - 1];
    Spread { count, p50: at(50), p99: at(99), max: at(100) }
}

/// From each moment in `backs` to each miner's first acceptance after it, sorted. Acceptances after
/// the next moment are left out.
pub fn first_accepted(journals: &[Journal], backs: &[Instant]) -> Vec<Duration> {
    let accepted = |journal: &Journal| -> Vec<Instant> {
        let submits = journal.submits.iter();
        submits.filter(|submit| submit.fate == Fate::Accepted).map(|submit| submit.at).collect()
    };
    let times: Vec<Vec<Instant>> = journals.iter().map(accepted).collect();
    first_after(&times, backs)
}

/// From each moment in `backs` to the first of each row of ascending times after it, and before the
/// next moment; sorted.
pub fn first_after(rows: &[Vec<Instant>], backs: &[Instant]) -> Vec<Duration> {
    let mut found = Vec::new();
    for row in rows {
        for (index, back) in backs.iter().enumerate() {
            let first = row.get(row.partition_point(|at| at < back));
            let in_time = |at: &&Instant| backs.get(index + 1).is_none_or(|next| *at < next);
            found.extend(first.filter(in_time).map(|at| *at - *back));
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firsts_are_counted_from_each_return_until_the_next() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rows = [vec![at(1), at(7), at(9), at(30)], vec![at(2), at(21)]];
        let found = first_after(&rows, &[at(5), at(20)]);
        assert_eq!(found, [1, 2, 10].map(Duration::from_millis));
        let spread = spread(&found);
        assert_eq!((spread.count, spread.p50, spread.max), (3, found[1], found[2]));
    }
}
