//! Checks that involve more than one key.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::model::{AdminAddress, Config, Limits, Mint, Pool, PoolAddress, SinkAddress};
use crate::keys::KeyFile;

/// `sockaddr_un` holds 108 bytes with the closing NUL.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Something that contradicts itself.
pub(super) struct Found {
    /// Its place in the text.
    pub(super) span: Range<usize>,
    /// The key at that place.
    pub(super) key: String,
    /// What is wrong.
    pub(super) text: String,
    /// All keys that it is about.
    pub(super) about: Vec<String>,
}

/// What of the configuration contradicts itself. Each problem is placed at the first of its keys
/// that the file gives (one is given: the defaults agree with each other).
pub(super) fn check(table: &DeTable<'_>, config: &Config) -> Vec<Found> {
    let mut cross = Cross { table, found: Vec::new() };
    cross.pool(&config.pool);
    cross.carrier(&config.pool);
    cross.files(config);
    cross.limits(&config.limits);
    cross.mint(&config.mint);
    cross.admin(config);
    cross.stats(config);
    cross.found
}

/// Collects what is found.
pub(super) struct Cross<'a> {
    pub(super) table: &'a DeTable<'a>,
    pub(super) found: Vec<Found>,
}

impl Cross<'_> {
    fn pool(&mut self, pool: &Pool) {
        if pool.reconnect_min_ms > pool.reconnect_max_ms {
            let text = format!(
                "reconnect_min_ms ({}) is above reconnect_max_ms ({}): lower the first or raise \
                 the second",
                pool.reconnect_min_ms, pool.reconnect_max_ms
            );
            self.at("pool", &["reconnect_min_ms", "reconnect_max_ms"], text);
        }
        if pool.grace_ms > pool.lost_ms {
            let text = format!(
                "grace_ms ({}) is above lost_ms ({}): miners would be told to go while their \
                 shares still wait; lower the first or raise the second",
                pool.grace_ms, pool.lost_ms
            );
            self.at("pool", &["grace_ms", "lost_ms"], text);
        }
        let PoolAddress::Unix(path) = &pool.address else { return };
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            let text = format!(
                "the path of the socket has {bytes} bytes with its directory, the system takes \
                 {SOCKET_PATH_BYTES_MAX}: use a shorter one"
            );
            self.at("pool", &["address"], text);
        }
    }

    /// Whether the address and what protects it fit together.
    fn carrier(&mut self, pool: &Pool) {
        let tls = &pool.tls;
        let files = [
            ("ca_file", tls.ca_file.is_some(), "the authority that signed the pool's certificate"),
            (
                "certificate_file",
                tls.certificate_file.is_some(),
                "what this sidecar shows the pool",
            ),
            ("key_file", tls.key_file.is_some(), "the key of that certificate"),
        ];
        if let PoolAddress::Tls { .. } = pool.address {
            for (name, _, what) in files.into_iter().filter(|(_, given, _)| !given) {
                let text = format!(
                    "tls: needs [pool.tls].{name}, {what}: docs/link.md says how to make it"
                );
                self.at("pool", &["address"], text);
            }
            return;
        }
        if matches!(pool.address, PoolAddress::Tcp(_)) && !pool.allow_plain_tcp {
            let text = "plain TCP has no encryption, and every user of this machine can be a \
                        sidecar or the pool on it: use \"unix:/path/to/socket\", or write \
                        allow_plain_tcp = true below [pool]";
            self.at("pool", &["address"], text.to_owned());
        }
        // Who names a certificate believes that the link is encrypted.
        let given = files.into_iter().map(|(name, given, _)| (name, given));
        let given = given.chain([("server_name", tls.server_name.is_some())]);
        for (name, _) in given.filter(|(_, given)| *given) {
            let text = format!(
                "is not used with [pool].address \"{}\": remove it, or make the address \
                 \"tls:HOST:PORT\"",
                pool.address
            );
            self.at("pool.tls", &[name], text);
        }
    }

    /// A journal in the place of a key would be written behind it.
    fn files(&mut self, config: &Config) {
        let keys = [
            (Some(&config.authority.key_file), "the authority key"),
            (config.pool.tls.key_file.as_ref(), "the key of [pool.tls]"),
            (config.admin.token_file.as_ref(), "the token of [admin]"),
        ];
        for (key, name) in keys {
            if let (Some(KeyFile::Path(key)), Some(journal)) = (key, &config.log.journal) {
                if key == journal {
                    let text =
                        format!("is the file of {name}: it would be written over; name another");
                    self.at("log", &["journal"], text);
                }
            }
        }
    }

    fn limits(&mut self, limits: &Limits) {
        let orders = [
            (
                ("max_in_flight_per_connection", limits.max_in_flight_per_connection),
                ("max_in_flight", limits.max_in_flight),
            ),
            (
                ("frame_bytes_before_setup", limits.frame_bytes_before_setup),
                ("frame_bytes", limits.frame_bytes),
            ),
            (("frame_bytes", limits.frame_bytes), ("outbox_bytes", limits.outbox_bytes)),
        ];
        for ((small, low), (big, high)) in orders {
            if low > high {
                let text = format!(
                    "{small} ({low}) is above {big} ({high}): lower the first or raise \
                             the second"
                );
                self.at("limits", &[small, big], text);
            }
        }
    }

    fn mint(&mut self, mint: &Mint) {
        if mint.ledger_file.is_none() {
            if !mint.url.is_empty() {
                let text =
                    "does nothing without [mint].ledger_file: name the file that shares are \
                            to be kept in, or remove it";
                self.at("mint", &["url"], text.to_owned());
            }
            return;
        }
        if cfg!(not(feature = "mint")) {
            let text = "this build has no mint bridge: build the library with it (`make lib \
                        MINT=1`, docs/mint.md), or remove the section";
            self.at("mint", &["ledger_file"], text.to_owned());
        }
        if mint.url.is_empty() {
            let text = "needs [mint].url, where the mint serves its HTTP API";
            self.at("mint", &["ledger_file"], text.to_owned());
        }
        if (1..mint.min_amount).contains(&mint.seal_amount) {
            let text = format!(
                "seal_amount ({}) is below min_amount ({}): credits would be closed that are too \
                 small to be paid; raise the first or lower the second",
                mint.seal_amount, mint.min_amount
            );
            self.at("mint", &["seal_amount", "min_amount"], text);
        }
        let processor = &mint.processor;
        if processor.allow_plain && !processor.listen.ip().is_loopback() {
            let text = "is allowed on a loopback address only: listen on 127.0.0.1, or use tls_dir";
            self.at("mint.processor", &["allow_plain", "listen"], text.to_owned());
        }
        if processor.allow_plain && processor.tls_dir.is_some() {
            let text = "goes against tls_dir: keep one of the two";
            self.at("mint.processor", &["allow_plain", "tls_dir"], text.to_owned());
        }
        if !processor.allow_plain && processor.tls_dir.is_none() {
            let text = "needs [mint.processor].tls_dir, with ca.pem, server.pem and server.key \
                        (docs/mint.md makes them); for trials on one machine, allow_plain = true";
            self.at("mint", &["ledger_file"], text.to_owned());
        }
    }

    fn admin(&mut self, config: &Config) {
        let admin = &config.admin;
        let Some(listen) = &admin.listen else {
            if admin.token_file.is_some() {
                let text = "does nothing without [admin].listen: add it, or remove this";
                self.at("admin", &["token_file"], text.to_owned());
            }
            return;
        };
        if cfg!(not(feature = "bin")) {
            let text = "the library serves no admin address: remove it, and ask the pool";
            self.at("admin", &["listen"], text.to_owned());
        }
        if !listen.is_local() && admin.token_file.is_none() {
            let text = "needs [admin].token_file, because others than this machine can reach it: \
                        make one with `openssl rand -hex 32`, or listen on 127.0.0.1";
            self.at("admin", &["listen"], text.to_owned());
        }
        match listen {
            AdminAddress::Tcp(address) if address.port() == 0 && !address.ip().is_loopback() => {
                let text = "port 0 would be another port at each start: choose one";
                self.at("admin", &["listen"], text.to_owned());
            }
            AdminAddress::Tcp(address)
                if *address == config.listen.address && address.port() > 0 =>
            {
                let text = "is the port of the miners, [listen].address: choose another";
                self.at("admin", &["listen"], text.to_owned());
            }
            AdminAddress::Unix(path) => {
                let bytes = path.as_os_str().len();
                if bytes > SOCKET_PATH_BYTES_MAX {
                    let text = format!(
                        "the path of the socket has {bytes} bytes with its directory, the system \
                         takes {SOCKET_PATH_BYTES_MAX}: use a shorter one"
                    );
                    self.at("admin", &["listen"], text);
                }
                if PoolAddress::Unix(path.clone()) == config.pool.address {
                    let text = "is the socket of [pool].address: choose another";
                    self.at("admin", &["listen"], text.to_owned());
                }
            }
            AdminAddress::Tcp(_) => {}
        }
    }

    fn stats(&mut self, config: &Config) {
        let Some(sink) = &config.stats.sink else { return };
        if cfg!(not(feature = "grpc")) {
            let text = "the library sends nothing to a stats service: remove it, or run the \
                        program beside the pool (`gopool-sv2 serve`)";
            self.at("stats", &["sink"], text.to_owned());
        }
        if PoolAddress::from(sink.clone()) == config.pool.address {
            let text = "is [pool].address: name what the stats service has as `events`";
            self.at("stats", &["sink"], text.to_owned());
        }
        let SinkAddress::Unix(path) = sink else { return };
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            let text = format!(
                "the path of the socket has {bytes} bytes with its directory, the system takes \
                 {SOCKET_PATH_BYTES_MAX}: use a shorter one"
            );
            self.at("stats", &["sink"], text);
        }
        if config.admin.listen == Some(AdminAddress::Unix(path.clone())) {
            let text = "is the socket of [admin].listen: choose another";
            self.at("stats", &["sink"], text.to_owned());
        }
    }

    /// Notes a problem at the first of `keys` that the file gives below `section`.
    pub(super) fn at(&mut self, section: &str, keys: &[&str], text: String) {
        let mut given = Some(self.table);
        for name in section.split('.') {
            given = given.and_then(|table| table.get(name)).and_then(inner);
        }
        let found = keys.iter().find_map(|key| Some((*key, given?.get(*key)?.span())));
        let (key, span) = found.unwrap_or((keys.first().copied().unwrap_or_default(), 0..0));
        let about = keys.iter().map(|key| format!("{section}.{key}")).collect();
        self.found.push(Found { span, key: format!("{section}.{key}"), text, about });
    }
}

fn inner<'a, 'b>(value: &'a Spanned<DeValue<'b>>) -> Option<&'a DeTable<'b>> {
    value.get_ref().as_table()
}
