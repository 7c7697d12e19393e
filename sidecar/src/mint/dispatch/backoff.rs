//! Waits between tries, longer each time.

use rand::Rng as _;

/// The first wait, and the longest, in milliseconds.
const WAITS_MS: (u64, u64) = (1_000, 300_000);

/// How long to wait after so many failed tries, in milliseconds: 1 s, twice as long each time, up
/// to 5 min; a random part less, so that many don't come at once.
#[must_use]
pub(super) fn wait_ms(tries: u32) -> i64 {
    let longest = WAITS_MS.0.saturating_mul(1 << tries.min(16)).min(WAITS_MS.1);
    i64::try_from(rand::thread_rng().gen_range(longest / 2..=longest)).unwrap_or(i64::MAX)
}

/// Keeps calls to a mint that is away few: after a failure none is made for a while.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    tries: u32,
    closed_until_ms: i64,
}

impl Breaker {
    /// Whether calls may be made.
    pub(super) const fn lets_through(&self, now_ms: i64) -> bool {
        now_ms >= self.closed_until_ms
    }

    /// The mint answered, whatever, or has shown in another way that it is there.
    pub(super) const fn answered(&mut self) {
        (self.tries, self.closed_until_ms) = (0, 0);
    }

    /// After so many failures that it waits longest.
    #[cfg(test)]
    pub(super) fn at_its_longest(now_ms: i64) -> Self {
        Self { tries: 16, closed_until_ms: now_ms + wait_ms(16) }
    }

    /// The mint did not answer. True when it had answered before.
    pub(super) fn failed(&mut self, now_ms: i64) -> bool {
        // Calls that were made together fail together.
        if !self.lets_through(now_ms) {
            return false;
        }
        self.closed_until_ms = now_ms.saturating_add(wait_ms(self.tries));
        self.tries = self.tries.saturating_add(1);
        self.tries == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_minutes() {
        for tries in 0..100 {
            let longest = (1_000_i64 << tries.min(20)).min(300_000);
            let wait = wait_ms(tries);
            assert!((longest / 2..=longest).contains(&wait), "{tries}: {wait}");
        }
    }

    #[test]
    fn a_mint_that_is_away_is_asked_seldom_and_one_that_is_back_at_once() {
        let mut breaker = Breaker::default();
        assert!(breaker.lets_through(0) && breaker.failed(0));
        assert!(!breaker.lets_through(1) && !breaker.failed(1));
        assert!(breaker.lets_through(1_000) && !breaker.failed(1_000));
        assert!(!breaker.lets_through(1_900), "longer");
        breaker.answered();
        assert!(breaker.lets_through(1_900));
    }
}
