//! The load driver against the real line: what it counts is what the books say.

use std::process::{Command, Output};

use gopool_sv2_tests::{Line, LineOptions};
use serde_json::Value;

/// The easiest difficulty that minipool gives: nearly every hash is a share. No other is assigned.
const EASIEST: &str = "2.3283064365386963e-10";

fn line() -> Line {
    let fixed = ["-min-difficulty", EASIEST, "-max-difficulty", EASIEST];
    let minipool = fixed.iter().map(ToString::to_string).collect();
    Line::start(LineOptions { minipool, ..LineOptions::default() }).unwrap()
}

fn driver(line: &Line, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sv2-load"));
    command.args(["--url", &line.url, "--user", &format!("{}.load", line.address)]);
    command.args(["--watch", &format!("sidecar={}", line.sidecar.id())]);
    command.args(arguments.split_whitespace());
    command
}

/// The reports of a finished driver.
fn reports(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn run(command: &mut Command) -> Vec<Value> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    reports(&output)
}

#[test]
fn the_load_drivers_shares_are_in_all_books() {
    let line = line();
    let mut heard = 0;
    for (kind, connections, window) in [("extended", 3, 4), ("standard", 2, 1)] {
        let plan = format!(
            "--runs 2 shares --kind {kind} --connections {connections} --window {window} \
             --limit 20 --seconds 600 --warm-up 0"
        );
        let runs = run(&mut driver(&line, &plan));
        assert_eq!(runs.len(), 2);
        for report in &runs {
            let accepted = report["accepted"].as_u64().unwrap();
            assert_eq!(accepted, 20 * connections, "{report}");
            assert_eq!(report["latency_us"]["count"], accepted, "{report}");
            assert_eq!((&report["miscounted"], &report["unanswered"]), (&0.into(), &0.into()));
            heard += accepted;
        }
    }
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    assert_eq!((sidecar.accepted(), pool.accepted()), (heard, heard));
    assert!(sidecar.rejected().is_empty() && pool.rejected().is_empty());
    assert_eq!(pool.of("block").count(), 0, "the driver leaves blocks out");
}

#[test]
fn the_load_driver_reports_every_connection_and_every_tip() {
    let line = line();
    let pool = line.pool_process().id();
    let runs = run(&mut driver(&line, "handshakes --count 9 --at-once 4"));
    assert_eq!(runs[0]["latency_us"]["count"], 9);
    let runs = run(&mut driver(&line, "--runs 2 open --count 3 --kind standard"));
    assert_eq!((runs.len(), &runs[1]["latency_us"]["count"]), (2, &3.into()));
    let plan = format!("--watch pool={pool} crowd --connections 6 --tips 2 --templates 3");
    let mut crowd = driver(&line, &plan);
    crowd.args(["--settle", "0.1", "--template-command", &format!("kill -USR2 {pool}")]);
    let runs = run(crowd.arg("--tip-command").arg(format!("kill -USR1 {pool}")));
    for (measure, times) in [("tip", 2), ("template", 3)] {
        let news: Vec<_> = runs.iter().filter(|report| report["measure"] == measure).collect();
        assert_eq!(news.len(), times);
        for report in news {
            assert_eq!(report["latency_us"]["count"], 6, "{report}");
        }
    }
    let memory = runs.last().unwrap();
    for process in ["sidecar", "pool", "load"] {
        assert!(memory["open_kib"][process].as_u64().unwrap() > 0, "{memory}");
    }
    let books = line.stop().unwrap().books("minipool").unwrap();
    assert_eq!(books.of("tip").count(), 2);
}

#[test]
fn the_load_driver_keeps_a_pace_and_says_how_late_it_is() {
    let line = line();
    let plan = "shares --connections 4 --window 8 --seconds 1 --warm-up 0 --pace 0.05";
    let report = run(&mut driver(&line, plan)).remove(0);
    let sent = report["accepted"].as_u64().unwrap();
    assert!(sent > 0 && sent <= 4 * 20, "{report}");
    assert_eq!(report["lateness_us"]["count"], sent, "{report}");
    line.stop().unwrap();
}

#[test]
fn the_load_drivers_storm_brings_everybody_back_and_loses_no_share() {
    let line = line();
    let plan = "storm --live 3 --others 12 --pace 0.05 --peace 0.5";
    let report = run(&mut driver(&line, plan)).remove(0);
    assert_eq!(report["storm"]["back_us"]["count"], 12, "{report}");
    let during = report["accepted"].as_u64().unwrap();
    let before = report["peace_us"]["count"].as_u64().unwrap();
    assert!(during > 0 && before > 0, "{report}");
    assert_eq!(report["latency_us"]["count"], during, "{report}");
    let books = line.stop().unwrap().books("minipool").unwrap();
    assert_eq!(books.accepted(), before + during);
}

#[test]
fn the_load_driver_speaks_stratum_v1_to_the_same_books() {
    let fixed = ["-min-difficulty", EASIEST, "-max-difficulty", EASIEST, "-sv1", "127.0.0.1:0"];
    let minipool = fixed.iter().map(ToString::to_string).collect();
    let line = Line::start(LineOptions { minipool, ..LineOptions::default() }).unwrap();
    let log = line.pool_process().log();
    let (_, address) = log.split_once("Stratum V1 port is open\" sv1=").unwrap();
    let address = address.split_whitespace().next().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sv2-load"));
    command.args(["--url", &format!("stratum+tcp://{address}")]);
    command.args(["--user", &format!("{}.load", line.address)]);
    command.args("shares --connections 3 --window 4 --limit 20 --warm-up 0".split(' '));
    let report = run(command.args(["--seconds", "600"])).remove(0);
    assert_eq!((&report["accepted"], &report["latency_us"]["count"]), (&60.into(), &60.into()));
    let books = line.stop().unwrap().books("minipool").unwrap();
    assert_eq!(books.accepted(), 60);
}

#[test]
fn the_load_driver_fails_when_the_pool_goes_away() {
    let mut line = line();
    let mut command = driver(&line, "shares --connections 2 --seconds 600 --warm-up 0");
    let driver = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    while line.books("minipool").unwrap().accepted() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    line.pool.take().unwrap().kill().unwrap();
    let output = driver.wait_with_output().unwrap();
    assert!(!output.status.success());
    let report = &reports(&output)[0];
    let told =
        |field: &str| !report[field].to_string().trim_matches(['{', '}', '[', ']']).is_empty();
    assert!(told("rejected") || told("faults"), "{report}");
    // No Success without the pool's verdict.
    let heard = report["accepted"].as_u64().unwrap();
    let booked = line.books("minipool").unwrap().accepted();
    assert!(heard > 0 && heard <= booked, "heard {heard}, booked {booked}");
}
