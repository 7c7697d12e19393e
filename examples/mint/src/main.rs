//! `ehash-mint`: serves the HTTP API of a Cashu mint whose quotes a payment processor pays.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{ArgGroup, Parser};
use ehash_mint::processor::{Address, Link};
use ehash_mint::{file, mint, UNIT};
use tokio::net::TcpListener;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// A Cashu mint for ehash: cdk's own mint with SQLite, paid by a payment processor over gRPC.
#[derive(Debug, Parser)]
#[command(version, group(ArgGroup::new("trust").required(true).args(["tls_dir", "insecure"])))]
struct Args {
    /// Where wallets and the pool reach the HTTP API; it has no TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3339")]
    listen: SocketAddr,
    /// Where the payment processor listens, host:port
    #[arg(long, value_name = "ADDR")]
    processor: Address,
    /// Folder with ca.pem, client.pem and client.key for the processor
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Talks to the processor in the clear; on this machine only
    #[arg(long)]
    insecure: bool,
    /// Folder of the database; made when it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// File with the BIP39 mnemonic of the keys [default: DATA/mnemonic, made on first start]
    #[arg(long, value_name = "FILE")]
    mnemonic_file: Option<PathBuf>,
    /// What the mint issues; must be what the processor pays in
    #[arg(long, default_value = UNIT)]
    unit: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,ehash_mint=info"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ehash-mint: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let link = Link::new(args.processor, args.tls_dir.as_deref())?;
    file::folder(&args.data)?;
    let _lock = mint::lock(&args.data)?;
    let words = args.mnemonic_file.unwrap_or_else(|| args.data.join("mnemonic"));
    let mnemonic = file::mnemonic(&words)?;
    // Taken before anything is waited for, so that an address in use shows at once.
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("can't listen on {}: take another --listen", args.listen))?;
    if !args.listen.ip().is_loopback() {
        tracing::warn!(listen = %args.listen, "no TLS here: put a proxy with TLS before it");
    }

    let (stopping, stopped) = watch::channel(false);
    let mut ends = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = ends.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        let _ = stopping.send(true);
    });
    let stop = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    };
    let processor = tokio::select! {
        found = link.wait() => found,
        () = stop() => return Ok(()),
    };
    let (mint, methods) = mint::open(&args.data, &mnemonic, &args.unit, processor).await?;
    println!("http://{} issues {} for {}", listener.local_addr()?, args.unit, methods.join(", "));
    mint::serve(mint, methods, listener, stop()).await
}
