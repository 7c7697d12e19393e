//! Shares: how long the pool takes for one, and how many it takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gopool_sv2_tests::peer::{Event, Peer};
use gopool_sv2_tests::supply::Supply;
use gopool_sv2_tests::{Fault, Result};
use serde_json::{json, Value};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use crate::args::Shares;
use crate::stats::{Latencies, Summary};
use crate::watch::{Clock, Watched};
use crate::window::Window;

/// Shares a second that no pool here is expected to exceed: so many are found ahead.
const AHEAD_PER_SECOND: f64 = 300_000.0;
/// Shares found ahead for all connections together, at most: 16 MB.
const AHEAD_MAX: f64 = 4_000_000.0;
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// All miners begin together, that long after the last of them is ready.
const COUNTDOWN: Duration = Duration::from_millis(50);

/// When a miner sends, and how much.
#[derive(Debug, Clone, Copy)]
struct Shift {
    begin: tokio::time::Instant,
    end: Instant,
    window: usize,
    /// Between two shares; zero: as the window has room.
    pace: Duration,
    /// Shares at most.
    limit: u64,
}

/// What came of a miner's shares.
#[derive(Debug, Default)]
struct Tally {
    latencies: Latencies,
    /// As the pool counts them.
    accepted: u64,
    rejected: BTreeMap<String, u64>,
    /// Answers that don't fit the submits that were open.
    miscounted: u64,
    unanswered: u64,
    /// Shares that had to be found when they were to be sent.
    late: u64,
    new_tips: u64,
    last_answer: Option<Instant>,
    /// Why it ended early.
    faults: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.latencies.merge(other.latencies);
        self.accepted += other.accepted;
        for (code, count) in other.rejected {
            *self.rejected.entry(code).or_default() += count;
        }
        self.miscounted += other.miscounted;
        self.unanswered += other.unanswered;
        self.late += other.late;
        self.new_tips += other.new_tips;
        self.last_answer = self.last_answer.max(other.last_answer);
        self.faults.extend(other.faults);
    }

    fn is_clean(&self) -> bool {
        let unanswered = self.unanswered + self.miscounted;
        self.rejected.is_empty() && unanswered == 0 && self.faults.is_empty()
    }

    fn answered(&self, sent: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(sent)
    }

    /// Takes one message; true when there is other work now.
    fn take(&mut self, event: Event, window: &mut Window, now: Instant) -> bool {
        match event {
            Event::Accepted { last, count } => {
                let settled = window.accepted(last, count);
                self.accepted += u64::from(count);
                self.miscounted += u64::from(settled.miscounted);
                for sent in settled.sent {
                    self.latencies.push(self.answered(sent, now));
                }
                self.last_answer = Some(now);
            }
            Event::Rejected { sequence, code } => {
                *self.rejected.entry(code).or_default() += 1;
                match window.rejected(sequence) {
                    Some(sent) => self.latencies.push(self.answered(sent, now)),
                    None => self.miscounted += 1,
                }
                self.last_answer = Some(now);
            }
            Event::NewTip => {
                self.new_tips += 1;
                return true;
            }
            Event::SetUp | Event::Extended | Event::Opened | Event::NewJob | Event::Other => {}
        }
        false
    }
}

/// A connection with a channel, and its open submits.
pub struct Miner {
    peer: Peer,
    window: Window,
}

impl Miner {
    /// Takes over a connection that has work.
    pub fn new(peer: Peer) -> Self {
        Self { peer, window: Window::default() }
    }

    fn supply(&self) -> Result<Supply> {
        Ok(Supply::new(self.peer.task().ok_or("the channel has no work")?, rand::random()))
    }

    async fn work(mut self, mut supply: Supply, shift: Shift) -> (Self, Tally) {
        let mut tally = Tally::default();
        if let Err(fault) = self.send_and_hear(&mut supply, shift, &mut tally).await {
            tally.faults.push(fault.to_string());
        }
        tally.unanswered = self.window.len() as u64;
        tally.late += supply.late();
        (self, tally)
    }

