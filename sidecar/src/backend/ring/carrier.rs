//! The listener's end of the ring.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gopool_sv2_proto::v1::session_request::Message as ToPool;
use tokio::time::timeout;

use super::events::RingEvents;
use super::state::Shared;
use crate::backend::carrier::{
    Breach, Carrier, Incoming, Introduction, Outgoing, Received, Stream,
};
use crate::backend::link::Greeting;
use crate::backend::{Parcel, Share};
use crate::config::Pool;
use crate::types::Verdict;

/// Begins streams on a ring.
#[derive(Debug)]
pub struct RingCarrier {
    shared: Arc<Shared>,
    introduction: Introduction,
    patience: Duration,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RingError {
    #[error(
        "the pool did not answer Hello within {0:?}: does it poll the ring, and is it not stuck?"
    )]
    NoWelcome(Duration),
    #[error("the pool ended the stream instead of a Welcome: its log may say why")]
    Ended,
    #[error("the pool speaks version {0} of the contract: link the library of its release")]
    Version(String),
    #[error("the pool breaks the contract: {0}")]
    Contract(String),
}

impl RingCarrier {
    pub(super) fn new(shared: Arc<Shared>, pool: &Pool, max_in_flight: usize) -> Self {
        Self {
            shared,
            introduction: Introduction::new(&pool.sidecar_id, max_in_flight),
            patience: Duration::from_millis(pool.connect_timeout_ms),
        }
    }

    /// The way of events to the same pool.
    #[must_use]
    pub fn events(&self) -> RingEvents {
        RingEvents::new(self.shared.clone())
    }
}

impl fmt::Display for RingCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in this process")
    }
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct RingOutgoing {
    shared: Arc<Shared>,
    stream: u32,
    /// A farewell is queued: the pool must see it before the end.
    leaving: bool,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct RingIncoming {
    shared: Arc<Shared>,
    stream: u32,
    /// Memory of verdicts that were received before.
    spare: Vec<(u64, Verdict)>,
}

impl Carrier for RingCarrier {
    type Outgoing = RingOutgoing;
    type Incoming = RingIncoming;
    type Error = RingError;

    async fn dial(
        &self,
        left: Greeting,
    ) -> Result<Stream<Self::Outgoing, Self::Incoming>, RingError> {
        let hello = self.introduction.hello(left);
        let last_epoch = hello.last_epoch.clone();
        let stream = self.shared.begin(hello);
        let mut incoming = RingIncoming { shared: self.shared.clone(), stream, spare: Vec::new() };
        let first = timeout(self.patience, incoming.receive())
            .await
            .map_err(|_| RingError::NoWelcome(self.patience))?;
        let first = match first {
            Ok(Some(Received::Message(message))) => Some(message),
            Ok(Some(Received::Verdicts(_))) => None,
            Ok(None) | Err(_) => return Err(RingError::Ended),
        };
        let (limits, life) =
            self.introduction.welcomed(&last_epoch, first).map_err(|breach| match breach {
                Breach::Version(spoken) => RingError::Version(spoken),
                Breach::Contract(text) => RingError::Contract(text),
            })?;
        let outgoing = RingOutgoing { shared: self.shared.clone(), stream, leaving: false };
        Ok(Stream { outgoing, incoming, limits, life })
    }
}

impl Outgoing for RingOutgoing {
    async fn ready(&mut self) -> bool {
        loop {
            match self.shared.has_room(self.stream) {
                Some(true) => return true,
                Some(false) => self.shared.room.notified().await,
                None => return false,
            }
        }
    }

    fn send(&mut self, parcel: Parcel) -> Option<Vec<Share>> {
        self.leaving |= matches!(parcel, Parcel::Message(ToPool::Drain(_)));
        self.shared.send(self.stream, parcel)
    }
}

impl Drop for RingOutgoing {
    fn drop(&mut self) {
        // After a farewell it is the pool that hangs up.
        match self.leaving {
            true => self.shared.say_no_more(self.stream),
            false => self.shared.finish(self.stream),
        }
    }
}

impl Incoming for RingIncoming {
    async fn receive(&mut self) -> Result<Option<Received>, String> {
        loop {
            match self.shared.receive(self.stream, &mut self.spare) {
                Ok(Some(received)) => return Ok(Some(received)),
                Ok(None) => self.shared.came.notified().await,
                Err(()) => return Ok(None),
            }
        }
    }

    fn reuse(&mut self, verdicts: Vec<(u64, Verdict)>) {
        self.spare = verdicts;
    }
}

impl Drop for RingIncoming {
    fn drop(&mut self) {
        self.shared.finish(self.stream);
    }
}
