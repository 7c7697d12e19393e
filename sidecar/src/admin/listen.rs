//! The admin address: a TCP port, or a Unix socket.

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

use super::door::{serve, Patience, CONNECTIONS};
use super::gate::{Gate, Token};
use super::routes::router;
use super::{AdminError, View};
use crate::config::{Admin, AdminAddress};
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

/// A bound admin address.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    gate: Gate,
}

/// What to do when it can't be bound.
pub(super) fn hint(error: &io::Error) -> &'static str {
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
    /// Reads the token and binds the address; `None`: there is none in the configuration. Blocks
    /// on the disk for a moment.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn bind(admin: &Admin) -> Result<Option<Self>, AdminError> {
        let Some(address) = &admin.listen else { return Ok(None) };
        let token = admin.token_file.as_ref().map(Token::load).transpose()?;
        let failed = |error| AdminError::Bind(address.to_string(), error);
        let (socket, open) = match address {
            AdminAddress::Tcp(address) => (bind_tcp(*address).map(Socket::Tcp), Gate::Loopback),
            AdminAddress::Unix(path) => {
                let bound = bind_unix(path).map(|socket| Socket::Unix(socket, path.clone()));
                (bound, Gate::Unix)
            }
        };
        Ok(Some(Self { socket: socket.map_err(failed)?, gate: token.map_or(open, Gate::Token) }))
    }

    /// Asks for a token from now on.
    #[cfg(test)]
    pub(super) fn demand(&mut self, token: Token) {
        self.gate = Gate::Token(token);
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
        view: View,
        stop: watch::Receiver<bool>,
    ) -> io::Result<thread::JoinHandle<()>> {
        self.start_with(view, stop, Patience::default())
    }

    pub(super) fn start_with(
        self,
        view: View,
        stop: watch::Receiver<bool>,
        patience: Patience,
    ) -> io::Result<thread::JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let router = router(view, self.gate);
        let socket = self.socket;
        logging_thread("admin", move || {
            let path = match &socket {
                Socket::Unix(_, path) => Some(path.clone()),
                Socket::Tcp(_) => None,
            };
            if let Err(error) = runtime.block_on(run(socket, router, stop, patience)) {
                tracing::error!(%error, "the admin address is not served any more");
            }
            // What nobody listens on only confuses.
            if let Some(path) = path {
                let _ = fs::remove_file(path);
            }
        })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<StdTcp> {
    let socket = StdTcp::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that only this user can open. What a process that was killed has left is removed.
fn bind_unix(path: &Path) -> io::Result<StdUnix> {
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

async fn run(
    socket: Socket,
    router: Router,
    mut stop: watch::Receiver<bool>,
    patience: Patience,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let hall = Hall { places, router, stop: stop.clone(), patience };
    let mut trouble = Trouble::new("the admin address takes no connection");
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
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
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

/// Where connections are served.
struct Hall {
    places: Arc<Semaphore>,
    router: Router,
    stop: watch::Receiver<bool>,
    patience: Patience,
}

impl Hall {
    /// Serves a connection in a task of its own, or closes it when there is no place.
    fn admit<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let (router, stop, patience) = (self.router.clone(), self.stop.clone(), self.patience);
        tokio::spawn(async move {
            serve(stream, router, stop, patience).await;
            drop(place);
        });
    }
}
