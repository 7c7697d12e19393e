//! Moves messages both ways while a stream lasts.

use std::collections::VecDeque;

use gopool_sv2_proto::v1::{session_request::Message as ToPool, SessionRequest};
use tokio::sync::watch;

use super::dial::{broken, LinkError, Stream};
use super::GrpcLink;
use crate::backend::link::MAX_BATCH;
use crate::sys::stopped;

/// Messages that may wait for the transport before no more are taken from the pool: a pool that
/// asks without reading must not fill our memory.
const PENDING_MAX: usize = 4 * MAX_BATCH;

impl GrpcLink {
    /// Runs until the stream ends; `None`: we are stopping and nobody is attached any more.
    pub(super) async fn pump(
        &mut self,
        stream: Stream,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<LinkError> {
        let Stream { outgoing, mut incoming, .. } = stream;
        let mut pending: VecDeque<ToPool> = VecDeque::new();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut made = Vec::new();
        let mut watchdog = tokio::time::interval(self.verdict_timeout / 2);
        watchdog.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What was sent before the last tick but one, and still waits, is late.
        let (mut mark, mut next_mark) = (0, 0);
        let (mut written, mut written_then, mut stuck) = (0_u64, 0, 0);
        loop {
            if pending.is_empty() && self.link.is_drained() {
                return Some(LinkError::Drained);
            }
            let room = if pending.is_empty() { self.link.room() } else { 0 };
            tokio::select! {
                message = incoming.message(), if pending.len() < PENDING_MAX => match message {
                    Ok(Some(message)) => {
                        if let Some(message) = message.message {
                            self.link.receive(message, &mut made);
                        }
                    }
                    Ok(None) => return Some(LinkError::Ended),
                    Err(status) => return Some(LinkError::Broken(broken(&status))),
                },
                taken = self.commands.recv_many(&mut batch, room), if room > 0 => {
                    if taken == 0 {
                        return None;
                    }
                    self.link.send(batch.drain(..), &mut made);
                }
                permit = outgoing.reserve(), if !pending.is_empty() => {
                    let Ok(permit) = permit else { return Some(LinkError::Ended) };
                    permit.send(SessionRequest { message: pending.pop_front() });
                    written += 1;
                }
                _ = watchdog.tick() => {
                    let (oldest, next) = self.link.waiting_since();
                    let moves = pending.is_empty() || written != written_then;
                    stuck = if moves { 0 } else { stuck + 1 };
                    if stuck > 2 || oldest.is_some_and(|oldest| oldest < mark) {
                        return Some(LinkError::Silent(self.verdict_timeout));
                    }
                    (mark, next_mark) = (next_mark, next);
                    written_then = written;
                }
                () = stopped(stop) => return None,
            }
            pending.extend(made.drain(..));
        }
    }
}
