//! The reference pool (SRI's `pool_sv2`) on loopback, and what it takes its work from: a template
//! provider with tips and templates on demand, and no template that anybody's CPU makes a block of.

mod templates;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use gopool_sv2::keys;
use tempfile::TempDir;

use crate::{Process, Result};
use templates::{Asker, Wish};

/// How long the pool may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the reward goes. Nothing is ever mined.
const REWARD: &str = "tb1qa0sm0hxzj0x25rh8gw5xlzwlsfvvyz8u96w3p8";

/// How a reference pool is.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceOptions<'a> {
    /// The program, pool_sv2 0.7.0.
    pub program: &'a Path,
    /// What its difficulty aims at. Where a miner's nominal hashes of the time between two shares
    /// are less than one, every hash is a share, and stays one.
    pub shares_per_minute: f64,
    /// Core that it keeps to, as `taskset` takes it.
    pub core: Option<&'a str>,
    /// What it logs, as RUST_LOG takes it; `None`: what it does by itself.
    pub log: Option<&'a str>,
}

/// A running reference pool in a directory of its own; killed when dropped.
#[derive(Debug)]
pub struct Reference {
    /// The pool.
    pub pool: Process,
    url: String,
    control: PathBuf,
    _directory: TempDir,
}

impl Reference {
    /// Starts one with new keys, and waits until it listens.
    ///
    /// # Errors
    /// A program is missing, or the pool ends or doesn't listen; its log is part of the error.
    pub fn start(options: &ReferenceOptions<'_>) -> Result<Self> {
        let directory = TempDir::new()?;
        let at = |name: &str| directory.path().join(name);
        keys::generate(&at("authority.key"))?;
        let authority = keys::load(&at("authority.key"))?;
        let provider = TcpListener::bind("127.0.0.1:0")?;
        let templates = provider.local_addr()?;
        let (keypair, asker) = (*authority.keypair(), Asker::default());
        let control = control(at("control"), asker.clone())?;
        spawn(move || templates::serve(&provider, keypair, &asker));

        // Free a moment ago: nobody else here takes ports that fast.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (public, secret) = (authority.public(), fs::read_to_string(at("authority.key"))?);
        let (secret, shares) = (secret.trim(), options.shares_per_minute);
        let config = format!(
            "listen_address = \"{address}\"\n\
             authority_public_key = \"{public}\"\nauthority_secret_key = \"{secret}\"\n\
             cert_validity_sec = 3600\ncoinbase_reward_script = \"addr({REWARD})\"\n\
             pool_signature = \"reference\"\nserver_id = 1\nshares_per_minute = {shares:?}\n\
             share_batch_size = 1\nsupported_extensions = [2]\n\
             [template_provider_type.Sv2Tp]\naddress = \"{templates}\"\npublic_key = \"{public}\"\n"
        );
        fs::write(at("pool.toml"), config)?;
        let mut command = match options.core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", core]).arg(options.program);
                command
            }
            None => Command::new(options.program),
        };
        command.arg("-c").arg(at("pool.toml")).current_dir(directory.path());
        if let Some(log) = options.log {
            command.env("RUST_LOG", log);
        }
        let mut pool = Process::start("pool", directory.path(), &mut command)?;
        wait_for(address, &mut pool)?;
        let url = authority.miner_url(address);
        Ok(Self { pool, url, control, _directory: directory })
    }

    /// What a miner types.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whom to mine for.
    #[must_use]
    pub const fn user(&self) -> &'static str {
        REWARD
    }

    /// A pipe that takes the lines `tip`, for a new tip, and `template`, for another template on
    /// the tip that is.
    #[must_use]
    pub fn control(&self) -> &Path {
        &self.control
    }
}

/// Makes the pipe, and has what is written into it asked for.
fn control(path: PathBuf, asker: Asker) -> Result<PathBuf> {
    let made = Command::new("mkfifo").arg(&path).status().map_err(|e| format!("mkfifo: {e}"))?;
    if !made.success() {
        return Err(format!("mkfifo {}: {made}", path.display()).into());
    }
    // For writing too, so that it never ends.
    let pipe = File::options().read(true).write(true).open(&path)?;
    spawn(move || {
        for line in BufReader::new(pipe).lines() {
            match line.as_deref() {
                Ok("tip") => asker.ask(Wish::Tip),
                Ok("template") => asker.ask(Wish::Template),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    Ok(path)
}

/// The port opens before there is work: it is open, and a template has come.
fn wait_for(address: SocketAddr, pool: &mut Process) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if !pool.is_running() || Instant::now() > deadline {
            return Err(format!("the pool doesn't listen:\n{}", pool.log()).into());
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}
