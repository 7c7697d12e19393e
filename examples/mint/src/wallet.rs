//! The stock wallet of cdk with its SQLite database, and what a miner does with it: make a key,
//! mint what the pool has credited to it, read the balance.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use cdk::amount::SplitTarget;
use cdk::mint_url::MintUrl;
use cdk::nuts::{CurrencyUnit, PaymentMethod, PublicKey, SecretKey};
use cdk::wallet::{MintQuote, Wallet, WalletBuilder};
use cdk::{Amount, Error, MintQuoteResponse};
use cdk_sqlite::WalletSqliteDatabase;

use crate::{file, METHOD};

/// How often a question to the mint is asked again when its processor can't be reached.
const TRIES: u32 = 15;

/// Time between two of them. A mint whose processor is away fails one question in 10 s, and
/// answers the others from what it knows.
const BETWEEN: Duration = Duration::from_secs(1);

/// Where the wallet is and with which mint it deals.
#[derive(Clone, Debug)]
pub struct Place {
    /// URL of the mint.
    pub mint: String,
    /// Unit, see [`crate::UNIT`].
    pub unit: String,
    /// Folder of the wallet's files.
    pub data: PathBuf,
}

/// What was minted of one quote, in the wallet's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minted {
    /// This time.
    pub now: u64,
    /// In all.
    pub issued: u64,
    /// What the pool has paid in all; the same as `issued`, unless it has paid meanwhile.
    pub paid: u64,
}

/// Reads the key pair that quotes are locked to (NUT-20); makes it when the file is not there.
/// The pool gets the public key, the file never leaves the miner.
///
/// # Errors
/// As [`file::secret`], or a file without a key.
pub fn key(path: &Path) -> Result<SecretKey> {
    let hex = file::secret(path, || Ok(SecretKey::generate().to_secret_hex()))?;
    // The parser's error might repeat what it read.
    SecretKey::from_hex(hex).ok().with_context(|| {
        format!("{} holds no secret key of 64 hex digits: put the right one there", path.display())
    })
}

/// Opens the wallet, and ends what a process that died has begun.
///
/// # Errors
/// Files that can't be opened, or a URL or unit that is none.
pub async fn open(place: &Place) -> Result<Wallet> {
    file::folder(&place.data)?;
    let seed = file::mnemonic(&place.data.join("seed"))?.to_seed_normalized("");
    let path = file::database(&place.data, "wallet.sqlite")?;
    let store = WalletSqliteDatabase::new(path.as_str())
        .await
        .with_context(|| format!("the database {path} can't be opened"))?;
    let wallet = WalletBuilder::new()
        .mint_url(MintUrl::from_str(&place.mint).context("--mint is no URL")?)
        .unit(CurrencyUnit::from_str(&place.unit).context("--unit is no unit")?)
        .localstore(Arc::new(store))
        .seed(seed)
        .build()?;
    // Works without the mint when nothing was under way.
    wallet.recover_incomplete_sagas().await.context("what was under way can't be ended")?;
    Ok(wallet)
}

/// Makes a quote that is locked to a key of the wallet itself. Its `request` names it to the
/// pool; the amount 1 is a form that has to be filled in, and no limit.
///
/// # Errors
/// The mint can't be reached or refuses.
pub async fn quote(wallet: &Wallet) -> Result<MintQuote> {
    let method = PaymentMethod::from(METHOD);
    patiently(|| wallet.mint_quote(method.clone(), Some(Amount::from(1)), None, None))
        .await
        .context("the mint made no quote")
}

