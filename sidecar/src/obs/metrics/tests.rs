//! Promises of the metrics.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::types::{Difficulty, Kind as ChannelKind, RejectReason};

/// Set to any value, the test below writes the table of the document instead of comparing it.
const UPDATE: &str = "GOPOOL_SV2_UPDATE_DOCS";

const BEGIN: &str = "<!-- metrics: begin -->\n";
const END: &str = "<!-- metrics: end -->\n";

/// The name as it is scraped.
fn scraped(metric: &Metric) -> String {
    let suffix = if metric.kind == Kind::Counter { "_total" } else { "" };
    format!("{PREFIX}_{}{suffix}", metric.name)
}

fn table() -> String {
    let mut out = String::from("| metric | type | labels | what |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let labels = labels.join(", ");
        out.push_str(&format!("| `{}` | {kind} | {labels} | {} |\n", scraped(metric), metric.help));
    }
    out
}

#[test]
fn keeps_the_document_equal_to_the_metrics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let kept = fs::read_to_string(&path).unwrap();
    let (before, rest) = kept.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let want = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &want).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == want, "{} is old: run this test with {UPDATE}=1", path.display());
}

/// What a scrape says of its families: (type, label names of any sample).
fn families(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut found = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            current = name.to_owned();
            found.insert(name.to_owned(), (kind.to_owned(), Vec::new()));
        } else if !line.starts_with('#') {
            let labels =
                line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let names = labels.split(',').filter_map(|label| label.split_once('='));
            let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            assert!(line.starts_with(&current), "{line} is no sample of {current}");
            found.get_mut(&current).unwrap().1 = names.collect();
        }
    }
    found
}

#[test]
fn every_metric_is_scraped_with_its_type_and_its_labels_and_no_other() {
    let text = text(&Counts::default()).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut found = families(&text);
    for metric in METRICS {
        let name = format!("{PREFIX}_{}", metric.name);
        let (kind, labels) = found.remove(&name).unwrap_or_else(|| panic!("{name} is not scraped"));
        assert_eq!(kind, format!("{:?}", metric.kind).to_lowercase(), "{name}");
        assert_eq!(labels, metric.labels, "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert!(!metric.help.contains(['|', '\n']) && metric.help.ends_with('.'), "{name}");
        assert!(!metric.name.ends_with("_total"), "{name}");
    }
    assert!(found.is_empty(), "not in the table: {found:?}");
}

#[test]
fn a_scrape_shows_what_was_counted() {
    let counts = Counts::default();
    counts.shares.accept(3, Difficulty { whole: 4, fraction: 1 << 31 });
    counts.shares.rejected.add(RejectReason::Stale, 2);
    counts.shares.unjudged.add(RejectReason::BackendUnavailable, 1);
    counts.shares.ack.observe(Duration::from_micros(700));
    counts.shares.ack.observe(Duration::from_secs(100));
    counts.connections.closed.one("idle");
    counts.channels.open.of(ChannelKind::Extended).up();
    counts.pool.standing.up();
    counts.ledger.not_kept.one("accepted");
    let text = text(&counts).unwrap();
    for line in [
        "gopool_sv2_shares_total{result=\"accepted\",reason=\"\"} 3",
        "gopool_sv2_shares_total{result=\"rejected\",reason=\"stale-share\"} 2",
        "gopool_sv2_shares_total{result=\"unjudged\",reason=\"backend-unavailable\"} 1",
        "gopool_sv2_credited_difficulty_total 4.5",
        "gopool_sv2_share_ack_seconds_bucket{le=\"0.0005\"} 0",
        "gopool_sv2_share_ack_seconds_bucket{le=\"0.001\"} 1",
        "gopool_sv2_share_ack_seconds_bucket{le=\"+Inf\"} 2",
        "gopool_sv2_share_ack_seconds_count 2",
        "gopool_sv2_connections_closed_total{cause=\"idle\"} 1",
        "gopool_sv2_channels{kind=\"extended\"} 1.0",
        "gopool_sv2_pool_link_up 1.0",
        "gopool_sv2_ledger_not_kept_total{told=\"accepted\"} 1",
        "gopool_sv2_ledger_not_kept_total{told=\"backend-unavailable\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// Every word of a text that begins as our metrics do.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(move |c| !word(c));
    words.filter(|word| word.starts_with(&format!("{PREFIX}_")))
}

#[test]
fn what_is_offered_to_operators_names_only_metrics_that_exist() {
    let known: Vec<_> = METRICS.iter().map(scraped).collect();
    let files = [
        "docs/operate.md",
        "docs/metrics.md",
        "examples/deploy/prometheus/gopool-sv2.rules.yml",
        "examples/deploy/prometheus/gopool-sv2.test.yml",
        "examples/deploy/grafana/sidecar.json",
    ];
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let text = fs::read_to_string(&path).unwrap();
        let mut count = 0;
        for name in named(&text) {
            count += 1;
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.iter().any(|known| known == family), "{file}: there is no {name}");
        }
        // The operator's page names alerts, which have the queries.
        let least = if file == "docs/operate.md" { 1 } else { 11 };
        assert!(count >= least, "{file}");
    }
}

/// The selectors of our metrics in a text: `NAME{LABEL="VALUE",…}`, each with its labels and the
/// values that it gives them.
fn selectors(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let text = text.replace("\\\"", "\"");
    let begins = text.match_indices('{').filter_map(|(at, _)| {
        let name = text[..at].rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()?;
        let inside = text[at + 1..].split('}').next()?;
        name.starts_with(&format!("{PREFIX}_")).then(|| (name.to_owned(), inside))
    });
    let labels = |inside: &str| {
        let pairs = inside.split(',').filter_map(|pair| pair.split_once('='));
        let pair = |(label, value): (&str, &str)| {
            let label = label.trim().trim_end_matches('!').to_owned();
            let values = value.trim_start_matches('~').trim().trim_matches('"').to_owned();
            values.split('|').map(|value| (label.clone(), value.to_owned())).collect::<Vec<_>>()
        };
        pairs.flat_map(pair).collect()
    };
    begins.map(|(name, inside)| (name, labels(inside))).collect()
}

#[test]
fn what_is_offered_to_operators_names_only_values_that_exist() {
    let counts = Counts::default();
    counts.mint.read_ms.set(1);
    let scrape = selectors(&text(&counts).unwrap());
    let files = [
        "docs/operate.md",
        "examples/deploy/prometheus/gopool-sv2.rules.yml",
        "examples/deploy/prometheus/gopool-sv2.test.yml",
        "examples/deploy/grafana/sidecar.json",
    ];
    let mut checked = 0;
    for file in files {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        for (name, labels) in selectors(&fs::read_to_string(&path).unwrap()) {
            // Given by Prometheus, or a limit of ours that need not be one of the histogram's.
            let ours = labels
                .iter()
                .filter(|(label, _)| !["job", "instance", "le"].contains(&label.as_str()));
            for pair in ours {
                checked += 1;
                let shown = scrape.iter().any(|(known, of)| *known == name && of.contains(pair));
                assert!(shown, "{file}: {name} never has {pair:?}");
            }
        }
    }
    assert!(checked > 15, "{checked}");
}

#[test]
fn the_dashboard_has_a_query_in_every_panel() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy/grafana/sidecar.json");
    let board: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let ids: std::collections::BTreeSet<_> = panels.iter().map(|p| p["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        let asks = |target: &serde_json::Value| {
            target["expr"].as_str().is_some_and(|expr| named(expr).next().is_some())
        };
        assert!(!targets.is_empty() && targets.iter().all(asks), "{}", panel["title"]);
    }
}
