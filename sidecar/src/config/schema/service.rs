//! The keys of the statistics service's file.

use std::path::PathBuf;

use super::{text, Key, Section, Value};
use crate::config::service::{EventsAddress, StatsFile};
use crate::config::AdminAddress;
use crate::keys::KeyFile;

/// How long the finest history may be kept at most, in hours: a week of 10-second steps.
const HOURS_MAX: u64 = 168;
/// Ten years.
const DAYS_MAX: u64 = 3_660;
/// Workers are many: a month of 5-minute steps each.
const WORKER_DAYS_MAX: u64 = 31;

fn events(value: &str) -> Result<EventsAddress, String> {
    if let Some(rest) = value.strip_prefix("unix:") {
        return text::socket_path(value, rest).map(EventsAddress::Unix);
    }
    let address = value.strip_prefix("tcp:").and_then(|rest| rest.parse().ok());
    let address: Option<std::net::SocketAddr> = address;
    address.filter(|address| address.ip().is_loopback()).map(EventsAddress::Tcp).ok_or_else(|| {
        format!(
            "{} can't be used: write \"unix:/path/to/socket\", or \"tcp:127.0.0.1:PORT\"; only \
             this machine may publish",
            text::shown(value)
        )
    })
}

fn http(value: &str) -> Result<AdminAddress, String> {
    let address = text::admin_address(value)?;
    address.ok_or_else(|| "is empty: write \"127.0.0.1:PORT\"".to_owned())
}

/// The whole file.
pub(in crate::config) const SECTIONS: &[Section<StatsFile>] = &[
    Section {
        name: "stats",
        about: "Where events come in, where people ask, and what is kept for how long \
                (docs/stats.md).",
        keys: &[
            text!(
                "events",
                stats.events,
                events,
                ToString::to_string,
                "Where sidecars publish ([stats].sink of theirs): \"unix:PATH\" of a socket that \
                 only this user can open, or \"tcp:127.0.0.1:PORT\"."
            ),
            text!(
                "http",
                stats.http,
                http,
                ToString::to_string,
                "Where the dashboard and its API are served: \"127.0.0.1:PORT\", or \"unix:PATH\" \
                 of a socket that only this user can open. Addresses of a network need a token, \
                 and something in front that speaks TLS."
            ),
            text!(
                "token_file",
                stats.token_file,
                text::optional_key_file,
                |file: &Option<KeyFile>| file
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string),
                "File of the token that a request must show (Authorization: Bearer TOKEN, or as \
                 the password that a browser asks for, with any name), mode 0600; `openssl rand \
                 -hex 32` makes one. \"credential:NAME\" reads a systemd credential. Empty: none \
                 is asked for."
            ),
            text!(
                "database",
                stats.database,
                text::path,
                |path: &PathBuf| path.display().to_string(),
                "The database, on a local file system. Others are made beside it."
            ),
            Key {
                name: "show_addresses",
                about: "Shows the addresses of miners whole, those of the network and those that \
                        are paid. Otherwise the former are left out and the latter shortened.",
                value: Value::Bool {
                    get: |file| file.stats.show_addresses,
                    set: |file, value| file.stats.show_addresses = value,
                },
            },
            int!(
                "keep_10s_hours",
                stats.keep_10s_hours as u32,
                1,
                HOURS_MAX,
                "How long the pool's history is kept in steps of 10 seconds, in hours."
            ),
            int!(
                "keep_1m_days",
                stats.keep_1m_days as u32,
                1,
                DAYS_MAX,
                "How long it is kept in steps of a minute, in days."
            ),
            int!(
                "keep_5m_days",
                stats.keep_5m_days as u32,
                1,
                DAYS_MAX,
                "How long it is kept in steps of five minutes, in days."
            ),
            int!(
                "keep_1h_days",
                stats.keep_1h_days as u32,
                1,
                DAYS_MAX,
                "How long it is kept in steps of an hour, in days."
            ),
            int!(
                "keep_worker_5m_days",
                stats.keep_worker_5m_days as u32,
                1,
                WORKER_DAYS_MAX,
                "How long each worker's history is kept in steps of five minutes, in days. 10,000 \
                 workers take about 100 MB a day."
            ),
            int!(
                "keep_worker_1h_days",
                stats.keep_worker_1h_days as u32,
                1,
                DAYS_MAX,
                "How long it is kept in steps of an hour, in days."
            ),
            int!(
                "keep_sessions_days",
                stats.keep_sessions_days as u32,
                1,
                DAYS_MAX,
                "How long sessions that have ended are kept, in days. Totals of workers are kept \
                 for ever."
            ),
            int!(
                "keep_events",
                stats.keep_events as u32,
                100,
                1_000_000,
                "How many of the recent events are kept."
            ),
        ],
    },
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
                 levels of single parts after it."
            ),
        ],
    },
];
