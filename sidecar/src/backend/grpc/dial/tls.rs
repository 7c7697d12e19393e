//! Mutual TLS 1.3 towards the pool: files to a session, and what went wrong in words.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, PeerIncompatible, RootCertStore,
};
use tokio_rustls::TlsConnector;

use super::LinkError;
use crate::config::PoolTls;
use crate::keys::{KeyError, KeyFile};

/// Longest file that is read, in bytes. A bundle of all public authorities has about 220,000.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Name of HTTP/2 in the handshake (RFC 9113, 3.2).
const HTTP2: &[u8] = b"h2";

/// Makes a session on a connection. The files are read anew each time, so that one that was
/// replaced counts from the next connection on.
pub(super) async fn connect(
    tls: &PoolTls,
    name: &str,
    address: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let name = ServerName::try_from(name.to_owned()).map_err(|error| LinkError::File {
        key: "server_name",
        fault: format!("{error}: write a DNS name or an IP address"),
    })?;
    let files = tls.clone();
    let config = tokio::task::spawn_blocking(move || client_config(&files)).await;
    let config = config.map_err(|error| LinkError::Tls {
        address: address.to_owned(),
        what: error.to_string(),
    })??;
    let connector = TlsConnector::from(Arc::new(config));
    let stream =
        connector.connect(name, stream).await.map_err(|error| in_handshake(address, &error))?;
    match stream.get_ref().1.alpn_protocol() {
        Some(HTTP2) => Ok(stream),
        _ => Err(LinkError::NotHttp2(address.to_owned())),
    }
}

/// Reads the three files. Blocks on the disk.
pub(super) fn client_config(tls: &PoolTls) -> Result<ClientConfig, LinkError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", tls.ca_file.as_deref())? {
        roots.add(certificate).map_err(|error| LinkError::File {
            key: "ca_file",
            fault: format!("holds a certificate that is no authority's ({error}): replace it"),
        })?;
    }
    let chain = certificates("certificate_file", tls.certificate_file.as_deref())?;
    let key = private_key(tls.key_file.as_ref())?;
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13]);
    let ours = |error: Error| match error {
        Error::InconsistentKeys(_) => LinkError::KeyMismatch,
        error => LinkError::File {
            key: "certificate_file",
            fault: format!("can't be used with key_file ({error}): make both as docs/link.md says"),
        },
    };
    let mut config = versions
        .map_err(ours)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(ours)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // Each connection shows its certificates: what was replaced or expired meanwhile counts.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The certificates of a file, at least one.
fn certificates(
    key: &'static str,
    path: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let fault = |fault: String| LinkError::File { key, fault };
    let Some(path) = path else {
        return Err(fault("is not set: name the file".to_owned()));
    };
    let shown = path.display();
    let bytes = read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fault(format!("{shown}: no such file: docs/link.md makes one")),
        io::ErrorKind::PermissionDenied => {
            fault(format!("{shown}: permission denied: let this process's user read it"))
        }
        _ => fault(format!("{shown}: can't be read: {error}")),
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(fault(format!("{shown}: holds no certificate in PEM"))),
        Err(error) => Err(fault(format!("{shown}: is damaged PEM ({error}): copy it anew"))),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("is longer than any file of certificates"));
    }
    Ok(bytes)
}

fn private_key(file: Option<&KeyFile>) -> Result<PrivateKeyDer<'static>, LinkError> {
    let fault = |fault: String| LinkError::File { key: "key_file", fault };
    let Some(file) = file else { return Err(fault("is not set: name the file".to_owned())) };
    let secret = file.read(FILE_BYTES_MAX).map_err(|error| match error {
        KeyError::Missing(path) => {
            fault(format!("{}: no such file: docs/link.md makes one", path.display()))
        }
        error => LinkError::Key(error),
    })?;
    PrivateKeyDer::from_pem_slice(secret.bytes()).map_err(|error| match error {
        PemError::NoItemsFound => fault(format!(
            "{file}: holds no private key in PEM that can be used (one with a passphrase can't)"
        )),
        error => fault(format!("{file}: is damaged PEM ({error}): copy it anew")),
    })
}

/// What ended a handshake.
fn in_handshake(address: &str, error: &io::Error) -> LinkError {
    match rustls_error(error) {
        Some(error) => explain(address, error),
        None => LinkError::HandshakeCut(address.to_owned()),
    }
}

/// The TLS error inside an I/O error.
pub(super) fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// A TLS error in words: what the pool said, or what is wrong with what it showed.
pub(super) fn explain(address: &str, error: &Error) -> LinkError {
    let (address, what) = (address.to_owned(), error.to_string());
    match error {
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            LinkError::NotTls { address, what }
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            LinkError::TlsTooOld { address, what }
        }
        Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            LinkError::NotHttp2(address)
        }
        Error::InvalidCertificate(fault) => certificate(address, fault),
        Error::AlertReceived(alert) => refused(address, *alert),
        _ => LinkError::Tls { address, what },
    }
}

/// What is wrong with the pool's certificate.
fn certificate(address: String, fault: &CertificateError) -> LinkError {
    let what = fault.to_string();
    match fault {
        // The second one: an authority of the same name with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            LinkError::WrongAuthority(address)
        }
        // rustls' own words hold the present time: they would differ at each attempt, and the log
        // would repeat them.
        CertificateError::ExpiredContext { not_after, .. } => {
            LinkError::Expired { address, date: date(*not_after) }
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            LinkError::NotYetValid { address, date: date(*not_before) }
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = match presented.is_empty() {
                true => "no name at all (a subject alternative name counts, a common name doesn't)"
                    .to_owned(),
                false => presented.join(", "),
            };
            LinkError::WrongName { address, wanted: expected.to_str().into_owned(), presented }
        }
        _ => LinkError::BadCertificate { address, what },
    }
}

/// What the pool says of ours.
fn refused(address: String, alert: AlertDescription) -> LinkError {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            LinkError::OursMissing(address)
        }
        // The second one: the signature is not of the authority that the pool knows by that name.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            LinkError::OursUnknown(address)
        }
        AlertDescription::CertificateExpired => LinkError::OursExpired(address),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            LinkError::OursRefused { address, alert: format!("{alert:?}") }
        }
        alert => LinkError::Tls { address, what: format!("TLS alert {alert:?}") },
    }
}

/// The day of a time, in UTC: 2026-11-21.
fn date(time: UnixTime) -> String {
    // The Gregorian calendar repeats after 400 years, or 146,097 days; its year begins in March
    // here, so that the odd day is the last one. 719,468 days lie between 0000-03-01 and 1970.
    let days = time.as_secs() / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{}-{month:02}-{day:02}", era * 400 + year + later)
}

#[cfg(test)]
mod authority;
#[cfg(test)]
mod tests;
