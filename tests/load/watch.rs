//! What processes cost, as the kernel counts it in /proc (Linux).

use std::fs;
use std::time::Instant;

use gopool_sv2_tests::Result;
use serde_json::{Map, Value};

/// Microseconds of one clock tick of /proc/PID/stat: Linux shows user space 100 a second.
const TICK_US: u64 = 10_000;

/// A process to look at.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What it is called in reports.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// Only threads whose names begin so count; `None`: all. A part of a process is not counted as
    /// a process of its own when it comes to what else the machine did.
    pub threads: Option<String>,
}

impl Watched {
    /// This process.
    pub fn this() -> Self {
        Self { name: "load".into(), pid: std::process::id(), threads: None }
    }

    /// CPU time used so far, user and system, all threads.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu(&self) -> Result<Cpu> {
        if self.threads.is_some() {
            let fine_us = self.fine_us().ok_or_else(|| self.nonsense("task"))?;
            return Ok(Cpu { coarse_us: 0, fine_us: Some(fine_us) });
        }
        let ticks = cpu_ticks(&self.read("stat")?).ok_or_else(|| self.nonsense("stat"))?;
        Ok(Cpu { coarse_us: ticks * TICK_US, fine_us: self.fine_us() })
    }

    /// The same in steps of a nanosecond, where the kernel keeps such books; without threads that
    /// have ended.
    fn fine_us(&self) -> Option<u64> {
        let (mut sum, mut asked_for) = (0_u64, false);
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid)).ok()? {
            let path = thread.ok()?.path();
            if let Some(wanted) = &self.threads {
                let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
                if !name.starts_with(wanted) {
                    continue;
                }
            }
            asked_for |= self.threads.is_some();
            // A thread that ends while we look has had its time counted by `stat`.
            let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
            sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
        // One that was asked for may not have worked yet.
        (sum > 0 || asked_for).then_some(sum / 1000)
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// It is gone.
    pub fn resident_kib(&self) -> Result<u64> {
        let text = self.read("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| self.nonsense("status"))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).map_err(|error| format!("{}: {path}: {error}", self.name).into())
    }

    fn nonsense(&self, file: &str) -> gopool_sv2_tests::Fault {
        format!("{}: /proc/{}/{file} has another form than expected", self.name, self.pid).into()
    }
}

impl std::str::FromStr for Watched {
    type Err = String;

    /// From `NAME=PID` or `NAME=PID/PREFIX`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("{text:?} is not NAME=PID, such as pool=1234");
        let (name, pid) = text.split_once('=').ok_or_else(wrong)?;
        let (pid, threads) = match pid.split_once('/') {
            Some((pid, prefix)) => (pid, Some(prefix.to_owned())),
            None => (pid, None),
        };
        let pid = pid.parse().map_err(|_| wrong())?;
        Ok(Self { name: name.to_owned(), pid, threads })
    }
}

/// CPU time of a process so far, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// From /proc/PID/stat: complete, in steps of 10 ms.
    coarse_us: u64,
    /// From /proc/PID/task/TID/schedstat: exact, but threads that end take theirs with them.
    fine_us: Option<u64>,
}

impl Cpu {
    /// Microseconds from `before` until this: the exact figure, unless threads have ended.
    pub fn since(self, before: Self) -> u64 {
        let coarse = self.coarse_us.saturating_sub(before.coarse_us);
        match (self.fine_us, before.fine_us) {
            (Some(now), Some(then)) if now.saturating_sub(then) + 2 * TICK_US >= coarse => {
                now.saturating_sub(then)
            }
            _ => coarse,
        }
    }
}

/// User and system time in a line of /proc/PID/stat: the fields 14 and 15, counted behind the name,
/// which may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// CPU times at one moment.
#[derive(Debug)]
pub struct Clock<'a> {
    processes: Vec<(&'a Watched, Cpu)>,
    machine_us: u64,
    read: Instant,
}

