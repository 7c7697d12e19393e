//! Answers in the order of the submits (SV2 spec 5.3.13: a Success is read as cumulative).

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::{Difficulty, RejectReason, Short};

/// Names a waiting submit inside its channel: rises by one, never used twice.
pub type Token = u64;

/// How a submit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Credited.
    Accepted(Difficulty),
    /// Not credited.
    Rejected(RejectReason),
    /// Not credited because nobody can judge it: no fault of the miner's.
    Unjudged(RejectReason),
}

impl Outcome {
    /// The credit, or why there is none.
    ///
    /// # Errors
    /// The reason.
    pub const fn credit(self) -> Result<Difficulty, RejectReason> {
        match self {
            Self::Accepted(credit) => Ok(credit),
            Self::Rejected(reason) | Self::Unjudged(reason) => Err(reason),
        }
    }
}

/// What goes to the miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// SubmitShares.Success for a run of accepted submits.
    Success {
        /// Sequence number of the last of them.
        last_sequence: u32,
        /// How many.
        count: u32,
        /// Their credit: whole difficulties, with what earlier batches left over.
        sum: u64,
    },
    /// SubmitShares.Error for one submit.
    Error {
        /// Its sequence number.
        sequence: u32,
        /// Why.
        reason: RejectReason,
    },
}

/// One settled submit, for books and traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The miner's sequence number.
    pub sequence: u32,
    /// The link's submit id; 0 when it was never forwarded.
    pub submit_id: u64,
    /// The worker it named; empty: none.
    pub worker: Short,
    /// How it ended.
    pub outcome: Outcome,
    /// When it came, as said to [`Answers::set_now`].
    pub came: Duration,
}

#[derive(Debug)]
struct Slot {
    sequence: u32,
    came: Duration,
    worker: Short,
    submit_id: u64,
    outcome: Option<Outcome>,
}

/// The submits of one channel that wait for an answer. A verdict that comes early waits for its
/// elders.
#[derive(Debug, Default)]
pub struct Answers {
    queue: VecDeque<Slot>,
    /// Token of the front of the queue.
    first: Token,
    /// When what comes next comes.
    now: Duration,
    /// Credit below one difficulty that no Success has told yet.
    carry: u32,
}

impl Answers {
    /// How many submits wait, answered ones behind waiting elders included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Says when the submits to come come: kept here, the time is the connection's.
    pub const fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// A submit that waits for the pool's verdict.
    pub fn wait(&mut self, sequence: u32, worker: Short) -> Token {
        self.queue.push_back(Slot {
            sequence,
            came: self.now,
            worker,
            submit_id: 0,
            outcome: None,
        });
        self.first + (self.queue.len() as Token) - 1
    }

    /// A submit answered here; its answer still waits for its elders.
    pub fn refuse(&mut self, sequence: u32, worker: Short, outcome: Outcome) {
        let (outcome, came) = (Some(outcome), self.now);
        self.queue.push_back(Slot { sequence, came, worker, submit_id: 0, outcome });
    }

    /// The worker that a waiting submit named; empty: none, or nothing waits under that token.
    #[must_use]
    pub fn worker(&self, token: Token) -> Short {
        let slot = self.index(token).and_then(|index| self.queue.get(index));
        slot.map(|slot| slot.worker).unwrap_or_default()
    }

    fn index(&self, token: Token) -> Option<usize> {
        token.checked_sub(self.first).and_then(|index| usize::try_from(index).ok())
    }

    /// Settles a waiting submit. false when there is none under that token (any more): a second
    /// verdict changes nothing.
    pub fn settle(&mut self, token: Token, submit_id: u64, outcome: Outcome) -> bool {
        let slot = self.index(token).and_then(|index| self.queue.get_mut(index));
        match slot {
            Some(slot) if slot.outcome.is_none() => {
                slot.outcome = Some(outcome);
                slot.submit_id = submit_id;
                true
            }
            _ => false,
        }
    }

    /// Settles all that still wait.
    pub fn settle_all(&mut self, outcome: Outcome) {
        for slot in self.queue.iter_mut().filter(|slot| slot.outcome.is_none()) {
            slot.outcome = Some(outcome);
        }
    }

    /// Takes every answer whose elders are answered, in order; runs of accepted submits become one
    /// Success. `settled` sees each submit.
    pub fn drain(&mut self, mut answer: impl FnMut(Answer), mut settled: impl FnMut(Settled)) {
        let mut run = Run::default();
        while let Some(outcome) = self.queue.front().and_then(|slot| slot.outcome) {
            let Some(Slot { sequence, came, worker, submit_id, .. }) = self.queue.pop_front()
            else {
                break;
            };
            self.first += 1;
            settled(Settled { sequence, submit_id, worker, outcome, came });
            match outcome {
                Outcome::Accepted(credit) => run.add(sequence, credit),
                Outcome::Rejected(reason) | Outcome::Unjudged(reason) => {
                    self.end(&mut run, &mut answer);
                    answer(Answer::Error { sequence, reason });
                }
            }
        }
        self.end(&mut run, &mut answer);
    }

