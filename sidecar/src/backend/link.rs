//! What passes over the link, without the wire: commands to messages, messages to events. Pure but
//! for the mailboxes it fills.

mod opens;
mod outage;
mod receive;
mod seen;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use tokio::sync::Notify;
use v1::session_request::Message as ToPool;

#[cfg(test)]
pub(crate) use opens::LATE;
pub(crate) use outage::{Greeting, Life};

use super::channels::{Channels, Update};
use super::convert;
use super::ledger::{Ledger, Returns, ShareLedger};
use super::{Command, Directory, Event, InFlight, Judged, Parcel, Sent, Share};
use crate::obs::{Counts, Journal};
use crate::types::{ChannelKey, ConnId, RefuseReason, RejectReason, Submit, Target, Verdict};

/// Submits in one message at most (the contract's bound).
pub(crate) const MAX_BATCH: usize = 256;
/// Longest payload that every device takes: firmware made of ESP-Miner (Bitaxe) drops what is
/// longer, and mines on without the job.
const DEVICE_PAYLOAD: usize = 4096;
/// Why a channel is refused while the pool is away.
const NO_LINK: &str = "no link to the pool";

/// The state of one session towards the pool. It outlives streams: what a broken one left open is
/// taken up by the next.
#[derive(Debug)]
pub(crate) struct Link {
    in_flight: InFlight,
    channels: Channels,
    /// The pool's life, as its last Welcome named it.
    epoch: Bytes,
    /// Submits that were answered while the pool was away: it must not credit them.
    withdrawn: Vec<u64>,
    /// Submits that were answered, and cancelled, while the stream lasts, with the Ping behind
    /// them: until its Pong comes the pool may not have heard.
    unheard: VecDeque<(u64, Vec<u64>)>,
    pings: u64,
    /// How many Hellos there were.
    dials: u64,
    /// Channels that the last Hello told as open.
    told_open: Vec<u64>,
    directory: Directory,
    journal: Journal,
    counts: Counts,
    seen: seen::Seen,
    /// Accepted shares are kept there before their miners hear.
    ledger: Option<Ledger>,
    /// Memory of a batch that was handed over.
    spare: Vec<Share>,
    /// Memory of verdicts on their way to the miners.
    told: Vec<Judged>,
    /// The highest seq of a job so far, and when the present stream began. A session that begins
    /// anew counts anew: added to what it counts, later jobs stay the higher ones.
    jobs: u64,
    jobs_before: u64,
    /// The pool's narrow version mask was complained of.
    warned_of_mask: bool,
    /// The pool's long jobs were complained of.
    warned_of_size: bool,
    /// The pool is about to stop: it is asked for no channels. And how many looks ago it said so.
    draining: bool,
    draining_looks: u32,
}

impl Link {
    pub(crate) fn new(capacity: usize, directory: Directory, journal: Journal) -> Self {
        Self {
            in_flight: InFlight::new(capacity),
            channels: Channels::default(),
            epoch: Bytes::new(),
            withdrawn: Vec::new(),
            unheard: VecDeque::new(),
            pings: 0,
            jobs: 0,
            jobs_before: 0,
            dials: 0,
            told_open: Vec::new(),
            directory,
            journal,
            counts: Counts::default(),
            seen: seen::Seen::default(),
            ledger: None,
            spare: Vec::new(),
            told: Vec::new(),
            warned_of_mask: false,
            warned_of_size: false,
            draining: false,
            draining_looks: 0,
        }
    }

    /// Asks for so few channels at a time.
    #[cfg(test)]
    pub(crate) fn asking(mut self, at_once: super::channels::AtOnce) -> Self {
        self.channels.ask_for(at_once);
        self
    }

