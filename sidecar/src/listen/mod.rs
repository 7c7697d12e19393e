//! The port: accept, admit, hand over. Parses no byte of SV2.

mod admission;
mod proxy;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{timeout_at, Instant};
use tracing::Instrument as _;

pub use admission::{Admission, Refusal, Refused, TELL_EVERY};
pub use proxy::{read as read_proxy_header, ProxyError, HEADER_MAX};

use crate::config::Listen;
use crate::obs::{self, Counts};
use crate::session::{self, Context, Peer};
use crate::sys::stopped;
use crate::types::{ConnId, Network, Seats};

/// How much longer than for their last answers the connections may take to end when we stop: for
/// their last words.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// An idle peer is asked for a sign of life after this long: one that lost its power says nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// The distance of further questions, until the system gives the peer up.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Connections accepted at a time, then others have their turn: when thousands come at once each
/// takes as long as several shares.
const ACCEPTS: u64 = 16;
/// Pause after accept failed for want of descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    door: Door,
    proxies: Vec<Network>,
    max_connections: usize,
}

impl Listener {
    /// Binds `listen.address`, or takes over `inherited`, which must listen there; keeps the limits
    /// of `listen`.
    ///
    /// # Errors
    /// The address is in use, not ours, or not allowed to this user; or `inherited` listens
    /// elsewhere (`InvalidInput`).
    pub async fn bind(
        listen: &Listen,
        inherited: Option<StdListener>,
        counts: Counts,
    ) -> io::Result<Self> {
        let socket = match inherited {
            Some(inherited) => taken_over(inherited, listen.address)?,
            None => TcpListener::bind(listen.address).await?,
        };
        Ok(Self {
            socket,
            door: Door::new(listen, counts),
            proxies: listen.proxy_protocol_from.clone(),
            max_connections: listen.max_connections,
        })
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
        let drain = Duration::from_millis(context.limits.drain_timeout_ms);
        let patience = drain.saturating_add(STOP_MARGIN);
        let (mut next_id, mut in_a_row) = (1, 0);
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
            in_a_row = (in_a_row + 1) % ACCEPTS;
            if in_a_row == 0 {
                yield_now().await;
            }
            match accepted {
                Ok((stream, peer)) => {
                    context.counts.connections.accepted.one();
                    let Some(seat) = self.door.seat(peer.ip()) else { continue };
                    let conn = ConnId(next_id);
                    next_id += 1;
                    set_options(&stream);
                    let newcomer = Newcomer { stream, peer, conn, arrived: Instant::now() };
                    let trusted = self.proxies.iter().any(|net| net.contains(peer.ip()));
                    let (door, context, stop) = (self.door.clone(), context.clone(), stop.clone());
                    if trusted {
                        tokio::spawn(behind_proxy(newcomer, seat, door, context, stop));
                    } else if let Some(place) = door.enter(peer.ip()) {
                        tokio::spawn(serve(newcomer, (seat, place), context, stop));
                    }
                }
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        context.counts.stopping.set(1);
        drop(self.socket);
        let all = u32::try_from(self.max_connections).unwrap_or(u32::MAX);
        // Every permit back: every connection has ended.
        if tokio::time::timeout(patience, self.door.permits.acquire_many(all)).await.is_err() {
            let left = self.max_connections - self.door.permits.available_permits();
            tracing::warn!(connections = left, "did not end in time");
        }
    }
}

/// A socket that was bound by somebody else, who keeps it open when we go.
fn taken_over(inherited: StdListener, wanted: SocketAddr) -> io::Result<TcpListener> {
    let bound = inherited.local_addr()?;
    if bound != wanted {
        let text = format!("the socket handed over (LISTEN_FDS) listens on {bound}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    inherited.set_nonblocking(true)?;
    TcpListener::from_std(inherited)
}

/// Admission with its clock. Cheap to clone.
#[derive(Debug, Clone)]
struct Door {
    permits: Arc<Semaphore>,
    /// Held for a few steps without a wait; by the listener and by connections that end.
    admission: Arc<Mutex<Admission>>,
    opened: Instant,
    max: usize,
    counts: Counts,
}

impl Door {
    fn new(listen: &Listen, counts: Counts) -> Self {
        Self {
            max: listen.max_connections,
            counts,
            permits: Arc::new(Semaphore::new(listen.max_connections)),
            admission: Arc::new(Mutex::new(Admission::new(listen))),
            opened: Instant::now(),
        }
    }

    /// One of all connections; `None`: it is to be closed, and was counted.
    fn seat(&self, ip: IpAddr) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        self.count();
        if permit.is_none() {
            self.counts.bounds.full(obs::Place::Connections);
            self.refuse(ip, Refusal::Full);
        }
        permit
    }

    /// A place for a connection of `ip`; `None`: it is to be closed, and was counted.
    fn enter(&self, ip: IpAddr) -> Option<Place> {
        let admitted = self.books().admit(ip, self.opened.elapsed());
        match admitted {
            Ok(channels) => Some(Place { door: self.clone(), ip, channels }),
            Err(why) => {
                self.refuse(ip, why);
                None
            }
        }
    }

    fn refuse(&self, ip: IpAddr, why: Refusal) {
        self.counts.connections.refused.one(why.as_str());
        self.books().refused(ip, why);
        self.tell();
    }

    fn count(&self) {
        let open = self.max.saturating_sub(self.permits.available_permits());
        self.counts.bounds.depth(obs::Place::Connections, open);
    }

    fn tell(&self) {
        self.count();
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

/// What a connection holds of its address's share until it ends.
#[derive(Debug)]
struct Place {
    door: Door,
    ip: IpAddr,
    /// Where the channels of its address are counted.
    channels: Seats,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.books().leave(self.ip);
    }
}

/// A connection that was accepted.
struct Newcomer {
    stream: TcpStream,
    peer: SocketAddr,
    conn: ConnId,
    arrived: Instant,
}

fn set_options(stream: &TcpStream) {
    // Without it small answers wait for the peer's delayed acknowledgements: 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "SO_KEEPALIVE");
    }
}

/// Serves a connection of a trusted load balancer, under the address that it names. The header
/// shares the handshake's deadline.
async fn behind_proxy(
    mut newcomer: Newcomer,
    seat: OwnedSemaphorePermit,
    door: Door,
    context: Context,
    mut stop: watch::Receiver<bool>,
) {
    let proxy = newcomer.peer;
    let deadline = context.acceptor.deadline(newcomer.arrived);
    let read = tokio::select! {
        read = timeout_at(deadline, proxy::read(&mut newcomer.stream)) => read,
        () = stopped(&mut stop) => return,
    };
    match read {
        Ok(Ok(source)) => newcomer.peer = source.unwrap_or(proxy),
        Ok(Err(error)) => {
            context.counts.connections.handshakes.one("proxy-header");
            return tracing::info!(%proxy, %error, "connection refused");
        }
        Err(_) => {
            context.counts.connections.handshakes.one("proxy-header");
            return tracing::info!(%proxy, "connection refused: no PROXY header in time");
        }
    }
    if let Some(place) = door.enter(newcomer.peer.ip()) {
        serve(newcomer, (seat, place), context, stop).await;
    }
}

/// Serves a connection that was admitted.
async fn serve(
    newcomer: Newcomer,
    places: (OwnedSemaphorePermit, Place),
    context: Context,
    stop: watch::Receiver<bool>,
) {
    let Newcomer { stream, peer, conn, arrived } = newcomer;
    let span = tracing::info_span!("conn", id = conn.0, %peer, protocol = "stratum_v2");
    let peer = Peer { conn, address: peer.to_string(), channels: places.1.channels.clone() };
    session::run(stream, arrived, peer, context, stop).instrument(span).await;
    drop(places);
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

#[cfg(test)]
mod tests;
