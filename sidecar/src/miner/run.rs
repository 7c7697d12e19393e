//! A run: connection after connection until something ends it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{interval_at, sleep, sleep_until, Instant, Interval, MissedTickBehavior};
use tracing::{info, warn};

use super::hasher::{Found, Hasher};
use super::journal::Journal;
use super::session::{establish, mine, SessionEnd};
use super::summary::{Counts, Ended, Rate, Rejects, Summary};
use super::target::Target;
use super::work::{Base, Task};
use super::{MinerError, MinerOptions};
use crate::client::{ClientError, PoolUrl};

/// Time for measuring the speed.
const MEASURE: Duration = Duration::from_secs(1);
/// First and shortest wait before connecting again.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

type Shutdown<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

/// State that outlives a connection.
pub(super) struct Run<'a> {
    pub(super) options: &'a MinerOptions,
    pub(super) hasher: Hasher,
    pub(super) found: mpsc::Receiver<Found>,
    pub(super) counts: Counts,
    pub(super) journal: Journal,
    pub(super) ticker: Interval,
    /// Sequence number of the next submit; goes on over connections so that the journal is
    /// unambiguous.
    pub(super) next_seq: u32,
    /// Epoch for the next connection's work.
    pub(super) epoch: u64,
    meter: Meter,
}

pub(super) async fn run(
    options: &MinerOptions,
    shutdown: Shutdown<'_>,
) -> Result<Summary, MinerError> {
    let start = Instant::now();
    let deadline = options.time_limit.and_then(|limit| start.checked_add(limit));
    let mut stop = Stop { shutdown, deadline, fired: None };
    let journal = Journal::open(options.journal.as_deref())
        .map_err(|source| journal_error(options, source))?;
    let (hasher, found) = Hasher::start(options.threads).map_err(MinerError::Threads)?;
    let mut ticker = interval_at(start + options.status_interval, options.status_interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut run = Run {
        options,
        meter: Meter::new(),
        hasher,
        found,
        counts: Counts::default(),
        journal,
        ticker,
        next_seq: 1,
        epoch: 1,
    };
    let ended = run.connections(&mut stop).await;
    // Written in any case: what happened before a failure is worth keeping.
    let flushed = run.journal.flush().map_err(|source| journal_error(options, source));
    let rate = run.meter.average(run.hasher.hashes());
    // The threads end within a chunk of 1024 hashes, once nobody can take a share any more.
    drop(run.found);
    run.hasher.stop();
    let ended = ended?;
    flushed?;
    let summary = run.counts.summary(rate, ended);
    info!("{summary}");
    Ok(summary)
}

impl Run<'_> {
    async fn connections(&mut self, stop: &mut Stop<'_>) -> Result<Ended, MinerError> {
        let Some(nominal) = self.nominal(stop).await else { return Ok(stop.wait().await) };
        let mut backoff = Backoff::default();
        let mut next = None;
        loop {
            let url = next.take().unwrap_or_else(|| self.options.url.clone());
            let accepted = self.counts.accepted;
            let began = Instant::now();
            let why = match self.connection(&url, nominal, stop).await? {
                SessionEnd::Stopped(ended) => return Ok(ended),
                SessionEnd::Redirected(host, port) => {
                    match url.redirected(&host, port) {
                        Ok(other) => next = Some(other),
                        Err(fault) => warn!("the server's new address is ignored: {fault}"),
                    }
                    "the server asked to connect again".to_owned()
                }
                SessionEnd::ChannelClosed(reason) => format!("the server closed it: {reason}"),
                SessionEnd::Failed(error) => {
                    let hopeless =
                        matches!(error, ClientError::Certificate(_) | ClientError::Refused { .. });
                    let never_opened = self.counts.connects == 0;
                    if never_opened && (hopeless || !self.options.reconnect) {
                        return Err(error.into());
                    }
                    error.to_string()
                }
            };
            if !self.options.reconnect {
                return Ok(Ended::Disconnected(why));
            }
            if self.counts.accepted > accepted || began.elapsed() >= BACKOFF_MAX {
                backoff = Backoff::default();
            }
            let wait = backoff.next(rand::random());
            info!("{why}; connecting again in {:.1} s", wait.as_secs_f64());
            if let Err(ended) = self.until(stop, sleep(wait)).await? {
                return Ok(ended);
            }
        }
    }

    /// One connection from the first packet to the last.
    async fn connection(
        &mut self,
        url: &PoolUrl,
        nominal: f32,
        stop: &mut Stop<'_>,
    ) -> Result<SessionEnd, MinerError> {
        info!("connecting to {}", url.address());
        let establish = establish(url, self.options, nominal);
        match self.until(stop, establish).await? {
            Err(ended) => Ok(SessionEnd::Stopped(ended)),
            Ok(Err(error)) => Ok(SessionEnd::Failed(error)),
            Ok(Ok((connection, channel))) => {
                self.counts.connects += 1;
                let written = self.journal.connected(self.counts.connects, &url.to_string());
                written.map_err(|source| journal_error(self.options, source))?;
                mine(self, connection, channel, stop).await
            }
        }
    }

    /// Waits for `work` with an eye on the clock and the exit; `Err` inside when it is time to go.
    async fn until<T>(
        &mut self,
        stop: &mut Stop<'_>,
        work: impl Future<Output = T>,
    ) -> Result<Result<T, Ended>, MinerError> {
        let mut work = std::pin::pin!(work);
        loop {
            select! {
                done = &mut work => return Ok(Ok(done)),
                ended = stop.wait() => return Ok(Err(ended)),
                _ = self.ticker.tick() => self.status(None)?,
            }
        }
    }

    /// The speed to announce, measured if need be; `None` when stopped meanwhile.
    async fn nominal(&mut self, stop: &mut Stop<'_>) -> Option<f32> {
        if let Some(rate) = self.options.nominal_hash_rate {
            return Some(rate);
        }
        self.hasher.set(Some(Arc::new(measuring_task())));
        let began = Instant::now();
        let stopped = select! {
            () = sleep(MEASURE) => false,
            _ = stop.wait() => true,
        };
        let hashes = self.hasher.hashes();
        let rate = hashes as f64 / began.elapsed().as_secs_f64();
        self.hasher.set(None);
        self.meter.start_at(self.hasher.hashes());
        info!("measured {} on {} threads", Rate(rate), self.options.threads);
        (!stopped).then_some(rate as f32)
    }

    /// One line of progress, and the journal to disk. `channel`: submits without an answer and
    /// the difficulty, when there is a channel.
    pub(super) fn status(&mut self, channel: Option<(usize, f64)>) -> Result<(), MinerError> {
        self.journal.flush().map_err(|source| journal_error(self.options, source))?;
        let rate = Rate(self.meter.since_last(self.hasher.hashes()));
        let (accepted, blocks) = (self.counts.accepted, self.counts.blocks);
        let rejected = Rejects(&self.counts.rejected);
        match channel {
            Some((pending, difficulty)) => info!(
                "{rate}, accepted {accepted}, rejected {rejected}, pending {pending}, \
                 difficulty {difficulty:.6}, blocks {blocks}"
            ),
            None => {
                info!("no channel yet; accepted {accepted}, rejected {rejected}, blocks {blocks}")
            }
        }
        Ok(())
    }

    /// Hands the threads a task, or none.
    pub(super) fn set_task(&mut self, task: Option<Arc<Task>>) {
        self.meter.busy(task.is_some());
        self.hasher.set(task);
    }
}

