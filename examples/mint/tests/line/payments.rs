//! Payments: how they reach a quote, over the stream and without it.

use std::time::Duration;

use cdk::nuts::SecretKey;
use cdk::wallet::MintConnector;
use cdk::MintQuoteRequest;

use crate::fake::Fake;
use crate::programs::{asked, method, until, Mint};

/// The mint asks at most once in 10 s, and counts in whole seconds: this much lies between two
/// questions.
const LEAST: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_what_the_stream_says_without_asking_for_the_history() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let key = SecretKey::generate().public_key();
    let id = mint.quote(key).await;
    assert_eq!(fake.order(&id).1.pubkey, Some(key.to_hex()), "the processor learns of the lock");
    // Takes the one check of 10 s, so that what follows can only come over the stream.
    assert_eq!(mint.amounts(&id).await.expect("known"), (0, 0));
    let (order, _) = fake.order(&id);
    fake.send(&order, "gp1c:a", 323).await;
    mint.until_paid(&id, 323).await;
    assert!(fake.order(&id).1.paid.is_empty(), "the history has nothing of it");
    // The amount that was asked for is 1: it is no limit, and more may come.
    fake.send(&order, "gp1c:b", 77).await;
    mint.until_paid(&id, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_over_a_payment_that_it_has() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let id = mint.quote(SecretKey::generate().public_key()).await;
    for _ in 0..3 {
        fake.pay(&id, "gp1c:a", 100).await;
    }
    // Events are taken in order: once the last is there, the others were looked at.
    fake.pay(&id, "gp1c:b", 5).await;
    mint.until_paid(&id, 105).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_payments_for_strangers() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let ours = mint.quote(SecretKey::generate().public_key()).await;
    let other = mint.quote(SecretKey::generate().public_key()).await;
    fake.send("gp1q:unknown", "gp1c:x", 50).await;
    let (order, _) = fake.order(&ours);
    fake.send(&order, "gp1c:a", 0).await;
    fake.pay(&ours, "gp1c:b", 7).await;
    mint.until_paid(&ours, 7).await;
    assert_eq!(mint.amounts(&other).await.expect("known"), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_a_lost_event_from_the_history_and_asks_seldom() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let id = mint.quote(SecretKey::generate().public_key()).await;
    assert_eq!(mint.amounts(&id).await.expect("known"), (0, 0));
    fake.keep(&id, "gp1c:a", 9);
    mint.until_paid(&id, 9).await;
    let checks = fake.order(&id).1.checks;
    assert!(checks.len() >= 2, "{checks:?}");
    for pair in checks.windows(2) {
        assert!(pair[1] - pair[0] > LEAST, "{checks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_a_crash_and_credits_what_was_paid_meanwhile() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let id = mint.quote(SecretKey::generate().public_key()).await;
    fake.pay(&id, "gp1c:a", 40).await;
    mint.until_paid(&id, 40).await;
    let keys = mint.client().get_mint_keysets().await.expect("keysets").keysets;
    mint.kill();

    fake.keep(&id, "gp1c:b", 2);
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    mint.until_paid(&id, 42).await;
    let after = mint.client().get_mint_keysets().await.expect("keysets").keysets;
    assert_eq!(keys, after, "the same mnemonic, the same keys");
    // The stream is there again, too.
    let (order, _) = fake.order(&id);
    fake.send(&order, "gp1c:c", 1).await;
    mint.until_paid(&id, 43).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_a_restart_of_the_processor() {
    let dir = tempfile::tempdir().expect("folder");
    let mut fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let id = mint.quote(SecretKey::generate().public_key()).await;
    fake.pay(&id, "gp1c:a", 11).await;
    mint.until_paid(&id, 11).await;
    fake.stop().await;
    // Told of what it knows, apart from the one question in 10 s that it wants to ask and can't.
    until("an answer", || async { mint.amounts(&id).await.is_ok_and(|(paid, _)| paid == 11) })
        .await;
    fake.resume(None).await;
    fake.pay(&id, "gp1c:b", 4).await;
    mint.until_paid(&id, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_quote_that_the_processor_refuses() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let request = MintQuoteRequest::Custom { method: method(), request: asked(None) };
    let why = mint.client().post_mint_quote(request).await.expect_err("refused").to_string();
    assert!(why.contains("50000") && why.contains("Invalid payment request"), "{why}");
}
