//! `sv2-load`: load for any Stratum V2 mining pool, over the wire, from one process and one thread.
//!
//! It knows the protocol and nothing else: what it needs of a pool is an address, a user, and a
//! target that a CPU meets. Every share it sends is a real one that it found before the clock ran.
//!
//! `window` matches answers to submits, `stats` are percentiles, `watch` reads what processes cost,
//! `alarm` is a timer, `miner` sends and `ear` only listens; `setup`, `shares`, `crowd` and `storm`
//! are the measures. The harness has the connection (`peer`) and finds the shares (`supply`); `sv1`
//! is a connection over Stratum V1, to compare with.

mod alarm;
mod args;
mod crowd;
mod ear;
mod miner;
mod setup;
mod shares;
mod stats;
mod storm;
mod sv1;
mod watch;
mod window;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use clap::Parser as _;
use gopool_sv2_tests::Result;
use serde_json::Value;

use args::{Arguments, Common, Measure, Shares};

/// Descriptors that are not connections.
const SPARE_DESCRIPTORS: u64 = 32;
/// The command is wrong (sysexits: EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wanted = !error.use_stderr();
            // Nothing useful can be done when the terminal is gone.
            let _ = error.print();
            return if wanted { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    // One thread: on the core it is given it disturbs nobody, and needs no locks.
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure(&arguments)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            complain("not every share was accepted: see \"rejected\" and \"faults\"");
            ExitCode::FAILURE
        }
        Err(fault) => {
            complain(&fault.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Runs the measure; false: a share was not accepted.
async fn measure(arguments: &Arguments) -> Result<bool> {
    if arguments.common.runs == 0 && !matches!(arguments.measure, Measure::Shares(_)) {
        return Err("--runs 0 is for shares only".into());
    }
    let (common, watched) = (&arguments.common, arguments.common.watched());
    let mut clean = true;
    let mut run = 0;
    let report = |run: u32, mut value: Value| {
        value["run"] = run.into();
        // A closed pipe is no fault of a measurement.
        let _ = writeln!(std::io::stdout(), "{value}");
    };
    match &arguments.measure {
        Measure::Handshakes(plan) => {
            check_descriptors(plan.count)?;
            while run < common.runs {
                run += 1;
                report(run, setup::handshakes(&common.place()?, plan, &watched).await?);
            }
        }
        Measure::Open(plan) => {
            check_descriptors(plan.count)?;
            while run < common.runs {
                run += 1;
                report(run, setup::open(&common.place()?, plan, &watched).await?);
            }
        }
        Measure::Shares(plan) => clean = shares_of(common, plan, &watched, &report).await?,
        Measure::Crowd(plan) => {
            check_descriptors(plan.connections)?;
            let place = common.place()?;
            while run < common.runs {
                run += 1;
                crowd::run(&place, plan, &watched, &mut |value| report(run, value)).await?;
            }
        }
        Measure::Storm(plan) => {
            check_descriptors(plan.others.max(2 * plan.live))?;
            while run < common.runs {
                run += 1;
                let (value, good) = storm::run(common, plan, &watched).await?;
                clean &= good;
                report(run, value);
            }
        }
        Measure::Returns(plan) => storm::returns(&common.place()?, plan).await?,
    }
    Ok(clean)
}

/// All runs of `shares`; false: a share was not accepted.
async fn shares_of(
    common: &Common,
    plan: &Shares,
    watched: &[watch::Watched],
    report: &dyn Fn(u32, Value),
) -> Result<bool> {
    // At a pace each has a timer besides.
    check_descriptors(plan.connections * if plan.pace.is_zero() { 1 } else { 2 })?;
    let mut miners = shares::miners(common, plan).await?;
    let mut clean = true;
    if !plan.warm_up.is_zero() {
        let (back, value, good) = shares::run(miners, plan, plan.warm_up, watched).await?;
        miners = back;
        if !good {
            clean = false;
            report(0, value);
        }
    }
    let (mut more, mut run) = (more(common.runs), 0);
    while more() {
        run += 1;
        let (back, value, good) = shares::run(miners, plan, plan.seconds, watched).await?;
        miners = back;
        clean &= good;
        report(run, value);
    }
    Ok(clean)
}

/// Whether one more run is wanted, each time it is asked.
fn more(runs: u32) -> Box<dyn FnMut() -> bool> {
    if runs > 0 {
        let mut left = 0..runs;
        return Box::new(move || left.next().is_some());
    }
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    std::thread::spawn(move || {
        // What is read means nothing, and an input that can't be read has ended.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ended.store(true, Ordering::Relaxed);
    });
    Box::new(move || !seen.load(Ordering::Relaxed))
}

/// Better said before than in the middle.
fn check_descriptors(connections: usize) -> Result<()> {
    let Some(limit) = watch::descriptor_limit() else { return Ok(()) };
    let needed = connections as u64 + SPARE_DESCRIPTORS;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "{connections} connections need {needed} file descriptors, and this process may have \
         {limit}: raise it with `ulimit -n {needed}` first, for the pool as well"
    )
    .into())
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "sv2-load: {text}");
}