pub(super) fn journal_error(options: &MinerOptions, source: io::Error) -> MinerError {
    MinerError::Journal { path: options.journal.clone().unwrap_or_default(), source }
}

/// Work whose target is out of reach.
fn measuring_task() -> Task {
    Task {
        epoch: 0,
        job_id: 0,
        version: 0,
        rolling: true,
        prev_hash: [0; 32],
        nbits: 0,
        min_ntime: 0,
        since: std::time::Instant::now(),
        base: Base::Root([0; 32]),
        target: Target::NEVER,
        network: Target::NEVER,
    }
}

/// The reasons to end a run from outside it.
pub(super) struct Stop<'a> {
    shutdown: Shutdown<'a>,
    deadline: Option<Instant>,
    fired: Option<Ended>,
}

impl Stop<'_> {
    /// Completes when it is time to go, at once if it was before. Cancel-safe.
    pub(super) async fn wait(&mut self) -> Ended {
        if let Some(ended) = &self.fired {
            return ended.clone();
        }
        let deadline = self.deadline;
        let limit = async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let ended = select! {
            () = &mut self.shutdown => Ended::Shutdown,
            () = limit => Ended::TimeLimit,
        };
        self.fired = Some(ended.clone());
        ended
    }
}

/// Waiting times that double, each with jitter, so that the miners of a pool that restarts do not
/// come back in step.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: BACKOFF_MIN }
    }
}

impl Backoff {
    /// The next wait; `jitter` is random in 0 to 1.
    fn next(&mut self, jitter: f64) -> Duration {
        let wait = self.next.mul_f64(0.5 + jitter).clamp(BACKOFF_MIN, BACKOFF_MAX);
        self.next = (self.next * 2).min(BACKOFF_MAX);
        wait
    }
}

/// Turns hash counts into rates.
#[derive(Debug)]
struct Meter {
    /// Hashes that were not mining.
    base: u64,
    worked: Duration,
    working_since: Option<Instant>,
    last: (Instant, u64),
}

impl Meter {
    fn new() -> Self {
        Self { base: 0, worked: Duration::ZERO, working_since: None, last: (Instant::now(), 0) }
    }

    fn start_at(&mut self, hashes: u64) {
        self.base = hashes;
        self.last = (Instant::now(), hashes);
    }

    fn busy(&mut self, busy: bool) {
        let now = Instant::now();
        if let Some(since) = self.working_since.take() {
            self.worked += now - since;
        }
        self.working_since = busy.then_some(now);
    }

    fn since_last(&mut self, hashes: u64) -> f64 {
        let (then, before) = std::mem::replace(&mut self.last, (Instant::now(), hashes));
        rate(hashes - before, self.last.0 - then)
    }

    fn average(&mut self, hashes: u64) -> f64 {
        self.busy(false);
        rate(hashes - self.base, self.worked)
    }
}

fn rate(hashes: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        hashes as f64 / time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_limit_and_jitters() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next(0.5).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]);
        assert_eq!(Backoff::default().next(0.0), BACKOFF_MIN);
        assert_eq!(Backoff::default().next(0.99), Duration::from_millis(298));
        assert_eq!(backoff.next(0.0), Duration::from_secs(5));
        assert_eq!(backoff.next(1.0), BACKOFF_MAX);
    }
}
