//! The end of a connection that is not sudden: what waits is answered before.

use std::time::Duration;

use tokio::time::Instant;

use super::{Cause, Effects, Session};

/// How long a miner that was told to connect anew may take to do so: until then its shares are
/// judged.
const HEED: Duration = Duration::from_secs(1);

/// A connection that ends as soon as its last answers are there.
#[derive(Debug)]
pub(super) struct Drain {
    /// Why.
    pub(super) cause: Cause,
    begun: Instant,
    /// What has no answer by then gets none of the pool's.
    deadline: Instant,
    /// When the miner was told to connect anew.
    told: Option<Instant>,
}

impl Drain {
    /// We stop, within `timeout`.
    pub(super) fn stopping(now: Instant, timeout: Duration) -> Self {
        Self { cause: Cause::Stopping, begun: now, deadline: now + timeout, told: None }
    }

    /// The miner has closed its direction; `other`: what was under way already.
    pub(super) fn closed(other: Option<Self>, now: Instant, timeout: Duration) -> Self {
        let deadline = other.map_or(now + timeout, |other| other.deadline);
        Self { cause: Cause::PeerClosed, begun: now, deadline, told: None }
    }

    /// Whether more is taken from the miner. While we stop, all that it sends until it hears of
    /// that.
    pub(super) fn reads(&self) -> bool {
        self.cause == Cause::Stopping
    }

    /// Says when it is over. `idle`: nothing waits for an answer, or for a place in the pool's
    /// queue.
    pub(super) fn step(
        &mut self,
        session: &mut Session,
        idle: bool,
        now: Instant,
        fx: &mut Effects,
    ) -> bool {
        if now >= self.deadline || !session.is_set_up() {
            return true;
        }
        match self.told {
            _ if self.cause != Cause::Stopping => idle,
            None if idle || now >= self.half() => {
                session.dismiss(fx);
                self.told = Some(now);
                false
            }
            None => false,
            Some(told) => idle && now >= told + HEED,
        }
    }

    /// A miner that always has a share under way is told by then all the same.
    fn half(&self) -> Instant {
        self.begun + (self.deadline - self.begun) / 2
    }

    /// When to look again, if nothing else happens.
    pub(super) fn wakes(&self, now: Instant) -> Instant {
        let next = match self.told {
            _ if self.cause != Cause::Stopping => self.deadline,
            None => self.half(),
            Some(told) => told + HEED,
        };
        // Past that it waits for answers.
        if next > now {
            next.min(self.deadline)
        } else {
            self.deadline
        }
    }
}
