//! Many miners for a long time: what sidecar and pool hold must not grow.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use gopool_sv2_tests::{Line, LineOptions, Process};

use crate::audit::{Audit, Books};
use crate::chaos::EASIEST;
use crate::crowd::{place, Crowd};
use crate::miner::Plan;
use crate::plot::{svg, Panel};
use crate::report;
use crate::trend::slope;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Resident memory that each process may gain in ten minutes, in MiB.
const RISE_MIB: f64 = 1.0;
/// Part of the descriptors and goroutines that may be gained or lost in ten minutes: miners come
/// and go all the time, so that the number at one moment is not that at another.
const DRIFT: f64 = 0.005;

/// What one look shows.
#[derive(Debug, Clone, Copy)]
struct Look {
    minutes: f64,
    sidecar_mib: f64,
    pool_mib: f64,
    heap_mib: f64,
    sidecar_files: f64,
    pool_files: f64,
    goroutines: f64,
}

fn look(line: &Line, begun: Instant) -> Look {
    let pool = line.pool.as_ref().unwrap();
    let mib = |process: &Process| process.resident_kib() as f64 / 1024.0;
    let files = |process: &Process| {
        fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count() as f64
    };
    let mut text = String::new();
    let mut socket = UnixStream::connect(line.path("counters.sock")).unwrap();
    socket.read_to_string(&mut text).unwrap();
    let counters: serde_json::Value = serde_json::from_str(&text).unwrap();
    Look {
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        sidecar_mib: mib(&line.sidecar),
        pool_mib: mib(pool),
        heap_mib: counters["heap_bytes"].as_f64().unwrap() / f64::from(1 << 20),
        sidecar_files: files(&line.sidecar),
        pool_files: files(pool),
        goroutines: counters["goroutines"].as_f64().unwrap(),
    }
}

/// Soaks for `minutes`. What is found goes to `docs`, or where tests keep their files.
pub fn run(miners: usize, minutes: f64, docs: Option<PathBuf>) {
    let minipool = format!(
        "-min-difficulty {EASIEST} -max-difficulty {EASIEST} -test-tip-every 20s \
         -counters counters.sock"
    );
    let line = Line::start(LineOptions {
        network_bits: "1f00ffff",
        minipool: minipool.split_whitespace().map(ToOwned::to_owned).collect(),
        listen: "connections_per_sec = 0\nconnections_per_sec_per_address = 0".into(),
        log: "info,gopool_sv2::session=warn",
        ..LineOptions::default()
    })
    .unwrap();
    let to = place(&line);
    let crowd = Crowd::start(miners, |number| Plan {
        place: to.clone(),
        period: Duration::from_secs(20),
        window: 4,
        // Every twentieth comes and goes.
        stay: (number % 20 == 19).then_some(Duration::from_secs(20)),
        seed: 1,
    });
    crowd.wait_for_work();
    let begun = Instant::now();
    let mut looks = Vec::new();
    while begun.elapsed().as_secs_f64() < minutes * 60.0 {
        looks.push(look(&line, begun));
        sleep(EVERY);
    }
    let journals = crowd.stop(Duration::from_secs(60));
    let log = fs::read_to_string(line.path("sidecar.log")).unwrap();
    let stopped = line.stop().unwrap();
    let sidecar = stopped.lives("sidecar").unwrap();
    let pool = stopped.lives("minipool").unwrap();
    let audit = Audit::of(&journals, &Books { sidecar, pool, log: &log }, &[], 1);
    report(&format!("soak: {audit}"));

    let connections: usize = journals.iter().map(|journal| journal.connections.len()).sum();
    let trends = trends(&looks, minutes);
    let heading = format!(
        "{miners} miners for {minutes:.0} minutes, a share each 20 s and a new tip as often; \
         {connections} connections and {} accepted shares in all.",
        audit.heard
    );
    let section = section(&heading, &trends);
    report(&section);
    publish(&looks, &section, docs.as_deref());
    audit.assert_equal();
    for trend in &trends {
        assert!(trend.rise.abs() < trend.limit || trend.may_fall && trend.rise < 0.0, "{trend:?}");
    }
}

/// Where one row goes.
#[derive(Debug)]
struct Trend {
    name: &'static str,
    first: f64,
    last: f64,
    /// In ten minutes, by the regression.
    rise: f64,
    limit: f64,
    may_fall: bool,
}

type Column = fn(&Look) -> f64;

