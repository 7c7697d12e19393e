//! What many events of one transaction add to the same rows: summed up here, written once.

use std::collections::BTreeMap;

use gopool_sv2_proto::v1;
use rusqlite::{Connection, Statement};

use super::super::work::{Span, Work};
use super::{LEVELS, WORKER_LEVELS};

/// Reasons that are told apart; others are counted as the last.
const REASONS: i32 = 64;

/// Share counts and their credit.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    accepted: i64,
    rejected: i64,
    work: Work,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.work = self.work.and(other.work);
    }

    /// As columns: accepted, rejected, whole, fraction.
    fn columns(self) -> (i64, i64, i64, i64) {
        const MAX: i64 = 1 << 62;
        let (whole, fraction) = self.work.columns();
        (self.accepted.min(MAX), self.rejected.min(MAX), whole.min(MAX), fraction)
    }
}

/// What stands for a time: its value times the milliseconds that it held for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauges {
    pub(super) heard_ms: i64,
    pub(super) connections_ms: i64,
    pub(super) standard_ms: i64,
    pub(super) extended_ms: i64,
    pub(super) mint_ms: i64,
    pub(super) waiting_ms: f64,
    pub(super) confirmed: f64,
}

/// What a worker has in its life.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    sum: Sum,
    at: i64,
    /// When shares were last accepted; 0: none were.
    shared: i64,
    best: (f64, i64),
}

/// Whose a sum is, and what of it is too old to be kept at which level.
#[derive(Debug)]
pub(super) struct Whose {
    pub(super) sidecar: i64,
    pub(super) session: i64,
    pub(super) worker: i64,
    /// Whether it is a worker's within the session, and not the session's own.
    pub(super) named: bool,
    pub(super) at: i64,
    pub(super) oldest: [i64; 4],
    pub(super) oldest_worker: [i64; 2],
}

/// Sums of one transaction, and the statements that write them.
pub(super) struct Sums<'c> {
    /// By level, bucket and sidecar.
    history: BTreeMap<(usize, i64, i64), (Sum, Gauges)>,
    rejects: BTreeMap<(usize, i64, i32), i64>,
    acks: BTreeMap<(usize, i64, i64), i64>,
    /// By level, bucket and worker.
    workers: BTreeMap<(usize, i64, i64), Sum>,
    lives: BTreeMap<i64, Life>,
    sessions: BTreeMap<i64, (Sum, i64)>,
    parts: BTreeMap<(i64, i64), (Sum, i64)>,
    sidecars: BTreeMap<i64, Sum>,
    write: Statements<'c>,
}

struct Statements<'c> {
    history: Statement<'c>,
    reject: Statement<'c>,
    ack: Statement<'c>,
    worker: Statement<'c>,
    life: Statement<'c>,
    session: Statement<'c>,
    part: Statement<'c>,
    sidecar: Statement<'c>,
}

/// Adds to the columns of a [`Sum`], from what `a`, `r`, `w` and `f` stand for.
fn adding([a, r, w, f]: [&str; 4]) -> String {
    const MAX: i64 = 1 << 62;
    format!(
        "accepted = min(accepted + {a}, {MAX}), rejected = min(rejected + {r}, {MAX}), \
         work = min(work + {w} + ((fraction + {f}) >> 32), {MAX}), \
         fraction = (fraction + {f}) & 4294967295"
    )
}

/// The same in an upsert.
fn upsert() -> String {
    adding(["excluded.accepted", "excluded.rejected", "excluded.work", "excluded.fraction"])
}

