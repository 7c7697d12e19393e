//! Whom the attacks go for, and from where.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gopool_sv2_tests::attacker::{connect_from, Attacker};

/// A peer that is not read from any more, and can't write, is asked again after this.
const WRITE: Duration = Duration::from_millis(500);

/// The listener and the addresses to come from. Shared by all attacks.
#[derive(Debug)]
pub struct Aim {
    server: SocketAddr,
    /// Whom to open channels for.
    pub user: String,
    connections: AtomicU32,
}

impl Aim {
    /// At a listener on loopback.
    pub fn new(server: SocketAddr, user: String) -> Self {
        Self { server, user, connections: AtomicU32::new(0) }
    }

    /// A bare connection, from the next address of 127.2.0.0/16.
    pub fn socket(&self) -> TcpStream {
        let index = self.connections.fetch_add(1, Ordering::Relaxed);
        // None ends in 0 or 255.
        let [.., high, low] = ((index / 250) << 8 | (index % 250 + 1)).to_be_bytes();
        let socket = connect_from([127, 2, high, low], self.server);
        socket.set_write_timeout(Some(WRITE)).unwrap();
        socket
    }

    /// A peer that did the handshake.
    pub fn peer(&self) -> Attacker {
        Attacker::on(self.socket())
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}
