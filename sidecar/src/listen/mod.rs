//! The port: accept, admit, hand over. Parses no byte of SV2.

mod admission;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

pub use admission::{Admission, Refusal, Refused, TELL_EVERY};

use crate::config::Listen;
use crate::session::{self, Context};
use crate::sys::stopped;
use crate::types::ConnId;

/// How long the connections may take to end when we stop: what each of them is granted for its last
/// answers and words, and a margin.
const STOP: Duration = Duration::from_secs(10);
/// An idle peer is asked for a sign of life after this long: one that lost its power says nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// The distance of further questions, until the system gives the peer up.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Pause after accept failed for want of descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    door: Door,
    max_connections: usize,
}

impl Listener {
    /// Binds `listen.address`, and keeps the limits of `listen`.
    ///
    /// # Errors
    /// The address is in use, not ours, or not allowed to this user.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        let socket = TcpListener::bind(listen.address).await?;
        Ok(Self { socket, door: Door::new(listen), max_connections: listen.max_connections })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop` is true, then waits for the connections to end.
    pub async fn run(self, context: Context, mut stop: watch::Receiver<bool>) {
        let mut next_id = 1;
        let mut tell = tokio::time::interval(TELL_EVERY);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = tell.tick() => {
                    self.door.tell();
                    continue;
                }
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = self.door.enter(peer.ip()) else { continue };
                    let conn = ConnId(next_id);
                    next_id += 1;
                    spawn(stream, peer, conn, place, context.clone(), stop.clone());
                }
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        let all = u32::try_from(self.max_connections).unwrap_or(u32::MAX);
        // Every permit back: every connection has ended.
        if tokio::time::timeout(STOP, self.door.permits.acquire_many(all)).await.is_err() {
            let left = self.max_connections - self.door.permits.available_permits();
            tracing::warn!(connections = left, "did not end in time");
        }
    }
}

/// Admission with its clock. Cheap to clone.
#[derive(Debug, Clone)]
struct Door {
    permits: Arc<Semaphore>,
    /// Held for a few steps without a wait; by the listener and by connections that end.
    admission: Arc<Mutex<Admission>>,
    opened: Instant,
}

impl Door {
    fn new(listen: &Listen) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(listen.max_connections)),
            admission: Arc::new(Mutex::new(Admission::new(listen))),
            opened: Instant::now(),
        }
    }

    /// A place for a connection from `ip`; `None`: it is to be closed, and was counted.
    fn enter(&self, ip: IpAddr) -> Option<Place> {
        let admitted = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => self.books().admit(ip, self.opened.elapsed()).map(|()| permit),
            Err(_) => Err(Refusal::Full),
        };
        match admitted {
            Ok(permit) => Some(Place { door: self.clone(), ip, _permit: permit }),
            Err(why) => {
                self.books().refused(ip, why);
                self.tell();
                None
            }
        }
    }

    fn tell(&self) {
        let refused = self.books().tell(self.opened.elapsed());
        if let Some(refused) = refused {
            tracing::warn!("{refused}");
        }
    }

    fn books(&self) -> MutexGuard<'_, Admission> {
        // Its steps leave it whole wherever they end.
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection holds until it ends.
#[derive(Debug)]
struct Place {
    door: Door,
    ip: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.books().leave(self.ip);
    }
}

fn spawn(
    stream: TcpStream,
    peer: SocketAddr,
    conn: ConnId,
    place: Place,
    context: Context,
    stop: watch::Receiver<bool>,
) {
    // Without it small answers wait for the peer's delayed acknowledgements: 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "SO_KEEPALIVE");
    }
    let span = tracing::info_span!("conn", id = conn.0, %peer, protocol = "stratum_v2");
    let serve = async move {
        session::run(stream, conn, peer.to_string(), context, stop).await;
        drop(place);
    };
    tokio::spawn(serve.instrument(span));
}

/// The connection was gone before we took it.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
