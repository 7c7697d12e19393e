//! A sink of events: the other end of `[stats].sink`, which keeps what it gets in memory and can be
//! killed and started again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gopool_sv2_proto::v1::event::Event;
use gopool_sv2_proto::v1::event_service_server::{EventService, EventServiceServer};
use gopool_sv2_proto::v1::publish_request::Message as FromSidecar;
use gopool_sv2_proto::v1::publish_response::Message as ToSidecar;
use gopool_sv2_proto::v1::{self, PublishRequest, PublishResponse};
use gopool_sv2_proto::{PROTOCOL, PROTOCOL_HEADER};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::Result;

/// What it does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Keeps it and says so.
    Good,
    /// Keeps nothing and says nothing.
    NeverAcks,
    /// Says that it has what nobody sent.
    Lies,
    /// Answers with bytes that are no HTTP/2.
    Garbage,
}

/// What a sink has of one source.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Highest number it has.
    pub seq: u64,
    /// The events, each once, in order.
    pub events: Vec<v1::Event>,
    /// How often a stream went on behind a gap.
    pub gaps: usize,
    /// Streams of it.
    pub streams: usize,
}

type Books = Arc<Mutex<BTreeMap<Vec<u8>, Kept>>>;

fn lock(books: &Books) -> MutexGuard<'_, BTreeMap<Vec<u8>, Kept>> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sink; what it has outlives its kills.
#[derive(Debug)]
pub struct EventSink {
    path: PathBuf,
    manner: Manner,
    books: Books,
    runtime: Option<Runtime>,
}

impl EventSink {
    /// Listens on a Unix socket.
    ///
    /// # Errors
    /// The socket can't be opened.
    pub fn start(path: &Path, manner: Manner) -> Result<Self> {
        let (path, books) = (path.to_path_buf(), Books::default());
        let mut sink = Self { path, manner, books, runtime: None };
        sink.start_again()?;
        Ok(sink)
    }

    /// Ends it at once, with its connections.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again, with what it had.
    ///
    /// # Errors
    /// As [`EventSink::start`].
    pub fn start_again(&mut self) -> Result<()> {
        self.kill();
        if self.path.exists() {
            fs::remove_file(&self.path)?;
        }
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(async { UnixListener::bind(&self.path) })?;
        let (manner, books) = (self.manner, Arc::clone(&self.books));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner, Arc::clone(&books)));
            }
        });
        self.runtime = Some(runtime);
        Ok(())
    }

    /// What it has of the newest source that it heard of; empty: of none.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let newest = |kept: &&Kept| kept.events.first().map(|event| event.at_ms);
        lock(&self.books).values().max_by_key(newest).cloned().unwrap_or_default()
    }

    /// The events of it.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.kept().events.into_iter().filter_map(|event| event.event).collect()
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(mut stream: UnixStream, manner: Manner, books: Books) {
    if manner == Manner::Garbage {
        // The other end may have gone: that is what it is here for.
        let _ = stream.write_all(b"SSH-2.0-none\r\n").await;
        return;
    }
    let calls = TowerToHyperService::new(EventServiceServer::new(Calls { manner, books }));
    // A sidecar that goes breaks it.
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), calls)
        .await;
}

#[derive(Debug)]
struct Calls {
    manner: Manner,
    books: Books,
}

#[tonic::async_trait]
impl EventService for Calls {
    type PublishStream = ReceiverStream<std::result::Result<PublishResponse, Status>>;

    async fn publish(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> std::result::Result<Response<Self::PublishStream>, Status> {
        let (answers, receiver) = mpsc::channel(16);
        let (manner, books) = (self.manner, Arc::clone(&self.books));
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            let mut source = Vec::new();
            while let Ok(Some(message)) = incoming.message().await {
                let Some(message) = message.message else { continue };
                if manner == Manner::NeverAcks && !matches!(message, FromSidecar::Start(_)) {
                    continue;
                }
                let answer = keep(&books, &mut source, message, manner);
                if answers.send(Ok(PublishResponse { message: Some(answer) })).await.is_err() {
                    return;
                }
            }
        });
        let mut response = Response::new(ReceiverStream::new(receiver));
        response.metadata_mut().insert(PROTOCOL_HEADER, PROTOCOL.into());
        Ok(response)
    }
}

/// Keeps what is new of a message, and says what it has then.
fn keep(books: &Books, source: &mut Vec<u8>, message: FromSidecar, manner: Manner) -> ToSidecar {
    let mut books = lock(books);
    match message {
        FromSidecar::Start(start) => {
            *source = start.source_id.to_vec();
            let kept = books.entry(source.clone()).or_default();
            kept.streams += 1;
            if start.first_seq > kept.seq + 1 {
                kept.gaps += 1;
            }
            let have_seq = kept.seq;
            let software = "sink of tests".into();
            ToSidecar::Ready(v1::PublishReady { protocol: PROTOCOL, have_seq, software })
        }
        FromSidecar::Batch(batch) => {
            let kept = books.entry(source.clone()).or_default();
            for event in batch.events.into_iter() {
                if event.seq > kept.seq {
                    kept.seq = event.seq;
                    kept.events.push(event);
                }
            }
            let lie = if manner == Manner::Lies { 1_000_000 } else { 0 };
            ToSidecar::Ack(v1::EventAck { seq: kept.seq + lie })
        }
    }
}
