//! The release build of the line under load, and the driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gopool_sv2_tests::{Process, Result};
use serde_json::Value;
use tempfile::TempDir;

/// The easiest difficulty that credit can express, 2^-32: nearly every hash is a share. Easiest and
/// hardest at once, it is what vardiff assigns to everybody, always.
const DIFFICULTY: &str = "2.3283064365386963e-10";
/// Seconds between shares that vardiff would aim at: the fewest that minipool takes.
const SHARE_SECONDS: &str = "0.01";
/// Blocks of 2^20 hashes: the driver leaves out the few shares that are blocks, and those that are
/// found to fill the templates take a moment.
pub const BITS_FOR_SHARES: &str = "1e0fffff";
/// Blocks of two hashes: a wanted tip is there at once.
pub const BITS_FOR_TIPS: &str = "207fffff";
/// Blocks found before anything is measured, so that templates hold transactions.
const PREMINED: usize = 8;
/// The program that is the load.
const DRIVER: &str = "sv2-load";
/// minipool with the listener inside.
const WITH_LISTENER: &str = "minipool-with-listener";
/// What accepts everything, so that the listener is alone, without and with the listener inside.
const NULL: (&str, &str) = ("nullhost", "nullhost-with-listener");
/// Threads of a listener that is inside have names that begin so.
const LISTENER_THREADS: &str = "gsv2";
/// The core for the pool's processes, and that for the load.
const CORES: (&str, &str) = ("0", "1");

/// Longer than any measurement takes.
const LONG: Duration = Duration::from_secs(3600);

/// Where the programs are, and whether each side keeps to a core.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Directory of the release build of the line.
    pub binaries: PathBuf,
    /// Directory of the driver.
    pub driver: PathBuf,
    /// Processes keep to their cores, unless a step wants otherwise.
    pub can_pin: bool,
    /// The listener is inside of minipool.
    pub inside: bool,
}

impl Bench {
    fn pool(&self, null: bool) -> &'static str {
        match (null, self.inside) {
            (false, false) => "minipool",
            (false, true) => WITH_LISTENER,
            (true, false) => NULL.0,
            (true, true) => NULL.1,
        }
    }

    /// The core for the pool's processes.
    pub fn core(&self) -> Option<&'static str> {
        self.can_pin.then_some(CORES.0)
    }

    /// `gopool-sv2` on the load's core.
    pub fn beside(&self) -> Command {
        self.command("gopool-sv2", self.can_pin.then_some(CORES.1))
    }

    fn command(&self, program: &str, core: Option<&str>) -> Command {
        let directory = if program == DRIVER { &self.driver } else { &self.binaries };
        let program = directory.join(program);
        match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}

/// What the driver is pointed at.
#[derive(Debug, Clone)]
pub struct Aim {
    /// As miners type it.
    pub url: String,
    /// Whom they mine for.
    pub user: String,
    /// The processes behind it, as the driver takes them.
    pub watch: Vec<String>,
}

/// Runs the driver for `patience` at most. Returns its reports, and false when a share was not
/// accepted.
///
/// # Errors
/// It can't be started, or says nothing.
pub fn drive(
    bench: &Bench,
    pinned: bool,
    aim: &Aim,
    (runs, measure): (usize, &[String]),
    patience: Duration,
) -> Result<(Vec<Value>, bool)> {
    let driver = bench.command(DRIVER, (pinned && bench.can_pin).then_some(CORES.1));
    let mut command = Command::new("timeout");
    let patience = patience.as_secs().to_string();
    command.args(["--foreground", &patience]).arg(driver.get_program()).args(driver.get_args());
    command.args(["--url", &aim.url, "--user", &aim.user, "--runs", &runs.to_string()]);
    for process in &aim.watch {
        command.args(["--watch", process]);
    }
    command.args(measure).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("sv2-load: {error}"))?;
    let text = String::from_utf8(output.stdout)?;
    let reports = text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>();
    let reports: Vec<Value> = reports?;
    if reports.is_empty() {
        return Err(format!("sv2-load {measure:?} ended without a report").into());
    }
    Ok((reports, output.status.success()))
}

