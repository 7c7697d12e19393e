//! Moves messages both ways while a stream lasts.

use std::collections::VecDeque;

use gopool_sv2_proto::v1::{session_request::Message as ToPool, SessionRequest};
use tokio::sync::watch;

use super::dial::{broken, LinkError, Stream};
use super::GrpcLink;
use crate::backend::link::MAX_BATCH;
use crate::sys::stopped;

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
        loop {
            let room = if pending.is_empty() { self.link.room() } else { 0 };
            tokio::select! {
                message = incoming.message() => match message {
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
                }
                () = stopped(stop) => return None,
            }
            pending.extend(made.drain(..));
        }
    }
}
