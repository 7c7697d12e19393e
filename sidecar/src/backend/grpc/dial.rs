//! Reaching the pool: socket, HTTP/2, version, Hello and Welcome, each failure with its remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gopool_sv2_proto::v1::work_service_client::WorkServiceClient;
use gopool_sv2_proto::v1::{self, session_request, session_response, SessionRequest};
use gopool_sv2_proto::{PROTOCOL, PROTOCOL_HEADER};
use hyper_util::rt::TokioIo;
use rand::RngCore as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::backend::convert;
use crate::config::Pool;
use crate::types::TargetLimits;

/// Messages the transport may hold before it has sent them: the fewer, the fuller the batches.
const OUTGOING: usize = 1;
/// Longest message accepted from the pool: a full batch of the largest jobs.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Why there is no link. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(
        "no socket at {0}: is the pool running with its SV2 port enabled, and is [pool].address \
             the path it listens on?"
    )]
    NoSocket(PathBuf),
    #[error(
        "may not open {0}: add this process's user to the group of the socket, or to the pool's \
             allowed users"
    )]
    Permission(PathBuf),
    #[error("nobody listens on {0}: the pool is not running (the file is left over)")]
    NobodyListens(PathBuf),
    #[error("{0}: {1}")]
    Socket(PathBuf, io::Error),
    #[error(
        "the pool closed the connection on {0} at once: the user of this process is probably not \
             among those the pool allows"
    )]
    ClosedAtOnce(PathBuf),
    #[error("the pool did not answer within {0:?}")]
    Timeout(Duration),
    #[error(
        "the pool speaks another version of the contract ({0}); this sidecar speaks {PROTOCOL}: \
             update the older of the two"
    )]
    Version(String),
    #[error("the pool refused the session: {0}")]
    Refused(String),
    #[error("the pool breaks the contract: {0}")]
    Contract(String),
    #[error("the stream broke: {0}")]
    Broken(String),
    #[error("the pool ended the stream")]
    Ended,
    #[error(
        "the pool is connected but did not answer for {0:?}: see its log; is it stuck, or is \
             [pool].verdict_timeout_ms too short for it?"
    )]
    Silent(Duration),
}

/// An open stream that was greeted.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) outgoing: mpsc::Sender<SessionRequest>,
    pub(super) incoming: Streaming<v1::SessionResponse>,
    pub(super) limits: TargetLimits,
}

/// Opens streams to one pool.
#[derive(Debug)]
pub(super) struct Dialer {
    path: PathBuf,
    connect_timeout: Duration,
    keepalive: (Duration, Duration),
    hello: v1::Hello,
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path.display())
    }
}

fn random_id() -> Bytes {
    let mut id = [0; 16];
    rand::thread_rng().fill_bytes(&mut id);
    Bytes::copy_from_slice(&id)
}

impl Dialer {
    pub(super) fn new(pool: &Pool, max_in_flight: usize) -> Self {
        Self {
            path: pool.address.path().to_path_buf(),
            connect_timeout: Duration::from_millis(pool.connect_timeout_ms),
            keepalive: (
                Duration::from_millis(pool.keepalive_interval_ms),
                Duration::from_millis(pool.keepalive_timeout_ms),
            ),
            hello: v1::Hello {
                protocol: PROTOCOL,
                sidecar_id: pool.sidecar_id.clone(),
                boot_id: random_id(),
                session_id: Bytes::new(),
                last_epoch: Bytes::new(),
                max_in_flight: u32::try_from(max_in_flight).unwrap_or(u32::MAX),
                cancelled_submit_ids: Vec::new(),
                open_channel_ids: Vec::new(),
                software: concat!("gopool-sv2/", env!("CARGO_PKG_VERSION")).into(),
            },
        }
    }

    /// One try. Every stream is a session of its own: nothing is resumed.
    pub(super) async fn dial(&mut self) -> Result<Stream, LinkError> {
        self.hello.session_id = random_id();
        tokio::time::timeout(self.connect_timeout, self.open())
            .await
            .map_err(|_| LinkError::Timeout(self.connect_timeout))?
    }

    async fn open(&self) -> Result<Stream, LinkError> {
        let channel = self.connect().await?;
        let mut client = WorkServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let hello = session_request::Message::Hello(self.hello.clone());
        let hello = SessionRequest { message: Some(hello) };
        // There is room: nothing was sent yet.
        let _ = outgoing.try_send(hello);
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert(PROTOCOL_HEADER, PROTOCOL.into());
        let response = client.session(request).await.map_err(|s| self.status(&s))?;
        let spoken = response.metadata().get(PROTOCOL_HEADER).map(|v| v.to_str().unwrap_or("?"));
        if spoken != Some(PROTOCOL.to_string().as_str()) {
            return Err(LinkError::Version(spoken.unwrap_or("none stated").to_owned()));
        }
        let mut incoming = response.into_inner();
        let first = incoming.message().await.map_err(|s| self.status(&s))?;
        let first = first.ok_or(LinkError::Ended)?.message;
        let Some(session_response::Message::Welcome(welcome)) = first else {
            return Err(LinkError::Contract("the first message is not a Welcome".into()));
        };
        if welcome.protocol != PROTOCOL {
            return Err(LinkError::Version(welcome.protocol.to_string()));
        }
        if welcome.verdict_ring < self.hello.max_in_flight {
            return Err(LinkError::Contract(format!(
                "its verdict ring ({}) is smaller than [limits].max_in_flight ({})",
                welcome.verdict_ring, self.hello.max_in_flight
            )));
        }
        let limits =
            convert::limits(&welcome).map_err(|error| LinkError::Contract(error.to_string()))?;
        Ok(Stream { outgoing, incoming, limits })
    }

    async fn connect(&self) -> Result<Channel, LinkError> {
        // tonic wraps a connector's error beyond recognition: keep it beside.
        let failure: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let (path, kept) = (self.path.clone(), Arc::clone(&failure));
        let connector = tower::service_fn(move |_| {
            let (path, kept) = (path.clone(), Arc::clone(&kept));
            async move {
                match UnixStream::connect(&path).await {
                    Ok(stream) => Ok(TokioIo::new(stream)),
                    Err(error) => {
                        let kind = error.kind();
                        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        Err(io::Error::from(kind))
                    }
                }
            }
        });
        Endpoint::from_static("http://localhost")
            .http2_keep_alive_interval(self.keepalive.0)
            .keep_alive_timeout(self.keepalive.1)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(|error| {
                let failed = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                failed.map_or_else(|| self.closed(&error), |error| self.socket(error))
            })
    }

    fn socket(&self, error: io::Error) -> LinkError {
        let path = self.path.clone();
        match error.kind() {
            io::ErrorKind::NotFound => LinkError::NoSocket(path),
            io::ErrorKind::PermissionDenied => LinkError::Permission(path),
            io::ErrorKind::ConnectionRefused => LinkError::NobodyListens(path),
            _ => LinkError::Socket(path, error),
        }
    }

    fn closed(&self, error: &dyn std::error::Error) -> LinkError {
        tracing::debug!(error = %chain(error), "the connection failed");
        LinkError::ClosedAtOnce(self.path.clone())
    }

    fn status(&self, status: &Status) -> LinkError {
        match status.code() {
            Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::ResourceExhausted => LinkError::Refused(status.message().to_owned()),
            Code::Unimplemented => LinkError::Version("no WorkService".into()),
            // No word of the pool's: the transport failed.
            Code::Unavailable | Code::Unknown | Code::Cancelled => self.closed(status),
            _ => LinkError::Broken(broken(status)),
        }
    }
}

/// A status in words.
pub(super) fn broken(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
