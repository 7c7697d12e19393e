//! A line with the bridge to a mint beside one without, the mint up, stopped and slow, and the disk
//! alone: by turns, so that what else the machine does meets all.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use gopool_sv2_tests::fake_mint::{Database, FakeMint, Settings};
use gopool_sv2_tests::Result;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::figures::Spread;
use crate::line::{can_pin, driver, line_in, Bench, Extra, Line, BITS_FOR_SHARES};
use crate::{say, steps};

/// The generator of secp256k1 (SEC 2): nobody's wallet.
const KEY: &str = "~ehash=0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// Connections that send shares at a pace, each for an account of its own, and that pace: 500
/// shares a second.
const CONNECTIONS: usize = 50;
/// Seconds between two shares of a connection.
const PACE: &str = "0.1";
/// Seconds of a turn: short ones, and many, for a disk that others use, too, has moods of seconds.
const SECONDS: usize = 2;
/// What the mint may take to be as wanted.
const SETTLE: Duration = Duration::from_millis(500);
/// An answer of a slow mint.
const SLOW: Duration = Duration::from_secs(10);
/// What a small transaction of the ledger writes, about: five pages with their headers.
const WRITE: usize = 5 * (4_096 + 24);
/// Between two bare writes.
const PAUSE: Duration = Duration::from_millis(2);

/// Options of `mint`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How many rounds; the order changes, and is even after each ten.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// No bridge.
    Off,
    Up,
    Stopped,
    Slow,
    /// Writes and fsync, no line.
    Disk,
}

const TURNS: [Turn; 5] = [Turn::Off, Turn::Up, Turn::Stopped, Turn::Slow, Turn::Disk];

/// The turns of a round, by their places in [`TURNS`]. In ten rounds each is in each place twice,
/// and behind each other one twice (a Williams design): a turn behind one of the same line finds it
/// warm, one behind another finds it cold.
fn order(round: usize) -> [usize; TURNS.len()] {
    let mut order = [0, 1, 4, 2, 3].map(|turn| (turn + round) % TURNS.len());
    if round % 10 >= 5 {
        order.reverse();
    }
    order
}

/// The 99th percentile of each turn of a round, in microseconds.
type Round = [f64; TURNS.len()];

/// Measures and prints. false: a share was not accepted.
///
/// # Errors
/// A program is missing, doesn't start or doesn't end well.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let driver = driver()?;
    let bench = Bench { binaries: line_in(&driver)?, driver, can_pin: can_pin(), inside: false };
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let (mint, processor) = (free()?, free()?);
    let sections = format!(
        "[mint]\nledger_file = \"ledger.db\"\nurl = \"http://{mint}\"\nseal_interval_sec = 10\n\
         unit_difficulty = \"0.000000003725290299\"\n\
         [mint.processor]\nlisten = \"{processor}\"\nallow_plain = true\n"
    );
    let off = Line::start(&bench, BITS_FOR_SHARES, true)?;
    let extra = Extra { sections: &sections, behind_user: KEY, ..Extra::default() };
    let on = Line::start_with(&bench, BITS_FOR_SHARES, true, extra)?;
    let mut mint = Mint::new(mint, processor)?;
    let (mut rounds, mut clean) = (Vec::new(), true);
    for round in 0..usize::from(arguments.rounds) {
        let mut figures = Round::default();
        for at in order(round) {
            mint.be(TURNS[at])?;
            sleep(SETTLE);
            figures[at] = match TURNS[at] {
                Turn::Disk => disk(on.folder())?,
                Turn::Off => shares(&off, &mut clean)?,
                _ => shares(&on, &mut clean)?,
            };
        }
        say(&format!("round {} of {}: p99 in µs {figures:.0?}", round + 1, arguments.rounds));
        rounds.push(figures);
    }
    let paid = mint.database()?.paid();
    on.stop()?;
    off.stop()?;
    say(&format!("\n{}\nThe mint was paid {paid} units.", table(&rounds)));
    if !clean {
        say("NOT CLEAN: a share was rejected, miscounted or not answered");
    }
    Ok(clean && paid > 0)
}

/// p99 of shares at the pace.
fn shares(line: &Line, clean: &mut bool) -> Result<f64> {
    let mut plan = steps::shares("extended", CONNECTIONS, 16, SECONDS);
    plan.insert(0, "--numbered".to_owned());
    plan.extend(["--pace", PACE].map(ToOwned::to_owned));
    let (reports, accepted) = line.load(1, &plan)?;
    *clean &= accepted;
    let p99 = |report: &Value| report.pointer("/latency_us/p99")?.as_f64();
    reports.last().and_then(p99).ok_or_else(|| "a report without a p99".into())
}

