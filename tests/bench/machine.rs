//! What the figures were measured on, in general terms, and whether it is quiet.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

/// Cores' worth of other work that a measurement bears.
pub const NOISE: f64 = 0.15;
/// How long one look takes.
const LOOK: Duration = Duration::from_millis(500);
/// Clock ticks of /proc/stat per second.
const TICKS: f64 = 100.0;

/// The machine without its name: cores, processor, memory, versions.
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|l| l.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let flags = field("flags").unwrap_or_default();
    let has = |flag: &str| flags.split(' ').any(|f| f == flag);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().next().and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    json!({
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "processor": field("model name"),
        "virtual": has("hypervisor"),
        "sha_ni": has("sha_ni"),
        "avx512": has("avx512f"),
        "memory_gib": kib.map(|kib| (kib / 1024.0 / 1024.0).round()),
        "go": output("go", &["env", "GOVERSION"]),
        "rust": output("rustc", &["--version"]),
        "revision": output("git", &["describe", "--always", "--dirty"]),
    })
}

/// One line of that.
pub fn in_words(machine: &Value) -> String {
    let mut words = vec![format!("{} cores", machine["cores"])];
    words.extend(machine["processor"].as_str().map(ToOwned::to_owned));
    for (name, text) in
        [("virtual", "virtual machine"), ("sha_ni", "SHA-NI"), ("avx512", "AVX-512")]
    {
        words.extend((machine[name] == true).then(|| text.to_owned()));
    }
    words.extend(machine["memory_gib"].as_f64().map(|gib| format!("{gib} GiB")));
    words.join(", ")
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Waits until hardly anything runs, `patience` at most. Returns how many cores were busy in the
/// last look.
pub fn wait_for_quiet(patience: Duration) -> f64 {
    let deadline = Instant::now() + patience;
    loop {
        let busy = busy_cores();
        if busy <= NOISE || Instant::now() > deadline {
            return busy;
        }
    }
}

fn busy_cores() -> f64 {
    let (before, start) = (busy_ticks(), Instant::now());
    sleep(LOOK);
    (busy_ticks() - before) / TICKS / start.elapsed().as_secs_f64()
}

/// Ticks that all cores were not idle: all numbers of the first line but the fourth and fifth.
fn busy_ticks() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks = numbers.take(8).enumerate().filter(|(i, _)| *i != 3 && *i != 4);
    ticks.filter_map(|(_, text)| text.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_the_machine_without_naming_it() {
        let machine = describe();
        let words = in_words(&machine);
        assert!(machine["cores"].as_u64().unwrap() > 0);
        assert!(words.contains("cores"), "{words}");
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(!words.contains(name.trim()) && !machine.to_string().contains(name.trim()));
    }

    #[test]
    fn sees_whether_a_core_works() {
        let before = busy_ticks();
        while busy_ticks() < before + 3.0 {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
    }
}
