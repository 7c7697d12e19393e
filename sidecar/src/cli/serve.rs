//! `gopool-sv2 serve`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gopool_sv2::app::Sidecar;
use gopool_sv2::config::Config;
use gopool_sv2::mint::processor;
use gopool_sv2::obs::{Counts, LogFilter};
use gopool_sv2::sys::supervisor;
use gopool_sv2::{admin, obs, sys};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{complain, stop_signal, USAGE};

/// File descriptors kept for all that is no miner: links, threads, files.
const RESERVED_DESCRIPTORS: usize = 64;
/// And for the files of a ledger.
const LEDGER_DESCRIPTORS: usize = 24;
/// How often we look whether the pool was reached for the first time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Accept Stratum V2 miners and hand their shares to the pool.
///
/// Runs until SIGINT or SIGTERM: then it takes no new connections, answers the shares that wait
/// (a few seconds at most), and exits 0. A second signal ends it at once. SIGHUP reads the
/// authority key again; a changed key file is also noticed within seconds. Nobody is disconnected.
/// Under systemd (Type=notify) it is ready once the pool was reached, and tells the watchdog.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file. `check-config --print` shows every key.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let mut config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(problems) => {
            complain(problems);
            return ExitCode::from(USAGE);
        }
    };
    let log = match obs::init(config.log.format, &config.log.filter) {
        Ok(log) => log,
        Err(error) => {
            complain(format_args!("gopool-sv2: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    fit_descriptors(&mut config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(config, log))
}

async fn serve(config: Config, log: LogFilter) -> ExitCode {
    let signals = signal(SignalKind::hangup()).and_then(|hangup| Ok((stop_signal()?, hangup)));
    let (mut stop, mut hangup) = match signals {
        Ok((stop, hangup)) => (Box::pin(stop), hangup),
        Err(error) => {
            complain(format_args!("gopool-sv2: can't watch signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let inherited = match sys::inherited_listener() {
        Ok(inherited) => inherited,
        Err(error) => {
            complain(format_args!(
                "gopool-sv2: what was handed over as LISTEN_FDS is no listening TCP socket \
                 ({error}): see ListenStream= of the socket unit"
            ));
            return ExitCode::from(USAGE);
        }
    };
    let admin = match admin::Listener::bind(&config.admin) {
        Ok(admin) => admin,
        Err(error) => {
            complain(format_args!("gopool-sv2: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    let mut sidecar = match Sidecar::start_on(config, inherited).await {
        Ok(sidecar) => sidecar,
        Err(error) => {
            complain(format_args!("gopool-sv2: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    tracing::info!(address = %sidecar.address(), "listening for Stratum V2 miners");
    tracing::info!("miners type: {}", sidecar.miner_url());
    if sidecar.address().ip().is_unspecified() {
        tracing::info!("miners elsewhere: this machine's name or address instead of that host");
    }
    let (stop_admin, admin_stops) = watch::channel(false);
    let admin = admin.map(|admin| {
        tracing::info!(address = admin.address(), "the admin address is served");
        admin.start(sidecar.view(Some(log)), admin_stops)
    });
    let admin = match admin.transpose() {
        Ok(admin) => admin,
        Err(error) => {
            complain(format_args!("gopool-sv2: no thread for the admin address: {error}"));
            return ExitCode::FAILURE;
        }
    };
    supervisor::watch();
    let mut reached = Box::pin(reached(sidecar.counts().clone()));
    let mut is_ready = false;
    let failed = loop {
        tokio::select! {
            () = &mut reached, if !is_ready => {
                is_ready = true;
                supervisor::ready();
            }
            signal = &mut stop => {
                tracing::info!(signal, "stopping");
                break false;
            }
            part = sidecar.failed() => {
                tracing::error!("{part} ended by itself: stopping, so that it can be started anew");
                break true;
            }
            Some(()) = hangup.recv() => sidecar.renew_key(),
        }
    };
    supervisor::stopping();
    sidecar.stop().await;
    // Last: whoever watches sees the stop.
    stop_admin.send_replace(true);
    if let Some(admin) = admin {
        // It ends within seconds.
        let _ = tokio::task::spawn_blocking(move || admin.join()).await;
    }
    tracing::info!("stopped");
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Completes once the link to the pool was up.
async fn reached(counts: Counts) {
    while counts.pool.ups.get() == 0 {
        sleep(LOOK_EVERY).await;
    }
}

/// Each connection takes a file descriptor, and the pool's link, files and logs need some too:
/// without them strangers could keep us from the pool.
fn fit_descriptors(config: &mut Config) {
    let reserved = reserved(config);
    let wanted = config.listen.max_connections.saturating_add(reserved);
    let Some(limit) = sys::raise_descriptor_limit(wanted) else { return };
    if limit < wanted {
        let fits = limit.saturating_sub(reserved).max(1);
        tracing::warn!(
            "only {fits} connections instead of {}: this process may open {limit} files. Raise \
             the hard limit (LimitNOFILE= in the systemd unit, or `ulimit -Hn`), or lower \
             [listen].max_connections",
            config.listen.max_connections
        );
        config.listen.max_connections = fits;
    }
}

/// With what strangers may hold of the other addresses that are served.
fn reserved(config: &Config) -> usize {
    let admin = config.admin.listen.as_ref().map_or(0, |_| admin::CONNECTIONS);
    let mint =
        config.mint.ledger_file.as_ref().map_or(0, |_| {
            LEDGER_DESCRIPTORS + processor::CONNECTIONS + config.mint.requests_at_once
        });
    RESERVED_DESCRIPTORS + admin + mint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_at_no_other_address_can_take_what_is_kept() {
        let mut config = Config::default();
        assert_eq!(reserved(&config), RESERVED_DESCRIPTORS);
        config.admin.listen = Some("127.0.0.1:3340".parse().unwrap());
        assert_eq!(reserved(&config), RESERVED_DESCRIPTORS + admin::CONNECTIONS);
        config.mint.ledger_file = Some("ledger.db".into());
        let held = admin::CONNECTIONS + processor::CONNECTIONS + config.mint.requests_at_once;
        assert!(reserved(&config) >= RESERVED_DESCRIPTORS + held);
    }
}