fn trends(looks: &[Look], minutes: f64) -> Vec<Trend> {
    let columns: [(&str, Column, bool); 5] = [
        ("sidecar, resident MiB", |l| l.sidecar_mib, true),
        ("minipool, resident MiB", |l| l.pool_mib, true),
        ("sidecar, descriptors", |l| l.sidecar_files, false),
        ("minipool, descriptors", |l| l.pool_files, false),
        ("minipool, goroutines", |l| l.goroutines, false),
    ];
    // What is filled once is no leak: the first five minutes don't count.
    let from = (minutes / 4.0).min(5.0);
    let late: Vec<&Look> = looks.iter().filter(|look| look.minutes >= from).collect();
    let trend = |(name, column, memory): (&'static str, Column, bool)| {
        let points: Vec<_> = late.iter().map(|look| (look.minutes, column(look))).collect();
        let (first, last) = (points[0].1, points[points.len() - 1].1);
        // Never below one: that is a new tip's goroutine.
        let limit = if memory { RISE_MIB } else { (first * DRIFT).max(1.0) };
        Trend { name, first, last, rise: slope(&points) * 10.0, limit, may_fall: memory }
    };
    columns.into_iter().map(trend).collect()
}

/// The section of docs/performance.md.
fn section(heading: &str, trends: &[Trend]) -> String {
    let mut out = format!("{heading}\n\n![Memory, descriptors, goroutines](soak.svg)\n\n");
    out.push_str("| | after the first minutes | at the end | rise in 10 minutes | limit |\n");
    out.push_str("| --- | --- | --- | --- | --- |\n");
    for Trend { name, first, last, rise, limit, .. } in trends {
        let _ = writeln!(out, "| {name} | {first:.1} | {last:.1} | {rise:+.2} | {limit:.1} |");
    }
    out
}

fn publish(looks: &[Look], section: &str, docs: Option<&Path>) {
    let row = |name, column: Column| -> crate::plot::Row {
        (name, looks.iter().map(|look| (look.minutes, column(look))).collect())
    };
    let panels = [
        Panel {
            title: "resident memory in MiB, over minutes",
            rows: vec![
                row("sidecar", |l| l.sidecar_mib),
                row("minipool", |l| l.pool_mib),
                row("minipool's heap", |l| l.heap_mib),
            ],
        },
        Panel {
            title: "open descriptors",
            rows: vec![row("sidecar", |l| l.sidecar_files), row("minipool", |l| l.pool_files)],
        },
        Panel { title: "goroutines", rows: vec![row("minipool", |l| l.goroutines)] },
    ];
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(docs.unwrap_or(scratch).join("soak.svg"), svg(&panels)).unwrap();
    fs::write(scratch.join("soak.txt"), format!("{looks:#?}\n")).unwrap();
    let Some(page) = docs.map(|docs| docs.join("performance.md")) else { return };
    let text = fs::read_to_string(&page).unwrap();
    fs::write(&page, replaced(&text, section)).unwrap();
}

/// A page with this between its marks.
fn replaced(page: &str, section: &str) -> String {
    let (begin, end) = ("<!-- soak: begin -->\n", "<!-- soak: end -->");
    let (before, rest) = page.split_once(begin).expect("the mark of the soak's begin");
    let (_, after) = rest.split_once(end).expect("the mark of the soak's end");
    format!("{before}{begin}{section}{end}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_a_trend_and_a_start_is_none() {
        let looks = |leak: f64| -> Vec<Look> {
            let look = |index: i32| {
                let minutes = f64::from(index) / 12.0;
                let start = 30.0 * minutes.min(4.0);
                let files = 2_000.0 + f64::from(index % 3);
                Look {
                    minutes,
                    sidecar_mib: 50.0 + start + leak * minutes,
                    pool_mib: 50.0 + start,
                    heap_mib: 0.0,
                    sidecar_files: files,
                    pool_files: 12.0,
                    goroutines: files,
                }
            };
            (0..240).map(look).collect()
        };
        let passes = |leak| {
            let trends = trends(&looks(leak), 20.0);
            trends.iter().all(|trend| trend.rise.abs() < trend.limit)
        };
        assert!(passes(0.05));
        assert!(!passes(0.2), "2 MiB in ten minutes");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = "a\n<!-- soak: begin -->\nold\n<!-- soak: end -->\nb\n";
        let want = "a\n<!-- soak: begin -->\nnew\n<!-- soak: end -->\nb\n";
        assert_eq!(replaced(page, "new\n"), want);
    }
}
