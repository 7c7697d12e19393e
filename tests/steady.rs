//! What a share allocates in the sidecar once the line over gRPC runs, by who asks for it. On the
//! way of a share of our own code it is as in the library (`ffi/tests/steady`): nothing. Alone in
//! its program: it counts what the whole process allocates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../ffi/tests/steady/counting.rs"]
mod counting;
#[path = "../ffi/tests/steady/miner.rs"]
mod miner;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use gopool_sv2::app::Sidecar;
use gopool_sv2::config::Config;
use gopool_sv2_proto::v1::work_service_server::{WorkService, WorkServiceServer};
use gopool_sv2_proto::v1::{self, SessionRequest, SessionResponse};
use gopool_sv2_proto::{PROTOCOL, PROTOCOL_HEADER};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use v1::session_request::Message as FromSidecar;
use v1::session_response::Message as ToSidecar;

use counting::{count, Counting};
use miner::Miner;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Shares before any is counted: queues find their size.
const WARM_UP: u32 = 5_000;
/// Shares that are counted.
const SHARES: u32 = 20_000;
/// Allocations of ours in all of them: now and then there is more room for messages to lie in.
const OURS: u64 = 100;

/// Messages with shares that the pool got.
static MESSAGES: AtomicU64 = AtomicU64::new(0);

/// A pool that accepts.
#[derive(Debug)]
struct Pool;

#[tonic::async_trait]
impl WorkService for Pool {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (answers, receiver) = mpsc::channel(16);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let Some(answer) = message.message.and_then(answer) else { continue };
                let message = Some(answer);
                if answers.send(Ok(SessionResponse { message })).await.is_err() {
                    return;
                }
            }
        });
        let mut response = Response::new(ReceiverStream::new(receiver));
        response.metadata_mut().insert(PROTOCOL_HEADER, PROTOCOL.into());
        Ok(response)
    }
}

fn answer(message: FromSidecar) -> Option<ToSidecar> {
    match message {
        FromSidecar::Hello(hello) => Some(ToSidecar::Welcome(v1::Welcome {
            protocol: hello.protocol,
            epoch: vec![7; 16].into(),
            easiest_target: vec![0xff; 32].into(),
            verdict_ring: hello.max_in_flight,
            ..v1::Welcome::default()
        })),
        FromSidecar::OpenChannel(wish) => Some(ToSidecar::ChannelOpened(v1::ChannelOpened {
            channel_id: wish.channel_id,
            extranonce_prefix: vec![5; 4].into(),
            extranonce_size: 8,
            target: vec![0xff; 32].into(),
            job: Some(miner::job()),
        })),
        FromSidecar::SubmitBatch(batch) => {
            MESSAGES.fetch_add(1, Ordering::Relaxed);
            let verdicts = batch.submits.iter().map(|submit| v1::Verdict {
                submit_id: submit.id,
                accepted: true,
                credit_whole: 1,
                share_hash: vec![9; 32].into(),
                ..v1::Verdict::default()
            });
            Some(ToSidecar::VerdictBatch(v1::VerdictBatch { verdicts: verdicts.collect() }))
        }
        _ => None,
    }
}

/// A pool's runtime, with a pool that listens there.
fn pool(socket: &Path) -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).thread_name("pool").enable_all().build().unwrap();
    let listener = runtime.block_on(async { UnixListener::bind(socket).unwrap() });
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let calls = TowerToHyperService::new(WorkServiceServer::new(Pool));
            let builder = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), calls));
        }
    });
    runtime
}

#[test]
fn a_share_of_the_steady_state_allocates_nothing_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    gopool_sv2::keys::generate(&folder.path().join("authority.key")).unwrap();
    let _pool = pool(&folder.path().join("pool.sock"));
    let toml = b"[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = \"authority.key\"\n\
                 [pool]\naddress = \"unix:pool.sock\"\n";
    let config = Config::from_bytes(toml, &folder.path().join("sidecar.toml")).unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_name("gsv2").enable_all().build().unwrap();
    // On a thread of the runtime, as all that it starts.
    let start = runtime.spawn(async { Sidecar::start(config).await.unwrap() });
    let sidecar = runtime.block_on(start).unwrap();
    let mut miner = Miner::connect(sidecar.address());
    miner.open();
    while !miner.is_open() {
        // The link is not up yet.
        std::thread::sleep(std::time::Duration::from_millis(50));
        miner.open();
    }
    let mut mine = |shares: u32, window: u32| {
        for _ in 0..shares / window {
            miner.submit(window);
            miner.accepted(window);
        }
    };
    for window in [1, 16, 250] {
        mine(WARM_UP, window);
        MESSAGES.store(0, Ordering::Relaxed);
        let counted = count(|| mine(SHARES, window));
        let messages = MESSAGES.load(Ordering::Relaxed);
        let what = format!("{SHARES} shares, {window} at a time, in {messages} messages");
        counted.print(&what, u64::from(SHARES));
        // The stacks that were kept are those of the first shares; and threads make room once.
        let ours = counted.estimated(counted.ours);
        assert!(ours <= OURS, "{ours}: GOPOOL_SV2_STACKS=1 shows where");
    }
    runtime.block_on(sidecar.stop());
}
