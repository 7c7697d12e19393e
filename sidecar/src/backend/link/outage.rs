//! When the stream breaks, and when another begins: what is kept, sent again, given up.

use std::collections::BTreeMap;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;

use super::{close_message, told_message, update_message, Link};
use crate::backend::channels::State;
use crate::backend::{Event, Judged, Parcel, Sent, Share};
#[cfg(test)]
use crate::types::planted;
use crate::types::{ChannelKey, ConnId, RejectReason, Submit, Verdict};

/// What a Hello says of what an earlier stream left over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Rises from Hello to Hello: the pool refuses one that a later one has overtaken.
    pub(crate) dial: u64,
    /// Empty before the first Welcome.
    pub(crate) last_epoch: Bytes,
    pub(crate) withdrawn: Vec<u64>,
    pub(crate) open: Vec<u64>,
}

/// What a Welcome says of the pool's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) epoch: Bytes,
    /// Channels and verdicts of the session are still there.
    pub(crate) resumed: bool,
}

impl Link {
    /// The stream is gone. What waits goes on waiting.
    pub(crate) fn cut(&mut self) {
        // The pool may not have heard of these.
        self.withdrawn.extend(self.unheard.drain(..).flat_map(|(_, ids)| ids));
        if let Some(ledger) = &mut self.ledger {
            ledger.calls.next_stream();
        }
        let was_told = self.draining;
        (self.draining, self.draining_looks) = (false, 0);
        self.warned_of_mask = false;
        self.warned_of_size = false;
        self.channels.cut(was_told);
        let submits = self.in_flight.len();
        if submits > 0 {
            tracing::info!(submits, "these wait for the pool to come back");
        }
    }

    /// The pool has been away for as long as anything may wait: all that does is answered, and
    /// withdrawn. Channels stay.
    pub(crate) fn give_up(&mut self) {
        self.directory.link_down();
        let waiting = self.in_flight.take_all();
        let submits = waiting.len();
        tracing::warn!(submits, "the pool is away for too long: backend-unavailable from now on");
        self.withdrawn.extend(waiting.iter().map(|(id, _)| *id));
        self.answer_unjudged(waiting, RejectReason::BackendUnavailable);
        self.refuse_unopened();
        self.refuse_updates(true);
    }

    /// The pool has been away for too long, or we stop: connections are told to go. What they sent
    /// before they hear it they answer themselves: it must not reach a pool that is back by then.
    pub(crate) fn lost(&mut self) {
        self.directory.link_lost();
        self.channels.clear();
    }

    /// What the next Hello says.
    pub(crate) fn greeting(&mut self) -> Greeting {
        let open = self.channels.in_state(State::Open).map(|(key, _)| key.to_wire());
        self.told_open = open.collect();
        self.dials += 1;
        Greeting {
            dial: self.dials,
            last_epoch: self.epoch.clone(),
            withdrawn: self.withdrawn.clone(),
            open: self.told_open.clone(),
        }
    }

    /// A stream has begun: brings the pool up to date.
    pub(crate) fn welcomed(&mut self, life: &Life, out: &mut Vec<Parcel>) {
        let first = self.epoch.is_empty();
        self.withdrawn.clear();
        self.jobs_before = self.jobs;
        self.epoch = life.epoch.clone();
        let told_open = std::mem::take(&mut self.told_open);
        if life.resumed {
            self.send_again(out);
            // Closed while the Hello was under way: the pool took them for open.
            let gone = told_open.into_iter().map(ChannelKey::from_wire);
            let gone = gone.filter(|channel| self.channels.get_mut(*channel).is_none());
            let close = |channel| close_message(channel, "closed meanwhile", Vec::new()).into();
            out.extend(gone.map(close));
        } else if !first {
            self.begin_life();
        }
        self.give_up_breakers(out);
        self.ask(out);
    }

