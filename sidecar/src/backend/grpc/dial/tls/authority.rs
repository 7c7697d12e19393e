//! Authorities and certificates of the tests, made anew each time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{
    date_time_ymd, BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::PoolTls;
use crate::keys::KeyFile;

/// From and until which year a certificate is valid.
pub(super) type Years = (i32, i32);

pub(super) const GOOD: Years = (2020, 4000);
pub(super) const EXPIRED: Years = (2001, 2002);
pub(super) const FUTURE: Years = (3999, 4000);

/// An authority. All have the same name, as those that were made by the same commands.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in DER.
pub(super) struct Papers {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: Vec<u8>,
}

impl Papers {
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(super) fn sign(&self, name: &str, (from, until): Years) -> Papers {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().der().clone();
        Papers { certificate, key: key.serialize_der() }
    }
}

/// The files of one sidecar, in a directory of their own that goes away with them.
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(name: &str, authority: &Authority, ours: &Papers) -> Self {
        let name = format!("gsv2-tls-{name}-{}", std::process::id());
        let files = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&files.0).unwrap();
        files.write("ca.pem", &pem("CERTIFICATE", &authority.certificate()));
        files.write("sidecar.pem", &pem("CERTIFICATE", &ours.certificate));
        files.write("sidecar.key", &pem("PRIVATE KEY", &ours.key));
        files
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn settings(&self) -> PoolTls {
        PoolTls {
            ca_file: Some(self.path("ca.pem")),
            certificate_file: Some(self.path("sidecar.pem")),
            key_file: Some(KeyFile::Path(self.path("sidecar.key"))),
            server_name: None,
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// PEM (RFC 7468).
pub(super) fn pem(label: &str, der: &[u8]) -> String {
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
