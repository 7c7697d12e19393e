//! The figures as they stand in docs/performance.md, between two markers.

use gopool_sv2_tests::Result;
use serde_json::Value;

use crate::figures::{number, steps, Spread, Step};
use crate::machine::NOISE;

/// Where the tables begin and end.
const MARKERS: (&str, &str) = ("<!-- bench: begin -->", "<!-- bench: end -->");
/// KiB to MiB.
const MIB: f64 = 1.0 / 1024.0;

/// What the reference pool (pool_sv2 0.7.0, scripted template provider) gave in the same steps,
/// measured with another driver on another day.
const REFERENCE: [(&str, &str); 20] = [
    ("handshakes, 16 at a time", "1,560 / 1,660 / 1,670 per s; CPU 600 µs"),
    ("open an extended channel", "p50 44 ms; CPU 114 µs"),
    ("shares, 1 × 1", "p50 104 µs, p99 151 µs; 9.3 k/s"),
    ("shares, 1 × 16", "36 k/s, p50 427 µs, CPU 27 µs"),
    ("shares, 16 × 1", "41 k/s, p50 388 µs, CPU 24 µs"),
    ("shares, 16 × 16", "38–46 k/s, p50 5.3–6.5 ms, CPU 22–26 µs"),
    ("shares, 16 × 64", "70 k/s, CPU 14 µs (acks batched by 10)"),
    ("shares, 100 × 4", "42 k/s, p50 9.2 ms, CPU 24 µs"),
    ("shares, 1000 × 1", "36 k/s, p50 5.6 ms, p90 147 ms, CPU 28 µs"),
    ("standard shares, 16 × 16", "58 k/s, p50 4.3 ms, CPU 17 µs"),
    ("new tip to 1,000", "first 33 ms, last 61 ms; CPU 61–64 µs"),
    ("new tip to 5,000", "first 173 ms, last 314 ms; CPU 61–64 µs"),
    ("new tip to 10,000", "first 378 ms, last 639 ms; CPU 61–64 µs"),
    ("new template to 1,000", "last 39 ms; CPU 39–41 µs"),
    ("new template to 5,000", "last 207 ms; CPU 39–41 µs"),
    ("new template to 10,000", "last 396 ms; CPU 39–41 µs"),
    ("memory of 1,000", "90 KB each; nothing given back"),
    ("memory of 1,000, second wave", "1.3 MB each"),
    ("memory of 10,000", "915 MB; nothing given back"),
    ("memory of 10,000, second wave", ""),
];

/// Replaces what stands between the markers of `page` by `tables`.
///
/// # Errors
/// The markers are not there, or not in order.
pub fn put_into(page: &str, tables: &str) -> Result<String> {
    put_between(page, MARKERS, tables)
}

/// The same for any markers.
///
/// # Errors
/// The markers are not there, or not in order.
pub fn put_between(page: &str, (begin, end): (&str, &str), text: &str) -> Result<String> {
    let missing = || format!("the page lacks {begin:?} and {end:?} in this order");
    let (head, rest) = page.split_once(begin).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(end).ok_or_else(missing)?;
    let text = text.trim_end_matches('\n');
    let line = if text.is_empty() { "" } else { "\n" };
    Ok(format!("{head}{begin}\n{text}{line}{end}{tail}"))
}

/// All tables.
pub fn tables(reports: &[Value], heading: &str) -> String {
    let mut text = format!("{heading}\n\n");
    throughput(&mut text, reports);
    tips(&mut text, reports);
    memory(&mut text, reports);
    let disturbed = |run: &&Value| run["cpu_us"]["elsewhere"].as_f64().is_some_and(|c| c > NOISE);
    let count = reports.iter().filter(disturbed).count();
    text += &format!(
        "In {count} of {} runs something else on the machine used more than {NOISE} of a core: \
         *disturbed*.\n",
        reports.len()
    );
    text
}

fn row(text: &mut String, cells: &[String]) {
    *text += &format!("| {} |\n", cells.join(" | "));
}

fn head(text: &mut String, names: &[&str]) {
    row(text, &names.iter().map(ToString::to_string).collect::<Vec<_>>());
    row(text, &names.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
}

fn reference(step: &str) -> String {
    let known = REFERENCE.iter().find(|(name, _)| *name == step);
    known.map_or("", |(_, text)| text).to_owned()
}

fn shown(spread: Option<Spread>, scale: f64) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.text(scale))
}

/// Medians of the CPU per operation: sidecar, pool, load.
fn cpu(step: &Step<'_>) -> String {
    let of = |name: &str| {
        let spread = step.spread(&format!("cpu_us/{name}"));
        spread.map_or_else(|| "–".to_owned(), |spread| spread.median(1.0))
    };
    format!("{} + {} · {}", of("sidecar"), of("minipool"), of("load"))
}

