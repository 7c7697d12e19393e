//! An HTTP address: a TCP port, or a Unix socket.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcp};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdUnix, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{watch, Semaphore};
use tokio::time::timeout;

use super::door::{serve, Patience};
use super::gate::{Gate, Token, TokenError};
use crate::config::{AdminAddress, KeyFile};
use crate::obs::Trouble;
use crate::sys::{logging_thread, stopped};

/// Pause after accept failed for want of descriptors, say: to try at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long connections may take to end when we stop.
const LAST: Duration = Duration::from_secs(6);

#[derive(Debug)]
enum Socket {
    Tcp(StdTcp),
    Unix(StdUnix, PathBuf),
}

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    gate: Gate,
}

/// Why an address can't be served. The texts don't name the settings they come from.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can't be bound; [`hint`] says what to do.
    #[error("{0}: {1}: {hint}", hint = hint(.1))]
    Bind(String, io::Error),
    /// The token can't be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// What is served on an address, and what that may cost.
#[derive(Debug, Clone)]
pub struct Hall {
    /// Name of the thread, and of the address in log lines.
    pub name: &'static str,
    /// What can be asked. Whoever makes it asks [`Listener::gate`] for each request.
    pub router: Router,
    /// Connections at a time; further ones are closed as they come.
    pub connections: usize,
    /// How long what may take.
    pub patience: Patience,
}

/// What to do when an address can't be bound.
#[must_use]
pub fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "something listens there: choose another address (`ss -ltnp` and `ss -lxp` name it)"
        }
        io::ErrorKind::PermissionDenied => "let this user write there, or choose another address",
        io::ErrorKind::NotFound => "make its directory first",
        _ => "choose another address",
    }
}

impl Listener {
    /// Reads the token, if there is to be one, and binds the address. Blocks on the disk for a
    /// moment.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(address: &AdminAddress, token_file: Option<&KeyFile>) -> Result<Self, BindError> {
        let token = token_file.map(Token::load).transpose()?;
        let failed = |error| BindError::Bind(address.to_string(), error);
        let (socket, open) = match address {
            AdminAddress::Tcp(address) => (bind_tcp(*address).map(Socket::Tcp), Gate::Loopback),
            AdminAddress::Unix(path) => {
                let bound = bind_unix(path).map(|socket| Socket::Unix(socket, path.clone()));
                (bound, Gate::Unix)
            }
        };
        Ok(Self { socket: socket.map_err(failed)?, gate: token.map_or(open, Gate::Token) })
    }

    /// Asks for a token from now on.
    #[cfg(test)]
    pub(crate) fn demand(&mut self, token: Token) {
        self.gate = Gate::Token(token);
    }

    /// Who may ask.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Where it listens, as in the configuration; the port is the real one when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().map(|at| at.to_string()).unwrap_or_default(),
            Socket::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// Serves on a thread of its own until `stop` is true.
    ///
    /// # Errors
    /// The system gives no thread, or none of what a runtime needs.
    pub fn start(
        self,
        hall: Hall,
        stop: watch::Receiver<bool>,
    ) -> io::Result<thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = self.socket;
        logging_thread(hall.name, move || {
            let path = match &socket {
                Socket::Unix(_, path) => Some(path.clone()),
                Socket::Tcp(_) => None,
            };
            let name = hall.name;
            if let Err(error) = runtime.block_on(run(socket, hall, stop)) {
                tracing::error!(%error, "the {name} address is not served any more");
            }
            // What nobody listens on only confuses.
            if let Some(path) = path {
                let _ = fs::remove_file(path);
            }
        })
    }
}

/// A TCP port that does not block.
///
/// # Errors
/// The system's.
pub fn bind_tcp(address: SocketAddr) -> io::Result<StdTcp> {
    let socket = StdTcp::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that only this user can open and that does not block. What a process that was killed
/// has left is removed.
///
/// # Errors
/// The system's.
pub fn bind_unix(path: &Path) -> io::Result<StdUnix> {
    let left = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if left && StdStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let socket = StdUnix::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn run(socket: Socket, hall: Hall, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let all = u32::try_from(hall.connections).unwrap_or(u32::MAX);
    let hall =
        Seated { places: Arc::new(Semaphore::new(hall.connections)), hall, stop: stop.clone() };
    let mut trouble = Trouble::new("an HTTP address takes no connection");
    let (tcp, unix) = match socket {
        Socket::Tcp(socket) => (Some(TcpListener::from_std(socket)?), None),
        Socket::Unix(socket, _) => (None, Some(UnixListener::from_std(socket)?)),
    };
    loop {
        let accepted = tokio::select! {
            accepted = from(tcp.as_ref().map(TcpListener::accept)) => {
                accepted.map(|(stream, _)| hall.admit(stream))
            }
            accepted = from(unix.as_ref().map(UnixListener::accept)) => {
                accepted.map(|(stream, _)| hall.admit(stream))
            }
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok(()) => trouble.over(),
            Err(error) => {
                trouble.log(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Those that don't end in time are cut off with their runtime.
    let _ = timeout(LAST, hall.places.acquire_many(all)).await;
    Ok(())
}

/// What comes from a socket; nothing ever comes from one that there isn't.
async fn from<T>(accept: Option<impl Future<Output = T>>) -> T {
    match accept {
        Some(accept) => accept.await,
        None => std::future::pending().await,
    }
}

/// A hall with its places.
struct Seated {
    places: Arc<Semaphore>,
    hall: Hall,
    stop: watch::Receiver<bool>,
}

impl Seated {
    /// Serves a connection in a task of its own, or closes it when there is no place.
    fn admit<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&self, stream: S) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let (router, stop) = (self.hall.router.clone(), self.stop.clone());
        let patience = self.hall.patience;
        tokio::spawn(async move {
            serve(stream, router, stop, patience).await;
            drop(place);
        });
    }
}
