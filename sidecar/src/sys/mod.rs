//! The clock, the wish to stop, and what the system grants this process.

#[cfg(feature = "bin")]
pub mod supervisor;

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Seconds since the unix epoch, as a block header counts them; ends in 2106.
#[must_use]
pub fn unix_seconds() -> u32 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX)
}

/// Milliseconds since the unix epoch.
#[must_use]
pub fn unix_millis() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// Returns once `stop` is true, or nobody is left who could say so. Cancel-safe.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard inside the result must not live on.
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// Starts a thread that logs to where this one does, be that the log of the whole process or, in
/// the library, of one listener.
///
/// # Errors
/// The system grants no thread.
pub fn logging_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let log = tracing::dispatcher::get_default(Clone::clone);
    let thread = Builder::new().name(name.to_owned());
    thread.spawn(move || tracing::dispatcher::with_default(&log, work))
}

/// The TCP socket that systemd (or whoever speaks its protocol, sd_listen_fds(3)) handed over to
/// this process, taken out of the environment. For the program only.
///
/// # Errors
/// What was handed over is no listening TCP socket.
#[cfg(feature = "bin")]
pub fn inherited_listener() -> io::Result<Option<std::net::TcpListener>> {
    listenfd::ListenFd::from_env().take_tcp_listener(0)
}

/// Raises the number of files this process may open to `wanted`, as far as the system lets it, and
/// returns the limit that holds then; `None` when there is none. For the program only: a library
/// leaves its host's limits alone.
#[cfg(feature = "bin")]
#[must_use]
pub fn raise_descriptor_limit(wanted: usize) -> Option<usize> {
    use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

    let limit = getrlimit(Resource::Nofile);
    let (current, wanted) = (limit.current?, wanted as u64);
    let raised = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    let raises = raised > current
        && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum })
            .is_ok();
    usize::try_from(if raises { raised } else { current }).ok()
}
