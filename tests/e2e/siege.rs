//! A siege: every cheap way to do harm at once, while honest miners mine. Miners, attackers and the
//! line are processes of their own; miners come from 127.0.1.x, attackers, niced, from 127.2.x.x.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{sync_channel, Receiver};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use gopool_sv2_tests::{Line, LineOptions, Process};
use serde_json::Value;

/// Memory that may still be held when the siege is over, in KiB.
const LEFT_KIB: u64 = 64 * 1024;
/// How long memory may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// The easiest difficulty that minipool gives: nearly every hash is a share.
const EASIEST: &str = "2.3283064365386963e-10";

/// How many of each, and for how long.
struct Siege {
    miners: u64,
    /// Seconds of one measurement of the honest miners.
    seconds: u64,
    silent: u64,
    slow: u64,
    holders: u64,
    opens: u64,
    bad_shares: u64,
    deaf: u64,
    /// TOML of the sidecar's `[limits]`.
    limits: &'static str,
}

/// The honest miners: one process, one connection and one channel each, five shares a second each.
struct Honest {
    driver: Child,
    reports: Receiver<Value>,
}

impl Honest {
    fn start(line: &Line, siege: &Siege) -> Self {
        let plan = format!(
            "--source 127.0.1.1 --runs 0 shares --connections {} --seconds {} --window 8 \
             --pace 0.2 --warm-up 0",
            siege.miners, siege.seconds
        );
        let mut driver = Command::new(env!("CARGO_BIN_EXE_sv2-load"))
            .args(["--url", &line.url, "--user", &format!("{}.honest", line.address)])
            .args(plan.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let (sender, reports) = sync_channel(100);
        thread::spawn(move || {
            for line in lines {
                let line = line.unwrap();
                let _ = sender.send(serde_json::from_str(&line).expect(&line));
            }
        });
        Self { driver, reports }
    }

    /// Ends after the measurement that is under way; gives the reports that are left.
    fn end(mut self) -> Vec<Value> {
        drop(self.driver.stdin.take());
        let left = self.reports.iter().collect();
        assert!(self.driver.wait().unwrap().success(), "{left:?}");
        left
    }
}

/// Attacks, and waits for the end of it; gives the attackers' own report.
fn attack(line: &Line, siege: &Siege) -> Value {
    let mut command = Command::new("nice");
    command.args(["-n", "10", env!("CARGO_BIN_EXE_sv2-attack")]);
    command.args(["--url", &line.url, "--user", &format!("{}.enemy", line.address)]);
    for (option, count) in [
        ("--silent", siege.silent),
        ("--slow", siege.slow),
        ("--holders", siege.holders),
        ("--opens", siege.opens),
        ("--bad-shares", siege.bad_shares),
        ("--deaf", siege.deaf),
    ] {
        command.arg(option).arg(count.to_string());
    }
    let mut attackers = Process::start("attack", &line.path(""), &mut command).unwrap();
    while attackers.is_running() {
        sleep(Duration::from_millis(50));
    }
    let said = attackers.log();
    assert!(attackers.wait().unwrap().success(), "{said}");
    serde_json::from_str(said.trim()).expect(&said)
}

fn run(siege: &Siege) {
    let line = Line::start(LineOptions {
        // No block in hours, so that no share is stale.
        network_bits: "1c010000",
        // Vardiff wants more shares than the honest miners send: theirs stay at the easiest. Those
        // of an attacker, who claims a thousand million hashes a second, are far from it.
        minipool: ["-min-difficulty", EASIEST, "-share-seconds", "0.1"].map(Into::into).into(),
        limits: siege.limits.into(),
        ..LineOptions::default()
    })
    .unwrap();
    let honest = Honest::start(&line, siege);
    let next = || honest.reports.recv().expect("a report of the honest miners");
    // The first one warms everything up.
    let mut reports = vec![next(), next()];
    let before = line.sidecar.resident_kib();
    let attacked = attack(&line, siege);
    reports.extend(honest.reports.try_iter());
    // The one that is under way began in the siege, too.
    let besieged = 2..=reports.len();
    let peak = line.sidecar.peak_kib();
    let deadline = Instant::now() + PATIENCE;
    while line.sidecar.resident_kib() > before + LEFT_KIB {
        let held = line.sidecar.resident_kib();
        assert!(Instant::now() < deadline, "{held} KiB after {before} KiB");
        sleep(Duration::from_millis(100));
    }
    let after = line.sidecar.resident_kib();
    let log = line.sidecar.log();
    let closed = |line: &&str| line.contains("connection closed") && line.contains("=127.0.1.");
    assert_eq!(log.lines().find(closed), None, "an honest miner's connection");
    reports.extend(honest.end());
    let accepted = all_is_well(&reports, siege);
    say(&format!("attackers: {attacked}"));
    say(&format!("resident: {before} KiB before, {peak} KiB at most, {after} KiB after"));
    let p99 = |report: &Value| report["latency_us"]["p99"].as_f64().unwrap();
    let peace = p99(&reports[1]);
    let war: Vec<_> = reports[besieged].iter().map(p99).collect();
    let worst = war.iter().copied().fold(0.0, f64::max);
    let ratio = worst / peace;
    say(&format!("{} honest miners, {accepted} shares, none lost", siege.miners));
    say(&format!("their p99: {peace} us in peace, {war:?} us besieged: x {ratio:.2} at worst"));

    let log = line.sidecar.log();
    assert!(!log.contains("panicked") && !log.contains("the link broke"), "{log}");
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    assert_eq!((sidecar.accepted(), pool.accepted()), (accepted, accepted));
    let mut causes = BTreeMap::new();
    for end in sidecar.of("connection_closed") {
        *causes.entry(end.text("cause").to_owned()).or_insert(0) += 1;
    }
    let refused = sidecar.rejected();
    say(&format!("the sidecar's books: {causes:?}, refused shares {refused:?}"));
    it_happened(siege, &attacked, &causes);
    let bad = attacked["attacks"]["bad_shares"]["refused"].as_u64().unwrap();
    assert!(refused["difficulty-too-low"] >= bad, "{refused:?}");
}

/// No share and no connection of an honest miner was lost; gives the accepted shares.
fn all_is_well(reports: &[Value], siege: &Siege) -> u64 {
    for report in reports {
        assert_eq!(report["connections"], siege.miners, "{report}");
        for lost in ["unanswered", "miscounted"] {
            assert_eq!(report[lost], 0, "{report}");
        }
        assert_eq!(report["rejected"], serde_json::json!({}), "{report}");
        assert_eq!(report["faults"], serde_json::json!([]), "{report}");
        assert_eq!(report["accepted"], report["latency_us"]["count"], "{report}");
        assert!(report["accepted"].as_u64() > Some(siege.miners), "{report}");
    }
    reports.iter().map(|report| report["accepted"].as_u64().unwrap()).sum()
}

/// Every attack was what it should be, by the attackers' word and by the sidecar's journal.
fn it_happened(siege: &Siege, attacked: &Value, causes: &BTreeMap<String, u64>) {
    assert!(attacked["nice"].as_i64() >= Some(10), "{attacked}");
    let by = |attack: &str, what: &str| attacked["attacks"][attack][what].as_u64().unwrap();
    assert_eq!(by("silent", "closed"), siege.silent);
    assert_eq!(by("silent", "closed_after_handshake"), siege.silent / 10);
    assert_eq!((by("slow", "stages"), by("slow", "closed_at_each")), (4, siege.slow));
    assert_eq!(by("holders", "closed"), 3 * siege.holders);
    assert_eq!(by("holders", "declared_bytes_each"), 16 * 1024 * 1024 - 1);
    assert_eq!(by("opens", "granted") + by("opens", "refused"), siege.opens);
    assert!(by("opens", "granted") > 0 && by("opens", "refused") > 0, "{attacked}");
    assert_eq!(by("bad_shares", "sent"), siege.bad_shares);
    assert_eq!(by("deaf", "closed"), siege.deaf);
    let times = |cause: &str| causes.get(cause).copied().unwrap_or_default();
    assert!(times("handshake-failed") >= siege.silent + siege.slow, "{causes:?}");
    assert!(times("setup-deadline") >= siege.silent / 10 + siege.slow, "{causes:?}");
    assert!(times("frame-deadline") >= 2 * siege.slow + siege.holders, "{causes:?}");
    assert!(times("bad-frame") >= 2 * siege.holders, "{causes:?}");
    assert!(times("bad-shares") >= by("bad_shares", "closed").max(1), "{causes:?}");
    assert!(times("slow-reader") >= siege.deaf, "{causes:?}");
}

/// Figures for whoever runs this by hand.
#[allow(clippy::print_stdout)]
fn say(text: &str) {
    println!("{text}");
}

#[test]
fn fr_13_honest_miners_notice_nothing_of_a_siege() {
    run(&Siege {
        miners: 5,
        seconds: 2,
        silent: 40,
        slow: 3,
        holders: 5,
        opens: 500,
        bad_shares: 2_000,
        deaf: 2,
        limits: "handshake_timeout_ms = 3000\nsetup_timeout_ms = 2000\nframe_timeout_ms = 3000\n\
                 write_stall_ms = 3000",
    });
}

/// With default limits. By hand, or with `make test-full`: it takes the machine for itself for two
/// minutes.
#[test]
#[ignore = "long: make test-full runs it"]
fn fr_13_fifty_honest_miners_notice_nothing_of_a_long_siege() {
    run(&Siege {
        miners: 50,
        seconds: 15,
        silent: 1_000,
        slow: 30,
        holders: 50,
        opens: 5_000,
        bad_shares: 10_000,
        deaf: 10,
        limits: "",
    });
}
