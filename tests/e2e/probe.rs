//! `gopool-sv2 probe` against the real line.

use std::process::{Command, Output};
use std::time::Duration;

use gopool_sv2::miner;
use gopool_sv2_tests::{binaries, Line, LineOptions};
use serde_json::Value;

use crate::block_on;

fn probe(url: &str, arguments: &[&str]) -> Output {
    Command::new(&binaries().unwrap().sidecar)
        .args(["probe", url])
        .args(arguments)
        .output()
        .unwrap()
}

/// The objects that `--json` printed, and the exit code.
fn json(url: &str, arguments: &[&str]) -> (Vec<Value>, i32) {
    let output = probe(url, &[arguments, &["--json"]].concat());
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    (lines, output.status.code().unwrap())
}

/// The names of the steps.
fn names(steps: &[Value]) -> Vec<&str> {
    steps.iter().map(|step| step["step"].as_str().unwrap()).collect()
}

#[test]
fn probe_passes_a_good_line_and_names_a_wrong_key() {
    let line = Line::start(LineOptions::default()).unwrap();
    let user = format!("{}.probe", line.address);
    let (steps, code) = json(&line.url, &["--user", &user]);
    assert_eq!(code, 0, "{steps:?}");
    let way = ["connect", "handshake", "certificate", "setup", "open", "job"];
    assert_eq!(names(&steps), [&["resolve"][..], &way, &way].concat());
    assert!(steps.iter().all(|step| step["ok"] == true && step["ms"].is_number()), "{steps:?}");
    assert!(steps.iter().all(|step| step["note"].is_null()), "{steps:?}");
    assert_eq!(steps[3]["verified"], true);
    assert_eq!(
        (&steps[5]["channel"], &steps[11]["channel"]),
        (&"standard".into(), &"extended".into())
    );
    assert_eq!(steps[11]["extranonce_size"], 8);
    assert_eq!(steps[6]["prev_hash"].as_str().unwrap().len(), 64);
    assert_eq!(steps[6]["prev_hash"], steps[12]["prev_hash"], "both kinds, one tip");

    let text = probe(&line.url, &["--user", &user, "--standard"]);
    assert!(text.status.success(), "{text:?}");
    let text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.lines().count(), 8, "a line for each step, and the verdict:\n{text}");
    assert!(text.lines().last().unwrap().starts_with("good: "), "{text}");

    let (steps, code) = json(&line.url, &["--user", "nobody"]);
    let last = steps.last().unwrap();
    assert_eq!((code, &last["cause"]), (15, &"open-refused".into()), "{last}");
    assert_eq!(last["code"], "unknown-user");

    // The URL of another pool, or the same without its key.
    let (place, key) = line.url.rsplit_once('/').unwrap();
    let other = Line::start(LineOptions { with_pool: false, ..LineOptions::default() }).unwrap();
    let wrong = format!("{place}/{}", other.url.rsplit_once('/').unwrap().1);
    assert!(!wrong.ends_with(key));
    let (steps, code) = json(&wrong, &["--user", &user]);
    let last = steps.last().unwrap();
    assert_eq!((code, &last["cause"]), (13, &"wrong-authority".into()), "{last}");
    assert_eq!(last["exit_code"], 13);
    let (steps, code) = json(place, &["--user", &user, "--extended"]);
    assert_eq!((code, &steps[3]["verified"]), (0, &false.into()), "{steps:?}");
    line.stop().unwrap();
}

#[test]
fn probe_names_the_link_when_the_pool_is_stopped() {
    let mut line = Line::start(LineOptions::default()).unwrap();
    line.pool.take().unwrap().stop().unwrap();
    let output = probe(&line.url, &["--user", &line.address]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(15), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("FAILED: open-refused (backend-unavailable)"), "{text}");
    assert!(words.contains("link from it to the pool is down"), "{text}");
    assert!(words.contains("[pool].address"), "{text}");

    // And when nobody listens at all.
    let sidecar = line.sidecar.stop().unwrap();
    assert!(sidecar.success());
    let (steps, code) = json(&line.url, &[]);
    let last = steps.last().unwrap();
    assert_eq!((code, &last["cause"]), (11, &"port-closed".into()), "{last}");
}

#[test]
fn probe_sees_the_tip_that_a_miner_makes() {
    let line = Line::start(LineOptions::default()).unwrap();
    let mut options = line.miner("miner").unwrap();
    options.status_interval = Duration::from_secs(60);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (url, user) = (line.url.clone(), line.address.clone());
    let (steps, code) = block_on(async {
        let mining = tokio::spawn(miner::run(options, async {
            let _ = stopped.await;
        }));
        let arguments = move || json(&url, &["--user", &user, "--extended", "--wait-tip=60"]);
        let seen = tokio::task::spawn_blocking(arguments).await.unwrap();
        stop.send(()).unwrap();
        mining.await.unwrap().unwrap();
        seen
    });
    assert_eq!(code, 0, "{steps:?}");
    let [.., job, tip] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!((&job["step"], &tip["step"]), (&"job".into(), &"tip".into()));
    assert_ne!(job["prev_hash"], tip["prev_hash"]);
    line.stop().unwrap();
}

#[test]
fn probe_rejects_a_wrong_command_as_usage() {
    for arguments in [
        &["probe"][..],
        &["probe", "stratum+tcp://127.0.0.1:3333"],
        &["probe", "stratum2+tcp://127.0.0.1:3336/notakey"],
        &["probe", "stratum2+tcp://127.0.0.1:3336", "--standard", "--extended"],
        &["probe", "stratum2+tcp://127.0.0.1:3336", "--timeout", "0"],
        &["probe", "stratum2+tcp://127.0.0.1:3336", "--wait-tip=never"],
        &["probe", "stratum2+tcp://127.0.0.1:3336", "--min-extranonce-size", "33"],
    ] {
        let output = Command::new(&binaries().unwrap().sidecar).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
    let help = Command::new(&binaries().unwrap().sidecar).args(["probe", "--help"]).output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("13 certificate"), "{help}");
}
