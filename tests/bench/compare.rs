//! Two builds of the line by turns, so that what else the machine does meets both.

use std::path::PathBuf;

use clap::Args;
use gopool_sv2_tests::Result;
use serde_json::Value;

use crate::figures::{number, Spread};
use crate::line::{can_pin, driver, line_in, line_inside, Bench, Line, BITS_FOR_SHARES};
use crate::{say, steps};

/// Connections and window of what is measured; the first one is the gate's.
const SHARES: [(usize, usize); 2] = [(16, 16), (1, 1)];
/// Length of a run in seconds.
const SECONDS: usize = 2;
/// What the gate looks at: name, path in a report.
const RATE: (&str, &str) = ("shares a second", "/rate");
/// What is compared.
const FIGURES: [(&str, &str); 5] = [
    RATE,
    ("p50, submit to answer, µs", "/latency_us/p50"),
    ("p99, submit to answer, µs", "/latency_us/p99"),
    ("sidecar's CPU a share, µs", "/cpu_us/sidecar"),
    ("minipool's CPU a share, µs", "/cpu_us/minipool"),
];
/// Median of the ratio of shares a second below which the gate is shut.
const GATE: f64 = 0.95;

/// Options of `compare`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with gopool-sv2 and minipool of one release build.
    #[arg(long, value_name = "FOLDER")]
    before: PathBuf,
    /// The same of the other.
    #[arg(long, value_name = "FOLDER")]
    after: PathBuf,
    /// The second line is minipool with the listener inside (docs/ffi.md).
    #[arg(long)]
    inside: bool,
    /// How many runs of each, in turn; which one begins changes.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,
}

/// A report of either build, taken one after the other.
type Pair = [Value; 2];

/// Measures and prints the ratios. false: shut, or a share was not accepted.
///
/// # Errors
/// A program is missing, doesn't start or doesn't end well.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let bench = |folder: &PathBuf, inside: bool| -> Result<Bench> {
        let binaries = if inside { line_inside(folder) } else { line_in(folder) }?;
        Ok(Bench { binaries, driver: driver()?, can_pin: can_pin(), inside })
    };
    let builds = [bench(&arguments.before, false)?, bench(&arguments.after, arguments.inside)?];
    let mut pairs: [Vec<Pair>; SHARES.len()] = Default::default();
    let mut clean = true;
    for pair in 0..usize::from(arguments.pairs) {
        let mut reports: [Vec<Value>; 2] = Default::default();
        for turn in [pair % 2, 1 - pair % 2] {
            let line = Line::start(&builds[turn], BITS_FOR_SHARES, true)?;
            for (connections, window) in SHARES {
                let plan = steps::shares("extended", connections, window, SECONDS);
                let (report, accepted) = line.load(1, &plan)?;
                clean &= accepted;
                reports[turn].extend(report.into_iter().last());
            }
            line.stop()?;
        }
        let [before, after] = reports;
        for ((step, before), after) in pairs.iter_mut().zip(before).zip(after) {
            step.push([before, after]);
        }
        say(&format!("{} of {} pairs", pair + 1, arguments.pairs));
    }
    let open = ratios(&pairs[0], RATE.1).is_some_and(|ratios| ratios.value() >= GATE);
    say(&format!("\n{}", table(&pairs)));
    let (word, least) = (if open { "holds" } else { "does not hold" }, GATE);
    let (connections, window) = SHARES[0];
    say(&format!(
        "Gate: the median of shares a second at {connections} × {window} is {least} or more. It \
         {word}."
    ));
    if !clean {
        say("NOT CLEAN: a share was rejected, miscounted or not answered");
    }
    Ok(open && clean)
}

/// After to before in each pair.
fn ratios(pairs: &[Pair], path: &str) -> Option<Spread> {
    let figure = |report: &Value| report.pointer(path)?.as_f64();
    let ratio = |[before, after]: &Pair| Some(figure(after)? / figure(before)?);
    Spread::of(pairs.iter().filter_map(ratio))
}

fn table(steps: &[Vec<Pair>]) -> String {
    let mut text = String::from("| after to before, median (lowest to highest) |");
    for (connections, window) in SHARES {
        text += &format!(" {connections} × {window} |");
    }
    text += &format!("\n|{}\n", " --- |".repeat(SHARES.len() + 1));
    for (name, path) in FIGURES {
        text += &format!("| {name} |");
        for pairs in steps {
            let before = |[before, _]: &Pair| before.pointer(path)?.as_f64();
            let before = Spread::of(pairs.iter().filter_map(before));
            let cell = match (ratios(pairs, path), before) {
                (Some(ratios), Some(before)) => {
                    format!("{}, {} before", ratios.spelled(3), number(before.value()))
                }
                _ => "–".to_owned(),
            };
            text += &format!(" {cell} |");
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let run = |rate: f64| json!({"rate": rate, "latency_us": {"p50": 100.0 / rate}});
        // Of the medians, 4 to 4, nothing shows; of the pairs, 2, 0.5 and 2, it does.
        let pairs = vec![[run(2.0), run(4.0)], [run(8.0), run(4.0)], [run(4.0), run(8.0)]];
        assert_eq!(ratios(&pairs, "/rate").unwrap().spelled(2), "2.00 (0.50 to 2.00)");
        let text = table(&[pairs.clone(), pairs]);
        assert!(
            text.contains("| shares a second | 2.000 (0.500 to 2.000), 4.00 before |"),
            "{text}"
        );
        assert!(text.contains("before |\n| p99, submit to answer, µs | – | – |"), "{text}");
    }
}