fn throughput(text: &mut String, reports: &[Value]) {
    let names = [
        "step",
        "runs",
        "per second",
        "p50 µs",
        "p99 µs",
        "p999 µs",
        "CPU µs",
        "refused",
        "reference pool",
    ];
    head(text, &names);
    for step in ["handshakes", "open", "shares"].into_iter().flat_map(|m| steps(reports, m)) {
        let refused = step.refused();
        let refused: Vec<_> = refused.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let cells = [
            step.name.to_owned(),
            step.count(NOISE),
            shown(step.spread("rate"), 1.0),
            shown(step.spread("latency_us/p50"), 1.0),
            shown(step.spread("latency_us/p99"), 1.0),
            shown(step.spread("latency_us/p999"), 1.0),
            cpu(&step),
            if refused.is_empty() { "0".to_owned() } else { refused.join(", ") },
            reference(step.name),
        ];
        row(text, &cells);
    }
    text.push('\n');
}

fn tips(text: &mut String, reports: &[Value]) {
    let names =
        ["step", "times", "first ms", "p50 ms", "p99 ms", "last ms", "CPU µs", "reference pool"];
    head(text, &names);
    for step in ["tip", "template"].into_iter().flat_map(|m| steps(reports, m)) {
        let millis = |name: &str| shown(step.spread(&format!("latency_us/{name}")), 1e-3);
        let cells = [
            step.name.to_owned(),
            step.count(NOISE),
            millis("min"),
            millis("p50"),
            millis("p99"),
            millis("max"),
            cpu(&step),
            reference(step.name),
        ];
        row(text, &cells);
    }
    text.push('\n');
}

fn memory(text: &mut String, reports: &[Value]) {
    let names = [
        "step",
        "runs",
        "sidecar KiB each",
        "minipool KiB each",
        "sidecar MiB open, after tips, closed",
        "minipool MiB open, after tips, closed",
        "reference pool",
    ];
    head(text, &names);
    for step in steps(reports, "memory") {
        let connections = step.plan("connections").max(1) as f64;
        let each = |process: &str| {
            let grown = step.runs.iter().filter_map(|run| {
                let kib = |when: &str| run[when][process].as_f64();
                Some((kib("open_kib")? - kib("before_kib")?) / connections)
            });
            shown(Spread::of(grown), 1.0)
        };
        let total = |process: &str| {
            let at = |when: &str| {
                let spread = step.spread(&format!("{when}/{process}"));
                spread.map_or_else(|| number(0.0), |spread| spread.median(MIB))
            };
            format!("{}, {}, {}", at("open_kib"), at("after_tips_kib"), at("closed_kib"))
        };
        let cells = [
            step.name.to_owned(),
            step.count(NOISE),
            each("sidecar"),
            each("minipool"),
            total("sidecar"),
            total("minipool"),
            reference(step.name),
        ];
        row(text, &cells);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replaces_what_is_between_the_markers_and_nothing_else() {
        let page = format!("a\n{}\nold\n{}\nb\n", MARKERS.0, MARKERS.1);
        let once = put_into(&page, "new\n").unwrap();
        assert_eq!(once, format!("a\n{}\nnew\n{}\nb\n", MARKERS.0, MARKERS.1));
        assert_eq!(put_into(&once, "new\n").unwrap(), once);
        assert!(put_into("a", "x").is_err());
        assert!(put_into(&format!("{} {}", MARKERS.1, MARKERS.0), "x").is_err());
    }

    #[test]
    fn shows_each_step_with_its_figures_and_what_was_refused() {
        let shares = |rate: f64, refused: u64| {
            json!({
                "measure": "shares", "step": "shares, 1 × 1", "run": 1, "rate": rate,
                "latency_us": {"p50": 90.0, "p99": 120.0, "p999": 300.0},
                "cpu_us": {"sidecar": 10.0, "minipool": 20.5, "load": 5.0, "elsewhere": 0.5},
                "rejected": {"rate-limited": refused},
            })
        };
        let tip = json!({
            "measure": "tip", "step": "new tip to 1,000", "run": 1,
            "latency_us": {"min": 1000.0, "p50": 2000.0, "p99": 3000.0, "max": 4500.0},
        });
        let kib = |sidecar: u64| json!({"sidecar": sidecar, "minipool": 2048});
        let memory = json!({
            "measure": "memory", "step": "memory of 1,000", "run": 1, "connections": 1000,
            "before_kib": kib(1000), "open_kib": kib(31000), "after_tips_kib": kib(32000),
            "closed_kib": kib(2048),
        });
        let reports = [shares(9000.0, 0), shares(9100.0, 3), shares(8000.0, 0), tip, memory];
        let text = tables(&reports, "Measured.");
        for part in [
            "| shares, 1 × 1 | 3, 3 disturbed | 8,000 / **9,000** / 9,100 | 90.0 / **90.0** / ",
            "| 10.0 + 20.5 · 5.00 | 3 rate-limited | p50 104 µs",
            "| new tip to 1,000 | 1 | 1.00 / **1.00** / 1.00 | 2.00 / **2.00** / 2.00 |",
            "| memory of 1,000 | 1 | 30.0 / **30.0** / 30.0 | 0.00 / **0.00** / 0.00 | 30.3, ",
            "In 3 of 5 runs",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}
