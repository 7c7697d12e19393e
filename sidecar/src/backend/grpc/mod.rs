//! The gRPC carrier: streams to a pool in another process, over a Unix socket or TCP.

mod dial;

use gopool_sv2_proto::v1::session_request::Message as ToPool;
use gopool_sv2_proto::v1::{SessionRequest, SessionResponse};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::carrier::{Carrier, Incoming, Outgoing, Received, Stream};
use super::link::Greeting;
use super::parcel::submit_batch;
use super::{Parcel, Share};
use dial::{broken, LinkError};
pub(crate) use dial::{Dialer, SinkDialer};

impl Carrier for Dialer {
    type Outgoing = mpsc::Sender<SessionRequest>;
    type Incoming = Streaming<SessionResponse>;
    type Error = LinkError;

    async fn dial(
        &self,
        left: Greeting,
    ) -> Result<Stream<Self::Outgoing, Self::Incoming>, LinkError> {
        // The dialer's own.
        Self::dial(self, left).await
    }
}

impl Outgoing for mpsc::Sender<SessionRequest> {
    async fn ready(&mut self) -> bool {
        self.reserve().await.is_ok()
    }

    fn send(&mut self, parcel: Parcel) -> Option<Vec<Share>> {
        let (message, spare) = match parcel {
            Parcel::Shares(shares) => (ToPool::SubmitBatch(submit_batch(&shares)), Some(shares)),
            Parcel::Message(message) => (message, None),
        };
        // There is room: nobody else sends. A stream that is over says so where it is read.
        let _ = self.try_send(SessionRequest { message: Some(message) });
        spare
    }
}

impl Incoming for Streaming<SessionResponse> {
    async fn receive(&mut self) -> Result<Option<Received>, String> {
        loop {
            match self.message().await.map_err(|status| broken(&status))? {
                Some(SessionResponse { message: Some(message) }) => {
                    return Ok(Some(Received::Message(message)));
                }
                // What a newer pool says and this one doesn't know.
                Some(SessionResponse { message: None }) => {}
                None => return Ok(None),
            }
        }
    }
}
