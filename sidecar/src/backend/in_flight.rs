//! Submits that wait for the pool's verdict. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::types::{ChannelKey, ConnId, Short, Submit};

/// Most submits of closed channels that are remembered by whose they were.
const CLOSED_MAX: usize = 1_024;

/// A submit on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The channel it came on.
    pub channel: ChannelKey,
    /// The channel's name of it.
    pub token: u64,
    /// What was sent, to send it again when a stream breaks.
    pub submit: Submit,
}

/// Places of submits that were taken out, as long as elder ones wait: beyond as many as do, and
/// these, they are closed up.
const GAPS: usize = 64;

/// The table of submits in flight: each gets an id that is never used twice in a session, and is
/// taken out by exactly one verdict.
///
/// In the order of their ids, in memory that is used again: a share costs none.
#[derive(Debug)]
pub struct InFlight {
    next_id: u64,
    capacity: usize,
    /// The first one waits.
    table: VecDeque<(u64, Option<Sent>)>,
    /// How many in the table wait.
    waiting: usize,
    /// How many wait of each channel that has any.
    of_channel: HashMap<ChannelKey, usize>,
    /// Channel and worker of the newest that were forgotten with their channels: a late verdict
    /// may say that one of them is a block.
    closed: BTreeMap<u64, (ChannelKey, Short)>,
}

impl InFlight {
    /// `capacity`: most submits that wait at a time; told to the pool, whose ring must hold as
    /// many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let (table, of_channel) = (VecDeque::new(), HashMap::new());
        let closed = BTreeMap::new();
        Self { next_id: 1, capacity, table, waiting: 0, of_channel, closed }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Those that wait, in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Sent)> {
        self.table.iter().filter_map(|(id, sent)| Some((*id, sent.as_ref()?)))
    }

    /// How many more may be sent now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.waiting.min(self.capacity)
    }

    /// Takes a submit in and gives it its id; `None` when the table is full.
    pub fn insert(&mut self, sent: Sent) -> Option<u64> {
        if self.room() == 0 {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        *self.of_channel.entry(sent.channel).or_default() += 1;
        self.table.push_back((id, Some(sent)));
        self.waiting += 1;
        Some(id)
    }

    /// A verdict came: hands out whom it is for. `None` for an id that doesn't wait (any more).
    pub fn take(&mut self, id: u64) -> Option<Sent> {
        let sent = self.place(id)?.take()?;
        self.waiting -= 1;
        if let Some(count) = self.of_channel.get_mut(&sent.channel) {
            *count -= 1;
            if *count == 0 {
                self.of_channel.remove(&sent.channel);
            }
        }
        self.close_up();
        Some(sent)
    }

    fn place(&mut self, id: u64) -> Option<&mut Option<Sent>> {
        let first = self.table.front()?.0;
        let ahead = usize::try_from(id.checked_sub(first)?).ok()?;
        // Without gaps closed up it stands right there; else before.
        let at = match self.table.get(ahead) {
            Some((there, _)) if *there == id => ahead,
            _ => self.table.binary_search_by_key(&id, |(id, _)| *id).ok()?,
        };
        self.table.get_mut(at).map(|(_, sent)| sent)
    }

    /// One that waits comes first, and the gaps behind it are bounded.
    fn close_up(&mut self) {
        while self.table.front().is_some_and(|(_, sent)| sent.is_none()) {
            self.table.pop_front();
        }
        if self.table.len() > 2 * self.waiting + GAPS {
            self.table.retain(|(_, sent)| sent.is_some());
        }
    }

    /// Whether a submit ever had this id: a late verdict is for one that did.
    #[must_use]
    pub const fn was_sent(&self, id: u64) -> bool {
        id > 0 && id < self.next_id
    }

    /// The channel of a submit that waits, or that did when its channel was closed, and the worker
    /// that it named.
    #[must_use]
    pub fn whose(&self, id: u64) -> Option<(ChannelKey, Short)> {
        let at = self.table.binary_search_by_key(&id, |(id, _)| *id).ok();
        let waiting = at.and_then(|at| self.table.get(at)?.1.as_ref());
        let waiting = waiting.map(|sent| (sent.channel, sent.submit.worker));
        waiting.or_else(|| self.closed.get(&id).copied())
    }

    /// The id the next submit gets: all that wait have smaller ones.
    #[must_use]
    pub const fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The id of the submit that has waited longest.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.table.front().map(|(id, _)| *id)
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
        let before = self.waiting;
        if self.of_channel.keys().any(|channel| channel.conn() == conn) {
            self.of_channel.retain(|channel, _| channel.conn() != conn);
            self.close(|of| of.conn() == conn);
        }
        before - self.waiting
    }

    /// Forgets what waits of such channels, but for whose it was.
    fn close(&mut self, closes: impl Fn(ChannelKey) -> bool) {
        for (id, sent) in &self.table {
            if let Some(sent) = sent.as_ref().filter(|sent| closes(sent.channel)) {
                self.closed.insert(*id, (sent.channel, sent.submit.worker));
            }
        }
        self.table.retain(|(_, sent)| sent.as_ref().is_some_and(|sent| !closes(sent.channel)));
        self.waiting = self.table.len();
        while self.closed.len() > CLOSED_MAX {
            self.closed.pop_first();
        }
    }

    /// Takes out all of these channels, in the order the submits were sent.
    pub fn take_channels(&mut self, channels: &[ChannelKey]) -> Vec<(u64, Sent)> {
        let of_it = self.iter().filter(|(_, sent)| channels.contains(&sent.channel));
        let ids: Vec<_> = of_it.map(|(id, _)| id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.take(id)?))).collect()
    }

    /// Empties the table, in the order the submits were sent.
    pub fn take_all(&mut self) -> Vec<(u64, Sent)> {
        self.of_channel.clear();
        self.waiting = 0;
        let all = std::mem::take(&mut self.table);
        all.into_iter().filter_map(|(id, sent)| Some((id, sent?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{ConnId, Short};

    fn sent(token: u64) -> Sent {
        sent_on(1, 1, token)
    }

    fn sent_on(conn: u64, channel: u32, token: u64) -> Sent {
        let submit = Submit {
            job_id: 1,
            nonce: 0,
            ntime: 0,
            version: 0,
            extranonce: Short::default(),
            worker: Short::default(),
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
            // 0: the oldest. Else it stays, with gaps behind it, as long as there are others.
            steps in prop::collection::vec((any::<bool>(), 0_usize..100), 1..2_000),
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
                    let younger = model.len() - 1;
                    let at = if which == 0 || younger == 0 { 0 } else { 1 + which % younger };
                    let (id, token) = model.remove(at);
                    prop_assert_eq!(table.take(id).map(|s| s.token), Some(token));
                    prop_assert_eq!(table.take(id), None);
                }
                prop_assert_eq!(table.room(), 8 - model.len());
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.oldest(), model.iter().map(|(id, _)| *id).min());
                prop_assert!(table.table.len() <= 2 * model.len() + GAPS + 1, "no bound");
            }
            model.sort_unstable();
            let left: Vec<_> = table.take_all().into_iter().map(|(id, s)| (id, s.token)).collect();
            prop_assert_eq!(left, model);
        }
    }
}
