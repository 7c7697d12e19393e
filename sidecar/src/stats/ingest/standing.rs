//! How sidecars stand, and what became of blocks.

use bytes::Bytes;
use gopool_sv2_proto::v1;
use rusqlite::{Connection, Statement};
use serde_json::json;

use super::sums::Gauges;
use super::{cut, Ingest, Source};
use crate::stats::work::Span;

/// Most dependencies of a sidecar, and most states of credits, that are kept.
const LIST_MAX: usize = 32;

/// Most bounds of answer times that are kept.
const BOUNDS_MAX: usize = 64;

/// More connections or channels than this are a mistake.
const OPEN_MAX: u64 = 100_000_000;

pub(super) struct Statements<'c> {
    pub(super) seen: Statement<'c>,
    pub(super) event: Statement<'c>,
    snapshot: Statement<'c>,
    health: Statement<'c>,
    health_was: Statement<'c>,
    block: Statement<'c>,
    block_was: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            seen: conn.prepare("UPDATE sidecar SET last_ms = max(last_ms, ?2) WHERE id = ?1")?,
            event: conn.prepare(
                "INSERT INTO event(at_ms, sidecar, kind, text, worker) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            snapshot: conn.prepare(
                "UPDATE sidecar SET heard_ms = max(heard_ms, ?2), every_ms = ?3, \
                 connections = ?4, standard = ?5, extended = ?6, \
                 handshakes_failed = min(handshakes_failed + ?7, 1 << 62), \
                 refused = min(refused + ?8, 1 << 62), mint = ?9 WHERE id = ?1",
            )?,
            health: conn.prepare(
                "INSERT INTO health VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) \
                 ON CONFLICT DO UPDATE SET \
                 since_ms = CASE WHEN state = excluded.state THEN since_ms \
                 ELSE excluded.since_ms END, \
                 state = excluded.state, age_ms = excluded.age_ms, at_ms = excluded.at_ms, \
                 detail = excluded.detail",
            )?,
            health_was: conn
                .prepare("SELECT state FROM health WHERE sidecar = ?1 AND name = ?2")?,
            block: conn.prepare(
                "INSERT INTO block(hash, sidecar, worker, height, at_ms, accepted, detail) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(hash) DO UPDATE SET \
                 height = ifnull(excluded.height, height), \
                 accepted = ifnull(excluded.accepted, accepted), \
                 detail = CASE WHEN excluded.detail = '' THEN detail ELSE excluded.detail END",
            )?,
            block_was: conn.prepare("SELECT accepted FROM block WHERE hash = ?1")?,
        })
    }
}

impl Ingest<'_> {
    pub(super) fn snapshot(
        &mut self,
        source: Source,
        at: i64,
        snapshot: &v1::Snapshot,
    ) -> rusqlite::Result<()> {
        let open = |count: u64| i64::try_from(count.min(OPEN_MAX)).unwrap_or(0);
        let span = Span::of_event(snapshot.since_ms, at, self.now);
        let mint = snapshot.mint.as_ref();
        let credits = || mint.iter().flat_map(|mint| mint.credits.iter().take(LIST_MAX));
        let gauges = Gauges {
            heard_ms: 1,
            connections_ms: open(snapshot.connections),
            standard_ms: open(snapshot.standard_channels),
            extended_ms: open(snapshot.extended_channels),
            mint_ms: i64::from(mint.is_some()),
            waiting_ms: credits().map(|of| of.amount as f64).sum(),
            confirmed: mint.map_or(0.0, |mint| mint.confirmed as f64),
        };
        let answers = snapshot.answers.get(..BOUNDS_MAX).unwrap_or(&snapshot.answers);
        let oldest = [0, 1, 2, 3].map(|level| self.oldest(level));
        self.sums.stood(source.sidecar, span, oldest, &gauges, answers);
        let mint = mint.map(|mint| {
            let credits: Vec<_> = credits()
                .map(|of| json!({"state": cut(&of.state), "count": of.count, "amount": of.amount}))
                .collect();
            json!({
                "credits": credits,
                "oldest_unconfirmed_ms":
                    Some(mint.oldest_unconfirmed_ms).filter(|at| *at > 0),
                "confirmed": mint.confirmed,
                "surplus": mint.surplus,
                "sending_stopped": mint.sending_stopped,
            })
            .to_string()
        });
        self.standing.snapshot.execute((
            source.sidecar,
            span.to,
            span.to - span.from,
            gauges.connections_ms,
            gauges.standard_ms,
            gauges.extended_ms,
            open(snapshot.handshakes_failed),
            open(snapshot.connections_refused),
            mint,
        ))?;
        for dependency in snapshot.dependencies.iter().take(LIST_MAX) {
            let state = match dependency.state.as_str() {
                state @ ("up" | "degraded" | "down") => state,
                _ => "off",
            };
            let age = dependency.age_ms;
            self.health(source, at, &dependency.name, state, age, &dependency.detail)?;
        }
        Ok(())
    }

    pub(super) fn health(
        &mut self,
        source: Source,
        at: i64,
        name: &str,
        state: &str,
        age_ms: Option<i64>,
        detail: &str,
    ) -> rusqlite::Result<()> {
        use rusqlite::OptionalExtension as _;

        let (name, detail) = (cut(name), cut(detail));
        let was = (source.sidecar, &name);
        let was = self.standing.health_was.query_row(was, |row| row.get::<_, String>(0));
        let was = was.optional()?;
        self.standing.health.execute((source.sidecar, &name, state, age_ms, at, &detail))?;
        if was.as_deref() == Some(state) || (was.is_none() && matches!(state, "up" | "off")) {
            return Ok(());
        }
        let text = match detail.as_str() {
            "" => format!("{name} is {state}"),
            detail => format!("{name} is {state}: {detail}"),
        };
        self.event(source, at, "health", &text, None)
    }

    pub(super) fn block(
        &mut self,
        source: Source,
        at: i64,
        block: &v1::BlockFound,
    ) -> rusqlite::Result<()> {
        use rusqlite::OptionalExtension as _;

        let channel = self.channel(source, at, block.channel_id, &Bytes::new())?;
        let worker = match block.worker.is_empty() {
            true => channel.worker,
            false => self.worker(&channel.identity, &block.worker, at)?,
        };
        let hash = block.block_hash.get(..32).unwrap_or(&block.block_hash);
        let was = self.standing.block_was.query_row([hash], |row| row.get::<_, Option<bool>>(0));
        let was = was.optional()?;
        let height = Some(block.height).filter(|height| *height > 0);
        self.standing.block.execute((
            hash,
            source.sidecar,
            worker,
            height,
            at,
            block.accepted,
            cut(&block.detail),
        ))?;
        if was == Some(block.accepted) || (was.flatten().is_some() && block.accepted.is_none()) {
            return Ok(());
        }
        let word = match block.accepted {
            None => "a block was found",
            Some(true) => "the node took the block",
            Some(false) => "the node refused the block",
        };
        let height = height.map_or_else(String::new, |height| format!(" at height {height}"));
        self.event(source, at, "block", &format!("{word}{height}:"), Some(worker))
    }
}
