//! The statistics service beside the real line: its history is the pool's, however often it dies.

use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gopool_sv2::miner::{self, ChannelKind};
use gopool_sv2_tests::{binaries, Line, LineOptions, Process};
use serde_json::Value;

use crate::block_on;

/// For what takes a moment on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often the service is killed.
const KILLS: usize = 20;

fn line() -> Line {
    Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.02".into()],
        sections: "[stats]\nsink = \"unix:stats.sock\"\nevery_sec = 1\n".into(),
        ..LineOptions::default()
    })
    .unwrap()
}

/// A running service, and where it answers.
pub struct Service {
    pub process: Process,
    http: String,
}

impl Service {
    /// Its start of that number: all write into the same log.
    pub fn start(line: &Line, number: usize) -> Self {
        let config = "[stats]\nevents = \"unix:stats.sock\"\nhttp = \"127.0.0.1:0\"\n\
                      database = \"stats.db\"\n[log]\nformat = \"human\"\n";
        std::fs::write(line.path("stats.toml"), config).unwrap();
        let mut command = Command::new(&binaries().unwrap().sidecar);
        command.args(["stats", "--config"]).arg(line.path("stats.toml"));
        let directory = line.path("");
        let mut process = Process::start("stats", &directory, &mut command).unwrap();
        let said = process.wait_for_nth("the dashboard is at http://", number).unwrap();
        let http = said.split('/').next().unwrap().to_owned();
        Self { process, http }
    }

    /// The body of an answer; `None`: nobody answers.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.http).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let host = &self.http;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text.split_once("\r\n\r\n")?.1.to_owned())
    }

    pub fn json(&self, path: &str) -> Value {
        let body = self.get(path).unwrap_or_default();
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

#[test]
fn history_equals_the_pools_books_however_often_the_service_is_killed() {
    let line = line();
    let accepted = std::thread::scope(|scope| {
        let miner = scope.spawn(|| {
            block_on(async {
                let mut options = line.miner("miner").unwrap();
                options.kind = ChannelKind::Extended;
                options.share_limit = Some(600);
                miner::run(options, pending()).await.unwrap().accepted
            })
        });
        for round in 1..=KILLS {
            let service = Service::start(&line, round);
            sleep(Duration::from_millis(100 + 37 * u64::try_from(round).unwrap()));
            service.process.kill().unwrap();
        }
        miner.join().unwrap()
    });
    let service = Service::start(&line, KILLS + 1);
    let begun = Instant::now();
    let summary = loop {
        let summary = service.json("/api/v1/summary");
        if summary["shares"]["accepted"] == accepted && summary["connections"] == 0 {
            break summary;
        }
        assert!(begun.elapsed() < PATIENCE, "{accepted} were accepted: {summary:#}");
        sleep(Duration::from_millis(100));
    };
    let workers = service.json("/api/v1/workers");
    let id = workers["items"][0]["id"].clone();
    let account = service.json(&format!("/api/v1/accounts/{id}"));
    assert!(service.get("/").unwrap().contains("<html"));
    assert!(service.process.stop().unwrap().success());
    let address = line.address.clone();
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    assert_eq!(pool.accepted(), accepted);
    assert_eq!(sidecar.accepted(), accepted);
    let rejected: u64 = sidecar.rejected().values().sum();
    assert_eq!(summary["shares"]["rejected"].as_u64(), Some(rejected));
    assert_eq!(workers["total"], 1);
    assert!(workers["items"][0]["identity"].as_str().unwrap().starts_with(&address));
    assert_eq!(account["accepted"].as_u64(), Some(accepted));
    // The channel was open once, however often the sidecar said so.
    let sessions = account["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{account:#}");
    assert_eq!(sessions[0]["accepted"].as_u64(), Some(accepted));
    assert!(sessions[0]["ended_ms"].is_number(), "{account:#}");
}

#[test]
fn says_all_that_is_wrong_with_the_services_file() {
    let place = tempfile::TempDir::new().unwrap();
    let file = place.path().join("stats.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(&binaries().unwrap().sidecar);
        let output = command.args(["stats", "--check", "--config"]).arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check("[stats]\nhttp = \"127.0.0.1:0\"\n"), (Some(0), String::new()));
    let (code, said) = check("[stats]\nhttp = \"0.0.0.0:3338\"\nkeep_event = 5\n");
    assert_eq!((code, said.lines().count()), (Some(64), 2), "{said}");
    assert!(said.contains("token_file") && said.contains("`keep_events`"), "{said}");
    let (code, said) = check("[stats]\ndatabase = \"nowhere/stats.db\"\n");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("make it"), "{said}");
}
