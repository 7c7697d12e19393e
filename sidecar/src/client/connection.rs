//! TCP, Noise handshake, certificate: from an address to an encrypted connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codec_sv2::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{lookup_host, TcpSocket, TcpStream};
use tokio::time::{timeout_at, Instant};

use super::error::{ClientError, Stage};
use super::handshake::{Handshake, ACT_2_BYTES};
use super::io::{Reader, Writer};
use super::url::PoolUrl;

/// Waiting times of a connection, and where it comes from.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// From the first look-up of the name to the end of the handshake, all together. A server
    /// that trickles bytes cannot stretch it. Default 10 s.
    pub handshake_deadline: Duration,
    /// For the answer to SetupConnection and to each opening of a channel. Default 10 s.
    pub reply_timeout: Duration,
    /// The address of this machine to connect from; `None`, the default: the system chooses.
    pub source: Option<IpAddr>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self { handshake_deadline: ten, reply_timeout: ten, source: None }
    }
}

/// An encrypted connection to a server. [`Self::connect`] verifies its certificate.
#[derive(Debug)]
pub struct Connection {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) options: ConnectOptions,
    pub(super) next_request_id: u32,
}

impl Connection {
    /// Connects, runs the handshake and verifies the certificate against the authority of `url`.
    ///
    /// Errors: `Connect`, `Handshake`, `Certificate`, `Closed` (the server hung up on us) and
    /// `Timeout` with the stage that was too slow.
    pub async fn connect(url: &PoolUrl, options: &ConnectOptions) -> Result<Self, ClientError> {
        let deadline = Instant::now() + options.handshake_deadline;
        let late = |stage| ClientError::Timeout { stage, after: options.handshake_deadline };
        let refused = |source| ClientError::Connect { address: url.address(), source };
        let mut stream = timeout_at(deadline, dial(&url.address(), options.source))
            .await
            .map_err(|_| late(Stage::Connect))?
            .map_err(refused)?;
        // Submits are small and each one is worth sending at once.
        stream.set_nodelay(true).map_err(refused)?;
        let handshake = Handshake::new(url.authority())?;
        let act2 = timeout_at(deadline, exchange(&mut stream, handshake.act1()))
            .await
            .map_err(|_| late(Stage::Handshake))??;
        let transport = handshake.finish(&act2, unix_now())?;
        Ok(Self::new(stream, transport, options.clone()))
    }

    /// A connection whose handshake was made over `stream`, which holds nothing unread of it.
    pub fn new(stream: TcpStream, transport: Transport, options: ConnectOptions) -> Self {
        let (encrypt, decrypt) = transport.split();
        let (read, write) = stream.into_split();
        Self {
            reader: Reader::new(read, decrypt),
            writer: Writer::new(write, encrypt),
            options,
            next_request_id: 1,
        }
    }

    /// The two halves, for two tasks. Messages that came while an answer was awaited are not
    /// lost: the reader yields them first.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

/// A TCP connection to `address` (`host:port`, as a resolver takes it), from the address `source`
/// of this machine and a free port of it, when one is given. Only the host's addresses of the same
/// family as `source` are tried.
///
/// # Errors
/// The name has no address, or none of the family of `source`; `source` is not an address of this
/// machine; or what the last of the host's addresses said.
pub async fn dial(address: &str, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
    let text = format!("{address} has no {family} address that {source} could connect to");
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, text);
    for server in lookup_host(address).await?.filter(|to| to.is_ipv4() == source.is_ipv4()) {
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(source, 0))?;
        match socket.connect(server).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends act 1 and reads exactly act 2, so that what follows stays in the socket for the reader.
async fn exchange(stream: &mut TcpStream, act1: &[u8]) -> Result<[u8; ACT_2_BYTES], ClientError> {
    let closed = |e: io::Error| ClientError::Closed {
        stage: Stage::Handshake,
        source: (e.kind() != io::ErrorKind::UnexpectedEof).then_some(e),
    };
    stream.write_all(act1).await.map_err(closed)?;
    let mut act2 = [0; ACT_2_BYTES];
    stream.read_exact(&mut act2).await.map_err(closed)?;
    Ok(act2)
}

/// The clock in Unix seconds; 0 before 1970, the end of u32 after 2106.
pub(crate) fn unix_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
