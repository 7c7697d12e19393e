//! The reference pool (SRI's `pool_sv2`) and this line under the same driver, by turns in one run,
//! so that what else the machine does meets all, and only ratios are looked at.

mod hosts;
mod rows;
mod table;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use gopool_sv2_tests::Result;
use serde_json::{json, Value};

use crate::line::{all_lines, can_pin, driver};
use crate::machine::{describe, in_words, wait_for_quiet};
use crate::say;
use hosts::{Hosts, Running};
use rows::{Row, ROWS};

/// How long a turn may wait for a quiet machine: a disturbed one is shown as such.
const PATIENCE: Duration = Duration::from_secs(3);

/// Options of `peer`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The program of the reference pool, pool_sv2 0.7.0.
    #[arg(long)]
    pool: PathBuf,
    /// How many rounds; who begins changes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Only this row; repeat it for more.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(rows::names()))]
    row: Vec<String>,
    /// Only these hosts, besides what they are compared with; repeat it for more.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(hosts::names()))]
    host: Vec<String>,
    /// File for all reports, JSON.
    #[arg(long)]
    out: PathBuf,
    /// Page whose table is replaced; only of a run of all rows.
    #[arg(long, conflicts_with_all = ["row", "host"])]
    page: Option<PathBuf>,
    /// Day of the measurement, as it is written into the page.
    #[arg(long, default_value = "today")]
    date: String,
}

impl Arguments {
    fn wants(&self, row: &Row) -> bool {
        self.row.is_empty() || self.row.iter().any(|name| name == row.name)
    }
}

/// What one host gave in one round of a row: the driver's reports, none if it failed.
#[derive(Debug)]
pub struct Turn {
    row: &'static str,
    host: &'static str,
    round: usize,
    reports: Vec<Value>,
}

/// Measures and prints. false: a share was not accepted, or a turn failed.
///
/// # Errors
/// A program is missing, doesn't start or doesn't end well.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let driver = driver()?;
    let hosts = Hosts {
        binaries: all_lines(&driver)?,
        driver,
        can_pin: can_pin(),
        reference: arguments.pool.canonicalize().map_err(|error| {
            format!("{}: {error}: tests/interop/peers builds it", arguments.pool.display())
        })?,
    };
    let page = |path: &PathBuf| -> Result<String> {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
    };
    if let Some(path) = &arguments.page {
        // What is wrong with it shows now, not after ten minutes.
        table::put_into(&page(path)?, "")?;
    }
    let (machine, begun) = (describe(), Instant::now());
    let (mut turns, mut clean) = (Vec::new(), true);
    for row in ROWS.iter().filter(|row| arguments.wants(row)) {
        say(&format!("[{:4} s] {}: {}", begun.elapsed().as_secs(), row.name, row.title));
        clean &= measure(&hosts, row, arguments, &mut turns)?;
    }
    let heading = format!(
        "Measured on {} by `make bench-peer`, {} rounds, on {}; revision {}.",
        arguments.date,
        arguments.rounds,
        in_words(&machine),
        machine["revision"].as_str().unwrap_or("unknown"),
    );
    let tables = table::tables(&turns, &heading);
    say(&format!("\n{tables}\n[{:4} s] done", begun.elapsed().as_secs()));
    let reports: Vec<&Value> = turns.iter().flat_map(|turn| &turn.reports).collect();
    let everything = json!({
        "date": arguments.date, "rounds": arguments.rounds, "pinned": hosts.can_pin,
        "machine": machine, "clean": clean, "reports": reports,
    });
    if let Some(directory) = arguments.out.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&arguments.out, serde_json::to_string_pretty(&everything)? + "\n")?;
    if let Some(path) = &arguments.page {
        fs::write(path, table::put_into(&page(path)?, &tables)?)?;
    }
    if !clean {
        say("NOT CLEAN: a share was rejected, miscounted or not answered, or a turn failed");
    }
    Ok(clean)
}

/// All rounds of a row.
fn measure(hosts: &Hosts, row: &Row, arguments: &Arguments, turns: &mut Vec<Turn>) -> Result<bool> {
    let wanted = |host: &str| arguments.host.is_empty() || arguments.host.iter().any(|h| h == host);
    let all: Vec<_> =
        row.hosts.iter().filter(|host| **host == row.hosts[0] || wanted(host.name())).collect();
    let mut running: Vec<Option<Running>> = all.iter().map(|_| None).collect();
    let mut clean = true;
    for round in 0..usize::from(arguments.rounds) {
        for turn in 0..all.len() {
            let at = (round + turn) % all.len();
            let (host, place) = (*all[at], &mut running[at]);
            let mut server = match place.take() {
                Some(server) => server,
                None => hosts.start(host, row)?,
            };
            wait_for_quiet(PATIENCE);
            let outcome = server.turn(row);
            let mut reports = Vec::new();
            match outcome {
                Ok((found, good)) => {
                    clean &= good;
                    reports = found;
                    // Memory that was used once is not what a fresh one takes.
                    match row.fresh {
                        true => server.stop()?,
                        false => *place = Some(server),
                    }
                }
                // What it left behind is of no use any more.
                Err(fault) => {
                    clean = false;
                    say(&format!("         {}: FAILED: {fault}", host.name()));
                }
            }
            for report in &mut reports {
                report["row"] = row.name.into();
                report["host"] = host.name().into();
                report["round"] = round.into();
                report["inside"] = host.is_inside().into();
            }
            let (row, host) = (row.name, host.name());
            let turn = Turn { row, host, round, reports };
            say(&format!("         {}", table::brief(&turn)));
            turns.push(turn);
        }
    }
    for server in running.into_iter().flatten() {
        server.stop()?;
    }
    Ok(clean)
}