/// A running line: a pool and the sidecar in a directory of their own.
#[derive(Debug)]
pub struct Line {
    directory: TempDir,
    bench: Bench,
    pinned: bool,
    /// `None`: inside of the pool.
    sidecar: Option<Process>,
    pool: Process,
    /// What the pool is called in reports.
    name: &'static str,
    url: String,
    user: String,
    tips: usize,
}

/// What of a line is not as everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extra<'a> {
    /// More of the sidecar's configuration.
    pub sections: &'a str,
    /// What stands behind the name that is mined for.
    pub behind_user: &'a str,
    /// More flags for the pool.
    pub pool: &'a [&'a str],
    /// No pool, but what accepts everything.
    pub null: bool,
}

impl Line {
    /// Starts one and finds its first blocks.
    ///
    /// # Errors
    /// A program doesn't start.
    pub fn start(bench: &Bench, network_bits: &str, pinned: bool) -> Result<Self> {
        Self::start_with(bench, network_bits, pinned, Extra::default())
    }

    /// The same with something of its own.
    ///
    /// # Errors
    /// A program doesn't start.
    pub fn start_with(
        bench: &Bench,
        network_bits: &str,
        pinned: bool,
        extra: Extra<'_>,
    ) -> Result<Self> {
        let directory = TempDir::new()?;
        let at = |name: &str| directory.path().join(name);
        let pinned = pinned && bench.can_pin;
        let core = pinned.then_some(CORES.0);
        let key =
            bench.command("gopool-sv2", None).arg("keygen").arg("--out").arg(at("key")).output()?;
        if !key.status.success() {
            return Err(String::from_utf8_lossy(&key.stderr).into());
        }
        fs::write(at("sidecar.toml"), format!("{CONFIG}{}", extra.sections))?;
        let name = if extra.null { NULL.0 } else { "minipool" };
        let user = match extra.null {
            true => "null.load".to_owned(),
            false => {
                let address = bench.command(name, None).arg("-test-address").output()?;
                let address = String::from_utf8(address.stdout)?;
                format!("{}.load{}", address.trim(), extra.behind_user)
            }
        };
        let mut command = bench.command(bench.pool(extra.null), core);
        match bench.inside {
            true => command.args(["-carrier", "ffi", "-listener-config", "sidecar.toml"]),
            false => command.args(["-socket", "pool.sock"]),
        };
        command.current_dir(directory.path()).args(extra.pool);
        if !extra.null {
            command
                .args(["-network-bits", network_bits])
                .args(["-min-difficulty", DIFFICULTY, "-max-difficulty", DIFFICULTY])
                // A channel has room for six hours of these on a tip, and is refused beyond.
                .args(["-share-seconds", SHARE_SECONDS])
                // No new work but by a new tip.
                .args(["-template-seconds", "86400"]);
        }
        let mut pool = Process::start(name, directory.path(), &mut command)?;
        let ready = pool.wait_for(&format!("{name} is ready\" listens="))?;
        let (sidecar, url) = match bench.inside {
            true => (None, ready.split_whitespace().next().unwrap_or_default().to_owned()),
            false => {
                let mut command = bench.command("gopool-sv2", core);
                command.arg("serve").arg("--config").arg(at("sidecar.toml"));
                let mut sidecar = Process::start("sidecar", directory.path(), &mut command)?;
                let url = sidecar.wait_for("miners type: ")?.trim().to_owned();
                sidecar.wait_for("link to the pool is up")?;
                (Some(sidecar), url)
            }
        };
        let (bench, tips) = (bench.clone(), 0);
        let mut line = Self { directory, bench, pinned, sidecar, pool, name, url, user, tips };
        for _ in 0..if extra.null { 0 } else { PREMINED } {
            line.tip()?;
        }
        Ok(line)
    }

    /// Has the pool find a block, and waits for that.
    ///
    /// # Errors
    /// It does not.
    pub fn tip(&mut self) -> Result<()> {
        self.pool.signal("USR1")?;
        if self.name != NULL.0 {
            self.tips += 1;
            self.pool.wait_for_nth("msg=\"new tip\"", self.tips)?;
        }
        Ok(())
    }

