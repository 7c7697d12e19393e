//! Who waits for a channel: for the turn to be asked for, and for the pool's answer.

use std::collections::{BTreeSet, VecDeque};

use super::OPENS_AT_ONCE;
use crate::types::{ChannelKey, ConnId};

/// Most channels that may be wished for: with more, miners are told to come again later.
pub const WISHES_MAX: usize = 16_384;

/// From how many on a connection may wish for one at a time only. So one address shuts out nobody
/// while it may have fewer connections than there are places left; by default, half as many
/// (`[listen].max_connections_per_address`).
const CROWDED: usize = WISHES_MAX / 2;

/// How many of those it is asked for a pool is taken to be at work on: package `session` of ours is
/// on as many. The others only wait in the pool, and can't be late.
pub const UNDER_WAY: usize = 16;

/// Channels that the pool has not been asked for yet.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Oldest first; some may be gone by now.
    line: VecDeque<ChannelKey>,
    waiting: BTreeSet<ChannelKey>,
}

impl Wishes {
    /// A connection wishes for one.
    pub(super) fn push(&mut self, key: ChannelKey) {
        self.waiting.insert(key);
        // Those that were given up meanwhile don't fill it, however long the pool takes.
        if self.line.len() > 2 * (self.waiting.len() + OPENS_AT_ONCE) {
            let waiting = &self.waiting;
            self.line.retain(|key| waiting.contains(key));
        }
        self.line.push_back(key);
    }

    /// One that was asked for in vain is the next again.
    pub(super) fn push_front(&mut self, key: ChannelKey) {
        self.waiting.insert(key);
        self.line.push_front(key);
    }

    /// The oldest; it waits no more.
    pub(super) fn pop(&mut self) -> Option<ChannelKey> {
        loop {
            let key = self.line.pop_front()?;
            if self.waiting.remove(&key) {
                return Some(key);
            }
        }
    }

    /// It was given up.
    pub(super) fn leave(&mut self, key: ChannelKey) {
        self.waiting.remove(&key);
    }

    /// Whether so many wait that a connection may not wish for one more.
    pub(super) fn is_crowded_for(&self, conn: ConnId) -> bool {
        match self.waiting.len() {
            WISHES_MAX.. => true,
            CROWDED.. => self.has_some_of(conn),
            _ => false,
        }
    }

    fn has_some_of(&self, conn: ConnId) -> bool {
        let first = ChannelKey::new(conn, 0);
        let next = first.and_then(|first| self.waiting.range(first..).next());
        next.is_some_and(|key| key.conn() == conn)
    }

    /// Places in the line.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.line.len()
    }
}

/// Channels that the pool was asked for and has not answered, in the order in which it was asked:
/// no more than it is asked for at a time. With the look behind which it came to each.
#[derive(Debug, Default)]
pub(super) struct Asked(Vec<(ChannelKey, Option<u64>)>);

impl Asked {
    /// The pool is asked for one, behind this look.
    pub(super) fn push(&mut self, key: ChannelKey, look: u64) {
        self.0.push((key, None));
        self.goes_on(look);
    }

    /// It is answered, or nobody wants it any more; the pool turns to the next.
    pub(super) fn remove(&mut self, key: ChannelKey, look: u64) {
        self.0.retain(|(asked, _)| *asked != key);
        self.goes_on(look);
    }

    fn goes_on(&mut self, look: u64) {
        for (_, begun) in self.0.iter_mut().take(UNDER_WAY) {
            begun.get_or_insert(look);
        }
    }

    /// They are to be asked for anew.
    pub(super) fn take(&mut self) -> impl DoubleEndedIterator<Item = ChannelKey> {
        std::mem::take(&mut self.0).into_iter().map(|(key, _)| key)
    }

    /// Those that the pool came to before this look.
    pub(super) fn before(&self, look: u64) -> Vec<ChannelKey> {
        let late = self.0.iter().filter(|(_, begun)| begun.is_some_and(|begun| begun < look));
        late.map(|(key, _)| *key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
