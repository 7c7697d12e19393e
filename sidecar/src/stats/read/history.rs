//! The pool in time, in columns for plots.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use serde_json::{json, Value};

use super::super::ingest::{Keep, LEVELS};
use super::summary::quantile_ms;
use super::{work, SILENT_MS};
use crate::types::RejectReason;

/// Points of an answer at most.
const POINTS_MAX: i64 = 2_000;

/// How far a sidecar may be behind the others before it is taken for silent, at least.
const LATE_MS: i64 = 30_000;

/// A time that is asked for, made to fit what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stats) struct Range {
    pub(in crate::stats) from: i64,
    pub(in crate::stats) to: i64,
    pub(in crate::stats) step: i64,
    /// Which level it is taken from.
    pub(in crate::stats) level: usize,
}

impl Range {
    /// From whole steps that hold `from` to `to`, both in milliseconds: in steps of at least
    /// `step`, of those of a level that still has the beginning, and few enough.
    pub(in crate::stats) fn fit(from: i64, to: i64, step: i64, keep: &Keep, now: i64) -> Self {
        let oldest = now - keep.levels.iter().copied().max().unwrap_or(0);
        let to = to.clamp(1, now.saturating_add(3_600_000));
        let from = from.max(oldest).min(to - 1).max(0);
        let least = step.max((to - from) / (POINTS_MAX - 2) + 1);
        let has = |level: usize| keep.levels.get(level).is_some_and(|keep| from >= now - keep);
        let finest = (0..LEVELS.len()).find(|level| has(*level)).unwrap_or(LEVELS.len() - 1);
        let of = |level: usize| LEVELS.get(level).copied().unwrap_or(1);
        let step_at = |level: usize| (least.max(of(level)) + of(level) - 1) / of(level) * of(level);
        // Coarser levels cost fewer rows: as long as that costs no more than half of the points.
        let fits = |level: &usize| step_at(*level) <= 2 * step_at(finest);
        let level = (finest..LEVELS.len()).rev().find(fits).unwrap_or(finest);
        let step = step_at(level);
        Self { from: from.div_euclid(step) * step, to, step, level }
    }

    /// The beginnings of its steps.
    fn times(self) -> impl Iterator<Item = i64> {
        let steps = (self.to - self.from + self.step - 1) / self.step;
        (0..steps).map(move |index| self.from + index * self.step)
    }
}

/// What all sidecars had in one step.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    accepted: i64,
    rejected: i64,
    /// In H/s.
    rate: f64,
    /// Averages of what stood, summed up over sidecars: connections, standard, extended.
    open: Option<[f64; 3]>,
    /// Waiting and confirmed.
    mint: Option<[f64; 2]>,
}

/// The history of all sidecars, or of one.
pub(in crate::stats) fn history(
    conn: &Connection,
    range: Range,
    now: i64,
) -> rusqlite::Result<Value> {
    let points = points(conn, range, now)?;
    let acks = acks(conn, range)?;
    let times: Vec<i64> = range.times().collect();
    let column = |of: &dyn Fn(&Point) -> Option<Value>| -> Vec<Value> {
        times.iter().map(|t| points.get(t).and_then(of).unwrap_or(Value::Null)).collect()
    };
    let open = |index: usize| move |point: &Point| point.open?.get(index).copied().map(Value::from);
    let mint = |index: usize| move |point: &Point| point.mint?.get(index).copied().map(Value::from);
    let ack = |percent: u32| -> Vec<Option<f64>> {
        times.iter().map(|t| quantile_ms(acks.get(t)?, percent)).collect()
    };
    Ok(json!({
        "from_ms": range.from,
        "to_ms": range.to,
        "step_ms": range.step,
        "t": times,
        "hashrate_hs": column(&|point| Some(point.rate.into())),
        "accepted": column(&|point| Some(point.accepted.into())),
        "rejected": column(&|point| Some(point.rejected.into())),
        "connections": column(&open(0)),
        "standard_channels": column(&open(1)),
        "extended_channels": column(&open(2)),
        "ack_p50_ms": ack(50),
        "ack_p99_ms": ack(99),
        "mint_waiting": column(&mint(0)),
        "mint_confirmed": column(&mint(1)),
    }))
}

/// Up to when each sidecar was heard: the last step is not over, and its rate is that of its part.
/// One that has been silent for longer than the others counts up to when those were heard.
fn horizons(conn: &Connection, now: i64) -> rusqlite::Result<HashMap<i64, i64>> {
    let last = horizon(conn, now)?;
    let mut statement = conn.prepare("SELECT id, max(heard_ms, last_ms), every_ms FROM sidecar")?;
    let rows = statement.query_map([], |row| {
        let (heard, every): (i64, i64) = (row.get(1)?, row.get(2)?);
        let is_late = heard.min(now) < last - LATE_MS.max(3 * every.min(SILENT_MS / 3));
        Ok((row.get(0)?, if is_late { last } else { heard.min(now) }))
    })?;
    rows.collect()
}

/// Up to when something was heard.
pub(super) fn horizon(conn: &Connection, now: i64) -> rusqlite::Result<i64> {
    let heard = "SELECT ifnull(max(max(heard_ms, last_ms)), 0) FROM sidecar";
    let heard: i64 = conn.query_row(heard, [], |row| row.get(0))?;
    Ok(heard.min(now))
}

