//! `gopool-sv2 ledger`: what an operator does with the ledger of the mint bridge.

mod change;
mod export;
mod look;
mod reconcile;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{value_parser, Args, Subcommand};
use gopool_sv2::config::{Config, Mint};
use gopool_sv2::mint::ledger::Books;

use super::{complain, say, USAGE};

const MORE: &str = "\
What only reads works while the sidecar runs; `verify` and `export` of a large ledger keep its log
from being cut meanwhile, so run them on a copy. What changes the ledger says what it would do, and
does it with --yes; for that the sidecar has to be stopped.

Names that miners chose are printed as ASCII, other bytes as \\xNN. Who has the mint's id of a quote
can look at it there: ids are printed with --secrets only.

Exit codes: 0 done, or nothing wrong; 1 failed, or something is wrong; 64 the command is wrong.

Examples:
  Who is owed what?
    gopool-sv2 ledger accounts --config sv2.toml
  Does the mint show what was sent? Changes nothing; the sidecar should run.
    gopool-sv2 ledger reconcile --config sv2.toml
  The mint's database is gone, all of it is to be paid on new quotes:
    gopool-sv2 ledger requeue --lost --config sv2.toml
    gopool-sv2 ledger requeue --lost --config sv2.toml --yes
  Does a copy of the ledger add up?
    gopool-sv2 ledger verify --ledger /backup/ledger.db";

/// Look into the ledger of the mint bridge, and put right what waits for the operator.
#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The sidecar's configuration: [mint].ledger_file says which ledger.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The ledger, in place of the configuration's.
    #[arg(long, global = true, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Print JSON, one object a line; "kind" says of what.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everybody's books: what is accrued, waits to be paid, was paid, was minted.
    Accounts,
    /// Credits that should have been paid by now, why they were not, and what to do.
    Stuck(look::Stuck),
    /// Send credits again that were lost with the mint's database, on another quote.
    ///
    /// It is the same payment, under the same name: a mint that has it after all (its database
    /// came back) refuses it, and pays once.
    Requeue(change::Requeue),
    /// Hold an account or a credit back. Shares are kept as ever.
    Freeze(change::Target),
    /// Let an account or a credit go on from where it was.
    Unfreeze(change::Target),
    /// Let sending and events go on that were stopped, as after a surplus at the mint, or when the
    /// pool has events that never came from this ledger.
    ///
    /// What the mint shows too much by now is known then, and does not stop sending again. Events
    /// go on under a new name of their sequence.
    Resume(change::Resume),
    /// Read every quote at the mint, and compare it with what was sent.
    ///
    /// Changes nothing. The sidecar should run: the mint asks it at each reading.
    Reconcile(reconcile::Options),
    /// All accounts, credits and shares, to prove or check what was paid.
    ///
    /// A credit's share_root is the root of an RFC 6962 tree (SHA-256) over its share hashes,
    /// sorted, in internal byte order: the reverse of what is printed.
    Export(export::Options),
    /// Check that all of it adds up: sums, carries, roots, names of payments, links, events.
    Verify,
}

/// Why nothing was done.
#[derive(Debug)]
enum Wrong {
    /// The command, or the configuration.
    Usage(String),
    /// Anything else.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::Failed(text::harmless(&error.to_string()))
    }
}

/// `true`: nothing is wrong.
type Outcome = Result<bool, Wrong>;

/// The ledger that a command is about.
#[derive(Debug)]
struct Place {
    file: PathBuf,
    /// `[mint]`, when there is a configuration.
    mint: Option<Mint>,
    json: bool,
}

impl Place {
    fn find(config: Option<PathBuf>, ledger: Option<PathBuf>, json: bool) -> Result<Self, Wrong> {
        let mint = match &config {
            Some(file) => {
                let read = Config::load(file).map_err(|problems| problems.to_string());
                Some(read.map_err(Wrong::Usage)?.mint)
            }
            None => None,
        };
        let file = ledger.or_else(|| mint.as_ref()?.ledger_file.clone());
        match (file, config) {
            (Some(file), _) => Ok(Self { file, mint, json }),
            (None, Some(config)) => Err(Wrong::Usage(format!(
                "gopool-sv2: {}: no [mint].ledger_file, so there is no ledger: give --ledger FILE",
                config.display()
            ))),
            (None, None) => {
                let text = "gopool-sv2: which ledger? Give --config FILE or --ledger FILE";
                Err(Wrong::Usage(text.to_owned()))
            }
        }
    }

    /// Opens the ledger to read it, beside a sidecar or not.
    fn books(&self) -> Result<Books, Wrong> {
        Ok(Books::open(&self.file)?)
    }
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { command, config, ledger, json } = arguments;
    let done = Place::find(config, ledger, json).and_then(|place| match command {
        Command::Accounts => look::accounts(&place),
        Command::Stuck(options) => look::stuck(&place, &options),
        Command::Requeue(options) => change::requeue(&place, &options),
        Command::Freeze(target) => change::freeze(&place, &target, true),
        Command::Unfreeze(target) => change::freeze(&place, &target, false),
        Command::Resume(options) => change::resume(&place, &options),
        Command::Reconcile(options) => reconcile::run(&place, &options),
        Command::Export(options) => export::run(&place, &options),
        Command::Verify => look::verify(&place),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Wrong::Usage(text)) => {
            complain(text);
            ExitCode::from(USAGE)
        }
        Err(Wrong::Failed(text)) => {
            complain(format_args!("gopool-sv2: {text}"));
            ExitCode::FAILURE
        }
    }
}

/// The number of a credit or an account.
fn number() -> clap::builder::RangedU64ValueParser<u64> {
    value_parser!(u64).range(1..=i64::MAX.unsigned_abs())
}
