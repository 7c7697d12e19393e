//! Everything at one look.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{json, Value};

use super::super::figures::Figures;
use super::super::ingest::LEVELS;
use super::super::work::Work;
use super::{label, work, SILENT_MS};

const DAY: i64 = 86_400_000;

/// The shortest silence of all sidecars that makes the page say so.
const STALE_MS: i64 = 30_000;

/// Sidecars that were silent for this long are not listed any more: a week.
const GONE_MS: i64 = 7 * DAY;

/// Where an average begins and which level it is taken from: one minute, ten, an hour, a day.
const WINDOWS: [(&str, i64, usize); 4] =
    [("m1", 60_000, 0), ("m10", 600_000, 0), ("h1", 3_600_000, 1), ("d1", DAY, 2)];

/// A sidecar as it stands.
struct Sidecar {
    id: i64,
    name: String,
    last_ms: i64,
    heard_ms: i64,
    every_ms: i64,
    open: [i64; 3],
    mint: Option<Value>,
}

impl Sidecar {
    /// Whether what it said is still true.
    fn is_current(&self, now: i64) -> bool {
        self.last_ms > now - SILENT_MS
    }

    /// Up to when its silence means nothing.
    fn expected_ms(&self) -> i64 {
        self.last_ms + STALE_MS.max(3 * self.every_ms.min(SILENT_MS / 3))
    }
}

/// The summary.
pub(in crate::stats) fn summary(
    conn: &Connection,
    figures: &Figures,
    now: i64,
    started_ms: i64,
    show_addresses: bool,
) -> rusqlite::Result<Value> {
    let sidecars = sidecars(conn)?;
    let current: Vec<&Sidecar> = sidecars.iter().filter(|of| of.is_current(now)).collect();
    let open = |index: usize| -> i64 {
        current.iter().map(|of| of.open.get(index).copied().unwrap_or(0)).sum()
    };
    let listed: Vec<Value> = sidecars
        .iter()
        .filter(|of| of.last_ms > now - GONE_MS)
        .map(|of| {
            let connected = figures.connected(&of.name);
            json!({
                "id": of.name,
                "connected": connected.is_some(),
                "last_event_ms": of.last_ms,
                "since_ms": connected.unwrap_or(of.last_ms),
            })
        })
        .collect();
    let stale = match sidecars.iter().max_by_key(|of| of.expected_ms()) {
        Some(last) if last.expected_ms() < now => Some(last.last_ms),
        Some(_) => None,
        // Nobody has ever published.
        None => Some(started_ms),
    };
    let mut hashrate = serde_json::Map::new();
    for (name, window, level) in WINDOWS {
        hashrate.insert(name.to_owned(), json!(rate(conn, &sidecars, now, window, level)?));
    }
    let workers = json!({ "online": online(conn, now)?, "known": count(conn, "worker")? });
    let shares = conn.query_row(
        "SELECT ifnull(sum(accepted), 0), ifnull(sum(rejected), 0), ifnull(sum(work), 0), \
         ifnull(sum(fraction), 0) FROM sidecar",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, work(row, 2)?)),
    )?;
    let day = conn.query_row(
        "SELECT ifnull(sum(accepted), 0), ifnull(sum(rejected), 0), ifnull(sum(work), 0), \
         ifnull(sum(fraction), 0) FROM history WHERE level = 2 AND t >= ?1",
        [now - DAY],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, work(row, 2)?)),
    )?;
    Ok(json!({
        "now_ms": now,
        "version": env!("CARGO_PKG_VERSION"),
        "started_ms": started_ms,
        "stale_since_ms": stale,
        "sidecars": listed,
        "connections": open(0),
        "channels": { "standard": open(1), "extended": open(2) },
        "workers": workers,
        "hashrate_hs": hashrate,
        "shares": sums(shares),
        "last_day": sums(day),
        "best": best(conn, show_addresses)?,
        "blocks": blocks(conn)?,
        "ack_ms": acks(conn, now)?,
        "health": health(conn, now)?,
        "mint": mints(&current),
    }))
}

/// Accepted, rejected and work.
fn sums((accepted, rejected, work): (i64, i64, Work)) -> Value {
    json!({ "accepted": accepted, "rejected": rejected, "work": work.as_f64() })
}

