//! The pool's half of the link while a stream lasts; [`super::resume`] has what is between streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use prost::Message as _;

use super::host::{level, target, Channel, Host, LEVELS};
use super::stage::{Event, Promise, Stage};
use super::wire::{Item, ToPool, ToSidecar};
use super::world::World;
use crate::backend::REVERT;
use crate::types::Difficulty;

/// What waits to be sent on a stream. Verdicts may overtake the rest, nothing overtakes them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    verdicts: Vec<v1::Verdict>,
    entries: VecDeque<Entry>,
    flushes: bool,
}

#[derive(Debug)]
pub(super) enum Entry {
    Message(Box<ToSidecar>),
    Job(u64, Arc<v1::Job>),
}

impl Entry {
    pub(super) fn message(message: ToSidecar) -> Self {
        Self::Message(Box::new(message))
    }
}

/// The pool's end of a stream.
#[derive(Debug, Default)]
pub(super) struct PoolLink {
    pub(super) outbox: Outbox,
    /// The highest id on this stream; and of the session, when the stream began.
    last_submit: u64,
    pub(super) again: u64,
    pub(super) welcomed: bool,
    /// Opens that were not refused, whatever else became of them.
    pub(super) opens: BTreeSet<u64>,
}

/// An answer, and the stream that it was queued on.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) verdict: v1::Verdict,
    pub(super) channel: u64,
    pub(super) stream: u64,
}

/// What sidecar and pool have with each other.
#[derive(Debug)]
pub(super) struct PoolSession {
    pub(super) life: u32,
    pub(super) max_in_flight: usize,
    pub(super) latest: Option<u64>,
    /// The highest Hello.dial heard.
    pub(super) dial: u64,
    pub(super) breaks: u64,
    pub(super) ring: VecDeque<Answered>,
    /// The stream on which answers are queued.
    pub(super) stream: u64,
    pub(super) last_submit: u64,
    pub(super) channels: BTreeMap<u64, Channel>,
    pub(super) cancelled: BTreeSet<u64>,
    /// Submits of channels that the sidecar closed: judged and credited, not answered.
    pub(super) left: BTreeSet<u64>,
    pub(super) kicks: BTreeMap<u64, v1::Kick>,
    /// The newest Job.seq.
    pub(super) seq: u64,
}

/// The pool, with what outlives its process.
pub(super) struct Pool {
    pub(super) host: Option<Host>,
    pub(super) session: Option<PoolSession>,
    pub(super) links: BTreeMap<u64, PoolLink>,
    pub(super) epochs: u32,
    pub(super) lives: u32,
    pub(super) orders: u64,
    pub(super) tip: u32,
    pub(super) draining: bool,
    /// Job.seq begins anew with each stream.
    pub(super) counts_anew: bool,
    /// Knobs.
    pub(super) grantable: bool,
    pub(super) has_work: bool,
    pub(super) slowest_verdict: u64,
    pub(super) skew: i64,
}

impl Pool {
    pub(super) fn new(stage: &mut Stage) -> Self {
        Self {
            host: None,
            session: None,
            links: BTreeMap::new(),
            epochs: 0,
            lives: 0,
            orders: 0,
            tip: 1,
            draining: false,
            counts_anew: stage.chance(50),
            grantable: true,
            has_work: true,
            slowest_verdict: 60,
            skew: stage.between(0, 240) as i64 - 120,
        }
    }

    /// The life there is, or was last.
    pub(super) fn life(&self) -> u32 {
        self.lives
    }
}

impl PoolSession {
    pub(super) fn epoch(&self) -> Bytes {
        Bytes::copy_from_slice(&[self.life as u8; 16])
    }
}

