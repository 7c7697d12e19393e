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
/// no more than it is asked for at a time.
#[derive(Debug, Default)]
pub(super) struct Asked(Vec<One>);

#[derive(Debug)]
struct One {
    key: ChannelKey,
    /// Looks that it has spent on earlier streams.
    spent: u64,
    /// The look behind which the pool came to it.
    begun: Option<u64>,
}

impl One {
    /// Looks that have seen it unanswered.
    fn spent(&self, look: u64) -> u64 {
        self.spent + self.begun.map_or(0, |begun| look - begun)
    }
}

impl Asked {
    /// The pool is asked for one, behind this look. `spent`: looks that it has spent before.
    pub(super) fn push(&mut self, key: ChannelKey, spent: u64, look: u64) {
        self.0.push(One { key, spent, begun: None });
        self.goes_on(look);
    }

    /// It is answered, or nobody wants it any more; the pool turns to the next.
    pub(super) fn remove(&mut self, key: ChannelKey, look: u64) {
        self.0.retain(|one| one.key != key);
        self.goes_on(look);
    }

    fn goes_on(&mut self, look: u64) {
        for one in self.0.iter_mut().take(UNDER_WAY) {
            one.begun.get_or_insert(look);
        }
    }

    /// The stream has ended: they are to be asked for anew. With the looks that each has spent: a
    /// break behind this look counts as one more for those that the pool had come to, be it that
    /// it broke on one of them. `None`: none of this stream count.
    pub(super) fn take(
        &mut self,
        look: Option<u64>,
    ) -> impl DoubleEndedIterator<Item = (ChannelKey, u64)> + use<> {
        let spent = move |one: &One| match look {
            Some(look) => one.spent(look) + u64::from(one.begun.is_some()),
            None => one.spent,
        };
        std::mem::take(&mut self.0).into_iter().map(move |one| (one.key, spent(&one)))
    }

    /// Those that have spent more looks than this.
    pub(super) fn beyond(&self, patience: u64, look: u64) -> Vec<ChannelKey> {
        let late = self.0.iter().filter(|one| one.spent(look) > patience);
        late.map(|one| one.key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
