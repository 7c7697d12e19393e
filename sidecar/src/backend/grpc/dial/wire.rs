//! The connection below HTTP/2: a Unix socket, TCP, or TLS on TCP.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{lookup_host, TcpStream, UnixStream};
use tokio::time::{timeout_at, Instant};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::Error as TlsError;

use super::{tls, LinkError};
use crate::config::{Pool, PoolAddress};

/// Most reads after a failed write, each of 1 KiB: what the pool sent before it hung up is short.
const LAST_READS: usize = 64;

/// What HTTP/2 runs on.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The first thing that TLS complained of on a connection. A server that refuses our certificate
/// says so after the handshake (RFC 8446, 4.4.2.4), to whoever reads next, and HTTP/2 doesn't
/// repeat it.
pub(super) type Complaint = Arc<Mutex<Option<TlsError>>>;

/// Connects, and makes a TLS session when the address wants one. After `patience` it gives up, and
/// says what it was waiting for.
pub(super) async fn connect(
    pool: &Pool,
    patience: Duration,
) -> Result<(Box<dyn Wire>, Complaint), LinkError> {
    let deadline = Instant::now() + patience;
    let (complaint, address) = (Complaint::default(), pool.address.to_string());
    let wire: Box<dyn Wire> = match &pool.address {
        PoolAddress::Unix(path) => {
            let connecting = timeout_at(deadline, UnixStream::connect(path)).await;
            let stream = connecting.map_err(|_| LinkError::Timeout(patience))?;
            Box::new(stream.map_err(|error| socket(path, error))?)
        }
        PoolAddress::Tcp(to) => {
            let connecting = timeout_at(deadline, tcp(&address, &[*to])).await;
            Box::new(connecting.map_err(|_| LinkError::NoConnection { address, after: patience })??)
        }
        PoolAddress::Tls { host, port } => {
            let connecting = timeout_at(deadline, resolved(&address, host, *port)).await;
            let late = |_| LinkError::NoConnection { address: address.clone(), after: patience };
            let stream = connecting.map_err(late)??;
            let name = pool.tls.server_name.as_ref().unwrap_or(host);
            let session =
                timeout_at(deadline, tls::connect(&pool.tls, name, &address, stream)).await;
            let silent =
                |_| LinkError::HandshakeSilent { address: address.clone(), after: patience };
            let stream = session.map_err(silent)??;
            Box::new(Heard { stream, complaint: Arc::clone(&complaint) })
        }
    };
    Ok((wire, complaint))
}

/// What keeps a Unix socket from being opened.
pub(super) fn socket(path: &Path, error: io::Error) -> LinkError {
    let path = path.to_path_buf();
    match error.kind() {
        io::ErrorKind::NotFound => LinkError::NoSocket(path),
        io::ErrorKind::PermissionDenied => LinkError::Permission(path),
        io::ErrorKind::ConnectionRefused => LinkError::NobodyListens(path),
        _ => LinkError::Socket(path, error),
    }
}

async fn resolved(address: &str, host: &str, port: u16) -> Result<TcpStream, LinkError> {
    let nowhere = |error| LinkError::NoHost { address: address.to_owned(), error };
    let found: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(nowhere)?.collect();
    if found.is_empty() {
        return Err(nowhere(io::Error::other("the name has no address")));
    }
    tcp(address, &found).await
}

/// Connects to the first of `to` that takes it.
async fn tcp(address: &str, to: &[SocketAddr]) -> Result<TcpStream, LinkError> {
    let address = || address.to_owned();
    let stream = TcpStream::connect(to).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => LinkError::PortClosed(address()),
        _ => LinkError::Unreachable { address: address(), error },
    })?;
    // A share must not wait for the next one.
    stream
        .set_nodelay(true)
        .map_err(|error| LinkError::Unreachable { address: address(), error })?;
    Ok(stream)
}

/// A session that keeps what TLS complained of.
struct Heard {
    stream: TlsStream<TcpStream>,
    complaint: Complaint,
}

impl Heard {
    fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        let Poll::Ready(Err(error)) = polled else { return };
        let Some(error) = tls::rustls_error(error) else { return };
        self.complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| error.clone());
    }

    /// Notes what a write came to. When it failed because the pool has hung up, the reason may
    /// wait to be read, and nobody would.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.note(&polled);
        if matches!(polled, Poll::Ready(Err(_))) {
            let mut space = [0; 1024];
            for _ in 0..LAST_READS {
                let mut last = ReadBuf::new(&mut space);
                let read = Pin::new(&mut self.stream).poll_read(cx, &mut last);
                self.note(&read);
                if !matches!(read, Poll::Ready(Ok(()))) || last.filled().is_empty() {
                    break;
                }
            }
        }
        polled
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(&polled);
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
