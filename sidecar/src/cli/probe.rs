//! `gopool-sv2 probe`.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gopool_sv2::miner::json::Object;
use gopool_sv2::probe::{self, Diagnosis, Fact, Failure, ProbeOptions, ProbeUrl, Step};
use gopool_sv2::types::Kind;

use super::{complain, say, USAGE};

/// Columns of the failure's text.
const COLUMNS: usize = 98;

const MORE: &str = "\
Exit codes: 0 good; 64 the command is wrong; otherwise the step that failed:
  10 resolve      the name has no address
  11 connect      closed port, firewall, no route
  12 handshake    silence, or no Stratum V2: Stratum V1, TLS, HTTP, SSH, something else
  13 certificate  not signed by the key in the URL, expired, not valid yet
  14 setup        SetupConnection refused or not answered
  15 open         channel refused or not answered (unknown user, pool away, ...)
  16 job          a channel, but no work on it
  17 tip          no new tip in time (--wait-tip)
   1 the probe itself could not start

Examples:
  A pool, the way its miners see it, both kinds of channels:
    gopool-sv2 probe stratum2+tcp://pool.example.com:3336/AUTHORITY_KEY --user ADDRESS.WORKER
  Does it still answer? For a monitor; the last line of JSON tells why not:
    gopool-sv2 probe stratum2+tcp://pool.example.com:3336/AUTHORITY_KEY --extended --json
  What listens on that port? Without a key nothing tells whose server it is:
    gopool-sv2 probe stratum2+tcp://pool.example.com:3336
  Does work for a new block arrive? Waits for an hour at most:
    gopool-sv2 probe stratum2+tcp://pool.example.com:3336/AUTHORITY_KEY --user ADDRESS --wait-tip";

/// Find out why a miner can't mine on a pool, or that it could.
///
/// Goes the way a miner goes and prints a line for each step: name, TCP, Noise handshake,
/// certificate, SetupConnection, channel, first job. The first step that fails ends it, with what
/// is wrong, why that is likely, and what to do. No share is submitted.
///
/// Standard and extended channels are tried one after the other, each on a connection of its own,
/// as devices do: what a device requires is said once for a whole connection.
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Arguments {
    /// The server: stratum2+tcp://HOST:PORT/AUTHORITY_KEY, or without the key.
    url: ProbeUrl,
    /// Who the channels are opened for, as your miners have it: for minipool and goPool a Bitcoin
    /// address, with .WORKER behind it if you like.
    #[arg(long, short, default_value = "probe")]
    user: String,
    /// Try a standard channel only.
    #[arg(long, conflicts_with = "extended")]
    standard: bool,
    /// Try an extended channel only.
    #[arg(long)]
    extended: bool,
    /// The longest each step may take.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Wait for a new tip after the first job of the last channel; without SECONDS 3600.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "3600",
        value_parser = seconds
    )]
    wait_tip: Option<Duration>,
    /// Hash rate to announce, in H/s: the pool sets the first difficulty by it.
    #[arg(long, value_name = "H/s", default_value_t = 1e12)]
    hash_rate: f32,
    /// Rollable bytes to ask for on an extended channel.
    #[arg(long, value_name = "BYTES", default_value_t = 4)]
    min_extranonce_size: u16,
    /// Print one JSON object for each step.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wanted = "give a number of seconds, more than 0, e.g. 10 or 2.5";
    let number: f64 = text.parse().map_err(|_| wanted)?;
    match Duration::try_from_secs_f64(number) {
        // A year: beyond any sense, and within what clocks can add.
        Ok(time) if !time.is_zero() && time.as_secs() <= 31_536_000 => Ok(time),
        _ => Err(wanted.to_owned()),
    }
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let json = arguments.json;
    let options = options(arguments);
    if let Err(fault) = options.check() {
        complain(format_args!("gopool-sv2: {fault}"));
        return ExitCode::from(USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut report = |step: Step| match json {
        true => say(step_json(&step)),
        false => say(StepText(&step)),
    };
    let outcome = runtime.block_on(probe::run(&options, &mut report));
    // A look-up that hangs in the system's resolver must not keep the program.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => {
            if !json {
                say(verdict(&options));
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            match json {
                true => say(failure_json(&failure)),
                false => say(FailureText(&failure)),
            }
            ExitCode::from(failure.stage.exit_code())
        }
    }
}

