//! The whole line: minipool and the sidecar, and what miners need to reach them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr as _;

use gopool_sv2::client::PoolUrl;
use gopool_sv2::miner::MinerOptions;
use tempfile::TempDir;

use crate::{binaries, Books, Process, Result};

/// How a line differs from the usual one.
#[derive(Debug, Clone)]
pub struct LineOptions {
    /// Compact target of the chain. The usual one makes a block of every 2^20 hashes or so.
    pub network_bits: &'static str,
    /// More flags for minipool.
    pub minipool: Vec<String>,
    /// More TOML for the sidecar's `[limits]`.
    pub limits: String,
    /// false: the pool is started by the test, with [`Line::start_pool`].
    pub with_pool: bool,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self {
            network_bits: "1e0fffff",
            minipool: Vec::new(),
            limits: String::new(),
            with_pool: true,
        }
    }
}

/// A running line.
#[derive(Debug)]
pub struct Line {
    directory: TempDir,
    options: LineOptions,
    /// The sidecar.
    pub sidecar: Process,
    /// The pool, when it runs.
    pub pool: Option<Process>,
    /// What miners type.
    pub url: String,
    /// Who they mine for.
    pub address: String,
}

impl Line {
    /// Starts a line and waits until it is up.
    ///
    /// # Errors
    /// A program can't be built or started.
    pub fn start(options: LineOptions) -> Result<Self> {
        let binaries = binaries()?;
        let directory = TempDir::new()?;
        let at = |name: &str| directory.path().join(name);
        let made = Command::new(&binaries.sidecar)
            .args(["keygen", "--out"])
            .arg(at("authority.key"))
            .output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into());
        }
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[authority]\nkey_file = \"authority.key\"\n\
             [pool]\naddress = \"unix:pool.sock\"\n[limits]\n{}\n\
             [log]\nformat = \"human\"\nfilter = \"info,gopool_sv2=debug\"\n\
             journal = \"sidecar.journal\"\n",
            options.limits
        );
        fs::write(at("sidecar.toml"), config)?;
        let address = Command::new(&binaries.minipool).arg("-test-address").output()?;
        let address = String::from_utf8(address.stdout)?.trim().to_owned();
        let pool =
            if options.with_pool { Some(start_pool(directory.path(), &options)?) } else { None };
        let mut sidecar = start_sidecar(directory.path())?;
        let url = sidecar.wait_for("miners type: ")?;
        if pool.is_some() {
            sidecar.wait_for("link to the pool is up")?;
        }
        Ok(Self { directory, options, sidecar, pool, url: url.trim().to_owned(), address })
    }

    /// A file of this line.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the pool (again), on the same chain and socket, and waits until it listens.
    ///
    /// # Errors
    /// It doesn't start.
    pub fn start_pool(&mut self) -> Result<()> {
        self.pool = Some(start_pool(self.directory.path(), &self.options)?);
        Ok(())
    }

    /// The URL as the miner's side takes it.
    ///
    /// # Errors
    /// The sidecar printed nonsense.
    pub fn pool_url(&self) -> Result<PoolUrl> {
        Ok(PoolUrl::from_str(&self.url)?)
    }

    /// A miner with one thread that mines for the line's address and keeps a journal.
    ///
    /// # Errors
    /// As [`Line::pool_url`].
    pub fn miner(&self, name: &str) -> Result<MinerOptions> {
        let mut options = MinerOptions::new(self.pool_url()?, format!("{}.{name}", self.address));
        options.threads = 1;
        options.journal = Some(self.path(&format!("{name}.journal")));
        Ok(options)
    }

    /// A journal of this line: `sidecar`, `minipool`, or a miner's name.
    ///
    /// # Errors
    /// It isn't there, or isn't whole.
    pub fn books(&self, name: &str) -> Result<Books> {
        Books::read(&self.path(&format!("{name}.journal")))
    }

    /// Stops the sidecar, then the pool, each the orderly way; both must exit 0. The directory
    /// stays until the returned value is dropped.
    ///
    /// # Errors
    /// One of them doesn't.
    pub fn stop(self) -> Result<Stopped> {
        let sidecar = self.sidecar.stop()?;
        let pool = self.pool.map(Process::stop).transpose()?;
        if !sidecar.success() || pool.is_some_and(|status| !status.success()) {
            return Err(format!("sidecar: {sidecar}, minipool: {pool:?}").into());
        }
        Ok(Stopped { directory: self.directory })
    }
}

/// What a line leaves behind.
#[derive(Debug)]
pub struct Stopped {
    directory: TempDir,
}

impl Stopped {
    /// As [`Line::books`].
    ///
    /// # Errors
    /// As [`Line::books`].
    pub fn books(&self, name: &str) -> Result<Books> {
        Books::read(&self.directory.path().join(format!("{name}.journal")))
    }
}

fn start_sidecar(directory: &Path) -> Result<Process> {
    let mut command = Command::new(&binaries()?.sidecar);
    command.arg("serve").arg("--config").arg(directory.join("sidecar.toml"));
    Process::start("sidecar", directory, &mut command)
}

fn start_pool(directory: &Path, options: &LineOptions) -> Result<Process> {
    let mut command = Command::new(&binaries()?.minipool);
    command
        .current_dir(directory)
        .args(["-socket", "pool.sock", "-datadir", "chain", "-journal", "minipool.journal"])
        .args(["-network-bits", options.network_bits])
        .args(&options.minipool);
    let socket = directory.join("pool.sock");
    let mut pool = Process::start("minipool", directory, &mut command)?;
    for _ in 0..3000 {
        // A left-over file of a killed pool refuses connections.
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            return Ok(pool);
        }
        if !pool.is_running() {
            return Err(format!("minipool ended:\n{}", pool.log()).into());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Err(format!("minipool doesn't listen:\n{}", pool.log()).into())
}
