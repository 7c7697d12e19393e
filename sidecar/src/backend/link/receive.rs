//! Messages of the pool.

use std::sync::Arc;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::{close_message, Link, DEVICE_PAYLOAD};
use crate::backend::channels::{State, REVERT};
use crate::backend::convert::{self, ContractError};
use crate::backend::ledger::{failed_message, Call, CallError, Code};
use crate::backend::{Event, Judged, Parcel, Sent};
use crate::obs::witness::Block;
use crate::obs::Line;
#[cfg(test)]
use crate::types::planted;
use crate::types::{ChannelKey, Grant, Hash, Job, Kick, KickAction, RefuseReason, Submit, Verdict};

impl Link {
    /// Takes one message of the pool. Answers that go straight back are pushed to `out`.
    pub(crate) fn receive(&mut self, message: FromPool, out: &mut Vec<Parcel>) {
        match message {
            FromPool::ChannelOpened(opened) => self.opened(opened, out),
            FromPool::ChannelRefused(refused) => {
                let channel = ChannelKey::from_wire(refused.channel_id);
                let reason = convert::refuse_reason(refused.reason());
                self.refused(channel, reason, convert::printable(&refused.detail));
            }
            FromPool::ChannelUpdated(updated) => {
                let channel = ChannelKey::from_wire(updated.channel_id);
                let refused = match updated.refused() {
                    v1::RefuseReason::Unspecified => None,
                    reason => Some(convert::refuse_reason(reason)),
                };
                let request = updated.request_id;
                if let Some(held) = self.channels.get_mut(channel) {
                    held.updated(request, refused.is_none());
                }
                if request != REVERT {
                    let event = Event::Updated { channel, request, refused };
                    self.directory.deliver(channel.conn(), event);
                }
            }
            FromPool::Job(job) => self.job(job, out),
            FromPool::SetTarget(set) => {
                let channel = ChannelKey::from_wire(set.channel_id);
                match convert::target("target", &set.target) {
                    Ok(target) => {
                        if let Some(held) = self.channels.get_mut(channel) {
                            held.want(target);
                        }
                        self.directory.deliver(channel.conn(), Event::Target { channel, target });
                    }
                    // A failed target update never closes anything.
                    Err(error) => tracing::error!(%error, "the pool's SetTarget is ignored"),
                }
            }
            FromPool::VerdictBatch(batch) => {
                self.judged(
                    batch.verdicts.iter().map(|wire| (wire.submit_id, convert::verdict(wire))),
                );
            }
            FromPool::BlockResult(result) => self.block_result(result),
            FromPool::Kick(kick) => {
                let (channel, kick) = convert::kick(kick);
                // The pool has closed what it kicks and owes no verdict for it.
                match kick.action {
                    KickAction::CloseChannel => {
                        self.channels.remove(channel);
                        self.in_flight.forget_channel(channel)
                    }
                    KickAction::CloseConnection | KickAction::Reconnect => {
                        self.channels.remove_connection(channel.conn());
                        self.in_flight.forget_connection(channel.conn())
                    }
                };
                self.deliver_after(channel.conn(), Event::Kick { channel, kick });
            }
            FromPool::Drain(drain) => {
                let reason = convert::printable(&drain.reason);
                tracing::info!(grace_ms = drain.grace_ms, reason, "the pool is about to stop");
                self.draining = true;
            }
            FromPool::Ping(ping) => {
                let pong = v1::Pong { id: ping.id, sent_us: ping.sent_us };
                out.push(ToPool::Pong(pong).into());
            }
            FromPool::SetPayout(call) => self.call(call.call_id, call.try_into(), out),
            FromPool::GetAccount(call) => self.call(call.call_id, call.try_into(), out),
            FromPool::RecordShares(call) => self.call(call.call_id, call.try_into(), out),
            FromPool::Welcome(_) => tracing::error!("the pool sent a second Welcome; ignored"),
            FromPool::Pong(pong) => self.heard(pong.id),
        }
    }

