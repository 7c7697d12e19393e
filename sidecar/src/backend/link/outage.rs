//! When the stream breaks, and when another begins: what is kept, sent again, given up.

use std::collections::HashMap;

use bytes::Bytes;
use gopool_sv2_proto::v1::session_request::Message as ToPool;

use super::{close_message, push_submit, told_message, update_message, Link};
use crate::backend::channels::State;
use crate::backend::{convert, Event, Judged, Sent};
use crate::types::{ChannelKey, ConnId, RejectReason, Submit, Verdict};

/// What a Hello says of what an earlier stream left over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::backend) struct Greeting {
    /// Empty before the first Welcome.
    pub(in crate::backend) last_epoch: Bytes,
    pub(in crate::backend) withdrawn: Vec<u64>,
    pub(in crate::backend) open: Vec<u64>,
}

/// What a Welcome says of the pool's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct Life {
    pub(in crate::backend) epoch: Bytes,
    /// Channels and verdicts of the session are still there.
    pub(in crate::backend) resumed: bool,
}

impl Link {
    /// The stream is gone. What waits goes on waiting.
    pub(in crate::backend) fn cut(&mut self) {
        self.draining = false;
        self.warned_of_mask = false;
        self.warned_of_size = false;
        self.channels.cut();
        let submits = self.in_flight.len();
        if submits > 0 {
            tracing::info!(submits, "these wait for the pool to come back");
        }
    }

    /// The pool has been away for as long as anything may wait: all that does is answered, and
    /// withdrawn. Channels stay.
    pub(in crate::backend) fn give_up(&mut self) {
        self.directory.link_down();
        let waiting = self.in_flight.take_all();
        let submits = waiting.len();
        tracing::warn!(submits, "the pool is away for too long: backend-unavailable from now on");
        self.withdrawn.extend(waiting.iter().map(|(id, _)| *id));
        self.answer_unjudged(waiting, RejectReason::BackendUnavailable);
        let unanswered: Vec<_> = self.channels.in_state(State::Opening).map(|(k, _)| k).collect();
        for channel in unanswered {
            self.channels.remove(channel);
            self.refuse_open(channel);
        }
        self.refuse_updates();
    }

    /// The pool has been away for too long, or we stop: connections are told to go.
    pub(in crate::backend) fn lost(&mut self) {
        self.directory.link_lost();
    }

    /// What the next Hello says.
    pub(in crate::backend) fn greeting(&self) -> Greeting {
        let open = self.channels.in_state(State::Open).map(|(key, _)| key.to_wire());
        Greeting {
            last_epoch: self.epoch.clone(),
            withdrawn: self.withdrawn.clone(),
            open: open.collect(),
        }
    }

    /// A stream has begun: brings the pool up to date.
    pub(in crate::backend) fn welcomed(&mut self, life: &Life, out: &mut Vec<ToPool>) {
        let first = self.epoch.is_empty();
        self.withdrawn.clear();
        self.epoch = life.epoch.clone();
        if life.resumed {
            self.send_again(out);
        } else if !first {
            self.begin_life();
        }
        let unanswered: Vec<_> = self.channels.in_state(State::Opening).map(|(k, _)| k).collect();
        for channel in unanswered {
            out.extend(self.open_message(channel));
        }
        self.reopen(out);
    }

    /// The pool still knows all that was open: it gets what it has not answered once more, and
    /// tells what we may not have heard.
    fn send_again(&mut self, out: &mut Vec<ToPool>) {
        let submits = self.in_flight.len();
        for (id, sent) in self.in_flight.iter() {
            push_submit(convert::submit_to_wire(id, sent.channel, &sent.submit), out);
        }
        let mut open = 0;
        for (channel, held) in self.channels.in_state(State::Open) {
            open += 1;
            out.extend(held.updates().iter().map(|update| update_message(channel, *update)));
            out.extend(held.told().map(|target| told_message(channel, target)));
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
        self.refuse_updates();
    }

    fn refuse_updates(&mut self) {
        for (channel, request) in self.channels.take_updates() {
            self.refuse_update(channel, request);
        }
    }

    fn answer_unjudged(&self, waiting: Vec<(u64, Sent)>, reason: RejectReason) {
        let verdict = Verdict::Rejected(reason);
        let mut by_conn: HashMap<ConnId, Vec<(Judged, Submit)>> = HashMap::new();
        for (submit_id, Sent { channel, token, submit }) in waiting {
            let judged = Judged { channel, token, submit_id, verdict };
            by_conn.entry(channel.conn()).or_default().push((judged, submit));
        }
        for (conn, unjudged) in by_conn {
            self.directory.deliver(conn, Event::Unjudged(unjudged));
        }
    }

    /// Asks for suspended channels again, a few at a time.
    pub(in crate::backend) fn reopen(&mut self, out: &mut Vec<ToPool>) {
        while let Some((key, held)) = self.channels.next_reopen() {
            out.push(ToPool::OpenChannel(convert::open_to_wire(key, held)));
        }
    }

    /// Asks again for those that were refused for now. `give_up`: they have waited for long enough;
    /// their connections are told to go.
    pub(in crate::backend) fn retry(&mut self, give_up: bool, out: &mut Vec<ToPool>) {
        if give_up {
            for (channel, asked) in self.channels.all_suspended() {
                self.unrestored(channel, asked, out);
            }
        }
        self.channels.retry();
        self.reopen(out);
    }

    /// Whether channels wait to be opened again.
    pub(in crate::backend) fn is_reopening(&self) -> bool {
        self.channels.suspended() > 0
    }

    /// The channel is not to be had again as it was.
    pub(super) fn unrestored(&mut self, channel: ChannelKey, asked: bool, out: &mut Vec<ToPool>) {
        self.channels.remove(channel);
        self.directory.deliver(channel.conn(), Event::Unrestored { channel });
        if asked {
            out.push(close_message(channel, "not as it was before"));
        }
    }
}
