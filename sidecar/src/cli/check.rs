//! `gopool-sv2 check-config`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gopool_sv2::config::Config;

use super::{complain, say, USAGE};

/// Check a configuration file without starting anything.
///
/// Prints every problem with its place and remedy and exits 64, or says that the file is good and
/// exits 0.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Print the effective values, defaults included, with what each means.
    #[arg(long)]
    print: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match Config::load(&arguments.config) {
        Ok(config) if arguments.print => {
            say(config.to_toml());
            ExitCode::SUCCESS
        }
        Ok(_) => {
            say(format_args!("{}: good", arguments.config.display()));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            complain(problems);
            ExitCode::from(USAGE)
        }
    }
}
