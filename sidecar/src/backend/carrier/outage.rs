//! How an outage of the pool goes on: first everything waits, then it is answered, and in the end
//! the miners are told to go.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep_until, Instant};

use crate::backend::link::Link;
use crate::backend::Command;

/// For how long what is patient with a pool that is away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Submits and opens.
    pub(crate) grace: Duration,
    /// Miners.
    pub(crate) lost: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is taken from the miners beyond what queues, and nothing is answered.
    Waiting,
    /// Everything is refused.
    GivenUp,
    /// The miners have been told to go.
    Lost,
}

/// The time since the last stream ended.
#[derive(Debug)]
pub(crate) struct Outage {
    since: Instant,
    patience: Patience,
    stage: Stage,
}

impl Outage {
    /// A stream has ended just now.
    pub(crate) fn begins(patience: Patience, now: Instant) -> Self {
        Self { since: now, patience, stage: Stage::Waiting }
    }

    /// A stream has ended just now. It ended the outage before it only if it brought a verdict for
    /// what waited longest then: a link that comes and goes must not make a submit wait for ever.
    /// `oldest`: the submit that has waited longest, before and after the stream.
    pub(crate) fn begins_unless_it_goes_on(
        &mut self,
        oldest: (Option<u64>, Option<u64>),
        patience: Patience,
        now: Instant,
    ) {
        if oldest.0.is_none() || oldest.0 != oldest.1 {
            *self = Self::begins(patience, now);
        }
    }

    /// There was no stream yet: nobody waits for anything.
    pub(crate) fn of_a_start(now: Instant) -> Self {
        let patience = Patience { grace: Duration::ZERO, lost: Duration::ZERO };
        Self { since: now, patience, stage: Stage::Lost }
    }

    /// Whether what waited has been answered.
    pub(crate) fn has_given_up(&self) -> bool {
        self.stage != Stage::Waiting
    }

    /// Answers what waits.
    pub(crate) fn give_up(&mut self, link: &mut Link) {
        link.give_up();
        self.stage = Stage::GivenUp;
    }

    /// When patience with the pool ends next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting => Some(self.since + self.patience.grace),
            Stage::GivenUp => Some(self.since + self.patience.lost),
            Stage::Lost => None,
        }
    }

    /// The deadline has come.
    pub(crate) fn due(&mut self, link: &mut Link) {
        if self.stage == Stage::Waiting {
            return self.give_up(link);
        }
        let away = self.patience.lost;
        tracing::error!(?away, "the pool is lost: miners are told to reconnect");
        link.lost();
        self.stage = Stage::Lost;
    }

    /// Lets one thing happen: a deadline, or a command that is refused. false: nobody can send
    /// commands any more. Cancel-safe.
    pub(crate) async fn passes(
        &mut self,
        link: &mut Link,
        commands: &mut mpsc::Receiver<Command>,
    ) -> bool {
        let deadline = self.deadline();
        tokio::select! {
            () = sleep_until(deadline.unwrap_or(self.since)), if deadline.is_some() => {
                self.due(link);
                true
            }
            command = commands.recv(), if self.has_given_up() => match command {
                Some(command) => {
                    link.refuse(command);
                    true
                }
                None => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_comes_and_goes_makes_nothing_wait_for_ever() {
        let (grace, lost) = (Duration::from_secs(5), Duration::from_secs(60));
        let patience = Patience { grace, lost };
        let begun = Instant::now();
        let at = |secs| begun + Duration::from_secs(secs);
        let mut outage = Outage::begins(patience, begun);
        // Up for moments, and what waited still waits.
        for secs in 1..5 {
            outage.begins_unless_it_goes_on((Some(7), Some(7)), patience, at(secs));
            assert_eq!(outage.deadline(), Some(at(5)));
        }
        for oldest in [(Some(7), Some(8)), (Some(8), None), (None, Some(9)), (None, None)] {
            outage.begins_unless_it_goes_on(oldest, patience, at(100));
            assert_eq!(outage.deadline(), Some(at(105)), "{oldest:?}: another outage");
            outage = Outage::begins(patience, begun);
        }
    }
}
