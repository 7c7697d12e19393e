//! Notices a pool that neither judges nor reads, and how long it takes to judge. Pure: who looks
//! when is the caller's.

use std::time::Duration;

use tokio::time::Instant;

use crate::backend::link::Link;

/// What was seen at the looks before. It looks twice in the time a verdict may take.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    /// The ids of submits began here at the last look but one, and at the last.
    mark: u64,
    next_mark: u64,
    /// Messages written up to the last look.
    written: u64,
    /// Looks in a row at which messages waited and none had been written.
    stuck: u32,
}

impl Watchdog {
    /// At the beginning of a stream: a first look. The next is half of the time later.
    pub(crate) fn begin(link: &Link, pending: bool) -> Self {
        let mut watchdog = Self::default();
        watchdog.bites(link, pending, 0);
        watchdog
    }

    /// One look; true: the pool is silent. `pending`: messages wait to be written; `written`: how
    /// many were so far.
    pub(crate) fn bites(&mut self, link: &Link, pending: bool, written: u64) -> bool {
        let (oldest, next) = link.waiting_since();
        let moves = !pending || written != self.written;
        self.stuck = if moves { 0 } else { self.stuck + 1 };
        // What was sent before the last look but one, and still waits, is late.
        let late = oldest.is_some_and(|oldest| oldest < self.mark);
        (self.mark, self.next_mark) = (self.next_mark, next);
        self.written = written;
        self.stuck > 2 || late
    }
}

/// Measures how long verdicts take, one submit at a time: a clock for each would cost more than it
/// tells.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// The submit with the highest id below this one, and when it was handed over.
    since: Option<(u64, Instant)>,
}

impl Sample {
    /// One look; what the submit that is watched took, when it and its elders have their verdicts.
    pub(crate) fn look(&mut self, link: &Link, now: impl Fn() -> Instant) -> Option<Duration> {
        let (oldest, next) = link.waiting_since();
        let took = self.since.filter(|(mark, _)| oldest.is_none_or(|oldest| oldest >= *mark));
        if took.is_some() {
            self.since = None;
        }
        if self.since.is_none() && oldest.is_some() {
            self.since = Some((next, now()));
        }
        took.map(|(_, since)| now().saturating_duration_since(since))
    }
}
