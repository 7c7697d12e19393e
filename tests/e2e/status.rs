//! What an operator sees of the line: `status`, health and metrics, over the real processes.

use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use gopool_sv2::miner::{self, ChannelKind};
use gopool_sv2_tests::{binaries, Line, LineOptions};
use serde_json::Value;

use crate::block_on;

/// For what takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn watched(pool: &str) -> Line {
    Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.05".into()],
        pool: pool.into(),
        sections: "[admin]\nlisten = \"unix:admin.sock\"\n".into(),
        ..LineOptions::default()
    })
    .unwrap()
}

fn status(line: &Line, arguments: &[&str]) -> Output {
    Command::new(&binaries().unwrap().sidecar)
        .arg("status")
        .args(arguments)
        .arg("--config")
        .arg(line.path("sidecar.toml"))
        .output()
        .unwrap()
}

fn json(line: &Line) -> Value {
    let output = status(line, &["--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Waits until the status is as wanted.
fn awaits(line: &Line, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let now = json(line);
        if wanted(&now) {
            return now;
        }
        assert!(begun.elapsed() < PATIENCE, "{now:#}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn status_agrees_with_the_books() {
    let line = watched("");
    let before = awaits(&line, |status| status["state"] == "ready");
    assert_eq!(before["shares"]["accepted"], 0);
    block_on(async {
        let mut options = line.miner("miner").unwrap();
        options.kind = ChannelKind::Extended;
        options.share_limit = Some(60);
        miner::run(options, pending()).await.unwrap();
    });
    let after = awaits(&line, |status| status["connections"]["open"] == 0);
    let page = status(&line, &[]);
    assert!(page.status.success(), "{page:?}");
    let page = String::from_utf8(page.stdout).unwrap();
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    let shares = &after["shares"];
    assert_eq!(shares["accepted"].as_u64(), Some(sidecar.accepted()));
    assert_eq!(shares["accepted"].as_u64(), Some(pool.accepted()));
    let rejected: u64 = sidecar.rejected().values().sum();
    let told = shares["rejected"].as_object().unwrap().values().filter_map(Value::as_u64);
    assert_eq!(told.sum::<u64>(), rejected);
    assert_eq!(shares["ack"]["count"].as_u64(), Some(sidecar.accepted() + rejected));
    assert!(shares["credited_difficulty"].as_f64().unwrap() > 0.0);
    assert!(after["pool"]["verdict"]["count"].as_u64().unwrap() > 0, "{after:#}");
    assert_eq!(after["connections"]["handshakes"]["ok"], 1);
    assert_eq!(after["connections"]["closed"].as_object().unwrap().len(), 1, "{after:#}");
    assert!(page.contains(&format!("{} accepted", sidecar.accepted())), "{page}");
    assert!(page.contains("ready"), "{page}");
}

#[test]
fn logs_each_event_of_a_connection_once_and_no_share() {
    let mut line = Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.05".into()],
        log: "info",
        ..LineOptions::default()
    })
    .unwrap();
    block_on(async {
        let mut options = line.miner("miner").unwrap();
        options.share_limit = Some(40);
        miner::run(options, pending()).await.unwrap();
    });
    line.sidecar.wait_for("connection closed").unwrap();
    let log = line.sidecar.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("conn{")).collect();
    assert!(lines.iter().all(|line| line.contains("protocol=\"stratum_v2\"")), "{log}");
    let events = ["connection set up", "channel opened", "connection closed"];
    for event in events {
        let told = lines.iter().filter(|line| line.contains(event)).count();
        assert_eq!(told, 1, "{event}:\n{log}");
    }
    let others = lines.iter().filter(|line| !events.iter().any(|event| line.contains(event)));
    // Blocks are worth a line.
    let others: Vec<_> = others.filter(|line| !line.contains("block")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn says_that_it_does_not_serve_when_the_pool_is_lost() {
    let mut line = watched("grace_ms = 0\nlost_ms = 0\n");
    awaits(&line, |status| status["state"] == "ready");
    line.pool.take().unwrap().stop().unwrap();
    let lost = awaits(&line, |status| status["state"] == "not-serving");
    let pool = &lost["dependencies"][0];
    assert_eq!((&pool["name"], &pool["state"]), (&"pool".into(), &"down".into()));
    assert_ne!(pool["detail"], "", "it says why");
    assert_eq!(status(&line, &[]).status.code(), Some(1));
    line.start_pool().unwrap();
    awaits(&line, |status| status["state"] == "ready");
}

#[test]
fn rejects_http_on_the_port_of_the_miners() {
    let line = watched("");
    let mut miners = TcpStream::connect(("127.0.0.1", line.port())).unwrap();
    miners.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: y\r\n\r\n").unwrap();
    miners.write_all(&[b' '; 64]).unwrap();
    let mut answer = Vec::new();
    let _ = miners.read_to_end(&mut answer);
    // Whatever comes is a handshake's answer to bytes that happen to be a key.
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_status_that_nobody_answers_says_what_to_do() {
    let line = watched("");
    awaits(&line, |status| status["state"] == "ready");
    let config = line.path("sidecar.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let other = text.replace("unix:admin.sock", "127.0.0.1:1");
    std::fs::write(&config, other).unwrap();
    let dead = status(&line, &["--json"]);
    assert_eq!(dead.status.code(), Some(1));
    let told = String::from_utf8(dead.stderr).unwrap();
    assert!(told.contains("127.0.0.1:1") && told.contains("gopool-sv2 serve"), "{told}");
    std::fs::write(&config, text.replace("[admin]\nlisten = \"unix:admin.sock\"\n", "")).unwrap();
    let none = status(&line, &[]);
    assert_eq!(none.status.code(), Some(64));
    assert!(String::from_utf8(none.stderr).unwrap().contains("[admin].listen"));
}
