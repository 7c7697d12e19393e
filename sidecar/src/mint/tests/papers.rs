//! Authorities and certificates of the tests, made anew each time, and directories of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::ServerConfig;

/// An authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for 127.0.0.1 and its key.
    fn sign(&self) -> (rcgen::Certificate, KeyPair) {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// For an https server.
    pub(super) fn https(&self) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }
}

/// A directory that goes away with this.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("gsv2-mint-{name}-{}", std::process::id());
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).unwrap();
        directory
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
        self.mode(name, 0o600);
    }

    pub(super) fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).unwrap();
    }

    /// Writes `ca.pem`.
    pub(super) fn trust(&self, authority: &Authority) {
        self.write("ca.pem", &pem("CERTIFICATE", authority.0.der()));
    }

    /// Writes a certificate and its key, of `server` or `client`; answers the SHA-256 of the
    /// certificate.
    pub(super) fn show(&self, whose: &str, authority: &Authority) -> [u8; 32] {
        let (certificate, key) = authority.sign();
        self.write(&format!("{whose}.pem"), &pem("CERTIFICATE", certificate.der()));
        self.write(&format!("{whose}.key"), &pem("PRIVATE KEY", &key.serialize_der()));
        Sha256::digest(certificate.der()).into()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// PEM (RFC 7468), on one line of base64 for each 48 bytes.
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut lines = vec![format!("-----BEGIN {label}-----")];
    for line in der.chunks(48) {
        let quads = line.chunks(3).flat_map(|three| {
            let bits = three
                .iter()
                .enumerate()
                .fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
            let digit = move |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            (0..4).map(move |at| if at <= three.len() { digit(at) } else { '=' })
        });
        lines.push(quads.collect());
    }
    lines.push(format!("-----END {label}-----\n"));
    lines.join("\n")
}
