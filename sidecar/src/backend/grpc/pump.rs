//! Moves messages both ways while a stream lasts.

use std::collections::VecDeque;
use std::time::Duration;

use gopool_sv2_proto::v1::session_request::Message as ToPool;
use gopool_sv2_proto::v1::{Drain, SessionRequest, SessionResponse};
use tokio::sync::{mpsc, watch};
use tokio::time::{timeout, Instant};
use tonic::Streaming;

use super::dial::{broken, LinkError, Stream};
use super::watchdog::Watchdog;
use super::GrpcLink;
use crate::backend::link::MAX_BATCH;
use crate::obs::Place;
use crate::sys::stopped;

/// Messages that may wait for the transport before no more are taken from the pool: a pool that
/// asks without reading must not fill our memory.
pub(crate) const PENDING_MAX: usize = 4 * MAX_BATCH;
/// A restarted pool that can't have a channel back yet, for want of work, say, is asked again after
/// this.
pub(crate) const RETRY: Duration = Duration::from_millis(500);
/// How long the pool may take to hear that we stop.
const LEAVE: Duration = Duration::from_secs(1);

impl GrpcLink {
    /// Runs until the stream ends; `None`: we are stopping and nobody is attached any more.
    pub(super) async fn pump(
        &mut self,
        stream: Stream,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<LinkError> {
        let Stream { outgoing, mut incoming, limits, life } = stream;
        let mut pending: VecDeque<ToPool> = VecDeque::new();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut made = Vec::new();
        // Before what it makes possible.
        self.directory.link_up(limits);
        self.link.welcomed(&life, &mut made);
        let begun = Instant::now();
        let mut was_full = false;
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(self.verdict_timeout / 2);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watchdog = Watchdog::default();
        let mut written = 0;
        loop {
            pending.extend(made.drain(..));
            if pending.is_empty() && self.link.is_drained() {
                return Some(LinkError::Drained);
            }
            let room = if pending.is_empty() { self.link.room() } else { 0 };
            let full = self.link.room() == 0;
            if full && !was_full {
                self.bounds.full(Place::InFlight);
            }
            was_full = full;
            self.bounds.depth(Place::InFlight, self.link.in_flight());
            self.bounds.depth(Place::Commands, self.commands.len());
            tokio::select! {
                message = incoming.message(), if pending.len() < PENDING_MAX => match message {
                    Ok(Some(message)) => {
                        if let Some(message) = message.message {
                            self.link.receive(message, &mut made);
                            self.link.reopen(&mut made);
                        }
                    }
                    Ok(None) => return Some(LinkError::Ended),
                    Err(status) => return Some(LinkError::Broken(broken(&status))),
                },
                taken = self.commands.recv_many(&mut batch, room), if room > 0 => {
                    if taken == 0 {
                        break;
                    }
                    self.link.send(batch.drain(..), &mut made);
                }
                permit = outgoing.reserve(), if !pending.is_empty() => {
                    let Ok(permit) = permit else { return Some(LinkError::Ended) };
                    permit.send(SessionRequest { message: pending.pop_front() });
                    written += 1;
                }
                _ = look.tick() => {
                    if watchdog.bites(&self.link, !pending.is_empty(), written) {
                        return Some(LinkError::Silent(self.verdict_timeout));
                    }
                }
                _ = retry.tick(), if self.link.is_reopening() => {
                    self.link.retry(begun.elapsed() >= self.patience.lost, &mut made);
                }
                () = stopped(stop) => break,
            }
        }
        take_leave(outgoing, incoming).await;
        None
    }
}

/// Tells the pool that the session is over, so that it keeps nothing for it.
async fn take_leave(
    outgoing: mpsc::Sender<SessionRequest>,
    mut incoming: Streaming<SessionResponse>,
) {
    let drain = Drain { grace_ms: 0, reason: "the sidecar stops".into() };
    let message = Some(ToPool::Drain(drain));
    let leave = async move {
        if outgoing.send(SessionRequest { message }).await.is_ok() {
            drop(outgoing);
            while let Ok(Some(_)) = incoming.message().await {}
        }
    };
    // A pool that is deaf notices the end of the connection.
    let _ = timeout(LEAVE, leave).await;
}