impl World {
    /// Something arrives at the pool.
    pub(super) fn pool_hears(&mut self, stream: u64) {
        let Some(item) = self.wire.at_pool(&mut self.stage, stream) else { return };
        match item {
            Item::End => self.pool_left(stream),
            Item::Message(_) if self.pool.host.is_none() => {
                self.wire.leave_pool(&mut self.stage, stream);
            }
            Item::Message(ToPool::Hello(hello)) => self.pool_hello(stream, &hello),
            Item::Message(message) => {
                let ours = self.pool.session.as_ref().is_some_and(|s| s.latest == Some(stream));
                if ours {
                    self.pool_takes(stream, message);
                }
            }
        }
        self.wire.tidy();
    }

    fn pool_takes(&mut self, stream: u64, message: ToPool) {
        match message {
            ToPool::SubmitBatch(batch) => self.pool_submits(stream, batch.submits),
            ToPool::OpenChannel(open) => self.pool_opens(stream, open),
            ToPool::UpdateChannel(update) => self.pool_updates(stream, &update),
            ToPool::CloseChannel(close) => self.pool_hears_close(close),
            ToPool::Ping(v1::Ping { id, sent_us }) => {
                self.pool_says(Entry::message(ToSidecar::Pong(v1::Pong { id, sent_us })));
            }
            ToPool::TargetInEffect(report) => self.pool_hears_report(&report),
            other => self.stage.breaks(Promise::Contract, format!("unexpected {other:?}")),
        }
    }

    /// Shares, the first time and again.
    pub(super) fn pool_submits(&mut self, stream: u64, submits: Vec<v1::Submit>) {
        if submits.is_empty() || submits.len() > crate::backend::link::MAX_BATCH {
            let text = format!("a batch of {}", submits.len());
            self.stage.breaks(Promise::Contract, text);
        }
        for submit in submits {
            self.pool_submit(stream, &submit);
        }
    }

    fn pool_submit(&mut self, stream: u64, submit: &v1::Submit) {
        let now = self.unix_now(self.pool.skew);
        let (Some(session), Some(host)) = (&mut self.pool.session, &self.pool.host) else { return };
        let link = self.pool.links.entry(stream).or_default();
        if submit.id <= link.last_submit {
            let text = format!("Submit.id {} after {}", submit.id, link.last_submit);
            return self.stage.breaks(Promise::NoSecondCredit, text);
        }
        link.last_submit = submit.id;
        let (life, again) = (session.life, submit.id <= link.again);
        if !self.truth.arrived(&mut self.stage, submit.id, submit.nonce, life) {
            return;
        }
        let refusal = |reason: v1::RejectReason| v1::Verdict {
            submit_id: submit.id,
            reason: reason.into(),
            ..v1::Verdict::default()
        };
        let channel = session.channels.get_mut(&submit.channel_id).filter(|c| c.open);
        if again {
            self.stage.counts.sent_again += 1;
            let open = channel.is_some();
            if channel.is_some_and(|c| c.owed.contains(&submit.id)) {
                return;
            }
            let known = session.ring.iter().position(|a| a.verdict.submit_id == submit.id);
            let verdict = match known.and_then(|at| session.ring.get(at).cloned()) {
                Some(answered) if answered.stream == session.stream => return,
                Some(answered) => {
                    self.stage.counts.known_again += 1;
                    session.ring.retain(|a| a.verdict.submit_id != submit.id);
                    answered.verdict
                }
                None if open => refusal(v1::RejectReason::BackendUnavailable),
                None => refusal(v1::RejectReason::InvalidChannelId),
            };
            return self.pool_answers(submit.channel_id, verdict);
        }
        session.last_submit = submit.id;
        let Some(channel) = channel else {
            let refused = refusal(v1::RejectReason::InvalidChannelId);
            return self.pool_answers(submit.channel_id, refused);
        };
        channel.owed.insert(submit.id);
        let books = (&mut self.stage, &mut self.truth);
        let verdict = host.judge(books, channel, submit, (life, self.pool.tip, now));
        let owed = session.channels.values().flat_map(|c| c.owed.difference(&session.cancelled));
        let owed = owed.count();
        if owed > session.max_in_flight {
            let text = format!("the pool owes {owed} verdicts");
            self.stage.breaks(Promise::Bounds, text);
        }
        let wait = self.stage.between(0, self.pool.slowest_verdict);
        self.stage.after(wait, Event::Verdict(life, submit.channel_id, verdict));
    }

