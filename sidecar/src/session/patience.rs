//! For how long a connection may keep others waiting. Pure: the time is passed in.

use std::time::Duration;

use tokio::time::Instant;

use super::Cause;
use crate::config::Limits;

/// What of a connection is awaited, and since when.
#[derive(Debug)]
pub(super) struct Patience {
    /// Until when SetupConnection may take; `None`: it has come.
    setup: Option<Instant>,
    stall: Duration,
    frame: Duration,
    /// Something was to be sent, and the peer took nothing of it.
    stalled: Option<Instant>,
    /// So much is to be sent that nothing more is taken from the pool.
    full: Option<Instant>,
    /// A frame was begun.
    begun: Option<Instant>,
}

impl Patience {
    /// With a connection whose handshake is done.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            setup: Some(now + Duration::from_millis(limits.setup_timeout_ms)),
            stall: Duration::from_millis(limits.write_stall_ms),
            frame: Duration::from_millis(limits.frame_timeout_ms),
            stalled: None,
            full: None,
            begun: None,
        }
    }

    /// SetupConnection has come.
    pub(super) const fn set_up(&mut self) {
        self.setup = None;
    }

    /// A frame is complete: each has its own time.
    pub(super) const fn framed(&mut self) {
        self.begun = None;
    }

    /// The peer took something.
    pub(super) const fn sent(&mut self) {
        self.stalled = None;
    }

    /// What is the case while it waits: something is to be sent; no more is taken from the pool;
    /// the rest of a frame is to come.
    pub(super) fn wait(&mut self, sends: bool, full: bool, mid_frame: bool, now: Instant) {
        self.stalled = sends.then(|| self.stalled.unwrap_or(now));
        // It takes just enough to go on, maybe.
        self.full = full.then(|| self.full.unwrap_or(now));
        self.begun = mid_frame.then(|| self.begun.unwrap_or(now));
    }

    /// When it ends at the earliest.
    pub(super) fn ends(&self) -> Option<Instant> {
        let after = |since: Option<Instant>, patience| since.map(|since| since + patience);
        let ends = [
            self.setup,
            after(self.stalled, self.stall),
            after(self.full, self.stall),
            after(self.begun, self.frame),
        ];
        ends.into_iter().flatten().min()
    }

    /// Why the connection is to be closed, if it is.
    pub(super) fn ended(&self, now: Instant) -> Option<Cause> {
        let over = |since: Option<Instant>, patience| since.is_some_and(|s| s + patience <= now);
        if self.setup.is_some_and(|setup| setup <= now) {
            return Some(Cause::SetupDeadline);
        }
        if over(self.stalled, self.stall) || over(self.full, self.stall) {
            return Some(Cause::SlowReader);
        }
        over(self.begun, self.frame).then_some(Cause::FrameDeadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn each_wait_has_its_own_time() {
        let limits = Limits {
            setup_timeout_ms: 10,
            write_stall_ms: 20,
            frame_timeout_ms: 30,
            ..Limits::default()
        };
        let start = Instant::now();
        let mut patience = Patience::new(&limits, start);
        assert_eq!(patience.ends(), Some(start + 10 * MS));
        assert_eq!(patience.ended(start + 9 * MS), None);
        assert_eq!(patience.ended(start + 10 * MS), Some(Cause::SetupDeadline));
        patience.set_up();
        assert_eq!((patience.ends(), patience.ended(start + 99 * MS)), (None, None));

        patience.wait(true, false, false, start);
        patience.wait(true, true, false, start + 5 * MS);
        assert_eq!(patience.ends(), Some(start + 20 * MS));
        patience.sent();
        patience.wait(true, true, false, start + 19 * MS);
        assert_eq!(patience.ends(), Some(start + 25 * MS), "just enough is not enough");
        assert_eq!(patience.ended(start + 25 * MS), Some(Cause::SlowReader));
        patience.wait(false, false, false, start + 24 * MS);
        assert_eq!(patience.ends(), None);

        patience.wait(false, false, true, start);
        patience.wait(false, false, true, start + 9 * MS);
        assert_eq!(patience.ended(start + 29 * MS), None);
        assert_eq!(patience.ended(start + 30 * MS), Some(Cause::FrameDeadline));
        patience.framed();
        patience.wait(false, false, true, start + 29 * MS);
        assert_eq!(patience.ends(), Some(start + 59 * MS));
    }
}
