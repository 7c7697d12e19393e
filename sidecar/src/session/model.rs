//! A connection with one channel against a naive model, under any order of what may happen.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::{job, judged, mining, share, tokens};
use super::*;
use crate::backend::Event;
use crate::channel::Answer;
use crate::types::{Kind, RejectReason};

#[derive(Debug, Clone)]
enum Step {
    /// The miner submits for its newest job, an older one, or one it never had.
    Submit { behind: u32 },
    /// The pool judges any one of the waiting submits.
    Judge { which: prop::sample::Index, accept: bool },
    /// The pool judges one again, or one that never was.
    JudgeAgain { token: u64 },
    /// New work: same tip or a new one.
    Job { new_tip: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u32..4).prop_map(|behind| Step::Submit { behind }),
        4 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, accept)| Step::Judge { which, accept }),
        1 => (0_u64..40).prop_map(|token| Step::JudgeAgain { token }),
        2 => any::<bool>().prop_map(|new_tip| Step::Job { new_tip }),
    ]
}

/// What the miner has heard: the answer to each sequence number.
#[derive(Default)]
struct Heard {
    answers: Vec<(u32, Option<RejectReason>)>,
    open: BTreeMap<u32, ()>,
}

impl Heard {
    fn take(&mut self, out: Vec<Outbound>) -> Result<(), TestCaseError> {
        for message in out {
            let Outbound::Answer { answer, .. } = message else { continue };
            match answer {
                Answer::Error { sequence, reason } => {
                    prop_assert!(self.open.remove(&sequence).is_some(), "answered twice");
                    self.answers.push((sequence, Some(reason)));
                }
                // Cumulative: all that are open up to the last one.
                Answer::Success { last_sequence, count, .. } => {
                    let now: Vec<_> = self.open.range(..=last_sequence).map(|e| *e.0).collect();
                    prop_assert_eq!(now.len(), count as usize, "a Success covers all its elders");
                    for sequence in now {
                        self.open.remove(&sequence);
                        self.answers.push((sequence, None));
                    }
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn every_submit_gets_exactly_one_answer_in_order_and_no_success_without_a_verdict(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let (mut session, key) = mining(Kind::Extended);
        let (mut sequence, mut seq, mut tip) = (0, 1, 1);
        let mut waiting: Vec<(u32, u64)> = Vec::new();
        let mut verdicts: BTreeMap<u32, bool> = BTreeMap::new();
        let mut heard = Heard::default();
        for step in steps {
            let mut fx = Effects::default();
            match step {
                Step::Submit { behind } => {
                    sequence += 1;
                    heard.open.insert(sequence, ());
                    let job_id = (session.next_job_id - 1).saturating_sub(behind);
                    let message = share(Kind::Extended, sequence, job_id, sequence);
                    session.receive(message, super::tests::NOW, &mut fx);
                    waiting.extend(tokens(&fx).into_iter().map(|token| (sequence, token)));
                }
                Step::Judge { which, accept } if !waiting.is_empty() => {
                    let (sequence, token) = waiting.swap_remove(which.index(waiting.len()));
                    verdicts.insert(sequence, accept);
                    let event = Event::Verdict(judged(key, token, accept));
                    session.events(vec![event], 0, &mut fx);
                }
                Step::JudgeAgain { token } if waiting.iter().all(|w| w.1 != token) => {
                    let event = Event::Verdict(judged(key, token, true));
                    session.events(vec![event], 0, &mut fx);
                }
                Step::Job { new_tip } => {
                    seq += 1;
                    tip += u8::from(new_tip && tip < 250);
                    let event = Event::Job { channel: key, job: job(seq, tip) };
                    session.events(vec![event], 0, &mut fx);
                }
                Step::Judge { .. } | Step::JudgeAgain { .. } => {}
            }
            heard.take(fx.out)?;
        }
        // What still waits is answered when the link goes.
        let mut fx = Effects::default();
        session.events(vec![Event::LinkLost], 0, &mut fx);
        heard.take(fx.out)?;
        prop_assert!(heard.open.is_empty(), "unanswered: {:?}", heard.open);
        let order: Vec<_> = heard.answers.iter().map(|a| a.0).collect();
        prop_assert_eq!(order, (1..=sequence).collect::<Vec<_>>());
        for (sequence, reason) in heard.answers {
            let accepted = verdicts.get(&sequence) == Some(&true);
            prop_assert!(reason.is_some() || accepted, "a Success without a verdict");
        }
    }
}
