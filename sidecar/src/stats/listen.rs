//! Where sidecars come in: HTTP/2 without encryption, on a Unix socket or a loopback port.

use std::fs;
use std::io;
use std::net::TcpListener as StdTcp;
use std::os::unix::net::UnixListener as StdUnix;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gopool_sv2_proto::v1::event_service_server::EventServiceServer;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{watch, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::service::Service;
use crate::config::EventsAddress;
use crate::http::{bind_tcp, bind_unix};
use crate::obs::Trouble;
use crate::sys::stopped;

/// Connections of sidecars at a time; further ones are closed as they come.
const CONNECTIONS: usize = 64;
/// Streams on one connection at a time.
const STREAMS: u32 = 16;
/// Longest metadata of a call, in bytes.
const METADATA_BYTES_MAX: u32 = 16 * 1024;
/// Longest message of a sidecar, in bytes.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// How often a silent connection is tried, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Pause after a connection could not be taken: the process has no file left, say.
const BREATH: Duration = Duration::from_millis(200);
/// How long streams may take to end when we stop.
const LAST: Duration = Duration::from_secs(3);

/// A bound address.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(StdTcp),
    Unix(StdUnix, PathBuf),
}

impl Bound {
    pub(super) fn bind(address: &EventsAddress) -> io::Result<Self> {
        match address {
            EventsAddress::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            EventsAddress::Unix(path) => {
                bind_unix(path).map(|socket| Self::Unix(socket, path.clone()))
            }
        }
    }

    /// As in the configuration; the port is the real one when 0 was asked for.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(socket) => {
                socket.local_addr().map(|at| format!("tcp:{at}")).unwrap_or_default()
            }
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Takes connections until the stop, and comes back when they are over.
    pub(super) async fn serve(
        self,
        service: Service,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let calls = EventServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut trouble = Trouble::new("no sidecar can connect");
        let (tcp, unix, path) = match self {
            Self::Tcp(socket) => (Some(TcpListener::from_std(socket)?), None, None),
            Self::Unix(socket, path) => (None, Some(UnixListener::from_std(socket)?), Some(path)),
        };
        loop {
            let accepted: io::Result<Box<dyn Wire>> = tokio::select! {
                accepted = async { match &tcp {
                    Some(socket) => socket.accept().await.map(|(stream, _)| Box::new(stream) as _),
                    None => std::future::pending().await,
                }} => accepted,
                accepted = async { match &unix {
                    Some(socket) => socket.accept().await.map(|(stream, _)| Box::new(stream) as _),
                    None => std::future::pending().await,
                }} => accepted,
                Some(_) = connections.join_next() => continue,
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok(stream) => {
                    trouble.over();
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let (calls, stop) = (calls.clone(), stop.clone());
                    connections.spawn(async move {
                        connection(stream, calls, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    trouble.log(&error);
                    sleep(BREATH).await;
                }
            }
        }
        let over = async { while connections.join_next().await.is_some() {} };
        if timeout(LAST, over).await.is_err() {
            tracing::debug!("connections of sidecars are cut");
        }
        // What nobody listens on only confuses.
        if let Some(path) = path {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

/// What HTTP/2 runs on.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Serves one connection to its end, or until the stop.
async fn connection(
    stream: Box<dyn Wire>,
    calls: EventServiceServer<Service>,
    mut stop: watch::Receiver<bool>,
) {
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(METADATA_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(calls));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of a sidecar broke");
    }
}
