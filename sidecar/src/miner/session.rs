//! One connection: messages in, shares out, until it ends.

use std::time::Duration;

use binary_sv2::{B032Owned, Str0255Owned};
use mining_sv2::{CloseChannelOwned, SubmitSharesExtendedOwned, SubmitSharesStandard};
use parsers_sv2::{CommonMessagesOwned, MiningOwned};
use tokio::select;
use tokio::time::{sleep_until, timeout, Instant};
use tracing::{debug, info, warn};

use super::hasher::Found;
use super::pending::Pending;
use super::run::{journal_error, Run, Stop};
use super::summary::Ended;
use super::target::Target;
use super::work::{Channel, Step, Work};
use super::{ChannelKind, MinerError, MinerOptions};
use crate::client::{
    ClientError, Connection, Incoming, OpenRequest, PoolUrl, Reader, SetupRequest, Writer,
    FLAG_REQUIRES_FIXED_VERSION, FLAG_REQUIRES_STANDARD_JOBS,
};
use crate::obs::printable;

/// Submits without an answer before no more are sent.
pub(super) const MAX_PENDING: usize = 4096;
/// Bytes waiting for a slow server before no more are queued.
const MAX_QUEUED: usize = 64 * 1024;
/// Time for the last bytes when closing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The run is over.
    Stopped(Ended),
    /// The server asked to connect again, with its new host and port (empty, 0: as before).
    Redirected(String, u16),
    /// The server closed the channel, with its reason.
    ChannelClosed(String),
    /// It broke or was never made.
    Failed(ClientError),
}

/// Connects, sets up and opens the channel.
pub(super) async fn establish(
    url: &PoolUrl,
    options: &MinerOptions,
    nominal_hash_rate: f32,
) -> Result<(Connection, Channel), ClientError> {
    let mut connection = Connection::connect(url, &options.connect).await?;
    let flags = match options.kind {
        ChannelKind::Standard => FLAG_REQUIRES_STANDARD_JOBS,
        ChannelKind::Extended => 0,
    };
    let setup = SetupRequest {
        flags,
        endpoint_host: url.host().to_owned(),
        endpoint_port: url.port(),
        vendor: env!("CARGO_PKG_NAME").to_owned(),
        hardware_version: "cpu".to_owned(),
        firmware: env!("CARGO_PKG_VERSION").to_owned(),
        device_id: String::new(),
    };
    let accepted = connection.setup(&setup).await?;
    let fixed_version = accepted.flags & FLAG_REQUIRES_FIXED_VERSION != 0;
    let user = options.user.clone();
    let request =
        OpenRequest { user, nominal_hash_rate, max_target: Target::EASIEST.to_le_bytes() };
    let channel = match options.kind {
        ChannelKind::Standard => {
            let open = connection.open_standard(&request).await?;
            Channel {
                id: open.channel_id,
                group: open.group_channel_id,
                target: Target::from_le_bytes(open.target),
                extranonce_prefix: open.extranonce_prefix,
                extranonce_size: None,
                fixed_version,
            }
        }
        ChannelKind::Extended => {
            let size = options.min_extranonce_size;
            let open = connection.open_extended(&request, size).await?;
            Channel {
                id: open.channel_id,
                group: open.group_channel_id,
                target: Target::from_le_bytes(open.target),
                extranonce_prefix: open.extranonce_prefix,
                extranonce_size: Some(open.extranonce_size),
                fixed_version,
            }
        }
    };
    Ok((connection, channel))
}

/// Mines on an open channel until the connection or the run ends.
pub(super) async fn mine(
    run: &mut Run<'_>,
    connection: Connection,
    channel: Channel,
    stop: &mut Stop<'_>,
) -> Result<SessionEnd, MinerError> {
    info!(
        "connected, certificate verified; channel {} is open at difficulty {:.6}",
        channel.id,
        channel.target.difficulty()
    );
    let written = run.journal.opened(channel.id, &channel.target.to_le_bytes());
    written.map_err(|source| journal_error(run.options, source))?;
    let (reader, writer) = connection.split();
    let work = Work::new(channel, run.epoch);
    let pending = Pending::default();
    let mut session =
        Session { run, reader, writer, write_failed: false, work, pending, leaving: None };
    let end = session.drive(stop).await;
    session.finish(end).await
}

