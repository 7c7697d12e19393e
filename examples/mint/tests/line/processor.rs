//! The way to the processor: waiting for it, certificates, what is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use cdk::nuts::SecretKey;

use crate::fake::Fake;
use crate::programs::{until, Mint};

/// Certificates of the script that the README names.
fn certificates(dir: &Path, names: &[&str]) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/mintd/certificates");
    let output = Command::new(script).arg(dir).args(names).output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    dir.to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_a_processor_that_comes_later() {
    let dir = tempfile::tempdir().expect("folder");
    let mut fake = Fake::start(None).await;
    fake.stop().await;
    let (mint, said) = Mint::launch(dir.path(), fake.address, &["--insecure"]);
    until("it tells what it waits for", || async {
        mint.log().contains("waiting for the payment processor")
    })
    .await;
    assert!(said.try_recv().is_err(), "it serves nobody meanwhile");
    fake.resume(None).await;
    let mint = mint.ready(&said).await;
    mint.quote(SecretKey::generate().public_key()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_when_it_is_told_to_waiting_or_not() {
    let dir = tempfile::tempdir().expect("folder");
    let mut fake = Fake::start(None).await;
    let mint = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    mint.terminate();
    let (content, log) = mint.ended().await;
    assert!(content, "{log}");
    fake.stop().await;
    let (mint, _said) = Mint::launch(dir.path(), fake.address, &["--insecure"]);
    until("it waits", || async { mint.log().contains("waiting") }).await;
    mint.terminate();
    let (content, log) = mint.ended().await;
    assert!(content, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pays_over_mutual_tls_with_the_certificates_of_the_script() {
    let dir = tempfile::tempdir().expect("folder");
    let tls = certificates(&dir.path().join("tls"), &["127.0.0.1"]);
    let fake = Fake::start(Some(&tls)).await;
    let mint =
        Mint::start(&dir.path().join("mint"), fake.address, &["--tls-dir", text(&tls)]).await;
    let id = mint.quote(SecretKey::generate().public_key()).await;
    fake.pay(&id, "gp1c:a", 3).await;
    mint.until_paid(&id, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_processor_of_another_authority() {
    let dir = tempfile::tempdir().expect("folder");
    let ours = certificates(&dir.path().join("ours"), &["127.0.0.1"]);
    let theirs = certificates(&dir.path().join("theirs"), &["127.0.0.1"]);
    let fake = Fake::start(Some(&theirs)).await;
    let data = dir.path().join("mint");
    let (mint, said) = Mint::launch(&data, fake.address, &["--tls-dir", text(&ours)]);
    until("it says why", || async { mint.log().contains("certificate") }).await;
    assert!(said.try_recv().is_err(), "it serves nobody");
    // In the clear it is no better.
    mint.kill();
    let (mint, said) = Mint::launch(&data, fake.address, &["--insecure"]);
    until("it waits", || async { mint.log().contains("waiting") }).await;
    assert!(said.try_recv().is_err(), "it serves nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_processor_that_pays_in_another_unit() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::paying_in("sat", None).await;
    let (mint, _said) = Mint::launch(dir.path(), fake.address, &["--insecure"]);
    let (content, log) = mint.ended().await;
    assert!(!content && log.contains("pays in \"sat\"") && log.contains("--unit"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_a_second_mint_of_the_same_folder() {
    let dir = tempfile::tempdir().expect("folder");
    let fake = Fake::start(None).await;
    let first = Mint::start(dir.path(), fake.address, &["--insecure"]).await;
    let (second, _said) = Mint::launch(dir.path(), fake.address, &["--insecure"]);
    let (content, log) = second.ended().await;
    assert!(!content && log.contains("another mint runs with"), "{log}");
    drop(first);
    Mint::start(dir.path(), fake.address, &["--insecure"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_to_start_without_saying_how_the_processor_is_trusted() {
    let dir = tempfile::tempdir().expect("folder");
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let (mint, _said) = Mint::launch(dir.path(), nowhere, &[]);
    let (content, log) = mint.ended().await;
    assert!(!content && log.contains("--tls-dir") && log.contains("--insecure"), "{log}");
    let away = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
    let (mint, _said) = Mint::launch(dir.path(), away, &["--insecure"]);
    let (content, log) = mint.ended().await;
    assert!(!content && log.contains("use --tls-dir"), "{log}");
}
