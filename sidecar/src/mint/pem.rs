//! Files of certificates and keys, read with errors that name the file and the remedy.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::RootCertStore;

use crate::keys::{KeyError, KeyFile};

/// Longest file that is read, in bytes. A bundle of all public authorities has about 220,000.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// There is no such file.
    #[error("{0}: no such file: docs/mint.md says how to make it")]
    Missing(PathBuf),
    /// This process may not read it.
    #[error("{0}: permission denied: let this process's user read it")]
    Permission(PathBuf),
    /// It can't be read.
    #[error("{path}: can't be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is something else in it.
    #[error("{path}: {fault}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        fault: String,
    },
    /// The private key can't be read, or others can read it.
    #[error("{0}")]
    Key(KeyError),
}

/// The certificates of a file, at least one. Blocks on the disk.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let content = |fault: String| PemError::Content { path: path.to_path_buf(), fault };
    let bytes = read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PemError::Missing(path.to_path_buf()),
        io::ErrorKind::PermissionDenied => PemError::Permission(path.to_path_buf()),
        _ => PemError::Unreadable { path: path.to_path_buf(), error },
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(content("holds no certificate in PEM".to_owned())),
        Err(error) => Err(content(format!("is damaged PEM ({error}): copy it anew"))),
    }
}

/// The authorities of a file, at least one. Blocks on the disk.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| PemError::Content {
            path: path.to_path_buf(),
            fault: format!("holds a certificate that is no authority's ({error}): replace it"),
        })?;
    }
    Ok(roots)
}

/// The private key of a file of mode 0600. Blocks on the disk.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let file = KeyFile::Path(path.to_path_buf());
    let secret = file.read(FILE_BYTES_MAX).map_err(|error| match error {
        KeyError::Missing(path) => PemError::Missing(path),
        error => PemError::Key(error),
    })?;
    PrivateKeyDer::from_pem_slice(secret.bytes()).map_err(|_| PemError::Content {
        path: path.to_path_buf(),
        fault: "holds no private key in PEM that can be used: make it anew".to_owned(),
    })
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