struct Session<'a, 'b> {
    run: &'a mut Run<'b>,
    reader: Reader,
    writer: Writer,
    write_failed: bool,
    work: Work,
    pending: Pending,
    /// Set once no share is sent any more: until when answers are waited for, and what follows.
    leaving: Option<(Instant, SessionEnd)>,
}

impl Session<'_, '_> {
    async fn drive(&mut self, stop: &mut Stop<'_>) -> Result<SessionEnd, MinerError> {
        loop {
            let unsent = !self.write_failed && self.writer.queued() > 0;
            let leaving = self.leaving.is_some();
            if self.pending.is_empty() && !unsent {
                if let Some((_, end)) = self.leaving.take() {
                    return Ok(end);
                }
            }
            let until = self.leaving.as_ref().map_or_else(Instant::now, |(until, _)| *until);
            let may_submit =
                !leaving && self.pending.len() < MAX_PENDING && self.writer.queued() < MAX_QUEUED;
            select! {
                incoming = self.reader.next() => match incoming {
                    Ok(message) => self.on_message(message)?,
                    // While leaving, the reason to leave is the better answer.
                    Err(error) => {
                        let failed = SessionEnd::Failed(error);
                        return Ok(self.leaving.take().map_or(failed, |(_, end)| end));
                    }
                },
                sent = self.writer.flush(), if unsent => if let Err(error) = sent {
                    // Answers that came before may still be read.
                    self.write_failed = true;
                    self.leave(SessionEnd::Failed(error));
                },
                Some(found) = self.run.found.recv(), if may_submit => self.submit(found)?,
                _ = self.run.ticker.tick() => {
                    let state = (self.pending.len(), self.work.target().difficulty());
                    self.run.status(Some(state))?;
                }
                ended = stop.wait(), if !leaving => self.leave(SessionEnd::Stopped(ended)),
                () = sleep_until(until), if leaving => {
                    if let Some((_, end)) = self.leaving.take() {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Stops submitting; answers are waited for, for a while. The first reason counts.
    fn leave(&mut self, end: SessionEnd) {
        self.run.set_task(None);
        if self.leaving.is_none() {
            self.leaving = Some((Instant::now() + self.run.options.drain_timeout, end));
        }
    }

    fn submit(&mut self, found: Found) -> Result<(), MinerError> {
        if found.task.epoch != self.work.epoch() {
            debug!("a share for job {} came too late to be sent", found.task.job_id);
            return Ok(());
        }
        let sequence_number = self.run.next_seq;
        self.run.next_seq = sequence_number.wrapping_add(1);
        let (channel_id, job_id) = (self.work.channel().id, found.task.job_id);
        let (nonce, ntime, version) = (found.nonce, found.ntime, found.version);
        let message = if self.work.channel().extranonce_size.is_some() {
            // At most 32 bytes: the size was checked when the channel was opened.
            let extranonce = B032Owned::try_from(found.extranonce)
                .map_err(|e| ClientError::Protocol(format!("extranonce: {e:?}")))?;
            MiningOwned::SubmitSharesExtended(SubmitSharesExtendedOwned {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            })
        } else {
            MiningOwned::SubmitSharesStandard(SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            })
        };
        let written = self.run.journal.submit(sequence_number, job_id, &found.hash);
        written.map_err(|source| journal_error(self.run.options, source))?;
        if found.block {
            info!("share {sequence_number} meets the network's target: a block");
        }
        self.writer.queue(message)?;
        self.pending.submitted(sequence_number, found.block);
        self.run.counts.submitted += 1;
        let limit = self.run.options.share_limit;
        if limit.is_some_and(|limit| self.run.counts.submitted >= limit) {
            self.leave(SessionEnd::Stopped(Ended::ShareLimit));
        }
        Ok(())
    }

    fn on_message(&mut self, message: Incoming) -> Result<(), MinerError> {
        match message {
            Incoming::Mining(message) => self.on_mining(message),
            Incoming::Common(CommonMessagesOwned::Reconnect(m)) => {
                let host = printable(m.new_host.as_bytes());
                info!("the server asks to connect again (new address {host:?}:{})", m.new_port);
                self.leave(SessionEnd::Redirected(host, m.new_port));
                Ok(())
            }
            Incoming::Common(other) => {
                debug!("ignored: {other}");
                Ok(())
            }
            Incoming::Other { extension_type, message_type } => {
                debug!("ignored: message {message_type:#04x} of extension {extension_type:#06x}");
                Ok(())
            }
        }
    }

    fn on_mining(&mut self, message: MiningOwned) -> Result<(), MinerError> {
        let channel = self.work.channel().id;
        let written = match message {
            MiningOwned::SubmitSharesSuccess(m) if m.channel_id == channel => {
                let (last, count) = (m.last_sequence_number, m.new_submits_accepted_count);
                let settled = self.pending.accepted(last, count);
                if settled.mismatch {
                    warn!(
                        "the server counts {count} accepted submits up to {last}, but {} were \
                         taken as accepted here",
                        settled.accepted
                    );
                }
                self.run.counts.accepted += settled.accepted;
                self.run.counts.blocks += settled.blocks;
                self.run.journal.accepted(last, count, m.new_shares_sum)
            }
            MiningOwned::SubmitSharesError(m) if m.channel_id == channel => {
                let reason = printable(m.error_code.as_bytes());
                if self.pending.rejected(m.sequence_number) {
                    debug!("submit {} is rejected: {reason}", m.sequence_number);
                    self.run.counts.reject(&reason);
                } else {
                    warn!("the server rejects submit {}, which is not open", m.sequence_number);
                }
                self.run.journal.rejected(m.sequence_number, &reason)
            }
            MiningOwned::CloseChannel(m) if self.work.concerns(m.channel_id) => {
                let reason = printable(m.reason_code.as_bytes());
                info!("the server closes the channel: {reason}");
                // Nothing is answered on a closed channel; do not wait.
                self.leave(SessionEnd::ChannelClosed(reason));
                if let Some((until, _)) = &mut self.leaving {
                    *until = Instant::now();
                }
                Ok(())
            }
            other => {
                match self.work.on_message(&other, std::time::Instant::now()) {
                    Step::NewTask if self.leaving.is_none() => {
                        let task = self.work.task();
                        debug!("work: {other}");
                        self.run.set_task(task);
                    }
                    Step::Ignored(why) => warn!("ignored: {why}"),
                    Step::NewTask | Step::Unchanged => {}
                }
                Ok(())
            }
        };
        written.map_err(|source| journal_error(self.run.options, source))
    }

    /// Settles the books of this connection and closes it.
    async fn finish(self, end: Result<SessionEnd, MinerError>) -> Result<SessionEnd, MinerError> {
        self.run.set_task(None);
        // Shares still on their way belong to no later connection.
        self.run.epoch = self.work.epoch() + 1;
        let unanswered = self.pending.len() as u64;
        self.run.counts.unanswered += unanswered;
        let end = end?;
        let reason = match &end {
            SessionEnd::Stopped(ended) => ended.to_string(),
            SessionEnd::Redirected(..) => "the server asked to connect again".to_owned(),
            SessionEnd::ChannelClosed(reason) => format!("the server closed it: {reason}"),
            SessionEnd::Failed(error) => error.to_string(),
        };
        info!("channel closed ({reason}); {unanswered} submits stay unanswered");
        let written = self.run.journal.disconnected(&reason, unanswered);
        written.map_err(|source| journal_error(self.run.options, source))?;
        if matches!(end, SessionEnd::Stopped(_)) && !self.write_failed {
            self.say_goodbye().await;
        }
        Ok(end)
    }

    /// Best effort: the books are settled, so a failure changes nothing.
    async fn say_goodbye(mut self) {
        let Ok(reason_code) = Str0255Owned::try_from(b"miner stopped".to_vec()) else { return };
        let channel_id = self.work.channel().id;
        let message = MiningOwned::CloseChannel(CloseChannelOwned { channel_id, reason_code });
        if self.writer.queue(message).is_ok() {
            let _ = timeout(CLOSE_TIMEOUT, self.writer.close()).await;
        }
    }
}
