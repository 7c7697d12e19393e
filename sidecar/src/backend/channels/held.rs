//! One channel, and how it stands with the pool.

use std::sync::Arc;

use bytes::Bytes;

use crate::types::{Connection, Grant, OpenRequest, Target};

/// How a channel stands with the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The pool has not been asked for it yet.
    Wished,
    /// The pool has not answered the first open yet.
    Opening,
    /// Open.
    Open,
    /// The pool has lost it and has not been asked for it again yet.
    Suspended,
    /// The pool has lost it and was asked for it again.
    Reopening,
}

impl State {
    /// Whether the pool has opened it once.
    pub(super) const fn was_open(self) -> bool {
        matches!(self, Self::Open | Self::Suspended | Self::Reopening)
    }
}

/// [`Update::request`] of an update that no miner asked for: its answer is for nobody.
pub const REVERT: u32 = 0;

/// An UpdateChannel that the pool has not answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Names it on its channel; [`REVERT`]: it takes back those before it.
    pub request: u32,
    /// In H/s.
    pub nominal_hash_rate: f32,
    /// Easiest target the miner takes.
    pub max_target: Target,
}

/// One channel.
#[derive(Debug)]
pub struct Held {
    /// Who holds it.
    pub connection: Arc<Connection>,
    /// What it was opened with, as updated since.
    pub request: OpenRequest,
    /// How it stands.
    pub state: State,
    /// The life of the pool in which it was opened last; see [`super::Channels::generation`].
    pub generation: u64,
    /// Empty while it was never open.
    pub prefix: Bytes,
    /// Bytes the miner rolls.
    pub extranonce_size: u8,
    /// What the pool wants.
    wanted: Target,
    /// What the miner was told, where that differs.
    told: Option<Target>,
    /// Oldest first.
    pub(super) updates: Vec<Update>,
    /// Rises with the last share: who mined last is re-opened first.
    pub(super) active: u64,
    /// Looks that have seen its open unanswered on earlier streams.
    pub(super) spent: u64,
}

impl Held {
    /// A wish, in a life of the pool.
    pub(super) fn new(connection: Arc<Connection>, request: OpenRequest, generation: u64) -> Self {
        Self {
            connection,
            wanted: request.max_target,
            request,
            state: State::Wished,
            generation,
            prefix: Bytes::new(),
            extranonce_size: 0,
            told: None,
            updates: Vec::new(),
            active: 0,
            spent: 0,
        }
    }

    /// Whether the pool has it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the pool was asked for it on this stream, or has it.
    #[must_use]
    pub fn is_known_to_pool(&self) -> bool {
        !matches!(self.state, State::Wished | State::Suspended)
    }

    /// The target in effect.
    #[must_use]
    pub fn target(&self) -> Target {
        self.told.unwrap_or(self.wanted)
    }

    /// What the pool wants, and what the miner was told where that is another.
    #[must_use]
    pub fn told(&self) -> Option<(Target, Target)> {
        self.told.map(|told| (self.wanted, told))
    }

    /// The pool wants this one.
    pub const fn want(&mut self, target: Target) {
        (self.wanted, self.told) = (target, None);
    }

    /// The miner was told this one when the pool wanted the other. False: it wants yet another by
    /// now, to which this is no answer.
    pub fn tell(&mut self, wanted: Target, target: Target) -> bool {
        let answers = self.wanted == wanted;
        if answers {
            self.told = Some(target);
        }
        answers
    }

    /// Whether the pool grants what it had granted before.
    #[must_use]
    pub fn is_as_before(&self, grant: &Grant) -> bool {
        self.prefix == grant.prefix && self.extranonce_size == grant.extranonce_size
    }

    pub(super) fn granted(&mut self, grant: &Grant, generation: u64) {
        self.state = State::Open;
        self.generation = generation;
        self.spent = 0;
        self.prefix = grant.prefix.clone();
        self.extranonce_size = grant.extranonce_size;
        self.want(grant.target);
    }

    /// The pool is asked for an update.
    pub fn update(&mut self, update: Update) {
        self.updates.push(update);
    }

    /// The updates that wait, oldest first.
    #[must_use]
    pub fn updates(&self) -> &[Update] {
        &self.updates
    }

    /// The updates are answered without the pool, which may have taken them all the same: it is to
    /// be told again what holds.
    pub(super) fn revert_updates(&mut self) {
        let OpenRequest { nominal_hash_rate, max_target, .. } = self.request;
        self.updates = vec![Update { request: REVERT, nominal_hash_rate, max_target }];
    }

    /// The pool answered an update; a taken one holds for a re-open, too.
    pub fn updated(&mut self, request: u32, taken: bool) {
        let Some(index) = self.updates.iter().position(|u| u.request == request) else { return };
        let update = self.updates.remove(index);
        if taken {
            self.request.nominal_hash_rate = update.nominal_hash_rate;
            self.request.max_target = update.max_target;
        }
    }
}
