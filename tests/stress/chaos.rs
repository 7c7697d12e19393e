//! A line of real processes, a crowd of miners, and a fault every few seconds.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gopool_sv2_tests::{Line, LineOptions, Process};
use rustix::process::{getrlimit, prlimit, Pid, Resource, Rlimit};

use crate::audit::{Audit, Books};
use crate::crowd::{place, Crowd};
use crate::fault::{schedule, Fault, Kind, Record};
use crate::miner::Plan;
use crate::proxy::{Proxy, Way};
use crate::{report, times};

/// The easiest difficulty that minipool gives: nearly every hash is a share. No other is assigned.
pub const EASIEST: &str = "2.3283064365386963e-10";

/// What a run is.
#[derive(Debug, Clone)]
pub struct Run {
    /// What its lots are drawn by.
    pub seed: u64,
    /// Miners.
    pub miners: usize,
    /// Time between two shares of a miner, on average.
    pub period: Duration,
    /// What may go wrong.
    pub kinds: &'static [Kind],
    /// Time between two faults.
    pub every: Duration,
    /// Time that faults happen in.
    pub length: Duration,
}

/// A line with a proxy between its parts.
pub struct Stage {
    pub line: Line,
    pub proxy: Proxy,
}

impl Stage {
    /// Starts both. The sidecar takes a pool that is silent for 2 s for dead.
    pub fn set() -> Self {
        let minipool = format!(
            "-min-difficulty {EASIEST} -max-difficulty {EASIEST} -test-tip-every 7s \
             -template-seconds 3"
        );
        let mut line = Line::start(LineOptions {
            network_bits: "1f00ffff",
            minipool: minipool.split_whitespace().map(ToOwned::to_owned).collect(),
            listen: "connections_per_sec = 0\nconnections_per_sec_per_address = 0".into(),
            pool: "keepalive_interval_ms = 5001\nkeepalive_timeout_ms = 1000\n\
                   verdict_timeout_ms = 2000\ngrace_ms = 3000"
                .into(),
            log: "info,gopool_sv2::session=warn",
            between: Some("proxy.sock"),
            with_pool: false,
            ..LineOptions::default()
        })
        .unwrap();
        let proxy = Proxy::start(&line.path("proxy.sock"), &line.path("pool.sock"));
        line.start_pool().unwrap();
        line.sidecar.wait_for("link to the pool is up").unwrap();
        Self { line, proxy }
    }
}

/// What has to be put right again.
struct Due {
    at: Instant,
    begun: Instant,
    kind: Kind,
    /// The process it was done to: another one knows nothing of it.
    pid: u32,
}

struct Driver<'a> {
    stage: &'a mut Stage,
    crowd: &'a Crowd,
    due: Vec<Due>,
    records: Vec<Record>,
    /// When each life of the pool could be reached.
    pool_back: Vec<Instant>,
}

impl Driver<'_> {
    fn run(&mut self, faults: &[Fault]) {
        let start = Instant::now();
        for fault in faults {
            self.until(start + fault.at);
            self.begin(fault);
        }
        while let Some(last) = self.due.iter().map(|due| due.at).max() {
            self.until(last);
        }
    }

    /// Puts right what is due until then.
    fn until(&mut self, end: Instant) {
        loop {
            let now = Instant::now();
            if let Some(index) = self.due.iter().position(|due| due.at <= now) {
                let due = self.due.swap_remove(index);
                self.put_right(&due);
            } else if now >= end {
                return;
            } else {
                sleep(Duration::from_millis(10));
            }
        }
    }

    fn pool_pid(&self) -> u32 {
        self.stage.line.pool.as_ref().map_or(0, Process::id)
    }

    fn begin(&mut self, fault: &Fault) {
        let begun = Instant::now();
        let Fault { kind, grade, .. } = *fault;
        let (proxy, line) = (&mut self.stage.proxy, &mut self.stage.line);
        let mut pid = line.sidecar.id();
        match kind {
            Kind::Delay => {
                let delay = Duration::from_secs_f64(0.01 + 0.3 * grade);
                proxy.weather(|w| (w.up.delay, w.down.delay) = (delay, delay));
            }
            Kind::Throttle => {
                let rate = 4_000 + (60_000.0 * grade) as u64;
                proxy.weather(|w| (w.up.rate, w.down.rate) = (rate, rate));
            }
            Kind::Cut => proxy.cut(),
            Kind::HalfOpen => proxy.swallow(),
            Kind::Stall => proxy.weather(|w| (w.up.stalled, w.down.stalled) = (true, true)),
            Kind::StallUp => proxy.weather(|w| w.up.stalled = true),
            Kind::StallDown => proxy.weather(|w| w.down.stalled = true),
            Kind::NoSocket => {
                proxy.unlisten();
                proxy.cut();
            }
            Kind::KillPool => {
                if let Some(pool) = line.pool.take() {
                    pool.kill().unwrap();
                }
            }
            Kind::StopPool => match &line.pool {
                Some(pool) => {
                    pool.signal("STOP").unwrap();
                    pid = pool.id();
                }
                None => return,
            },
            Kind::KillSidecar => {
                if line.sidecar.is_running() {
                    line.sidecar.signal("KILL").unwrap();
                    line.sidecar.wait().unwrap();
                }
            }
            Kind::StopSidecar => {
                if !line.sidecar.is_running() {
                    return;
                }
                line.sidecar.signal("STOP").unwrap();
            }
            Kind::NoDescriptors => {
                if !line.sidecar.is_running() {
                    return;
                }
                let held = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
                limit_descriptors(pid, (held as f64 * grade) as u64);
                proxy.cut();
            }
        }
        self.due.push(Due { at: begun + fault.lasts, begun, kind, pid });
    }

    fn put_right(&mut self, due: &Due) {
        let (proxy, line) = (&mut self.stage.proxy, &mut self.stage.line);
        match due.kind {
            Kind::Cut | Kind::HalfOpen => {}
            Kind::Delay => proxy.weather(|w| {
                (w.up.delay, w.down.delay) = (Duration::ZERO, Duration::ZERO);
            }),
            Kind::Throttle => proxy.weather(|w| (w.up.rate, w.down.rate) = (0, 0)),
            Kind::Stall | Kind::StallUp | Kind::StallDown => proxy.weather(|w| {
                (w.up, w.down) = (calm(w.up), calm(w.down));
            }),
            Kind::NoSocket => proxy.listen(),
            Kind::KillPool => {
                if line.pool.is_none() {
                    line.start_pool().unwrap();
                    self.pool_back.push(Instant::now());
                }
            }
            Kind::StopPool => {
                if due.pid == self.pool_pid() {
                    self.stage.line.pool.as_ref().unwrap().signal("CONT").unwrap();
                }
            }
            Kind::KillSidecar => {
                if !line.sidecar.is_running() {
                    self.crowd.next_life();
                    line.start_sidecar().unwrap();
                }
            }
            Kind::StopSidecar => {
                if due.pid == line.sidecar.id() && line.sidecar.is_running() {
                    line.sidecar.signal("CONT").unwrap();
                }
            }
            Kind::NoDescriptors => {
                if due.pid == line.sidecar.id() && line.sidecar.is_running() {
                    let own = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
                    limit_descriptors(due.pid, own);
                }
            }
        }
        let ended = Instant::now();
        self.records.push(Record { kind: due.kind, begun: due.begun, ended });
    }
}

