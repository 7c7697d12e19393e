//! Connections of mints: TLS, HTTP/2, and an end that lets calls be answered.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gopool_sv2_proto::cdk_payment_processor::cdk_payment_processor_server as generated;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{watch, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, Instant};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use super::deposits::Deposits;
use super::service::Service;
use super::settings::{OpenError, Security};
use super::{stopped, tls, Figures};
use crate::types::{Bucket, Rate};

/// What each call is checked by.
pub(super) type Check = fn(Request<()>) -> Result<Request<()>, Status>;

type Calls<D> = InterceptedService<generated::CdkPaymentProcessorServer<Service<D>>, Check>;

/// Most connections that are still to show who they are.
const STRANGERS_MAX: usize = 64;
/// Most connections of mints.
const CONNECTIONS_MAX: usize = 16;
/// Most calls on one connection at a time.
const CALLS_MAX: u32 = 64;
/// Longest metadata of a call, in bytes.
const METADATA_BYTES_MAX: u32 = 16 * 1024;
/// Most connections of all.
pub const CONNECTIONS: usize = STRANGERS_MAX + CONNECTIONS_MAX;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a silent connection is tried, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Pause after a connection could not be taken: the process has no file left, say.
const BREATH: Duration = Duration::from_millis(100);
/// How long calls may go on after the stop.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Who gets in, and how.
#[derive(Debug)]
pub(super) struct Door {
    lock: Option<Lock>,
    figures: Arc<Figures>,
    said: Mutex<Bucket>,
    opened: Instant,
}

/// Mutual TLS.
#[derive(Debug)]
struct Lock {
    directory: PathBuf,
    pin: Option<[u8; 32]>,
    /// What the files gave when they could last be read.
    last: Mutex<Arc<ServerConfig>>,
}

/// What HTTP/2 runs on.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Door {
    /// Reads the certificates, if there are to be any.
    pub(super) async fn new(security: &Security, figures: Arc<Figures>) -> Result<Self, OpenError> {
        let lock = match security {
            Security::PlainOnLoopback => None,
            Security::Mutual { directory, client_sha256 } => {
                let last = Mutex::new(read(directory.clone()).await?);
                Some(Lock { directory: directory.clone(), pin: *client_sha256, last })
            }
        };
        Ok(Self { lock, figures, said: Mutex::default(), opened: Instant::now() })
    }

    /// Lets a connection in; an error says why not.
    async fn enter(&self, stream: TcpStream) -> io::Result<Box<dyn Wire>> {
        stream.set_nodelay(true)?;
        let Some(lock) = &self.lock else { return Ok(Box::new(stream)) };
        let config = match read(lock.directory.clone()).await {
            Ok(config) => {
                *lock.last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&config);
                config
            }
            Err(error) => {
                self.warn(|| tracing::warn!(%error, "the certificates read before are used on"));
                Arc::clone(&lock.last.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        match lock.pin {
            Some(pin) if !tls::is_pinned(stream.get_ref().1, &pin) => Err(io::Error::other(
                "the certificate is the authority's, but not the one that is pinned: correct the \
                 SHA-256 when the mint has a new one",
            )),
            _ => Ok(Box::new(stream)),
        }
    }

    /// Says something unless something was said just now: strangers may not fill the log.
    fn warn(&self, say: impl FnOnce()) {
        let rate = Rate::new(1, Duration::from_secs(10), 5);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.take(rate, 1, self.opened.elapsed()) {
            say();
        }
    }

    fn failed(&self, from: SocketAddr, why: &dyn std::fmt::Display) {
        self.figures.failed_connections.fetch_add(1, Relaxed);
        self.warn(|| {
            tracing::warn!(
                %from,
                "a connection to the payment processor failed: {why}; if it is the mint: do ca.pem \
                 and server.pem here go with ca.pem and client.pem there?"
            );
        });
    }
}

async fn read(directory: PathBuf) -> Result<Arc<ServerConfig>, OpenError> {
    let reading = tokio::task::spawn_blocking(move || tls::server_config(&directory)).await;
    reading.map_err(|error| OpenError::Certificate(error.to_string()))?
}

/// Takes connections until the stop, and comes back when they are over.
pub(super) async fn accept<D: Deposits>(
    listener: TcpListener,
    door: Door,
    calls: Calls<D>,
    mut stopping: watch::Receiver<bool>,
) {
    let door = Arc::new(door);
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let mints = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stopping) => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                door.warn(|| tracing::warn!(%error, "a connection of the mint can't be taken"));
                sleep(BREATH).await;
                continue;
            }
        };
        let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else {
            door.failed(from, &"too many others are connecting at the same time");
            continue;
        };
        let (door, mints) = (Arc::clone(&door), Arc::clone(&mints));
        let (calls, stopping) = (calls.clone(), stopping.clone());
        connections.spawn(async move {
            let wire = match timeout(HANDSHAKE, door.enter(stream)).await {
                Ok(Ok(wire)) => wire,
                Ok(Err(error)) => return door.failed(from, &error),
                Err(_) => return door.failed(from, &"it did not finish the TLS handshake"),
            };
            drop(stranger);
            let Ok(_seat) = mints.try_acquire() else {
                return door.failed(from, &"the mint has too many connections");
            };
            serve(wire, calls, stopping).await;
        });
    }
    drop(listener);
    let over = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_CALLS, over).await.is_err() {
        tracing::debug!("connections of the mint are cut");
    }
}

/// Serves one connection to its end, or until the stop.
async fn serve<D: Deposits>(
    wire: Box<dyn Wire>,
    calls: Calls<D>,
    mut stopping: watch::Receiver<bool>,
) {
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .max_header_list_size(METADATA_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .serve_connection(TokioIo::new(wire), TowerToHyperService::new(calls));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the mint broke");
    }
}
