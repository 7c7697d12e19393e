//! The whole line under harm: faults on a schedule, restarts with many channels, and a long soak.
//! Processes are real; all miners are tasks in this one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod chaos;
mod crowd;
mod fault;
mod miner;
mod plot;
mod proxy;
mod restart;
mod soak;
mod times;
mod trend;

use std::time::Duration;

use chaos::Run;
use fault::Kind;

/// Figures for whoever runs this.
#[allow(clippy::print_stderr)]
fn report(text: &str) {
    eprintln!("{text}");
}

const SHORT: Run = Run {
    seed: 1,
    miners: 60,
    period: Duration::from_millis(250),
    kinds: &Kind::ALL,
    every: Duration::from_millis(550),
    length: Duration::from_secs(8),
};

#[test]
fn books_are_equal_when_nothing_happens() {
    let run = Run { kinds: &[], length: Duration::from_secs(4), ..SHORT };
    let outcome = chaos::run(&run);
    outcome.audit.assert_equal();
    assert!(outcome.audit.heard > run.miners, "{}", outcome.audit);
}

/// Whatever happens to the link, and however long either side stands still.
#[test]
fn books_are_equal_when_nobody_is_killed() {
    let outcome = chaos::run(&Run { kinds: &Kind::BLOODLESS, ..SHORT });
    outcome.audit.assert_equal();
    assert!(outcome.audit.resumed > 0, "{}", outcome.audit);
}

#[test]
fn every_difference_between_the_books_is_explained_by_a_fault() {
    let outcome = chaos::run(&SHORT);
    outcome.audit.assert_right();
    let faults = &outcome.audit.faults;
    assert!([Kind::KillPool, Kind::KillSidecar].iter().all(|kill| faults.contains_key(kill)));
    // One that is down can't be stopped, too.
    assert!(faults.len() >= Kind::ALL.len() - 2, "{}", outcome.audit);
    assert!(outcome.audit.heard > SHORT.miners, "{}", outcome.audit);
}

#[test]
fn a_thousand_channels_survive_a_restart_of_the_pool() {
    restart::run(1_000, 1);
}

#[test]
#[ignore = "long: make chaos runs it"]
fn a_thousand_channels_survive_five_restarts_of_the_pool() {
    restart::run(1_000, 5);
}

/// SOAK_MINUTES: how long. SOAK_DOCS: the directory of performance.md, which gets the result.
#[test]
#[ignore = "long: make soak runs it"]
fn two_thousand_miners_leave_nothing_behind() {
    let minutes = std::env::var("SOAK_MINUTES").map_or(20.0, |minutes| minutes.parse().unwrap());
    soak::run(2_000, minutes, std::env::var_os("SOAK_DOCS").map(Into::into));
}

/// Five minutes; CHAOS_SEED chooses others.
#[test]
#[ignore = "long: make chaos runs it"]
fn every_difference_is_explained_after_five_minutes_of_faults() {
    let seed = std::env::var("CHAOS_SEED").map_or(20_261_121, |seed| seed.parse().unwrap());
    let (miners, every) = (300, Duration::from_secs(2));
    let outcome =
        chaos::run(&Run { seed, miners, every, length: Duration::from_secs(300), ..SHORT });
    outcome.audit.assert_right();
    assert!(!outcome.back.is_empty());
}
