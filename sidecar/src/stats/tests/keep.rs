//! What is kept for how long, and what is null.

use super::*;
use crate::stats::file;
use crate::stats::ingest::{Ingest, Keep, Source, Start};
use crate::stats::read::{history, Range};
use crate::stats::{clean, DAY as WHOLE_DAY};

fn keep() -> Keep {
    assert_eq!(WHOLE_DAY, DAY);
    Keep::from(&StatsService::default())
}

/// Writes events into a database without anything in between.
struct Pen {
    conn: rusqlite::Connection,
    seq: u64,
}

impl Pen {
    fn new(place: &Place, now: i64) -> (Self, Source) {
        let conn = file::open(&place.database(), now).unwrap().conn;
        let start = Start {
            sidecar: "one".to_owned(),
            source_id: vec![1; 16],
            durable: false,
            first_seq: 1,
        };
        let source = Ingest::new(&conn, keep()).unwrap().start(&start, now).unwrap().0;
        (Self { conn, seq: 0 }, source)
    }

    fn write(&mut self, source: Source, now: i64, at: i64, what: Vec<What>) {
        let mut ingest = Ingest::new(&self.conn, keep()).unwrap();
        let events: Vec<v1::Event> = what
            .into_iter()
            .map(|what| {
                self.seq += 1;
                v1::Event { seq: self.seq, at_ms: at, event: Some(what) }
            })
            .collect();
        ingest.events(source, &events, now).unwrap();
        ingest.flush().unwrap();
    }

    fn clean(&self, now: i64) {
        while clean::step(&self.conn, &keep(), now).unwrap() {}
    }

