//! Why a connection to a pool failed, by stage.

use std::fmt;
use std::io;
use std::time::Duration;

/// Where a connection was when something happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Name resolution and TCP.
    Connect,
    /// The Noise handshake.
    Handshake,
    /// SetupConnection was sent, its answer has not come.
    Setup,
    /// A channel was asked for, the answer has not come.
    Open,
    /// Everything after.
    Mining,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Handshake => "the handshake",
            Self::Setup => "the connection setup",
            Self::Open => "opening a channel",
            Self::Mining => "mining",
        })
    }
}

/// What is wrong with the certificate a server presented. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Not signed by the authority of the address, or not for the key the server uses.
    #[error(
        "it is not signed by the authority in the pool address; the address is outdated or \
             mistyped, or this is not that pool"
    )]
    WrongAuthority,
    /// Its time has passed.
    #[error(
        "it expired at {not_valid_after} and the clock here says {now}; is the clock right? \
             If so, the pool must renew it"
    )]
    Expired {
        /// Last second of validity.
        not_valid_after: u32,
        /// The local clock.
        now: u32,
    },
    /// Its time has not begun.
    #[error(
        "it is valid only from {valid_from} and the clock here says {now}; is the clock \
             right?"
    )]
    NotYetValid {
        /// First second of validity.
        valid_from: u32,
        /// The local clock.
        now: u32,
    },
    /// A format this client does not know.
    #[error("it has version {0}, known is 0")]
    Version(u16),
}

/// Failure of a connection. Texts name the remedy where there is one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host could not be resolved or TCP did not connect.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// `host:port`.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The Noise handshake failed: what answers is not a Stratum V2 server, or bytes were altered.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// The server's certificate is not acceptable.
    #[error("the server's certificate is refused: {0}")]
    Certificate(#[from] CertificateFault),
    /// The server broke the protocol; the connection is of no use any more.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The server said no to SetupConnection or to the opening of a channel.
    #[error("the server refused {what}: {code}{}", flags_text(*.flags))]
    Refused {
        /// The message that was refused.
        what: &'static str,
        /// The server's error code, printable ASCII.
        code: String,
        /// `SetupConnection.Error.flags`: the features it does not support; 0 otherwise.
        flags: u32,
    },
    /// No answer in time.
    #[error("no answer within {after:?} during {stage}")]
    Timeout {
        /// What was waited for.
        stage: Stage,
        /// How long.
        after: Duration,
    },
    /// The connection ended, by the server's close (no source) or by an error of the network.
    #[error("the connection closed during {stage}{}", source_text(.source))]
    Closed {
        /// What was going on.
        stage: Stage,
        /// The network's error, `None` for an orderly close.
        source: Option<io::Error>,
    },
}

fn flags_text(flags: u32) -> String {
    if flags == 0 {
        String::new()
    } else {
        format!(" (unsupported flags {flags:#x})")
    }
}

fn source_text(source: &Option<io::Error>) -> String {
    source.as_ref().map(|e| format!(": {e}")).unwrap_or_default()
}
