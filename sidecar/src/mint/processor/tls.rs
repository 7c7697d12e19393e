//! Mutual TLS 1.3: three files to a server, and who the mint is.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

use super::super::pem;
use super::settings::OpenError;

/// Reads `ca.pem`, `server.pem` and `server.key`. Blocks on the disk.
pub(super) fn server_config(directory: &Path) -> Result<Arc<ServerConfig>, OpenError> {
    let unfit = |error: &dyn std::fmt::Display| OpenError::Certificate(error.to_string());
    let roots = pem::authorities(&directory.join("ca.pem"))?;
    let chain = pem::certificates(&directory.join("server.pem"))?;
    let key = pem::private_key(&directory.join("server.key"))?;
    let provider = Arc::new(ring::default_provider());
    let mint = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let mint = mint.build().map_err(|error| unfit(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unfit(&error))?
        .with_client_cert_verifier(mint)
        .with_single_cert(chain, key)
        .map_err(|error| unfit(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Each connection shows its certificates: one that was replaced or expired meanwhile counts.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Whether the other end of a session showed the certificate of that SHA-256.
pub(super) fn is_pinned(session: &ServerConnection, sha256: &[u8; 32]) -> bool {
    let shown = session.peer_certificates().and_then(|chain| chain.first());
    shown.is_some_and(|certificate| Sha256::digest(certificate.as_ref())[..] == sha256[..])
}
