//! How something that the sidecar depends on stands, since when, and what was said of it last.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::unix_millis;

/// Longest text that is kept of a fault, in bytes.
const DETAIL_MAX: usize = 512;

/// Whether it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It was not tried yet.
    #[default]
    Unknown,
    /// It works.
    Up,
    /// It doesn't.
    Down,
    /// It is there, and not to be used: nobody wants it to be.
    Off,
}

impl State {
    /// `unknown`, `up`, `down` or `off`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Off => "off",
        }
    }
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stand {
    /// Whether it works.
    pub state: State,
    /// Since when, milliseconds since the epoch; 0 as long as it was never tried.
    pub since_ms: i64,
    /// What is wrong; empty when nothing is. Printable text.
    pub detail: String,
}

/// Keeps a [`Stand`]. Its lock is held for a copy, by whoever sees a change and by who reads.
#[derive(Debug, Default)]
pub struct Standing {
    stand: Mutex<Stand>,
    /// When it was heard of last, milliseconds since the epoch; 0: never.
    heard_ms: AtomicI64,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, Stand> {
        // Whole between any two statements.
        self.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It works.
    pub fn up(&self) {
        self.heard();
        self.change(State::Up, String::new());
    }

    /// It doesn't, for this reason.
    pub fn down(&self, reason: &str) {
        self.change(State::Down, shown(reason));
    }

    /// Nobody wants it, which this says.
    pub fn off(&self, reason: &str) {
        self.change(State::Off, shown(reason));
    }

    /// It gave a sign of life.
    pub fn heard(&self) {
        self.heard_ms.store(unix_millis(), Ordering::Relaxed);
    }

    fn change(&self, state: State, detail: String) {
        let mut stand = self.lock();
        if stand.state != state {
            (stand.state, stand.since_ms) = (state, unix_millis());
        }
        stand.detail = detail;
    }

    /// How it stands.
    #[must_use]
    pub fn read(&self) -> Stand {
        self.lock().clone()
    }

    /// Whether it works.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.lock().state == State::Up
    }

    /// When it gave a sign of life last, milliseconds since the epoch; `None`: never.
    #[must_use]
    pub fn heard_ms(&self) -> Option<i64> {
        Some(self.heard_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}

/// As much of a text as is kept, on one line.
fn shown(reason: &str) -> String {
    let end = reason.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = end.take_while(|end| *end <= DETAIL_MAX).last().unwrap_or_default();
    reason.get(..end).unwrap_or_default().chars().map(plain).collect()
}

fn plain(c: char) -> char {
    if c.is_control() {
        ' '
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_since_when_and_only_the_last_reason() {
        let standing = Standing::default();
        assert_eq!((standing.read(), standing.heard_ms()), (Stand::default(), None));
        standing.down("no such file\nsecond line");
        let first = standing.read();
        assert_eq!((first.state, first.detail.as_str()), (State::Down, "no such file second line"));
        assert!(first.since_ms > 0 && standing.heard_ms().is_none());
        standing.down(&"ä".repeat(DETAIL_MAX));
        let second = standing.read();
        assert_eq!(second.since_ms, first.since_ms, "still down");
        assert_eq!(second.detail.len(), DETAIL_MAX, "no half letters");
        standing.off("not wanted");
        assert_eq!(
            (standing.read().state, &standing.read().detail[..]),
            (State::Off, "not wanted")
        );
        standing.up();
        assert_eq!((standing.read().state, standing.read().detail), (State::Up, String::new()));
        assert!(standing.is_up() && standing.heard_ms().is_some());
    }
}
