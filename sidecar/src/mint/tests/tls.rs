//! Who is let in to the processor.

use std::sync::atomic::Ordering::Relaxed;

use super::papers::{Authority, Directory};
use super::*;

/// Files of a processor and of a mint that know each other.
struct Files {
    authority: Authority,
    ours: Directory,
    mint: Directory,
    sha256: [u8; 32],
}

impl Files {
    fn new(name: &str) -> Self {
        let authority = Authority::new();
        let ours = Directory::new(&format!("{name}-ours"));
        let mint = Directory::new(&format!("{name}-mint"));
        ours.trust(&authority);
        mint.trust(&authority);
        ours.show("server", &authority);
        let sha256 = mint.show("client", &authority);
        Self { authority, ours, mint, sha256 }
    }

    fn settings(&self, client_sha256: Option<[u8; 32]>) -> Settings {
        let directory = self.ours.path().to_path_buf();
        Settings { security: Security::Mutual { directory, client_sha256 }, ..settings() }
    }

    async fn open(&self, pin: Option<[u8; 32]>) -> Endpoint {
        Endpoint::open(&Arc::new(Books::default()), self.settings(pin)).await.unwrap()
    }

    async fn fault(&self) -> String {
        let opened = Endpoint::open(&Arc::new(Books::default()), self.settings(None)).await;
        opened.err().expect("it must not open").to_string()
    }

    async fn mint(&self, endpoint: &Endpoint) -> Result<FakeMint, String> {
        let tls_dir = Some(self.mint.path().to_path_buf());
        let settings = Mint { tls_dir, ..Mint::new(endpoint.address) };
        soon(FakeMint::start(settings, Database::default())).await
    }
}

#[tokio::test]
async fn takes_a_mint_with_the_certificate_that_is_pinned() {
    let files = Files::new("pinned");
    for pin in [None, Some(files.sha256)] {
        let endpoint = files.open(pin).await;
        let mint = files.mint(&endpoint).await.unwrap();
        soon(mint.until(|seen| seen.streams == 1)).await;
    }
    let endpoint = files.open(Some([0; 32])).await;
    files.mint(&endpoint).await.unwrap_err();
    assert!(endpoint.figures.failed_connections.load(Relaxed) > 0);
    assert_eq!(endpoint.figures.settings.load(Relaxed), 0);
}

#[tokio::test]
async fn rejects_a_mint_without_a_certificate_or_of_another_authority() {
    let files = Files::new("strangers");
    let endpoint = files.open(None).await;
    files.mint.show("client", &Authority::new());
    files.mint(&endpoint).await.unwrap_err();
    files.mint.remove("client.pem");
    files.mint(&endpoint).await.unwrap_err();
    let plain = Mint::new(endpoint.address);
    soon(FakeMint::start(plain, Database::default())).await.unwrap_err();
    assert_eq!(endpoint.figures.settings.load(Relaxed), 0);
    files.mint.show("client", &files.authority);
    files.mint(&endpoint).await.unwrap();
}

#[tokio::test]
async fn reads_certificates_anew_for_each_connection() {
    let files = Files::new("anew");
    let endpoint = files.open(None).await;
    files.mint(&endpoint).await.unwrap();
    // A new authority for both.
    let next = Authority::new();
    files.ours.trust(&next);
    files.mint(&endpoint).await.unwrap_err();
    files.mint.show("client", &next);
    files.ours.show("server", &next);
    files.mint.trust(&next);
    files.mint(&endpoint).await.unwrap();
    // Half written: the last good ones serve.
    files.ours.write("server.pem", "-----BEGIN CERTIFICATE-----\n");
    files.mint(&endpoint).await.unwrap();
}

#[tokio::test]
async fn names_the_file_that_is_wrong() {
    let files = Files::new("wrong");
    files.ours.mode("server.key", 0o644);
    assert!(files.fault().await.contains("server.key"));
    files.ours.mode("server.key", 0o600);
    files.ours.write("server.key", "nothing");
    assert!(files.fault().await.contains("server.key"));
    files.ours.show("server", &files.authority);
    files.ours.write("ca.pem", "nothing");
    let fault = files.fault().await;
    assert!(fault.contains("ca.pem") && fault.contains("no certificate"), "{fault}");
    files.ours.remove("ca.pem");
    let fault = files.fault().await;
    assert!(fault.contains("ca.pem") && fault.contains("no such file"), "{fault}");
    files.ours.trust(&files.authority);
    let pem = std::fs::read_to_string(files.mint.path().join("client.pem")).unwrap();
    files.ours.write("server.pem", &pem);
    assert!(files.fault().await.contains("make both together"));
}

#[tokio::test]
async fn rejects_settings_that_let_strangers_pay() {
    let open = SocketAddr::from(([0, 0, 0, 0], 0));
    let books = Arc::new(Books::default());
    let opened = Endpoint::open(&books, Settings { listen: open, ..settings() }).await;
    assert!(matches!(opened.err(), Some(OpenError::PlainForOthers(address)) if address == open));
    for (unit, method) in [("HASH", "ehash"), ("", "ehash"), ("hash", "e hash")] {
        let named = Settings { unit: unit.into(), method: method.into(), ..settings() };
        assert!(matches!(named.check(), Err(OpenError::Name { .. })), "{unit} {method}");
    }
    let first = Endpoint::open(&books, settings()).await.unwrap();
    let taken = Settings { listen: first.address, ..settings() };
    let error = Endpoint::open(&books, taken).await.err().unwrap();
    assert!(error.to_string().contains(&first.address.to_string()), "{error}");
}
