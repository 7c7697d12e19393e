//! Retention: what is too old goes, a little at a time, so that events never wait for it.

use rusqlite::Connection;

use super::ingest::{Keep, LEVELS, SILENT, WORKER_LEVELS};

/// Rows of one step at most, where rows are counted.
const STEP: i64 = 2_000;

/// Sidecars that were silent for this long have nothing open any more: a week.
const SILENT_MS: i64 = 7 * 86_400_000;

/// Pages that go back to the disk in one step.
const PAGES: i64 = 2_000;

/// Deletes some of what is too old. `true`: there may be more.
pub(super) fn step(conn: &Connection, keep: &Keep, now: i64) -> rusqlite::Result<bool> {
    let mut more = false;
    for (level, (step, keep)) in LEVELS.into_iter().zip(keep.levels).enumerate() {
        // A bucket goes when all of it is too old.
        let before = now - keep - step;
        for table in ["history", "reject", "ack"] {
            let oldest = format!(
                "DELETE FROM {table} WHERE level = ?1 AND t < min(?2, ifnull((SELECT t FROM \
                 {table} WHERE level = ?1 ORDER BY t LIMIT 1 OFFSET {STEP}), ?2))"
            );
            more |= conn.execute(&oldest, (level as i64, before))? as i64 >= STEP;
        }
    }
    for (level, keep) in WORKER_LEVELS.into_iter().zip(keep.worker_levels) {
        let before = now - keep - LEVELS.get(level).copied().unwrap_or(0);
        // One bucket: as many rows as there were workers.
        let deleted = conn.execute(
            "DELETE FROM worker_history WHERE level = ?1 AND t = (SELECT min(t) FROM \
             worker_history WHERE level = ?1) AND t < ?2",
            (level as i64, before),
        )?;
        more |= deleted > 0;
    }
    conn.execute(
        "UPDATE session SET ended_ms = last_ms, reason = ?2 \
         WHERE ended_ms IS NULL AND source IN (SELECT id FROM source WHERE last_ms < ?1)",
        (now - SILENT_MS, SILENT),
    )?;
    conn.execute(
        "DELETE FROM connection WHERE source IN (SELECT id FROM source WHERE last_ms < ?1)",
        [now - SILENT_MS],
    )?;
    let old = format!("SELECT id FROM session WHERE ended_ms < ?1 ORDER BY ended_ms LIMIT {STEP}");
    let before = [now - keep.sessions];
    conn.execute(&format!("DELETE FROM part WHERE session IN ({old})"), before)?;
    let sessions = conn.execute(&format!("DELETE FROM session WHERE id IN ({old})"), before)?;
    more |= sessions as i64 >= STEP;
    let events = conn.execute(
        "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1 AND id < \
         (SELECT min(id) FROM event) + ?2",
        (keep.events, STEP),
    )?;
    more |= events as i64 >= STEP;
    if more {
        return Ok(true);
    }
    // Sources that nothing points to any more; the newest of a sidecar stays.
    conn.execute(
        "DELETE FROM source WHERE last_ms < ?1 AND id NOT IN (SELECT source FROM session) \
         AND id NOT IN (SELECT source FROM connection) \
         AND id NOT IN (SELECT max(id) FROM source GROUP BY sidecar)",
        before,
    )?;
    Ok(false)
}

/// Gives some of the free pages back to the disk.
pub(super) fn shrink(conn: &Connection) -> rusqlite::Result<()> {
    let free: i64 = conn.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    // What is free is used again first: only a lot of it is worth the writing.
    if free > 4 * PAGES {
        conn.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    }
    Ok(())
}
