//! Every key of the file in one table: its name, the operator's text, its range and where it goes.
//!
//! The reader, the unknown-key check and the printer all walk this table, so they can't disagree.

use super::extensions;
use super::model::Config;
use super::text;
use crate::keys::KeyFile;

/// A table of a file that gives a `C`.
pub(super) struct Section<C: 'static = Config> {
    /// Name between the brackets; with a dot when it is inside of another one.
    pub(super) name: &'static str,
    /// The operator's text.
    pub(super) about: &'static str,
    /// Its keys, in the order of printing.
    pub(super) keys: &'static [Key<C>],
}

/// A key of a section.
pub(super) struct Key<C = Config> {
    /// Name in the file; also the name of the field.
    pub(super) name: &'static str,
    /// The operator's text; lines are broken where it is printed.
    pub(super) about: &'static str,
    /// What it takes.
    pub(super) value: Value<C>,
}

/// What a key takes and how it reaches the settings.
pub(super) enum Value<C = Config> {
    /// A whole number in a range, both ends included.
    Int { min: u64, max: u64, get: fn(&C) -> u64, set: fn(&mut C, u64) },
    /// `true` or `false`.
    Bool { get: fn(&C) -> bool, set: fn(&mut C, bool) },
    /// Numbers of extensions, which its reader judges.
    Extensions { get: fn(&C) -> Vec<u16>, set: fn(&mut C, &[u64]) -> Result<(), String> },
    /// Text with a reader of its own, which says what is wrong with it.
    Text { get: fn(&C) -> String, set: fn(&mut C, &str) -> Result<(), String> },
    /// A list of texts, each with the reader of one.
    List { get: fn(&C) -> Vec<String>, set: fn(&mut C, &[&str]) -> Result<(), String> },
}

/// A certificate shorter than this could end before a slow miner checked it.
const CERT_VALIDITY_SEC_MIN: u64 = 60;
/// One year: a stolen static key must not be good for ever.
const CERT_VALIDITY_SEC_MAX: u64 = 31_536_000;
/// The pool ends connections whose pings come at 5 seconds or closer.
const KEEPALIVE_INTERVAL_MS_MIN: u64 = 5_001;
/// Time limits end here: ten minutes of silence are no limit any more.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Time limits start here: less fails on a busy machine.
const TIMEOUT_MS_MIN: u64 = 100;

/// A whole-number key: the field is cast after the range check.
macro_rules! int {
    ($name:literal, $($field:ident).+ as $type:ty, $min:expr, $max:expr, $about:expr) => {
        Key {
            name: $name,
            about: $about,
            value: Value::Int {
                min: $min,
                max: $max,
                get: |config| config.$($field).+ as u64,
                set: |config, value| config.$($field).+ = value as $type,
            },
        }
    };
}

/// A text key with its reader and its printer.
macro_rules! text {
    ($name:literal, $($field:ident).+, $read:path, $show:expr, $about:expr) => {
        Key {
            name: $name,
            about: $about,
            value: Value::Text {
                get: |config| $show(&config.$($field).+),
                set: |config, value| $read(value).map(|value| config.$($field).+ = value),
            },
        }
    };
}

mod admin;
mod limits;
mod mint;
pub(super) mod service;
mod stats;

