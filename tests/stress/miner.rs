//! One cheap miner: real shares at an even pace, and a journal of what became of each.
//!
//! Every share carries its name as its worker, `m<miner>.c<connection>.s<sequence number>`. The
//! sidecar's and the pool's journals repeat it: that ties the books together, whatever was
//! restarted in between.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gopool_sv2_tests::peer::{Event, Kind, Peer, Place};
use gopool_sv2_tests::supply::Supply;
use gopool_sv2_tests::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

/// How long a new connection may take until it has work.
const ENTRY: Duration = Duration::from_secs(10);

/// How a miner goes about it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to, as whom.
    pub place: Place,
    /// Time between two shares, on average.
    pub period: Duration,
    /// Submits that may wait for their answer.
    pub window: usize,
    /// After that long a connection is left for another, on average; `None`: never.
    pub stay: Option<Duration>,
    /// What it draws its lots by.
    pub seed: u64,
}

/// What all miners are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Mine.
    Mine,
    /// Submit no more and wait for what is open.
    Settle,
    /// Leave.
    Stop,
}

/// What became of a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// No answer yet.
    Open,
    /// A Success was about it.
    Accepted,
    /// An Error was, with this code.
    Rejected(String),
    /// The connection ended before.
    Cut,
}

/// A line of the journal.
#[derive(Debug, Clone)]
pub struct Submit {
    /// See the module.
    pub name: String,
    /// As explorers print it.
    pub hash: String,
    /// When it was handed to the socket.
    pub sent: Instant,
    /// What became of it.
    pub fate: Fate,
    /// When that was known.
    pub at: Instant,
    /// The life of the sidecar that it was sent to.
    pub life: u32,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The miner left, with nothing open.
    Left,
    /// The sidecar, or something on the way, ended it.
    Lost(String),
}

/// A connection that had work.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The sidecar's life that it was made in.
    pub life: u32,
    /// When it ended.
    pub ended: Instant,
    /// How it ended.
    pub end: End,
}

/// All that a miner did.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// In the order in which they were sent.
    pub submits: Vec<Submit>,
    /// In order.
    pub connections: Vec<Connection>,
    /// When jobs came, the first of each connection left out.
    pub jobs: Vec<Instant>,
    /// Connections that came to nothing.
    pub failed: u64,
    /// Answers that don't fit what was open.
    pub miscounted: Vec<String>,
}

/// What can be seen of a miner while it works.
#[derive(Debug, Default)]
pub struct Gauge {
    /// It has a channel with work.
    pub working: AtomicBool,
    /// Submits that wait for an answer.
    pub open: AtomicUsize,
    /// Jobs that came after the first of a connection.
    pub jobs: AtomicU64,
    /// Acceptances.
    pub accepted: AtomicU64,
}

/// A miner at work.
pub struct Miner {
    number: usize,
    plan: Plan,
    phase: watch::Receiver<Phase>,
    gauge: Arc<Gauge>,
    lives: Arc<AtomicU32>,
    rng: StdRng,
    journal: Journal,
    /// Sequence number and place in the journal of each submit that waits.
    open: VecDeque<(u32, usize)>,
}

impl Miner {
    /// The miner of this number. `lives`: the sidecar's present life.
    pub fn new(
        number: usize,
        plan: Plan,
        phase: watch::Receiver<Phase>,
        gauge: Arc<Gauge>,
        lives: Arc<AtomicU32>,
    ) -> Self {
        let rng = StdRng::seed_from_u64(plan.seed ^ (number as u64) << 20);
        let (journal, open) = (Journal::default(), VecDeque::new());
        Self { number, plan, phase, gauge, lives, rng, journal, open }
    }

    /// Mines until it is told to stop; connects again whenever it has to.
    pub async fn run(mut self) -> Journal {
        while self.now() < Phase::Stop {
            match timeout(ENTRY, enter(&self.plan.place)).await {
                Ok(Ok(peer)) => {
                    // A life that ends right now ends the connection, too: nothing is sent on it.
                    let life = self.lives.load(Relaxed);
                    self.gauge.working.store(true, Relaxed);
                    let end = match self.mine(peer, life).await {
                        Ok(()) => End::Left,
                        Err(fault) => End::Lost(fault.to_string()),
                    };
                    self.gauge.working.store(false, Relaxed);
                    let now = Instant::now();
                    for (_, index) in std::mem::take(&mut self.open) {
                        self.fate(index, Fate::Cut, now);
                    }
                    self.gauge.open.store(0, Relaxed);
                    self.journal.connections.push(Connection { life, ended: now, end });
                }
                Ok(Err(_)) | Err(_) => self.journal.failed += 1,
            }
            let pause = self.rng.gen_range(50..250);
            sleep(Duration::from_millis(pause)).await;
        }
        self.journal
    }

