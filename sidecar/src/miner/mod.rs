//! A CPU miner that speaks Stratum V2: for trying a pool out, for tests and for load, not for
//! profit.
//!
//! [`run`] connects with [`crate::client`], opens one standard or extended channel and mines until
//! it is stopped or a limit is reached. The parts: [`work`] decides what to mine on (a state
//! machine without I/O), [`space`] in which order, [`hasher`] does it on OS threads, a session
//! carries messages and shares, [`journal`] keeps the books.

pub mod hasher;
pub mod header;
pub mod journal;
pub mod json;
pub mod pending;
#[cfg(test)]
mod pool;
mod run;
mod session;
pub mod space;
mod summary;
pub mod target;
#[cfg(test)]
mod tests;
pub mod work;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use crate::client::{ClientError, ConnectOptions, PoolUrl};

pub use summary::{Ended, Summary};

/// Most threads that make any sense.
const MAX_THREADS: usize = 1024;

/// The kind of channel to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// The server computes the merkle root; only the header is rolled.
    Standard,
    /// The miner rolls its part of the coinbase.
    Extended,
}

/// What to mine, for whom and for how long.
#[derive(Debug, Clone)]
pub struct MinerOptions {
    /// The pool.
    pub url: PoolUrl,
    /// The name to mine for, at most 255 bytes.
    pub user: String,
    /// The kind of channel.
    pub kind: ChannelKind,
    /// Hash threads, 1 to 1024.
    pub threads: usize,
    /// Speed to announce, in hashes per second; measured for a second when `None`.
    pub nominal_hash_rate: Option<f32>,
    /// Bytes of extranonce to ask for on an extended channel, at most 32.
    pub min_extranonce_size: u16,
    /// Stop after this time, counted from the start of [`run`].
    pub time_limit: Option<Duration>,
    /// Stop after this many submitted shares, at least 1.
    pub share_limit: Option<u64>,
    /// File to append the journal to; [`journal`] says what stands in it.
    pub journal: Option<PathBuf>,
    /// Connect again when the connection ends, or cannot be made, and follow the server's
    /// `Reconnect`.
    pub reconnect: bool,
    /// Time between two lines of progress, and between two flushes of the journal.
    pub status_interval: Duration,
    /// How long to wait at the end for submits that are not answered yet.
    pub drain_timeout: Duration,
    /// Deadlines of the connection.
    pub connect: ConnectOptions,
}

impl MinerOptions {
    /// Sensible values for everything but the pool and the name: an extended channel, one thread
    /// for each CPU, no limits, no journal, reconnecting, a line every 5 s.
    pub fn new(url: PoolUrl, user: impl Into<String>) -> Self {
        Self {
            url,
            user: user.into(),
            kind: ChannelKind::Extended,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            nominal_hash_rate: None,
            min_extranonce_size: 4,
            time_limit: None,
            share_limit: None,
            journal: None,
            reconnect: true,
            status_interval: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
            connect: ConnectOptions::default(),
        }
    }

    fn check(&self) -> Result<(), MinerError> {
        let fault = |text: &str| Err(MinerError::Options(text.to_owned()));
        if self.user.len() > 255 {
            return fault("the user name is longer than 255 bytes");
        }
        if self.threads == 0 || self.threads > MAX_THREADS {
            return fault("the number of threads must be from 1 to 1024");
        }
        if self.nominal_hash_rate.is_some_and(|rate| !rate.is_finite() || rate < 0.0) {
            return fault("the nominal hash rate must be a number that is not negative");
        }
        if self.min_extranonce_size > 32 {
            return fault("the extranonce has at most 32 bytes");
        }
        if self.share_limit == Some(0) {
            return fault("the share limit must be at least 1; leave it out for none");
        }
        if self.status_interval.is_zero() {
            return fault("the status interval must be longer than 0");
        }
        Ok(())
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// An option that makes no sense.
    #[error("{0}")]
    Options(String),
    /// The journal could not be opened or written.
    #[error("the journal {path} cannot be written: {source}", path = .path.display())]
    Journal {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gave no threads.
    #[error("cannot start the hash threads: {0}")]
    Threads(#[source] io::Error),
    /// No channel was ever opened: the first attempt failed and reconnecting was not wanted, or
    /// the failure is one that repeating does not heal (certificate, refusal).
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Mines until `shutdown` completes, a limit is reached, or the connection ends and
/// `options.reconnect` is off.
///
/// At the end it stops submitting, waits at most `options.drain_timeout` for the answers that are
/// missing, then closes. What stays unanswered is counted so, never as accepted.
///
/// Must run on a multi-threaded or current-thread tokio runtime with I/O and time. Progress and
/// connection events go to `tracing` at level info.
pub async fn run(
    options: MinerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Summary, MinerError> {
    options.check()?;
    let shutdown = pin!(shutdown);
    run::run(&options, shutdown).await
}
