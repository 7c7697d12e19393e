//! What can go wrong with the ledger.

use std::io;
use std::path::PathBuf;

use super::state::{CreditState, QuoteState};

/// Why the ledger can't be opened. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it.
    #[error(
        "the ledger {0} is in use by another process: one sidecar per ledger; stop the other one \
         or give each a file of its own"
    )]
    InUse(PathBuf),
    /// The file lets others than its owner in.
    #[error("the ledger {path} has mode {mode:o}: it says who is owed what; chmod 600 it")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A database of something else.
    #[error("{0} is a database of another program: give the ledger a file of its own")]
    Foreign(PathBuf),
    /// Written by a later version.
    #[error(
        "the ledger has schema {found}, this program knows up to {known}: use the program that \
         wrote it, or a later one"
    )]
    Newer {
        /// Version of the file.
        found: i64,
        /// Latest version known here.
        known: i64,
    },
    /// The file is of an earlier version, and is opened for reading only.
    #[error(
        "the ledger has schema {found}, this program reads {known}: start the sidecar of this \
         version on it, which brings it up to date"
    )]
    Older {
        /// Version of the file.
        found: i64,
        /// What is known here.
        known: i64,
    },
    /// SQLite did not take a setting that the ledger's promise rests on.
    #[error(
        "SQLite has {name} = {found} for the ledger, not {wanted}: what is acknowledged would not \
         survive a power cut; put the file on a local file system"
    )]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What it has to be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// Made with another scheme.
    #[error(
        "the ledger counts shares by `{found}`, the configuration by `{wanted}`: sums of both \
         would mean nothing; keep the scheme or begin a new ledger file"
    )]
    Scheme {
        /// Of the file.
        found: String,
        /// Of the configuration.
        wanted: String,
    },
    /// The file itself.
    #[error("the ledger {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite.
    #[error("the ledger {path}: {detail}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
}

/// Why a call of the ledger did nothing. Nothing means: no row has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The ledger was closed, or its writer is gone.
    #[error("the ledger is closed")]
    Closed,
    /// Its queue is full.
    #[error("the ledger has too much to do; try again")]
    Busy,
    /// SQLite could not read or write (a full disk, a fault of the device).
    #[error("the ledger can't be read or written: {0}")]
    Storage(String),
    /// There is no such account, credit or quote.
    #[error("the ledger has no such {0}")]
    Unknown(&'static str),
    /// A credit may not go that way.
    #[error("a credit that is {from} can't become {to}")]
    Credit {
        /// Where it stands.
        from: CreditState,
        /// Where it was to go.
        to: CreditState,
    },
    /// A quote may not go that way.
    #[error("a quote that is {from} can't become {to}")]
    Quote {
        /// Where it stands.
        from: QuoteState,
        /// Where it was to go.
        to: QuoteState,
    },
    /// A value is out of bounds, or contradicts what the ledger has.
    #[error("{0}")]
    Refused(&'static str),
    /// A row does not say what it must.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.to_string())
    }
}
