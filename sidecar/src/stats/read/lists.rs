//! Lists: what is open, blocks, mints, and what happened lately.

use rusqlite::{Connection, Row};
use serde_json::{json, Value};

use super::super::text::hex;
use super::{id, kind, label, work, Page, SILENT_MS};
use crate::obs::printable;

/// Opaque bytes of a row as text.
fn name(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(printable(&row.get::<_, Vec<u8>>(index)?))
}

/// Numbers of extensions, which are kept as JSON.
fn extensions(row: &Row<'_>, index: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(index)?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| json!([])))
}

/// An address, where it may be shown and is known.
fn address(row: &Row<'_>, index: usize, shown: bool) -> rusqlite::Result<Option<String>> {
    let text: String = row.get(index)?;
    Ok(Some(text).filter(|text| shown && !text.is_empty()))
}

/// A session: sidecar, channel, connection, kind, address, vendor, hardware, firmware, flags,
/// extensions, opened, ended, reason, accepted, rejected, work.
pub(super) fn session(row: &Row<'_>, show_addresses: bool) -> rusqlite::Result<Value> {
    Ok(json!({
        "sidecar": row.get::<_, String>(0)?,
        "channel_id": id(row.get(1)?),
        "connection_id": id(row.get(2)?),
        "kind": kind(row.get(3)?),
        "address": address(row, 4, show_addresses)?,
        "vendor": name(row, 5)?,
        "hardware": name(row, 6)?,
        "firmware": name(row, 7)?,
        "flags": row.get::<_, i64>(8)?,
        "extensions": extensions(row, 9)?,
        "opened_ms": row.get::<_, i64>(10)?,
        "ended_ms": row.get::<_, Option<i64>>(11)?,
        "reason": row.get::<_, Option<String>>(12)?,
        "accepted": row.get::<_, i64>(13)?,
        "rejected": row.get::<_, i64>(14)?,
        "work": work(row, 15)?.as_f64(),
    }))
}

/// A page of `items` of which there are `total`.
fn paged(page: Page, total: i64, items: Vec<Value>) -> Value {
    json!({ "offset": page.offset, "limit": page.limit, "total": total, "items": items })
}

/// Open connections.
pub(in crate::stats) fn connections(
    conn: &Connection,
    page: Page,
    show_addresses: bool,
    now: i64,
) -> rusqlite::Result<Value> {
    let current = "source IN (SELECT id FROM source WHERE last_ms > ?1)";
    let silent = now - SILENT_MS;
    let counted = format!("SELECT count(*) FROM connection WHERE {current}");
    let total: i64 = conn.query_row(&counted, [silent], |row| row.get(0))?;
    let mut statement = conn.prepare(&format!(
        "SELECT sidecar.name, connection_id, address, vendor, hardware, firmware, flags, \
         extensions, opened_ms, (SELECT count(*) FROM session WHERE session.source = \
         connection.source AND session.connection_id = connection.connection_id \
         AND ended_ms IS NULL) FROM connection JOIN source ON source.id = source \
         JOIN sidecar ON sidecar.id = source.sidecar WHERE {current} \
         ORDER BY source, connection_id LIMIT ?2 OFFSET ?3"
    ))?;
    let (limit, offset) = page.columns();
    let rows = statement.query_map((silent, limit, offset), |row| {
        Ok(json!({
            "sidecar": row.get::<_, String>(0)?,
            "connection_id": id(row.get(1)?),
            "address": address(row, 2, show_addresses)?,
            "vendor": name(row, 3)?,
            "hardware": name(row, 4)?,
            "firmware": name(row, 5)?,
            "flags": row.get::<_, i64>(6)?,
            "extensions": extensions(row, 7)?,
            "opened_ms": row.get::<_, i64>(8)?,
            "channels": row.get::<_, i64>(9)?,
        }))
    })?;
    Ok(paged(page, total, rows.collect::<rusqlite::Result<_>>()?))
}

