//! What passes over the link, without the wire: commands to messages, messages to events. Pure but
//! for the mailboxes it fills.

use std::collections::HashMap;
use std::sync::Arc;

use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::convert::{self, ContractError};
use super::{Command, Directory, Event, InFlight, Judged, Sent};
use crate::obs::{Journal, Line};
use crate::types::{
    ChannelKey, ConnId, Job, Kick, KickAction, RefuseReason, RejectReason, Verdict,
};

/// Submits in one message at most (the contract's bound).
pub(super) const MAX_BATCH: usize = 256;
/// Longest payload that every device takes: firmware made of ESP-Miner (Bitaxe) drops what is longer,
/// and mines on without the job.
const DEVICE_PAYLOAD: usize = 4096;
/// Status code of a request that isn't served: gRPC's UNIMPLEMENTED.
const UNIMPLEMENTED: u32 = 12;

/// The state of one session towards the pool.
#[derive(Debug)]
pub(super) struct Link {
    in_flight: InFlight,
    directory: Directory,
    journal: Journal,
    /// The pool's narrow version mask was complained of.
    warned_of_mask: bool,
    /// The pool's long jobs were complained of.
    warned_of_size: bool,
    /// The pool is about to stop.
    draining: bool,
}

impl Link {
    pub(super) fn new(capacity: usize, directory: Directory, journal: Journal) -> Self {
        Self {
            in_flight: InFlight::new(capacity),
            directory,
            journal,
            warned_of_mask: false,
            warned_of_size: false,
            draining: false,
        }
    }

    /// How many commands may be taken now: each may be a submit.
    pub(super) fn room(&self) -> usize {
        self.in_flight.room().min(MAX_BATCH)
    }

    /// The oldest submit that waits, and the id the next one gets: what the watchdog compares.
    pub(super) fn waiting_since(&self) -> (Option<u64>, u64) {
        (self.in_flight.oldest(), self.in_flight.next_id())
    }

    /// Whether the pool wants to stop and owes nothing any more.
    pub(super) fn is_drained(&self) -> bool {
        self.draining && self.in_flight.oldest().is_none()
    }

    /// Turns commands into messages, in order; adjacent submits share a message.
    pub(super) fn send(&mut self, commands: impl Iterator<Item = Command>, out: &mut Vec<ToPool>) {
        for command in commands {
            match command {
                Command::Submit { channel, token, submit } => {
                    let wire = |id| convert::submit_to_wire(id, channel, &submit);
                    // The submit is kept whole: a resumed session sends it again.
                    let sent = Sent { channel, token, submit: submit.clone() };
                    let Some(submit) = self.in_flight.insert(sent).map(wire) else {
                        self.judge_here(channel, token, RejectReason::RateLimited);
                        continue;
                    };
                    match out.last_mut() {
                        Some(ToPool::SubmitBatch(batch)) if batch.submits.len() < MAX_BATCH => {
                            batch.submits.push(submit);
                        }
                        _ => {
                            out.push(ToPool::SubmitBatch(v1::SubmitBatch { submits: vec![submit] }))
                        }
                    }
                }
                Command::Close { channel, reason } => out.push(self.close(channel, reason)),
                other => out.extend(plain_message(other)),
            }
        }
    }

    /// Answers commands while there is no link: nothing is accepted.
    pub(super) fn refuse(&mut self, command: Command) {
        match command {
            Command::Open { channel, .. } => {
                let reason = RefuseReason::BackendUnavailable;
                let event =
                    Event::Refused { channel, reason, detail: "no link to the pool".into() };
                self.directory.deliver(channel.conn(), event);
            }
            Command::Submit { channel, token, .. } => {
                self.judge_here(channel, token, RejectReason::BackendUnavailable);
            }
            Command::Update { channel, request, .. } => {
                let refused = Some(RefuseReason::BackendUnavailable);
                self.directory
                    .deliver(channel.conn(), Event::Updated { channel, request, refused });
            }
            Command::Close { .. } | Command::TargetInEffect { .. } => {}
        }
    }

    /// Tells the pool that a channel is gone. It owes no verdict for it any more.
    fn close(&mut self, channel: ChannelKey, reason: &str) -> ToPool {
        let submits = self.in_flight.forget_channel(channel);
        if submits > 0 {
            tracing::debug!(?channel, submits, "closed before their verdicts");
        }
        ToPool::CloseChannel(v1::CloseChannel {
            channel_id: channel.to_wire(),
            reason: reason.into(),
        })
    }

