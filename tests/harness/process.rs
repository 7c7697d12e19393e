//! Processes of a test: started, watched through their logs, ended by their id.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;

/// How long anything may take that takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The programs under test.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `gopool-sv2`.
    pub sidecar: PathBuf,
    /// `minipool`.
    pub minipool: PathBuf,
}

/// Whether lines are tested with the listener inside of minipool: GOPOOL_SV2_CARRIER=ffi, after
/// `make lib`.
#[must_use]
pub fn in_one_process() -> bool {
    std::env::var_os("GOPOOL_SV2_CARRIER").is_some_and(|carrier| carrier == "ffi")
}

/// Builds both programs, once per test process; quick when they are up to date.
///
/// # Errors
/// The text of the failed build, the same for every caller.
pub fn binaries() -> Result<&'static Binaries> {
    static BUILT: OnceLock<std::result::Result<Binaries, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|e| e.to_string())).as_ref().map_err(|e| e.clone().into())
}

fn build() -> Result<Binaries> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    // target/<profile>/deps/<this test>
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).ok_or("no target directory")?.to_path_buf();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "-q", "--bin", "gopool-sv2"]).current_dir(&repository);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    // What cargo told this test of its own package would make `ring` build itself anew, each time.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            build.env_remove(name);
        }
    }
    run(&mut build)?;
    let minipool = profile.join(format!("minipool-for-tests-{}", std::process::id()));
    let source = repository.join("examples/minipool");
    let mut build = Command::new("go");
    build.args(["build", "-tags", if in_one_process() { "sv2_static" } else { "" }, "-o"]);
    run(build.arg(&minipool).arg(".").current_dir(source))?;
    // One path for all test processes; replaced in one step, so that none sees half a file.
    let stable = profile.join(match in_one_process() {
        true => "minipool-with-listener-for-tests",
        false => "minipool-for-tests",
    });
    fs::rename(minipool, &stable)?;
    Ok(Binaries { sidecar: profile.join("gopool-sv2"), minipool: stable })
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its output goes to `<directory>/<name>.log`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until its log holds `text`, and returns the rest of the last line that does.
    ///
    /// # Errors
    /// It ended, or nothing came in a minute; the log is part of the error.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        self.wait_for_nth(text, 1)
    }

    /// As [`Process::wait_for`], until `text` stands there `count` times.
    ///
    /// # Errors
    /// As [`Process::wait_for`].
    pub fn wait_for_nth(&mut self, text: &str, count: usize) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let found: Vec<_> = log.lines().filter_map(|l| Some(l.split_once(text)?.1)).collect();
            if found.len() >= count {
                return Ok(found.last().map(ToString::to_string).unwrap_or_default());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended ({status}):\n{log}", self.name).into());
            }
            if Instant::now() > deadline {
                return Err(format!("{}: no {text:?} in its log:\n{log}", self.name).into());
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its resident memory in KiB, as the kernel counts it; 0 when it is gone.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most that was ever resident of it, in KiB; 0 when it is gone.
    #[must_use]
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// Sends a signal by name, e.g. `TERM`.
    ///
    /// # Errors
    /// It can't be sent.
    pub fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        run(Command::new("kill").args([&format!("-{name}"), &pid]))
    }

    /// Asks it to stop and waits for the end.
    ///
    /// # Errors
    /// It didn't end in a minute.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It didn't end in a minute.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("{} doesn't end:\n{}", self.name, self.log()).into());
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Kills it without warning.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            // Nothing can be done about a failure here.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
