//! The link over TCP with certificates: good ones carry shares, and of bad ones the log of the
//! sidecar says what is wrong, until they are replaced.

use std::fs;
use std::future::pending;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use gopool_sv2::miner::{self, ChannelKind};
use gopool_sv2_tests::{Line, LineOptions, Tcp};
use rcgen::{
    date_time_ymd, BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use tempfile::TempDir;

use crate::block_on;
use crate::peer::Peer;

/// From and until which year a certificate is valid.
type Years = (i32, i32);

const GOOD: Years = (2020, 4000);
const EXPIRED: Years = (2001, 2002);

/// An authority and the files of both ends.
struct Office {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Office {
    /// All files are good.
    fn new() -> Self {
        let office = Self { directory: TempDir::new().unwrap(), authority: authority() };
        office.write("ca.pem", "CERTIFICATE", office.authority.der());
        office.certify("pool", "127.0.0.1", GOOD);
        office.certify("sidecar", "sidecar.example", GOOD);
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file in one step.
    fn write(&self, name: &str, label: &str, der: &[u8]) {
        let next = self.path("next");
        fs::write(&next, pem(label, der)).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&next, self.path(name)).unwrap();
    }

    /// Makes the certificate and the key of an end.
    fn certify(&self, end: &str, name: &str, years: Years) {
        self.certify_by(&self.authority, end, name, years);
    }

    fn certify_by(
        &self,
        authority: &CertifiedIssuer<'static, KeyPair>,
        end: &str,
        name: &str,
        (from, until): Years,
    ) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, end);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        self.write(&format!("{end}.pem"), "CERTIFICATE", certificate.der());
        self.write(&format!("{end}.key"), "PRIVATE KEY", key.serialized_der());
    }

    /// A line between the two ends; `up`: the files are good.
    fn line(&self, up: bool, more: &[&str]) -> Line {
        let path = |name: &str| self.path(name).display().to_string();
        let flags = ["-tls-ca", &path("ca.pem"), "-tls-cert", &path("pool.pem"), "-tls-key"];
        let mut minipool: Vec<String> = flags.map(str::to_owned).to_vec();
        minipool.push(path("pool.key"));
        minipool.extend(more.iter().map(|flag| (*flag).to_owned()));
        let pool = format!(
            "[pool.tls]\nca_file = \"{}\"\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
            path("sidecar-ca.pem"),
            path("sidecar.pem"),
            path("sidecar.key"),
        );
        // The sidecar's view of the authority is a file of its own.
        if !self.path("sidecar-ca.pem").exists() {
            self.write("sidecar-ca.pem", "CERTIFICATE", self.authority.der());
        }
        Line::start(LineOptions {
            minipool: vec!["-share-seconds".into(), "0.05".into()],
            tcp: Some(Tcp { kind: "tls", minipool, pool, up }),
            ..LineOptions::default()
        })
        .unwrap()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                text.push(match digit <= three.len() {
                    true => char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]),
                    false => '=',
                });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// Mines some shares, and checks that the pool booked what the miner was told.
fn mines(line: Line) {
    let summary = block_on(async {
        let mut options = line.miner("miner").unwrap();
        options.kind = ChannelKind::Extended;
        options.share_limit = Some(40);
        miner::run(options, pending()).await.unwrap()
    });
    assert!(summary.accepted >= 20, "{summary}");
    let stopped = line.stop().unwrap();
    assert_eq!(stopped.books("minipool").unwrap().accepted(), summary.accepted);
    assert_eq!(stopped.books("sidecar").unwrap().accepted(), summary.accepted);
}

/// The sidecar and the pool say what is wrong, and nobody mines; after the remedy the link comes up
/// without a restart of either.
fn recovers(mut line: Line, sidecar_says: &str, pool_says: &str, remedy: impl FnOnce()) {
    line.sidecar.wait_for(sidecar_says).unwrap();
    line.pool.as_mut().unwrap().wait_for(pool_says).unwrap();
    let error = block_on(Peer::mining(&line, "w")).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("backend-unavailable"), "{error}");
    remedy();
    line.sidecar.wait_for("link to the pool is up").unwrap();
    let (_, channel) = block_on(Peer::mining(&line, "w")).unwrap();
    assert_eq!(channel.extranonce_size, 8);
    line.stop().unwrap();
}

