//! The command line: parse, run, exit code.
//!
//! Exit codes: 0 done; 1 failed; 64 the command or the configuration is wrong (EX_USAGE); `probe`
//! has one for each step that can fail, 10 to 17.

mod check;
mod keygen;
mod ledger;
mod miner;
mod probe;
mod serve;
mod stats;
mod status;

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command or the configuration is wrong (sysexits: EX_USAGE).
const USAGE: u8 = 64;

/// Stratum V2 for Go mining pools.
///
/// The usual order: `keygen` once, write a configuration, `check-config`, `serve`. Try it with
/// `miner`; `status` shows how it stands; when something doesn't work, `probe` says what.
#[derive(Debug, Parser)]
#[command(name = "gopool-sv2", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Stats(stats::Arguments),
    Status(status::Arguments),
    Keygen(keygen::Arguments),
    CheckConfig(check::Arguments),
    Miner(miner::Arguments),
    Probe(probe::Arguments),
    Ledger(ledger::Arguments),
}

/// Runs the program.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wanted = !error.use_stderr();
            // Nothing useful can be done when the terminal is gone.
            let _ = error.print();
            return if wanted { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::CheckConfig(arguments) => check::run(&arguments),
        Command::Miner(arguments) => miner::run(arguments),
        Command::Probe(arguments) => probe::run(arguments),
        Command::Ledger(arguments) => ledger::run(arguments),
    }
}

/// Prints to stdout; a closed pipe is no error of ours.
fn say(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints to stderr.
fn complain(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Completes at the first SIGINT or SIGTERM; a second one ends the process at once.
fn stop_signal() -> std::io::Result<impl std::future::Future<Output = &'static str>> {
    use tokio::signal::unix::{signal, SignalKind};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(1);
        });
        name
    })
}
