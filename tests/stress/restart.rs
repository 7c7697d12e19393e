//! The pool is restarted under many channels.

use std::fs;
use std::time::{Duration, Instant};

use gopool_sv2_tests::{Line, LineOptions};

use crate::audit::{Audit, Books};
use crate::chaos::EASIEST;
use crate::crowd::{place, Crowd};
use crate::fault::{Kind, Record};
use crate::miner::Plan;
use crate::{report, times};

/// How long everybody may take to be at work again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills and starts the pool `runs` times under `miners` connections with a channel each; none may
/// close, and the books must be right.
pub fn run(miners: usize, runs: usize) {
    let minipool = format!(
        "-min-difficulty {EASIEST} -max-difficulty {EASIEST} -template-seconds 3600 -log-level info"
    );
    let mut line = Line::start(LineOptions {
        // No block in hours: all new work comes of the restarts.
        network_bits: "1c010000",
        minipool: minipool.split_whitespace().map(ToOwned::to_owned).collect(),
        listen: "connections_per_sec = 0\nconnections_per_sec_per_address = 0".into(),
        log: "info,gopool_sv2::session=warn",
        ..LineOptions::default()
    })
    .unwrap();
    let to = place(&line);
    let period = Duration::from_secs(2);
    let plan = |_| Plan { place: to.clone(), period, window: 8, stay: None, seed: 1 };
    let crowd = Crowd::start(miners, plan);
    crowd.wait_for_work();
    let (mut faults, mut backs) = (Vec::new(), Vec::new());
    for run in 0..runs {
        crowd.wait_for_more(&crowd.accepted(), PATIENCE);
        let begun = Instant::now();
        line.pool.take().unwrap().kill().unwrap();
        line.start_pool().unwrap();
        let ended = Instant::now();
        backs.push(ended);
        faults.push(Record { kind: Kind::KillPool, begun, ended });
        crowd.wait_for_jobs(run as u64 + 1, PATIENCE);
    }
    crowd.wait_for_more(&crowd.accepted(), PATIENCE);
    let journals = crowd.stop(PATIENCE);
    let mut slowest: Vec<Duration> = Vec::new();
    for (run, fault) in faults.iter().enumerate() {
        let first = |journal: &crate::miner::Journal| {
            assert_eq!(journal.jobs.len(), runs, "one new job for each restart");
            assert!(journal.jobs[run] > fault.begun);
            journal.jobs[run].saturating_duration_since(fault.ended)
        };
        let mut firsts: Vec<_> = journals.iter().map(first).collect();
        firsts.sort_unstable();
        slowest.extend(firsts.last());
        let spread = times::spread(&firsts);
        report(&format!("pool back to the first new job, {miners} channels: {spread}"));
    }
    slowest.sort_unstable();
    let median = slowest[slowest.len() / 2];
    report(&format!("the slowest channel, median of {runs} runs: {median:.0?}"));
    let spread = times::spread(&times::first_accepted(&journals, &backs));
    report(&format!("pool back to a miner's first accepted share (one each {period:?}): {spread}"));

    let log = fs::read_to_string(line.path("sidecar.log")).unwrap();
    let stopped = line.stop().unwrap();
    let sidecar = stopped.lives("sidecar").unwrap();
    let pool = stopped.lives("minipool").unwrap();
    let audit = Audit::of(&journals, &Books { sidecar, pool, log: &log }, &faults, 1);
    report(&audit.to_string());
    audit.assert_right();
    assert_eq!((audit.lost, audit.begun_anew), (0, runs), "{audit}");
    assert!(journals.iter().all(|journal| journal.connections.len() == 1));
}