    fn end(&mut self, run: &mut Run, answer: &mut impl FnMut(Answer)) {
        let Run { last_sequence, count, credit } = std::mem::take(run);
        if count == 0 {
            return;
        }
        let total = credit.saturating_add(Difficulty { whole: 0, fraction: self.carry });
        self.carry = total.fraction;
        answer(Answer::Success { last_sequence, count, sum: total.whole });
    }
}

#[derive(Default)]
struct Run {
    last_sequence: u32,
    count: u32,
    credit: Difficulty,
}

impl Run {
    fn add(&mut self, sequence: u32, credit: Difficulty) {
        self.last_sequence = sequence;
        self.count += 1;
        self.credit = self.credit.saturating_add(credit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF: Difficulty = Difficulty { whole: 0, fraction: 1 << 31 };

    fn drained(answers: &mut Answers) -> Vec<Answer> {
        let mut out = Vec::new();
        answers.drain(|a| out.push(a), |_| {});
        out
    }

    #[test]
    fn early_verdicts_wait_for_their_elders() {
        let mut answers = Answers::default();
        let (a, b) = (answers.wait(1, Short::default()), answers.wait(2, Short::default()));
        answers.refuse(3, Short::default(), Outcome::Rejected(RejectReason::Stale));
        assert!(answers.settle(b, 20, Outcome::Accepted(HALF)));
        assert!(drained(&mut answers).is_empty());
        assert!(answers.settle(a, 10, Outcome::Accepted(HALF)));
        assert_eq!(
            drained(&mut answers),
            [
                Answer::Success { last_sequence: 2, count: 2, sum: 1 },
                Answer::Error { sequence: 3, reason: RejectReason::Stale },
            ]
        );
        assert!(
            !answers.settle(a, 10, Outcome::Accepted(HALF)),
            "a second verdict changes nothing"
        );
    }

    #[test]
    fn sh_9_fractions_are_carried_to_the_next_success() {
        let mut answers = Answers::default();
        for (sequence, sum) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
            let token = answers.wait(sequence, Short::default());
            answers.settle(token, 1, Outcome::Accepted(HALF));
            let success = Answer::Success { last_sequence: sequence, count: 1, sum };
            assert_eq!(drained(&mut answers), [success]);
        }
    }

    proptest! {
        /// Whatever the order of verdicts: one answer per submit, in order, and no credit lost.
        #[test]
        fn sh_8_sh_9_each_submit_gets_exactly_one_answer_in_order(
            kinds in prop::collection::vec(0_u8..3, 1..60),
            order in any::<prop::sample::Index>(),
            fractions in prop::collection::vec(any::<u32>(), 60),
        ) {
            let mut answers = Answers::default();
            let mut waiting = Vec::new();
            let (mut expected, mut work) = (Vec::new(), Difficulty::default());
            for (index, kind) in kinds.iter().enumerate() {
                let sequence = index as u32;
                if *kind == 2 {
                    let why = Outcome::Rejected(RejectReason::InvalidJobId);
                    answers.refuse(sequence, Short::default(), why);
                } else {
                    let credit = Difficulty { whole: 3, fraction: fractions[index] };
                    waiting.push((answers.wait(sequence, Short::default()), *kind == 0, credit));
                    if *kind == 0 { work = work.saturating_add(credit); }
                }
                expected.push((sequence, *kind == 0));
            }
            let mut got = Vec::new();
            let (mut counted, mut summed) = (0, 0);
            while !waiting.is_empty() {
                let (token, accept, credit) = waiting.swap_remove(order.index(waiting.len()));
                let outcome = if accept { Outcome::Accepted(credit) }
                    else { Outcome::Rejected(RejectReason::LowDifficulty) };
                prop_assert!(answers.settle(token, 1, outcome));
                let mut told = Vec::new();
                answers.drain(|a| told.push(a), |s| {
                    got.push((s.sequence, matches!(s.outcome, Outcome::Accepted(_))));
                });
                for answer in told {
                    if let Answer::Success { count, sum, .. } = answer {
                        counted += count;
                        summed += sum;
                    }
                }
            }
            answers.drain(|_| {}, |s| got.push((s.sequence, false)));
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(counted as usize, expected.iter().filter(|e| e.1).count());
            prop_assert_eq!(summed, work.whole);
            prop_assert_eq!(answers.waiting(), 0);
        }
    }
}