#[test]
fn mines_over_mutual_tls_and_survives_the_death_of_the_pool() {
    let office = Office::new();
    let mut line = office.line(true, &["-tls-name", "sidecar"]);
    line.pool.take().unwrap().kill().unwrap();
    line.sidecar.wait_for("refuses connections").unwrap();
    line.start_pool().unwrap();
    line.sidecar.wait_for_nth("link to the pool is up", 2).unwrap();
    mines(line);
}

#[test]
fn mines_over_plain_tcp_on_this_machine_when_asked() {
    let line = Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.05".into()],
        tcp: Some(Tcp {
            kind: "tcp",
            minipool: vec!["-allow-plain-tcp".into()],
            pool: "allow_plain_tcp = true\n".into(),
            up: true,
        }),
        ..LineOptions::default()
    });
    mines(line.unwrap());
}

#[test]
fn rejects_a_pool_of_another_authority() {
    let office = Office::new();
    office.write("sidecar-ca.pem", "CERTIFICATE", authority().der());
    let said = "the pool's certificate is not signed by the authority in [pool.tls].ca_file";
    recovers(office.line(false, &[]), said, "refused a TLS connection", || {
        office.write("sidecar-ca.pem", "CERTIFICATE", office.authority.der());
    });
}

#[test]
fn rejects_a_pool_whose_certificate_has_expired() {
    let office = Office::new();
    office.certify("pool", "127.0.0.1", EXPIRED);
    let said = "the pool's certificate has expired on 2002-01-01: renew";
    recovers(office.line(false, &[]), said, "sidecars refuse it: renew it", || {
        office.certify("pool", "127.0.0.1", GOOD);
    });
}

#[test]
fn rejects_a_pool_of_another_name() {
    let office = Office::new();
    office.certify("pool", "other.example", GOOD);
    let said = "not for 127.0.0.1: write a name that it holds into [pool.tls].server_name";
    recovers(office.line(false, &[]), said, "refused a TLS connection", || {
        office.certify("pool", "127.0.0.1", GOOD);
    });
}

#[test]
fn names_the_certificate_that_is_not_there() {
    let office = Office::new();
    fs::remove_file(office.path("sidecar.pem")).unwrap();
    let said = "sidecar.pem: no such file";
    recovers(office.line(false, &[]), said, "minipool is ready", || {
        office.certify("sidecar", "sidecar.example", GOOD);
    });
}

#[test]
fn names_the_key_that_others_can_read() {
    let office = Office::new();
    let mode = |mode| {
        let open = fs::Permissions::from_mode(mode);
        fs::set_permissions(office.path("sidecar.key"), open).unwrap();
    };
    mode(0o644);
    let said = "mode 0644 lets other users in: run `chmod 600` on it";
    recovers(office.line(false, &[]), said, "minipool is ready", || mode(0o600));
}

#[test]
fn hears_that_its_own_certificate_has_expired() {
    let office = Office::new();
    office.certify("sidecar", "sidecar.example", EXPIRED);
    let said = "the pool says that our certificate ([pool.tls].certificate_file) has expired";
    recovers(office.line(false, &[]), said, "certificate has expired or is not yet valid", || {
        office.certify("sidecar", "sidecar.example", GOOD);
    });
}

#[test]
fn hears_that_the_pool_trusts_another_authority() {
    let office = Office::new();
    office.certify_by(&authority(), "sidecar", "sidecar.example", GOOD);
    let said = "the pool does not know the authority that signed our certificate";
    recovers(office.line(false, &[]), said, "certificate signed by unknown authority", || {
        office.certify("sidecar", "sidecar.example", GOOD);
    });
}

#[test]
fn hears_that_its_name_is_not_allowed() {
    let office = Office::new();
    let line = office.line(false, &["-tls-name", "edge-1.example"]);
    recovers(line, "the pool refuses our certificate", "sidecar.example", || {
        office.certify("sidecar", "edge-1.example", GOOD);
    });
}
