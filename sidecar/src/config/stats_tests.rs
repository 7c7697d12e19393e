//! Promises of `[stats]`.

use super::tests::{parse, problem};
use super::SinkAddress;

#[test]
fn reads_where_events_go() {
    let config = parse("").unwrap();
    assert_eq!((config.stats.sink, config.stats.every_sec), (None, 10));
    let text = "[stats]\nsink = \"unix:/run/sv2/stats.sock\"\nevery_sec = 1\nmax_events = 5000\n";
    let config = parse(text).unwrap();
    assert_eq!(config.stats.sink, Some(SinkAddress::Unix("/run/sv2/stats.sock".into())));
    assert_eq!((config.stats.every_sec, config.stats.max_events), (1, 5_000));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    let config = parse("[stats]\nsink = \"tcp:127.0.0.1:3337\"\n").unwrap();
    let address = "127.0.0.1:3337".parse().unwrap();
    assert_eq!(config.stats.sink, Some(SinkAddress::Tcp(address)));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
}

#[test]
fn rejects_sinks_that_are_elsewhere_or_nowhere() {
    for (bad, want) in [
        ("tcp:192.0.2.1:3337", "in the clear"),
        ("tcp:127.0.0.1:0", "loopback address with a port"),
        ("tls:stats.example:3337", "tcp:127.0.0.1:PORT"),
        ("127.0.0.1:3337", "unix:/path/to/socket"),
        ("unix:@name", "abstract"),
    ] {
        let text = problem(&format!("[stats]\nsink = \"{bad}\"\n"));
        assert!(text.contains(want), "{bad}: {text}");
    }
    let long = format!("[stats]\nsink = \"unix:/{}\"\n", "x".repeat(107));
    assert!(problem(&long).contains("108 bytes"));
}

#[test]
fn rejects_a_sink_that_is_something_else() {
    let text = "[pool]\naddress = \"unix:a.sock\"\n[stats]\nsink = \"unix:a.sock\"\n";
    assert!(problem(text).contains("[pool].address"));
    let text = "[admin]\nlisten = \"unix:a.sock\"\n[stats]\nsink = \"unix:a.sock\"\n";
    assert!(problem(text).contains("[admin].listen"));
}

#[test]
fn rejects_reports_that_come_too_often_or_never() {
    for bad in ["every_sec = 0", "every_sec = 301", "max_events = 4095", "max_events = 1000001"] {
        assert!(problem(&format!("[stats]\n{bad}\n")).contains("out of range"), "{bad}");
    }
}
