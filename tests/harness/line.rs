//! The whole line: minipool and the sidecar, and what miners need to reach them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;

use gopool_sv2::client::PoolUrl;
use gopool_sv2::miner::MinerOptions;
use tempfile::TempDir;

use crate::process::in_one_process;
use crate::{binaries, Books, Process, Result};

/// How a line differs from the usual one.
#[derive(Debug, Clone)]
pub struct LineOptions {
    /// Compact target of the chain. The usual one makes a block of every 2^20 hashes or so.
    pub network_bits: &'static str,
    /// More flags for minipool.
    pub minipool: Vec<String>,
    /// More TOML for the sidecar's `[listen]`.
    pub listen: String,
    /// More TOML for the sidecar's `[limits]`.
    pub limits: String,
    /// More TOML for the sidecar's `[pool]`.
    pub pool: String,
    /// More sections of TOML for the sidecar.
    pub sections: String,
    /// Which lines the sidecar logs, as in `[log].filter`.
    pub log: &'static str,
    /// The Unix socket that the sidecar dials, when another than the pool's own; the test listens
    /// there.
    pub between: Option<&'static str>,
    /// false: the pool is started by the test, with [`Line::start_pool`].
    pub with_pool: bool,
    /// How the sidecar reaches the pool; `None`: a Unix socket.
    pub tcp: Option<Tcp>,
    /// What starts the sidecar, whose path and arguments are behind it, as the same process; in the
    /// line's directory. Empty: nothing is between.
    pub sidecar_by: Vec<String>,
}

/// A link over TCP, on loopback. The pool's port is chosen when it first starts, so it must start
/// with the line.
#[derive(Debug, Clone)]
pub struct Tcp {
    /// `tls` or `tcp`.
    pub kind: &'static str,
    /// Minipool's flags for it.
    pub minipool: Vec<String>,
    /// The sidecar's TOML for it, below `[pool]`.
    pub pool: String,
    /// false: the link does not come up yet; the test waits for what should be said of it.
    pub up: bool,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self {
            network_bits: "1e0fffff",
            minipool: Vec::new(),
            listen: String::new(),
            limits: String::new(),
            pool: String::new(),
            sections: String::new(),
            log: "info,gopool_sv2=debug",
            between: None,
            with_pool: true,
            tcp: None,
            sidecar_by: Vec::new(),
        }
    }
}

impl LineOptions {
    /// Whether nothing of it is about what is between sidecar and pool.
    fn fits_one_process(&self) -> bool {
        self.with_pool && self.between.is_none() && self.tcp.is_none() && self.sidecar_by.is_empty()
    }
}

/// A running line.
#[derive(Debug)]
pub struct Line {
    directory: TempDir,
    options: LineOptions,
    /// What the sidecar dials, as in `[pool].address`.
    pool_address: String,
    /// The sidecar, or the pool with the listener inside.
    pub sidecar: Process,
    /// The pool, when it runs and is a process of its own.
    pub pool: Option<Process>,
    /// What miners type.
    pub url: String,
    /// Ends the processes of a line that nobody drops.
    watch: Option<Child>,
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
        let address = Command::new(&binaries.minipool).arg("-test-address").output()?;
        let address = String::from_utf8(address.stdout)?.trim().to_owned();
        if in_one_process() && options.fits_one_process() {
            fs::write(at(CONFIG), config(&options, INSIDE, 0))?;
            let (sidecar, url) = start_both(directory.path(), &options)?;
            let (pool_address, pool, watch) = (INSIDE.to_owned(), None, None);
            return Ok(Self {
                directory,
                options,
                pool_address,
                sidecar,
                pool,
                url,
                watch,
                address,
            });
        }
        let mut pool_address = format!("unix:{}", options.between.unwrap_or(POOL_SOCKET));
        if let Some(tcp) = &options.tcp {
            pool_address = format!("{}:127.0.0.1:0", tcp.kind);
        }
        let mut pool = None;
        if options.with_pool {
            let (process, port) = start_pool(directory.path(), &options, &pool_address)?;
            if let Some(tcp) = &options.tcp {
                pool_address = format!("{}:127.0.0.1:{port}", tcp.kind);
            }
            pool = Some(process);
        }
        fs::write(at(CONFIG), config(&options, &pool_address, 0))?;
        let (mut sidecar, url) = start_sidecar(directory.path(), &options.sidecar_by)?;
        if pool.is_some() && options.tcp.as_ref().is_none_or(|tcp| tcp.up) {
            sidecar.wait_for(LINKED)?;
        }
        let watch = None;
        Ok(Self { directory, options, pool_address, sidecar, pool, url, watch, address })
    }

    /// The port that miners dial.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.pool_url().map(|url| url.port()).unwrap_or_default()
    }

    /// The process that the pool is in.
    #[must_use]
    pub fn pool_process(&self) -> &Process {
        self.pool.as_ref().unwrap_or(&self.sidecar)
    }

    /// As [`Line::pool_process`].
    pub fn pool_process_mut(&mut self) -> &mut Process {
        self.pool.as_mut().unwrap_or(&mut self.sidecar)
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
        let started = start_pool(self.directory.path(), &self.options, &self.pool_address)?;
        self.pool = Some(started.0);
        Ok(())
    }

    /// Kills the sidecar, or the pool with the listener inside, if it still runs, and starts it
    /// again, on the same port.
    ///
    /// # Errors
    /// It doesn't start.
    pub fn start_sidecar(&mut self) -> Result<()> {
        if self.sidecar.is_running() {
            self.sidecar.signal("KILL")?;
            self.sidecar.wait()?;
        }
        let port = self.pool_url()?.port();
        fs::write(self.path(CONFIG), config(&self.options, &self.pool_address, port))?;
        (self.sidecar, self.url) = match self.pool_address.as_str() {
            INSIDE => start_both(self.directory.path(), &self.options)?,
            _ => start_sidecar(self.directory.path(), &self.options.sidecar_by)?,
        };
        Ok(())
    }

    /// Ends both processes and removes the directory when this process is gone, however that comes
    /// about: for a line that all tests of a process share, which nobody drops.
    ///
    /// # Errors
    /// There is no shell.
    pub fn end_with_this_process(&mut self) -> Result<()> {
        let ids = [Some(self.sidecar.id()), self.pool.as_ref().map(Process::id)];
        let ids = ids.iter().flatten().map(u32::to_string);
        // Its input ends with this process, who holds the other end.
        let script = "alive() { for id do kill -0 \"$id\" 2>/dev/null && return; done; false; }; \
                      directory=$1; shift; read -r _; kill \"$@\"; \
                      for _ in 1 2 3 4 5 6 7 8 9; do alive \"$@\" || break; sleep 0.5; done; \
                      kill -9 \"$@\" 2>/dev/null; rm -rf \"$directory\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(self.directory.path()).args(ids);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.watch = Some(command.spawn()?);
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

    /// As [`Books::read_lives`].
    ///
    /// # Errors
    /// As [`Books::read_lives`].
    pub fn lives(&self, name: &str) -> Result<(Books, usize)> {
        Books::read_lives(&self.directory.path().join(format!("{name}.journal")))
    }
}