impl<'a> Clock<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// A process is gone.
    pub fn read(processes: &'a [Watched]) -> Result<Self> {
        let read = |p: &'a Watched| Ok((p, p.cpu()?));
        let processes = processes.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { processes, machine_us: machine_us()?, read: Instant::now() })
    }

    /// CPU microseconds since then by name, each divided by `operations`; as `elsewhere` the number
    /// of cores that were busy with something else meanwhile: with more than a little of that the
    /// run says nothing.
    ///
    /// # Errors
    /// A process is gone.
    pub fn since(&self, operations: usize) -> Result<Value> {
        let (mut costs, mut ours) = (Map::new(), 0);
        for (process, before) in &self.processes {
            let used = process.cpu()?.since(*before);
            ours += if process.threads.is_none() { used } else { 0 };
            costs.insert(process.name.clone(), (used as f64 / operations.max(1) as f64).into());
        }
        let others = machine_us()?.saturating_sub(self.machine_us).saturating_sub(ours);
        let elapsed = self.read.elapsed().as_micros().max(1) as f64;
        costs.insert("elsewhere".into(), (others as f64 / elapsed).into());
        Ok(Value::Object(costs))
    }
}

/// CPU time that all cores were busy since the start, in microseconds.
fn machine_us() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    let ticks = busy_ticks(&text).ok_or("/proc/stat has another form than expected")?;
    Ok(ticks * TICK_US)
}

/// All of the first line of /proc/stat but idle (the fourth number) and waiting for disks (the
/// fifth); what follows the eighth is part of others.
fn busy_ticks(stat: &str) -> Option<u64> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> =
        numbers.take(8).map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    Some(ticks.iter().sum::<u64>() - ticks.get(3)? - ticks.get(4)?)
}

/// Resident memory by name, in KiB.
///
/// # Errors
/// A process is gone.
pub fn resident(processes: &[Watched]) -> Result<Value> {
    let read = |p: &Watched| Ok((p.name.clone(), p.resident_kib()?.into()));
    processes.iter().map(read).collect::<Result<Map<_, _>>>().map(Value::Object)
}

/// How many descriptors this process may have.
pub fn descriptor_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_behind_an_awkward_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 900 0 1 0 250 50 7 8 20 0 3 0 100 1 2";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("42 (a) S 1 2"), None);
    }

    #[test]
    fn sees_this_process_work_and_its_memory() {
        let this = [Watched::this()];
        let before = this[0].cpu().unwrap();
        let mut sum = 0_u64;
        while this[0].cpu().unwrap().since(before) < 2 * TICK_US {
            sum = std::hint::black_box((0..100_000_u64).fold(sum, u64::wrapping_add));
        }
        assert!(resident(&this).unwrap()["load"].as_u64().unwrap() > 100);
        assert!(descriptor_limit().unwrap() > 3);
    }

    #[test]
    fn trusts_the_exact_time_unless_a_thread_took_some_with_it() {
        let cpu = |coarse_us, fine_us| Cpu { coarse_us, fine_us };
        let before = cpu(100_000, Some(95_000));
        assert_eq!(cpu(110_000, Some(99_500)).since(before), 4_500);
        assert_eq!(cpu(190_000, Some(97_000)).since(before), 90_000, "a thread ended");
        assert_eq!(cpu(190_000, Some(40_000)).since(before), 90_000, "a long-lived one");
        assert_eq!(cpu(190_000, None).since(before), 90_000);
        assert_eq!(cpu(100_000, Some(1_000)).since(before), 0);
    }

    #[test]
    fn counts_only_the_threads_that_are_asked_for() {
        let of = |name: &str| -> Watched {
            format!("part={}/{name}", std::process::id()).parse().unwrap()
        };
        let work = std::thread::Builder::new().name("gsv2-work".into()).spawn(move || {
            let (mine, others) = (of("gsv2"), of("nobody"));
            let before = mine.cpu().unwrap();
            let mut sum = 0_u64;
            while mine.cpu().unwrap().since(before) < 2_000 {
                sum = std::hint::black_box((0..100_000_u64).fold(sum, u64::wrapping_add));
            }
            assert!(others.cpu().is_err(), "nothing has that name");
        });
        work.unwrap().join().unwrap();
    }

    #[test]
    fn tells_idle_from_busy() {
        let stat = "cpu  10 20 30 4000 500 6 7 8 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(10 + 20 + 30 + 6 + 7 + 8));
        assert_eq!(busy_ticks("intr 1 2 3"), None);
        assert!(machine_us().unwrap() > 0);
    }

    #[test]
    fn rejects_processes_that_are_not_named_or_not_there() {
        assert!("pool".parse::<Watched>().unwrap_err().contains("NAME=PID"));
        assert!("pool=x".parse::<Watched>().is_err() && "pool=/x".parse::<Watched>().is_err());
        let gone: Watched = "pool=4294967295".parse().unwrap();
        assert!(gone.cpu().unwrap_err().to_string().starts_with("pool: /proc/4294967295"));
    }
}
