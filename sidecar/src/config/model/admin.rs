//! `[admin]`: where operators and their programs ask.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::keys::KeyFile;

/// `[admin]`: where operators and their programs ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; `None`: nowhere.
    pub listen: Option<AdminAddress>,
    /// File of the token that a request must show; `None`: none is asked for.
    pub token_file: Option<KeyFile>,
    /// Whether addresses of miners, on the network and of payments, are shown whole.
    pub show_addresses: bool,
}

/// Where the admin address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// TCP, written `127.0.0.1:PORT`.
    Tcp(SocketAddr),
    /// A Unix stream socket, written `unix:PATH`.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// No admin address; the text says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write \"127.0.0.1:PORT\" or \"unix:/path/to/socket\"")]
pub struct NoAdminAddress;

impl FromStr for AdminAddress {
    type Err = NoAdminAddress;

    fn from_str(text: &str) -> Result<Self, NoAdminAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if path.is_empty() || path.starts_with('@') => Err(NoAdminAddress),
            Some(path) if path.chars().any(char::is_control) => Err(NoAdminAddress),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text.parse().map(Self::Tcp).map_err(|_| NoAdminAddress),
        }
    }
}

impl Admin {
    /// Makes relative paths start at `directory`.
    pub(in crate::config) fn resolve(&mut self, directory: &Path) {
        if let Some(AdminAddress::Unix(path)) = &mut self.listen {
            *path = directory.join(&*path);
        }
        if let Some(KeyFile::Path(path)) = &mut self.token_file {
            *path = directory.join(&*path);
        }
    }
}
