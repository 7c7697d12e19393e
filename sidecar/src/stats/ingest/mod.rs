//! From events to rows. Everything here runs inside of one transaction at a time, on the thread of
//! the writer; the time of day comes in as a number.

mod people;
mod standing;
mod sums;

use std::collections::HashMap;

use gopool_sv2_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, Statement};
use v1::event::Event as What;

pub(super) use people::SILENT;

use super::work::Span;
use sums::Sums;

/// Steps of the levels of history, in milliseconds: 10 s, 1 min, 5 min, 1 h.
pub(super) const LEVELS: [i64; 4] = [10_000, 60_000, 300_000, 3_600_000];

/// Levels that workers have a history at.
pub(super) const WORKER_LEVELS: [usize; 2] = [2, 3];

/// How long it is kept, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The pool's history, at each level.
    pub levels: [i64; 4],
    /// That of workers, at 5 minutes and at an hour.
    pub worker_levels: [i64; 2],
    /// Sessions that have ended.
    pub sessions: i64,
    /// Recent events, a number of them.
    pub events: i64,
}

/// Most channels that are remembered between transactions.
const CHANNELS_MAX: usize = 100_000;

/// Longest text of a sidecar that is kept, in characters.
const TEXT_MAX: usize = 1_000;

/// A stream that begins.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) sidecar: String,
    pub(super) source_id: Vec<u8>,
    pub(super) durable: bool,
    pub(super) first_seq: u64,
}

/// A source, once its stream has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) id: i64,
    pub(super) sidecar: i64,
}

/// An open channel, as far as sums need it.
#[derive(Clone, Debug)]
struct Channel {
    session: i64,
    worker: i64,
    identity: bytes::Bytes,
    ended: bool,
}

/// Turns events into rows. Made once; whoever calls has begun a transaction, and says with
/// [`Ingest::forget`] when it came to nothing.
pub(super) struct Ingest<'c> {
    conn: &'c Connection,
    keep: Keep,
    now: i64,
    sums: Sums<'c>,
    people: people::Statements<'c>,
    standing: standing::Statements<'c>,
    have: Statement<'c>,
    kept: Statement<'c>,
    /// The newest event of each source; those of sources that did not speak are in the file.
    newest: HashMap<i64, i64>,
    channels: HashMap<(i64, u64), Channel>,
    /// Events since the start that went into rows, and that were there already.
    pub(super) counted: (u64, u64),
}