    fn now(&self) -> Phase {
        *self.phase.borrow()
    }

    /// About `time`, so that miners don't move in step.
    fn about(&mut self, time: Duration) -> tokio::time::Instant {
        tokio::time::Instant::now() + time.mul_f64(self.rng.gen_range(0.5..1.5))
    }

    /// Mines on one connection until it leaves.
    async fn mine(&mut self, mut peer: Peer, life: u32) -> Result<()> {
        // Always from the beginning of a job: a pool that gives the same work twice gets the same
        // share twice.
        let mut supply = Supply::new(peer.task().ok_or("no work")?, 0);
        let mut target = peer.task().map(|task| task.target);
        let connection = self.journal.connections.len();
        let mut sequence = 0;
        let mut next = self.about(self.plan.period);
        let leaves = self.plan.stay.map(|stay| self.about(stay));
        loop {
            let now = self.now();
            let leaving = leaves.is_some_and(|at| at <= tokio::time::Instant::now());
            if self.open.is_empty() && (leaving || now == Phase::Stop) {
                return Ok(());
            }
            let sends = now == Phase::Mine && !leaving && self.open.len() < self.plan.window;
            tokio::select! {
                _ = self.phase.changed() => {}
                () = sleep_until(next), if sends => {
                    next = self.about(self.plan.period);
                    let (share, hash) = supply.share_and_hash()?;
                    let name = format!("m{}.c{connection}.s{sequence}", self.number);
                    let sent = Instant::now();
                    self.open.push_back((sequence, self.journal.submits.len()));
                    peer.submit(sequence, &share, &name)?;
                    let (fate, at) = (Fate::Open, sent);
                    self.journal.submits.push(Submit { name, hash, sent, fate, at, life });
                    self.gauge.open.store(self.open.len(), Relaxed);
                    sequence += 1;
                    peer.flush().await?;
                }
                filled = peer.fill() => filled?,
            }
            while let Some(event) = peer.read_event()? {
                match event {
                    Event::NewTip | Event::NewJob => {
                        supply = Supply::new(peer.task().ok_or("no work")?, 0);
                        self.journal.jobs.push(Instant::now());
                        self.gauge.jobs.fetch_add(1, Relaxed);
                    }
                    Event::Accepted { last, count } => self.accepted(last, count),
                    Event::Rejected { sequence, code } => self.rejected(sequence, code),
                    Event::SetUp | Event::Extended | Event::Opened | Event::Other => {}
                }
                let task = peer.task().ok_or("no work")?;
                if target.replace(task.target) != Some(task.target) {
                    let reached = u64::from(supply.next_nonce());
                    supply = Supply::new(task, reached << 32);
                }
            }
        }
    }

    fn accepted(&mut self, last: u32, count: u32) {
        let now = Instant::now();
        let mut settled = 0;
        while self.open.front().is_some_and(|(sequence, _)| *sequence <= last) {
            let Some((_, index)) = self.open.pop_front() else { break };
            self.fate(index, Fate::Accepted, now);
            settled += 1;
        }
        if settled != count {
            let text = format!("m{}: Success of {count} up to {last}: {settled}", self.number);
            self.journal.miscounted.push(text);
        }
        self.gauge.open.store(self.open.len(), Relaxed);
        self.gauge.accepted.fetch_add(settled.into(), Relaxed);
    }

    fn rejected(&mut self, sequence: u32, code: String) {
        match self.open.iter().position(|(open, _)| *open == sequence) {
            Some(at) => {
                if let Some((_, index)) = self.open.remove(at) {
                    self.fate(index, Fate::Rejected(code), Instant::now());
                }
            }
            None => {
                let text = format!("m{}: Error {code} for {sequence}, not open", self.number);
                self.journal.miscounted.push(text);
            }
        }
        self.gauge.open.store(self.open.len(), Relaxed);
    }

    fn fate(&mut self, index: usize, fate: Fate, at: Instant) {
        let submit = &mut self.journal.submits[index];
        (submit.fate, submit.at) = (fate, at);
    }
}

/// Connects, and opens a channel that has work.
async fn enter(place: &Place) -> Result<Peer> {
    let mut peer = Peer::connect(place, Kind::Extended).await?;
    peer.name_workers().await?;
    peer.open(place).await?;
    peer.first_job().await?;
    Ok(peer)
}