/// Open channels.
pub(in crate::stats) fn channels(
    conn: &Connection,
    page: Page,
    show_addresses: bool,
    now: i64,
) -> rusqlite::Result<Value> {
    let label = label(show_addresses);
    let current = "ended_ms IS NULL AND source IN (SELECT id FROM source WHERE last_ms > ?1)";
    let silent = now - SILENT_MS;
    let counted = format!("SELECT count(*) FROM session WHERE {current}");
    let total: i64 = conn.query_row(&counted, [silent], |row| row.get(0))?;
    let mut statement = conn.prepare(&format!(
        "SELECT sidecar.name, channel_id, connection_id, session.kind, address, session.vendor, \
         hardware, firmware, flags, extensions, opened_ms, ended_ms, reason, session.accepted, \
         session.rejected, session.work, session.fraction, {label}, nominal, worker \
         FROM session JOIN source ON source.id = source \
         JOIN sidecar ON sidecar.id = source.sidecar JOIN worker ON worker.id = worker \
         WHERE {current} ORDER BY session.source, session.connection_id, channel_id \
         LIMIT ?2 OFFSET ?3"
    ))?;
    let (limit, offset) = page.columns();
    let rows = statement.query_map((silent, limit, offset), |row| {
        let mut channel = session(row, show_addresses)?;
        if let Some(channel) = channel.as_object_mut() {
            channel.insert("identity".to_owned(), row.get::<_, String>(17)?.into());
            channel.insert("nominal_hashrate_hs".to_owned(), row.get::<_, f64>(18)?.into());
            channel.insert("account_id".to_owned(), row.get::<_, i64>(19)?.into());
        }
        Ok(channel)
    })?;
    Ok(paged(page, total, rows.collect::<rusqlite::Result<_>>()?))
}

/// Blocks, newest first.
pub(in crate::stats) fn blocks(
    conn: &Connection,
    page: Page,
    show_addresses: bool,
) -> rusqlite::Result<Value> {
    let label = label(show_addresses);
    let total: i64 = conn.query_row("SELECT count(*) FROM block", [], |row| row.get(0))?;
    let mut statement = conn.prepare(&format!(
        "SELECT hash, height, at_ms, block.accepted, detail, {label}, name_label, sidecar.name \
         FROM block JOIN worker ON worker.id = worker JOIN sidecar ON sidecar.id = sidecar \
         ORDER BY at_ms DESC, block.id DESC LIMIT ?1 OFFSET ?2"
    ))?;
    let rows = statement.query_map(page.columns(), |row| {
        // Explorers print hashes the other way round.
        let hash = row.get::<_, Vec<u8>>(0)?.into_iter().rev();
        Ok(json!({
            "hash": hex(hash),
            "height": row.get::<_, Option<i64>>(1)?,
            "at_ms": row.get::<_, i64>(2)?,
            "accepted": row.get::<_, Option<bool>>(3)?,
            "detail": row.get::<_, String>(4)?,
            "identity": row.get::<_, String>(5)?,
            "worker": row.get::<_, String>(6)?,
            "sidecar": row.get::<_, String>(7)?,
        }))
    })?;
    Ok(paged(page, total, rows.collect::<rusqlite::Result<_>>()?))
}

/// The mint of each sidecar that has one.
pub(in crate::stats) fn mint(conn: &Connection) -> rusqlite::Result<Value> {
    let mut statement = conn
        .prepare("SELECT name, heard_ms, mint FROM sidecar WHERE mint IS NOT NULL ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        let text: String = row.get(2)?;
        let mut mint: Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(mint) = mint.as_object_mut() {
            mint.insert("sidecar".to_owned(), row.get::<_, String>(0)?.into());
            mint.insert("at_ms".to_owned(), row.get::<_, i64>(1)?.into());
        }
        Ok(mint)
    })?;
    Ok(json!({ "items": rows.collect::<rusqlite::Result<Vec<Value>>>()? }))
}

/// What happened lately, newest last: behind an id, or the last ones.
pub(in crate::stats) fn events(
    conn: &Connection,
    after: Option<i64>,
    limit: u64,
    show_addresses: bool,
) -> rusqlite::Result<Value> {
    let label = label(show_addresses);
    let columns = format!(
        "SELECT event.id AS id, at_ms, sidecar.name, event.kind, text, {label} FROM event \
         JOIN sidecar ON sidecar.id = sidecar LEFT JOIN worker ON worker.id = event.worker"
    );
    let query = match after {
        Some(_) => format!("{columns} WHERE event.id > ?1 ORDER BY event.id LIMIT ?2"),
        None => format!(
            "SELECT * FROM ({columns} WHERE event.id > ?1 ORDER BY event.id DESC LIMIT ?2) \
             ORDER BY id"
        ),
    };
    let mut statement = conn.prepare(&query)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((after.unwrap_or(0), limit), |row| {
        let text: String = row.get(4)?;
        let text = match row.get::<_, Option<String>>(5)? {
            Some(whose) => format!("{text} {whose}"),
            None => text,
        };
        Ok(json!({
            "id": row.get::<_, i64>(0)?,
            "at_ms": row.get::<_, i64>(1)?,
            "sidecar": row.get::<_, String>(2)?,
            "kind": row.get::<_, String>(3)?,
            "text": text,
        }))
    })?;
    Ok(json!({ "items": rows.collect::<rusqlite::Result<Vec<Value>>>()? }))
}
