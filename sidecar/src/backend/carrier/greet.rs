//! The first exchange on a stream, whatever carries it: Hello and Welcome.

use bytes::Bytes;
use gopool_sv2_proto::v1::{self, session_response};
use gopool_sv2_proto::PROTOCOL;
use rand::RngCore as _;

use crate::backend::convert;
use crate::backend::link::{Greeting, Life};
use crate::types::TargetLimits;

/// What of a Welcome can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) enum Breach {
    /// The pool speaks this version.
    Version(String),
    /// In words.
    Contract(String),
}

/// How this process introduces itself: the same on every stream of its session.
#[derive(Debug)]
pub(in crate::backend) struct Introduction {
    hello: v1::Hello,
}

fn random_id() -> Bytes {
    let mut id = [0; 16];
    rand::thread_rng().fill_bytes(&mut id);
    Bytes::copy_from_slice(&id)
}

impl Introduction {
    pub(in crate::backend) fn new(sidecar_id: &str, max_in_flight: usize) -> Self {
        Self {
            hello: v1::Hello {
                protocol: PROTOCOL,
                sidecar_id: sidecar_id.to_owned(),
                boot_id: random_id(),
                session_id: random_id(),
                last_epoch: Bytes::new(),
                max_in_flight: u32::try_from(max_in_flight).unwrap_or(u32::MAX),
                cancelled_submit_ids: Vec::new(),
                open_channel_ids: Vec::new(),
                software: concat!("gopool-sv2/", env!("CARGO_PKG_VERSION")).into(),
                dial: 0,
            },
        }
    }

    /// The Hello of one try.
    pub(in crate::backend) fn hello(&self, left: Greeting) -> v1::Hello {
        v1::Hello {
            last_epoch: left.last_epoch,
            cancelled_submit_ids: left.withdrawn,
            open_channel_ids: left.open,
            dial: left.dial,
            ..self.hello.clone()
        }
    }

    /// Takes the pool's first message, which must be a Welcome that fits the Hello with this
    /// `last_epoch`.
    pub(in crate::backend) fn welcomed(
        &self,
        last_epoch: &[u8],
        first: Option<session_response::Message>,
    ) -> Result<(TargetLimits, Life), Breach> {
        let breach = |text: &str| Breach::Contract(text.into());
        let Some(session_response::Message::Welcome(welcome)) = first else {
            return Err(breach("the first message is not a Welcome"));
        };
        if welcome.protocol != PROTOCOL {
            return Err(Breach::Version(welcome.protocol.to_string()));
        }
        if welcome.verdict_ring < self.hello.max_in_flight {
            return Err(Breach::Contract(format!(
                "its verdict ring ({}) is smaller than [limits].max_in_flight ({})",
                welcome.verdict_ring, self.hello.max_in_flight
            )));
        }
        let limits =
            convert::limits(&welcome).map_err(|error| Breach::Contract(error.to_string()))?;
        if welcome.epoch.is_empty() {
            return Err(breach("Welcome.epoch is empty"));
        }
        if welcome.resumed && welcome.epoch != last_epoch {
            return Err(breach("Welcome.resumed is true, and Welcome.epoch is not that of before"));
        }
        Ok((limits, Life { epoch: welcome.epoch, resumed: welcome.resumed }))
    }
}
