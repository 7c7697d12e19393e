//! The channels that connections hold, and how each stands with the pool. Pure.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::ledger::Owner;
use super::news::Accounts;
use crate::types::{ChannelKey, ConnId, Connection, Grant, OpenRequest, Target};

/// Most channels that are being re-opened at a time: after a restart the pool is not asked for all
/// at once, and what miners send meanwhile still gets through.
pub const REOPENS_AT_ONCE: usize = 64;

/// Most opens that wait for the pool's answer: when thousands of miners come at once, the shares
/// of the others wait behind so many opens at most. Four times as many as a pool made of our Go
/// library works on at once.
pub const OPENS_AT_ONCE: usize = 64;

/// The two of them.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce {
    /// [`OPENS_AT_ONCE`].
    pub opens: usize,
    /// [`REOPENS_AT_ONCE`].
    pub reopens: usize,
}

impl Default for AtOnce {
    fn default() -> Self {
        Self { opens: OPENS_AT_ONCE, reopens: REOPENS_AT_ONCE }
    }
}

/// Most channels that may be wished for: with more, miners are told to come again later.
pub const WISHES_MAX: usize = 16_384;

/// How a channel stands with the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The pool has not been asked for it yet.
    Wished,
    /// The pool has not answered the first open yet.
    Opening,
    /// Nor did it in time: it holds up no other.
    Late,
    /// Open.
    Open,
    /// The pool has lost it and has not been asked for it again yet.
    Suspended,
    /// The pool has lost it and was asked for it again.
    Reopening,
}

impl State {
    /// Whether the pool has opened it once.
    const fn was_open(self) -> bool {
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
    /// The life of the pool in which it was opened last; see [`Channels::generation`].
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
    updates: Vec<Update>,
    /// Rises with the last share: who mined last is re-opened first.
    active: u64,
    /// At which look the pool was asked for it.
    asked: u64,
}

impl Held {
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

