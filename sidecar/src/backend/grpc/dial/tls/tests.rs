//! Every way the handshake with the pool can fail, and the cause its message names.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::super::Dialer;
use super::authority::{pem, Authority, Files, Papers, EXPIRED, FUTURE, GOOD};
use super::*;
use crate::backend::link::Greeting;
use crate::config::{Pool, PoolAddress};

/// What a test dials: the authorities, the papers of both ends, and the sidecar's files.
struct Rig {
    /// The one the sidecar trusts.
    trusted: Authority,
    files: Files,
    tls: PoolTls,
}

impl Rig {
    fn new(name: &str) -> Self {
        let trusted = Authority::new();
        let files = Files::new(name, &trusted, &trusted.sign("sidecar", GOOD));
        let tls = files.settings();
        Self { trusted, files, tls }
    }

    /// Dials once whoever `serve` makes of the accepted connection.
    async fn dial<F: Future<Output = ()>>(&self, serve: impl FnOnce(TcpStream) -> F) -> LinkError {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = async {
            serve(listener.accept().await.unwrap().0).await;
            std::future::pending::<()>().await;
        };
        let dialer = self.dialer(port);
        tokio::select! {
            () = serving => unreachable!("it never ends"),
            result = dialer.dial(Greeting::default()) => result.unwrap_err(),
        }
    }

    fn dialer(&self, port: u16) -> Dialer {
        let address = PoolAddress::Tls { host: "127.0.0.1".to_owned(), port };
        let pool =
            Pool { address, tls: self.tls.clone(), connect_timeout_ms: 20_000, ..Pool::default() };
        Dialer::new(&pool, 16)
    }

    /// As [`Rig::dial`], a server that shows `papers` and trusts `clients`.
    async fn meet(&self, papers: &Papers, clients: &Authority) -> LinkError {
        self.meet_with(papers, clients, HTTP2).await
    }

    async fn meet_with(&self, papers: &Papers, clients: &Authority, alpn: &[u8]) -> LinkError {
        let mut roots = RootCertStore::empty();
        roots.add(clients.certificate()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![papers.certificate.clone()], papers.key())
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        self.dial(|stream| async move { drop(acceptor.accept(stream).await) }).await
    }

    async fn meet_good(&self) -> LinkError {
        self.meet(&self.trusted.sign("127.0.0.1", GOOD), &self.trusted).await
    }
}

macro_rules! assert_is {
    ($error:expr, $pattern:pat, $text:expr) => {
        let error = $error;
        assert!(matches!(error, $pattern), "{error:?}");
        assert!(error.to_string().contains($text), "{error}");
    };
}

#[tokio::test]
async fn tells_what_is_wrong_with_the_pools_certificate() {
    let rig = Rig::new("theirs");
    let show = |name, years| rig.trusted.sign(name, years);
    let error = rig.meet(&show("127.0.0.1", EXPIRED), &rig.trusted).await;
    assert_is!(error, LinkError::Expired { .. }, "has expired on 2002-01-01: renew");
    let error = rig.meet(&show("127.0.0.1", FUTURE), &rig.trusted).await;
    assert_is!(error, LinkError::NotYetValid { .. }, "is not valid before 3999-01-01");
    let error = rig.meet(&show("pool.example", GOOD), &rig.trusted).await;
    assert_is!(error, LinkError::WrongName { .. }, "pool.example\"), not for 127.0.0.1");
    // Of the same name, with another key.
    let error = rig.meet(&Authority::new().sign("127.0.0.1", GOOD), &rig.trusted).await;
    assert_is!(error, LinkError::WrongAuthority(_), "not signed by the authority");
    // With these faults out of the way the handshake is good, and the server just hangs up.
    assert_is!(rig.meet_good().await, LinkError::HungUp(_), "closed the connection");
}