impl<'c> Sums<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        let (upsert, update) = (upsert(), adding(["?2", "?3", "?4", "?5"]));
        let write = Statements {
            history: conn.prepare(&format!(
                "INSERT INTO history VALUES \
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
                 ON CONFLICT DO UPDATE SET {upsert}, heard_ms = heard_ms + excluded.heard_ms, \
                 connections_ms = connections_ms + excluded.connections_ms, \
                 standard_ms = standard_ms + excluded.standard_ms, \
                 extended_ms = extended_ms + excluded.extended_ms, \
                 mint_ms = mint_ms + excluded.mint_ms, \
                 waiting_ms = waiting_ms + excluded.waiting_ms, \
                 confirmed = max(confirmed, excluded.confirmed)"
            ))?,
            reject: conn.prepare(
                "INSERT INTO reject VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT DO UPDATE SET count = min(count + excluded.count, 1 << 62)",
            )?,
            ack: conn.prepare(
                "INSERT INTO ack VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT DO UPDATE SET count = min(count + excluded.count, 1 << 62)",
            )?,
            worker: conn.prepare(&format!(
                "INSERT INTO worker_history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                 ON CONFLICT DO UPDATE SET {upsert}"
            ))?,
            life: conn.prepare(&format!(
                "UPDATE worker SET {update}, last_ms = max(last_ms, ?6), \
                 last_share_ms = CASE WHEN ?7 > 0 THEN max(ifnull(last_share_ms, 0), ?7) \
                 ELSE last_share_ms END, \
                 best_ms = CASE WHEN ?8 > best THEN ?9 ELSE best_ms END, best = max(best, ?8) \
                 WHERE id = ?1"
            ))?,
            session: conn.prepare(&format!(
                "UPDATE session SET {update}, last_ms = max(last_ms, ?6) WHERE id = ?1"
            ))?,
            part: conn.prepare(&format!(
                "INSERT INTO part VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                 ON CONFLICT DO UPDATE SET {upsert}, last_ms = max(last_ms, excluded.last_ms)"
            ))?,
            sidecar: conn.prepare(&format!("UPDATE sidecar SET {update} WHERE id = ?1"))?,
        };
        Ok(Self {
            history: BTreeMap::new(),
            rejects: BTreeMap::new(),
            acks: BTreeMap::new(),
            workers: BTreeMap::new(),
            lives: BTreeMap::new(),
            sessions: BTreeMap::new(),
            parts: BTreeMap::new(),
            sidecars: BTreeMap::new(),
            write,
        })
    }

    pub(super) fn clear(&mut self) {
        self.history.clear();
        self.rejects.clear();
        self.acks.clear();
        self.workers.clear();
        self.lives.clear();
        self.sessions.clear();
        self.parts.clear();
        self.sidecars.clear();
    }

    /// Shares of a channel, or of a worker on it.
    pub(super) fn totals(&mut self, whose: &Whose, span: Span, totals: &v1::ShareTotals) {
        let work = Work::of_event(totals.credit.as_ref());
        let reasons = || totals.rejected.iter().filter(|of| of.count > 0);
        let count = |count: u64| i64::try_from(count.min(1 << 53)).unwrap_or(0);
        let whole = Sum {
            accepted: count(totals.accepted),
            rejected: reasons().fold(0, |sum: i64, of| sum.saturating_add(count(of.count))),
            work,
        };
        for (level, (step, oldest)) in LEVELS.into_iter().zip(whose.oldest).enumerate() {
            for part in span.parts(step, oldest) {
                let mut sum = Sum {
                    accepted: span.count(totals.accepted, part),
                    rejected: 0,
                    work: work.during(span, part),
                };
                for of in reasons() {
                    let count = span.count(of.count, part);
                    sum.rejected = sum.rejected.saturating_add(count);
                    if count > 0 {
                        let reason = of.reason.clamp(0, REASONS);
                        let held = self.rejects.entry((level, part.bucket, reason)).or_default();
                        *held = held.saturating_add(count);
                    }
                }
                let key = (level, part.bucket, whose.sidecar);
                self.history.entry(key).or_default().0.add(sum);
                let of_worker = WORKER_LEVELS.iter().position(|known| *known == level);
                let kept = of_worker.and_then(|index| whose.oldest_worker.get(index));
                if kept.is_some_and(|oldest| part.to > *oldest) {
                    let key = (level, part.bucket, whose.worker);
                    self.workers.entry(key).or_default().add(sum);
                }
            }
        }
        let life = self.lives.entry(whose.worker).or_default();
        life.sum.add(whole);
        life.at = life.at.max(whose.at);
        if whole.accepted > 0 {
            life.shared = life.shared.max(whose.at);
        }
        let best = Work::of_event(totals.best.as_ref()).as_f64();
        if best > life.best.0 {
            life.best = (best, whose.at);
        }
        let session = self.sessions.entry(whose.session).or_default();
        session.0.add(whole);
        session.1 = session.1.max(whose.at);
        if whose.named {
            let part = self.parts.entry((whose.worker, whose.session)).or_default();
            part.0.add(whole);
            part.1 = part.1.max(whose.at);
        }
        self.sidecars.entry(whose.sidecar).or_default().add(whole);
    }

    /// How a sidecar stood in a span, with values as of 1 ms; and how long its answers took.
    pub(super) fn stood(
        &mut self,
        sidecar: i64,
        span: Span,
        oldest: [i64; 4],
        gauges: &Gauges,
        answers: &[v1::LatencyCount],
    ) {
        for (level, (step, oldest)) in LEVELS.into_iter().zip(oldest).enumerate() {
            for part in span.parts(step, oldest) {
                let of = &mut self.history.entry((level, part.bucket, sidecar)).or_default().1;
                let ms = part.ms();
                of.heard_ms += ms;
                of.connections_ms += gauges.connections_ms * ms;
                of.standard_ms += gauges.standard_ms * ms;
                of.extended_ms += gauges.extended_ms * ms;
                of.mint_ms += gauges.mint_ms * ms;
                of.waiting_ms += gauges.waiting_ms * ms as f64;
                of.confirmed = of.confirmed.max(gauges.confirmed);
                for answer in answers {
                    let count = span.count(answer.count, part);
                    if count > 0 {
                        let upto = i64::try_from(answer.upto_us).unwrap_or(0);
                        let held = self.acks.entry((level, part.bucket, upto)).or_default();
                        *held = held.saturating_add(count);
                    }
                }
            }
        }
    }

    /// Writes everything, and begins anew.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        let write = &mut self.write;
        for ((level, t, sidecar), (sum, of)) in &self.history {
            let (a, r, w, f) = sum.columns();
            write.history.execute(rusqlite::params![
                *level as i64,
                t,
                sidecar,
                a,
                r,
                w,
                f,
                of.heard_ms,
                of.connections_ms,
                of.standard_ms,
                of.extended_ms,
                of.mint_ms,
                of.waiting_ms,
                of.confirmed
            ])?;
        }
        for ((level, t, reason), count) in &self.rejects {
            write.reject.execute((*level as i64, t, reason, count))?;
        }
        for ((level, t, upto), count) in &self.acks {
            write.ack.execute((*level as i64, t, upto, count))?;
        }
        for ((level, t, worker), sum) in &self.workers {
            let (a, r, w, f) = sum.columns();
            write.worker.execute((*level as i64, t, worker, a, r, w, f))?;
        }
        for (worker, life) in &self.lives {
            let (a, r, w, f) = life.sum.columns();
            let (best, best_at) = life.best;
            write.life.execute((worker, a, r, w, f, life.at, life.shared, best, best_at))?;
        }
        for (session, (sum, at)) in &self.sessions {
            let (a, r, w, f) = sum.columns();
            write.session.execute((session, a, r, w, f, at))?;
        }
        for ((worker, session), (sum, at)) in &self.parts {
            let (a, r, w, f) = sum.columns();
            write.part.execute((worker, session, at, a, r, w, f))?;
        }
        for (sidecar, sum) in &self.sidecars {
            let (a, r, w, f) = sum.columns();
            write.sidecar.execute((sidecar, a, r, w, f))?;
        }
        self.clear();
        Ok(())
    }
}