fn sidecars(conn: &Connection) -> rusqlite::Result<Vec<Sidecar>> {
    let mut statement = conn.prepare(
        "SELECT id, name, last_ms, heard_ms, every_ms, connections, standard, extended, mint \
         FROM sidecar ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        let mint: Option<String> = row.get(8)?;
        Ok(Sidecar {
            id: row.get(0)?,
            name: row.get(1)?,
            last_ms: row.get(2)?,
            heard_ms: row.get(3)?,
            every_ms: row.get(4)?,
            open: [row.get(5)?, row.get(6)?, row.get(7)?],
            mint: mint.and_then(|text| serde_json::from_str(&text).ok()),
        })
    })?;
    rows.collect()
}

/// The hashrate of the last while. Each sidecar's ends where it was last heard of, so that what is
/// still to come of one is no dip. `None`: nobody was heard.
fn rate(
    conn: &Connection,
    sidecars: &[Sidecar],
    now: i64,
    window: i64,
    level: usize,
) -> rusqlite::Result<Option<f64>> {
    let step = LEVELS.get(level).copied().unwrap_or(1);
    let mut statement = conn.prepare(
        "SELECT ifnull(sum(work), 0), ifnull(sum(fraction), 0), ifnull(sum(heard_ms), 0), \
         count(*) FROM history WHERE level = ?1 AND t >= ?2 AND sidecar = ?3",
    )?;
    let (mut sum, mut heard, mut rows) = (Work::default(), 0, 0);
    for sidecar in sidecars {
        let end = sidecar.heard_ms.max(sidecar.last_ms).min(now);
        // One that has been silent for as long adds nothing to what is now.
        if end <= now - window.max(STALE_MS) {
            continue;
        }
        let from = (end - window).div_euclid(step) * step;
        let found = statement.query_row((level as i64, from, sidecar.id), |row| {
            Ok((work(row, 0)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        })?;
        sum = sum.and(found.0);
        heard = heard.max(found.1);
        rows += found.2;
    }
    // Who told of shares but never how it stands has told of the whole window.
    let ms = if heard > 0 { heard } else { window };
    Ok((rows > 0).then(|| sum.rate(ms)).flatten())
}

/// Workers with an open channel, and those that shares on one have named lately.
fn online(conn: &Connection, now: i64) -> rusqlite::Result<i64> {
    let own = conn.query_row(
        "SELECT count(DISTINCT worker) FROM session WHERE ended_ms IS NULL AND source IN \
         (SELECT id FROM source WHERE last_ms > ?1)",
        [now - SILENT_MS],
        |row| row.get::<_, i64>(0),
    )?;
    let named = conn.query_row(
        "SELECT count(DISTINCT part.worker) FROM session CROSS JOIN part \
         ON part.session = session.id WHERE ended_ms IS NULL AND source IN \
         (SELECT id FROM source WHERE last_ms > ?1) AND part.last_ms > ?1",
        [now - SILENT_MS],
        |row| row.get::<_, i64>(0),
    )?;
    Ok(own + named)
}

fn count(conn: &Connection, table: &str) -> rusqlite::Result<i64> {
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
}

fn best(conn: &Connection, show_addresses: bool) -> rusqlite::Result<Option<Value>> {
    let label = label(show_addresses);
    let found = conn.query_row(
        &format!(
            "SELECT best, {label}, name_label, best_ms FROM worker WHERE best > 0 \
             ORDER BY best DESC LIMIT 1"
        ),
        [],
        |row| {
            Ok(json!({
                "difficulty": row.get::<_, f64>(0)?,
                "identity": row.get::<_, String>(1)?,
                "worker": row.get::<_, String>(2)?,
                "at_ms": row.get::<_, Option<i64>>(3)?,
            }))
        },
    );
    found.optional()
}

fn blocks(conn: &Connection) -> rusqlite::Result<Value> {
    conn.query_row(
        "SELECT count(*), ifnull(sum(accepted = 1), 0), ifnull(sum(accepted = 0), 0), \
         ifnull(sum(accepted IS NULL), 0) FROM block",
        [],
        |row| {
            Ok(json!({
                "found": row.get::<_, i64>(0)?,
                "accepted": row.get::<_, i64>(1)?,
                "refused": row.get::<_, i64>(2)?,
                "unknown": row.get::<_, i64>(3)?,
            }))
        },
    )
}

/// How long answers took in the last ten minutes.
fn acks(conn: &Connection, now: i64) -> rusqlite::Result<Value> {
    let mut statement =
        conn.prepare("SELECT upto, sum(count) FROM ack WHERE level = 0 AND t >= ?1 GROUP BY upto")?;
    let rows = statement.query_map([now - 600_000], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let counts = rows.collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
    let of = |percent| quantile_ms(&counts, percent);
    Ok(json!({ "p50": of(50), "p90": of(90), "p99": of(99) }))
}

/// The bound in milliseconds below which so many of a hundred are; of those beyond every bound it
/// is the highest bound that is known. Counts by bound in microseconds, 0 for no bound.
pub(super) fn quantile_ms(counts: &[(i64, i64)], percent: u32) -> Option<f64> {
    let all: i64 = counts.iter().map(|(_, count)| count).sum();
    if all == 0 {
        return None;
    }
    let wanted = f64::from(percent) / 100.0 * all as f64;
    let mut bounded: Vec<_> = counts.iter().filter(|(upto, _)| *upto > 0).collect();
    bounded.sort_unstable();
    let mut sum = 0;
    for (upto, count) in &bounded {
        sum += count;
        if sum as f64 >= wanted {
            return Some(*upto as f64 / 1000.0);
        }
    }
    bounded.last().map(|(upto, _)| *upto as f64 / 1000.0)
}

fn health(conn: &Connection, now: i64) -> rusqlite::Result<Vec<Value>> {
    let mut statement = conn.prepare(
        "SELECT sidecar.name, health.name, state, age_ms, since_ms, detail FROM health \
         JOIN sidecar ON sidecar.id = sidecar WHERE sidecar.last_ms > ?1 \
         ORDER BY sidecar.name, health.name",
    )?;
    let rows = statement.query_map([now - GONE_MS], |row| {
        Ok(json!({
            "sidecar": row.get::<_, String>(0)?,
            "name": row.get::<_, String>(1)?,
            "state": row.get::<_, String>(2)?,
            "age_ms": row.get::<_, Option<i64>>(3)?,
            "since_ms": row.get::<_, i64>(4)?,
            "detail": row.get::<_, String>(5)?,
        }))
    })?;
    rows.collect()
}

/// The mints of all sidecars in one.
fn mints(sidecars: &[&Sidecar]) -> Option<Value> {
    let mints: Vec<&Value> = sidecars.iter().filter_map(|of| of.mint.as_ref()).collect();
    if mints.is_empty() {
        return None;
    }
    let sum = |name: &str| -> u64 {
        mints.iter().filter_map(|mint| mint[name].as_u64()).fold(0, u64::saturating_add)
    };
    let mut credits: Vec<(String, u64, u64)> = Vec::new();
    for credit in mints.iter().filter_map(|mint| mint["credits"].as_array()).flatten() {
        let state = credit["state"].as_str().unwrap_or_default();
        let count = credit["count"].as_u64().unwrap_or(0);
        let amount = credit["amount"].as_u64().unwrap_or(0);
        match credits.iter_mut().find(|(known, _, _)| known == state) {
            Some(known) => {
                known.1 = known.1.saturating_add(count);
                known.2 = known.2.saturating_add(amount);
            }
            None => credits.push((state.to_owned(), count, amount)),
        }
    }
    let credits: Vec<Value> = credits
        .into_iter()
        .map(|(state, count, amount)| json!({"state": state, "count": count, "amount": amount}))
        .collect();
    let oldest = mints.iter().filter_map(|mint| mint["oldest_unconfirmed_ms"].as_i64()).min();
    let stopped = mints.iter().any(|mint| mint["sending_stopped"] == true);
    Some(json!({
        "credits": credits,
        "oldest_unconfirmed_ms": oldest,
        "confirmed": sum("confirmed"),
        "surplus": sum("surplus"),
        "sending_stopped": stopped,
    }))
}