/// p99 of bare writes of about a transaction's size, each with its fsync.
fn disk(folder: &Path) -> Result<f64> {
    let mut file = File::create(folder.join("bare"))?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < Duration::from_secs(SECONDS as u64) {
        let one = Instant::now();
        file.write_all(&[7; WRITE])?;
        file.sync_all()?;
        times.push(one.elapsed());
        sleep(PAUSE);
    }
    times.sort_unstable();
    let at = times.len() * 99 / 100;
    times.get(at).map(|time| time.as_secs_f64() * 1e6).ok_or_else(|| "no time to write".into())
}

/// The mint of tests, in this process.
struct Mint {
    runtime: Runtime,
    settings: Settings,
    running: Option<FakeMint>,
    database: Database,
}

impl Mint {
    fn new(listen: SocketAddr, processor: SocketAddr) -> Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build()?;
        let settings = Settings { listen, ..Settings::new(processor) };
        Ok(Self { runtime, settings, running: None, database: Database::default() })
    }

    /// Has it be as a turn wants it.
    fn be(&mut self, turn: Turn) -> Result<()> {
        match (turn, self.running.take()) {
            (Turn::Stopped, Some(mint)) => self.database = self.runtime.block_on(mint.stop()),
            (Turn::Stopped, None) => {}
            (turn, running) => {
                let mint = match running {
                    Some(mint) => mint,
                    None => {
                        let database = std::mem::take(&mut self.database);
                        let starts = FakeMint::start(self.settings.clone(), database);
                        self.runtime.block_on(starts)?
                    }
                };
                mint.faults().slow = if turn == Turn::Slow { SLOW } else { Duration::ZERO };
                self.running = Some(mint);
            }
        }
        Ok(())
    }

    /// What it was paid, once it is up again.
    fn database(&mut self) -> Result<Database> {
        self.be(Turn::Up)?;
        Ok(self.running.as_ref().map(FakeMint::database).unwrap_or_default())
    }
}

fn table(rounds: &[Round]) -> String {
    let of = |turn: Turn| TURNS.iter().position(|at| *at == turn).unwrap_or_default();
    let line = |name: &str, digits, figure: &dyn Fn(&Round) -> f64| {
        let spread = Spread::of(rounds.iter().map(figure));
        let spelled = spread.map_or_else(|| "–".to_owned(), |spread| spread.spelled(digits));
        format!("| {name} | {spelled} |\n")
    };
    let (off, up, disk) = (of(Turn::Off), of(Turn::Up), of(Turn::Disk));
    let (stopped, slow) = (of(Turn::Stopped), of(Turn::Slow));
    let mut text = String::from("| median (lowest to highest) of the rounds | |\n| --- | --- |\n");
    text += &line("p99 of an answer without the bridge, µs", 0, &|round| round[off]);
    text += &line("with it, the mint up, µs", 0, &|round| round[up]);
    text += &line("p99 of a bare write with fsync, µs", 0, &|round| round[disk]);
    text += &line("what the bridge adds, to the disk's p99", 2, &|round| {
        (round[up] - round[off]) / round[disk]
    });
    text += &line("mint stopped to mint up", 3, &|round| round[stopped] / round[up]);
    text += &line("mint 10 s slow to mint up", 3, &|round| round[slow] / round[up]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_comes_behind_each_other_equally_often() {
        let mut behind = [[0; TURNS.len()]; TURNS.len()];
        for pair in
            (0..10).map(order).flat_map(|order| [0, 1, 2, 3].map(|at| [order[at], order[at + 1]]))
        {
            behind[pair[0]][pair[1]] += 1;
        }
        for (first, row) in behind.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                assert_eq!(*count, if first == second { 0 } else { 2 }, "{first} then {second}");
            }
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // Off, up, stopped, slow, disk.
        let text =
            table(&[[100.0, 300.0, 330.0, 270.0, 100.0], [200.0, 1000.0, 900.0, 1500.0, 200.0]]);
        for line in [
            "| what the bridge adds, to the disk's p99 | 4.00 (2.00 to 4.00) |",
            "| mint stopped to mint up | 1.100 (0.900 to 1.100) |",
            "| mint 10 s slow to mint up | 1.500 (0.900 to 1.500) |",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
