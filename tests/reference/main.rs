//! `sv2-reference`: the reference pool (SRI's `pool_sv2`) on loopback for as long as a command
//! runs, which finds it by `SV2_TARGET` and `SV2_USER`.
//!
//! The pool takes its work from a template provider: `templates` is one, with one tip and one
//! template that nobody's CPU makes a block of.

#![allow(clippy::unwrap_used)]

mod templates;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use gopool_sv2::keys;
use gopool_sv2_tests::{Process, Result};
use tempfile::TempDir;

/// How long the pool may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the reward goes. Nothing is ever mined.
const REWARD: &str = "tb1qa0sm0hxzj0x25rh8gw5xlzwlsfvvyz8u96w3p8";

/// Runs a command beside a fresh reference pool, and ends with the command's code.
#[derive(Debug, Parser)]
#[command(name = "sv2-reference", version)]
struct Arguments {
    /// The program of the pool, pool_sv2 0.7.0.
    #[arg(long)]
    pool: PathBuf,
    /// The end of the pool's log is printed when the command fails.
    #[arg(long)]
    log: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let directory = TempDir::new()?;
    let at = |name: &str| directory.path().join(name);
    keys::generate(&at("authority.key"))?;
    let authority = keys::load(&at("authority.key"))?;
    let provider = TcpListener::bind("127.0.0.1:0")?;
    let templates = provider.local_addr()?;
    let keypair = *authority.keypair();
    std::thread::spawn(move || templates::serve(&provider, keypair));

    // Free a moment ago: nobody else here takes ports that fast.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (public, secret) = (authority.public(), fs::read_to_string(at("authority.key"))?);
    let secret = secret.trim();
    let config = format!(
        "listen_address = \"{address}\"\n\
         authority_public_key = \"{public}\"\nauthority_secret_key = \"{secret}\"\n\
         cert_validity_sec = 3600\ncoinbase_reward_script = \"addr({REWARD})\"\n\
         pool_signature = \"reference\"\nserver_id = 1\nshares_per_minute = 6.0\n\
         share_batch_size = 1\nsupported_extensions = [2]\n\
         [template_provider_type.Sv2Tp]\naddress = \"{templates}\"\npublic_key = \"{public}\"\n"
    );
    fs::write(at("pool.toml"), config)?;
    let mut pool = Command::new(&arguments.pool);
    pool.arg("-c").arg(at("pool.toml")).current_dir(directory.path());
    let mut pool = Process::start("pool", directory.path(), &mut pool)?;
    wait_for(address, &mut pool)?;

    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]);
    command.env("SV2_TARGET", authority.miner_url(address)).env("SV2_USER", REWARD);
    let status = command.status()?;
    let died = !pool.is_running();
    if died || (arguments.log && !status.success()) {
        let log = pool.log();
        let lines: Vec<_> = log.lines().collect();
        eprintln(&lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    if died {
        eprintln("sv2-reference: the pool is gone");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
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

#[allow(clippy::print_stderr)]
fn eprintln(text: &str) {
    eprintln!("{text}");
}
