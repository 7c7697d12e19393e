//! The tree of settings and its defaults. Field names are the keys of the file.
//!
//! Ranges, the operator's text of each key and its spelling live in `schema`.

mod admin;
mod mint;
mod stats;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::keys::KeyFile;
use crate::obs::Format;
use crate::types::Network;

pub use admin::{Admin, AdminAddress};
pub use mint::{Mint, Processor, Valuation};
pub use stats::{SinkAddress, Stats};

/// Everything an operator can set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where miners connect.
    pub listen: Listen,
    /// The key that miners verify the listener by.
    pub authority: Authority,
    /// The pool behind the sidecar.
    pub pool: Pool,
    /// Extensions of the protocol.
    pub extensions: Extensions,
    /// What one miner, and all of them, may cost.
    pub limits: Limits,
    /// What becomes of credit that goes to payout keys.
    pub mint: Mint,
    /// Where operators ask.
    pub admin: Admin,
    /// Who keeps history.
    pub stats: Stats,
    /// What is written about the work.
    pub log: Log,
}

/// `[listen]`: where miners connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and TCP port of the listener.
    pub address: SocketAddr,
    /// Connections open at once; further ones are closed as they arrive.
    pub max_connections: usize,
    /// Connections open at once from one IPv4 address or IPv6 /64 network; 0: no limit.
    pub max_connections_per_address: u32,
    /// Channels open, or being opened, at once from one IPv4 address or IPv6 /64 network; 0: no
    /// limit.
    pub max_channels_per_address: usize,
    /// New connections in a second, over all addresses; 0: no limit.
    pub connections_per_sec: u32,
    /// New connections in a second from one IPv4 address or IPv6 /64 network; 0: no limit.
    pub connections_per_sec_per_address: u32,
    /// Load balancers that say whose connection it is (PROXY protocol v2); all others are taken
    /// for who they are.
    pub proxy_protocol_from: Vec<Network>,
}

impl Default for Listen {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3336));
        Self {
            address,
            max_connections: 20_000,
            // A fifth: five addresses are needed to fill the port, and few farms have more
            // devices behind one.
            max_connections_per_address: 4_096,
            // A quarter of the channels that a pool has by default.
            max_channels_per_address: 16_384,
            // A third of a core for handshakes, and a full port is back in twenty seconds.
            connections_per_sec: 1_000,
            // Two hundredths of a core for one stranger.
            connections_per_sec_per_address: 50,
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// `[authority]`: the key that miners verify the listener by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The file of the secret key.
    pub key_file: KeyFile,
    /// Life of the certificate made for each connection (SV2 spec 4.5), in seconds.
    pub cert_validity_sec: u32,
}

impl Default for Authority {
    fn default() -> Self {
        let key_file = KeyFile::Path(PathBuf::from("authority.key"));
        Self { key_file, cert_validity_sec: 3_600 }
    }
}

/// `[pool]`: the pool behind the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Where the pool serves the contract.
    pub address: PoolAddress,
    /// Whether [`PoolAddress::Tcp`] may be used.
    pub allow_plain_tcp: bool,
    /// Name of this sidecar in the pool's records, 1 to 64 printable ASCII characters.
    pub sidecar_id: String,
    /// One attempt to connect ends after this, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Shortest wait between two attempts to connect, in milliseconds.
    pub reconnect_min_ms: u64,
    /// Longest wait between two attempts to connect, in milliseconds.
    pub reconnect_max_ms: u64,
    /// HTTP/2 pings are sent at this distance, in milliseconds.
    pub keepalive_interval_ms: u64,
    /// A ping without an answer for this long ends the connection, in milliseconds.
    pub keepalive_timeout_ms: u64,
    /// A submit without a verdict for this long ends the connection, an open without an answer is
    /// refused; in milliseconds.
    pub verdict_timeout_ms: u64,
    /// How long submits and opens wait while the pool is away, in milliseconds.
    pub grace_ms: u64,
    /// How long miners are kept while the pool is away, in milliseconds.
    pub lost_ms: u64,
    /// What the link shows and trusts, for [`PoolAddress::Tls`].
    pub tls: PoolTls,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            address: PoolAddress::Unix(PathBuf::from("/run/gopool/sv2.sock")),
            allow_plain_tcp: false,
            sidecar_id: "sidecar".to_owned(),
            connect_timeout_ms: 5_000,
            reconnect_min_ms: 50,
            reconnect_max_ms: 1_000,
            keepalive_interval_ms: 10_000,
            keepalive_timeout_ms: 5_000,
            verdict_timeout_ms: 30_000,
            grace_ms: 5_000,
            lost_ms: 60_000,
            tls: PoolTls::default(),
        }
    }
}

/// Where the pool serves the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolAddress {
    /// A Unix stream socket, written `unix:PATH`.
    Unix(PathBuf),
    /// TCP with mutual TLS 1.3, written `tls:HOST:PORT`.
    Tls {
        /// A name, or an IP address; IPv6 without its brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// TCP in the clear on a loopback address, written `tcp:127.0.0.1:PORT`.
    Tcp(SocketAddr),
}