/// The whole file.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "listen",
        about: "Where miners connect.",
        keys: &[
            text!(
                "address",
                listen.address,
                text::socket_address,
                ToString::to_string,
                "IP address and TCP port of the listener."
            ),
            int!(
                "max_connections",
                listen.max_connections as usize,
                1,
                1_000_000,
                "Connections open at once; further ones are closed as they arrive. Each needs a \
                 file descriptor: raise LimitNOFILE= with it."
            ),
            int!(
                "max_connections_per_address",
                listen.max_connections_per_address as u32,
                0,
                1_000_000,
                "Connections open at once from one IPv4 address, or from one IPv6 /64 network; \
                 further ones are closed as they arrive. A farm may have thousands of devices \
                 behind one address; one stranger must not take all that max_connections has. \
                 0: no limit."
            ),
            int!(
                "max_channels_per_address",
                listen.max_channels_per_address as usize,
                0,
                10_000_000,
                "Channels at once from one IPv4 address or IPv6 /64 network; further ones are \
                 refused with channel-capacity-exhausted. One stranger must not take all that \
                 the pool has: 65536 by default. 0: no limit."
            ),
            int!(
                "connections_per_sec",
                listen.connections_per_sec as u32,
                0,
                1_000_000,
                "New connections in a second, over all addresses; two seconds' worth may come at \
                 once. Each costs a handshake, about 0.35 ms of a core. Further ones are closed \
                 as they arrive: miners try again. 0: no limit."
            ),
            int!(
                "connections_per_sec_per_address",
                listen.connections_per_sec_per_address as u32,
                0,
                1_000_000,
                "The same for one IPv4 address or IPv6 /64 network; twenty seconds' worth may \
                 come at once: a farm comes back whole after a power cut. 0: no limit."
            ),
            Key {
                name: "proxy_protocol_from",
                about:
                    "Load balancers in front of this listener, as IP networks: [\"10.0.0.0/8\"]. \
                        From these each connection must begin with a PROXY protocol v2 header, \
                        which says whose it is; from others no header is looked for.",
                value: Value::List {
                    get: |config| {
                        let networks = &config.listen.proxy_protocol_from;
                        networks.iter().map(ToString::to_string).collect()
                    },
                    set: |config, texts| {
                        let networks = texts.iter().copied().map(text::network);
                        config.listen.proxy_protocol_from = networks.collect::<Result<_, _>>()?;
                        Ok(())
                    },
                },
            },
        ],
    },
    Section {
        name: "authority",
        about: "The key that miners verify this listener by.",
        keys: &[
            text!(
                "key_file",
                authority.key_file,
                text::key_file,
                ToString::to_string,
                "File of the secret key, made by `gopool-sv2 keygen`, mode 0600. \
                 \"credential:NAME\" reads a systemd credential: $CREDENTIALS_DIRECTORY/NAME."
            ),
            int!(
                "cert_validity_sec",
                authority.cert_validity_sec as u32,
                CERT_VALIDITY_SEC_MIN,
                CERT_VALIDITY_SEC_MAX,
                "Life of the certificate that is made for each connection, in seconds. It is \
                 checked at the handshake only; devices with a wrong clock need a longer one."
            ),
        ],
    },
    Section {
        name: "pool",
        about: "The pool behind the sidecar.",
        keys: &[
            text!(
                "address",
                pool.address,
                text::pool_address,
                ToString::to_string,
                "Where the pool serves its work: \"unix:PATH\" of a Unix socket; \
                 \"tls:HOST:PORT\" for TCP with mutual TLS, with the files of [pool.tls]; or, for \
                 trials on one machine, \"tcp:127.0.0.1:PORT\"."
            ),
            Key {
                name: "allow_plain_tcp",
                about:
                    "Lets the address be \"tcp:\", without encryption: every user of this machine \
                        can then listen in its place, and be a sidecar to the pool.",
                value: Value::Bool {
                    get: |config| config.pool.allow_plain_tcp,
                    set: |config, value| config.pool.allow_plain_tcp = value,
                },
            },
            text!(
                "sidecar_id",
                pool.sidecar_id,
                text::sidecar_id,
                String::clone,
                "Name of this sidecar in the pool's records: 1 to 64 printable ASCII characters \
                 without spaces, another one for each sidecar of a pool."
            ),
            int!(
                "connect_timeout_ms",
                pool.connect_timeout_ms as u64,
                TIMEOUT_MS_MIN,
                TIMEOUT_MS_MAX,
                "One attempt to connect ends after this, in milliseconds."
            ),
            int!(
                "reconnect_min_ms",
                pool.reconnect_min_ms as u64,
                1,
                TIMEOUT_MS_MAX,
                "Shortest wait between two attempts to connect, in milliseconds. Short: miners \
                 wait with their shares while the pool restarts."
            ),
            int!(
                "reconnect_max_ms",
                pool.reconnect_max_ms as u64,
                1,
                TIMEOUT_MS_MAX,
                "Longest wait between two attempts, in milliseconds."
            ),
            int!(
                "keepalive_interval_ms",
                pool.keepalive_interval_ms as u64,
                KEEPALIVE_INTERVAL_MS_MIN,
                3_600_000,
                "Distance of the pings that notice a dead pool, in milliseconds. The pool refuses \
                 5000 and less."
            ),
            int!(
                "keepalive_timeout_ms",
                pool.keepalive_timeout_ms as u64,
                TIMEOUT_MS_MIN,
                TIMEOUT_MS_MAX,
                "A ping without an answer for this long ends the connection to the pool, in \
                 milliseconds."
            ),
            int!(
                "verdict_timeout_ms",
                pool.verdict_timeout_ms as u64,
                1_000,
                TIMEOUT_MS_MAX,
                "A pool that is connected but leaves a submit without a verdict for this long (up \
                 to half as long again) is taken for dead: what waits is answered \
                 backend-unavailable and the connection is made anew. A new channel that it \
                 doesn't answer for as long is refused, and closed there. In milliseconds."
            ),
            int!(
                "grace_ms",
                pool.grace_ms as u64,
                0,
                TIMEOUT_MS_MAX,
                "How long shares and new channels wait while the pool is away, in milliseconds. \
                 Shares that the pool then still knows are judged as if nothing had happened; \
                 after that they are answered backend-unavailable. Miners stay connected."
            ),
            int!(
                "lost_ms",
                pool.lost_ms as u64,
                0,
                3_600_000,
                "How long miners are kept while the pool is away, in milliseconds; then they are \
                 told to reconnect, and those with other pools in their settings go there."
            ),
        ],
    },
    Section {
        name: "pool.tls",
        about:
            "What the sidecar shows and trusts on a \"tls:\" address. The files are PEM and are \
                read again at each attempt to connect: replace them whenever you like. \
                docs/link.md says how to make them.",
        keys: &[
            text!(
                "ca_file",
                pool.tls.ca_file,
                text::optional_path,
                text::path_or_empty,
                "File of the authority whose signature the pool's certificate must have."
            ),
            text!(
                "certificate_file",
                pool.tls.certificate_file,
                text::optional_path,
                text::path_or_empty,
                "File of this sidecar's certificate, with those between it and the authority of \
                 the pool, if any, after it."
            ),
            text!(
                "key_file",
                pool.tls.key_file,
                text::optional_key_file,
                |key: &Option<KeyFile>| key.as_ref().map_or_else(String::new, ToString::to_string),
                "File of the private key of that certificate, mode 0600. \"credential:NAME\" \
                 reads a systemd credential."
            ),
            text!(
                "server_name",
                pool.tls.server_name,
                text::server_name,
                |name: &Option<String>| name.clone().unwrap_or_default(),
                "Name or IP address that the pool's certificate must be for. Empty: the host of \
                 the address."
            ),
        ],
    },
    extensions::SECTION,
    limits::SECTION,
    mint::SECTION,
    mint::PROCESSOR,
    admin::SECTION,
    stats::SECTION,
    Section {
        name: "log",
        about: "What is written about the work.",
        keys: &[
            text!(
                "format",
                log.format,
                text::format,
                ToString::to_string,
                "\"human\", \"json\" (one object per line), or \"auto\": human on a terminal, \
                 json elsewhere. Logs go to standard error."
            ),
            text!(
                "filter",
                log.filter,
                text::filter,
                String::clone,
                "Which lines are written: a level (error, warn, info, debug, trace, off), and \
                 levels of single parts after it, for example \"info,gopool_sv2::session=debug\"."
            ),
            text!(
                "journal",
                log.journal,
                text::optional_path,
                text::path_or_empty,
                "File of a journal of all answers to miners, one JSON object per line, for audits \
                 and tests. Empty: off."
            ),
        ],
    },
];
