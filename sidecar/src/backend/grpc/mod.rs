//! The gRPC carrier: streams to a pool in another process, over a Unix socket or TCP.

mod codec;
mod dial;

use gopool_sv2_proto::v1::{SessionRequest, SessionResponse};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::carrier::{Carrier, Incoming, Outgoing, Received, Stream};
use super::link::Greeting;
use super::{Parcel, Share};
use codec::{Piece, Writer};
use dial::{broken, LinkError};
pub(crate) use dial::{Dialer, SinkDialer};

impl Carrier for Dialer {
    type Outgoing = Sending;
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

/// What goes to the pool on one stream.
#[derive(Debug)]
pub(crate) struct Sending {
    pieces: mpsc::Sender<Piece>,
    writer: Writer,
}

impl Sending {
    fn new(pieces: mpsc::Sender<Piece>) -> Self {
        Self { pieces, writer: Writer::default() }
    }
}

impl Outgoing for Sending {
    async fn ready(&mut self) -> bool {
        self.pieces.reserve().await.is_ok()
    }

    fn send(&mut self, parcel: Parcel) -> Option<Vec<Share>> {
        let (piece, spare) = match parcel {
            Parcel::Shares(shares) => (Piece::Shares(self.writer.write(&shares)), Some(shares)),
            Parcel::Message(message) => {
                (Piece::Message(Box::new(SessionRequest { message: Some(message) })), None)
            }
        };
        // There is room: nobody else sends. A stream that is over says so where it is read.
        let _ = self.pieces.try_send(piece);
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