    fn opened(&mut self, opened: v1::ChannelOpened, out: &mut Vec<Parcel>) {
        let channel = ChannelKey::from_wire(opened.channel_id);
        if let Some(job) = &opened.job {
            self.look_at_mask(job.version_mask);
        }
        let Some(state) = self.channels.get_mut(channel).map(|held| held.state) else {
            // The connection went away meanwhile; its Close may be on the way as well.
            let close = close_message(channel, "nobody waits for it", Vec::new());
            return out.push(close.into());
        };
        let (grant, job) = match convert::opened(opened) {
            Ok((grant, job)) => {
                self.look_at_size(&job);
                (grant, self.placed(job))
            }
            Err(error) => {
                tracing::error!(%error, "the pool opened a channel that can't be used");
                out.push(close_message(channel, "can't be used", Vec::new()).into());
                return self.refused(channel, RefuseReason::Internal, error.to_string());
            }
        };
        match state {
            State::Opening => self.open(channel, grant, job, out),
            State::Reopening => self.restored(channel, &grant, job, out),
            State::Open | State::Suspended | State::Wished => {
                tracing::error!(?channel, "the pool opened a channel unasked; ignored");
            }
        }
    }

    fn open(&mut self, channel: ChannelKey, grant: Grant, job: Arc<Job>, out: &mut Vec<Parcel>) {
        self.channels.granted(channel, &grant);
        let job_seq = job.seq;
        let generation = self.channels.generation();
        let event = Event::Opened { channel, generation, grant, job };
        let delivered = self.directory.deliver(channel.conn(), event);
        self.journal.record(Line::JobArrived { channel: channel.to_wire(), job_seq });
        if !delivered {
            out.extend(self.close(channel, "nobody waits for it").map(Parcel::from));
        }
    }

    /// A suspended channel is there again; with another prefix the miner's work would not fit.
    fn restored(
        &mut self,
        channel: ChannelKey,
        grant: &Grant,
        job: Arc<Job>,
        out: &mut Vec<Parcel>,
    ) {
        if !self.channels.get_mut(channel).is_some_and(|held| held.is_as_before(grant)) {
            tracing::info!(?channel, "the pool can't grant the extranonce of before");
            return self.unrestored(channel, true, out);
        }
        self.channels.granted(channel, grant);
        let (generation, target, job_seq) = (self.channels.generation(), grant.target, job.seq);
        let event = Event::Reopened { channel, generation, target, job };
        let delivered = self.directory.deliver(channel.conn(), event);
        self.journal.record(Line::JobArrived { channel: channel.to_wire(), job_seq });
        if !delivered {
            out.extend(self.close(channel, "nobody waits for it").map(Parcel::from));
        }
    }

    fn refused(&mut self, channel: ChannelKey, reason: RefuseReason, detail: String) {
        let state = self.channels.get_mut(channel).map(|held| held.state);
        let event = match (state, reason) {
            // It was asked before it said that it is about to stop. Its next life is asked again.
            (Some(State::Opening), RefuseReason::BackendUnavailable) if self.draining => return,
            (Some(State::Opening), _) => Event::Refused { channel, reason, detail },
            (
                Some(State::Reopening),
                RefuseReason::BackendUnavailable | RefuseReason::RateLimited,
            ) => {
                tracing::debug!(?channel, detail, "the pool can't have it back yet");
                return self.channels.postpone(channel);
            }
            (Some(State::Reopening), _) => {
                tracing::warn!(reason = reason.as_str(), detail, "not opened again by the pool");
                let kick = Kick {
                    action: KickAction::CloseChannel,
                    reason: reason.as_str().into(),
                    host: String::new(),
                    port: 0,
                };
                Event::Kick { channel, kick }
            }
            (Some(State::Open | State::Suspended | State::Wished) | None, _) => return,
        };
        self.channels.remove(channel);
        self.deliver_after(channel.conn(), event);
    }

    fn job(&mut self, mut job: v1::Job, out: &mut Vec<Parcel>) {
        let channels = std::mem::take(&mut job.channel_ids);
        self.look_at_mask(job.version_mask);
        let job = match convert::job(job) {
            Ok(job) => self.placed(job),
            Err(error) => return self.unusable_job(&channels, &error, out),
        };
        self.look_at_size(&job);
        for channel in channels.into_iter().map(ChannelKey::from_wire) {
            if job.version_mask == 0 && self.channels.must_roll(channel) {
                self.cancel(&[channel], "the job forbids version rolling", out);
            }
            let event = Event::Job { channel, job: Arc::clone(&job) };
            self.directory.deliver(channel.conn(), event);
            let job_seq = job.seq;
            self.journal.record(Line::JobArrived { channel: channel.to_wire(), job_seq });
        }
    }

