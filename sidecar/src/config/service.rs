//! The configuration of the statistics service: a file of its own, read like the sidecar's.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::cross::{Cross, Found, SOCKET_PATH_BYTES_MAX};
use super::model::AdminAddress;
use super::problem::Problems;
use super::read::Settings;
use super::schema::{service, Section};
use crate::keys::KeyFile;
use crate::obs::Format;

/// What the example of these settings begins with.
const INTRO: &str = "Settings of `gopool-sv2 stats`. Every key may be left out: its default \
                     holds. Relative paths start at the directory of this file. `gopool-sv2 stats \
                     --check` names all problems of a file at once.";

/// Everything that an operator can set of the statistics service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsFile {
    /// The service.
    pub stats: StatsService,
    /// What is written about the work.
    pub log: ServiceLog,
}

/// `[stats]`: where events come in, where people ask, and what is kept for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsService {
    /// Where sidecars publish their events.
    pub events: EventsAddress,
    /// Where people and programs ask.
    pub http: AdminAddress,
    /// File of the token that a request must show; `None`: none is asked for.
    pub token_file: Option<KeyFile>,
    /// The database.
    pub database: PathBuf,
    /// Whether addresses of miners, on the network and of payments, are shown whole.
    pub show_addresses: bool,
    /// How long the pool's history is kept at 10 seconds, in hours.
    pub keep_10s_hours: u32,
    /// How long it is kept at one minute, in days.
    pub keep_1m_days: u32,
    /// How long it is kept at five minutes, in days.
    pub keep_5m_days: u32,
    /// How long it is kept at one hour, in days.
    pub keep_1h_days: u32,
    /// How long the history of each worker is kept at five minutes, in days.
    pub keep_worker_5m_days: u32,
    /// How long it is kept at one hour, in days.
    pub keep_worker_1h_days: u32,
    /// How long ended sessions are kept, in days.
    pub keep_sessions_days: u32,
    /// How many of the recent events are kept.
    pub keep_events: u32,
}

impl Default for StatsService {
    fn default() -> Self {
        Self {
            events: EventsAddress::Unix(PathBuf::from("stats.sock")),
            http: AdminAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 3338))),
            token_file: None,
            database: PathBuf::from("stats.db"),
            show_addresses: true,
            keep_10s_hours: 24,
            keep_1m_days: 7,
            keep_5m_days: 90,
            keep_1h_days: 730,
            keep_worker_5m_days: 7,
            keep_worker_1h_days: 365,
            keep_sessions_days: 90,
            keep_events: 10_000,
        }
    }
}

/// Where sidecars publish. On this machine only: the events say who mines, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsAddress {
    /// A Unix stream socket, written `unix:PATH`.
    Unix(PathBuf),
    /// TCP on a loopback address, written `tcp:127.0.0.1:PORT`.
    Tcp(SocketAddr),
}

impl fmt::Display for EventsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// `[log]`: what is written about the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLog {
    /// How log lines look.
    pub format: Format,
    /// Which log lines are written, as tracing's filter directives.
    pub filter: String,
}

impl Default for ServiceLog {
    fn default() -> Self {
        Self { format: Format::Auto, filter: "info".to_owned() }
    }
}

impl Settings for StatsFile {
    const SECTIONS: &'static [Section<Self>] = service::SECTIONS;
    const EXAMPLE: &'static str = "examples/config/stats.toml";

    fn resolve(&mut self, directory: &Path) {
        let stats = &mut self.stats;
        if let EventsAddress::Unix(path) = &mut stats.events {
            *path = directory.join(&*path);
        }
        if let AdminAddress::Unix(path) = &mut stats.http {
            *path = directory.join(&*path);
        }
        if let Some(KeyFile::Path(path)) = &mut stats.token_file {
            *path = directory.join(&*path);
        }
        stats.database = directory.join(&stats.database);
    }

    fn check(&self, table: &DeTable<'_>) -> Vec<Found> {
        let mut cross = Cross { table, found: Vec::new() };
        let stats = &self.stats;
        if !stats.http.is_local() && stats.token_file.is_none() {
            let text = "needs [stats].token_file, because others than this machine can reach it: \
                        make one with `openssl rand -hex 32`, or listen on 127.0.0.1";
            cross.at("stats", &["http"], text.to_owned());
        }
        if let AdminAddress::Tcp(address) = stats.http {
            if address.port() == 0 && !address.ip().is_loopback() {
                let text = "port 0 would be another port at each start: choose one";
                cross.at("stats", &["http"], text.to_owned());
            }
            if stats.events == EventsAddress::Tcp(address) && address.port() > 0 {
                let text = "is the port of [stats].events: choose another";
                cross.at("stats", &["http", "events"], text.to_owned());
            }
        }
        let http = match &stats.http {
            AdminAddress::Unix(path) => Some(path),
            AdminAddress::Tcp(_) => None,
        };
        let events = match &stats.events {
            EventsAddress::Unix(path) => Some(path),
            EventsAddress::Tcp(_) => None,
        };
        if http.is_some() && http == events {
            let text = "is the socket of [stats].events: choose another";
            cross.at("stats", &["http", "events"], text.to_owned());
        }
        for (name, path) in [("http", http), ("events", events)] {
            let bytes = path.map_or(0, |path| path.as_os_str().len());
            if bytes > SOCKET_PATH_BYTES_MAX {
                let text = format!(
                    "the path of the socket has {bytes} bytes with its directory, the system \
                     takes {SOCKET_PATH_BYTES_MAX}: use a shorter one"
                );
                cross.at("stats", &[name], text);
            }
        }
        let order = [
            ("keep_10s_hours", u64::from(stats.keep_10s_hours)),
            ("keep_1m_days", u64::from(stats.keep_1m_days) * 24),
            ("keep_5m_days", u64::from(stats.keep_5m_days) * 24),
            ("keep_1h_days", u64::from(stats.keep_1h_days) * 24),
        ];
        for pair in order.windows(2) {
            if let [(fine, short), (coarse, long)] = pair {
                if short > long {
                    let text = format!(
                        "{fine} is longer than {coarse}: what is coarse must be kept at least as \
                         long"
                    );
                    cross.at("stats", &[fine, coarse], text);
                }
            }
        }
        cross.found
    }
}

impl StatsFile {
    /// Reads a configuration file. Relative paths inside it are taken from the file's directory.
    ///
    /// # Errors
    /// [`Problems`] holds every problem found, in the order of the file; never empty.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        super::load(path)
    }

    /// Reads the content of a configuration file. `path` names it in problems, and its directory
    /// is where relative paths start; nothing is opened.
    ///
    /// # Errors
    /// As [`StatsFile::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, Problems> {
        super::from_bytes(bytes, path)
    }

    /// The effective values as a TOML document with a comment per key.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.print(INTRO)
    }
}