    /// The host gives a verdict.
    pub(super) fn pool_judges(&mut self, life: u32, channel: u64, verdict: v1::Verdict) {
        let Some(session) = self.pool.session.as_mut().filter(|s| s.life == life) else { return };
        let id = verdict.submit_id;
        let owed = session.channels.get_mut(&channel).is_some_and(|c| c.owed.remove(&id));
        let left = session.left.remove(&id);
        // Cancelled: the sidecar has answered it, so it is taken back at once.
        if !(owed || left) || session.cancelled.remove(&id) {
            return;
        }
        if verdict.accepted {
            let credit =
                Difficulty { whole: verdict.credit_whole, fraction: verdict.credit_fraction };
            self.truth.credited(&mut self.stage, id, credit, life);
        }
        if owed {
            self.pool_answers(channel, verdict);
        }
    }

    /// Keeps an answer and queues it.
    pub(super) fn pool_answers(&mut self, channel: u64, verdict: v1::Verdict) {
        let Some(session) = &mut self.pool.session else { return };
        let (id, accepted) = (verdict.submit_id, verdict.accepted);
        let reason = verdict.reason();
        self.stage.trace(format_args!("verdict {id} {accepted} {reason:?}"), &[]);
        self.truth.verdict_sent(&mut self.stage, id);
        let (kept, stream) = (verdict.clone(), session.stream);
        session.ring.push_back(Answered { verdict: kept, channel, stream });
        if session.ring.len() > session.max_in_flight {
            session.ring.pop_front();
        }
        let (latest, stream) = (session.latest, session.stream);
        if latest == Some(stream) {
            self.pool.links.entry(stream).or_default().outbox.verdicts.push(verdict);
            self.pool_wakes(stream);
        }
    }

    /// Queues a message on the stream there is.
    pub(super) fn pool_says(&mut self, entry: Entry) {
        let Some(stream) = self.pool.session.as_ref().and_then(|s| s.latest) else { return };
        self.pool.links.entry(stream).or_default().outbox.entries.push_back(entry);
        self.pool_wakes(stream);
    }

    pub(super) fn pool_wakes(&mut self, stream: u64) {
        let Some(link) = self.pool.links.get_mut(&stream) else { return };
        if link.welcomed && !std::mem::replace(&mut link.outbox.flushes, true) {
            let soon = self.stage.between(0, 8);
            self.stage.after(soon, Event::Flush(stream));
        }
    }

    /// Sends what waits: verdicts first.
    pub(super) fn pool_flushes(&mut self, stream: u64) {
        let some = self.stage.between(1, 16) as usize;
        let Some(session) = &mut self.pool.session else { return };
        let Some(link) = self.pool.links.get_mut(&stream) else { return };
        link.outbox.flushes = false;
        let mut messages = Vec::new();
        let verdicts = std::mem::take(&mut link.outbox.verdicts);
        for verdicts in verdicts.chunks(5) {
            let batch = v1::VerdictBatch { verdicts: verdicts.to_vec() };
            messages.push(ToSidecar::VerdictBatch(batch));
        }
        let taken = some.min(link.outbox.entries.len());
        for entry in link.outbox.entries.drain(..taken) {
            match entry {
                Entry::Job(channel, job) => match messages.last_mut() {
                    // Neighbours with the very same job share a message.
                    Some(ToSidecar::Job(last)) if last.id == job.id => {
                        last.channel_ids.push(channel);
                    }
                    _ => {
                        session.seq += 1;
                        let channel_ids = vec![channel];
                        let job = v1::Job { seq: session.seq, channel_ids, ..(*job).clone() };
                        messages.push(ToSidecar::Job(job));
                    }
                },
                Entry::Message(mut message) => {
                    if let ToSidecar::ChannelOpened(opened) = &mut *message {
                        session.seq += 1;
                        opened.job.as_mut().unwrap().seq = session.seq;
                    }
                    messages.push(*message);
                }
            }
        }
        let more = !link.outbox.entries.is_empty();
        for message in messages {
            let bytes = v1::SessionResponse { message: Some(message.clone()) }.encode_to_vec();
            self.stage.trace(format_args!("{stream} <- {}", Brief(&message)), &bytes);
            self.wire.send_to_sidecar(&mut self.stage, stream, message);
        }
        if more {
            self.pool_wakes(stream);
        }
    }

