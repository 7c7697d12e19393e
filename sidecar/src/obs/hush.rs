//! Keeps what strangers cause from filling the log: a few lines in a while, and how many were left
//! out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in a while.
const LINES: u32 = 20;
/// A while.
const WHILE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    begun: Option<Instant>,
    said: u32,
    left_out: u64,
}

/// Says whether a line may be written. Any thread; its lock is held for a count.
#[derive(Debug, Default)]
pub struct Hush(Mutex<State>);

impl Hush {
    /// Whether a line may be written now; if so, how many were left out before it.
    pub fn lets(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= WHILE) {
            (state.begun, state.said) = (Some(now), 0);
        }
        if state.said >= LINES {
            state.left_out += 1;
            return None;
        }
        state.said += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_few_lines_and_its_number() {
        let (hush, begun) = (Hush::default(), Instant::now());
        let said = (0..1_000).filter(|_| hush.lets(begun).is_some()).count();
        assert_eq!(said, LINES as usize);
        assert_eq!(hush.lets(begun + WHILE / 2), None);
        assert_eq!(hush.lets(begun + WHILE), Some(1_001 - u64::from(LINES)));
        assert_eq!(hush.lets(begun + WHILE), Some(0), "told once");
    }
}
