//! The clock, the agenda, the dice and the trace.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use gopool_sv2_proto::v1;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::types::ConnId;

/// What happens next. Streams, outages, outages' ends and so on are named by number, so that a
/// late one is seen to be late.
#[derive(Debug)]
pub(super) enum Event {
    /// The link's task may take commands.
    LinkTurn,
    /// It may write to a stream.
    LinkWrite(u64),
    /// It dials, unless it was told to later than this.
    Dial(u64),
    /// A dial has taken too long.
    DialTimeout(u64),
    /// Patience with the pool ends.
    OutageDue(u64),
    /// It looks whether the pool is silent.
    Look(u64),
    /// It asks again for what was refused for now.
    Retry(u64),
    /// The first message of a stream arrives.
    ToPool(u64),
    /// As above, the other way.
    ToSidecar(u64),
    /// The pool sends what waits for a stream.
    Flush(u64),
    /// The pool has a verdict, in the life given, on a share of a channel.
    Verdict(u32, u64, v1::Verdict),
    /// The pool has made up its mind about an open.
    OpenDone(u32, u64, u64),
    /// A prefix is free again, in the epoch given.
    Free(u32, u32),
    /// The pool has waited for long enough for a stream.
    Window(u64),
    /// The pool starts.
    Boot,
    /// The pool dies.
    Crash,
    /// The pool has new work, in the epoch given.
    Work(u32),
    /// A connection's task may go on.
    Turn(ConnId),
    /// A connection's socket takes what waits.
    Write(ConnId),
    /// A miner does something.
    Act(usize),
    /// A miner connects.
    Connect(usize),
    /// Something breaks.
    Fault,
    /// A knob goes back.
    Heal(super::faults::Knob),
    /// Nothing breaks any more.
    Calm,
    /// Miners submit nothing any more.
    Rest,
}

/// What must hold, whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// Exactly one answer per submit, in order on its channel.
    OneAnswer,
    /// No Success without an acceptance of the pool, and its credit.
    NoSuccessWithoutVerdict,
    /// Judged once, credited once.
    NoSecondCredit,
    /// Nothing of one life of the pool is judged in another.
    NothingAcrossLives,
    /// Nothing is accepted that was not for the pool's tip.
    RightTip,
    /// What was answered `backend-unavailable` is not credited.
    Withdrawn,
    /// A share that meets the target its miner was told is not too low.
    ToldTarget,
    /// A channel is told of the newest work, in the step that brings it.
    NewestWork,
    /// Tables, mailboxes and queues are bounded.
    Bounds,
    /// The sidecar keeps the contract of the link.
    Contract,
    /// When nothing breaks any more, everything is as it should be.
    Converges,
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) text: String,
}

/// How often the interesting happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) submits: u64,
    pub(super) successes: u64,
    pub(super) resumes: u64,
    pub(super) restarts: u64,
    pub(super) sessions_expired: u64,
    pub(super) fenced: u64,
    pub(super) late_hellos: u64,
    pub(super) given_up: u64,
    pub(super) lost: u64,
    pub(super) silent: u64,
    pub(super) drained: u64,
    pub(super) reopened: u64,
    pub(super) reopens_refused: u64,
    pub(super) opens_late: u64,
    pub(super) reopens_late: u64,
    pub(super) unrestored: u64,
    pub(super) withdrawn: u64,
    pub(super) sent_again: u64,
    pub(super) known_again: u64,
    pub(super) stale_across: u64,
    pub(super) kicks: u64,
    pub(super) mailboxes_full: u64,
    pub(super) two_tips_in_a_step: u64,
    pub(super) verdicts_out_of_order: u64,
    pub(super) ntime_refused: u64,
}

/// See the module.
pub(super) struct Stage {
    /// Milliseconds since the start.
    pub(super) now: u64,
    pub(super) rng: StdRng,
    pub(super) counts: Counts,
    pub(super) broken: Option<Broken>,
    agenda: BTreeMap<(u64, u64), Event>,
    order: u64,
    hash: Sha256,
    tail: VecDeque<String>,
    longest_tail: usize,
}

impl Stage {
    /// `tail`: trace lines that a report shows.
    pub(super) fn new(seed: u64, tail: usize) -> Self {
        Self {
            now: 0,
            rng: StdRng::seed_from_u64(seed),
            counts: Counts::default(),
            broken: None,
            agenda: BTreeMap::new(),
            order: 0,
            hash: Sha256::new(),
            tail: VecDeque::new(),
            longest_tail: tail,
        }
    }

    /// Puts an event on the agenda; those of one moment happen in the order in which they were put.
    pub(super) fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    pub(super) fn at(&mut self, when: u64, event: Event) {
        self.order += 1;
        self.agenda.insert((when.max(self.now), self.order), event);
    }

    /// The next event, when there is one up to `end`.
    pub(super) fn next(&mut self, end: u64) -> Option<Event> {
        let ((when, _), event) = self.agenda.pop_first()?;
        if when > end {
            return None;
        }
        self.now = when;
        Some(event)
    }

    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.gen_range(low..=high)
    }

    /// One of `count` things.
    pub(super) fn one_of(&mut self, count: usize) -> usize {
        self.rng.gen_range(0..count)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.rng.gen_range(0..100) < percent
    }

    /// Writes a line of the trace; `bytes` go into its hash with it.
    pub(super) fn trace(&mut self, text: fmt::Arguments<'_>, bytes: &[u8]) {
        let line = format!("{:>7} {text}", self.now);
        self.hash.update(line.as_bytes());
        self.hash.update(bytes);
        if self.tail.len() == self.longest_tail {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// A promise is broken; the first one counts.
    pub(super) fn breaks(&mut self, promise: Promise, text: String) {
        self.trace(format_args!("BROKEN {promise:?}: {text}"), &[]);
        self.broken.get_or_insert(Broken { promise, text });
    }

    pub(super) fn tail(&self) -> String {
        self.tail.iter().fold(String::new(), |all, line| all + line + "\n")
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}
