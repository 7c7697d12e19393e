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
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::door::{serve, Patience};
use super::gate::{Gate, Token, TokenError};
use super::seats::Seats;
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
    /// Connections at a time. Beyond that the one goes that has longest not been let in.
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
            let name = hall.name;
            if let Err(error) = runtime.block_on(run(socket, hall, stop)) {
                tracing::error!(%error, "the {name} address is not served any more");
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
    // From its first moment: who has connected stays connected.
    let before = umask(Mode::from_raw_mode(0o077));
    let socket = StdUnix::bind(path);
    umask(before);
    let socket = socket?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn run(socket: Socket, hall: Hall, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let seats = Arc::new(Seats::new(hall.connections));
    let (served, mut all_served) = mpsc::channel(1);
    let hall = Seated { seats, hall, stop: stop.clone(), served };
    let mut trouble = Trouble::new("an HTTP address takes no connection");
    let (tcp, unix, path) = match socket {
        Socket::Tcp(socket) => (Some(TcpListener::from_std(socket)?), None, None),
        Socket::Unix(socket, path) => (None, Some(UnixListener::from_std(socket)?), Some(path)),
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
            Ok(()) => {
                trouble.over();
                // Who has to make room is gone before another is let in.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                trouble.log(&error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // What nobody listens on only confuses. Later it could be another's.
    if let Some(path) = path {
        let _ = fs::remove_file(path);
    }
    drop(hall);
    // Those that don't end in time are cut off with their runtime.
    let _ = timeout(LAST, all_served.recv()).await;
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
    seats: Arc<Seats>,
    hall: Hall,
    stop: watch::Receiver<bool>,
    /// Goes with the last connection.
    served: mpsc::Sender<()>,
}

impl Seated {
    /// Serves a connection in a task of its own.
    fn admit<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&self, stream: S) {
        let (router, stop) = (self.hall.router.clone(), self.stop.clone());
        let (patience, served) = (self.hall.patience, self.served.clone());
        let (seats, seat) = (Arc::clone(&self.seats), self.seats.take());
        tokio::spawn(async move {
            serve(stream, router, Arc::clone(&seat), stop, patience).await;
            seats.give_back(&seat);
            drop(served);
        });
    }
}