/// The sidecar's configuration.
const CONFIG: &str = "sidecar.toml";
/// The pool's own socket.
const POOL_SOCKET: &str = "pool.sock";
/// What is dialled by a listener that is inside the pool: nothing.
const INSIDE: &str = "unix:none.sock";
/// What the sidecar says when it listens, before the URL.
const LISTENS: &str = "miners type: ";

fn config(options: &LineOptions, pool_address: &str, port: u16) -> String {
    let tcp = options.tcp.as_ref().map_or("", |tcp| tcp.pool.as_str());
    format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n{}\n[authority]\nkey_file = \"authority.key\"\n\
         [pool]\naddress = \"{pool_address}\"\n{}\n{tcp}\n[limits]\n{}\n\
         {}\n[log]\nformat = \"human\"\nfilter = \"{}\"\njournal = \"sidecar.journal\"\n",
        options.listen, options.pool, options.limits, options.sections, options.log
    )
}

/// Starts the sidecar and waits until it listens; gives what miners type, too.
fn start_sidecar(directory: &Path, by: &[String]) -> Result<(Process, String)> {
    let sidecar = &binaries()?.sidecar;
    let mut command = match by.split_first() {
        None => Command::new(sidecar),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(sidecar).current_dir(directory);
            command
        }
    };
    command.arg("serve").arg("--config").arg(directory.join(CONFIG));
    let lives = said_so_far(directory, "sidecar", LISTENS);
    let mut sidecar = Process::start("sidecar", directory, &mut command)?;
    let url = sidecar.wait_for_nth(LISTENS, lives + 1)?.trim().to_owned();
    Ok((sidecar, url))
}

/// Starts the pool with the listener inside, and waits until miners can come; gives what they type,
/// too.
fn start_both(directory: &Path, options: &LineOptions) -> Result<(Process, String)> {
    let mut command = pool_command(directory, options)?;
    command.args(["-carrier", "ffi", "-listener-config", CONFIG, "-log-level", "debug"]);
    let lives = said_so_far(directory, "sidecar", READY);
    let links = said_so_far(directory, "sidecar", LINKED);
    let mut both = Process::start("sidecar", directory, &mut command)?;
    both.wait_for_nth(LINKED, links + 1)?;
    both.wait_for_nth(" hashes_per_block=", lives + 1)?;
    let listens = both.wait_for_nth(READY, lives + 1)?;
    let url = listens.split_whitespace().next().unwrap_or_default().to_owned();
    Ok((both, url))
}

fn pool_command(directory: &Path, options: &LineOptions) -> Result<Command> {
    let mut command = Command::new(&binaries()?.minipool);
    command
        .current_dir(directory)
        .args(["-datadir", "chain", "-journal", "minipool.journal"])
        .args(["-network-bits", options.network_bits])
        .args(&options.minipool);
    Ok(command)
}

/// How often a log says something: it goes on where a former life of its process ended.
fn said_so_far(directory: &Path, name: &str, text: &str) -> usize {
    let said = fs::read_to_string(directory.join(format!("{name}.log"))).unwrap_or_default();
    said.matches(text).count()
}

/// Starts the pool and waits until it listens; gives its port too, 0 for a socket.
fn start_pool(directory: &Path, options: &LineOptions, address: &str) -> Result<(Process, u16)> {
    let mut command = pool_command(directory, options)?;
    match &options.tcp {
        Some(tcp) => command.args(["-listen", address]).args(&tcp.minipool),
        None => command.args(["-socket", POOL_SOCKET]),
    };
    let lives = said_so_far(directory, "minipool", READY);
    let mut pool = Process::start("minipool", directory, &mut command)?;
    // At the end of the same line: then it is there whole.
    pool.wait_for_nth(" hashes_per_block=", lives + 1)?;
    let listens = pool.wait_for_nth(READY, lives + 1)?;
    let word = listens.split_whitespace().next().unwrap_or_default();
    let port = word.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    if options.tcp.is_some() && port == 0 {
        return Err(format!("minipool listens on {word:?}").into());
    }
    Ok((pool, port))
}

/// What the listener says when it has a pool.
const LINKED: &str = "link to the pool is up";
/// What minipool says when it listens, before where.
const READY: &str = "msg=\"minipool is ready\" listens=";
