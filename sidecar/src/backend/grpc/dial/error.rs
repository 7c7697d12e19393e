//! Why there is no link to the pool, each reason with its remedy.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use gopool_sv2_proto::PROTOCOL;

use crate::keys::KeyError;

/// Why there is no link. The text says what to do. Addresses are spelled as in `[pool].address`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(
        "this pool takes no events (EventService): have it give the carrier's options a sink for \
             them, or use a newer one"
    )]
    NoEvents,
    #[error(
        "no socket at {0}: is the pool running with its SV2 port enabled, and is [pool].address \
             the path it listens on?"
    )]
    NoSocket(PathBuf),
    #[error(
        "may not open {0}: add this process's user to the group of the socket, or to the pool's \
             allowed users"
    )]
    Permission(PathBuf),
    #[error("nobody listens on {0}: the pool is not running (the file is left over)")]
    NobodyListens(PathBuf),
    #[error("{0}: {1}")]
    Socket(PathBuf, io::Error),
    #[error(
        "the pool closed the connection on {0} at once: the user of this process is probably not \
             among those the pool allows"
    )]
    ClosedAtOnce(PathBuf),

    #[error(
        "{address}: the host can't be resolved ({error}): is [pool].address spelled right, and \
             does DNS know the name on this machine?"
    )]
    NoHost { address: String, error: io::Error },
    #[error(
        "{0} refuses connections: is the pool running, and is this the port it opens for sidecars?"
    )]
    PortClosed(String),
    #[error(
        "{address} can't be reached ({error}): is the machine up, and does a route and every \
             firewall let this connection through?"
    )]
    Unreachable { address: String, error: io::Error },
    #[error(
        "{address} took no connection within {after:?}: is the machine up, and does a firewall \
             drop this connection?"
    )]
    NoConnection { address: String, after: Duration },
    #[error(
        "{0} closed the connection before it answered: does the pool listen there, and with \
             TLS? Its log may say why"
    )]
    HungUp(String),

    #[error("[pool.tls].{key}: {fault}")]
    File { key: &'static str, fault: String },
    #[error("[pool.tls].key_file: {0}")]
    Key(KeyError),
    #[error(
        "[pool.tls].key_file is not the key of the certificate in certificate_file: both must \
             be made together (while you replace them, this is said until both are new)"
    )]
    KeyMismatch,

    #[error(
        "{address}: the other end does not speak TLS ({what}): is it the pool's TLS port? If \
             the pool listens without TLS, give it a certificate, or a Unix socket on one machine"
    )]
    NotTls { address: String, what: String },
    #[error(
        "{0} closed the connection in the middle of the TLS handshake: is it the pool's TLS \
             port? Its log may say why"
    )]
    HandshakeCut(String),
    #[error(
        "{address} did not answer the TLS handshake within {after:?}: is it the pool's TLS port, \
             and does the pool still work?"
    )]
    HandshakeSilent { address: String, after: Duration },
    #[error(
        "{address}: the other end speaks no TLS 1.3 ({what}), the only version used here: update \
             the pool, or what stands before it"
    )]
    TlsTooOld { address: String, what: String },
    #[error(
        "{0} speaks TLS but not HTTP/2 (ALPN \"h2\"): is it the port of the pool for sidecars, \
             and does nothing between decrypt it?"
    )]
    NotHttp2(String),
    #[error(
        "{0}: the pool's certificate is not signed by the authority in [pool.tls].ca_file: give \
             the file of the authority that signed it; if it is the right one, somebody else \
             answers there"
    )]
    WrongAuthority(String),
    #[error(
        "{address}: the pool's certificate has expired on {date}: renew the pool's certificate; if \
             it is new, correct this machine's clock"
    )]
    Expired { address: String, date: String },
    #[error(
        "{address}: the pool's certificate is not valid before {date}: correct the clock of this \
             machine, or of the one that made the certificate"
    )]
    NotYetValid { address: String, date: String },
    #[error(
        "{address}: the pool's certificate is for {presented}, not for {wanted}: write a name \
             that it holds into [pool.tls].server_name, or make a certificate for this one"
    )]
    WrongName { address: String, wanted: String, presented: String },
    #[error(
        "{address}: the pool's certificate can't be used ({what}): make one as docs/link.md says"
    )]
    BadCertificate { address: String, what: String },
    #[error(
        "{0}: the pool asks for a certificate and got none: the one in \
             [pool.tls].certificate_file has a kind of key that the pool doesn't take; make one \
             as docs/link.md says"
    )]
    OursMissing(String),
    #[error(
        "{0}: the pool does not know the authority that signed our certificate \
             ([pool.tls].certificate_file): have it signed by the one that the pool trusts, or \
             add that authority to the pool's"
    )]
    OursUnknown(String),
    #[error(
        "{0}: the pool says that our certificate ([pool.tls].certificate_file) has expired or is \
             not valid yet: renew it; if it is good, correct the clock of one of the machines"
    )]
    OursExpired(String),
    #[error(
        "{address}: the pool refuses our certificate ([pool.tls].certificate_file; TLS alert \
             {alert}): is it made for a client, and is its name among those the pool allows? The \
             pool's log says why"
    )]
    OursRefused { address: String, alert: String },
    #[error("{address}: no TLS connection ({what}): the log of the pool may say why")]
    Tls { address: String, what: String },

    #[error("the pool did not answer within {0:?}")]
    Timeout(Duration),
    #[error(
        "the pool speaks another version of the contract ({0}); this sidecar speaks {PROTOCOL}: \
             update the older of the two"
    )]
    Version(String),
    #[error("the pool refused the session: {0}")]
    Refused(String),
    #[error("the pool breaks the contract: {0}")]
    Contract(String),
    #[error("the stream broke: {0}")]
    Broken(String),
    #[error("the pool ended the stream")]
    Ended,
}
