//! Workers: a page of them, all of them as text, and one with its sessions.

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::{json, Value};

use super::super::ingest::LEVELS;
use super::super::work::Work;
use super::history::horizon;
use super::lists::session;
use super::{kind, label, work, Page, SILENT_MS};
use crate::obs::printable;

const DAY: i64 = 86_400_000;
/// Step of the history of workers that rates are taken from.
const STEP: i64 = LEVELS[2];
/// Whole steps that a rate is taken over, besides the one that runs.
const STEPS: i64 = 2;
/// The shortest time that a rate is taken over.
const LEAST_MS: i64 = 60_000;
/// Sessions of a worker that are shown.
const SESSIONS: i64 = 50;

/// What workers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stats) enum Sort {
    Identity,
    Hashrate,
    Accepted,
    Rejected,
    Work,
    Best,
    LastShare,
    Online,
}

impl Sort {
    /// All of them by their names in a query.
    pub(in crate::stats) const ALL: [(&'static str, Self); 8] = [
        ("identity", Self::Identity),
        ("hashrate", Self::Hashrate),
        ("accepted", Self::Accepted),
        ("rejected", Self::Rejected),
        ("work", Self::Work),
        ("best", Self::Best),
        ("last_share", Self::LastShare),
        ("online", Self::Online),
    ];
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stats) enum Order {
    Rising,
    Falling,
}

/// Which workers are wanted, and how.
#[derive(Clone, Debug)]
pub(in crate::stats) struct Filter {
    pub(in crate::stats) sort: Sort,
    pub(in crate::stats) order: Order,
    /// Part of an identity or of a worker's name, without regard to case; empty: any.
    pub(in crate::stats) text: String,
    pub(in crate::stats) online: Option<bool>,
    pub(in crate::stats) show_addresses: bool,
    pub(in crate::stats) now: i64,
}

/// Where rates begin and end.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: i64,
    to: i64,
}

impl Window {
    fn new(conn: &Connection, now: i64) -> rusqlite::Result<Self> {
        let to = horizon(conn, now)?;
        // After a long silence nothing is known of now.
        let to = if to <= now - SILENT_MS { 0 } else { to };
        Ok(Self { from: to.div_euclid(STEP) * STEP - STEPS * STEP, to })
    }

    /// The rate of a worker that was first seen at a time; `None`: nobody was heard.
    fn rate(self, work: Work, first_ms: i64) -> Option<f64> {
        let from = self.from.max(first_ms.min(self.to - LEAST_MS));
        (self.to > 0).then(|| work.rate(self.to - from)).flatten()
    }
}

/// Open channels of each worker that has one: its own, and those that it was named on lately.
const ONLINE: &str = "open AS (SELECT worker, count(*) AS n FROM session \
     INDEXED BY session_open WHERE ended_ms IS NULL AND source IN (SELECT id FROM source \
     WHERE last_ms > :silent) GROUP BY worker \
     UNION ALL SELECT part.worker, count(*) FROM session CROSS JOIN part \
     ON part.session = session.id WHERE ended_ms IS NULL AND source IN (SELECT id FROM source \
     WHERE last_ms > :silent) AND part.last_ms > :silent GROUP BY part.worker)";

/// Work of each worker in the window of rates.
const RECENT: &str = "recent AS (SELECT worker, sum(work) AS work, sum(fraction) AS fraction \
     FROM worker_history WHERE level = 2 AND t >= :from GROUP BY worker)";

