//! The keys of `[admin]`.

use super::{text, Key, Section, Value};
use crate::config::model::AdminAddress;
use crate::keys::KeyFile;

/// Where operators and their programs ask.
pub(super) const SECTION: Section = Section {
    name: "admin",
    about: "Where operators and their programs ask over HTTP: health, metrics, who is connected \
            (docs/operate.md). Never the port of the miners.",
    keys: &[
        text!(
            "listen",
            admin.listen,
            text::admin_address,
            |address: &Option<AdminAddress>| {
                address.as_ref().map_or_else(String::new, ToString::to_string)
            },
            "\"127.0.0.1:PORT\", or \"unix:PATH\" of a socket that only this user can open. \
             Addresses of a network need a token, and something in front that speaks TLS. Empty: \
             off."
        ),
        text!(
            "token_file",
            admin.token_file,
            text::optional_key_file,
            |file: &Option<KeyFile>| file.as_ref().map_or_else(String::new, ToString::to_string),
            "File of the token that a request must show (Authorization: Bearer TOKEN), mode 0600; \
             `openssl rand -hex 32` makes one. \"credential:NAME\" reads a systemd credential. \
             Empty: none is asked for."
        ),
        Key {
            name: "show_addresses",
            about: "Shows the addresses of miners whole, those of the network and those that are \
                    paid. Otherwise the former are left out and the latter shortened.",
            value: Value::Bool {
                get: |config| config.admin.show_addresses,
                set: |config, value| config.admin.show_addresses = value,
            },
        },
    ],
};
