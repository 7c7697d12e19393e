//! Notices a pool that neither judges nor reads. Pure: who looks when is the caller's.

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
