//! Submits that wait for the pool's verdict. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::types::{ChannelKey, ConnId, Submit};

/// Most submits of closed channels that are remembered by whose they were.
const CLOSED_MAX: usize = 1_024;

/// A submit on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The channel it came on.
    pub channel: ChannelKey,
    /// The channel's name of it.
    pub token: u64,
    /// What was sent, to send it again when a stream breaks.
    pub submit: Submit,
}

/// The table of submits in flight: each gets an id that is never used twice in a session, and is
/// taken out by exactly one verdict.
#[derive(Debug)]
pub struct InFlight {
    next_id: u64,
    capacity: usize,
    waiting: BTreeMap<u64, Sent>,
    /// How many wait of each channel that has any.
    of_channel: HashMap<ChannelKey, usize>,
    /// Channel and worker of the newest that were forgotten with their channels: a late verdict
    /// may say that one of them is a block.
    closed: BTreeMap<u64, (ChannelKey, Bytes)>,
}

impl InFlight {
    /// `capacity`: most submits that wait at a time; told to the pool, whose ring must hold as
    /// many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            next_id: 1,
            capacity,
            waiting: BTreeMap::new(),
            of_channel: HashMap::new(),
            closed: BTreeMap::new(),
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that wait, in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Sent)> {
        self.waiting.iter().map(|(id, sent)| (*id, sent))
    }

    /// How many more may be sent.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.waiting.len())
    }

    /// Takes a submit in and gives it its id; `None` when the table is full.
    pub fn insert(&mut self, sent: Sent) -> Option<u64> {
        if self.room() == 0 {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        *self.of_channel.entry(sent.channel).or_default() += 1;
        self.waiting.insert(id, sent);
        Some(id)
    }

    /// A verdict came: hands out whom it is for. `None` for an id that doesn't wait (any more).
    pub fn take(&mut self, id: u64) -> Option<Sent> {
        let sent = self.waiting.remove(&id)?;
        if let Some(count) = self.of_channel.get_mut(&sent.channel) {
            *count -= 1;
            if *count == 0 {
                self.of_channel.remove(&sent.channel);
            }
        }
        Some(sent)
    }

    /// Whether a submit ever had this id: a late verdict is for one that did.
    #[must_use]
    pub const fn was_sent(&self, id: u64) -> bool {
        id > 0 && id < self.next_id
    }

    /// The channel of a submit that waits, or that did when its channel was closed, and the worker
    /// that it named.
    #[must_use]
    pub fn whose(&self, id: u64) -> Option<(ChannelKey, &Bytes)> {
        let waiting = self.waiting.get(&id).map(|sent| (sent.channel, &sent.submit.worker));
        waiting.or_else(|| self.closed.get(&id).map(|(channel, worker)| (*channel, worker)))
    }

    /// The id the next submit gets: all that wait have smaller ones.
    #[must_use]
    pub const fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The id of the submit that has waited longest.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.waiting.keys().next().copied()
    }

    /// The channel is closed: nobody waits for its verdicts, and the pool owes none. Returns how
    /// many submits that were.
    pub fn forget_channel(&mut self, channel: ChannelKey) -> usize {
        let Some(count) = self.of_channel.remove(&channel) else { return 0 };
        self.close(|of| of == channel);
        count
    }

    /// As [`InFlight::forget_channel`] for every channel of a connection.
    pub fn forget_connection(&mut self, conn: ConnId) -> usize {
        let before = self.waiting.len();
        if self.of_channel.keys().any(|channel| channel.conn() == conn) {
            self.of_channel.retain(|channel, _| channel.conn() != conn);
            self.close(|of| of.conn() == conn);
        }
        before - self.waiting.len()
    }

    /// Forgets what waits of such channels, but for whose it was.
    fn close(&mut self, closes: impl Fn(ChannelKey) -> bool) {
        let closed = &mut self.closed;
        self.waiting.retain(|id, sent| {
            let closes = closes(sent.channel);
            if closes {
                closed.insert(*id, (sent.channel, std::mem::take(&mut sent.submit.worker)));
            }
            !closes
        });
        while closed.len() > CLOSED_MAX {
            closed.pop_first();
        }
    }

    /// Takes out all of these channels, in the order the submits were sent.
    pub fn take_channels(&mut self, channels: &[ChannelKey]) -> Vec<(u64, Sent)> {
        let of_it = self.waiting.iter().filter(|(_, sent)| channels.contains(&sent.channel));
        let ids: Vec<_> = of_it.map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.take(id)?))).collect()
    }

    /// Empties the table, in the order the submits were sent.
    pub fn take_all(&mut self) -> Vec<(u64, Sent)> {
        self.of_channel.clear();
        std::mem::take(&mut self.waiting).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::types::ConnId;

    fn sent(token: u64) -> Sent {
        sent_on(1, 1, token)
    }

    fn sent_on(conn: u64, channel: u32, token: u64) -> Sent {
        let submit = Submit {
            job_id: 1,
            nonce: 0,
            ntime: 0,
            version: 0,
            extranonce: Bytes::new(),
            worker: Bytes::new(),
            would_refuse: None,
        };
        Sent { channel: ChannelKey::new(ConnId(conn), channel).unwrap(), token, submit }
    }

    #[test]
    fn a_closed_channel_leaves_no_submit_behind() {
        let mut table = InFlight::new(8);
        for (conn, channel) in [(1, 1), (1, 2), (2, 1), (1, 1)] {
            table.insert(sent_on(conn, channel, 0)).unwrap();
        }
        assert_eq!(table.forget_channel(ChannelKey::new(ConnId(1), 1).unwrap()), 2);
        assert_eq!(table.room(), 6);
        assert_eq!(table.oldest(), Some(2));
        assert_eq!(table.take(1), None, "its verdict comes late");
        assert!(table.was_sent(1) && !table.was_sent(5) && !table.was_sent(0));
        let whose = |id| table.whose(id).map(|(channel, worker)| (channel.conn(), worker.len()));
        assert_eq!([1, 2, 3, 5].map(whose), {
            let one = Some((ConnId(1), 0));
            [one, one, Some((ConnId(2), 0)), None]
        });
        assert_eq!(table.forget_connection(ConnId(1)), 1);
        assert_eq!(table.forget_connection(ConnId(1)), 0);
        assert!(table.take(3).is_some());
        assert_eq!(table.room(), 8);
        assert!(table.of_channel.is_empty());
    }

    #[test]
    fn remembers_whose_the_newest_submits_of_closed_channels_were_and_no_more() {
        let mut table = InFlight::new(2 * CLOSED_MAX);
        for _ in 0..CLOSED_MAX + 5 {
            table.insert(sent_on(1, 1, 0)).unwrap();
        }
        table.forget_connection(ConnId(1));
        assert_eq!(table.closed.len(), CLOSED_MAX);
        assert!(table.whose(5).is_none() && table.whose(6).is_some());
    }

    proptest! {
        /// Against a plain list: ids rise, each is taken once, the bound holds.
        #[test]
        fn each_submit_is_taken_exactly_once(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let mut table = InFlight::new(8);
            let mut model: Vec<(u64, u64)> = Vec::new();
            let (mut last, mut token) = (0, 0);
            for (send, which) in steps {
                if send {
                    token += 1;
                    match table.insert(sent(token)) {
                        Some(id) => {
                            prop_assert_eq!(id, last + 1);
                            last = id;
                            model.push((id, token));
                        }
                        None => prop_assert_eq!(model.len(), 8),
                    }
                } else if !model.is_empty() {
                    let (id, token) = model.swap_remove(which.index(model.len()));
                    prop_assert_eq!(table.take(id).map(|s| s.token), Some(token));
                    prop_assert_eq!(table.take(id), None);
                }
                prop_assert_eq!(table.room(), 8 - model.len());
            }
            model.sort_unstable();
            let left: Vec<_> = table.take_all().into_iter().map(|(id, s)| (id, s.token)).collect();
            prop_assert_eq!(left, model);
        }
    }
}
