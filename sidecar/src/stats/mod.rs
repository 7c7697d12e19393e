//! The statistics service: a sink of events that keeps history in SQLite and shows it over HTTP.
//!
//! ```text
//! sidecars → (gRPC) service → writer → SQLite → readers → api → dashboard
//! ```
//!
//! A process of its own, which can be killed and started at will: sidecars keep events meanwhile.
//! All times are milliseconds since the epoch, all sums exact ([`work`]).

mod api;
mod clean;
mod figures;
mod file;
mod ingest;
mod listen;
mod read;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod text;
pub mod work;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{interval, Interval, MissedTickBehavior};

pub use figures::Figures;
pub use file::OpenError;
pub use ingest::Keep;

use crate::config::StatsService;
use crate::http::{hint, BindError, Hall, Listener, Patience, TokenError};
use crate::sys::{stopped, supervisor, unix_millis};
use listen::Bound;
use service::Service;
use store::{Settings, Store};
use writer::Standing;

/// Tells the time, in milliseconds since the epoch.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// HTTP connections at a time: each open page has two or three.
const CONNECTIONS: usize = 256;

/// How often what is too old is deleted.
const CLEAN_EVERY: Duration = Duration::from_secs(60);

const DAY: i64 = 86_400_000;

/// Why the service can't start. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of events can't be bound.
    #[error("[stats].events {0}: {1}: {hint}", hint = hint(.1))]
    Events(String, io::Error),
    /// The HTTP address can't be bound.
    #[error("[stats].http {0}: {1}: {hint}", hint = hint(.1))]
    Http(String, io::Error),
    /// The token can't be used.
    #[error("[stats].token_file: {0}")]
    Token(TokenError),
    /// The database can't be opened.
    #[error("[stats].database: {0}")]
    Database(#[from] OpenError),
    /// The system gives no thread.
    #[error("no thread for HTTP: {0}")]
    Thread(io::Error),
}

impl From<&StatsService> for Keep {
    fn from(stats: &StatsService) -> Self {
        let days = |days: u32| i64::from(days) * DAY;
        Self {
            levels: [
                i64::from(stats.keep_10s_hours) * 3_600_000,
                days(stats.keep_1m_days),
                days(stats.keep_5m_days),
                days(stats.keep_1h_days),
            ],
            worker_levels: [days(stats.keep_worker_5m_days), days(stats.keep_worker_1h_days)],
            sessions: days(stats.keep_sessions_days),
            events: i64::from(stats.keep_events),
        }
    }
}

/// A running service. Inside of a runtime; [`Stats::run`] does its work.
#[derive(Debug)]
pub struct Stats {
    store: Store,
    events: Bound,
    http_address: String,
    http: JoinHandle<()>,
    stop_http: watch::Sender<bool>,
    clock: ClockOf,
}

/// A clock that can be printed.
struct ClockOf(Clock);

impl std::fmt::Debug for ClockOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Stats {
    /// Binds both addresses, opens the database and starts to answer over HTTP. Events wait for
    /// [`Stats::run`]. Blocks on the disk for a moment.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(stats: &StatsService) -> Result<Self, StartError> {
        Self::start_with(stats, Arc::new(unix_millis), None)
    }

    pub(crate) fn start_with(
        stats: &StatsService,
        clock: Clock,
        pages_max: Option<u32>,
    ) -> Result<Self, StartError> {
        let listener = Listener::bind(&stats.http, stats.token_file.as_ref());
        let listener = listener.map_err(|error| match error {
            BindError::Bind(address, error) => StartError::Http(address, error),
            BindError::Token(error) => StartError::Token(error),
        })?;
        let events = Bound::bind(&stats.events)
            .map_err(|error| StartError::Events(stats.events.to_string(), error))?;
        let path: PathBuf = stats.database.clone();
        let store = Store::open(&Settings { path, keep: stats.into(), pages_max }, clock())?;
        let (stop_http, stops) = watch::channel(false);
        let view = api::View {
            store: store.clone(),
            clock: Arc::clone(&clock),
            keep: stats.into(),
            show_addresses: stats.show_addresses,
            started_ms: clock(),
            live: api::live(),
            stop: stops.clone(),
        };
        let http_address = listener.address();
        let hall = Hall {
            name: "stats",
            router: api::router(view, listener.gate()),
            connections: CONNECTIONS,
            // A page that follows live stays; it comes back when its time is over.
            patience: Patience { life: Duration::from_secs(600), ..Patience::default() },
        };
        let http = listener.start(hall, stops).map_err(StartError::Thread)?;
        Ok(Self { store, events, http_address, http, stop_http, clock: ClockOf(clock) })
    }

    /// Where sidecars publish, as in the configuration; the port is the real one.
    #[must_use]
    pub fn events_address(&self) -> String {
        self.events.address()
    }

    /// Where people ask; the port is the real one.
    #[must_use]
    pub fn http_address(&self) -> &str {
        &self.http_address
    }

    /// Takes events until `stop` is true, then ends everything. `false`: it ended by itself,
    /// because the database is damaged or the system takes back its sockets, and wants to be
    /// started anew.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> bool {
        let (stop_events, stops) = watch::channel(false);
        let mut standing = self.store.standing();
        let clock = self.clock.0;
        let service = Service::new(self.store.clone(), Arc::clone(&clock), stops.clone());
        let mut serving = tokio::spawn(self.events.serve(service, stops));
        let mut clean = interval(CLEAN_EVERY);
        clean.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = supervisor::watchdog().map(interval);
        let mut ended = false;
        let good = loop {
            tokio::select! {
                () = stopped(&mut stop) => break true,
                done = &mut serving => {
                    tracing::error!("sidecars can't publish any more: {done:?}");
                    ended = true;
                    break false;
                }
                // Waits for the writer when its queue is full: one that is stuck lets the watchdog
                // bark.
                _ = clean.tick() => self.store.clean(clock()).await,
                () = beat(alive.as_mut()) => supervisor::alive(),
                damaged = standing.wait_for(|now| matches!(now, Standing::Damaged(_))) => {
                    drop(damaged);
                    break false;
                }
            }
        };
        stop_events.send_replace(true);
        if !ended {
            // It ends within seconds.
            let _ = serving.await;
        }
        self.stop_http.send_replace(true);
        let http = self.http;
        let _ = tokio::task::spawn_blocking(move || http.join()).await;
        let store = self.store;
        // The last commit is written out here.
        let _ = tokio::task::spawn_blocking(move || drop(store)).await;
        good
    }
}

/// The next beat; never, when nobody waits for it.
async fn beat(alive: Option<&mut Interval>) {
    match alive {
        Some(alive) => drop(alive.tick().await),
        None => std::future::pending().await,
    }
}
