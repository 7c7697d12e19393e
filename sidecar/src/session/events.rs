//! What the pool says to this connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{answers_of, Cause, Effects, Opening, Outbound, Phase, Session};
use crate::backend::{Command, Event, Judged};
use crate::channel::{mourn, Channel, Outcome, Token};
use crate::obs::Line;
use crate::session::outbound::Opened;
use crate::types::{
    ChannelKey, Grant, Job, Kick, KickAction, Kind, RefuseReason, RejectReason, Submit, Target,
    Verdict,
};

impl Session {
    /// Takes everything the mailbox held, in order. `arrived`: the newest job seq known to be
    /// among it or before (read before the mailbox was emptied).
    ///
    /// Of several jobs for one channel only the newest is announced: a SetNewPrevHash always names
    /// the newest job there is, and an overtaken one costs nothing.
    ///
    /// Gives back the memory of the events.
    pub fn events(&mut self, mut events: Vec<Event>, arrived: u64, fx: &mut Effects) -> Vec<Event> {
        // A job for a channel that isn't open yet (again) counts for nothing: the one that comes
        // with the opening does.
        let mut newest: BTreeMap<ChannelKey, u64> = BTreeMap::new();
        for event in &events {
            match event {
                Event::Opened { channel, job, .. } if self.opening.contains_key(channel) => {
                    newest.insert(*channel, job.seq);
                }
                // Seqs begin anew with the pool's life.
                Event::Reopened { channel, job, .. }
                    if self.by_key.contains_key(channel) || newest.contains_key(channel) =>
                {
                    newest.insert(*channel, job.seq);
                }
                Event::Job { channel, job }
                    if self.by_key.contains_key(channel) || newest.contains_key(channel) =>
                {
                    let seq = newest.entry(*channel).or_default();
                    *seq = job.seq.max(*seq);
                }
                _ => {}
            }
        }
        let from = fx.out.len();
        for event in events.drain(..) {
            self.event(event, &newest, arrived, fx);
        }
        self.send_answers(fx);
        self.note_told(from, fx);
        self.keep_pace(fx);
        events
    }

    fn event(
        &mut self,
        event: Event,
        newest: &BTreeMap<ChannelKey, u64>,
        arrived: u64,
        fx: &mut Effects,
    ) {
        match event {
            Event::LinkUp(limits) => self.limits = Some(limits),
            Event::LinkLost => self.link_lost(fx),
            Event::Opened { channel, job, .. }
            | Event::Reopened { channel, job, .. }
            | Event::Job { channel, job }
                if !self.suits(&job) =>
            {
                self.close_unsuited(channel, fx);
            }
            Event::Opened { channel, generation, grant, job } => {
                self.opened(channel, generation, grant, fx);
                self.job(channel, job, newest, arrived, fx);
            }
            Event::Reopened { channel, generation, target, job } => {
                self.send_answers(fx);
                let limits = self.limits;
                self.with_channel(channel, fx, |channel, fx| {
                    let told = channel.reopened(generation, target, limits);
                    tell_target(channel, told, fx);
                });
                self.job(channel, job, newest, arrived, fx);
            }
            // Its other channels are closed at the pool, too, though the miner closed this one.
            Event::Unrestored { .. } if !self.channels.is_empty() => {
                self.send_away(Cause::Unrestored, fx);
            }
            Event::Unrestored { .. } => {}
            Event::Refused { channel, reason, detail } => {
                if let Some(opening) = self.take_opening(&channel) {
                    tracing::info!(reason = reason.as_str(), detail, "channel refused by the pool");
                    let request_id = opening.request_id;
                    fx.out.push(Outbound::OpenError { request_id, reason });
                }
            }
            Event::QuoteFound { channel, found } => self.quote_found(channel, found, fx),
            Event::Updated { channel, request, refused } => {
                self.updated(channel, request, refused, fx);
            }
            Event::Job { channel, job } => self.job(channel, job, newest, arrived, fx),
            Event::Target { channel, target } => {
                // A Success leaves before the target that it wasn't earned under.
                self.send_answers(fx);
                self.with_channel(channel, fx, |channel, fx| {
                    let told = channel.want_target(target);
                    tell_target(channel, told, fx);
                });
            }
            Event::Verdict(judged) => self.judged(judged),
            Event::Unjudged(submits) => {
                for (judged, submit) in submits {
                    self.unjudged(judged, &submit, fx);
                }
            }
            Event::BlockResult { channel, hash, height, accepted, detail } => {
                // Absent when the miner has gone meanwhile.
                let channel = self.by_key.get(&channel).copied();
                match accepted {
                    Some(true) => {
                        tracing::info!(channel, %hash, height, "block accepted by the node");
                    }
                    Some(false) => tracing::error!(
                        channel, %hash, height, detail, "block refused by the node",
                    ),
                    None => tracing::error!(
                        channel, %hash, height, detail,
                        "what became of a block is unknown: look for it on the node, and in the \
                         pool's log",
                    ),
                }
            }
            Event::Kick { channel, kick } => self.kick(channel, kick, fx),
            Event::MintCredit { channels, news } => self.mint_credit(&channels, news, fx),
        }
    }

