//! Reaching the pool: socket, HTTP/2, version, Hello and Welcome, each failure with its remedy.

mod error;
mod publish;
mod sink;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::fmt;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use gopool_sv2_proto::v1::{self, session_request, SessionRequest};
use gopool_sv2_proto::{PROTOCOL, PROTOCOL_HEADER};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{timeout_at, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::codec::{LinkCodec, Piece};
use super::Sending;
use crate::backend::carrier::{Breach, Introduction, Stream};
use crate::backend::link::Greeting;
use crate::config::{Pool, PoolAddress};
pub(super) use error::LinkError;
pub(crate) use sink::SinkDialer;
use wire::{Complaint, Wire};

/// Messages the transport may hold before it has sent them: the fewer, the fuller the batches.
const OUTGOING: usize = 1;
/// Longest message accepted from the pool: a full batch of the largest jobs.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The call that a stream is (`gopool.sv2.v1.WorkService`).
const SESSION: &str = "/gopool.sv2.v1.WorkService/Session";

type Dialled = Stream<Sending, Streaming<v1::SessionResponse>>;

/// Opens streams to one pool.
#[derive(Debug)]
pub(crate) struct Dialer {
    pool: Pool,
    introduction: Introduction,
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.address.fmt(f)
    }
}

impl Dialer {
    /// `max_in_flight`: most submits that wait for a verdict at a time.
    pub(crate) fn new(pool: &Pool, max_in_flight: usize) -> Self {
        Self {
            pool: pool.clone(),
            introduction: Introduction::new(&pool.sidecar_id, max_in_flight),
        }
    }

    /// One try to begin a stream that takes up what an earlier one left.
    pub(super) async fn dial(&self, left: Greeting) -> Result<Dialled, LinkError> {
        let hello = self.introduction.hello(left);
        let patience = Duration::from_millis(self.pool.connect_timeout_ms);
        let deadline = Instant::now() + patience;
        let (wire, complaint) = wire::connect(&self.pool, patience).await?;
        timeout_at(deadline, self.greet(hello, wire, &complaint))
            .await
            .map_err(|_| LinkError::Timeout(patience))?
    }

    async fn greet(
        &self,
        hello: v1::Hello,
        wire: Box<dyn Wire>,
        complaint: &Complaint,
    ) -> Result<Dialled, LinkError> {
        let last_epoch = hello.last_epoch.clone();
        let channel = self.http2(wire).await.map_err(|error| self.closed(&error, complaint))?;
        let mut client = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let hello = session_request::Message::Hello(hello);
        let hello = SessionRequest { message: Some(hello) };
        // There is room: nothing was sent yet.
        let _ = outgoing.try_send(Piece::Message(Box::new(hello)));
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert(PROTOCOL_HEADER, PROTOCOL.into());
        client.ready().await.map_err(|error| self.closed(&error, complaint))?;
        let path = PathAndQuery::from_static(SESSION);
        let response = client.streaming(request, path, LinkCodec).await;
        let response = response.map_err(|s| self.status(&s, complaint))?;
        spoken(response.metadata())?;
        let mut incoming = response.into_inner();
        let first = incoming.message().await.map_err(|s| self.status(&s, complaint))?;
        let first = first.ok_or(LinkError::Ended)?.message;
        let (limits, life) =
            self.introduction.welcomed(&last_epoch, first).map_err(|breach| match breach {
                Breach::Version(spoken) => LinkError::Version(spoken),
                Breach::Contract(text) => LinkError::Contract(text),
            })?;
        Ok(Stream { outgoing: Sending::new(outgoing), incoming, limits, life })
    }

    async fn http2(&self, wire: Box<dyn Wire>) -> Result<Channel, tonic::transport::Error> {
        // HTTP/2 names a host in each call (RFC 9113, 8.3.1); a socket has none.
        let origin = match &self.pool.address {
            PoolAddress::Unix(_) => "http://localhost".to_owned(),
            PoolAddress::Tcp(address) => format!("http://{address}"),
            PoolAddress::Tls { host, port } if host.contains(':') => {
                format!("https://[{host}]:{port}")
            }
            PoolAddress::Tls { host, port } => format!("https://{host}:{port}"),
        };
        // Once: when it is lost, a new attempt begins, not another connection behind our back.
        let mut wire = Some(TokioIo::new(wire));
        let connector = tower::service_fn(move |_| {
            std::future::ready(
                wire.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)),
            )
        });
        Endpoint::from_shared(origin)?
            .http2_keep_alive_interval(Duration::from_millis(self.pool.keepalive_interval_ms))
            .keep_alive_timeout(Duration::from_millis(self.pool.keepalive_timeout_ms))
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
    }

    /// The connection was lost before the pool answered.
    fn closed(&self, error: &dyn std::error::Error, complaint: &Complaint) -> LinkError {
        tracing::debug!(error = %chain(error), "the connection failed");
        let address = self.to_string();
        if let Some(error) = &*complaint.lock().unwrap_or_else(PoisonError::into_inner) {
            return tls::explain(&address, error);
        }
        match &self.pool.address {
            PoolAddress::Unix(path) => LinkError::ClosedAtOnce(path.clone()),
            PoolAddress::Tls { .. } | PoolAddress::Tcp(_) => LinkError::HungUp(address),
        }
    }

    fn status(&self, status: &Status, complaint: &Complaint) -> LinkError {
        match status.code() {
            Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::ResourceExhausted => LinkError::Refused(status.message().to_owned()),
            Code::Unimplemented => LinkError::Version("no WorkService".into()),
            // No word of the pool's: the transport failed.
            Code::Unavailable | Code::Unknown | Code::Cancelled => self.closed(status, complaint),
            _ => LinkError::Broken(broken(status)),
        }
    }
}

/// The pool's answer says that it speaks our version.
fn spoken(answer: &MetadataMap) -> Result<(), LinkError> {
    let spoken = answer.get(PROTOCOL_HEADER).map(|value| value.to_str().unwrap_or("?"));
    if spoken == Some(PROTOCOL.to_string().as_str()) {
        return Ok(());
    }
    Err(LinkError::Version(spoken.unwrap_or("none stated").to_owned()))
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