    fn judge_here(&self, channel: ChannelKey, token: u64, reason: RejectReason) {
        let verdict = Verdict::Rejected(reason);
        let judged = Judged { channel, token, submit_id: 0, verdict };
        self.directory.deliver(channel.conn(), Event::Verdicts(vec![judged]));
    }

    /// The stream is gone: what was open on it is no more.
    pub(super) fn lost(&mut self) {
        self.draining = false;
        self.warned_of_mask = false;
        self.warned_of_size = false;
        let open = self.in_flight.take_all().len();
        if open > 0 {
            tracing::warn!(submits = open, "answered backend-unavailable: the link broke");
        }
        self.directory.link_lost();
    }

    /// Takes one message of the pool. Answers that go straight back are pushed to `out`.
    pub(super) fn receive(&mut self, message: FromPool, out: &mut Vec<ToPool>) {
        match message {
            FromPool::ChannelOpened(opened) => self.opened(opened, out),
            FromPool::ChannelRefused(refused) => {
                let channel = ChannelKey::from_wire(refused.channel_id);
                let reason = convert::refuse_reason(refused.reason());
                let detail = convert::printable(&refused.detail);
                self.directory.deliver(channel.conn(), Event::Refused { channel, reason, detail });
            }
            FromPool::ChannelUpdated(updated) => {
                let channel = ChannelKey::from_wire(updated.channel_id);
                let refused = match updated.refused() {
                    v1::RefuseReason::Unspecified => None,
                    reason => Some(convert::refuse_reason(reason)),
                };
                let request = updated.request_id;
                self.directory
                    .deliver(channel.conn(), Event::Updated { channel, request, refused });
            }
            FromPool::Job(job) => self.job(job, out),
            FromPool::SetTarget(set) => {
                let channel = ChannelKey::from_wire(set.channel_id);
                match convert::target("target", &set.target) {
                    Ok(target) => {
                        self.directory.deliver(channel.conn(), Event::Target { channel, target });
                    }
                    // A failed target update never closes anything.
                    Err(error) => tracing::error!(%error, "the pool's SetTarget is ignored"),
                }
            }
            FromPool::VerdictBatch(batch) => self.verdicts(&batch.verdicts),
            FromPool::BlockResult(result) => self.block_result(result),
            FromPool::Kick(kick) => {
                let (channel, kick) = convert::kick(kick);
                // The pool has closed what it kicks and owes no verdict for it.
                match kick.action {
                    KickAction::CloseChannel => self.in_flight.forget_channel(channel),
                    KickAction::CloseConnection | KickAction::Reconnect => {
                        self.in_flight.forget_connection(channel.conn())
                    }
                };
                self.directory.deliver(channel.conn(), Event::Kick { channel, kick });
            }
            FromPool::Drain(drain) => {
                let reason = convert::printable(&drain.reason);
                tracing::info!(grace_ms = drain.grace_ms, reason, "the pool is about to stop");
                self.draining = true;
            }
            FromPool::Ping(ping) => {
                out.push(ToPool::Pong(v1::Pong { id: ping.id, sent_us: ping.sent_us }));
            }
            FromPool::SetPayout(v1::SetPayout { call_id, .. })
            | FromPool::GetAccount(v1::GetAccount { call_id, .. })
            | FromPool::RecordShares(v1::RecordShares { call_id, .. }) => {
                out.push(ToPool::CallFailed(v1::CallFailed {
                    call_id,
                    code: UNIMPLEMENTED,
                    detail: "this sidecar has no mint bridge".into(),
                }));
            }
            FromPool::Welcome(_) => tracing::error!("the pool sent a second Welcome; ignored"),
            FromPool::Pong(_) => {}
        }
    }

    fn opened(&mut self, opened: v1::ChannelOpened, out: &mut Vec<ToPool>) {
        let channel = ChannelKey::from_wire(opened.channel_id);
        if let Some(job) = &opened.job {
            self.look_at_mask(job.version_mask);
        }
        let delivered = match convert::opened(opened) {
            Ok((grant, job)) => {
                self.look_at_size(&job);
                let job_seq = job.seq;
                let job = Arc::new(job);
                let event = Event::Opened { channel, grant, job };
                let delivered = self.directory.deliver(channel.conn(), event);
                self.journal.record(Line::JobArrived { channel: channel.to_wire(), job_seq });
                delivered
            }
            Err(error) => {
                tracing::error!(%error, "the pool opened a channel that can't be used");
                let reason = RefuseReason::Internal;
                let detail = error.to_string();
                self.directory.deliver(channel.conn(), Event::Refused { channel, reason, detail });
                false
            }
        };
        if !delivered {
            // The connection went away (its own Close may be on the way as well), or can't use it.
            out.push(self.close(channel, "nobody waits for it"));
        }
    }

