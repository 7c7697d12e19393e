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

/// Lets a line be written, or counts it. Any thread; its lock is held for a count.
#[derive(Debug, Default)]
pub struct Hush(Mutex<State>);

impl Hush {
    /// Writes a line, unless there were many just now. It is given how many were left out before
    /// it, and has to say so: nobody else is told.
    pub fn say(&self, line: impl FnOnce(u64)) {
        if let Some(left_out) = self.lets(Instant::now()) {
            line(left_out);
        }
    }

    fn lets(&self, now: Instant) -> Option<u64> {
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

    #[test]
    fn every_line_of_a_flood_is_written_or_counted() {
        let (hush, mut written, mut left_out) = (Hush::default(), 0, 0);
        let mut say = || {
            hush.say(|more| {
                written += 1;
                left_out += more;
            });
        };
        for _ in 0..1_000 {
            say();
        }
        // A while later.
        hush.0.lock().unwrap().begun = None;
        say();
        assert_eq!((written, left_out), (LINES + 1, 1_000 - u64::from(LINES)));
    }
}