    /// Counts there.
    pub(crate) fn counted(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    /// From now on accepted shares are kept before their miners hear. What became of them is told
    /// through what is returned.
    #[cfg_attr(
        not(feature = "mint"),
        allow(dead_code, reason = "only the mint bridge keeps shares")
    )]
    pub(crate) fn keep_in(&mut self, ledger: Arc<dyn ShareLedger>) -> Returns {
        let returns = Returns::new(self.directory.clone(), self.channels.accounts());
        let ledger = Ledger::new(ledger, returns);
        self.ledger.insert(ledger).returns()
    }

    /// Is told when fewer shares wait to be kept; never without a ledger.
    pub(crate) fn freed(&self) -> Arc<Notify> {
        self.ledger.as_ref().map_or_else(Arc::default, Ledger::freed)
    }

    /// Waits for the ledger's next answer to a request of the pool on this stream. Cancel-safe.
    pub(crate) async fn answered(&mut self) -> ToPool {
        match &mut self.ledger {
            Some(ledger) => ledger.calls.answered().await,
            None => std::future::pending().await,
        }
    }

    /// Delivers an event that must not overtake verdicts.
    fn deliver_after(&self, conn: ConnId, event: Event) {
        match &self.ledger {
            Some(ledger) => ledger.deliver_after(conn, event),
            None => {
                self.directory.deliver(conn, event);
            }
        }
    }

    /// How many commands may be taken now: each may be a submit. What is cancelled keeps its place
    /// until the pool has heard.
    pub(crate) fn room(&self) -> usize {
        let unheard: usize = self.unheard.iter().map(|(_, ids)| ids.len()).sum();
        let held = self.ledger.as_ref().map_or(0, Ledger::held);
        self.in_flight.room().saturating_sub(unheard + held).min(MAX_BATCH)
    }

    /// How many submits wait for a verdict.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The oldest submit that waits, and the id the next one gets: what the watchdog compares.
    pub(crate) fn waiting_since(&self) -> (Option<u64>, u64) {
        (self.in_flight.oldest(), self.in_flight.next_id())
    }

    /// Whether the pool wants to stop and owes nothing any more.
    pub(crate) fn is_drained(&self) -> bool {
        self.draining && self.in_flight.oldest().is_none()
    }

    /// Turns commands into messages, in order; adjacent submits share a message.
    pub(crate) fn send(&mut self, commands: impl Iterator<Item = Command>, out: &mut Vec<Parcel>) {
        for command in commands {
            match command {
                Command::Submit { channel, token, generation, submit } => {
                    self.submit((channel, token), generation, submit, out);
                }
                Command::Open { channel, .. } if self.channels.is_crowded_for(channel.conn()) => {
                    let detail = "too many wait for a channel".to_owned();
                    let reason = RefuseReason::RateLimited;
                    let event = Event::Refused { channel, reason, detail };
                    self.directory.deliver(channel.conn(), event);
                }
                Command::Open { channel, connection, request } => {
                    self.channels.open(channel, connection, request);
                }
                Command::Update { channel, request, nominal_hash_rate, max_target } => {
                    let update = Update { request, nominal_hash_rate, max_target };
                    self.update(channel, update, out);
                }
                Command::TargetInEffect { channel, wanted, target } => {
                    let held = self.channels.get_mut(channel).filter(|held| held.is_open());
                    if held.is_some_and(|held| held.tell(wanted, target)) {
                        out.push(told_message(channel, wanted, target).into());
                    }
                }
                Command::Close { channel, reason } => {
                    out.extend(self.close(channel, reason).map(Parcel::from));
                }
            }
        }
        self.ask(out);
    }

    fn submit(
        &mut self,
        (channel, token): (ChannelKey, u64),
        generation: u64,
        submit: Submit,
        out: &mut Vec<Parcel>,
    ) {
        match self.channels.takes_share(channel, generation) {
            Some(true) => {}
            // It is on its way to a miner that hears of the restart just now.
            Some(false) => return self.unjudged(channel, token, submit, RejectReason::Stale),
            None => return self.unjudged(channel, token, submit, RejectReason::InvalidChannelId),
        }
        // The submit is kept whole: a resumed session sends it again.
        let sent = Sent { channel, token, submit };
        match self.in_flight.insert(sent) {
            Some(id) => self.push_share(Share::new(id, channel, &submit), out),
            None => self.unjudged(channel, token, submit, RejectReason::RateLimited),
        }
    }

    fn update(&mut self, channel: ChannelKey, update: Update, out: &mut Vec<Parcel>) {
        match self.channels.get_mut(channel).filter(|held| held.is_open()) {
            Some(held) => {
                held.update(update);
                out.push(update_message(channel, update).into());
            }
            None => self.refuse_update(channel, update.request),
        }
    }

    fn refuse_update(&self, channel: ChannelKey, request: u32) {
        let refused = Some(RefuseReason::BackendUnavailable);
        self.directory.deliver(channel.conn(), Event::Updated { channel, request, refused });
    }

    /// Answers commands while the pool is away for long: nothing is accepted.
    pub(crate) fn refuse(&mut self, command: Command) {
        match command {
            Command::Open { channel, .. } => self.refuse_open(channel, NO_LINK),
            Command::Submit { channel, token, submit, .. } => {
                self.unjudged(channel, token, submit, RejectReason::BackendUnavailable);
            }
            Command::Update { channel, request, .. } => self.refuse_update(channel, request),
            Command::Close { channel, .. } => {
                self.channels.remove(channel);
                self.in_flight.forget_channel(channel);
            }
            Command::TargetInEffect { channel, wanted, target } => {
                if let Some(held) = self.channels.get_mut(channel) {
                    held.tell(wanted, target);
                }
            }
        }
    }

    fn refuse_open(&self, channel: ChannelKey, detail: &str) {
        let reason = RefuseReason::BackendUnavailable;
        let event = Event::Refused { channel, reason, detail: detail.into() };
        self.directory.deliver(channel.conn(), event);
    }

    /// Tells the pool that a channel is gone. It owes no verdict for it any more.
    fn close(&mut self, channel: ChannelKey, reason: &str) -> Option<ToPool> {
        let held = self.channels.remove(channel)?;
        let submits = self.in_flight.forget_channel(channel);
        if submits > 0 {
            tracing::debug!(?channel, submits, "closed before their verdicts");
        }
        held.is_known_to_pool().then(|| close_message(channel, reason, Vec::new()))
    }

    /// Puts a share behind what there is; adjacent ones share a message.
    fn push_share(&mut self, share: Share, out: &mut Vec<Parcel>) {
        match out.last_mut() {
            Some(Parcel::Shares(batch)) if batch.len() < MAX_BATCH => batch.push(share),
            _ => {
                let mut batch = std::mem::take(&mut self.spare);
                batch.clear();
                batch.push(share);
                out.push(Parcel::Shares(batch));
            }
        }
    }

    /// Takes back the memory of a batch that was handed over, for the next one.
    pub(crate) fn reuse(&mut self, batch: Vec<Share>) {
        self.spare = batch;
    }

    /// Answers a submit that the pool will not judge.
    fn unjudged(&self, channel: ChannelKey, token: u64, submit: Submit, reason: RejectReason) {
        let verdict = Verdict::Rejected(reason);
        let judged = Judged { channel, token, submit_id: 0, verdict };
        self.directory.deliver(channel.conn(), Event::Unjudged(vec![(judged, submit)]));
    }
}

/// `cancelled`: submits of the channel that were answered without the pool.
fn close_message(channel: ChannelKey, reason: &str, cancelled: Vec<u64>) -> ToPool {
    ToPool::CloseChannel(v1::CloseChannel {
        channel_id: channel.to_wire(),
        reason: reason.into(),
        cancelled_submit_ids: cancelled,
    })
}

fn update_message(channel: ChannelKey, update: Update) -> ToPool {
    ToPool::UpdateChannel(v1::UpdateChannel {
        channel_id: channel.to_wire(),
        nominal_hash_rate: update.nominal_hash_rate,
        max_target: convert::target_to_wire(&update.max_target),
        request_id: update.request,
    })
}

fn told_message(channel: ChannelKey, wanted: Target, target: Target) -> ToPool {
    ToPool::TargetInEffect(v1::TargetInEffect {
        channel_id: channel.to_wire(),
        target: convert::target_to_wire(&target),
        wanted_target: convert::target_to_wire(&wanted),
    })
}

#[cfg(test)]
mod again_tests;
#[cfg(test)]
mod block_tests;
#[cfg(test)]
mod late_tests;
#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod size_tests;
#[cfg(test)]
mod tests;