    fn job(&mut self, mut job: v1::Job, out: &mut Vec<ToPool>) {
        let channels = std::mem::take(&mut job.channel_ids);
        self.look_at_mask(job.version_mask);
        let job = match convert::job(job) {
            Ok(job) => Arc::new(job),
            Err(error) => return self.unusable_job(&channels, &error, out),
        };
        self.look_at_size(&job);
        for channel in channels.into_iter().map(ChannelKey::from_wire) {
            let event = Event::Job { channel, job: Arc::clone(&job) };
            self.directory.deliver(channel.conn(), event);
            let job_seq = job.seq;
            self.journal.record(Line::JobArrived { channel: channel.to_wire(), job_seq });
        }
    }

    fn look_at_mask(&mut self, mask: u32) {
        if mask != 0 && !convert::rolls_all(mask) && !self.warned_of_mask {
            self.warned_of_mask = true;
            tracing::warn!(
                "the pool's version mask {mask:08x} lacks bits of {:08x}, and SV2 has no word for \
                 that: miners may not roll the version at all. Give the whole mask, or 0",
                crate::types::VERSION_ROLLING_MASK
            );
        }
    }

    fn look_at_size(&mut self, job: &Job) {
        let bytes = job.message_len();
        if bytes > DEVICE_PAYLOAD && !self.warned_of_size {
            self.warned_of_size = true;
            tracing::warn!(
                "the pool's job makes a message of {bytes} bytes to extended channels, and Bitaxe \
                 and its like drop all above {DEVICE_PAYLOAD}. Make its coinbase smaller: fewer or \
                 shorter outputs"
            );
        }
    }

    /// Without its newest job a channel would mine on a dead tip: close it.
    fn unusable_job(&mut self, channels: &[u64], error: &ContractError, out: &mut Vec<ToPool>) {
        tracing::error!(%error, channels = channels.len(), "the pool sent an unusable job");
        for channel in channels.iter().copied().map(ChannelKey::from_wire) {
            let kick = Kick {
                action: KickAction::CloseChannel,
                reason: RefuseReason::Internal.as_str().into(),
                host: String::new(),
                port: 0,
            };
            self.directory.deliver(channel.conn(), Event::Kick { channel, kick });
            out.push(self.close(channel, "unusable job"));
        }
    }

    fn verdicts(&mut self, verdicts: &[v1::Verdict]) {
        let mut by_conn: HashMap<ConnId, Vec<Judged>> = HashMap::new();
        for wire in verdicts {
            let submit_id = wire.submit_id;
            let Some(Sent { channel, token, .. }) = self.in_flight.take(submit_id) else {
                if self.in_flight.was_sent(submit_id) {
                    // Its channel was closed meanwhile, or it was judged before.
                    tracing::debug!(submit_id, "a verdict nobody waits for");
                } else {
                    tracing::error!(submit_id, "a verdict for a submit that never was; ignored");
                }
                continue;
            };
            let judged = Judged { channel, token, submit_id, verdict: convert::verdict(wire) };
            by_conn.entry(channel.conn()).or_default().push(judged);
        }
        for (conn, judged) in by_conn {
            self.directory.deliver(conn, Event::Verdicts(judged));
        }
    }

    fn block_result(&self, result: v1::BlockResult) {
        let channel = ChannelKey::from_wire(result.channel_id);
        let Ok(hash) = <[u8; 32]>::try_from(result.block_hash.as_ref()) else {
            tracing::error!("the pool's BlockResult has no block hash; ignored");
            return;
        };
        let event = Event::BlockResult {
            channel,
            hash: crate::types::Hash(hash),
            height: result.height,
            accepted: result.accepted,
            detail: convert::printable(&result.detail),
        };
        self.directory.deliver(channel.conn(), event);
    }
}

fn plain_message(command: Command) -> Option<ToPool> {
    Some(match command {
        Command::Open { channel, connection, request } => {
            ToPool::OpenChannel(convert::open_to_wire(channel, &connection, request))
        }
        Command::Update { channel, request, nominal_hash_rate, max_target } => {
            ToPool::UpdateChannel(v1::UpdateChannel {
                channel_id: channel.to_wire(),
                nominal_hash_rate,
                max_target: convert::target_to_wire(&max_target),
                request_id: request,
            })
        }
        Command::TargetInEffect { channel, target } => ToPool::TargetInEffect(v1::TargetInEffect {
            channel_id: channel.to_wire(),
            target: convert::target_to_wire(&target),
        }),
        Command::Submit { .. } | Command::Close { .. } => return None,
    })
}

#[cfg(test)]
mod tests;
