//! What the operator says of the endpoint that the mint dials.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::pem::PemError;
use super::super::text::is_name;

/// The endpoint that one mint dials. A mint has one processor for a unit, and a processor one mint.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen. Nobody but the mint needs to reach it.
    pub listen: SocketAddr,
    /// Who is let in.
    pub security: Security,
    /// The mint's unit, lower case: letters, digits, `-` and `_`. Default of the program: `hash`.
    pub unit: String,
    /// The custom payment method, lower case as the unit. Default of the program: `ehash`.
    pub method: String,
    /// Quotes that wallets may make in each second, all together, and at once after a pause. 0:
    /// none; then only the pool makes quotes. Each stays in the ledger for ever.
    pub wallet_quotes_per_s: u32,
}

/// Who may connect.
#[derive(Debug, Clone)]
pub enum Security {
    /// Mutual TLS 1.3.
    Mutual {
        /// Where `ca.pem` (the authority of the mint's certificate), `server.pem` (ours and its
        /// chain) and `server.key` (its key, mode 0600) are: the names that a mint's `tls_dir`
        /// uses. Read anew for each connection.
        directory: PathBuf,
        /// SHA-256 of the one certificate (DER) that the mint may show; `None`: each that the
        /// authority signed.
        client_sha256: Option<[u8; 32]>,
    },
    /// Everybody on this machine, without TLS. For a loopback address only.
    PlainOnLoopback,
}

/// Why the endpoint can't be opened. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A name that no mint would take.
    #[error("the {what} {name:?} is no name: use lower case letters, digits, - and _")]
    Name {
        /// `unit` or `method`.
        what: &'static str,
        /// What stands there.
        name: String,
    },
    /// Without TLS on an address that others can reach.
    #[error(
        "the payment processor may not listen on {0} without TLS, since others than this machine \
         can reach it and pay themselves: name a directory with ca.pem, server.pem and server.key, \
         or listen on 127.0.0.1"
    )]
    PlainForOthers(SocketAddr),
    /// A file of the TLS directory.
    #[error("payment processor: {0}")]
    File(#[from] PemError),
    /// Certificate and key don't make a server.
    #[error(
        "payment processor: server.pem and server.key can't be used ({0}): make both together"
    )]
    Certificate(String),
    /// The address can't be listened on.
    #[error(
        "the payment processor can't listen on {address}: {error}: is the address one of this \
         machine's, and free?"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl Settings {
    /// Checks all but the files and the address's being free.
    ///
    /// # Errors
    /// [`OpenError::Name`], [`OpenError::PlainForOthers`].
    pub fn check(&self) -> Result<(), OpenError> {
        for (what, name) in [("unit", &self.unit), ("method", &self.method)] {
            if !is_name(name) {
                return Err(OpenError::Name { what, name: name.clone() });
            }
        }
        match self.security {
            Security::PlainOnLoopback if !self.listen.ip().is_loopback() => {
                Err(OpenError::PlainForOthers(self.listen))
            }
            _ => Ok(()),
        }
    }
}
