//! What a miner must be told of the work that a step brings: the newest there is, at once.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::backend::Event;
use crate::session::Outbound;
use crate::types::ChannelKey;

/// The work of one connection.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The miner's names of its channels.
    ids: BTreeMap<ChannelKey, u32>,
    /// What each was told last.
    told: BTreeMap<u32, u64>,
    /// What the step brings.
    due: BTreeMap<ChannelKey, u64>,
    /// Channels that it opens, by their prefix.
    opened: BTreeMap<Bytes, ChannelKey>,
}

impl Newest {
    /// A step begins.
    pub(super) fn due(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Opened { channel, grant, job, .. } => {
                    self.opened.insert(grant.prefix.clone(), *channel);
                    self.due.insert(*channel, job.seq);
                }
                Event::Reopened { channel, job, .. } | Event::Job { channel, job } => {
                    self.due.insert(*channel, job.seq);
                }
                _ => {}
            }
        }
    }

    /// The miner is told something.
    pub(super) fn told(&mut self, message: &Outbound) {
        match message {
            Outbound::Opened(opened) => {
                if let Some(channel) = self.opened.get(&opened.prefix) {
                    self.ids.insert(*channel, opened.channel_id);
                }
            }
            Outbound::Job { channel_id, announcement } => {
                self.told.insert(*channel_id, announcement.job_seq);
            }
            Outbound::Close { channel_id, .. } => self.closed(*channel_id),
            _ => {}
        }
    }

    /// A channel is gone.
    pub(super) fn closed(&mut self, id: u32) {
        self.ids.retain(|_, known| *known != id);
        self.told.remove(&id);
    }

    /// The step is over. A channel that was not told its newest work, and that work.
    pub(super) fn missing(&mut self) -> Option<(u32, u64)> {
        self.opened.clear();
        let due = std::mem::take(&mut self.due);
        let mut open =
            due.into_iter().filter_map(|(key, seq)| self.ids.get(&key).map(|id| (*id, seq)));
        open.find(|(id, seq)| self.told.get(id) != Some(seq))
    }
}
