//! `sv2-ledger`: shares into a ledger, for those who end this process at any moment (`record`) and
//! for those who want to know how fast it is (`speed`). No pool and no miner: the shares are made
//! up.

#[path = "shares.rs"]
mod shares;
#[path = "speed.rs"]
mod speed;

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use gopool_sv2::mint::ledger::{Kept, Ledger as _};
use gopool_sv2_tests::Result;

use shares::{open, pay, share};

/// Shares that are under way.
const DEPTH: usize = 512;

/// The command is wrong (sysexits: EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["record", path, first] => first.parse().map_err(Into::into).and_then(|first| {
            runtime().and_then(|runtime| runtime.block_on(record(Path::new(path), first)))
        }),
        ["speed", folder, seconds] => seconds.parse().map_err(Into::into).and_then(|seconds| {
            runtime().and_then(|runtime| runtime.block_on(speed::run(Path::new(folder), seconds)))
        }),
        _ => {
            complain("sv2-ledger record FILE FIRST | sv2-ledger speed FOLDER SECONDS");
            return ExitCode::from(USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&fault.to_string());
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn complain(text: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(io::stderr(), "sv2-ledger: {text}");
}

/// Records shares from number `first` on, without end, and prints the number of each and what
/// became of it, once that is known. In between it closes, seals and pays credits as a dispatcher
/// does. What the ledger has a clock for is the number.
async fn record(path: &Path, first: u64) -> Result<()> {
    let (ledger, mut outcomes) = open(path, DEPTH)?;
    let mut out = io::stdout().lock();
    writeln!(out, "open")?;
    out.flush()?;
    let mut next = first;
    let mut open = 0;
    let mut batches = 0_u64;
    loop {
        while open < DEPTH && ledger.record(share(next, 20, next as i64)?) {
            next += 1;
            open += 1;
        }
        let kept = outcomes.recv().await.ok_or("the ledger has ended")?;
        open -= kept.len();
        for Kept { id, outcome } in kept {
            writeln!(out, "{id} {outcome:?}")?;
        }
        out.flush()?;
        batches += 1;
        if batches.is_multiple_of(5) {
            pay(&ledger, next as i64).await?;
        }
    }
}