    fn count(&self, what: &str) -> i64 {
        self.conn.query_row(&format!("SELECT {what}"), [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn gaps_are_null_and_idle_times_are_zero() {
    let place = Place::new("gaps");
    let (mut pen, source) = Pen::new(&place, T0);
    let at = T0 + 10 * MINUTE;
    pen.write(source, at, T0 + 10_000, vec![shares(1, b"", 10, 0, T0), snapshot(3, T0)]);
    // Heard, and nothing was mined.
    pen.write(source, at, T0 + 20_000, vec![snapshot(3, T0 + 10_000)]);
    // Silence for a minute; then on for 5 seconds.
    pen.write(source, at, T0 + 85_000, vec![snapshot(5, T0 + 80_000)]);
    let range = Range::fit(T0, T0 + 100_000, 10_000, &keep(), at);
    let found = history(&pen.conn, range, at).unwrap();
    let column = |name: &str| found[name].as_array().unwrap().clone();
    assert_eq!(found["step_ms"], 10_000);
    let rates = column("hashrate_hs");
    assert_eq!(rates.len(), 10);
    assert_eq!(rates[0], 1_000.0 * 2.0_f64.powi(32));
    assert_eq!(rates[1], 0.0);
    assert!(rates[2..8].iter().all(Value::is_null) && rates[9].is_null(), "{rates:?}");
    assert_eq!(rates[8], 0.0);
    assert_eq!(column("connections")[..3], [3.0.into(), 3.0.into(), Value::Null]);
    assert_eq!(column("connections")[8], 5.0);
    assert_eq!(column("accepted")[..3], [10.into(), 0.into(), Value::Null]);
    assert_eq!(column("ack_p50_ms")[..3], [1.0.into(), 1.0.into(), Value::Null]);
    assert_eq!(column("mint_waiting")[0], 30.0);
    assert_eq!(column("mint_confirmed")[1], 500.0);
}

#[test]
fn spreads_what_covers_a_long_time_and_loses_nothing() {
    let place = Place::new("spread");
    let (mut pen, source) = Pen::new(&place, T0);
    let at = T0 + HOUR;
    pen.write(source, at, at, vec![shares(1, b"", 3_601, 7, T0)]);
    for (level, step) in [10_000_i64, MINUTE, 5 * MINUTE, HOUR].into_iter().enumerate() {
        let rows = format!("count(*) FROM history WHERE level = {level}");
        assert_eq!(pen.count(&rows), HOUR / step, "{level}");
        for (column, sum) in [("accepted", 3_601), ("rejected", 7), ("work", 3_601_000)] {
            let found = pen.count(&format!("sum({column}) FROM history WHERE level = {level}"));
            let carried = pen.count(&format!(
                "CASE '{column}' WHEN 'work' THEN sum(fraction) >> 32 ELSE 0 END \
                 FROM history WHERE level = {level}"
            ));
            assert_eq!(found + carried, sum, "{level} {column}");
        }
        let most = format!("max(accepted) FROM history WHERE level = {level}");
        assert!(pen.count(&most) <= 3_601 * step / HOUR + 1);
        let rejects = format!("sum(count) FROM reject WHERE level = {level}");
        assert_eq!(pen.count(&rejects), 7);
    }
}

#[test]
fn keeps_each_level_for_its_time_and_totals_for_ever() {
    let place = Place::new("keeps");
    let (mut pen, source) = Pen::new(&place, T0);
    // A snapshot and shares each 6 hours for 800 days.
    let mut now = T0;
    for _ in 0..3_200 {
        now += 6 * HOUR;
        let news = vec![shares(1, b"", 1, 1, now - 10_000), snapshot(1, now - 10_000)];
        pen.write(source, now, now, news);
        pen.clean(now);
    }
    let rows = |level: usize| pen.count(&format!("count(*) FROM history WHERE level = {level}"));
    assert!((4..=6).contains(&rows(0)), "{}", rows(0));
    assert!((28..=30).contains(&rows(1)), "{}", rows(1));
    assert!((360..=362).contains(&rows(2)), "{}", rows(2));
    assert!((2_920..=2_922).contains(&rows(3)), "{}", rows(3));
    let oldest = pen.count("min(t) FROM history WHERE level = 3");
    assert!(oldest > now - 731 * DAY && oldest < now - 729 * DAY);
    for table in ["reject", "ack"] {
        for level in 0..4 {
            let count = format!("count(DISTINCT t) FROM {table} WHERE level = {level}");
            assert_eq!(pen.count(&count), rows(level), "{table} {level}");
        }
    }
    let workers =
        |level: i64| pen.count(&format!("count(*) FROM worker_history WHERE level = {level}"));
    assert!((28..=30).contains(&workers(2)), "{}", workers(2));
    assert!((1_460..=1_462).contains(&workers(3)), "{}", workers(3));
    assert_eq!(pen.count("accepted FROM worker"), 3_200);
    assert_eq!(pen.count("accepted FROM sidecar"), 3_200);
}

#[test]
fn forgets_old_sessions_and_events_but_no_worker() {
    let place = Place::new("forgets");
    let (mut pen, source) = Pen::new(&place, T0);
    for channel in 0..6_000 {
        let end = v1::ChannelEnded { channel_id: channel, reason: "gone".to_owned() };
        let news = vec![
            started(channel, 1, b"alice"),
            shares(channel, b"w", 1, 0, T0 - 1),
            What::ChannelEnded(end),
        ];
        pen.write(source, T0, T0, news);
    }
    pen.write(source, T0, T0, vec![connected(9), started(9_999, 9, b"bob")]);
    pen.clean(T0 + 90 * DAY - 1);
    assert_eq!(pen.count("count(*) FROM session WHERE ended_ms IS NOT NULL"), 6_001);
    assert_eq!(pen.count("count(*) FROM event"), 10_000);
    // Nobody has heard of the sidecar for long: what it had open is over.
    assert_eq!(pen.count("count(*) FROM connection"), 0);
    pen.clean(T0 + 90 * DAY + 1);
    assert_eq!(pen.count("count(*) FROM session"), 0);
    assert_eq!(pen.count("count(*) FROM part"), 0);
    assert_eq!(pen.count("sum(accepted) FROM worker"), 6_000);
    assert_eq!(pen.count("count(*) FROM source"), 1);
}
