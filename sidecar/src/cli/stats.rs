//! `gopool-sv2 stats`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gopool_sv2::config::StatsFile;
use gopool_sv2::http::Token;
use gopool_sv2::obs;
use gopool_sv2::stats::Stats;
use gopool_sv2::sys::supervisor;
use tokio::sync::watch;

use super::{complain, say, stop_signal, USAGE};

/// Keep the history of sidecars and show it: dashboard and API.
///
/// A process of its own, which can be stopped and started at will: sidecars keep their events
/// meanwhile, and no share waits for it. Sidecars publish here when their [stats].sink names this
/// service's [stats].events. Runs until SIGINT or SIGTERM, then exits 0; 1 when it ended by itself
/// and should be started anew; 64 when the command or the configuration is wrong. Under systemd
/// (Type=notify) it is ready once both addresses are open, and tells the watchdog.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file of the service.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Only check the file: print every problem with its place and remedy, and exit 64; 1 when the
    /// file is good but the service could not start here.
    #[arg(long)]
    check: bool,
    /// Print the effective values, defaults included, with what each means.
    #[arg(long)]
    print: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let file = match StatsFile::load(&arguments.config) {
        Ok(file) => file,
        Err(problems) => {
            complain(problems);
            return ExitCode::from(USAGE);
        }
    };
    if arguments.print {
        say(file.to_toml());
        return ExitCode::SUCCESS;
    }
    if arguments.check {
        return check(&arguments.config, &file);
    }
    if let Err(error) = obs::init(file.log.format, &file.log.filter) {
        complain(format_args!("gopool-sv2: {error}"));
        return ExitCode::from(USAGE);
    }
    // Nothing here computes but SQLite, which has threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(file))
}

/// What the file names and this machine does not have.
fn check(path: &Path, file: &StatsFile) -> ExitCode {
    let path = path.display();
    let mut obstacles = Vec::new();
    if let Some(Err(error)) = file.stats.token_file.as_ref().map(Token::load) {
        obstacles.push(format!("[stats].token_file: {error}"));
    }
    let directory = file.stats.database.parent();
    if let Some(directory) = directory.filter(|d| !d.as_os_str().is_empty() && !d.is_dir()) {
        obstacles
            .push(format!("[stats].database: {} is no directory: make it", directory.display()));
    }
    if obstacles.is_empty() {
        say(format_args!("{path}: good"));
        return ExitCode::SUCCESS;
    }
    complain(format_args!("{path}: good, but `stats` could not start here:"));
    obstacles.iter().for_each(complain);
    ExitCode::FAILURE
}

async fn serve(file: StatsFile) -> ExitCode {
    let signal = match stop_signal() {
        Ok(signal) => signal,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't watch signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let stats = match Stats::start(&file.stats) {
        Ok(stats) => stats,
        Err(error) => {
            complain(format_args!("gopool-sv2: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    tracing::info!(address = stats.events_address(), "sidecars publish their events here");
    match stats.http_address() {
        unix if unix.starts_with("unix:") => tracing::info!("the dashboard is at {unix}"),
        address => tracing::info!("the dashboard is at http://{address}/"),
    }
    let (stop, stops) = watch::channel(false);
    tokio::spawn(async move {
        let signal = signal.await;
        tracing::info!(signal, "stopping");
        supervisor::stopping();
        stop.send_replace(true);
    });
    supervisor::ready();
    let good = stats.run(stops).await;
    tracing::info!("stopped");
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
