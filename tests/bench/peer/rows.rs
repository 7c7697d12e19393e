//! What is measured of whom, which figures count, and what they should be.

use serde_json::Value;

use super::hosts::Host;
use super::Turn;
use crate::line::{BITS_FOR_SHARES, BITS_FOR_TIPS};

/// What a figure should be: at least or at most so much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    /// Nothing; it is shown because it explains others.
    Shown,
    /// At most so many times that of the host it is compared with.
    Below(f64),
    /// At least so many times that.
    Above(f64),
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
    /// At most so much where the host that it is compared with takes so much, and in proportion on
    /// other machines.
    Like(f64, f64),
}

impl Wanted {
    /// Whether figure and ratio are as wanted; `None` where nothing is.
    pub fn holds(self, figure: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::Shown => None,
            Self::Below(most) => Some(ratio? <= most),
            Self::Above(least) => Some(ratio? >= least),
            Self::AtMost(most) => Some(figure <= most),
            Self::AtLeast(least) => Some(figure >= least),
            Self::Like(most, of) => Some(ratio? <= most / of),
        }
    }

    /// As it stands in the table.
    pub fn text(self) -> String {
        match self {
            Self::Shown => String::new(),
            Self::Below(most) => format!("≤ {most}×"),
            Self::Above(least) => format!("≥ {least}×"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::Like(most, of) => format!("≤ {:.2}× ({most} of {of})", most / of),
        }
    }
}

/// A number of a turn.
#[derive(Debug)]
pub struct Figure {
    /// With its unit.
    pub name: &'static str,
    /// From the reports of a turn.
    pub of: fn(&[Value]) -> Option<f64>,
    /// What it should be over gRPC, and with the listener inside.
    pub wanted: (Wanted, Wanted),
}

/// A row of the table: one measure, and its figures.
#[derive(Debug)]
pub struct Row {
    /// On the command line.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    /// Who is measured; all are compared with the first.
    pub hosts: &'static [Host],
    /// The driver's arguments.
    pub plan: fn(Host) -> Vec<String>,
    /// Difficulty of blocks.
    pub bits: &'static str,
    /// A new tip comes before each turn.
    pub renew: bool,
    /// The driver is told how to bring news about.
    pub news: bool,
    /// Each turn has a server of its own.
    pub fresh: bool,
    /// What counts.
    pub figures: &'static [Figure],
}

const fn figure(
    name: &'static str,
    of: fn(&[Value]) -> Option<f64>,
    grpc: Wanted,
    ffi: Wanted,
) -> Figure {
    Figure { name, of, wanted: (grpc, ffi) }
}

const fn shown(name: &'static str, of: fn(&[Value]) -> Option<f64>) -> Figure {
    figure(name, of, Wanted::Shown, Wanted::Shown)
}

const PEERS: &[Host] = &[Host::Reference, Host::Grpc, Host::Ffi];

/// One of shares: no news, one server for all rounds, a new tip before each turn.
const SHARES: Row = Row {
    name: "",
    title: "",
    hosts: PEERS,
    plan: |_| Vec::new(),
    bits: BITS_FOR_SHARES,
    renew: true,
    news: false,
    fresh: false,
    figures: &[],
};

use Wanted::{Above, AtLeast, AtMost, Below, Like};

/// CPU of a handshake with SetupConnection, and of a connection in a fan-out, where the reference
/// pool took the second figure.
const HANDSHAKE: Wanted = Like(430.0, 557.0);
const NEWS: Wanted = Like(16.0, 64.0);

