//! Promises of the statistics service's file.

use std::fs;
use std::path::Path;

use super::{AdminAddress, EventsAddress, KeyFile, Problems, StatsFile};

/// Set to any value, the test below writes the example file instead of comparing it.
const UPDATE: &str = "GOPOOL_SV2_UPDATE_EXAMPLES";

fn parse(text: &str) -> Result<StatsFile, Problems> {
    StatsFile::from_bytes(text.as_bytes(), Path::new("stats.toml"))
}

fn problems(text: &str) -> Vec<String> {
    let problems = parse(text).expect_err(text);
    problems.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn keeps_the_example_of_the_statistics_service_equal_to_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/config/stats.toml");
    let text = StatsFile::default().to_toml();
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == text, "{} is old: run this test with {UPDATE}=1", path.display());
    assert_eq!(parse(&text).unwrap(), StatsFile::default());
    assert_eq!(parse("").unwrap(), StatsFile::default());
    let loaded = StatsFile::load(&path).unwrap();
    assert_eq!(loaded.stats.database, path.with_file_name("stats.db"));
}

#[test]
fn reads_what_the_statistics_service_needs() {
    let text = "[stats]\nevents = \"tcp:127.0.0.1:3337\"\nhttp = \"unix:/run/s.sock\"\n\
                token_file = \"credential:t\"\ndatabase = \"/var/s.db\"\nkeep_events = 100\n";
    let stats = parse(text).unwrap().stats;
    assert_eq!(stats.events, EventsAddress::Tcp("127.0.0.1:3337".parse().unwrap()));
    assert_eq!(stats.http, AdminAddress::Unix("/run/s.sock".into()));
    assert_eq!(stats.token_file, Some(KeyFile::Credential("t".to_owned())));
    assert_eq!((stats.database, stats.keep_events), ("/var/s.db".into(), 100));
}

#[test]
fn rejects_all_that_is_wrong_at_once() {
    let found = problems(
        "[stats]\nevents = \"tcp:0.0.0.0:1\"\nhtp = 1\nhttp = \"0.0.0.0:3338\"\n\
         keep_10s_hours = 0\n[listen]\naddress = \"x\"\n",
    );
    assert_eq!(found.len(), 5, "{found:#?}");
    for (line, text) in found.iter().zip([
        "only this machine may publish",
        "did you mean `http`?",
        "needs [stats].token_file",
        "from 1 to 168",
        "the sections are [stats], [log]",
    ]) {
        assert!(line.contains(text), "{line} lacks {text}");
    }
}

#[test]
fn rejects_places_that_clash_and_orders_that_lose() {
    let clash = "[stats]\nevents = \"unix:a.sock\"\nhttp = \"unix:a.sock\"\n";
    assert!(problems(clash)[0].contains("[stats].events"));
    let long = format!("[stats]\nevents = \"unix:/{}\"\n", "x".repeat(107));
    assert!(problems(&long)[0].contains("108 bytes"));
    let order = "[stats]\nkeep_1m_days = 91\n";
    assert!(problems(order)[0].contains("keep_5m_days"));
}
