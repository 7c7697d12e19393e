//! The way to a sink of events on this machine that is not the pool: the stats service.

use std::fmt;

use gopool_sv2_proto::v1::PublishStart;

use super::publish::Publishing;
use super::{Dialer, LinkError};
use crate::config::{Pool, SinkAddress};
use crate::event::Way;

/// Opens streams to the stats service.
#[derive(Debug)]
pub(crate) struct SinkDialer(Dialer);

impl SinkDialer {
    /// To this address.
    pub(crate) fn new(address: &SinkAddress) -> Self {
        // How long to wait, and how often to ask whether it is there, as with the pool.
        let like_the_pool = Pool { address: address.clone().into(), ..Pool::default() };
        Self(Dialer::new(&like_the_pool, 0))
    }
}

impl fmt::Display for SinkDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Way for SinkDialer {
    type Stream = Publishing;
    type Error = SinkError;

    async fn begin(&self, start: PublishStart) -> Result<Publishing, SinkError> {
        self.0.begin(start).await.map_err(|error| SinkError::new(&self.to_string(), error))
    }
}

/// Why there is no stream to the stats service. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    #[error(
        "nobody listens on {0}: start the stats service (`gopool-sv2 stats`), or correct \
             [stats].sink or its `events`"
    )]
    Nobody(String),
    #[error("may not open {0}: run the stats service as the same user, or let this one open it")]
    Permission(String),
    #[error("what listens on {0} is no stats service of this version: {1}")]
    Stranger(String, String),
    #[error("the stats service on {0}: {1}")]
    Refused(String, String),
    #[error("the stats service on {0} does not answer: look at its log")]
    Silent(String),
}

impl SinkError {
    fn new(address: &str, error: LinkError) -> Self {
        let address = address.to_owned();
        match error {
            LinkError::NoSocket(_) | LinkError::NobodyListens(_) | LinkError::PortClosed(_) => {
                Self::Nobody(address)
            }
            LinkError::Permission(_) => Self::Permission(address),
            LinkError::NoEvents => Self::Stranger(address, "it takes no events".into()),
            LinkError::Version(spoken) => {
                Self::Stranger(address, format!("it speaks contract {spoken}"))
            }
            LinkError::HungUp(_) | LinkError::ClosedAtOnce(_) => {
                Self::Stranger(address, "it closed the connection".into())
            }
            LinkError::Refused(text) => Self::Refused(address, text),
            LinkError::Timeout(_) | LinkError::NoConnection { .. } => Self::Silent(address),
            other => Self::Refused(address, other.to_string()),
        }
    }
}
