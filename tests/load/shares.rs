//! Shares: how long the pool takes for one, and how many it takes.

use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gopool_sv2_tests::supply::Supply;
use gopool_sv2_tests::Result;
use serde_json::{json, Value};
use tokio::task::JoinSet;

use crate::args::{Door, Shares};
use crate::miner::{Miner, Shift, Tally};
use crate::setup;
use crate::stats::Summary;
use crate::sv1::Sv1Peer;
use crate::watch::{Clock, Watched};

/// Shares a second that no pool here is expected to exceed: so many are found ahead.
const AHEAD_PER_SECOND: f64 = 300_000.0;
/// Shares found ahead for all connections together, at most: 16 MB.
const AHEAD_MAX: f64 = 4_000_000.0;
/// All miners begin together, that long after the last of them is ready.
const COUNTDOWN: Duration = Duration::from_millis(50);

/// Miners with work, over whichever Stratum the pool speaks.
///
/// # Errors
/// The pool refuses one of them, or goes away.
pub async fn miners(common: &crate::args::Common, plan: &Shares) -> Result<Vec<Miner>> {
    let Door::Sv1(address) = common.door() else {
        let peers = setup::miners(&common.place()?, plan.kind, plan.connections).await?;
        return Ok(peers.into_iter().map(Miner::from).collect());
    };
    let mut miners = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        miners.push(Sv1Peer::connect(address, common.user()).await?.into());
    }
    Ok(miners)
}

/// Shares for a run of that length, each miner's found ahead.
///
/// # Errors
/// There is no work, or a share can't be found.
pub fn stocked(miners: Vec<Miner>, plan: &Shares, length: f64) -> Result<Vec<(Miner, Supply)>> {
    let all = (length * AHEAD_PER_SECOND).min(AHEAD_MAX);
    let each = all as u64 / miners.len().max(1) as u64 + plan.window as u64;
    let each = usize::try_from(u64::min(limit(plan, length), each))?;
    let stock = |miner: Miner| {
        let mut supply = miner.supply()?;
        supply.stock(each)?;
        Ok((miner, supply))
    };
    miners.into_iter().map(stock).collect()
}

/// Shares of one miner at most.
fn limit(plan: &Shares, length: f64) -> u64 {
    let limit = if plan.limit == 0 { u64::MAX } else { plan.limit };
    match plan.pace.is_zero() {
        true => limit,
        false => limit.min((length / plan.pace.as_secs_f64()).ceil() as u64),
    }
}

/// Has all miners begin a shift of that length, which ends before when `over` is set.
pub fn begin(
    ready: Vec<(Miner, Supply)>,
    plan: &Shares,
    length: Duration,
    over: &Arc<AtomicBool>,
) -> (Instant, JoinSet<(Miner, Tally)>) {
    let begin = Instant::now() + COUNTDOWN;
    let (end, window, pace) = (begin + length, plan.window, plan.pace);
    let limit = limit(plan, length.as_secs_f64());
    let over = Arc::clone(over);
    let shift = Shift { begin, end, over, window, pace, limit };
    let mut workers = JoinSet::new();
    for (miner, supply) in ready {
        workers.spawn(miner.work(supply, shift.clone()));
    }
    (begin, workers)
}

/// The end of their shift.
///
/// # Errors
/// A task was lost.
pub async fn end(mut workers: JoinSet<(Miner, Tally)>) -> Result<(Vec<Miner>, Tally)> {
    let (mut miners, mut tally) = (Vec::with_capacity(workers.len()), Tally::default());
    while let Some(done) = workers.join_next().await {
        let (miner, part) = done?;
        miners.push(miner);
        tally.add(part);
    }
    Ok((miners, tally))
}

/// Lets all miners send for `length`. Returns them, and a report; false with it: not every share
/// was accepted.
///
/// # Errors
/// A share can't be found, or a watched process is gone.
pub async fn run(
    miners: Vec<Miner>,
    plan: &Shares,
    length: Duration,
    watched: &[Watched],
) -> Result<(Vec<Miner>, Value, bool)> {
    let ready = stocked(miners, plan, length.as_secs_f64())?;
    let clock = Clock::read(watched)?;
    let (begin, workers) = begin(ready, plan, length, &Arc::default());
    let (miners, tally) = end(workers).await?;
    let cpu = clock.since(tally.latencies.len())?;
    let (clean, seconds) = (tally.is_clean(), elapsed(&tally, begin));
    let mut report = report(tally, plan, seconds);
    report["connections"] = miners.len().into();
    report["cpu_us"] = cpu;
    Ok((miners, report, clean))
}

/// Seconds until the last answer.
pub fn elapsed(tally: &Tally, begin: Instant) -> f64 {
    tally.last_answer.map_or(0.0, |at| at.saturating_duration_since(begin).as_secs_f64())
}

/// What a shift gave.
pub fn report(tally: Tally, plan: &Shares, seconds: f64) -> Value {
    json!({
        "measure": "shares",
        "kind": plan.kind.name(),
        "window": plan.window,
        "pace": plan.pace.as_secs_f64(),
        "seconds": seconds,
        "rate": if seconds > 0.0 { tally.accepted as f64 / seconds } else { 0.0 },
        "accepted": tally.accepted,
        "rejected": tally.rejected,
        "miscounted": tally.miscounted,
        "unanswered": tally.unanswered,
        "late": tally.late,
        "new_tips": tally.new_tips,
        "faults": tally.faults,
        "latency_us": tally.latencies.summary().map(Summary::to_json),
        "lateness_us": tally.lateness.summary().map(Summary::to_json),
    })
}