    /// Gives a job its place among all that ever came.
    fn placed(&mut self, mut job: Job) -> Arc<Job> {
        job.seq = job.seq.saturating_add(self.jobs_before);
        self.jobs = self.jobs.max(job.seq);
        if let Some(tip) = self.seen.work(&job) {
            self.counts.pool.job(tip);
        }
        Arc::new(job)
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
    fn unusable_job(&mut self, channels: &[u64], error: &ContractError, out: &mut Vec<Parcel>) {
        tracing::error!(%error, channels = channels.len(), "the pool sent an unusable job");
        for channel in channels.iter().copied().map(ChannelKey::from_wire) {
            let kick = Kick {
                action: KickAction::CloseChannel,
                reason: RefuseReason::Internal.as_str().into(),
                host: String::new(),
                port: 0,
            };
            self.deliver_after(channel.conn(), Event::Kick { channel, kick });
            out.extend(self.close(channel, "unusable job").map(Parcel::from));
        }
    }

    /// Hands verdicts, by the ids of their submits, to who waits for them.
    pub(crate) fn judged(&mut self, verdicts: impl IntoIterator<Item = (u64, Verdict)>) {
        let mut told = std::mem::take(&mut self.told);
        for (submit_id, verdict) in verdicts {
            self.look_for_block(submit_id, &verdict);
            let Some(Sent { channel, token, submit }) = self.in_flight.take(submit_id) else {
                if self.in_flight.was_sent(submit_id) {
                    // Its channel was closed meanwhile, or it was judged before.
                    tracing::debug!(submit_id, "a verdict nobody waits for");
                } else {
                    tracing::error!(submit_id, "a verdict for a submit that never was; ignored");
                }
                continue;
            };
            #[cfg(test)]
            if planted::has(planted::Bug::LostVerdict) && submit_id % 7 == 0 {
                continue;
            }
            let judged = Judged { channel, token, submit_id, verdict };
            if matches!(verdict, Verdict::Accepted { .. }) && self.keep(judged, &submit) {
                continue;
            }
            told.push(judged);
        }
        self.directory.judged(&told);
        told.clear();
        self.told = told;
    }

    /// Counts and tells of a block candidate, also of one whose miner has gone. Before its submit
    /// is taken from the table. Verdicts may come again.
    fn look_for_block(&mut self, submit_id: u64, verdict: &Verdict) {
        let Verdict::Accepted { hash, block_candidate: true, .. } = *verdict else { return };
        if !self.in_flight.was_sent(submit_id) || !self.seen.candidate(hash) {
            return;
        }
        self.counts.shares.block_candidates.one();
        tracing::info!(%hash, "block candidate");
        let whose = self.in_flight.whose(submit_id);
        if let Some((witness, (channel, worker))) = self.counts.witness().zip(whose) {
            let (height, accepted, detail) = (0, None, "");
            let worker = &worker.to_bytes();
            witness.block(Block { channel, hash, height, accepted, detail, worker });
        }
    }

    /// A request of the pool to the ledger.
    fn call(&self, id: u64, call: Result<Call, CallError>, out: &mut Vec<Parcel>) {
        let let_in = match &self.ledger {
            Some(ledger) => ledger.call(id, call),
            None => Err(CallError::new(Code::Unimplemented, "this sidecar has no mint bridge")),
        };
        if let Err(error) = let_in {
            out.push(failed_message(id, error).into());
        }
    }

    /// Hands an accepted share to the ledger, from where its miner hears. false: there is none.
    fn keep(&self, judged: Judged, submit: &Submit) -> bool {
        let Some(ledger) = &self.ledger else { return false };
        // A channel that is gone has nothing in flight.
        let Some(owner) = self.channels.owner(judged.channel) else { return false };
        ledger.keep(judged, owner, submit.worker.to_bytes());
        true
    }

    fn block_result(&mut self, result: v1::BlockResult) {
        let channel = ChannelKey::from_wire(result.channel_id);
        let Ok(hash) = <[u8; 32]>::try_from(result.block_hash.as_ref()) else {
            tracing::error!("the pool's BlockResult has no block hash; ignored");
            return;
        };
        if !self.seen.result(channel, Hash(hash), result.accepted) {
            return tracing::debug!("the pool tells once more what became of a block");
        }
        let became = match result.accepted {
            Some(true) => "accepted",
            Some(false) => "refused",
            None => "unknown",
        };
        self.counts.pool.blocks.one(became);
        let (hash, height, accepted) = (Hash(hash), result.height, result.accepted);
        let detail = convert::printable(&result.detail);
        if let Some(witness) = self.counts.witness() {
            let (detail, worker) = (detail.as_str(), &Bytes::new());
            witness.block(Block { channel, hash, height, accepted, detail, worker });
        }
        let event = Event::BlockResult { channel, hash, height, accepted, detail };
        self.directory.deliver(channel.conn(), event);
    }
}
