//! Events to the pool's EventService, on a connection of their own: bulk never shares a stream with
//! work.

use std::time::Duration;

use gopool_sv2_proto::v1::event_service_client::EventServiceClient;
use gopool_sv2_proto::v1::{publish_request, PublishRequest, PublishResponse, PublishStart};
use gopool_sv2_proto::{PROTOCOL, PROTOCOL_HEADER};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};

use super::wire::{connect, Complaint, Wire};
use super::{broken, spoken, Dialer, LinkError};
use crate::event::{Stream, Way};

/// An open stream.
#[derive(Debug)]
pub(crate) struct Publishing {
    outgoing: mpsc::Sender<PublishRequest>,
    incoming: Streaming<PublishResponse>,
    takes_none: bool,
}

impl Way for Dialer {
    type Stream = Publishing;
    type Error = LinkError;

    async fn begin(&self, start: PublishStart) -> Result<Publishing, LinkError> {
        let patience = Duration::from_millis(self.pool.connect_timeout_ms);
        let opened = async {
            let (wire, complaint) = connect(&self.pool, patience).await?;
            self.publish(start, wire, &complaint).await
        };
        timeout(patience, opened).await.map_err(|_| LinkError::Timeout(patience))?
    }

    fn takes_none(&self, error: &LinkError) -> bool {
        matches!(error, LinkError::NoEvents)
    }
}

impl Dialer {
    async fn publish(
        &self,
        start: PublishStart,
        wire: Box<dyn Wire>,
        complaint: &Complaint,
    ) -> Result<Publishing, LinkError> {
        let channel = self.http2(wire).await.map_err(|error| self.closed(&error, complaint))?;
        let (outgoing, receiver) = mpsc::channel(1);
        let start = publish_request::Message::Start(start);
        // There is room: nothing was sent yet.
        let _ = outgoing.try_send(PublishRequest { message: Some(start) });
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert(PROTOCOL_HEADER, PROTOCOL.into());
        let answered = EventServiceClient::new(channel).publish(request).await;
        let response = answered.map_err(|status| match status.code() {
            Code::Unimplemented => LinkError::NoEvents,
            _ => self.status(&status, complaint),
        })?;
        spoken(response.metadata())?;
        Ok(Publishing { outgoing, incoming: response.into_inner(), takes_none: false })
    }
}

impl Stream for Publishing {
    async fn send(&mut self, message: PublishRequest) -> bool {
        self.outgoing.send(message).await.is_ok()
    }

    async fn receive(&mut self) -> Result<Option<PublishResponse>, String> {
        self.incoming.message().await.map_err(|status| match status.code() {
            Code::Unimplemented => {
                self.takes_none = true;
                LinkError::NoEvents.to_string()
            }
            _ => broken(&status),
        })
    }

    fn takes_none(&self) -> bool {
        self.takes_none
    }
}