impl Filter {
    /// The statement that gives the ids in order; what it computes is only what this asks for.
    fn select(&self, columns: &str) -> String {
        let label = label(self.show_addresses);
        let by_online = self.online.is_some() || self.sort == Sort::Online;
        let mut with = Vec::new();
        let mut joins = String::new();
        if by_online {
            with.push(ONLINE);
            joins.push_str(" LEFT JOIN open ON open.worker = worker.id");
        }
        if self.sort == Sort::Hashrate {
            with.push(RECENT);
            joins.push_str(" LEFT JOIN recent ON recent.worker = worker.id");
        }
        let with = match with.as_slice() {
            [] => String::new(),
            parts => format!("WITH {} ", parts.join(", ")),
        };
        let mut conditions = Vec::new();
        if !self.text.is_empty() {
            conditions.push(format!(
                "(instr(lower({label}), lower(:text)) OR instr(lower(name_label), lower(:text)))"
            ));
        }
        match self.online {
            Some(true) => conditions.push("open.n > 0".to_owned()),
            Some(false) => conditions.push("open.n IS NULL".to_owned()),
            None => {}
        }
        let filter = match conditions.as_slice() {
            [] => String::new(),
            parts => format!(" WHERE {}", parts.join(" AND ")),
        };
        let order = match self.order {
            Order::Rising => "ASC",
            Order::Falling => "DESC",
        };
        let key = match self.sort {
            Sort::Identity => format!("{label} {order}, name_label"),
            Sort::Hashrate => format!("ifnull(recent.work, -1) {order}, recent.fraction"),
            Sort::Accepted => "accepted".to_owned(),
            Sort::Rejected => "rejected".to_owned(),
            Sort::Work => format!("worker.work {order}, worker.fraction"),
            Sort::Best => "best".to_owned(),
            Sort::LastShare => "last_share_ms".to_owned(),
            Sort::Online => "ifnull(open.n, 0)".to_owned(),
        };
        format!(
            "{with}SELECT {columns} FROM worker{joins}{filter} ORDER BY {key} {order}, worker.id"
        )
    }

    /// The values that a statement takes.
    fn parameters(&self, window: Window) -> [(&'static str, Cell); 3] {
        [
            (":text", Cell::from(self.text.clone())),
            (":silent", Cell::from(self.now - SILENT_MS)),
            (":from", Cell::from(window.from)),
        ]
    }
}

/// Gives a statement those values that it asks for.
fn bind(
    statement: &mut rusqlite::Statement<'_>,
    parameters: &[(&str, Cell)],
) -> rusqlite::Result<()> {
    for (name, value) in parameters {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    Ok(())
}

/// Reads single workers.
struct Looks<'c> {
    worker: rusqlite::Statement<'c>,
    recent: rusqlite::Statement<'c>,
    own: rusqlite::Statement<'c>,
    named: rusqlite::Statement<'c>,
    window: Window,
    now: i64,
}

impl<'c> Looks<'c> {
    fn new(conn: &'c Connection, show_addresses: bool, now: i64) -> rusqlite::Result<Self> {
        let label = label(show_addresses);
        Ok(Self {
            worker: conn.prepare(&format!(
                "SELECT id, {label}, name_label, accepted, rejected, work, fraction, best, \
                 last_share_ms, last_ms, first_ms, vendor, kind FROM worker WHERE id = ?1"
            ))?,
            recent: conn.prepare(
                "SELECT work, fraction FROM worker_history \
                 WHERE level = 2 AND t = ?1 AND worker = ?2",
            )?,
            own: conn.prepare(
                "SELECT count(*) FROM session JOIN source ON source.id = source \
                 WHERE worker = ?1 AND ended_ms IS NULL AND source.last_ms > ?2",
            )?,
            named: conn.prepare(
                "SELECT count(*) FROM part JOIN session ON session.id = session \
                 WHERE part.worker = ?1 AND part.last_ms > ?2 AND ended_ms IS NULL",
            )?,
            window: Window::new(conn, now)?,
            now,
        })
    }