    async fn send_and_hear(
        &mut self,
        supply: &mut Supply,
        shift: Shift,
        tally: &mut Tally,
    ) -> Result<()> {
        let deadline = tokio::time::Instant::from_std(shift.end) + PATIENCE;
        let mut left = shift.limit;
        // Not all in the same moment.
        let mut due = shift.begin + shift.pace.mul_f64(rand::random());
        sleep_until(shift.begin).await;
        loop {
            let now = Instant::now();
            let ready = |due: tokio::time::Instant| due.into_std() <= now && now < shift.end;
            while ready(due) && self.window.len() < shift.window && left > 0 {
                left -= 1;
                due += shift.pace;
                let share = supply.share()?;
                self.peer.submit(self.window.submit(now), &share, "")?;
            }
            self.peer.flush().await?;
            let open = self.window.len();
            let waits = left > 0 && open < shift.window && due.into_std().max(now) < shift.end;
            if open == 0 && !waits {
                return Ok(());
            }
            let late = |_| -> Fault { format!("no answer for {PATIENCE:?}").into() };
            tokio::select! {
                filled = timeout_at(deadline, self.peer.fill()) => filled.map_err(late)??,
                () = sleep_until(due), if waits => continue,
            }
            let now = Instant::now();
            while let Some(event) = self.peer.read_event()? {
                if tally.take(event, &mut self.window, now) {
                    tally.late += supply.late();
                    *supply = self.supply()?;
                }
            }
        }
    }
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
    let connections = miners.len();
    let mut limit = if plan.limit == 0 { u64::MAX } else { plan.limit };
    if !plan.pace.is_zero() {
        limit = limit.min((length.as_secs_f64() / plan.pace.as_secs_f64()).ceil() as u64);
    }
    let all = (length.as_secs_f64() * AHEAD_PER_SECOND).min(AHEAD_MAX);
    let each = u64::min(limit, all as u64 / connections.max(1) as u64 + plan.window as u64);
    let mut ready = Vec::with_capacity(connections);
    for miner in miners {
        let mut supply = miner.supply()?;
        supply.stock(usize::try_from(each)?)?;
        ready.push((miner, supply));
    }
    let clock = Clock::read(watched)?;
    let begin = Instant::now() + COUNTDOWN;
    let (end, window, pace) = (begin + length, plan.window, plan.pace);
    let begin_at = tokio::time::Instant::from_std(begin);
    let shift = Shift { begin: begin_at, end, window, pace, limit };
    let mut workers = JoinSet::new();
    for (miner, supply) in ready {
        workers.spawn(miner.work(supply, shift));
    }
    let (mut miners, mut tally) = (Vec::with_capacity(connections), Tally::default());
    while let Some(done) = workers.join_next().await {
        let (miner, part) = done?;
        miners.push(miner);
        tally.add(part);
    }
    let answers = tally.latencies.len();
    let cpu = clock.since(answers)?;
    let clean = tally.is_clean();
    let seconds = tally.last_answer.map_or(0.0, |at| (at - begin).as_secs_f64());
    let report = json!({
        "measure": "shares",
        "kind": plan.kind.name(),
        "connections": connections,
        "window": window,
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
        "cpu_us": cpu,
    });
    Ok((miners, report, clean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_pool_counts_and_notes_where_that_does_not_fit() {
        let (mut tally, mut window) = (Tally::default(), Window::default());
        let start = Instant::now();
        for _ in 0..4 {
            window.submit(start);
        }
        let later = start + Duration::from_millis(3);
        assert!(!tally.take(Event::Accepted { last: 1, count: 2 }, &mut window, later));
        assert!(tally.is_clean());
        let code = "stale-share".to_owned();
        tally.take(Event::Rejected { sequence: 2, code }, &mut window, later);
        assert_eq!(tally.rejected["stale-share"], 1);
        tally.take(Event::Accepted { last: 3, count: 9 }, &mut window, later);
        assert_eq!((tally.accepted, tally.miscounted, window.len()), (11, 1, 0));
        assert!(!tally.is_clean());
        assert!(tally.take(Event::NewTip, &mut window, later));
        let summary = tally.latencies.summary().unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (4, 3000.0, 3000.0));
    }

    #[test]
    fn an_error_for_a_submit_that_is_not_open_is_miscounted() {
        let (mut tally, mut window) = (Tally::default(), Window::default());
        let event = Event::Rejected { sequence: 5, code: "x".into() };
        tally.take(event, &mut window, Instant::now());
        assert_eq!((tally.miscounted, tally.latencies.len()), (1, 0));
    }
}
