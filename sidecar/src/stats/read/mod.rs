//! What the history says, as JSON. Each function is one look at one moment of the database.

mod history;
mod lists;
mod summary;
mod workers;

use rusqlite::Row;

pub(super) use history::{history, rejects, Range};
pub(super) use lists::{blocks, channels, connections, events, mint};
pub(super) use summary::summary;
pub(super) use workers::{account, csv, page, Filter, Order, Sort};

use super::work::Work;

/// Sidecars that were silent for this long stand for nothing: what they had open does not count.
/// Three times the longest time between two snapshots.
pub(super) const SILENT_MS: i64 = 900_000;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) offset: u64,
    pub(super) limit: u64,
}

impl Page {
    /// As SQLite takes them.
    fn columns(self) -> (i64, i64) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        (number(self.limit), number(self.offset))
    }
}

/// A sum in two columns, the second behind the first.
fn work(row: &Row<'_>, first: usize) -> rusqlite::Result<Work> {
    Ok(Work::of_columns(row.get(first)?, row.get(first + 1)?))
}

/// An id of 64 bits from SQLite's.
fn id(id: i64) -> u64 {
    u64::from_ne_bytes(id.to_ne_bytes())
}

/// A kind of channel in words.
fn kind(kind: i64) -> &'static str {
    match kind {
        1 => "standard",
        2 => "extended",
        _ => "unknown",
    }
}

/// The column of the label that may be shown.
fn label(show_addresses: bool) -> &'static str {
    if show_addresses {
        "label"
    } else {
        "short"
    }
}