fn calm(way: Way) -> Way {
    Way { stalled: false, ..way }
}

/// Lets a process have descriptors below `most` only; what it holds stays.
fn limit_descriptors(pid: u32, most: u64) {
    let pid = Pid::from_raw(pid.try_into().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap();
}

/// Keeps for whoever wants to know more what is not on the books.
fn keep(line: &Line, run: &Run, records: &[Record]) {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "chaos-{}-{}",
        run.seed,
        run.kinds.len()
    ));
    fs::create_dir_all(&to).unwrap();
    for name in ["sidecar.log", "minipool.log", "sidecar.journal", "minipool.journal"] {
        fs::copy(line.path(name), to.join(name)).unwrap();
    }
    let (now, clock) = (Instant::now(), std::time::SystemTime::now());
    let line = |record: &Record| {
        let begun = clock - now.duration_since(record.begun);
        let ms = begun.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        format!("{ms} {:?} {:.1?}\n", record.kind, record.ended - record.begun)
    };
    fs::write(to.join("faults"), records.iter().map(line).collect::<String>()).unwrap();
}

/// How a run went.
pub struct Outcome {
    /// What the books say.
    pub audit: Audit,
    /// From a pool that can be reached again to each miner's first acceptance by it, sorted.
    pub back: Vec<Duration>,
}

/// Lets it all happen and compares the books.
pub fn run(run: &Run) -> Outcome {
    let mut stage = Stage::set();
    let to = place(&stage.line);
    let crowd = Crowd::start(run.miners, |number| Plan {
        place: to.clone(),
        period: run.period,
        window: 8,
        // Every tenth comes and goes.
        stay: (number % 10 == 9).then_some(Duration::from_secs(4)),
        seed: run.seed,
    });
    crowd.wait_for_work();
    let faults = schedule(run.seed, run.kinds, run.every, run.length);
    let mut driver = Driver {
        stage: &mut stage,
        crowd: &crowd,
        due: Vec::new(),
        records: Vec::new(),
        pool_back: Vec::new(),
    };
    driver.run(&faults);
    if faults.is_empty() {
        sleep(run.length);
    }
    let (records, pool_back) = (driver.records, driver.pool_back);
    // All is well again: so is everybody.
    let before: Vec<_> = crowd.accepted();
    crowd.wait_for_work();
    crowd.wait_for_more(&before, Duration::from_secs(60));
    let lives = crowd.life() + 1;
    let journals = crowd.stop(Duration::from_secs(60));
    let line = stage.line;
    keep(&line, run, &records);
    let log = fs::read_to_string(line.path("sidecar.log")).unwrap();
    let stopped = line.stop().unwrap();
    let books = Books {
        sidecar: stopped.lives("sidecar").unwrap(),
        pool: stopped.lives("minipool").unwrap(),
        log: &log,
    };
    let audit = Audit::of(&journals, &books, &records, lives);
    report(&format!("chaos, seed {}: {audit}", run.seed));
    let back = times::first_accepted(&journals, &pool_back);
    if !back.is_empty() {
        let count = pool_back.len();
        let spread = times::spread(&back);
        report(&format!("pool back ({count} times) to a miner's first accepted share: {spread}"));
    }
    Outcome { audit, back }
}