/// The ids that are meant: these, and those of the quotes whose request is one of `requests`; all
/// that the wallet knows of this mint and unit when none is named.
///
/// # Errors
/// A request that is of no quote of this wallet.
pub async fn chosen(
    wallet: &Wallet,
    ids: &[String],
    requests: &[String],
) -> Result<BTreeSet<String>> {
    let mut known = wallet.localstore.get_mint_quotes().await?;
    known.retain(|quote| quote.mint_url == wallet.mint_url && quote.unit == wallet.unit);
    if ids.is_empty() && requests.is_empty() {
        return Ok(known.into_iter().map(|quote| quote.id).collect());
    }
    let mut chosen: BTreeSet<String> = ids.iter().cloned().collect();
    for request in requests {
        let quote = known.iter().find(|quote| quote.request == *request).with_context(|| {
            format!("{request} is of no quote of this wallet: name the quote with --quote-id")
        })?;
        chosen.insert(quote.id.clone());
    }
    Ok(chosen)
}

/// Mints all of one quote that is paid and not issued. A quote that the wallet did not make is
/// signed with the key of the file `key`.
///
/// # Errors
/// A quote that the mint does not know, that is locked to another key, or not locked at all (then
/// whoever learns of it can mint it, so a pool that makes such quotes is to be told), and a mint
/// that can't be reached.
pub async fn mint(wallet: &Wallet, id: &str, key_file: &Path) -> Result<Minted> {
    let method = PaymentMethod::from(METHOD);
    let mut quote = patiently(|| wallet.fetch_mint_quote(id, Some(method.clone())))
        .await
        .with_context(|| format!("the mint does not tell of quote {id}"))?;
    ensure!(quote.unit == wallet.unit, "quote {id} is in {}: take --unit {0}", quote.unit);
    if quote.secret_key.is_none() {
        let ours = key(key_file)?;
        let lock = lock(wallet, id).await?;
        ensure!(
            lock == ours.public_key(),
            "quote {id} is locked to {}, but the key in {} is {}: take the --key \
             that the pool knows",
            lock.to_hex(),
            key_file.display(),
            ours.public_key().to_hex()
        );
        quote.secret_key = Some(ours);
        wallet.localstore.add_mint_quote(quote.clone()).await?;
    }
    let now = match quote.amount_mintable() {
        none if none == Amount::ZERO => Amount::ZERO,
        _ => {
            let proofs = patiently(|| wallet.mint(id, SplitTarget::default(), None))
                .await
                .with_context(|| format!("quote {id} can't be minted"))?;
            Amount::try_sum(proofs.iter().map(|proof| proof.amount))?
        }
    };
    let issued = u64::from(quote.amount_issued) + u64::from(now);
    Ok(Minted { now: now.into(), issued, paid: quote.amount_paid.into() })
}

/// The balance that can be spent, in the wallet's unit. Does not ask the mint.
///
/// # Errors
/// The database can't be read.
pub async fn balance(wallet: &Wallet) -> Result<u64> {
    Ok(wallet.total_balance().await?.into())
}

/// The key that the mint holds a quote locked to.
async fn lock(wallet: &Wallet, id: &str) -> Result<PublicKey> {
    let client = wallet.mint_connector();
    let method = PaymentMethod::from(METHOD);
    match patiently(|| client.get_mint_quote_status(method.clone(), id)).await? {
        MintQuoteResponse::Custom { response, .. } => response
            .pubkey
            .with_context(|| format!("quote {id} is locked to no key: it is not for this wallet")),
        _ => bail!("the mint answered for another payment method"),
    }
}

/// Asks again while the mint can't reach its processor. Nothing was done then.
async fn patiently<T, F>(ask: impl Fn() -> F) -> std::result::Result<T, Error>
where
    F: std::future::Future<Output = std::result::Result<T, Error>>,
{
    let mut tries = 1;
    loop {
        match ask().await {
            Err(why) if tries < TRIES && is_passing(&why) => {
                tracing::info!(tries, %why, "asking the mint again");
                tries += 1;
                tokio::time::sleep(BETWEEN).await;
            }
            done => return done,
        }
    }
}

/// Whether an error is of the mint's processor, and so may be gone the next time.
fn is_passing(why: &Error) -> bool {
    matches!(why, Error::UnknownErrorResponse(text) if text.contains("Payment backend error"))
}
