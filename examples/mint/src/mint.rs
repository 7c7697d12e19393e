//! The mint: cdk's own, with its SQLite database and its HTTP API.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use axum::Router;
use bip39::Mnemonic;
use cdk::cdk_payment::{MintPayment, SettingsResponse};
use cdk::mint::{Mint, MintBuilder, MintMeltLimits};
use cdk::nuts::nut17::SupportedMethods;
use cdk::nuts::{CurrencyUnit, PaymentMethod};
use cdk::types::QuoteTTL;
use cdk::Amount;
use cdk_payment_processor::PaymentProcessorClient;
use cdk_sqlite::MintSqliteDatabase;
use tokio::net::TcpListener;

use crate::file;

/// Most quotes that a wallet may mint in one request (NUT-29): what stock `cdk-mintd` has.
const BATCH_MAX: u64 = 100;

/// Largest amount of one quote. The database holds signed 64 bit numbers.
const AMOUNT_MAX: u64 = 1 << 62;

/// How long requests under way may go on when the program is to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Takes the folder for this process: a database has one mint, ever. The lock is gone with the
/// process.
///
/// # Errors
/// Another process has it, or the file can't be made.
pub fn lock(data: &Path) -> Result<File> {
    let path = data.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} can't be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another mint runs with {}: stop it, or take another --data", data.display())
        }
        Err(std::fs::TryLockError::Error(e)) => {
            Err(e).with_context(|| format!("{} can't be locked", path.display()))
        }
    }
}

/// Opens the mint of the folder `data`, with keys from the mnemonic, and starts to listen to the
/// processor's payments. `unit` is what it is to issue.
///
/// Returns the mint and the names of its methods.
///
/// # Errors
/// A processor that pays in another unit or has no custom method; a database that can't be
/// opened.
pub async fn open(
    data: &Path,
    mnemonic: &Mnemonic,
    unit: &str,
    (processor, settings): (PaymentProcessorClient, SettingsResponse),
) -> Result<(Arc<Mint>, Vec<String>)> {
    let ours = CurrencyUnit::from_str(unit).with_context(|| format!("{unit} is no unit"))?;
    let theirs = CurrencyUnit::from_str(&settings.unit).ok();
    ensure!(
        theirs.as_ref() == Some(&ours),
        "the payment processor pays in {:?}, the mint issues {ours}: set --unit, or the \
         unit of the processor",
        settings.unit
    );
    let mut methods: Vec<String> = settings.custom.into_keys().collect();
    methods.sort();
    ensure!(!methods.is_empty(), "the payment processor names no payment method");

    let path = file::database(data, "mint.sqlite")?;
    let store = MintSqliteDatabase::new(path.as_str())
        .await
        .with_context(|| format!("the database {path} can't be opened"))?;
    let store = Arc::new(store);
    let processor: Arc<dyn MintPayment<Err = cdk::cdk_payment::Error> + Send + Sync> =
        Arc::new(processor);
    // Nothing can be paid out: the processor refuses it, so the bounds of melting say so, too.
    let limits = MintMeltLimits {
        mint_min: Amount::from(1),
        mint_max: Amount::from(AMOUNT_MAX),
        melt_min: Amount::from(1),
        melt_max: Amount::from(1),
    };
    let mut builder = MintBuilder::new(store.clone())
        .with_name("ehash example".into())
        .with_description("Issues ehash for shares that a pool has accepted".into())
        .with_batch_minting(Some(BATCH_MAX), Some(methods.clone()));
    for name in &methods {
        let method = PaymentMethod::from(name.as_str());
        builder
            .add_payment_processor(ours.clone(), method.clone(), limits, processor.clone())
            .await
            .with_context(|| format!("the method {name} can't be offered"))?;
        let pushed = SupportedMethods::default_custom(method, ours.clone());
        builder = builder.with_supported_websockets(pushed);
    }
    let mut info = builder.current_mint_info();
    let mint = builder
        .build_with_seed(store, &mnemonic.to_seed_normalized(""))
        .await
        .context("the mint's keys can't be opened: is this the mnemonic of this database?")?;
    // What cdk has added itself, as its public key, stays.
    if let Ok(stored) = mint.mint_info().await {
        info.pubkey = info.pubkey.or(stored.pubkey);
    }
    // Of quotes in lightning methods. How long ours are valid is the processor's word.
    mint.set_mint_info_and_quote_ttl(info, QuoteTTL::new(3_600, 60)).await?;
    mint.start().await.context("the mint can't be started")?;
    Ok((Arc::new(mint), methods))
}

/// Serves the HTTP API until `stop` is done, then lets requests end and closes the mint.
///
/// # Errors
/// The listener fails, or the mint can't be closed.
pub async fn serve(
    mint: Arc<Mint>,
    methods: Vec<String>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let api: Router = cdk_axum::create_mint_router(mint.clone(), methods).await?;
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, api).with_graceful_shutdown(async move {
        stop.await;
        let _ = stopping.send(());
    });
    let late = async move {
        let _ = stopped.await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = async move { server.await } => ended.context("the HTTP listener failed")?,
        // A wallet that listens for changes would hold the program up for ever.
        () = late => tracing::info!("requests were still under way"),
    }
    mint.stop().await.context("the mint can't be closed")
}