    fn granted(&mut self, grant: &Grant, generation: u64) {
        self.state = State::Open;
        self.generation = generation;
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
    fn revert_updates(&mut self) {
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

/// All channels.
#[derive(Debug, Default)]
pub struct Channels {
    held: HashMap<ChannelKey, Held>,
    at_once: AtOnce,
    generation: u64,
    shares: u64,
    /// Wished ones, oldest first; some may be gone by now.
    wishes: VecDeque<ChannelKey>,
    /// How many are wished for, and how many the pool was asked for and has not answered.
    wished: usize,
    opening: usize,
    looks: u64,
    /// Suspended ones in the order in which they are asked for again; some may be gone by now.
    queue: VecDeque<ChannelKey>,
    /// Suspended ones that the pool refused for now.
    later: Vec<ChannelKey>,
    reopening: usize,
    /// How many are suspended or being re-opened.
    lacking: usize,
    /// Those that are open, as news of a mint look for them.
    accounts: Accounts,
}

impl Channels {
    /// Asks for fewer at a time, so that a few channels are many.
    #[cfg(test)]
    pub fn ask_for(&mut self, at_once: AtOnce) {
        self.at_once = at_once;
    }

    /// The life of the pool: rises when the pool has lost its channels and jobs. A share for a job
    /// of an earlier one can't be judged any more.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Those whose miners hear news of a mint.
    pub fn accounts(&self) -> Accounts {
        self.accounts.clone()
    }

    /// A connection wishes for a channel.
    pub fn open(&mut self, key: ChannelKey, connection: Arc<Connection>, request: OpenRequest) {
        let held = Held {
            connection,
            wanted: request.max_target,
            request,
            state: State::Wished,
            generation: self.generation,
            prefix: Bytes::new(),
            extranonce_size: 0,
            told: None,
            updates: Vec::new(),
            active: 0,
            asked: 0,
        };
        if let Some(before) = self.held.insert(key, held) {
            self.leaves(before.state);
        }
        self.wished += 1;
        // Those that were given up meanwhile don't fill it, however long the pool takes.
        if self.wishes.len() > 2 * (self.wished + OPENS_AT_ONCE) {
            let held = &self.held;
            self.wishes.retain(|key| held.get(key).is_some_and(|h| h.state == State::Wished));
        }
        self.wishes.push_back(key);
    }

    /// The next to ask the pool for, a few at a time; it counts as asked for.
    pub fn next_open(&mut self) -> Option<(ChannelKey, &Held)> {
        while self.opening < self.at_once.opens {
            let key = self.wishes.pop_front()?;
            let Some(held) = self.held.get_mut(&key).filter(|h| h.state == State::Wished) else {
                continue;
            };
            held.state = State::Opening;
            held.asked = self.looks;
            self.wished -= 1;
            self.opening += 1;
            return self.held.get(&key).map(|held| (key, held));
        }
        None
    }

    /// Places in the queue of those that are wished for.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.wishes.len()
    }

    /// Whether so many are wished for that no more are taken.
    #[must_use]
    pub const fn is_crowded(&self) -> bool {
        self.wished >= WISHES_MAX
    }

    /// Has opens that the pool has not answered since the look before the last hold up no others.
    /// Says how many, when there are any.
    pub fn look(&mut self) -> usize {
        self.looks += 1;
        if self.opening < self.at_once.opens {
            return 0;
        }
        let before = self.opening;
        for held in self.held.values_mut().filter(|held| held.state == State::Opening) {
            if held.asked + 1 < self.looks {
                held.state = State::Late;
                self.opening -= 1;
            }
        }
        before - self.opening
    }

    /// Those that the pool has never opened.
    #[must_use]
    pub fn unopened(&self) -> Vec<ChannelKey> {
        let states = [State::Late, State::Opening, State::Wished];
        states.into_iter().flat_map(|state| self.in_state(state)).map(|(key, _)| key).collect()
    }

    /// One of them.
    pub fn get_mut(&mut self, key: ChannelKey) -> Option<&mut Held> {
        self.held.get_mut(&key)
    }

    /// Whose its shares are.
    pub fn owner(&self, key: ChannelKey) -> Option<Owner> {
        let request = &self.held.get(&key)?.request;
        let OpenRequest { user_identity, payout_key, quote, .. } = request;
        let user_identity = user_identity.clone();
        Some(Owner { user_identity, payout_key: *payout_key, quote: *quote })
    }

    /// Whether a share may go to the pool: the channel is open, in the life in which the share's
    /// job was given. `None`: there is no such channel.
    pub fn takes_share(&mut self, key: ChannelKey, generation: u64) -> Option<bool> {
        let held = self.held.get_mut(&key)?;
        self.shares += 1;
        held.active = self.shares;
        Some(held.state == State::Open && held.generation == generation)
    }

    /// The pool has opened it.
    pub fn granted(&mut self, key: ChannelKey, grant: &Grant) {
        let generation = self.generation;
        if let Some(held) = self.held.get_mut(&key) {
            let before = held.state;
            held.granted(grant, generation);
            self.accounts.opened(key, held);
            self.leaves(before);
        }
    }

    /// It is gone. Returns how it stood.
    pub fn remove(&mut self, key: ChannelKey) -> Option<Held> {
        let held = self.held.remove(&key)?;
        self.accounts.closed(key, &held);
        self.leaves(held.state);
        Some(held)
    }

    fn leaves(&mut self, state: State) {
        self.wished -= usize::from(state == State::Wished);
        self.opening -= usize::from(state == State::Opening);
        self.reopening -= usize::from(state == State::Reopening);
        self.lacking -= usize::from(matches!(state, State::Suspended | State::Reopening));
    }

    /// All of a connection are gone.
    pub fn remove_connection(&mut self, conn: ConnId) {
        let keys: Vec<_> = self.held.keys().filter(|key| key.conn() == conn).copied().collect();
        for key in keys {
            self.remove(key);
        }
    }

    /// Whether it is open for a miner to whom a job that forbids version rolling is of no use.
    #[must_use]
    pub fn must_roll(&self, key: ChannelKey) -> bool {
        let held = self.held.get(&key).filter(|held| held.is_open());
        held.is_some_and(|held| held.connection.requires_version_rolling())
    }

    /// Those of a connection, oldest first, but for those that it only wishes for.
    #[must_use]
    pub fn of_connection(&self, conn: ConnId) -> Vec<ChannelKey> {
        let of_it =
            |(key, held): &(&ChannelKey, &Held)| key.conn() == conn && held.state.was_open();
        let mut keys: Vec<_> = self.held.iter().filter(of_it).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// All are gone.
    pub fn clear(&mut self) {
        let (generation, shares, accounts) = (self.generation, self.shares, self.accounts());
        let at_once = self.at_once;
        accounts.clear();
        *self = Self { generation, shares, accounts, at_once, ..Self::default() };
    }

    /// The stream broke: what was asked for is asked for again on the next.
    pub fn cut(&mut self) {
        let asked = [State::Late, State::Opening].map(|state| self.in_state(state));
        let mut asked: Vec<_> = asked.into_iter().flatten().map(|(key, _)| key).collect();
        asked.sort_unstable();
        for key in asked.into_iter().rev() {
            if let Some(held) = self.held.get_mut(&key) {
                held.state = State::Wished;
            }
            self.wished += 1;
            self.wishes.push_front(key);
        }
        self.opening = 0;
        let asked: Vec<_> = self.in_state(State::Reopening).map(|(key, _)| key).collect();
        self.queue.extend(asked);
        for held in self.held.values_mut().filter(|held| held.state == State::Reopening) {
            held.state = State::Suspended;
        }
        self.reopening = 0;
        self.retry();
    }

    /// Another life of the pool: all that were open are suspended.
    pub fn suspend(&mut self) {
        self.generation += 1;
        for held in self.held.values_mut() {
            if held.state.was_open() {
                held.state = State::Suspended;
            }
        }
        let suspended = self.in_state(State::Suspended);
        let mut order: Vec<_> = suspended.map(|(key, held)| (Reverse(held.active), key)).collect();
        order.sort_unstable();
        self.lacking = order.len();
        self.queue = order.into_iter().map(|(_, key)| key).collect();
        self.later.clear();
        self.reopening = 0;
    }

    /// Those in a state, oldest connection first: what is sent must not depend on how a table
    /// happens to lie in memory.
    pub fn in_state(&self, state: State) -> impl Iterator<Item = (ChannelKey, &Held)> {
        let held = self.held.iter().filter(|(_, held)| held.state == state);
        let mut found: Vec<_> = held.map(|(key, held)| (*key, held)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        found.into_iter()
    }

    /// The next to ask the pool for again, most recently active first, a few at a time; it counts
    /// as asked for.
    pub fn next_reopen(&mut self) -> Option<(ChannelKey, &Held)> {
        while self.reopening < self.at_once.reopens {
            let key = self.queue.pop_front()?;
            let Some(held) = self.held.get_mut(&key).filter(|h| h.state == State::Suspended) else {
                continue;
            };
            held.state = State::Reopening;
            self.reopening += 1;
            return self.held.get(&key).map(|held| (key, held));
        }
        None
    }

    /// The pool can't have it back just now: see [`Channels::retry`].
    pub fn postpone(&mut self, key: ChannelKey) {
        if let Some(held) = self.held.get_mut(&key).filter(|h| h.state == State::Reopening) {
            held.state = State::Suspended;
            self.reopening -= 1;
            self.later.push(key);
        }
    }

    /// Those that were postponed come again.
    pub fn retry(&mut self) {
        self.queue.extend(self.later.drain(..));
    }

    /// The miners' updates that wait, of all channels; they wait no more. `revert`: the pool may
    /// have taken them, and still has the channels.
    pub fn take_updates(&mut self, revert: bool) -> Vec<(ChannelKey, u32)> {
        let mut updates = Vec::new();
        for (key, held) in self.held.iter_mut().filter(|(_, held)| !held.updates.is_empty()) {
            updates.extend(held.updates.drain(..).map(|update| (*key, update.request)));
            if revert {
                held.revert_updates();
            }
        }
        updates.retain(|(_, request)| *request != REVERT);
        updates.sort_by_key(|(key, _)| *key);
        updates
    }

    /// Those that the pool has lost and not opened again, and whether it was asked for them.
    #[must_use]
    pub fn all_suspended(&self) -> Vec<(ChannelKey, bool)> {
        let asked = self.in_state(State::Reopening).map(|(key, _)| (key, true));
        self.in_state(State::Suspended).map(|(key, _)| (key, false)).chain(asked).collect()
    }

    /// How many the pool has lost and not opened again.
    #[must_use]
    pub const fn suspended(&self) -> usize {
        self.lacking
    }
}

#[cfg(test)]
mod tests;
