//! `sv2-reference`: the reference pool (SRI's `pool_sv2`) on loopback for as long as a command
//! runs, which finds it by `SV2_TARGET` and `SV2_USER`. What is written into the pipe at
//! `SV2_CONTROL` it gets: `tip`, a new tip; `template`, another template.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use gopool_sv2_tests::reference::{Reference, ReferenceOptions};
use gopool_sv2_tests::Result;

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
    let mut reference = Reference::start(&ReferenceOptions {
        program: &arguments.pool,
        shares_per_minute: 6.0,
        core: None,
        log: None,
    })?;
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]);
    command.env("SV2_TARGET", reference.url()).env("SV2_USER", reference.user());
    command.env("SV2_CONTROL", reference.control());
    let status = command.status()?;
    let died = !reference.pool.is_running();
    if died || (arguments.log && !status.success()) {
        let log = reference.pool.log();
        let lines: Vec<_> = log.lines().collect();
        eprintln(&lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    if died {
        eprintln("sv2-reference: the pool is gone");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

#[allow(clippy::print_stderr)]
fn eprintln(text: &str) {
    eprintln!("{text}");
}
