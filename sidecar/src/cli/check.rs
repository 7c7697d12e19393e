//! `gopool-sv2 check-config`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gopool_sv2::admin::Token;
use gopool_sv2::config::Config;

use super::{complain, say, USAGE};

/// Check a configuration file without starting anything.
///
/// Prints every problem with its place and remedy and exits 64. A file without any is good; then it
/// looks at the key file, the token file and the place of the journal as `serve` would find them
/// here, and exits 0, or 1 when `serve` could not start. With --print it looks at the configuration
/// file only.
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
        Ok(config) => {
            let file = arguments.config.display();
            match obstacles(&config).as_slice() {
                [] => {
                    say(format_args!("{file}: good"));
                    ExitCode::SUCCESS
                }
                obstacles => {
                    complain(format_args!("{file}: good, but `serve` could not start here:"));
                    obstacles.iter().for_each(complain);
                    ExitCode::FAILURE
                }
            }
        }
        Err(problems) => {
            complain(problems);
            ExitCode::from(USAGE)
        }
    }
}

/// What the configuration names and this machine does not have.
fn obstacles(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    if let Err(error) = config.authority.key_file.load() {
        found.push(error.to_string());
    }
    if let Some(Err(error)) = config.admin.token_file.as_ref().map(Token::load) {
        found.push(format!("[admin].token_file: {error}"));
    }
    let directory = config.log.journal.as_deref().and_then(Path::parent);
    if let Some(directory) = directory.filter(|d| !d.as_os_str().is_empty() && !d.is_dir()) {
        found.push(format!("[log].journal: {} is no directory: make it", directory.display()));
    }
    found
}
