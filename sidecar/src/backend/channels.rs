//! The channels that connections hold, and how each stands with the pool. Pure.

mod held;
mod waiting;

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub use held::{Held, State, Update, REVERT};
#[cfg(test)]
pub use waiting::{UNDER_WAY, WISHES_MAX};

use self::waiting::{Asked, Wishes};
use super::ledger::Owner;
use super::news::Accounts;
use crate::types::{ChannelKey, ConnId, Connection, Grant, OpenRequest};

/// Most channels that are being re-opened at a time: after a restart the pool is not asked for all
/// at once, and what miners send meanwhile still gets through.
pub const REOPENS_AT_ONCE: usize = 64;

/// Most opens that wait for the pool's answer: when thousands of miners come at once, the shares
/// of the others wait behind about so many, and not behind thousands. Those that were given up
/// meanwhile don't count, though the pool may still be at them. Four times as many as a pool made
/// of our Go library works on at once.
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

/// An open that more looks than these have seen unanswered is late. A stream that breaks on it
/// counts as a look: else a pool that breaks soon enough would be asked for it for ever.
const PATIENCE: u64 = 2;

/// All channels.
#[derive(Debug, Default)]
pub struct Channels {
    held: HashMap<ChannelKey, Held>,
    at_once: AtOnce,
    generation: u64,
    shares: u64,
    wishes: Wishes,
    opening: Asked,
    looks: u64,
    /// Suspended ones in the order in which they are asked for again; some may be gone by now.
    queue: VecDeque<ChannelKey>,
    /// Suspended ones that the pool refused for now.
    later: Vec<ChannelKey>,
    reopening: Asked,
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
        let held = Held::new(connection, request, self.generation);
        if let Some(before) = self.held.insert(key, held) {
            self.leaves(key, before.state);
        }
        self.wishes.push(key);
    }

    /// The next to ask the pool for, a few at a time; it counts as asked for.
    pub fn next_open(&mut self) -> Option<(ChannelKey, &Held)> {
        if self.opening.len() >= self.at_once.opens {
            return None;
        }
        let key = self.wishes.pop()?;
        let held = self.held.get_mut(&key)?;
        held.state = State::Opening;
        self.opening.push(key, held.spent, self.looks);
        Some((key, held))
    }

    /// Places in the line of those that are wished for.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.wishes.places()
    }

    /// Whether so many are wished for that this connection may not wish for one more.
    #[must_use]
    pub fn is_crowded_for(&self, conn: ConnId) -> bool {
        self.wishes.is_crowded_for(conn)
    }

    /// A look at what the pool was asked for. What it had not answered two looks ago, and still has
    /// not: those to be opened, and those to be opened again.
    pub fn look(&mut self) -> (Vec<ChannelKey>, Vec<ChannelKey>) {
        self.looks += 1;
        let late = |asked: &Asked| asked.beyond(PATIENCE, self.looks);
        (late(&self.opening), late(&self.reopening))
    }

    /// Those that streams have broken on so often that they are not to be asked for on yet another:
    /// those to be opened, and those to be opened again.
    #[must_use]
    pub fn broken_on(&self) -> (Vec<ChannelKey>, Vec<ChannelKey>) {
        let those = |state| {
            let spent = self.in_state(state).filter(|(_, held)| held.spent > PATIENCE);
            spent.map(|(key, _)| key).collect()
        };
        (those(State::Wished), those(State::Suspended))
    }

    /// Those that the pool has never opened.
    #[must_use]
    pub fn unopened(&self) -> Vec<ChannelKey> {
        let states = [State::Opening, State::Wished];
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
            self.leaves(key, before);
        }
    }

    /// It is gone. Returns how it stood.
    pub fn remove(&mut self, key: ChannelKey) -> Option<Held> {
        let held = self.held.remove(&key)?;
        self.accounts.closed(key, &held);
        self.leaves(key, held.state);
        Some(held)
    }

    fn leaves(&mut self, key: ChannelKey, state: State) {
        match state {
            State::Wished => self.wishes.leave(key),
            State::Opening => self.opening.remove(key, self.looks),
            State::Open => {}
            State::Suspended => self.lacking -= 1,
            State::Reopening => {
                self.reopening.remove(key, self.looks);
                self.lacking -= 1;
            }
        }
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

    /// Those of a connection, oldest first, but for those that the pool has never opened.
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

    /// The stream broke: what was asked for is asked for again on the next, before all that waits.
    /// `was_told`: the pool had said that it would, and answers no opens from then on; that tells
    /// nothing of them.
    pub fn cut(&mut self, was_told: bool) {
        let look = (!was_told).then_some(self.looks);
        for (key, spent) in self.opening.take(look).rev() {
            if let Some(held) = self.held.get_mut(&key) {
                (held.state, held.spent) = (State::Wished, spent);
                self.wishes.push_front(key);
            }
        }
        for (key, spent) in self.reopening.take(look).rev() {
            if let Some(held) = self.held.get_mut(&key) {
                (held.state, held.spent) = (State::Suspended, spent);
                self.queue.push_front(key);
            }
        }
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
        self.reopening = Asked::default();
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
        while self.reopening.len() < self.at_once.reopens {
            let key = self.queue.pop_front()?;
            let Some(held) = self.held.get_mut(&key).filter(|h| h.state == State::Suspended) else {
                continue;
            };
            held.state = State::Reopening;
            self.reopening.push(key, held.spent, self.looks);
            return self.held.get(&key).map(|held| (key, held));
        }
        None
    }

    /// The pool can't have it back just now: see [`Channels::retry`].
    pub fn postpone(&mut self, key: ChannelKey) {
        if let Some(held) = self.held.get_mut(&key).filter(|h| h.state == State::Reopening) {
            (held.state, held.spent) = (State::Suspended, 0);
            self.reopening.remove(key, self.looks);
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
