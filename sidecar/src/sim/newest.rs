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
    /// The pool's name of the job that each was told last.
    told: BTreeMap<u32, u64>,
    /// What the step brings, oldest first: seq and name.
    due: BTreeMap<ChannelKey, Vec<(u64, u64)>>,
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
                    self.due.insert(*channel, vec![(job.seq, job.id)]);
                }
                Event::Reopened { channel, job, .. } => {
                    // What it was told before is void, and names begin anew.
                    self.ids.get(channel).map(|id| self.told.remove(id));
                    self.due.insert(*channel, vec![(job.seq, job.id)]);
                }
                Event::Job { channel, job } => {
                    self.due.entry(*channel).or_default().push((job.seq, job.id));
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
                let key = self.ids.iter().find(|(_, id)| *id == channel_id).map(|(key, _)| key);
                let mut jobs = key.and_then(|key| self.due.get(key)).into_iter().flatten().rev();
                let job = jobs.find(|(seq, _)| *seq == announcement.job_seq);
                job.map(|(_, job)| self.told.insert(*channel_id, *job));
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

    /// The step is over. A channel that was not told its newest work, and that work. What it was
    /// told before need not be told again.
    pub(super) fn missing(&mut self) -> Option<(u32, u64)> {
        self.opened.clear();
        let due = std::mem::take(&mut self.due);
        let newest = due.into_iter().filter_map(|(key, jobs)| Some((key, jobs.last()?.1)));
        let mut open = newest.filter_map(|(key, job)| self.ids.get(&key).map(|id| (*id, job)));
        open.find(|(id, job)| self.told.get(id) != Some(job))
    }
}
