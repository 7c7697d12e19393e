//! Addresses for servers that come and go.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A loopback address that the system gives to nobody who asks for any port, while this lives.
/// Who names it can listen there, again and again, as servers do (with `SO_REUSEADDR`); as long as
/// nobody does, who dials it is refused.
#[derive(Debug)]
pub struct HeldAddress {
    /// Bound, and never listening.
    _socket: TcpSocket,
    address: SocketAddr,
}

impl HeldAddress {
    /// Takes a free one.
    ///
    /// # Errors
    /// The system gives none.
    pub fn take() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        Ok(Self { _socket: socket, address })
    }

    /// Which it is.
    #[must_use]
    pub const fn get(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for HeldAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_held_address_refuses_whenever_nobody_listens_there() {
        let held = HeldAddress::take().unwrap();
        for _ in 0..3 {
            let refused = TcpStream::connect(held.get()).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(held.get()).await.unwrap();
            let (dialled, accepted) =
                tokio::join!(TcpStream::connect(held.get()), listener.accept());
            drop((dialled.unwrap(), accepted.unwrap()));
        }
    }
}
