//! The release build of the line under load, and the driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gopool_sv2_tests::{Process, Result};
use serde_json::Value;
use tempfile::TempDir;

/// The easiest difficulty that credit can express, 2^-32: nearly every hash is a share. Easiest and
/// hardest at once, it is what vardiff assigns to everybody, always.
const DIFFICULTY: &str = "2.3283064365386963e-10";
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
pub const WITH_LISTENER: &str = "minipool-with-listener";
/// The core for the pool's processes, and that for the load.
const CORES: (&str, &str) = ("0", "1");

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
    fn minipool(&self) -> &'static str {
        if self.inside {
            WITH_LISTENER
        } else {
            "minipool"
        }
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

/// A running line: minipool and the sidecar in a directory of their own.
#[derive(Debug)]
pub struct Line {
    directory: TempDir,
    bench: Bench,
    pinned: bool,
    /// `None`: inside of the pool.
    sidecar: Option<Process>,
    pool: Process,
    url: String,
    user: String,
}

/// What of a line is not as everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extra<'a> {
    /// More of the sidecar's configuration.
    pub sections: &'a str,
    /// What stands behind the name that is mined for.
    pub behind_user: &'a str,
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
        let address = bench.command("minipool", None).arg("-test-address").output()?;
        let address = String::from_utf8(address.stdout)?.trim().to_owned();
        let mut command = bench.command(bench.minipool(), core);
        match bench.inside {
            true => command.args(["-carrier", "ffi", "-listener-config", "sidecar.toml"]),
            false => command.args(["-socket", "pool.sock"]),
        };
        command
            .current_dir(directory.path())
            .args(["-network-bits", network_bits])
            .args(["-min-difficulty", DIFFICULTY, "-max-difficulty", DIFFICULTY])
            // No new work but by a new tip.
            .args(["-template-seconds", "86400"]);
        let mut pool = Process::start("minipool", directory.path(), &mut command)?;
        let ready = pool.wait_for("minipool is ready\" listens=")?;
        for block in 1..=PREMINED {
            pool.signal("USR1")?;
            pool.wait_for_nth("msg=\"new tip\"", block)?;
        }
        let user = format!("{address}.load{}", extra.behind_user);
        if bench.inside {
            let url = ready.split_whitespace().next().unwrap_or_default().to_owned();
            let bench = bench.clone();
            return Ok(Self { directory, bench, pinned, sidecar: None, pool, url, user });
        }
        let mut command = bench.command("gopool-sv2", core);
        command.arg("serve").arg("--config").arg(at("sidecar.toml"));
        let mut sidecar = Process::start("sidecar", directory.path(), &mut command)?;
        let url = sidecar.wait_for("miners type: ")?.trim().to_owned();
        sidecar.wait_for("link to the pool is up")?;
        let sidecar = Some(sidecar);
        Ok(Self { directory, bench: bench.clone(), pinned, sidecar, pool, url, user })
    }

    /// Runs the driver. Returns its reports, and false when a share was not accepted.
    ///
    /// # Errors
    /// It can't be started, or says nothing.
    pub fn load(&self, runs: usize, measure: &[String]) -> Result<(Vec<Value>, bool)> {
        let mut command = self.bench.command(DRIVER, self.pinned.then_some(CORES.1));
        if let Some(sidecar) = &self.sidecar {
            command.args(["--watch", &format!("sidecar={}", sidecar.id())]);
        }
        command
            .args(["--url", &self.url, "--user", &self.user, "--runs", &runs.to_string()])
            .args(["--watch", &format!("minipool={}", self.pool.id())])
            .args(measure)
            .stderr(Stdio::inherit());
        let output = command.output().map_err(|error| format!("sv2-load: {error}"))?;
        let text = String::from_utf8(output.stdout)?;
        let reports = text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>();
        let reports: Vec<Value> = reports?;
        if reports.is_empty() {
            return Err(format!("sv2-load {measure:?} ended without a report").into());
        }
        Ok((reports, output.status.success()))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The shell command that makes this line's pool find a block.
    pub fn tip_command(&self) -> String {
        format!("kill -USR1 {}", self.pool.id())
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

fn holds(directory: &Path, programs: &[&str]) -> Result<PathBuf> {
    for program in programs {
        if !directory.join(program).is_file() {
            let place = directory.display();
            return Err(format!("no {program} in {place}: `make bench-build` puts it there").into());
        }
    }
    Ok(directory.canonicalize()?)
}