    fn with_channel(
        &mut self,
        key: ChannelKey,
        fx: &mut Effects,
        act: impl FnOnce(&mut Channel, &mut Effects),
    ) {
        let channel = self.by_key.get(&key).and_then(|id| self.channels.get_mut(id));
        if let Some(channel) = channel {
            act(channel, fx);
        }
    }

    /// A job that forbids rolling never goes to a miner that requires it (SV2 spec 5.3.1).
    fn suits(&self, job: &Job) -> bool {
        let Phase::Mining(connection) = &self.phase else { return true };
        job.version_mask != 0 || !connection.requires_version_rolling()
    }

    /// The pool has no work that this miner takes.
    fn close_unsuited(&mut self, key: ChannelKey, fx: &mut Effects) {
        let reason = RefuseReason::VersionRollingNotAllowed;
        if let Some(Opening { request_id, .. }) = self.take_opening(&key) {
            fx.out.push(Outbound::OpenError { request_id, reason });
        } else if let Some(id) = self.by_key.remove(&key) {
            let Some(mut channel) = self.channels.remove(&id) else { return };
            channel.settle_all(RejectReason::BackendUnavailable);
            answers_of(self.conn, &mut channel, &mut self.pace, fx);
            channel.ends(reason.as_str());
            fx.out.push(Outbound::Close { channel_id: id, reason: reason.as_str().into() });
        } else {
            return;
        }
        tracing::warn!("closing a channel that requires version rolling: the job forbids it");
        fx.commands.push(Command::Close { channel: key, reason: reason.as_str() });
    }

    fn opened(&mut self, key: ChannelKey, generation: u64, grant: Grant, fx: &mut Effects) {
        if self.by_key.contains_key(&key) {
            return tracing::error!(?key, "the pool opened a channel twice; ignored");
        }
        let Some(Opening { request_id, request, seat }) = self.take_opening(&key) else {
            // Answered meanwhile (the link was lost, and the wish outlived it in the queue).
            return fx
                .commands
                .push(Command::Close { channel: key, reason: "nobody waits for it" });
        };
        let size = usize::from(grant.extranonce_size);
        let fits = match request.kind {
            Kind::Standard => size == 0,
            Kind::Extended => size >= usize::from(request.min_extranonce_size),
        };
        let (Some(limits), true) = (self.limits, fits) else {
            tracing::error!(size, "the pool granted an extranonce that doesn't fit the request");
            fx.commands.push(Command::Close { channel: key, reason: "grant doesn't fit" });
            let reason = RefuseReason::Internal;
            return fx.out.push(Outbound::OpenError { request_id, reason });
        };
        let ids = (self.next_channel_id, self.next_channel_id + 1);
        self.next_channel_id += 2;
        let mut channel =
            Channel::new((key, generation), ids, &request, grant, limits).seated(seat);
        let (conn, kind) = (self.conn.0, channel.kind().as_str());
        fx.lines.push(Line::Opened { conn, channel: key.to_wire(), kind });
        fx.out.push(Outbound::Opened(Opened::new(&channel, request_id)));
        report_target(&mut channel, fx);
        if let Some(presence) = &self.presence {
            let book = presence.open(channel.facts(request.user_identity));
            channel.set_book(book);
        }
        let share_target = channel.target();
        tracing::info!(channel = channel.id(), kind, %share_target, "channel opened");
        self.by_key.insert(key, channel.id());
        self.channels.insert(channel.id(), Box::new(channel));
    }