#[tokio::test]
async fn expects_the_name_that_is_set() {
    let mut rig = Rig::new("name");
    rig.tls.server_name = Some("pool.example".to_owned());
    let error = rig.meet(&rig.trusted.sign("pool.example", GOOD), &rig.trusted).await;
    assert_is!(error, LinkError::HungUp(_), "closed the connection");
    assert_is!(rig.meet_good().await, LinkError::WrongName { .. }, "not for pool.example");
}

#[tokio::test]
async fn hears_why_the_pool_refuses_ours_after_the_handshake() {
    let mut rig = Rig::new("ours");
    let server = rig.trusted.sign("127.0.0.1", GOOD);
    let error = rig.meet(&server, &Authority::new()).await;
    assert_is!(error, LinkError::OursUnknown(_), "does not know the authority that signed our");
    for years in [EXPIRED, FUTURE] {
        let files = Files::new("ours-old", &rig.trusted, &rig.trusted.sign("sidecar", years));
        rig.tls = files.settings();
        let error = rig.meet(&server, &rig.trusted).await;
        assert_is!(error, LinkError::OursExpired(_), "has expired or is not valid yet");
    }
}

#[test]
fn knows_every_alert_about_our_certificate() {
    let said = |alert| explain("tls:a:1", &Error::AlertReceived(alert));
    assert_is!(said(AlertDescription::CertificateRequired), LinkError::OursMissing(_), "got none");
    assert_is!(said(AlertDescription::UnknownCA), LinkError::OursUnknown(_), "signed our");
    assert_is!(said(AlertDescription::CertificateExpired), LinkError::OursExpired(_), "renew it");
    for alert in [AlertDescription::BadCertificate, AlertDescription::AccessDenied] {
        assert_is!(said(alert), LinkError::OursRefused { .. }, "refuses our certificate");
    }
    assert_is!(said(AlertDescription::InternalError), LinkError::Tls { .. }, "InternalError");
}

#[tokio::test]
async fn tells_what_speaks_no_tls_and_what_speaks_an_old_one() {
    let rig = Rig::new("plain");
    let settings: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 64];
    for plain in [settings, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n"] {
        let error = rig
            .dial(|mut stream| async move {
                stream.write_all(plain).await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
            })
            .await;
        assert_is!(error, LinkError::NotTls { .. }, "does not speak TLS");
    }
    // Alert 70, protocol_version, as servers without TLS 1.3 send it (RFC 8446, 4.2.1).
    let error = rig
        .dial(|mut stream| async move {
            stream.write_all(&[21, 3, 3, 0, 2, 2, 70]).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
    assert_is!(error, LinkError::TlsTooOld { .. }, "no TLS 1.3");
    let error = rig.dial(|stream| async move { drop(stream) }).await;
    assert_is!(error, LinkError::HandshakeCut(_), "in the middle of the TLS handshake");
    let server = rig.trusted.sign("127.0.0.1", GOOD);
    let error = rig.meet_with(&server, &rig.trusted, b"http/1.1").await;
    assert_is!(error, LinkError::NotHttp2(_), "not HTTP/2");
}

#[tokio::test]
async fn tells_a_closed_port_from_a_silent_one_and_from_no_host() {
    let mut rig = Rig::new("port");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = rig.dialer(port).dial(Greeting::default()).await.unwrap_err();
    assert_is!(error, LinkError::PortClosed(_), "refuses connections");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut dialer = rig.dialer(listener.local_addr().unwrap().port());
    dialer.pool.connect_timeout_ms = 200;
    let error = dialer.dial(Greeting::default()).await.unwrap_err();
    assert_is!(error, LinkError::HandshakeSilent { .. }, "did not answer the TLS handshake");

    // No resolver is asked for this one.
    let mut dialer = rig.dialer(1);
    dialer.pool.address = PoolAddress::Tls { host: "no\0host".to_owned(), port: 1 };
    let error = dialer.dial(Greeting::default()).await.unwrap_err();
    assert_is!(error, LinkError::NoHost { .. }, "can't be resolved");

    rig.tls.server_name = Some("no host".to_owned());
    assert_is!(rig.meet_good().await, LinkError::File { key: "server_name", .. }, "DNS name");
}

#[test]
fn names_days_as_the_calendar_does() {
    let days = [
        (0, "1970-01-01"),
        (951_782_399, "2000-02-28"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_798_761_599, "2026-12-31"),
        (1_798_761_600, "2027-01-01"),
        (4_107_542_400, "2100-03-01"),
        (253_402_300_799, "9999-12-31"),
    ];
    for (seconds, want) in days {
        assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(seconds))), want);
    }
}