    /// A worker's line; `None`: there is none of that id.
    fn line(&mut self, id: i64) -> rusqlite::Result<Option<Value>> {
        let mut recent = Work::default();
        for step in 0..=STEPS {
            let found =
                self.recent.query_row((self.window.from + step * STEP, id), |row| work(row, 0));
            recent = recent.and(found.optional()?.unwrap_or_default());
        }
        let since = (id, self.now - SILENT_MS);
        let own: i64 = self.own.query_row(since, |row| row.get(0))?;
        let named: i64 = self.named.query_row(since, |row| row.get(0))?;
        let window = self.window;
        let line = |row: &Row<'_>| {
            let first_ms = row.get::<_, i64>(10)?;
            let rate = window.rate(recent, first_ms);
            let online = own + named;
            let here = online > 0 || !recent.is_none();
            let of = kind(row.get(12)?);
            Ok(json!({
                "id": row.get::<_, i64>(0)?,
                "identity": row.get::<_, String>(1)?,
                "worker": row.get::<_, String>(2)?,
                "online": online,
                "hashrate_hs": rate.filter(|_| here),
                "accepted": row.get::<_, i64>(3)?,
                "rejected": row.get::<_, i64>(4)?,
                "work": work(row, 5)?.as_f64(),
                "best": row.get::<_, f64>(7)?,
                "last_share_ms": row.get::<_, Option<i64>>(8)?,
                "last_activity_ms": row.get::<_, i64>(9)?,
                "first_seen_ms": first_ms,
                "vendor": printable(&row.get::<_, Vec<u8>>(11)?),
                "connection": if of == "unknown" { "sv2".to_owned() } else { format!("sv2 {of}") },
            }))
        };
        self.worker.query_row([id], line).optional()
    }
}

/// A page of workers.
pub(in crate::stats) fn page(
    conn: &Connection,
    filter: &Filter,
    page: Page,
) -> rusqlite::Result<Value> {
    let mut looks = Looks::new(conn, filter.show_addresses, filter.now)?;
    let parameters = filter.parameters(looks.window);
    // The same question, so that the two can't disagree.
    let counted = format!("SELECT count(*) FROM ({})", filter.select("worker.id"));
    let mut counted = conn.prepare(&counted)?;
    bind(&mut counted, &parameters)?;
    let total: i64 = match counted.raw_query().next()? {
        Some(row) => row.get(0)?,
        None => 0,
    };
    let (limit, offset) = page.columns();
    let mut found =
        conn.prepare(&format!("{} LIMIT {limit} OFFSET {offset}", filter.select("worker.id")))?;
    bind(&mut found, &parameters)?;
    let mut rows = found.raw_query();
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.extend(looks.line(row.get(0)?)?);
    }
    Ok(json!({ "offset": page.offset, "limit": page.limit, "total": total, "items": items }))
}

/// Every worker as a line of CSV, each handed to `line`; it says whether there is still somebody to
/// read them.
pub(in crate::stats) fn csv(
    conn: &Connection,
    filter: &Filter,
    mut line: impl FnMut(String) -> bool,
) -> rusqlite::Result<()> {
    const COLUMNS: [&str; 13] = [
        "identity",
        "worker",
        "online",
        "hashrate_hs",
        "accepted",
        "rejected",
        "work",
        "best",
        "last_share_ms",
        "last_activity_ms",
        "first_seen_ms",
        "vendor",
        "connection",
    ];
    if !line(format!("{}\r\n", COLUMNS.join(","))) {
        return Ok(());
    }
    let mut looks = Looks::new(conn, filter.show_addresses, filter.now)?;
    let mut found = conn.prepare(&filter.select("worker.id"))?;
    bind(&mut found, &filter.parameters(looks.window))?;
    let mut rows = found.raw_query();
    while let Some(row) = rows.next()? {
        let Some(worker) = looks.line(row.get(0)?)? else { continue };
        let cells: Vec<String> = COLUMNS.iter().map(|name| cell(&worker[name])).collect();
        if !line(format!("{}\r\n", cells.join(","))) {
            break;
        }
    }
    Ok(())
}