/// All rows, the slow ones last.
pub const ROWS: [Row; 10] = [
    Row {
        name: "round-trip",
        title: "share round trip, 1 connection × window 1",
        plan: |_| words("shares --connections 1 --window 1 --seconds 2"),
        figures: &[
            figure("p50, µs", |r| number(r, "/latency_us/p50"), Below(1.5), Below(1.0)),
            shown("p99, µs", |r| number(r, "/latency_us/p99")),
            shown("CPU a share, µs", whole),
        ],
        ..SHARES
    },
    Row {
        name: "pace",
        title: "5,000 shares a second over 1,000 connections",
        plan: |_| words("shares --connections 1000 --window 16 --pace 0.2 --seconds 4"),
        figures: &[
            figure("p99, µs", |r| number(r, "/latency_us/p99"), Below(1.0), Below(0.7)),
            shown("p50, µs", |r| number(r, "/latency_us/p50")),
            shown("CPU a share, µs", whole),
            shown("the driver's lateness, p99, µs", |r| number(r, "/lateness_us/p99")),
        ],
        ..SHARES
    },
    Row {
        name: "sustained",
        title: "16 connections × window 16",
        plan: |_| words("shares --connections 16 --window 16 --seconds 3"),
        figures: &[
            figure("accepted shares a second", |r| number(r, "/rate"), Above(2.0), Above(2.5)),
            shown("p50, µs", |r| number(r, "/latency_us/p50")),
            shown("CPU a share, µs", whole),
        ],
        ..SHARES
    },
    Row {
        name: "saturated",
        title: "16 connections × window 64, host that accepts everything",
        hosts: &[Host::Reference, Host::NullGrpc, Host::NullFfi],
        plan: |_| words("shares --connections 16 --window 64 --seconds 3"),
        figures: &[
            figure("listener's CPU a share, µs", listener, AtMost(6.0), AtMost(5.0)),
            shown("all CPU a share, µs", whole),
            shown("accepted shares a second", |r| number(r, "/rate")),
        ],
        ..SHARES
    },
    Row {
        name: "handshake",
        title: "handshake and SetupConnection, 16 at a time",
        plan: |_| words("handshakes --count 1000"),
        renew: false,
        figures: &[
            figure("listener's CPU each, µs", listener, HANDSHAKE, HANDSHAKE),
            shown("a second", |r| number(r, "/rate")),
        ],
        ..SHARES
    },
    Row {
        name: "open",
        title: "opening an extended channel, one at a time",
        plan: |host| match host {
            // 44 ms each.
            Host::Reference => words("open --count 60"),
            _ => words("open --count 1000"),
        },
        renew: false,
        figures: &[
            figure("p50, µs", |r| number(r, "/latency_us/p50"), AtMost(1000.0), AtMost(500.0)),
            shown("to the first work, p99, µs", |r| number(r, "/ready_us/p99")),
            shown("CPU each, µs", whole),
        ],
        ..SHARES
    },
    Row {
        name: "sv1host",
        title: "16 × 16 through sv1host, to minipool's own Stratum V1 port",
        hosts: &[Host::Sv1, Host::Sv1Grpc, Host::Sv1Ffi],
        plan: |_| words("shares --connections 16 --window 16 --seconds 3"),
        figures: &[
            figure("accepted shares a second", |r| number(r, "/rate"), Above(0.7), Above(0.7)),
            shown("p50, µs", |r| number(r, "/latency_us/p50")),
            shown("CPU a share, µs", whole),
        ],
        ..SHARES
    },
    Row {
        name: "news",
        title: "10,000 connections, each with an extended channel",
        plan: |_| words("crowd --connections 10000 --tips 2 --templates 2 --settle 4"),
        bits: BITS_FOR_TIPS,
        renew: false,
        news: true,
        fresh: true,
        figures: &[
            figure("new tip, the last, ms", |r| millis(r, "tip", "max"), Below(0.3), Below(0.3)),
            figure("the first, ms", |r| millis(r, "tip", "min"), AtMost(10.0), AtMost(10.0)),
            shown("half of them, ms", |r| millis(r, "tip", "p50")),
            figure("listener's CPU each, µs", tip_listener, NEWS, NEWS),
            shown("all CPU each, µs", |r| every(r, "tip", pool_of)),
            shown("new template, the last, ms", |r| millis(r, "template", "max")),
            shown("the first, ms", |r| millis(r, "template", "min")),
            shown("all CPU each, µs", |r| every(r, "template", pool_of)),
            figure("listener's memory each, KiB", memory, AtMost(20.0), AtMost(20.0)),
            figure("given back when all left, %", given_back, AtLeast(50.0), AtLeast(50.0)),
        ],
        ..SHARES
    },
    Row {
        name: "null-news",
        title: "the same, host that has one job for all",
        hosts: &[Host::NullGrpc, Host::NullFfi],
        plan: |_| words("crowd --connections 10000 --tips 2 --templates 2 --settle 4"),
        renew: false,
        news: true,
        fresh: true,
        figures: &[
            shown("new tip, the last, ms", |r| millis(r, "tip", "max")),
            shown("the first, ms", |r| millis(r, "tip", "min")),
            shown("listener's CPU each, µs", tip_listener),
            shown("new template, the last, ms", |r| millis(r, "template", "max")),
            shown("listener's memory each, KiB", memory),
        ],
        ..SHARES
    },
    Row {
        name: "storm",
        title: "10,000 come back at once, 200 mine on",
        hosts: &[Host::Grpc, Host::Ffi],
        plan: |_| words("storm --live 200 --others 10000"),
        renew: false,
        fresh: true,
        figures: &[
            figure(
                "p99 of the 200, ms",
                |r| storm(r, "/latency_us/p99"),
                AtMost(50.0),
                AtMost(50.0),
            ),
            shown("p50, ms", |r| storm(r, "/latency_us/p50")),
            shown("p999, ms", |r| storm(r, "/latency_us/p999")),
            shown("p99 before, ms", |r| storm(r, "/peace_us/p99")),
            shown("the driver's lateness, p99, ms", |r| storm(r, "/lateness_us/p99")),
            shown("until all are back, s", |r| number(r, "/storm/seconds")),
        ],
        ..SHARES
    },
];

/// All names.
pub fn names() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

/// The row of a turn.
pub fn row_of(turn: &Turn) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == turn.row)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

/// A number of the last report.
fn number(reports: &[Value], path: &str) -> Option<f64> {
    reports.last()?.pointer(path)?.as_f64()
}

fn storm(reports: &[Value], path: &str) -> Option<f64> {
    Some(number(reports, path)? / 1000.0)
}

