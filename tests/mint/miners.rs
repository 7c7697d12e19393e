//! Miners that know of each share what they were told of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gopool_sv2_tests::peer::{Event, Kind, Peer, Place};
use gopool_sv2_tests::supply::{Share, Supply};
use gopool_sv2_tests::{Line, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout, MissedTickBehavior};

/// Submits without an answer at most.
const WINDOW: usize = 64;
/// How long it may take to get to work.
const ENTRY: Duration = Duration::from_secs(5);

/// What a miner has heard.
#[derive(Debug, Default)]
pub struct Told {
    /// Hashes that were accepted, as explorers print them, in order.
    pub accepted: Vec<String>,
    /// Rejections by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Submits that a connection's end left without an answer.
    pub cut: u64,
    /// Answers that fit no submit.
    pub wrong: Vec<String>,
}

impl Told {
    /// Rejections for this reason.
    pub fn rejected_for(&self, reason: &str) -> u64 {
        self.rejected.get(reason).copied().unwrap_or(0)
    }
}

/// As whom miners mine, with a key when there is one.
pub fn place(line: &Line, name: &str, key: Option<&str>) -> Place {
    let key = key.map(|key| format!("~ehash={key}")).unwrap_or_default();
    let user = format!("{}.{name}{key}", line.address);
    Place { url: line.pool_url().unwrap(), user, hash_rate: 1.0, sources: None, numbers: None }
}

/// A miner at work, until it is told to stop. It comes back whenever its connection ends.
pub struct Miner {
    stop: watch::Sender<bool>,
    task: JoinHandle<Told>,
}

impl Miner {
    /// Begins to mine on the present runtime: a share each `period`.
    pub fn start(place: Place, period: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(work(place, period, usize::MAX, stopped)) }
    }

    /// Waits for the last answers.
    pub async fn stop(self) -> Told {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

/// Mines until so many shares were answered.
pub async fn mine(line: &Line, name: &str, key: Option<&str>, shares: usize) -> Told {
    let (_stop, stopped) = watch::channel(false);
    let told = work(place(line, name, key), Duration::from_millis(2), shares, stopped).await;
    assert!(told.wrong.is_empty() && told.cut == 0, "{told:?}");
    told
}

/// As [`mine`]; each share must be accepted.
pub async fn mine_all(line: &Line, name: &str, key: Option<&str>, shares: usize) -> Told {
    let told = mine(line, name, key, shares).await;
    assert_eq!((told.accepted.len(), told.rejected.len()), (shares, 0), "{told:?}");
    told
}

async fn work(
    place: Place,
    period: Duration,
    most: usize,
    mut stop: watch::Receiver<bool>,
) -> Told {
    let mut told = Told::default();
    let mut left = most;
    while left > 0 && !*stop.borrow() {
        if let Ok(Ok(peer)) = timeout(ENTRY, enter(&place)).await {
            let mut open = VecDeque::new();
            // Why it ends is the test's doing.
            let _ = connection(peer, period, &mut left, &mut stop, (&mut told, &mut open)).await;
            told.cut += open.len() as u64;
        }
        if left > 0 && !*stop.borrow() {
            sleep(Duration::from_millis(20)).await;
        }
    }
    told
}

/// A connection with a channel that has work.
///
/// # Errors
/// The pool refuses, or goes away.
pub async fn enter(place: &Place) -> Result<Peer> {
    let mut peer = Peer::connect(place, Kind::Extended).await?;
    peer.open(place).await?;
    peer.first_job().await?;
    Ok(peer)
}

/// Submits a share and waits for its answer: empty when it is accepted, otherwise the reason.
///
/// # Errors
/// The connection ends.
pub async fn submit(peer: &mut Peer, sequence: u32, share: &Share<'_>) -> Result<String> {
    peer.submit(sequence, share, "")?;
    peer.flush().await?;
    loop {
        match peer.event().await? {
            Event::Accepted { last, count: 1 } if last == sequence => return Ok(String::new()),
            Event::Rejected { sequence: of, code } if of == sequence => return Ok(code),
            event @ (Event::Accepted { .. } | Event::Rejected { .. }) => {
                return Err(format!("{event:?} for {sequence}").into());
            }
            _ => {}
        }
    }
}

/// Mines on one connection until nothing more is wanted and all is answered.
async fn connection(
    mut peer: Peer,
    period: Duration,
    left: &mut usize,
    stop: &mut watch::Receiver<bool>,
    (told, open): (&mut Told, &mut VecDeque<(u32, String)>),
) -> Result<()> {
    let mut supply = Supply::new(peer.task().ok_or("no work")?, 0);
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sequence = 0;
    loop {
        let over = *left == 0 || *stop.borrow();
        if over && open.is_empty() {
            return Ok(());
        }
        tokio::select! {
            _ = stop.changed(), if !over => {}
            _ = tick.tick(), if !over && open.len() < WINDOW => {
                let (share, hash) = supply.share_and_hash()?;
                peer.submit(sequence, &share, "")?;
                open.push_back((sequence, hash));
                sequence += 1;
                *left -= 1;
                peer.flush().await?;
            }
            filled = peer.fill() => filled?,
        }
        while let Some(event) = peer.read_event()? {
            match event {
                Event::NewTip | Event::NewJob => {
                    supply = Supply::new(peer.task().ok_or("no work")?, 0);
                }
                Event::Accepted { last, count } => told.accepted(open, last, count),
                Event::Rejected { sequence, code } => told.rejected(open, sequence, code),
                Event::SetUp | Event::Extended | Event::Opened | Event::Other => {}
            }
        }
    }
}

impl Told {
    fn accepted(&mut self, open: &mut VecDeque<(u32, String)>, last: u32, count: u32) {
        let before = self.accepted.len();
        while open.front().is_some_and(|(sequence, _)| *sequence <= last) {
            self.accepted.extend(open.pop_front().map(|(_, hash)| hash));
        }
        if self.accepted.len() - before != count as usize {
            self.wrong.push(format!("Success of {count} up to {last}"));
        }
    }

    fn rejected(&mut self, open: &mut VecDeque<(u32, String)>, sequence: u32, code: String) {
        match open.iter().position(|(open, _)| *open == sequence) {
            Some(at) => drop(open.remove(at)),
            None => self.wrong.push(format!("Error {code} for {sequence}")),
        }
        *self.rejected.entry(code).or_default() += 1;
    }
}