    /// What the driver is pointed at.
    pub fn aim(&self) -> Aim {
        let pool = self.pool.id();
        let mut watch = vec![format!("{}={pool}", self.name)];
        watch.push(match &self.sidecar {
            Some(sidecar) => format!("sidecar={}", sidecar.id()),
            None => format!("sidecar={pool}/{LISTENER_THREADS}"),
        });
        Aim { url: self.url.clone(), user: self.user.clone(), watch }
    }

    /// The Stratum V1 port of a pool that has one.
    ///
    /// # Errors
    /// It has none.
    pub fn sv1_url(&mut self) -> Result<String> {
        let address = self.pool.wait_for("Stratum V1 port is open\" sv1=")?;
        Ok(format!("stratum+tcp://{}", address.trim()))
    }

    /// Runs the driver. Returns its reports, and false when a share was not accepted.
    ///
    /// # Errors
    /// It can't be started, or says nothing.
    pub fn load(&self, runs: usize, measure: &[String]) -> Result<(Vec<Value>, bool)> {
        drive(&self.bench, self.pinned, &self.aim(), (runs, measure), LONG)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The shell command that makes this line's pool find a block.
    pub fn tip_command(&self) -> String {
        format!("kill -USR1 {}", self.pool.id())
    }

    /// The one that makes it give everybody other work on the same tip.
    pub fn template_command(&self) -> String {
        format!("kill -USR2 {}", self.pool.id())
    }

    /// Stops both processes.
    ///
    /// # Errors
    /// One of them doesn't end well; its log is part of the error.
    pub fn stop(self) -> Result<()> {
        for process in self.sidecar.into_iter().chain([self.pool]) {
            let log = process.log();
            let status = process.stop()?;
            if !status.success() {
                let tail: Vec<_> = log.lines().rev().take(20).collect();
                return Err(format!("{status}; its last lines, newest first: {tail:#?}").into());
            }
        }
        drop(self.directory);
        Ok(())
    }
}

/// Defaults everywhere: what an operator gets.
const CONFIG: &str = "[listen]\naddress = \"127.0.0.1:0\"\n\
                      max_connections_per_address = 0\nconnections_per_sec = 0\n\
                      connections_per_sec_per_address = 0\n[authority]\nkey_file = \"key\"\n\
                      [pool]\naddress = \"unix:pool.sock\"\n[log]\nformat = \"human\"\n";

/// Whether `taskset` is there and there is a core for each side.
pub fn can_pin() -> bool {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let tried = Command::new("taskset").args(["-c", CORES.1, "true"]).output();
    cores > 1 && tried.is_ok_and(|output| output.status.success())
}

/// The driver's directory: that of this program.
///
/// # Errors
/// It was not built.
pub fn driver() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    holds(this.parent().unwrap_or(Path::new(".")), &[DRIVER])
}

/// A directory that holds sidecar and minipool, as an absolute path.
///
/// # Errors
/// One of them was not built.
pub fn line_in(directory: &Path) -> Result<PathBuf> {
    holds(directory, &["gopool-sv2", "minipool"])
}

/// The same, and minipool with the listener inside.
///
/// # Errors
/// One of them was not built.
pub fn line_inside(directory: &Path) -> Result<PathBuf> {
    line_in(directory)?;
    holds(directory, &[WITH_LISTENER])
}

/// A directory that holds all of that, and what accepts everything.
///
/// # Errors
/// One of them was not built.
pub fn all_lines(directory: &Path) -> Result<PathBuf> {
    line_inside(directory)?;
    holds(directory, &[NULL.0, NULL.1])
}

fn holds(directory: &Path, programs: &[&str]) -> Result<PathBuf> {
    for program in programs {
        if !directory.join(program).is_file() {
            let place = directory.display();
            return Err(format!("no {program} in {place}: `make bench-build` puts it there").into());
        }
    }
    Ok(directory.canonicalize()?)
}
