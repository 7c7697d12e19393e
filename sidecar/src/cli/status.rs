//! `gopool-sv2 status`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gopool_sv2::admin::ask::{ask, AskError};
use gopool_sv2::config::{AdminAddress, Config};
use gopool_sv2::keys::KeyFile;
use serde_json::Value;

use super::{complain, say, USAGE};

mod text;

/// Show how a running sidecar and all that it depends on stand.
///
/// Asks the admin address of the configuration ([admin].listen). Exits 0 when miners can mine, 1
/// when they can't or nobody answers, 64 when the command or the configuration is wrong.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file of the sidecar.
    #[arg(long, short, value_name = "FILE", required_unless_present = "admin")]
    config: Option<PathBuf>,
    /// The admin address, instead of the configuration's: 127.0.0.1:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<AdminAddress>,
    /// File of the token, instead of the configuration's.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the answer as one JSON object.
    #[arg(long)]
    json: bool,
    /// Ask again every N seconds until Ctrl-C.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

/// Whom to ask, and with what.
struct Whom {
    address: AdminAddress,
    token: Option<Vec<u8>>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let whom = match whom(arguments) {
        Ok(whom) => whom,
        Err(text) => {
            complain(text);
            return ExitCode::from(USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    loop {
        let asked = runtime.block_on(ask(&whom.address, whom.token.as_deref(), "/api/v1/status"));
        let serving = tell(arguments, &whom.address, asked);
        let Some(seconds) = arguments.watch else {
            return if serving { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        };
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

/// Prints what was answered. Whether miners can mine.
fn tell(arguments: &Arguments, address: &AdminAddress, asked: Result<Value, AskError>) -> bool {
    match asked {
        Ok(status) => {
            if arguments.json {
                say(&status);
            } else {
                if arguments.watch.is_some() {
                    // The top of an empty screen.
                    say("\x1b[2J\x1b[H");
                }
                say(text::table(&status));
            }
            status["state"] != "not-serving"
        }
        Err(error) => {
            complain(format_args!("gopool-sv2: {address}: {error}"));
            false
        }
    }
}

fn whom(arguments: &Arguments) -> Result<Whom, String> {
    let config = match &arguments.config {
        Some(path) => Some(Config::load(path).map_err(|problems| problems.to_string())?),
        None => None,
    };
    let admin = config.map(|config| config.admin).unwrap_or_default();
    let address = arguments.admin.clone().or(admin.listen).ok_or_else(|| {
        "gopool-sv2: the configuration has no [admin].listen: add one, for example \
         listen = \"127.0.0.1:3340\", and start the sidecar anew"
            .to_owned()
    })?;
    let file = arguments.token_file.clone().map(KeyFile::Path).or(admin.token_file);
    let token = match file {
        Some(file) => Some(gopool_sv2::admin::read_token(&file).map_err(|e| e.to_string())?),
        None => None,
    };
    Ok(Whom { address, token })
}