impl fmt::Display for PoolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls { host, port } if host.contains(':') => write!(f, "tls:[{host}]:{port}"),
            Self::Tls { host, port } => write!(f, "tls:{host}:{port}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// `[pool.tls]`: what the link shows and trusts. The files are PEM and are read again at each
/// attempt to connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolTls {
    /// Certificates of the authority that signed the pool's.
    pub ca_file: Option<PathBuf>,
    /// The certificate shown to the pool, and after it those between it and the authority.
    pub certificate_file: Option<PathBuf>,
    /// The private key of that certificate.
    pub key_file: Option<KeyFile>,
    /// The name that the pool's certificate must be for; `None`: the host of the address.
    pub server_name: Option<String>,
}

/// `[extensions]`: extensions of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Numbers of those without which nobody may mine, all supported, none twice.
    pub required: Vec<u16>,
}

/// `[limits]`: what one miner, and all of them, may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accept to the end of the Noise handshake, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Handshakes computed at once; 0 stands for half the number of cores
    /// (see [`Limits::handshakes`]). Four times as many connections without a channel are answered
    /// at once.
    pub handshakes_at_once: usize,
    /// From the end of the handshake to a good SetupConnection, in milliseconds.
    pub setup_timeout_ms: u64,
    /// From the end of the handshake to the first open channel, in milliseconds; 0: no limit.
    pub first_open_timeout_ms: u64,
    /// From the last message of a connection to its end, in milliseconds; 0: no limit.
    pub idle_timeout_ms: u64,
    /// A channel that was told nothing for this long is told its target again, in milliseconds; 0:
    /// never.
    pub channel_silence_ms: u64,
    /// Opens of one connection in a minute, answered or refused; 0: no limit.
    pub opens_per_min: u32,
    /// Updates of one channel in a minute; 0: no limit.
    pub updates_per_min: u32,
    /// Refused shares of one connection in a minute, none accepted in between; 0: no limit.
    pub bad_shares_per_min: u32,
    /// Usual messages of one connection in a minute, of which twice as many are taken; 0: no
    /// limit.
    pub messages_per_min: u32,
    /// Channels open at once on one connection.
    pub max_channels_per_connection: usize,
    /// Submits that may wait for a verdict, of one connection.
    pub max_in_flight_per_connection: usize,
    /// Submits that may wait for a verdict, of all connections.
    pub max_in_flight: usize,
    /// Events of the pool that wait for one connection.
    pub mailbox_events: usize,
    /// Bytes that wait to be written to one connection.
    pub outbox_bytes: usize,
    /// Longest frame taken before SetupConnection succeeded, in bytes without encryption.
    pub frame_bytes_before_setup: usize,
    /// Longest frame taken after it, in bytes without encryption.
    pub frame_bytes: usize,
    /// A connection that takes no byte for this long is closed, in milliseconds.
    pub write_stall_ms: u64,
    /// A frame that was begun must be complete after this, in milliseconds.
    pub frame_timeout_ms: u64,
    /// How long the last answers are awaited when we stop, or when a miner has closed its side, in
    /// milliseconds.
    pub drain_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout_ms: 5_000,
            handshakes_at_once: 0,
            setup_timeout_ms: 10_000,
            first_open_timeout_ms: 3_600_000,
            idle_timeout_ms: 43_200_000,
            channel_silence_ms: 60_000,
            opens_per_min: 240,
            updates_per_min: 60,
            bad_shares_per_min: 1_000,
            messages_per_min: 0,
            max_channels_per_connection: 64,
            max_in_flight_per_connection: 1_024,
            max_in_flight: 8_192,
            mailbox_events: 1_024,
            outbox_bytes: 1_048_576,
            frame_bytes_before_setup: 2_048,
            frame_bytes: 65_536,
            write_stall_ms: 20_000,
            frame_timeout_ms: 20_000,
            drain_timeout_ms: 5_000,
        }
    }
}

impl Limits {
    /// [`Limits::handshakes_at_once`] with its 0 resolved: never 0. A handshake computes for about
    /// 0.35 ms without a pause, so as many at once as there are cores would leave none for shares.
    pub fn handshakes(&self) -> usize {
        match self.handshakes_at_once {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            count => count,
        }
    }
}

/// `[log]`: what is written about the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How log lines look.
    pub format: Format,
    /// Which log lines are written, as tracing's filter directives.
    pub filter: String,
    /// File of the journal of answers (see [`crate::obs::journal`]); `None` when it is off.
    pub journal: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Auto, filter: "info".to_owned(), journal: None }
    }
}

impl Config {
    /// Makes relative paths start at `directory`.
    pub(super) fn resolve(&mut self, directory: &Path) {
        if let KeyFile::Path(path) = &mut self.authority.key_file {
            *path = directory.join(&*path);
        }
        if let PoolAddress::Unix(path) = &mut self.pool.address {
            *path = directory.join(&*path);
        }
        self.mint.resolve(directory);
        self.admin.resolve(directory);
        self.stats.resolve(directory);
        let tls = &mut self.pool.tls;
        if let Some(KeyFile::Path(path)) = &mut tls.key_file {
            *path = directory.join(&*path);
        }
        let others = [&mut tls.ca_file, &mut tls.certificate_file, &mut self.log.journal];
        for path in others.into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }
}