    /// The pool still knows all that was open: it gets what it has not answered once more, and
    /// tells what we may not have heard.
    fn send_again(&mut self, out: &mut Vec<Parcel>) {
        let submits = self.in_flight.len();
        #[cfg(test)]
        if planted::has(planted::Bug::DoubleResend) {
            for (_, sent) in self.in_flight.take_all() {
                self.in_flight.insert(sent);
            }
        }
        let waiting = self.in_flight.iter();
        let shares: Vec<_> =
            waiting.map(|(id, sent)| Share::new(id, sent.channel, &sent.submit)).collect();
        for share in shares {
            self.push_share(share, out);
        }
        let mut open = 0;
        for (channel, held) in self.channels.in_state(State::Open) {
            open += 1;
            let updates = held.updates().iter();
            out.extend(updates.map(|update| update_message(channel, *update).into()));
            let told = held.told();
            out.extend(told.map(|(wanted, target)| told_message(channel, wanted, target).into()));
        }
        tracing::info!(channels = open, submits, "the session goes on where it was");
    }

    /// The pool has lost its channels and jobs: no share of before can be judged.
    fn begin_life(&mut self) {
        self.channels.suspend();
        let waiting = self.in_flight.take_all();
        let (channels, submits) = (self.channels.suspended(), waiting.len());
        tracing::warn!(channels, submits, "the pool was restarted: opening its channels again");
        self.answer_unjudged(waiting, RejectReason::Stale);
        self.refuse_updates(false);
    }

    fn refuse_updates(&mut self, revert: bool) {
        for (channel, request) in self.channels.take_updates(revert) {
            self.refuse_update(channel, request);
        }
    }

    fn answer_unjudged(&self, waiting: Vec<(u64, Sent)>, reason: RejectReason) {
        let verdict = Verdict::Rejected(reason);
        let mut by_conn: BTreeMap<ConnId, Vec<(Judged, Submit)>> = BTreeMap::new();
        for (submit_id, Sent { channel, token, submit }) in waiting {
            let judged = Judged { channel, token, submit_id, verdict };
            by_conn.entry(channel.conn()).or_default().push((judged, submit));
        }
        for (conn, unjudged) in by_conn {
            self.directory.deliver(conn, Event::Unjudged(unjudged));
        }
    }

    /// Asks again for those that were refused for now. `give_up`: they have waited for long enough;
    /// their connections are told to go.
    pub(crate) fn retry(&mut self, give_up: bool, out: &mut Vec<Parcel>) {
        if give_up {
            for (channel, asked) in self.channels.all_suspended() {
                // Unless it went with another of its connection.
                if self.channels.get_mut(channel).is_some() {
                    self.unrestored(channel, asked, out);
                }
            }
        }
        self.channels.retry();
        self.ask(out);
    }

    /// Whether channels wait to be opened again.
    pub(crate) fn is_reopening(&self) -> bool {
        self.channels.suspended() > 0
    }

    /// The channel is not to be had again as it was: its connection is told to go, with all that
    /// waits on its other channels, which the pool must not credit. What the connection sends until
    /// it hears that finds no channel.
    pub(super) fn unrestored(&mut self, channel: ChannelKey, asked: bool, out: &mut Vec<Parcel>) {
        self.channels.remove(channel);
        if asked {
            out.push(close_message(channel, "not as it was before", Vec::new()).into());
        }
        let siblings = self.channels.of_connection(channel.conn());
        self.cancel(&siblings, "its connection is sent away", out);
        self.deliver_after(channel.conn(), Event::Unrestored { channel });
    }

    /// Closes channels that their connection closes when it hears what comes next. It would answer
    /// what waits on them `backend-unavailable`: that is done here, so that the pool doesn't credit
    /// it.
    pub(super) fn cancel(&mut self, channels: &[ChannelKey], why: &str, out: &mut Vec<Parcel>) {
        let waiting = self.in_flight.take_channels(channels);
        for channel in channels {
            let of_it = waiting.iter().filter(|(_, sent)| sent.channel == *channel);
            let cancelled: Vec<_> = of_it.map(|(id, _)| *id).collect();
            if self.channels.remove(*channel).is_some_and(|held| held.is_known_to_pool()) {
                out.push(close_message(*channel, why, cancelled).into());
            }
        }
        let ids: Vec<_> = waiting.iter().map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            self.pings += 1;
            out.push(ToPool::Ping(v1::Ping { id: self.pings, sent_us: 0 }).into());
            self.unheard.push_back((self.pings, ids));
        }
        self.answer_unjudged(waiting, RejectReason::BackendUnavailable);
    }

    /// The pool has answered a Ping: it has heard what was sent before.
    pub(super) fn heard(&mut self, pong: u64) {
        while self.unheard.front().is_some_and(|(ping, _)| *ping <= pong) {
            self.unheard.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
