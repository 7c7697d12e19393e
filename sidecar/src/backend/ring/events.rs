//! The way of events to a pool in this process.

use std::fmt;
use std::sync::Arc;

use gopool_sv2_proto::v1;
use v1::publish_request::Message as ToSink;

use super::state::Shared;
use crate::event::{Stream, Way};

/// Begins streams of events on a ring.
///
/// One message waits for the pool at a time: while it is not taken nothing is read from where
/// events come from, so that a pool that takes none costs the memory of one.
#[derive(Debug)]
pub struct RingEvents {
    shared: Arc<Shared>,
}

/// An open stream of events.
#[derive(Debug)]
pub struct RingPublishing {
    shared: Arc<Shared>,
    stream: u32,
    answered: bool,
    takes_none: bool,
}

impl RingEvents {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl fmt::Display for RingEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in this process")
    }
}

impl Way for RingEvents {
    type Stream = RingPublishing;
    type Error = &'static str;

    async fn begin(&self, start: v1::PublishStart) -> Result<RingPublishing, &'static str> {
        let stream = self.shared.begin_publishing();
        let start = v1::PublishRequest { message: Some(ToSink::Start(start)) };
        self.shared.publish(stream, &start);
        let shared = self.shared.clone();
        Ok(RingPublishing { shared, stream, answered: false, takes_none: false })
    }
}

impl Stream for RingPublishing {
    async fn send(&mut self, message: v1::PublishRequest) -> bool {
        loop {
            match self.shared.can_publish(self.stream) {
                Some(true) => break,
                Some(false) => self.shared.published.notified().await,
                None => return false,
            }
        }
        self.shared.publish(self.stream, &message);
        true
    }

    async fn receive(&mut self) -> Result<Option<v1::PublishResponse>, String> {
        loop {
            match self.shared.answer(self.stream) {
                Ok(Some(answer)) => {
                    self.answered = true;
                    return Ok(Some(v1::PublishResponse { message: Some(answer) }));
                }
                Ok(None) => self.shared.published.notified().await,
                Err(_) if self.answered => return Ok(None),
                Err(unheard) => {
                    self.takes_none = unheard;
                    let text = if unheard {
                        "the pool hung up at once: it takes no events (give it a place for them: \
                         Options.Events of ffihost)"
                    } else {
                        "the pool hung up before PublishReady: its log says why"
                    };
                    return Err(text.to_owned());
                }
            }
        }
    }

    fn takes_none(&self) -> bool {
        self.takes_none
    }
}

impl Drop for RingPublishing {
    fn drop(&mut self) {
        self.shared.finish_publishing(self.stream);
    }
}
