//! The miner's messages after SetupConnection.

use std::sync::Arc;

use bytes::Bytes;

use super::setup::REQUIRES_STANDARD_JOBS;
use super::{unknown_channel, Cause, Effects, Inbound, Open, Opening, Outbound, Phase, Session};
use crate::backend::ledger::QuoteUnknown;
use crate::backend::Command;
use crate::channel::Taken;
use crate::job::Fields;
use crate::types::{
    split_identity, ChannelKey, Connection, Kind, OpenRequest, Payout, PayoutKey, RefuseReason,
    RejectReason, Seat, Short, Target,
};

impl Session {
    pub(super) fn mine(
        &mut self,
        connection: &Arc<Connection>,
        message: Inbound<'_>,
        now: u32,
        fx: &mut Effects,
    ) {
        let may_mine = match message {
            // What is ignored doesn't end the time for requests.
            Inbound::RequestExtensions { .. }
            | Inbound::Setup(_)
            | Inbound::MalformedSetup
            | Inbound::Ignored { .. } => true,
            _ => self.extensions.settle(),
        };
        match message {
            Inbound::Open(Open { request_id, .. }) if !may_mine => {
                let reason = RefuseReason::RequiredExtension;
                fx.out.push(Outbound::OpenError { request_id, reason });
            }
            Inbound::Open(open) => self.open(connection, &open, fx),
            Inbound::Submit { kind, channel_id, sequence, share, tlvs } => {
                let worker = self.extensions.worker(tlvs);
                self.submit((kind, channel_id), sequence, &share, worker, now, fx);
            }
            Inbound::Update { channel_id, nominal_hash_rate, max_target } => {
                self.update(channel_id, nominal_hash_rate, max_target, fx);
            }
            Inbound::Close { channel_id } => self.close_channel(channel_id, fx),
            Inbound::CustomJob { channel_id, request_id } => {
                fx.out.push(Outbound::CustomJobError { channel_id, request_id });
            }
            Inbound::RequestExtensions { request_id, requested } => {
                self.pace.requested(requested.len());
                self.request_extensions(request_id, &requested, fx);
            }
            // A second SetupConnection never re-negotiates (SV2 spec 3.6.1).
            Inbound::Setup(_) | Inbound::MalformedSetup => {
                tracing::debug!("a second SetupConnection is ignored");
            }
            Inbound::Ignored { extension_type, message_type } => {
                tracing::debug!(extension_type, message_type, "message ignored");
            }
        }
        if !may_mine {
            self.close(Cause::RequiredExtension, fx);
        }
    }

    fn open(&mut self, connection: &Arc<Connection>, open: &Open, fx: &mut Effects) {
        let (user_identity, payout) = match self.whom(open) {
            Ok(whom) => whom,
            Err(reason) => {
                tracing::debug!(reason = reason.as_str(), "open refused");
                return fx.out.push(Outbound::OpenError { request_id: open.request_id, reason });
            }
        };
        let request = OpenRequest {
            kind: open.kind,
            user_identity,
            payout_key: match payout {
                Some(Payout::Key(key)) => Some(key),
                _ => None,
            },
            quote: match payout {
                Some(Payout::Quote(quote)) => Some(quote),
                _ => None,
            },
            // -0.0 is 0.0.
            nominal_hash_rate: open.nominal_hash_rate.abs(),
            max_target: open.max_target,
            min_extranonce_size: open.min_extranonce_size,
        };
        match self.admit(connection, open) {
            Ok((channel, seat)) => {
                let request_id = open.request_id;
                match request.quote {
                    // The pool is asked when the key is known.
                    Some(quote) => fx.lookups.push((channel, quote)),
                    None => {
                        let (connection, request) = (Arc::clone(connection), request.clone());
                        fx.commands.push(Command::Open { channel, connection, request });
                    }
                }
                self.opening.insert(channel, Opening { request_id, request, seat });
            }
            Err(reason) => {
                tracing::debug!(reason = reason.as_str(), "open refused");
                fx.out.push(Outbound::OpenError { request_id: open.request_id, reason });
            }
        }
    }

    /// Whose the quote is that a wish for a channel named: now the pool can be asked.
    pub(super) fn quote_found(
        &mut self,
        channel: ChannelKey,
        found: Result<PayoutKey, QuoteUnknown>,
        fx: &mut Effects,
    ) {
        let Phase::Mining(connection) = &self.phase else { return };
        // It may have been refused since, or the connection sent away.
        let Some(opening) = self.opening.get_mut(&channel) else { return };
        match found {
            Ok(key) => {
                opening.request.payout_key = Some(key);
                let (connection, request) = (Arc::clone(connection), opening.request.clone());
                fx.commands.push(Command::Open { channel, connection, request });
            }
            Err(error) => {
                let reason = match error {
                    QuoteUnknown::NoSuchQuote => RefuseReason::InvalidUserIdentity,
                    QuoteUnknown::Unavailable => RefuseReason::BackendUnavailable,
                };
                let request_id = opening.request_id;
                tracing::info!(reason = reason.as_str(), %error, "open refused");
                self.take_opening(&channel);
                fx.out.push(Outbound::OpenError { request_id, reason });
            }
        }
    }