/// The error that the files of `tls` lead to.
fn fault(tls: &PoolTls) -> LinkError {
    client_config(tls).map(|_| ()).unwrap_err()
}

#[test]
fn names_the_file_that_can_not_be_used_and_why() {
    let rig = Rig::new("files");
    let path = |name: &str| rig.files.path(name);
    assert!(client_config(&rig.tls).is_ok());
    let none = PoolTls { ca_file: None, ..rig.tls.clone() };
    assert_is!(fault(&none), LinkError::File { key: "ca_file", .. }, "is not set");

    let change = |name: &str, text: &str, key: &str, want: &str| {
        let kept = fs::read_to_string(path(name)).unwrap();
        rig.files.write(name, text);
        let error = fault(&rig.tls).to_string();
        assert!(error.starts_with(&format!("[pool.tls].{key}")), "{error}");
        assert!(error.contains(want), "{error:?} lacks {want:?}");
        rig.files.write(name, &kept);
    };
    change("ca.pem", "", "ca_file", "holds no certificate in PEM");
    change("ca.pem", "-----BEGIN CERTIFICATE-----\nAA", "ca_file", "is damaged PEM");
    change("ca.pem", &pem("CERTIFICATE", b"x"), "ca_file", "is no authority's");
    change("sidecar.pem", &"\n".repeat(1 << 21), "certificate_file", "is longer than");
    change("sidecar.pem", &pem("CERTIFICATE", b"x"), "certificate_file", "can't be used");
    change("sidecar.key", "", "key_file", "holds no private key in PEM");
    change("sidecar.key", &pem("ENCRYPTED PRIVATE KEY", b"x"), "key_file", "passphrase");
    let other = rig.trusted.sign("sidecar", GOOD);
    change("sidecar.key", &pem("PRIVATE KEY", &other.key), "key_file is not the key of", "");

    for (name, key) in [("ca.pem", "ca_file"), ("sidecar.pem", "certificate_file")] {
        let kept: PathBuf = path("kept");
        fs::rename(path(name), &kept).unwrap();
        let error = fault(&rig.tls).to_string();
        assert!(error.contains(key) && error.contains("no such file"), "{error}");
        fs::create_dir(path(name)).unwrap();
        let error = fault(&rig.tls).to_string();
        assert!(error.contains("is not a regular file"), "{error}");
        fs::remove_dir(path(name)).unwrap();
        fs::rename(&kept, path(name)).unwrap();
    }
    fs::set_permissions(path("sidecar.key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_is!(fault(&rig.tls), LinkError::Key(_), "mode 0640 lets other users in");
    fs::remove_file(path("sidecar.key")).unwrap();
    assert_is!(fault(&rig.tls), LinkError::File { key: "key_file", .. }, "no such file");
}

#[tokio::test]
async fn reads_the_files_at_each_attempt() {
    let rig = Rig::new("again");
    assert_is!(rig.meet_good().await, LinkError::HungUp(_), "");
    let other = Authority::new();
    rig.files.write("ca.pem", &pem("CERTIFICATE", &other.certificate()));
    assert_is!(rig.meet_good().await, LinkError::WrongAuthority(_), "");
    // A file may hold several: both trusted while one is replaced by the other.
    let both =
        pem("CERTIFICATE", &other.certificate()) + &pem("CERTIFICATE", &rig.trusted.certificate());
    rig.files.write("ca.pem", &both);
    assert_is!(rig.meet_good().await, LinkError::HungUp(_), "");
}