impl<'c> Ingest<'c> {
    pub(super) fn new(conn: &'c Connection, keep: Keep) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            keep,
            now: 0,
            sums: Sums::new(conn)?,
            people: people::Statements::new(conn)?,
            standing: standing::Statements::new(conn)?,
            have: conn.prepare("SELECT have FROM source WHERE id = ?1")?,
            kept: conn
                .prepare("UPDATE source SET have = ?2, last_ms = max(last_ms, ?3) WHERE id = ?1")?,
            newest: HashMap::new(),
            channels: HashMap::new(),
            counted: (0, 0),
        })
    }

    /// Nothing of the last transaction is in the file: nor may it be in memory.
    pub(super) fn forget(&mut self) {
        self.sums.clear();
        self.newest.clear();
        self.channels.clear();
    }

    /// A stream begins: who it is, and what the file has of it.
    pub(super) fn start(&mut self, start: &Start, now: i64) -> rusqlite::Result<(Source, u64)> {
        self.now = now;
        let conn = self.conn;
        conn.execute(
            "INSERT INTO sidecar(name, first_ms, last_ms) VALUES (?1, ?2, 0) \
             ON CONFLICT(name) DO NOTHING",
            (&start.sidecar, now),
        )?;
        let sidecar: i64 =
            conn.query_row("SELECT id FROM sidecar WHERE name = ?1", [&start.sidecar], |row| {
                row.get(0)
            })?;
        let new = conn.execute(
            "INSERT INTO source(sidecar, source_id, durable, last_ms) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT(sidecar, source_id) DO NOTHING",
            (sidecar, &start.source_id, start.durable, now),
        )?;
        let (id, have): (i64, i64) = conn.query_row(
            "SELECT id, have FROM source WHERE sidecar = ?1 AND source_id = ?2",
            (sidecar, &start.source_id),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let source = Source { id, sidecar };
        if new > 0 && !start.durable {
            // Sources that are not durable live as long as their process.
            self.end_others(source)?;
        }
        let have = u64::try_from(have).unwrap_or(0);
        let lost = start.first_seq.saturating_sub(have.saturating_add(1));
        if lost > 0 && have > 0 {
            let text = format!("{lost} events were lost: they waited for too long");
            self.event(source, now, "events-lost", &text, None)?;
            // What is still open the sidecar says again.
            self.end_all(source)?;
        }
        Ok((source, have))
    }

    /// Events of a source, in order. Those that are there already are skipped.
    pub(super) fn events(
        &mut self,
        source: Source,
        events: &[v1::Event],
        now: i64,
    ) -> rusqlite::Result<()> {
        self.now = now;
        let mut have = match self.newest.get(&source.id) {
            Some(have) => *have,
            None => self.have.query_row([source.id], |row| row.get(0)).optional()?.unwrap_or(0),
        };
        let mut newest = 0;
        for event in events {
            let Ok(seq) = i64::try_from(event.seq) else { continue };
            if seq <= have {
                self.counted.1 += 1;
                continue;
            }
            have = seq;
            self.counted.0 += 1;
            let at = event.at_ms.clamp(1, now.max(1));
            newest = newest.max(at);
            if let Some(what) = &event.event {
                self.one(source, at, what)?;
            }
        }
        if newest > 0 {
            self.kept.execute((source.id, have, newest))?;
            self.standing.seen.execute((source.sidecar, newest))?;
        }
        self.newest.insert(source.id, have);
        Ok(())
    }

    /// Writes the sums of the transaction. The last thing before its end.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        if self.channels.len() > CHANNELS_MAX {
            self.channels.clear();
        }
        self.sums.flush()
    }

    fn one(&mut self, source: Source, at: i64, what: &What) -> rusqlite::Result<()> {
        match what {
            What::ConnectionOpened(opened) => match &opened.connection {
                Some(connection) => self.connection_opened(source, at, connection),
                None => Ok(()),
            },
            What::ConnectionClosed(closed) => self.connection_closed(source, at, closed),
            What::ChannelStarted(started) => self.channel_started(source, at, started),
            What::ChannelEnded(ended) => self.channel_ended(source, at, ended),
            What::ShareTotals(totals) => self.totals(source, at, totals),
            What::BlockFound(block) => self.block(source, at, block),
            What::Health(health) => {
                let state = if health.up { "up" } else { "down" };
                self.health(source, at, &health.dependency, state, None, &health.detail)
            }
            What::Snapshot(snapshot) => self.snapshot(source, at, snapshot),
            // Money is the ledger's; its events go to the pool.
            What::MintAccrued(_)
            | What::MintSealed(_)
            | What::MintQuoteOpened(_)
            | What::MintSent(_)
            | What::MintConfirmed(_)
            | What::MintIssued(_)
            | What::MintFailed(_) => Ok(()),
        }
    }

    /// The oldest time that still counts at a level.
    fn oldest(&self, level: usize) -> i64 {
        self.now - self.keep.levels.get(level).copied().unwrap_or(0)
    }

    fn totals(
        &mut self,
        source: Source,
        at: i64,
        totals: &v1::ShareTotals,
    ) -> rusqlite::Result<()> {
        let channel = self.channel(source, at, totals.channel_id, &totals.user_identity)?;
        let named = !totals.worker.is_empty();
        let worker = match named {
            true => self.worker(&channel.identity, &totals.worker, at)?,
            false => channel.worker,
        };
        let span = Span::of_event(totals.since_ms, at, self.now);
        let keep = self.keep;
        self.sums.totals(
            &sums::Whose {
                sidecar: source.sidecar,
                session: channel.session,
                worker,
                named,
                at,
                oldest: [0, 1, 2, 3].map(|level| self.oldest(level)),
                oldest_worker: keep.worker_levels.map(|keep| self.now - keep),
            },
            span,
            totals,
        );
        Ok(())
    }

    /// A line of the recent events.
    fn event(
        &mut self,
        source: Source,
        at: i64,
        kind: &str,
        text: &str,
        worker: Option<i64>,
    ) -> rusqlite::Result<()> {
        self.standing.event.execute((at, source.sidecar, kind, cut(text), worker))?;
        Ok(())
    }
}

/// A sidecar's text on one line, of a bounded length.
fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An id of 64 bits as SQLite has them.
fn id(id: u64) -> i64 {
    i64::from_ne_bytes(id.to_ne_bytes())
}