/// A cell that no spreadsheet takes for a formula.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        number => return number.to_string(),
    };
    let forged = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let mark = if forged { "'" } else { "" };
    let plain = text.replace('"', "\"\"");
    match forged || text.contains([',', '"', '\r', '\n', ';']) {
        true => format!("\"{mark}{plain}\""),
        false => plain,
    }
}

/// One worker with its sessions and its last day; `None`: there is none of that id.
pub(in crate::stats) fn account(
    conn: &Connection,
    id: i64,
    show_addresses: bool,
    now: i64,
) -> rusqlite::Result<Option<Value>> {
    let mut looks = Looks::new(conn, show_addresses, now)?;
    let Some(mut account) = looks.line(id)? else { return Ok(None) };
    let columns = "sidecar.name, channel_id, connection_id, session.kind, address, \
                   session.vendor, hardware, firmware, flags, extensions, opened_ms, ended_ms, \
                   reason";
    let joins = "JOIN source ON source.id = source JOIN sidecar ON sidecar.id = source.sidecar";
    let mut statement = conn.prepare(&format!(
        "SELECT {columns}, session.accepted, session.rejected, session.work, session.fraction \
         FROM session {joins} WHERE session.worker = ?1 \
         UNION ALL SELECT {columns}, part.accepted, part.rejected, part.work, part.fraction \
         FROM part JOIN session ON session.id = part.session {joins} WHERE part.worker = ?1 \
         ORDER BY opened_ms DESC LIMIT {SESSIONS}"
    ))?;
    let sessions = statement.query_map([id], |row| session(row, show_addresses))?;
    let sessions: Vec<Value> = sessions.collect::<rusqlite::Result<_>>()?;
    if let Some(account) = account.as_object_mut() {
        account.insert("sessions".to_owned(), sessions.into());
        account.insert("history".to_owned(), last_day(conn, id, now)?);
    }
    Ok(Some(account))
}

/// The last day of a worker in columns. Steps in which no sidecar was heard are null.
fn last_day(conn: &Connection, id: i64, now: i64) -> rusqlite::Result<Value> {
    let mut own = conn.prepare(
        "SELECT accepted, rejected, work, fraction FROM worker_history \
         WHERE level = 2 AND t = ?1 AND worker = ?2",
    )?;
    let mut heard = conn.prepare("SELECT 1 FROM history WHERE level = 2 AND t = ?1")?;
    let end = horizon(conn, now)?;
    let from = (now - DAY).div_euclid(STEP) * STEP;
    let steps = (now - from + STEP - 1) / STEP;
    let (mut t, mut rates, mut accepted, mut rejected) = (vec![], vec![], vec![], vec![]);
    for at in (0..steps).map(|step| from + step * STEP) {
        t.push(at);
        let found = own.query_row((at, id), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, work(row, 2)?))
        });
        let mut nothing = || heard.exists([at]).map(|heard| heard.then(Default::default));
        let found = match found.optional()? {
            Some(found) => Some(found),
            None => nothing()?,
        };
        rates.push(found.and_then(|(_, _, work)| work.rate((at + STEP).min(end.max(at + 1)) - at)));
        accepted.push(found.map(|(count, _, _)| count));
        rejected.push(found.map(|(_, count, _)| count));
    }
    Ok(json!({
        "from_ms": from,
        "to_ms": now,
        "step_ms": STEP,
        "t": t,
        "hashrate_hs": rates,
        "accepted": accepted,
        "rejected": rejected,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_formulas_in_cells() {
        for (text, want) in [
            ("alice.1", "alice.1"),
            ("a,b", "\"a,b\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("\tx", "\"'\tx\""),
            ("a\"b", "\"a\"\"b\""),
            ("", ""),
        ] {
            assert_eq!(cell(&Value::from(text)), want);
        }
        assert_eq!(cell(&Value::Null), "");
        assert_eq!(cell(&Value::from(-1.5)), "-1.5");
    }
}
