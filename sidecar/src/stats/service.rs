//! The sink of events: `EventService` of the contract, at version 1.

use std::sync::Arc;
use std::time::Duration;

use gopool_sv2_proto::v1::event_service_server::EventService;
use gopool_sv2_proto::v1::publish_request::Message as FromSidecar;
use gopool_sv2_proto::v1::publish_response::Message as ToSidecar;
use gopool_sv2_proto::v1::{EventAck, PublishReady, PublishRequest, PublishResponse, PublishStart};
use gopool_sv2_proto::{PROTOCOL, PROTOCOL_HEADER};
use tokio::sync::{mpsc, watch, Semaphore};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::figures::Figures;
use super::ingest::{Source, Start};
use super::store::Store;
use super::Clock;
use crate::obs::printable;
use crate::sys::stopped;

/// Events of one message at most (the contract's bound).
const BATCH_MAX: usize = 1_024;
/// Streams at a time.
const STREAMS_MAX: usize = 256;
/// How long the first message of a stream may take.
const FIRST: Duration = Duration::from_secs(10);
/// Longest name of a sidecar, in characters.
const NAME_MAX: usize = 64;

/// What serves streams. Cheap to clone.
#[derive(Clone)]
pub(super) struct Service {
    store: Store,
    clock: Clock,
    figures: Arc<Figures>,
    seats: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// A stream that is open. Its end is noted wherever that comes from.
struct Present {
    sidecar: String,
    figures: Arc<Figures>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.figures.leave(&self.sidecar);
    }
}

impl Service {
    pub(super) fn new(store: Store, clock: Clock, stopping: watch::Receiver<bool>) -> Self {
        let figures = store.figures();
        Self { store, clock, figures, seats: Arc::new(Semaphore::new(STREAMS_MAX)), stopping }
    }

    /// Reads a stream to its end, which is an error unless the sidecar ended it.
    async fn flow(
        &self,
        incoming: &mut Streaming<PublishRequest>,
        answers: &mpsc::Sender<Result<PublishResponse, Status>>,
    ) -> Result<(), Status> {
        let first = timeout(FIRST, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no PublishStart came"))??;
        let Some(PublishRequest { message: Some(FromSidecar::Start(start)) }) = first else {
            return Err(Status::invalid_argument("the first message is not PublishStart"));
        };
        let start = checked(start)?;
        let sidecar = start.sidecar.clone();
        let (source, have_seq) = self.store.start(start, (self.clock)()).await.map_err(refused)?;
        let software = format!("gopool-sv2 stats {}", env!("CARGO_PKG_VERSION"));
        let ready = PublishReady { protocol: PROTOCOL, have_seq, software };
        answer(answers, ToSidecar::Ready(ready)).await?;
        tracing::info!(sidecar, have_seq, "a sidecar publishes its events");
        self.figures.enter(&sidecar, (self.clock)());
        let _present = Present { sidecar: sidecar.clone(), figures: Arc::clone(&self.figures) };
        let end = self.batches(source, have_seq, incoming, answers).await;
        match &end {
            Ok(()) => tracing::info!(sidecar, "a sidecar publishes no more"),
            Err(status) => {
                tracing::warn!(sidecar, reason = status.message(), "a stream of events ends");
            }
        }
        end
    }

    async fn batches(
        &self,
        source: Source,
        mut have: u64,
        incoming: &mut Streaming<PublishRequest>,
        answers: &mpsc::Sender<Result<PublishResponse, Status>>,
    ) -> Result<(), Status> {
        while let Some(request) = incoming.message().await? {
            let batch = match request.message {
                Some(FromSidecar::Batch(batch)) => batch,
                Some(FromSidecar::Start(_)) => {
                    return Err(Status::invalid_argument("a second PublishStart"));
                }
                // A newer sidecar may say more.
                None => continue,
            };
            let events = batch.events;
            if events.is_empty() || events.len() > BATCH_MAX {
                return Err(Status::invalid_argument("a batch has 1 to 1024 events"));
            }
            let rising = events.windows(2).all(|pair| match pair {
                [one, next] => one.seq < next.seq,
                _ => true,
            });
            let good = |seq: u64| seq > 0 && i64::try_from(seq).is_ok();
            if !rising || !events.iter().all(|event| good(event.seq)) {
                return Err(Status::invalid_argument("the numbers of a batch do not rise"));
            }
            let last = events.last().map_or(0, |event| event.seq);
            self.store.events(source, events, (self.clock)()).await.map_err(refused)?;
            // One that repeats itself is told what is there.
            have = have.max(last);
            answer(answers, ToSidecar::Ack(EventAck { seq: have })).await?;
        }
        Ok(())
    }
}

async fn answer(
    answers: &mpsc::Sender<Result<PublishResponse, Status>>,
    message: ToSidecar,
) -> Result<(), Status> {
    let sent = answers.send(Ok(PublishResponse { message: Some(message) })).await;
    sent.map_err(|_| Status::cancelled("the sidecar is gone"))
}

fn refused(error: super::writer::Unwritten) -> Status {
    Status::unavailable(error.0)
}

/// What a stream says of itself, if it can be used.
fn checked(start: PublishStart) -> Result<Start, Status> {
    if start.protocol != PROTOCOL {
        let text = format!("this is version {PROTOCOL} of the contract: use programs that fit");
        return Err(Status::failed_precondition(text));
    }
    let sidecar = start.sidecar_id;
    let printable_ascii = sidecar.bytes().all(|byte| byte.is_ascii_graphic());
    if sidecar.is_empty() || sidecar.len() > NAME_MAX || !printable_ascii {
        let shown = printable(sidecar.as_bytes());
        let text = format!("{shown} is no name of a sidecar: see [pool].sidecar_id of its file");
        return Err(Status::invalid_argument(text));
    }
    if start.source_id.len() != 16 || start.first_seq == 0 {
        return Err(Status::invalid_argument("PublishStart names no sequence"));
    }
    let source_id = start.source_id.to_vec();
    Ok(Start { sidecar, source_id, durable: start.durable, first_seq: start.first_seq })
}

#[tonic::async_trait]
impl EventService for Service {
    type PublishStream = ReceiverStream<Result<PublishResponse, Status>>;

    async fn publish(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        let spoken = request.metadata().get(PROTOCOL_HEADER);
        if spoken.is_none_or(|value| value.as_bytes() != PROTOCOL.to_string().as_bytes()) {
            let text = format!("{PROTOCOL_HEADER} must be {PROTOCOL}: use programs that fit");
            return Err(Status::failed_precondition(text));
        }
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        let seat = seat.map_err(|_| Status::resource_exhausted("too many streams are open"))?;
        let (answers, receiver) = mpsc::channel(4);
        let (service, mut incoming) = (self.clone(), request.into_inner());
        let mut stopping = self.stopping.clone();
        tokio::spawn(async move {
            let end = tokio::select! {
                end = service.flow(&mut incoming, &answers) => end,
                () = stopped(&mut stopping) => {
                    Err(Status::unavailable("the statistics service stops"))
                }
            };
            if let Err(status) = end {
                service.figures.stream_failed();
                // A sidecar that is gone needs no reason.
                let _ = answers.try_send(Err(status));
            }
            drop(seat);
        });
        let mut response = Response::new(ReceiverStream::new(receiver));
        response.metadata_mut().insert(PROTOCOL_HEADER, PROTOCOL.into());
        Ok(response)
    }
}
