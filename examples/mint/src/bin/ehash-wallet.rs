//! `ehash-wallet`: what a miner needs to get the ehash that a pool has credited.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{ensure, Result};
use clap::{Parser, Subcommand};
use ehash_mint::wallet::{self, Place};
use ehash_mint::{file, UNIT};
use tracing_subscriber::EnvFilter;

/// The stock wallet of the Cashu Development Kit, as a program for ehash.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// URL of the mint
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:3339")]
    mint: String,
    /// What the wallet holds
    #[arg(long, global = true, default_value = UNIT)]
    unit: String,
    /// Folder of the wallet: seed, database, key; made when it is not there
    #[arg(long, global = true, value_name = "DIR", default_value = "ehash-wallet")]
    data: PathBuf,
    /// File with the secret key that the pool's quotes are locked to [default: DATA/quote.key]
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
enum Task {
    /// Prints the public key for the pool; makes the key pair first when there is none
    Key,
    /// Mints what is paid and not issued yet, of the named quotes or of all that the wallet knows
    Mint {
        /// Quotes that the pool made, by the mint's id
        #[arg(long, value_name = "ID", num_args = 1..)]
        quote_id: Vec<String>,
        /// Quotes that this wallet made, by their request
        #[arg(long, value_name = "REQUEST", num_args = 1..)]
        request: Vec<String>,
    },
    /// Prints the balance
    Balance,
    /// Makes a quote that is locked to a key of this wallet; prints the request for the pool
    Quote,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("error,ehash_mint=info"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ehash-wallet: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let place = Place { mint: args.mint, unit: args.unit, data: args.data };
    let key = args.key.unwrap_or_else(|| place.data.join("quote.key"));
    if matches!(args.task, Task::Key) {
        file::folder(&place.data)?;
        println!("{}", wallet::key(&key)?.public_key().to_hex());
        return Ok(());
    }
    let wallet = wallet::open(&place).await?;
    match args.task {
        Task::Key => {}
        Task::Mint { quote_id, request } => {
            let chosen = wallet::chosen(&wallet, &quote_id, &request).await?;
            ensure!(!chosen.is_empty(), "the wallet knows no quote yet: name one with --quote-id");
            let mut failed = 0;
            for id in &chosen {
                // One quote must not keep the others from being minted.
                match wallet::mint(&wallet, id, &key).await {
                    Ok(minted) => println!(
                        "quote {id}: minted {}, issued {} of {} paid",
                        minted.now, minted.issued, minted.paid
                    ),
                    Err(why) => {
                        eprintln!("ehash-wallet: {why:#}");
                        failed += 1;
                    }
                }
            }
            println!("balance {} {}", wallet::balance(&wallet).await?, place.unit);
            ensure!(failed == 0, "{failed} of {} quotes were not minted", chosen.len());
        }
        Task::Balance => println!("balance {} {}", wallet::balance(&wallet).await?, place.unit),
        Task::Quote => {
            let quote = wallet::quote(&wallet).await?;
            println!("quote {}", quote.id);
            println!("request {}", quote.request);
        }
    }
    Ok(())
}
