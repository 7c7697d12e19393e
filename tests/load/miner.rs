//! One miner: sends shares as its shift says, hears the answers, and keeps count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gopool_sv2::miner::work::Task;
use gopool_sv2_tests::peer::{Event, Peer};
use gopool_sv2_tests::supply::{Share, Supply};
use gopool_sv2_tests::{Fault, Result};
use tokio::time::{sleep_until, timeout_at};

use crate::alarm::Alarm;
use crate::stats::Latencies;
use crate::sv1::{Sv1Peer, Word};
use crate::window::Window;

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a miner sends, and how much.
#[derive(Debug, Clone)]
pub struct Shift {
    /// All begin together.
    pub begin: Instant,
    /// Nothing is sent after that.
    pub end: Instant,
    /// Nor after this is set.
    pub over: Arc<AtomicBool>,
    /// Open submits at most.
    pub window: usize,
    /// Between two shares; zero: as the window has room.
    pub pace: Duration,
    /// Shares at most.
    pub limit: u64,
}

impl Shift {
    fn goes_on(&self, now: Instant) -> bool {
        now < self.end && !self.over.load(Ordering::Relaxed)
    }
}

/// What came of a miner's shares.
#[derive(Debug, Default)]
pub struct Tally {
    /// From handing a submit to the socket to having read the answer.
    pub latencies: Latencies,
    /// How long after they were due, and the window had room, shares were sent: the driver's own
    /// doing.
    pub lateness: Latencies,
    /// As the pool counts them.
    pub accepted: u64,
    /// By what was said.
    pub rejected: BTreeMap<String, u64>,
    /// Answers that don't fit the submits that were open.
    pub miscounted: u64,
    /// Submits without an answer.
    pub unanswered: u64,
    /// Shares that had to be found when they were to be sent.
    pub late: u64,
    /// New tips meanwhile.
    pub new_tips: u64,
    /// When the last answer was there.
    pub last_answer: Option<Instant>,
    /// Why it ended early.
    pub faults: Vec<String>,
}

impl Tally {
    /// Takes over another's.
    pub fn add(&mut self, other: Self) {
        self.latencies.merge(other.latencies);
        self.lateness.merge(other.lateness);
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

    /// Whether every share was accepted, and counted right.
    pub fn is_clean(&self) -> bool {
        let unanswered = self.unanswered + self.miscounted;
        self.rejected.is_empty() && unanswered == 0 && self.faults.is_empty()
    }

    fn answered(&mut self, sent: Instant, now: Instant) {
        self.latencies.push(now.saturating_duration_since(sent));
        self.last_answer = Some(now);
    }

    /// Takes one word of the pool; true when there is other work now.
    fn take(&mut self, word: Word, window: &mut Window, now: Instant) -> bool {
        match word {
            Word::Event(Event::Accepted { last, count }) => {
                let settled = window.accepted(last, count);
                self.accepted += u64::from(count);
                self.miscounted += u64::from(settled.miscounted);
                for sent in settled.sent {
                    self.answered(sent, now);
                }
                self.last_answer = Some(now);
            }
            Word::AcceptedOne(sequence) => {
                self.accepted += 1;
                self.settle_one(sequence, window, now);
            }
            Word::Event(Event::Rejected { sequence, code }) => {
                *self.rejected.entry(code).or_default() += 1;
                self.settle_one(sequence, window, now);
            }
            Word::Event(Event::NewTip) => {
                self.new_tips += 1;
                return true;
            }
            Word::Event(_) => {}
        }
        false
    }

    fn settle_one(&mut self, sequence: u32, window: &mut Window, now: Instant) {
        match window.take(sequence) {
            Some(sent) => self.answered(sent, now),
            None => self.miscounted += 1,
        }
    }
}

/// The way to the pool.
enum Wire {
    Sv2(Box<Peer>),
    Sv1(Box<Sv1Peer>),
}

impl Wire {
    fn task(&self) -> Option<Arc<Task>> {
        match self {
            Self::Sv2(peer) => peer.task(),
            Self::Sv1(peer) => peer.task(),
        }
    }

    fn submit(&mut self, sequence: u32, share: &Share<'_>) -> Result<()> {
        match self {
            Self::Sv2(peer) => peer.submit(sequence, share, ""),
            Self::Sv1(peer) => peer.submit(sequence, share),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        match self {
            Self::Sv2(peer) => peer.flush().await,
            Self::Sv1(peer) => peer.flush().await,
        }
    }

    async fn fill(&mut self) -> Result<()> {
        match self {
            Self::Sv2(peer) => peer.fill().await,
            Self::Sv1(peer) => peer.fill().await,
        }
    }

    fn read_word(&mut self) -> Result<Option<Word>> {
        match self {
            Self::Sv2(peer) => Ok(peer.read_event()?.map(Word::Event)),
            Self::Sv1(peer) => peer.read_word(),
        }
    }
}

/// A connection with a channel, and its open submits.
pub struct Miner {
    wire: Wire,
    window: Window,
}

impl From<Peer> for Miner {
    /// Takes over a connection that has work.
    fn from(peer: Peer) -> Self {
        Self { wire: Wire::Sv2(Box::new(peer)), window: Window::default() }
    }
}

impl From<Sv1Peer> for Miner {
    /// Takes over a connection that has work.
    fn from(peer: Sv1Peer) -> Self {
        Self { wire: Wire::Sv1(Box::new(peer)), window: Window::default() }
    }
}

impl Miner {
    /// Shares of its present work.
    ///
    /// # Errors
    /// It has none.
    pub fn supply(&self) -> Result<Supply> {
        Ok(Supply::new(self.wire.task().ok_or("the channel has no work")?, rand::random()))
    }

