//! A week of ten thousand workers, over the real wire and with retention.

use std::time::Instant;

use super::*;

/// How often each channel tells its sums, in milliseconds.
const EVERY: i64 = 5 * MINUTE;

/// A number of the environment, for a shorter look.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Kibibytes that this process has, and the most it ever had.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (of("VmRSS:"), of("VmHWM:"))
}

#[test]
#[allow(clippy::print_stdout, reason = "its figures are what it is for")]
#[ignore = "minutes: make test-full"]
fn a_week_of_ten_thousand_workers() {
    let workers = setting("STATS_WORKERS", 10_000);
    let days = setting("STATS_DAYS", 7);
    let place = Place::new("week");
    let served = Served::new(&place.config(), T0);
    let begun = Instant::now();
    let mut now = T0;
    let rounds = i64::try_from(days).unwrap() * DAY / EVERY;
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        for first in (0..workers).step_by(500) {
            let all = first..(first + 500).min(workers);
            let open = all.flat_map(|id| {
                let identity = Bytes::from(format!("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7k.{id}"));
                let started = match started(id, id, b"") {
                    What::ChannelStarted(started) => {
                        v1::ChannelStarted { user_identity: identity, ..started }
                    }
                    _ => unreachable!(),
                };
                [connected(id), What::ChannelStarted(started)]
            });
            sidecar.tell(now, open.collect()).await;
        }
        for _ in 0..rounds {
            let since = now;
            now += EVERY;
            served.at(now);
            for first in (0..workers).step_by(1_000) {
                let all = first..(first + 1_000).min(workers);
                let sums = all.map(|id| shares(id, b"", 50 + id % 7, id % 3, since));
                sidecar.tell(now, sums.collect()).await;
            }
            sidecar.tell(now, vec![snapshot(workers, since)]).await;
        }
    });
    let took = begun.elapsed();
    let size = std::fs::metadata(place.database()).unwrap().len();
    let events = workers * u64::try_from(rounds).unwrap();
    let (rss, peak) = resident();
    println!(
        "{workers} workers, {days} days, {events} sums: {:.0} s ({:.0}/s), database {} MiB, \
         memory {} MiB, at most {} MiB (this test's own part included)",
        took.as_secs_f64(),
        events as f64 / took.as_secs_f64(),
        size >> 20,
        rss >> 10,
        peak >> 10
    );
    let summary = served.json("/api/v1/summary");
    let accepted: u64 = (0..workers).map(|id| (50 + id % 7) * rounds.unsigned_abs()).sum();
    assert_eq!(summary["shares"]["accepted"], accepted);
    assert_eq!(summary["workers"]["online"], workers);
    let week = now - 7 * DAY;
    for path in [
        "/api/v1/summary".to_owned(),
        "/api/v1/workers?limit=50".to_owned(),
        "/api/v1/workers?limit=500&sort=hashrate".to_owned(),
        "/api/v1/workers?sort=identity&q=99".to_owned(),
        "/api/v1/workers?sort=last_share&online=true".to_owned(),
        "/api/v1/channels?limit=50&offset=5000".to_owned(),
        "/api/v1/connections?limit=50".to_owned(),
        "/api/v1/accounts/77".to_owned(),
        "/api/v1/events".to_owned(),
        format!("/api/v1/history?from={}&to={now}", now - DAY),
        format!("/api/v1/history?from={week}&to={now}"),
        format!("/api/v1/rejects?from={week}&to={now}"),
        "/api/v1/workers.csv".to_owned(),
    ] {
        // The second answer: the first may read the disk.
        let mut ms = 0.0;
        for _ in 0..2 {
            let asked = Instant::now();
            assert_eq!(served.get(&path).status, 200);
            ms = asked.elapsed().as_secs_f64() * 1_000.0;
        }
        println!("{ms:8.1} ms  {path}");
    }
    let (_, peak) = resident();
    assert!(peak < 200 << 10, "{peak} KiB");
}
