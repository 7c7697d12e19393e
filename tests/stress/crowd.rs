//! Many miners in this process.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gopool_sv2_tests::peer::Place;
use gopool_sv2_tests::Line;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::miner::{Gauge, Journal, Miner, Phase, Plan};

/// Miners at work, on threads of their own.
pub struct Crowd {
    runtime: Runtime,
    miners: Vec<JoinHandle<Journal>>,
    phase: watch::Sender<Phase>,
    gauges: Vec<Arc<Gauge>>,
    lives: Arc<AtomicU32>,
}

/// As whom miners of a line mine.
pub fn place(line: &Line) -> Place {
    let user = format!("{}.crowd", line.address);
    Place { url: line.pool_url().unwrap(), user, hash_rate: 1.0, sources: None, numbers: None }
}

impl Crowd {
    /// Sends out `count` miners, a hundred each tenth of a second: this is no test of admission.
    pub fn start(count: usize, plan: impl Fn(usize) -> Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (phase, watched) = watch::channel(Phase::Mine);
        let lives = Arc::new(AtomicU32::new(0));
        let (mut miners, mut gauges) = (Vec::new(), Vec::new());
        for number in 0..count {
            let gauge = Arc::<Gauge>::default();
            gauges.push(Arc::clone(&gauge));
            let (watched, lives) = (watched.clone(), Arc::clone(&lives));
            let miner = Miner::new(number, plan(number), watched, gauge, lives);
            miners.push(runtime.spawn(miner.run()));
            if number % 100 == 99 {
                sleep(Duration::from_millis(100));
            }
        }
        Self { runtime, miners, phase, gauges, lives }
    }

    /// The sidecar begins another life.
    pub fn next_life(&self) {
        self.lives.fetch_add(1, Relaxed);
    }

    /// The sidecar's present life.
    pub fn life(&self) -> u32 {
        self.lives.load(Relaxed)
    }

    /// How many miners fulfil this.
    pub fn count(&self, of: impl Fn(&Gauge) -> bool) -> usize {
        self.gauges.iter().filter(|gauge| of(gauge)).count()
    }

    /// Waits until each miner has had that many jobs after the first of its connection.
    pub fn wait_for_jobs(&self, count: u64, patience: Duration) {
        self.wait_for_all("new jobs", patience, |gauge| gauge.jobs.load(Relaxed) >= count);
    }

    /// Acceptances of each miner.
    pub fn accepted(&self) -> Vec<u64> {
        self.gauges.iter().map(|gauge| gauge.accepted.load(Relaxed)).collect()
    }

    /// Waits until each miner has one more accepted than `before`.
    pub fn wait_for_more(&self, before: &[u64], patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let more = self.accepted().iter().zip(before).filter(|(now, then)| now > then).count();
            if more == before.len() {
                return;
            }
            assert!(Instant::now() < deadline, "accepted: {more} of {}", before.len());
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all of them fulfil this.
    pub fn wait_for_all(&self, what: &str, patience: Duration, of: impl Fn(&Gauge) -> bool) {
        let deadline = Instant::now() + patience;
        loop {
            let done = self.count(&of);
            if done == self.gauges.len() {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {done} of {}", self.gauges.len());
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all of them have work.
    pub fn wait_for_work(&self) {
        let patience = Duration::from_secs(60);
        self.wait_for_all("work", patience, |gauge| gauge.working.load(Relaxed));
    }

    /// Lets all open submits be answered, ends the miners, and returns their journals. A submit
    /// without an answer after `patience` fails the test: silence is no answer.
    pub fn stop(self, patience: Duration) -> Vec<Journal> {
        self.phase.send(Phase::Settle).unwrap();
        self.wait_for_all("answers", patience, |gauge| gauge.open.load(Relaxed) == 0);
        self.phase.send(Phase::Stop).unwrap();
        let miners = self.miners;
        self.runtime.block_on(async {
            let mut journals = Vec::with_capacity(miners.len());
            for miner in miners {
                journals.push(miner.await.unwrap());
            }
            journals
        })
    }
}