    fn job(
        &mut self,
        key: ChannelKey,
        job: Arc<Job>,
        newest: &BTreeMap<ChannelKey, u64>,
        arrived: u64,
        fx: &mut Effects,
    ) {
        if newest.get(&key) != Some(&job.seq) || !self.by_key.contains_key(&key) {
            return;
        }
        let job_seq = job.seq;
        let channel = self.by_key.get(&key).and_then(|id| self.channels.get(id));
        match channel.and_then(|channel| channel.newest_job()) {
            // A resumed session says it once more, maybe with a later seq. Announced again, a miner
            // would find the same shares again.
            Some(known) if known.id == job.id => return,
            Some(known) if job_seq < known.seq => {
                return tracing::error!(
                    job_seq,
                    newest = known.seq,
                    "the pool sent an older job after a newer; ignored"
                );
            }
            _ => {}
        }
        let (job_id, conn) = (self.new_job_id(), self.conn.0);
        self.with_channel(key, fx, |channel, fx| {
            let announcement = channel.add_job(job_id, job);
            if announcement.new_tip.is_some() {
                let channel = key.to_wire();
                let line =
                    Line::SetNewPrevHash { conn, channel, job: job_id, job_seq, newest: arrived };
                fx.lines.push(line);
            }
            fx.out.push(Outbound::Job { channel_id: channel.id(), announcement });
        });
    }

    fn updated(
        &mut self,
        key: ChannelKey,
        request: u32,
        refused: Option<RefuseReason>,
        fx: &mut Effects,
    ) {
        self.send_answers(fx);
        self.with_channel(key, fx, |channel, fx| {
            let told = channel.updated(request, refused.is_none());
            match refused {
                Some(reason) => {
                    fx.out.push(Outbound::UpdateError { channel_id: channel.id(), reason });
                }
                None => tell_target(channel, told, fx),
            }
        });
    }

    fn judged(&mut self, Judged { channel, token, submit_id, verdict }: Judged) {
        let outcome = match verdict {
            Verdict::Accepted { credit, hash, block_candidate } => {
                let id = self.by_key.get(&channel);
                let channel = id.and_then(|id| self.channels.get(id));
                if let Some((channel, book)) = channel.and_then(|c| Some((c, c.book()?))) {
                    book.judged(&hash, block_candidate, &channel.worker(token));
                }
                Outcome::Accepted(credit)
            }
            Verdict::Rejected(reason) => Outcome::Rejected(reason),
        };
        self.settle((channel, token, submit_id), outcome);
    }

    fn settle(&mut self, (key, token, submit_id): (ChannelKey, Token, u64), outcome: Outcome) {
        let channel = self.by_key.get(&key).and_then(|id| self.channels.get_mut(id));
        let Some(channel) = channel else { return };
        if channel.settle(token, submit_id, outcome) {
            let id = channel.id();
            if self.answered.last() != Some(&id) {
                self.answered.push(id);
            }
        }
    }

    /// The pool will not judge it. That is a loss only when it was a block.
    fn unjudged(&mut self, judged: Judged, submit: &Submit, fx: &mut Effects) {
        self.with_channel(judged.channel, fx, |channel, _| {
            if let Some(header) = channel.lost_block(submit) {
                mourn(&header);
            }
        });
        let Judged { channel, token, submit_id, verdict } = judged;
        if let Verdict::Rejected(reason) = verdict {
            self.settle((channel, token, submit_id), Outcome::Unjudged(reason));
        }
    }