/// CPU of the process, or the threads, that miners are connected to.
fn listener_of(report: &Value) -> Option<f64> {
    let cpu = &report["cpu_us"];
    cpu["sidecar"].as_f64().or_else(|| cpu["pool_sv2"].as_f64())
}

/// CPU of everything behind the port. A listener that is inside is a part of its pool's.
fn pool_of(report: &Value) -> Option<f64> {
    let cpu = &report["cpu_us"];
    let of = |name: &str| cpu[name].as_f64();
    let pool = of("pool_sv2").or_else(|| of("minipool")).or_else(|| of("nullhost"))?;
    let beside = if report["inside"] == true { 0.0 } else { of("sidecar").unwrap_or(0.0) };
    Some(pool + beside)
}

fn listener(reports: &[Value]) -> Option<f64> {
    listener_of(reports.last()?)
}

fn whole(reports: &[Value]) -> Option<f64> {
    pool_of(reports.last()?)
}

/// The median of the reports of one measure.
fn every(reports: &[Value], measure: &str, of: fn(&Value) -> Option<f64>) -> Option<f64> {
    let all = reports.iter().filter(|report| report["measure"] == measure);
    let mut values: Vec<f64> = all.filter_map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

fn millis(reports: &[Value], measure: &str, rank: &str) -> Option<f64> {
    let all = reports.iter().filter(|report| report["measure"] == measure);
    let values: Vec<f64> = all.filter_map(|r| r["latency_us"][rank].as_f64()).collect();
    // The worse one of two.
    values.into_iter().reduce(f64::max).map(|us| us / 1000.0)
}

fn tip_listener(reports: &[Value]) -> Option<f64> {
    every(reports, "tip", listener_of)
}

/// What the process has that miners are connected to: the pool's too, where the listener is inside.
fn kib(report: &Value, when: &str) -> Option<f64> {
    let kib = &report[when];
    kib["sidecar"].as_f64().or_else(|| kib["pool_sv2"].as_f64())
}

fn memory(reports: &[Value]) -> Option<f64> {
    let report = reports.iter().find(|report| report["measure"] == "memory")?;
    let grown = kib(report, "open_kib")? - kib(report, "before_kib")?;
    Some(grown / report["connections"].as_f64()?)
}

fn given_back(reports: &[Value]) -> Option<f64> {
    let report = reports.iter().find(|report| report["measure"] == "memory")?;
    let at = |when: &str| kib(report, when);
    let (before, most) = (at("before_kib")?, at("after_tips_kib")?.max(at("open_kib")?));
    Some(100.0 * (most - at("closed_kib")?) / (most - before))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_row_has_a_name_of_its_own_and_hosts_to_compare() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        for row in &ROWS {
            assert!(row.hosts.len() > 1 && !row.figures.is_empty(), "{}", row.name);
            assert!(!(row.plan)(row.hosts[0]).is_empty());
        }
    }

    #[test]
    fn a_listener_inside_is_counted_once() {
        let cpu = json!({"sidecar": 2.0, "minipool": 5.0, "load": 9.0});
        let beside = json!({"cpu_us": cpu});
        let inside = json!({"cpu_us": cpu, "inside": true});
        assert_eq!((pool_of(&beside), pool_of(&inside)), (Some(7.0), Some(5.0)));
        assert_eq!(listener_of(&inside), Some(2.0));
        let reference = json!({"cpu_us": {"pool_sv2": 20.0}});
        assert_eq!((pool_of(&reference), listener_of(&reference)), (Some(20.0), Some(20.0)));
    }

    #[test]
    fn wishes_are_about_figures_or_ratios() {
        assert_eq!(Wanted::Shown.holds(1.0, Some(1.0)), None);
        assert_eq!(AtMost(5.0).holds(5.0, None), Some(true));
        assert_eq!(AtMost(5.0).holds(5.1, Some(0.1)), Some(false));
        assert_eq!(AtLeast(50.0).holds(49.9, None), Some(false));
        assert_eq!(Below(0.3).holds(9.0, Some(0.3)), Some(true));
        assert_eq!(NEWS.holds(20.0, Some(0.25)), Some(true));
        assert_eq!(NEWS.holds(16.0, Some(0.26)), Some(false));
        assert_eq!(Above(2.0).holds(9.0, Some(1.9)), Some(false));
        assert_eq!(Above(2.0).holds(9.0, None), None);
    }

    #[test]
    fn news_are_the_worst_of_a_turn_and_memory_is_what_it_grew_by() {
        let tip = |max: f64| json!({"measure": "tip", "latency_us": {"max": max}});
        let kib = |kib: u64| json!({"pool_sv2": kib});
        let memory_report = json!({
            "measure": "memory", "connections": 10, "before_kib": kib(100), "open_kib": kib(300),
            "after_tips_kib": kib(500), "closed_kib": kib(200),
        });
        let reports = [tip(2000.0), tip(3000.0), memory_report];
        assert_eq!(millis(&reports, "tip", "max"), Some(3.0));
        assert_eq!(millis(&reports, "template", "max"), None);
        assert_eq!((memory(&reports), given_back(&reports)), (Some(20.0), Some(75.0)));
    }
}