    /// Works a shift, and tells what came of it.
    pub async fn work(mut self, mut supply: Supply, shift: Shift) -> (Self, Tally) {
        let mut tally = Tally::default();
        if let Err(fault) = self.send_and_hear(&mut supply, &shift, &mut tally).await {
            tally.faults.push(fault.to_string());
        }
        tally.unanswered = self.window.len() as u64;
        tally.late += supply.late();
        (self, tally)
    }

    async fn send_and_hear(
        &mut self,
        supply: &mut Supply,
        shift: &Shift,
        tally: &mut Tally,
    ) -> Result<()> {
        let deadline = tokio::time::Instant::from_std(shift.end) + PATIENCE;
        let mut left = shift.limit;
        let alarm = if shift.pace.is_zero() { None } else { Some(Alarm::new()?) };
        // Not all in the same moment.
        let mut due = shift.begin + shift.pace.mul_f64(rand::random());
        // When the window last got room: a share can't be late before.
        let mut room = shift.begin;
        let mut armed = None;
        sleep_until(shift.begin.into()).await;
        loop {
            let now = Instant::now();
            while due <= now && shift.goes_on(now) && self.window.len() < shift.window && left > 0 {
                left -= 1;
                if alarm.is_some() {
                    tally.lateness.push(now.saturating_duration_since(due.max(room)));
                }
                due += shift.pace;
                let share = supply.share()?;
                self.wire.submit(self.window.submit(now), &share)?;
            }
            self.wire.flush().await?;
            let open = self.window.len();
            let waits = left > 0 && open < shift.window && shift.goes_on(due.max(now));
            if open == 0 && !waits {
                return Ok(());
            }
            if let (Some(alarm), true) = (&alarm, waits && armed != Some(due)) {
                alarm.set(due)?;
                armed = Some(due);
            }
            let late = |_| -> Fault { format!("no answer for {PATIENCE:?}").into() };
            tokio::select! {
                filled = timeout_at(deadline, self.wire.fill()) => filled.map_err(late)??,
                rang = ring(alarm.as_ref()), if waits => {
                    rang?;
                    continue;
                }
            }
            let now = Instant::now();
            let full = self.window.len() >= shift.window;
            while let Some(word) = self.wire.read_word()? {
                if tally.take(word, &mut self.window, now) {
                    tally.late += supply.late();
                    *supply = self.supply()?;
                }
            }
            if full {
                room = now;
            }
        }
    }
}

/// Waits for an alarm; without one for nothing, so that all have their turn.
async fn ring(alarm: Option<&Alarm>) -> Result<()> {
    match alarm {
        Some(alarm) => alarm.ring().await,
        None => {
            tokio::task::yield_now().await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(last: u32, count: u32) -> Word {
        Word::Event(Event::Accepted { last, count })
    }

    #[test]
    fn counts_what_the_pool_counts_and_notes_where_that_does_not_fit() {
        let (mut tally, mut window) = (Tally::default(), Window::default());
        let start = Instant::now();
        for _ in 0..4 {
            window.submit(start);
        }
        let later = start + Duration::from_millis(3);
        assert!(!tally.take(accepted(1, 2), &mut window, later));
        assert!(tally.is_clean());
        let code = "stale-share".to_owned();
        tally.take(Word::Event(Event::Rejected { sequence: 2, code }), &mut window, later);
        assert_eq!(tally.rejected["stale-share"], 1);
        tally.take(accepted(3, 9), &mut window, later);
        assert_eq!((tally.accepted, tally.miscounted, window.len()), (11, 1, 0));
        assert!(!tally.is_clean());
        assert!(tally.take(Word::Event(Event::NewTip), &mut window, later));
        let summary = tally.latencies.summary().unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (4, 3000.0, 3000.0));
    }

    #[test]
    fn an_answer_for_a_submit_that_is_not_open_is_miscounted() {
        let (mut tally, mut window) = (Tally::default(), Window::default());
        let event = Event::Rejected { sequence: 5, code: "x".into() };
        tally.take(Word::Event(event), &mut window, Instant::now());
        assert_eq!((tally.miscounted, tally.latencies.len()), (1, 0));
        window.submit(Instant::now());
        window.submit(Instant::now());
        tally.take(Word::AcceptedOne(1), &mut window, Instant::now());
        tally.take(Word::AcceptedOne(1), &mut window, Instant::now());
        assert_eq!((tally.accepted, tally.miscounted, window.len()), (2, 2, 1));
    }
}