    /// Whose work it will be, and where the credit for it goes.
    fn whom(&self, open: &Open) -> Result<(Bytes, Option<Payout>), RefuseReason> {
        let (user, payout) = match split_identity(&open.user_identity) {
            Ok((_, Some(_))) | Err(_) if !self.payout_keys => {
                return Err(RefuseReason::PayoutKeyNotSupported);
            }
            Ok(split) => split,
            Err(error) => {
                tracing::debug!(%error, "where the credit of a user identity goes");
                return Err(RefuseReason::InvalidUserIdentity);
            }
        };
        Ok((Bytes::copy_from_slice(&user), payout))
    }

    fn admit(
        &mut self,
        conn: &Connection,
        open: &Open,
    ) -> Result<(ChannelKey, Seat), RefuseReason> {
        if !self.pace.open() {
            return Err(RefuseReason::RateLimited);
        }
        let standard_only = conn.setup_flags & REQUIRES_STANDARD_JOBS != 0;
        if open.kind == Kind::Extended && standard_only {
            return Err(RefuseReason::ExtendedNotSupported);
        }
        if !open.nominal_hash_rate.is_finite() || open.nominal_hash_rate < 0.0 {
            return Err(RefuseReason::InvalidNominalHashrate);
        }
        if open.max_target == Target::ZERO {
            return Err(RefuseReason::MaxTargetOutOfRange);
        }
        let limits = self.limits.filter(|_| !self.dismissed);
        let limits = limits.ok_or(RefuseReason::BackendUnavailable)?;
        limits.admit(&open.max_target)?;
        if self.channels.len() + self.opening.len() >= self.bounds.channels {
            return Err(RefuseReason::ChannelCapacityExhausted);
        }
        let seat = self.shared.take().ok_or(RefuseReason::ChannelCapacityExhausted)?;
        self.opened += 1;
        let key = ChannelKey::new(self.conn, self.opened);
        Ok((key.ok_or(RefuseReason::ChannelCapacityExhausted)?, seat))
    }

    fn submit(
        &mut self,
        (kind, channel_id): (Kind, u32),
        sequence: u32,
        share: &Fields<'_>,
        worker: Result<Short, RejectReason>,
        now: u32,
        fx: &mut Effects,
    ) {
        let Some(channel) = self.channels.get_mut(&channel_id).filter(|c| c.kind() == kind) else {
            self.pace.answered(Some(RejectReason::InvalidChannelId));
            let was_open = (1..self.next_channel_id).contains(&channel_id);
            if let Some(presence) = &self.presence {
                presence.counts().shares.rejected.add(RejectReason::InvalidChannelId, 1);
            }
            return unknown_channel(self.conn, (channel_id, was_open), sequence, fx);
        };
        channel.set_now(self.pace.now());
        match channel.submit(sequence, share, worker, now) {
            Taken::Forward(token, submit) => {
                let (channel, generation) = (channel.key(), channel.generation());
                fx.commands.push(Command::Submit { channel, token, generation, submit });
            }
            Taken::Refused => self.answered.push(channel_id),
        }
    }

    fn update(&mut self, channel_id: u32, rate: f32, max_target: Target, fx: &mut Effects) {
        let Some(channel) = self.channels.get_mut(&channel_id) else {
            let reason = RefuseReason::InvalidChannelId;
            return fx.out.push(Outbound::UpdateError { channel_id, reason });
        };
        if !self.pace.update(channel.update_pace()) {
            let reason = RefuseReason::RateLimited;
            return fx.out.push(Outbound::UpdateError { channel_id, reason });
        }
        match channel.update(rate, max_target) {
            Ok(request) => fx.commands.push(Command::Update {
                channel: channel.key(),
                request,
                nominal_hash_rate: rate.abs(),
                max_target,
            }),
            Err(reason) => fx.out.push(Outbound::UpdateError { channel_id, reason }),
        }
    }

    /// CloseChannel of the miner: a channel, or the group of one around it (SV2 spec 5.3.9).
    /// Nothing more is sent for it, not even answers.
    fn close_channel(&mut self, id: u32, fx: &mut Effects) {
        let found = self.channels.values().find(|c| c.id() == id || c.group_id() == id);
        let Some((id, channel)) = found.map(|c| (c.id(), c.key())) else { return };
        if let Some(mut channel) = self.channels.remove(&id) {
            channel.ends("closed by the miner");
        }
        self.by_key.remove(&channel);
        fx.commands.push(Command::Close { channel, reason: "closed by the miner" });
    }
}