    /// The pool is away for too long: nothing that waits is accepted.
    fn link_lost(&mut self, fx: &mut Effects) {
        self.limits = None;
        for (channel, opening) in std::mem::take(&mut self.opening) {
            let reason = RefuseReason::BackendUnavailable;
            fx.out.push(Outbound::OpenError { request_id: opening.request_id, reason });
            fx.commands.push(answered_meanwhile(channel));
        }
        if self.is_set_up() && !self.channels.is_empty() {
            self.send_away(Cause::PoolLost, fx);
        }
    }

    /// The miner is told to connect anew; what waits is answered before.
    pub(super) fn send_away(&mut self, cause: Cause, fx: &mut Effects) {
        for channel in self.channels.values_mut() {
            channel.settle_all(RejectReason::BackendUnavailable);
            answers_of(self.conn, channel, &mut self.pace, fx);
        }
        if !self.dismissed {
            fx.out.push(Outbound::Reconnect { host: String::new(), port: 0 });
        }
        self.close(cause, fx);
    }

    /// The pool has closed the channel (or all of the connection) already.
    fn kick(&mut self, key: ChannelKey, kick: Kick, fx: &mut Effects) {
        let id = self.by_key.get(&key).copied();
        tracing::info!(channel = id, reason = kick.reason, action = ?kick.action, "kicked");
        // It may name a channel that is gone here already: the rest of the connection is meant
        // all the same.
        let whole = kick.action != KickAction::CloseChannel;
        let ids: Vec<u32> =
            if whole { self.channels.keys().copied().collect() } else { id.into_iter().collect() };
        let opening: Vec<ChannelKey> =
            self.opening.keys().filter(|opening| whole || **opening == key).copied().collect();
        for key in opening {
            let Some(opening) = self.take_opening(&key) else { continue };
            fx.commands.push(answered_meanwhile(key));
            let reason = match kick.action {
                KickAction::Reconnect => RefuseReason::BackendUnavailable,
                _ => RefuseReason::Unauthorized,
            };
            let request_id = opening.request_id;
            fx.out.push(Outbound::OpenError { request_id, reason });
        }
        for id in ids {
            let Some(mut channel) = self.channels.remove(&id) else { continue };
            self.by_key.remove(&channel.key());
            channel.settle_all(RejectReason::Unauthorized);
            answers_of(self.conn, &mut channel, &mut self.pace, fx);
            channel.ends(kick.reason.clone());
            if kick.action != KickAction::Reconnect {
                let reason = kick.reason.clone();
                fx.out.push(Outbound::Close { channel_id: id, reason });
            }
        }
        match kick.action {
            KickAction::CloseChannel => {}
            KickAction::CloseConnection => self.close(Cause::Kicked, fx),
            KickAction::Reconnect => {
                fx.out.push(Outbound::Reconnect { host: kick.host, port: kick.port });
                self.close(Cause::Kicked, fx);
            }
        }
    }
}

/// Behind a wish for a channel that is answered already and may still be on its way to the pool.
const fn answered_meanwhile(channel: ChannelKey) -> Command {
    Command::Close { channel, reason: "answered meanwhile" }
}

fn tell_target(channel: &mut Channel, told: Option<Target>, fx: &mut Effects) {
    if let Some(target) = told {
        fx.out.push(Outbound::Target { channel_id: channel.id(), target });
    }
    // Also when the miner need not be told: the pool's wish may not be what holds.
    report_target(channel, fx);
}

fn report_target(channel: &mut Channel, fx: &mut Effects) {
    if let Some(target) = channel.target_to_report() {
        let (channel, wanted) = (channel.key(), channel.wanted());
        fx.commands.push(Command::TargetInEffect { channel, wanted, target });
    }
}
