//! `[stats]`: who keeps history.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::PoolAddress;

/// `[stats]`: who keeps history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Where the stats service takes events; `None`: nothing is collected.
    pub sink: Option<SinkAddress>,
    /// From one report to the next, in seconds.
    pub every_sec: u64,
    /// Events that are kept while the stats service is away.
    pub max_events: usize,
}

impl Default for Stats {
    fn default() -> Self {
        Self { sink: None, every_sec: 10, max_events: 65_536 }
    }
}

/// Where the stats service takes events: on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkAddress {
    /// A Unix stream socket, written `unix:PATH`.
    Unix(PathBuf),
    /// TCP on a loopback address, written `tcp:127.0.0.1:PORT`.
    Tcp(SocketAddr),
}

impl From<SinkAddress> for PoolAddress {
    fn from(address: SinkAddress) -> Self {
        match address {
            SinkAddress::Unix(path) => Self::Unix(path),
            SinkAddress::Tcp(address) => Self::Tcp(address),
        }
    }
}

impl fmt::Display for SinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PoolAddress::from(self.clone()).fmt(f)
    }
}

impl Stats {
    /// Makes a relative path start at `directory`.
    pub(in crate::config) fn resolve(&mut self, directory: &Path) {
        if let Some(SinkAddress::Unix(path)) = &mut self.sink {
            *path = directory.join(&*path);
        }
    }
}