    fn pool_updates(&mut self, stream: u64, update: &v1::UpdateChannel) {
        use v1::RefuseReason as R;
        let refuses = self.stage.chance(15);
        let raises = self.stage.chance(30).then(|| self.stage.between(0, LEVELS.into()) as u8);
        let (channel_id, request_id) = (update.channel_id, update.request_id);
        let Some(session) = &mut self.pool.session else { return };
        let channel = session.channels.get_mut(&channel_id).filter(|c| c.open);
        let known = channel.as_ref().is_some_and(|c| c.taken.contains(&request_id));
        let refused = match channel {
            None => R::InvalidChannelId,
            // One that comes again after a break is not refused: the host has it already.
            Some(_) if known => R::Unspecified,
            // Nor one that takes others back, for the miner knows of nothing else.
            Some(_) if refuses && request_id != REVERT => R::RateLimited,
            Some(channel) => {
                if request_id != REVERT {
                    channel.taken.insert(request_id);
                }
                channel.request.max_target = update.max_target.clone();
                R::Unspecified
            }
        };
        let mut updated = v1::ChannelUpdated { channel_id, request_id, ..Default::default() };
        updated.refused = refused.into();
        if session.latest == Some(stream) {
            self.pool_says(Entry::message(ToSidecar::ChannelUpdated(updated)));
        }
        if let Some(level) = raises.filter(|_| refused == R::Unspecified && !known) {
            self.pool_targets(channel_id, level);
        }
    }

    /// The host wants another target for a channel.
    pub(super) fn pool_targets(&mut self, channel_id: u64, level: u8) {
        let channel = self.pool.session.as_mut().and_then(|s| s.channels.get_mut(&channel_id));
        let Some(channel) = channel.filter(|c| c.open) else { return };
        channel.want(level);
        let target = Bytes::copy_from_slice(&target(level).0);
        self.pool_says(Entry::message(ToSidecar::SetTarget(v1::SetTarget { channel_id, target })));
    }
}

/// A message of the pool in a few words.
struct Brief<'a>(&'a ToSidecar);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ToSidecar::Welcome(m) => write!(f, "Welcome {} {}", m.epoch[0], m.resumed),
            ToSidecar::VerdictBatch(m) => {
                let ids: Vec<_> = m.verdicts.iter().map(|v| v.submit_id).collect();
                write!(f, "Verdicts {ids:?}")
            }
            ToSidecar::Job(m) => {
                write!(f, "Job {} {} {:x?} tip {}", m.id, m.seq, m.channel_ids, m.height)
            }
            ToSidecar::ChannelOpened(m) => {
                let (job, level) = (m.job.as_ref().unwrap(), level(&m.target));
                let (id, prefix) = (m.channel_id, &m.extranonce_prefix);
                write!(f, "Opened {id:x} {prefix:02x?} level {level} job {} {}", job.id, job.seq)
            }
            ToSidecar::SetTarget(m) => {
                write!(f, "SetTarget {:x} level {}", m.channel_id, level(&m.target))
            }
            ToSidecar::Kick(m) => write!(f, "Kick {:x} {:?}", m.channel_id, m.action()),
            other => write!(f, "{other:?}"),
        }
    }
}
