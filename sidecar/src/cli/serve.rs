//! `gopool-sv2 serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gopool_sv2::app::Sidecar;
use gopool_sv2::config::Config;
use gopool_sv2::obs;

use super::{complain, stop_signal, USAGE};

/// Accept Stratum V2 miners and hand their shares to the pool.
///
/// Runs until SIGINT or SIGTERM: then it takes no new connections, answers the shares that wait
/// (a few seconds at most), and exits 0. A second signal ends it at once.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file. `check-config --print` shows every key.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(problems) => {
            complain(problems);
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = obs::init(config.log.format, &config.log.filter) {
        complain(format_args!("gopool-sv2: {error}"));
        return ExitCode::from(USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> ExitCode {
    let stop = match stop_signal() {
        Ok(stop) => stop,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't watch signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let sidecar = match Sidecar::start(config).await {
        Ok(sidecar) => sidecar,
        Err(error) => {
            complain(format_args!("gopool-sv2: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    tracing::info!(address = %sidecar.address(), "listening for Stratum V2 miners");
    tracing::info!("miners type: {}", sidecar.miner_url());
    let signal = stop.await;
    tracing::info!(signal, "stopping");
    sidecar.stop().await;
    tracing::info!("stopped");
    ExitCode::SUCCESS
}
