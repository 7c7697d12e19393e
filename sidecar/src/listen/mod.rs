//! The port: accept, admit, hand over. Parses no byte of SV2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{watch, OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

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
    permits: Arc<Semaphore>,
    max_connections: usize,
}

impl Listener {
    /// Binds. `max_connections`: open at once; further ones are closed as they come.
    ///
    /// # Errors
    /// The address is in use, not ours, or not allowed to this user.
    pub async fn bind(address: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { socket, permits: Arc::new(Semaphore::new(max_connections)), max_connections })
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
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                        tracing::debug!(%peer, "refused: [listen].max_connections is reached");
                        continue;
                    };
                    let conn = ConnId(next_id);
                    next_id += 1;
                    spawn(stream, peer, conn, permit, context.clone(), stop.clone());
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
        if tokio::time::timeout(STOP, self.permits.acquire_many(all)).await.is_err() {
            let left = self.max_connections - self.permits.available_permits();
            tracing::warn!(connections = left, "did not end in time");
        }
    }
}

fn spawn(
    stream: TcpStream,
    peer: SocketAddr,
    conn: ConnId,
    permit: OwnedSemaphorePermit,
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
        drop(permit);
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
