//! `sv2-bench`: starts the release build of the whole line, lets `sv2-load` measure it, and writes
//! the figures down. `make bench` builds and runs it; `make bench-compare` sets two builds side by
//! side.
//!
//! `steps` says what is measured, `line` starts processes, `machine` describes what it ran on,
//! `figures` and `table` make tables of the driver's reports, `compare` ratios of two builds,
//! `mint` and `stats` those of a line with the bridge to a mint, or with a statistics service,
//! `peer` those to the reference pool.

mod compare;
mod figures;
mod line;
mod machine;
mod mint;
mod peer;
mod stats;
mod steps;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gopool_sv2_tests::Result;
use serde_json::json;

use line::Bench;
use steps::Effort;

/// Measures the line on this machine. Progress goes to standard output.
#[derive(Debug, Parser)]
#[command(name = "sv2-bench", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures every step and renews the tables of a page.
    Tables(Tables),
    /// Measures shares on two builds by turns and prints the ratios. Ends with 1 when the second
    /// one takes more than 5 % fewer shares a second.
    Compare(compare::Arguments),
    /// Measures what the bridge to a mint costs the answer to a share, beside the disk's own times,
    /// and whether the mint's state shows in them.
    Mint(mint::Arguments),
    /// Measures whether a statistics service that is up, gone, or killed all the time shows in
    /// shares a second and in their answers.
    Stats(stats::Arguments),
    /// Measures the reference pool and this line with each of its hosts by turns, and prints the
    /// ratios.
    Peer(peer::Arguments),
}

#[derive(Debug, Args)]
struct Tables {
    /// About two minutes in place of ten; figures for a first look.
    #[arg(long)]
    quick: bool,
    /// File for all reports, JSON.
    #[arg(long)]
    out: PathBuf,
    /// Page whose tables are replaced.
    #[arg(long)]
    page: PathBuf,
    /// Day of the measurement, as it is written into the page.
    #[arg(long)]
    date: String,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Tables(arguments) => bench(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Mint(arguments) => mint::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Peer(arguments) => peer::run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            let _ = writeln!(std::io::stderr(), "sv2-bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// false: a share was not accepted.
fn bench(arguments: &Tables) -> Result<bool> {
    let driver = line::driver()?;
    let binaries = line::line_in(&driver)?;
    let bench = Bench { binaries, driver, can_pin: line::can_pin(), inside: false };
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    let machine = machine::describe();
    let words = machine::in_words(&machine);
    let page = || -> Result<String> {
        fs::read_to_string(&arguments.page)
            .map_err(|error| format!("{}: {error}", arguments.page.display()).into())
    };
    // What is wrong with it shows now, not after ten minutes.
    table::put_into(&page()?, "")?;
    say(&format!("on {words}; {}", pinning(bench.can_pin)));
    let results = steps::run(&bench, &effort)?;

    let how = if arguments.quick { "`make bench BENCH_QUICK=1`" } else { "`make bench`" };
    let heading = format!(
        "Measured on {} by {how} on {words}; revision {}; {}.",
        arguments.date,
        machine["revision"].as_str().unwrap_or("unknown"),
        pinning(bench.can_pin),
    );
    let tables = table::tables(&results.reports, &heading);
    say(&format!("\n{tables}"));
    let everything = json!({
        "date": arguments.date,
        "quick": arguments.quick,
        "pinned": bench.can_pin,
        "machine": machine,
        "unclean": results.unclean,
        "reports": results.reports,
    });
    if let Some(directory) = arguments.out.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&arguments.out, serde_json::to_string_pretty(&everything)? + "\n")?;
    fs::write(&arguments.page, table::put_into(&page()?, &tables)?)?;
    say(&format!("reports: {}, tables: {}", arguments.out.display(), arguments.page.display()));
    for step in &results.unclean {
        say(&format!("NOT CLEAN, see the reports: {step}"));
    }
    Ok(results.unclean.is_empty())
}

const fn pinning(can_pin: bool) -> &'static str {
    match can_pin {
        true => "sidecar and minipool share one core, the load has another",
        false => "nothing pinned: no taskset, or one core only",
    }
}

/// Prints a line of progress; a closed pipe is no fault of a measurement.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