fn points(conn: &Connection, range: Range, now: i64) -> rusqlite::Result<BTreeMap<i64, Point>> {
    let horizons = horizons(conn, now)?;
    let mut statement = conn.prepare(
        "SELECT t / ?4 * ?4 AS at, sum(work), sum(fraction), sum(accepted), sum(rejected), \
         sum(heard_ms), sum(connections_ms), sum(standard_ms), sum(extended_ms), sum(mint_ms), \
         sum(waiting_ms), max(confirmed), sidecar FROM history \
         WHERE level = ?1 AND t >= ?2 AND t < ?3 GROUP BY at, sidecar",
    )?;
    let mut rows = statement.query((range.level as i64, range.from, range.to, range.step))?;
    let mut points: BTreeMap<i64, Point> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let t: i64 = row.get(0)?;
        let point = points.entry(t).or_default();
        let until = horizons.get(&row.get(12)?).copied().unwrap_or(now);
        let ms = (t + range.step).min(until.max(t + 1)) - t;
        point.rate += work(row, 1)?.rate(ms).unwrap_or_default();
        point.accepted = point.accepted.saturating_add(row.get(3)?);
        point.rejected = point.rejected.saturating_add(row.get(4)?);
        let heard: i64 = row.get(5)?;
        if heard > 0 {
            let open = point.open.get_or_insert([0.0; 3]);
            for (index, held) in open.iter_mut().enumerate() {
                *held += row.get::<_, i64>(6 + index)? as f64 / heard as f64;
            }
        }
        let minted: i64 = row.get(9)?;
        if minted > 0 {
            let mint = point.mint.get_or_insert([0.0; 2]);
            mint[0] += row.get::<_, f64>(10)? / minted as f64;
            mint[1] += row.get::<_, f64>(11)?;
        }
    }
    Ok(points)
}

type Counts = Vec<(i64, i64)>;

fn acks(conn: &Connection, range: Range) -> rusqlite::Result<BTreeMap<i64, Counts>> {
    let mut statement = conn.prepare(
        "SELECT t / ?4 * ?4 AS at, upto, sum(count) FROM ack \
         WHERE level = ?1 AND t >= ?2 AND t < ?3 GROUP BY at, upto",
    )?;
    let mut rows = statement.query((range.level as i64, range.from, range.to, range.step))?;
    let mut acks: BTreeMap<i64, Counts> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        acks.entry(row.get(0)?).or_default().push((row.get(1)?, row.get(2)?));
    }
    Ok(acks)
}

/// Rejected shares by reason.
pub(in crate::stats) fn rejects(conn: &Connection, range: Range) -> rusqlite::Result<Value> {
    let mut statement = conn.prepare(
        "SELECT reason, sum(count) AS n FROM reject WHERE level = ?1 AND t >= ?2 AND t < ?3 \
         GROUP BY reason ORDER BY n DESC, reason",
    )?;
    let asked = (range.level as i64, range.from, range.to);
    let rows = statement.query_map(asked, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let counts = rows.collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
    let total: i64 = counts.iter().map(|(_, count)| count).sum();
    let items: Vec<Value> = counts
        .into_iter()
        .map(|(reason, count)| json!({ "reason": reason_text(reason), "count": count }))
        .collect();
    Ok(json!({
        "from_ms": range.from,
        "to_ms": range.to,
        "step_ms": range.step,
        "total": total,
        "items": items,
    }))
}

/// The SV2 error string of a number of the contract.
fn reason_text(reason: i64) -> &'static str {
    // The contract numbers them in this order, from 1.
    let index = usize::try_from(reason).ok().and_then(|reason| reason.checked_sub(1));
    let known = index.and_then(|index| RejectReason::ALL.get(index));
    known.map_or("unknown", |reason| reason.as_str())
}

#[cfg(test)]
mod tests {
    use gopool_sv2_proto::v1;
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const NOW: i64 = 2_000 * DAY;

    fn keep() -> Keep {
        let levels = [DAY, 7 * DAY, 90 * DAY, 730 * DAY];
        Keep { levels, worker_levels: [7 * DAY, 365 * DAY], sessions: DAY, events: 100 }
    }

    #[test]
    fn raises_the_step_to_what_is_kept() {
        for (back, step, want) in [
            (HOUR, 0, 10_000),
            (HOUR, 60_000, 60_000),
            (6 * HOUR, 0, 20_000),
            (24 * HOUR, 0, 60_000),
            (7 * DAY, 0, 600_000),
            (8 * DAY, 1, 600_000),
            (90 * DAY, 0, 2 * HOUR),
            (730 * DAY, 0, 9 * HOUR),
        ] {
            let range = Range::fit(NOW - back, NOW, step, &keep(), NOW);
            let of = LEVELS[range.level];
            assert_eq!(range.step % of, 0, "{range:?}");
            assert!(range.times().count() <= 2_000, "{range:?}");
            assert_eq!(range.step, want, "{back}: {range:?}");
        }
    }

    proptest! {
        #[test]
        fn never_gives_more_points_than_are_allowed(
            from in any::<i64>(), to in any::<i64>(), step in any::<i64>(), now in 1_i64..1 << 45,
        ) {
            let step = step.clamp(0, 1 << 40);
            let range = Range::fit(from, to, step, &keep(), now);
            let points = range.times().count();
            prop_assert!((1..=2_000).contains(&points), "{range:?}: {points}");
            prop_assert!(range.from < range.to && range.step >= 10_000);
        }
    }

    #[test]
    fn knows_the_reasons_of_the_contract() {
        for (number, text) in [(3, "stale-share"), (5, "duplicate-share"), (14, "unauthorized")] {
            assert_eq!(reason_text(number), text);
        }
        assert_eq!(i64::from(i32::from(v1::RejectReason::Unauthorized)), 14);
        for unknown in [-1, 0, 15, 64, i64::MAX] {
            assert_eq!(reason_text(unknown), "unknown");
        }
    }
}
