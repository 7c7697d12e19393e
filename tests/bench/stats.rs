//! A line that tells a statistics service what happens beside one that tells nobody: with the
//! service up, gone, and killed again and again, by turns.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use clap::Args;
use gopool_sv2_tests::{Process, Result};
use serde_json::Value;

use crate::figures::Spread;
use crate::line::{can_pin, driver, line_in, Bench, Extra, Line, BITS_FOR_SHARES};
use crate::{say, steps};

/// Connections and window.
const SHARES: (usize, usize) = (16, 16);
/// Seconds of a turn.
const SECONDS: usize = 2;
/// How long the service lives, and is gone, in a turn of kills.
const LIFE: Duration = Duration::from_millis(250);
/// What the sidecar is told.
const SECTION: &str = "[stats]\nsink = \"unix:stats.sock\"\nevery_sec = 1\n";
/// What the service is told.
const SERVICE: &str = "[stats]\nevents = \"unix:stats.sock\"\nhttp = \"127.0.0.1:0\"\n";

/// Options of `stats`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How many rounds; who begins changes.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// How the service is in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The sidecar tells nobody.
    Off,
    Up,
    Gone,
    /// Killed and started anew all the time.
    Killed,
}

const TURNS: [Turn; 4] = [Turn::Off, Turn::Up, Turn::Gone, Turn::Killed];

/// Shares a second and p99 in microseconds of each turn of a round.
type Round = [(f64, f64); TURNS.len()];

/// Measures and prints the ratios. false: a share was not accepted.
///
/// # Errors
/// A program is missing, doesn't start or doesn't end well.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let driver = driver()?;
    let bench = Bench { binaries: line_in(&driver)?, driver, can_pin: can_pin(), inside: false };
    let off = Line::start(&bench, BITS_FOR_SHARES, true)?;
    let extra = Extra { sections: SECTION, ..Extra::default() };
    let on = Line::start_with(&bench, BITS_FOR_SHARES, true, extra)?;
    fs::write(on.folder().join("stats.toml"), SERVICE)?;
    let (mut rounds, mut clean, mut kills) = (Vec::new(), true, 0);
    for round in 0..usize::from(arguments.rounds) {
        let mut figures = Round::default();
        for turn in 0..TURNS.len() {
            let at = (round + turn) % TURNS.len();
            figures[at] = match TURNS[at] {
                Turn::Off => shares(&off, &mut clean)?,
                Turn::Gone => shares(&on, &mut clean)?,
                Turn::Up => {
                    let service = serve(&bench, &on)?;
                    let figures = shares(&on, &mut clean)?;
                    service.kill()?;
                    figures
                }
                Turn::Killed => {
                    let (figures, killed) = killed(&bench, &on, &mut clean)?;
                    kills += killed;
                    figures
                }
            };
        }
        say(&format!("round {} of {}: rate and p99 {figures:.0?}", round + 1, arguments.rounds));
        rounds.push(figures);
    }
    on.stop()?;
    off.stop()?;
    say(&format!("\n{}\nThe service was killed {kills} times.", table(&rounds)));
    if !clean {
        say("NOT CLEAN: a share was rejected, miscounted or not answered");
    }
    Ok(clean)
}

/// Starts the service and waits until it takes events.
fn serve(bench: &Bench, line: &Line) -> Result<Process> {
    // On the load's core, which has room: what is asked is what the sidecar feels.
    let mut command = bench.beside();
    command.args(["stats", "--config", "stats.toml"]).current_dir(line.folder());
    let mut service = Process::start("stats", line.folder(), &mut command)?;
    service.wait_for("the dashboard is at")?;
    Ok(service)
}

/// Shares, while the service is killed and started anew; and how often.
fn killed(bench: &Bench, line: &Line, clean: &mut bool) -> Result<((f64, f64), usize)> {
    let over = AtomicBool::new(false);
    scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = 0;
            while !over.load(Ordering::Relaxed) {
                let service = serve(bench, line).map_err(|error| error.to_string())?;
                sleep(LIFE);
                service.kill().map_err(|error| error.to_string())?;
                kills += 1;
                sleep(LIFE);
            }
            Ok::<_, String>(kills)
        });
        let figures = shares(line, clean);
        over.store(true, Ordering::Relaxed);
        let kills = killer.join().map_err(|_| "the killer has panicked")??;
        Ok((figures?, kills))
    })
}

/// Shares a second, and their p99.
fn shares(line: &Line, clean: &mut bool) -> Result<(f64, f64)> {
    let plan = steps::shares("extended", SHARES.0, SHARES.1, SECONDS);
    let (reports, accepted) = line.load(1, &plan)?;
    *clean &= accepted;
    let figure =
        |path: &str| reports.last().and_then(|report: &Value| report.pointer(path)?.as_f64());
    match (figure("/rate"), figure("/latency_us/p99")) {
        (Some(rate), Some(p99)) => Ok((rate, p99)),
        _ => Err("a report without figures".into()),
    }
}

fn table(rounds: &[Round]) -> String {
    let mut text = String::from(
        "| to a line that tells nobody, median (lowest to highest) | shares a second | p99 |\n\
         | --- | --- | --- |\n",
    );
    for (at, name) in [(1, "service up"), (2, "service gone"), (3, "service killed all the time")] {
        let ratio = |of: fn(&(f64, f64)) -> f64| {
            let spread = Spread::of(rounds.iter().map(|round| of(&round[at]) / of(&round[0])));
            spread.map_or_else(|| "–".to_owned(), |spread| spread.spelled(3))
        };
        text += &format!("| {name} | {} | {} |\n", ratio(|one| one.0), ratio(|one| one.1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_line_that_tells_nobody() {
        let text = table(&[
            [(100.0, 10.0), (90.0, 20.0), (100.0, 10.0), (50.0, 40.0)],
            [(200.0, 10.0), (200.0, 10.0), (210.0, 9.0), (200.0, 10.0)],
            [(100.0, 10.0), (110.0, 10.0), (100.0, 10.0), (90.0, 11.0)],
        ]);
        for line in [
            "| service up | 1.000 (0.900 to 1.100) | 1.000 (1.000 to 2.000) |",
            "| service gone | 1.000 (1.000 to 1.050) | 1.000 (0.900 to 1.000) |",
            "| service killed all the time | 0.900 (0.500 to 1.000) | 1.100 (1.000 to 4.000) |",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
