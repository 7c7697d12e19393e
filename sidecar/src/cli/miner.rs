//! `gopool-sv2 miner`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gopool_sv2::client::PoolUrl;
use gopool_sv2::miner::{self, ChannelKind, MinerError, MinerOptions};
use gopool_sv2::obs::{self, Format};

use super::{complain, say, stop_signal, USAGE};

/// Mine with the CPU: to try a pool out, not for profit.
///
/// Prints a line of progress every few seconds and a summary at the end. SIGINT or SIGTERM: it
/// stops submitting, awaits the answers that are missing, and exits 0.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The pool: stratum2+tcp://HOST:PORT/AUTHORITY_KEY, as `keygen` and `serve` print it.
    url: String,
    /// Who is paid: for minipool and goPool a Bitcoin address, with .WORKER behind it if you like.
    #[arg(long, short)]
    user: String,
    /// Open a standard channel: the pool computes the merkle root.
    #[arg(long, conflicts_with = "extended")]
    standard: bool,
    /// Open an extended channel: the miner rolls part of the coinbase (the default).
    #[arg(long)]
    extended: bool,
    /// Threads that hash [default: one for each core].
    #[arg(long, short, value_name = "N")]
    threads: Option<usize>,
    /// Hash rate to announce, in H/s [default: measured for a second].
    #[arg(long, value_name = "H/s")]
    hash_rate: Option<f32>,
    /// Rollable bytes to ask for on an extended channel.
    #[arg(long, value_name = "BYTES", default_value_t = 4)]
    min_extranonce_size: u16,
    /// Stop after this many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Stop after this many submitted shares.
    #[arg(long, value_name = "N")]
    shares: Option<u64>,
    /// Append every submit and every answer to this file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// End when the connection ends, instead of connecting again.
    #[arg(long)]
    no_reconnect: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// What to log, as tracing's filter directives.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let url: PoolUrl = match arguments.url.parse() {
        Ok(url) => url,
        Err(error) => {
            complain(format_args!("gopool-sv2: {}: {error}", arguments.url));
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = obs::init(Format::Human, &arguments.log) {
        complain(format_args!("gopool-sv2: {error}"));
        return ExitCode::from(USAGE);
    }
    let json = arguments.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("gopool-sv2: can't start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(mine(options(url, arguments))) {
        Ok(summary) => {
            if json {
                say(summary.to_json());
            } else {
                say(summary);
            }
            ExitCode::SUCCESS
        }
        Err(error @ MinerError::Options(_)) => {
            complain(format_args!("gopool-sv2: {error}"));
            ExitCode::from(USAGE)
        }
        Err(error) => {
            complain(format_args!("gopool-sv2: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn options(url: PoolUrl, arguments: Arguments) -> MinerOptions {
    let mut options = MinerOptions::new(url, arguments.user);
    if arguments.standard {
        options.kind = ChannelKind::Standard;
    }
    if let Some(threads) = arguments.threads {
        options.threads = threads;
    }
    options.nominal_hash_rate = arguments.hash_rate;
    options.min_extranonce_size = arguments.min_extranonce_size;
    options.time_limit = arguments.seconds.map(Duration::from_secs);
    options.share_limit = arguments.shares;
    options.journal = arguments.journal;
    options.reconnect = !arguments.no_reconnect;
    options
}

async fn mine(options: MinerOptions) -> Result<miner::Summary, MinerError> {
    let stop = stop_signal().map_err(MinerError::Threads)?;
    miner::run(options, async {
        stop.await;
    })
    .await
}
