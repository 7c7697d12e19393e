//! The wallet: keys, minting, balances.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cdk::amount::SplitTarget;
use cdk::nuts::SecretKey;
use cdk::wallet::WalletBuilder;
use cdk::Error;
use cdk_sqlite::WalletSqliteDatabase;

use crate::fake::Fake;
use crate::programs::{method, Mint, Wallet};

/// A word that follows another in a text.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let mut words = text.split_whitespace().skip_while(|w| *w != word);
    words.nth(1).unwrap_or_else(|| panic!("no {word} in {text}"))
}

fn secret(wallet: &Wallet) -> String {
    std::fs::read_to_string(wallet.data.join("quote.key")).expect("key").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mints_323_then_77_from_one_quote_that_the_pool_made() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(&dir.path().join("mint"), fake.address, &["--insecure"]).await;
    let wallet = Wallet::new(dir.path().join("wallet"), &mint);
    let id = mint.quote(wallet.key()).await;
    assert_eq!(wallet.done(&["balance"]), "balance 0 hash\n");

    fake.pay(&id, "gp1c:a", 323).await;
    mint.until_paid(&id, 323).await;
    let said = wallet.done(&["mint", "--quote-id", &id]);
    assert!(said.contains("minted 323, issued 323 of 323 paid"), "{said}");
    assert!(said.contains("balance 323 hash"), "{said}");
    // Nothing is minted twice.
    let said = wallet.done(&["mint", "--quote-id", &id]);
    assert!(said.contains("minted 0, issued 323 of 323 paid"), "{said}");

    fake.pay(&id, "gp1c:b", 77).await;
    mint.until_paid(&id, 400).await;
    // The wallet knows the quote by now.
    let said = wallet.done(&["mint"]);
    assert!(said.contains("minted 77, issued 400 of 400 paid"), "{said}");
    assert_eq!(wallet.done(&["balance"]), "balance 400 hash\n");
    assert_eq!(mint.amounts(&id).await.expect("known"), (400, 400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mints_several_quotes_at_once_and_those_that_can_be_when_one_can_not() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(&dir.path().join("mint"), fake.address, &["--insecure"]).await;
    let wallet = Wallet::new(dir.path().join("wallet"), &mint);
    let key = wallet.key();
    let ids = [mint.quote(key).await, mint.quote(key).await, mint.quote(key).await];
    for (n, id) in ids.iter().take(2).enumerate() {
        fake.pay(id, &format!("gp1c:{n}"), 10 + n as u64).await;
        mint.until_paid(id, 10 + n as u64).await;
    }
    let said = wallet.done(&["mint", "--quote-id", &ids[0], &ids[1], &ids[2]]);
    assert!(said.contains("minted 10, ") && said.contains("minted 11, "), "{said}");
    assert!(said.contains("balance 21 hash"), "{said}");

    fake.pay(&ids[2], "gp1c:2", 4).await;
    mint.until_paid(&ids[2], 4).await;
    let (ok, said) = wallet.run(&["mint", "--quote-id", "no-such-quote", &ids[2]]);
    assert!(!ok && said.contains("1 of 2 quotes were not minted"), "{said}");
    assert!(said.contains("balance 25 hash"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mints_a_quote_of_its_own_by_its_request() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(&dir.path().join("mint"), fake.address, &["--insecure"]).await;
    let wallet = Wallet::new(dir.path().join("wallet"), &mint);
    let said = wallet.done(&["quote"]);
    let (id, request) = (after(&said, "quote"), after(&said, "request"));
    assert!(request.starts_with("ehash:gp1q:"), "{request}");
    assert!(fake.order(id).1.pubkey.is_some(), "locked to a key of the wallet");
    fake.pay(id, "gp1c:a", 1_000_000).await;
    mint.until_paid(id, 1_000_000).await;
    let said = wallet.done(&["mint", "--request", request]);
    assert!(said.contains("minted 1000000,") && said.contains("balance 1000000 hash"), "{said}");
    let (ok, said) = wallet.run(&["mint", "--request", "ehash:gp1q:other"]);
    assert!(!ok && said.contains("--quote-id"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_a_mint_whose_processor_is_away() {
    let dir = tempfile::tempdir().expect("folder");
    let mut fake = Fake::start(None).await;
    let mint = Mint::start(&dir.path().join("mint"), fake.address, &["--insecure"]).await;
    let wallet = Wallet::new(dir.path().join("wallet"), &mint);
    let id = mint.quote(wallet.key()).await;
    fake.pay(&id, "gp1c:a", 6).await;
    mint.until_paid(&id, 6).await;
    fake.stop().await;
    // The next question after 10 s is one that the mint wants to pass on, and can't.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let said = wallet.done(&["mint", "--quote-id", &id]);
    assert!(said.contains("asking the mint again"), "{said}");
    assert!(said.contains("balance 6 hash"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_key_that_the_quote_is_not_locked_to() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(&dir.path().join("mint"), fake.address, &["--insecure"]).await;
    let right = Wallet::new(dir.path().join("right"), &mint);
    let wrong = Wallet::new(dir.path().join("wrong"), &mint);
    let id = mint.quote(right.key()).await;
    fake.pay(&id, "gp1c:a", 8).await;
    mint.until_paid(&id, 8).await;

    let other = wrong.key();
    let (ok, said) = wrong.run(&["mint", "--quote-id", &id]);
    assert!(!ok && said.contains(&other.to_hex()) && said.contains("--key"), "{said}");
    assert!(!said.contains(&secret(&wrong)), "{said}");
    // The right file makes it work, in the same wallet.
    let file = right.data.join("quote.key");
    let said = wrong.done(&["mint", "--quote-id", &id, "--key", file.to_str().expect("text")]);
    assert!(said.contains("balance 8 hash"), "{said}");
}

/// The program looks before it asks: this is what the mint says when nobody looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_wrong_signature_at_the_mint() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(&dir.path().join("mint"), fake.address, &["--insecure"]).await;
    let id = mint.quote(SecretKey::generate().public_key()).await;
    fake.pay(&id, "gp1c:a", 8).await;
    mint.until_paid(&id, 8).await;

    let store = WalletSqliteDatabase::new(path(&dir.path().join("w.sqlite"))).await.expect("store");
    let wallet = WalletBuilder::new()
        .mint_url(mint.url.parse().expect("URL"))
        .unit("hash".parse().expect("unit"))
        .localstore(Arc::new(store))
        .seed([7; 64])
        .build()
        .expect("a wallet");
    let mut quote = wallet.fetch_mint_quote(&id, Some(method())).await.expect("known");
    quote.secret_key = Some(SecretKey::generate());
    wallet.localstore.add_mint_quote(quote).await.expect("stored");
    let why = wallet.mint(&id, SplitTarget::default(), None).await.expect_err("refused");
    assert!(matches!(why, Error::SignatureMissingOrInvalid), "{why:?}");
    assert_eq!(mint.amounts(&id).await.expect("known"), (8, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_its_secrets() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let data = dir.path().join("mint");
    let mint = Mint::start(&data, fake.address, &["--insecure"]).await;
    let wallet = Wallet::new(dir.path().join("wallet"), &mint);
    let key = wallet.key();
    assert_eq!(wallet.key(), key, "made once");
    let said = wallet.done(&["quote"]) + &wallet.done(&["mint"]);
    assert!(!said.contains(&secret(&wallet)), "{said}");
    for folder in [&data, &wallet.data] {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let entry = entry.expect("entry");
            let mode = entry.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
        }
    }
    let words = std::fs::read_to_string(data.join("mnemonic")).expect("mnemonic");
    assert!(!mint.log().contains(words.trim()));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}