fn options(arguments: Arguments) -> ProbeOptions {
    let mut options = ProbeOptions::new(arguments.url).with_timeout(arguments.timeout);
    options.user = arguments.user;
    if arguments.standard {
        options.kinds = vec![Kind::Standard];
    } else if arguments.extended {
        options.kinds = vec![Kind::Extended];
    }
    options.wait_tip = arguments.wait_tip;
    options.nominal_hash_rate = arguments.hash_rate;
    options.min_extranonce_size = arguments.min_extranonce_size;
    options
}

fn verdict(options: &ProbeOptions) -> String {
    let kinds = options.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" and ");
    let whose = match options.url.authority() {
        Some(_) => "",
        None => ", but whose server this is was not verified (no key in the URL)",
    };
    format!("good: there is work on {kinds} channels for {:?}{whose}", options.user)
}

fn milliseconds(time: Duration) -> f64 {
    // To the microsecond: what is finer is noise.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Connection and step, in columns.
fn columns(f: &mut fmt::Formatter<'_>, channel: Option<Kind>, stage: probe::Stage) -> fmt::Result {
    write!(f, "{:<8}  {stage:<11}", channel.map_or("", Kind::as_str))
}

struct StepText<'a>(&'a Step);

impl fmt::Display for StepText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { stage, channel, elapsed, text, notes, .. } = self.0;
        columns(f, *channel, *stage)?;
        write!(f, " {:>9.1} ms  {text}", milliseconds(*elapsed))?;
        for note in notes {
            writeln!(f)?;
            paragraph(f, "  note: ", note)?;
        }
        Ok(())
    }
}

struct FailureText<'a>(&'a Failure);

impl fmt::Display for FailureText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { stage, channel, elapsed, diagnosis } = self.0;
        let Diagnosis { cause, code, what, why, remedy } = diagnosis;
        columns(f, *channel, *stage)?;
        write!(f, " {:>9.1} ms  FAILED: {cause}", milliseconds(*elapsed))?;
        if !code.is_empty() {
            write!(f, " ({code})")?;
        }
        write!(f, "\n\n")?;
        paragraph(f, "  wrong:   ", what)?;
        writeln!(f)?;
        paragraph(f, "  because: ", why)?;
        writeln!(f)?;
        paragraph(f, "  do:      ", remedy)
    }
}

/// Text behind a label, in lines of at most [`COLUMNS`], the later ones indented by the label.
fn paragraph(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    f.write_str(label)?;
    let indent = label.chars().count();
    let mut column = indent;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > indent && column + 1 + width > COLUMNS {
            write!(f, "\n{:indent$}", "")?;
            column = indent;
        } else if column > indent {
            f.write_str(" ")?;
            column += 1;
        }
        f.write_str(word)?;
        column += width;
    }
    Ok(())
}

fn head(channel: Option<Kind>, stage: probe::Stage, good: bool, elapsed: Duration) -> Object {
    let head = Object::default().string("step", stage.as_str());
    let head = match channel {
        Some(kind) => head.string("channel", kind.as_str()),
        None => head,
    };
    head.boolean("ok", good).fraction("ms", milliseconds(elapsed))
}

fn step_json(step: &Step) -> String {
    let mut object = head(step.channel, step.stage, true, step.elapsed);
    for (name, fact) in &step.facts {
        object = match fact {
            Fact::Text(text) => object.string(name, text),
            Fact::Number(number) => object.number(name, *number),
            Fact::Fraction(number) => object.fraction(name, *number),
            Fact::Flag(flag) => object.boolean(name, *flag),
        };
    }
    if !step.notes.is_empty() {
        object = object.string("note", &step.notes.join(" "));
    }
    object.finish()
}

fn failure_json(failure: &Failure) -> String {
    let Diagnosis { cause, code, what, why, remedy } = &failure.diagnosis;
    let head = head(failure.channel, failure.stage, false, failure.elapsed);
    let head = head.string("cause", cause.as_str());
    let head = match code.as_str() {
        "" => head,
        code => head.string("code", code),
    };
    head.string("wrong", what)
        .string("because", why)
        .string("do", remedy)
        .number("exit_code", failure.stage.exit_code().into())
        .finish()
}
