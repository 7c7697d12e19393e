//! Readers of the text values: each takes what stands between the quotes and gives the setting or
//! what is wrong with it.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustls_pki_types::ServerName;

use super::model::{AdminAddress, PoolAddress, SinkAddress};
use super::suggest::nearest;
use crate::keys::KeyFile;
use crate::obs::{self, Format};
use crate::types::{Network, NetworkError};

/// Longest sidecar name, in characters: it becomes a label of the pool's records.
const SIDECAR_ID_MAX: usize = 64;

/// Characters of a value that are repeated in a problem.
const SHOWN_MAX: usize = 60;

/// A value for a problem's text: quoted, on one line, bounded.
pub(super) fn shown(value: &str) -> String {
    let mut short: String = value.chars().take(SHOWN_MAX).collect();
    if short.len() < value.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}

/// `0.0.0.0:3336`, `[::]:3336`. Port 0 (the system picks one, `serve` prints it) is for trials on
/// this machine only.
pub(super) fn socket_address(value: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = value.parse::<SocketAddr>() {
        if address.port() == 0 && !address.ip().is_loopback() {
            return Err("port 0 would be another port at each start: write the one that is \
                        to be dialled, for example 3336"
                .to_owned());
        }
        return Ok(address);
    }
    let wanted = "write an IP address and a port, for example \"0.0.0.0:3336\" or \"[::]:3336\"";
    if value.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("{} has no port: {wanted}", shown(value)));
    }
    Err(format!("{} is not a socket address: {wanted}", shown(value)))
}

/// An IP network.
pub(super) fn network(value: &str) -> Result<Network, String> {
    value.parse().map_err(|error: NetworkError| format!("{} {error}", shown(value)))
}

/// A path, or `credential:NAME`.
pub(super) fn key_file(value: &str) -> Result<KeyFile, String> {
    let Some(name) = value.strip_prefix("credential:") else {
        return path(value).map(KeyFile::Path);
    };
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if name.is_empty() || !plain || name.starts_with('.') {
        return Err(format!(
            "{} is not the name of a credential: write the name that LoadCredential= of the \
             systemd unit gives it (letters, digits, '.', '_', '-')",
            shown(name)
        ));
    }
    Ok(KeyFile::Credential(name.to_owned()))
}

/// `unix:PATH`, `tls:HOST:PORT` or `tcp:LOOPBACK:PORT`.
pub(super) fn pool_address(value: &str) -> Result<PoolAddress, String> {
    match value.split_once(':') {
        Some(("unix", rest)) => socket_path(value, rest).map(PoolAddress::Unix),
        Some(("tls", rest)) => tls_address(value, rest.strip_prefix("//").unwrap_or(rest)),
        Some(("tcp", rest)) => tcp_address(value, rest.strip_prefix("//").unwrap_or(rest)),
        _ => Err(format!(
            "{} can't be used: write \"unix:/path/to/socket\", or \"tls:HOST:PORT\" for a pool on \
             another machine",
            shown(value)
        )),
    }
}

/// `unix:PATH` or `tcp:LOOPBACK:PORT`; nothing for none.
pub(super) fn sink_address(value: &str) -> Result<Option<SinkAddress>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.split_once(':') {
        Some(("unix", rest)) => socket_path(value, rest).map(SinkAddress::Unix).map(Some),
        Some(("tcp", rest)) => {
            let address = rest.strip_prefix("//").unwrap_or(rest).parse::<SocketAddr>().ok();
            let local = address.filter(|address| address.port() != 0 && address.ip().is_loopback());
            local.map(SinkAddress::Tcp).map(Some).ok_or_else(|| {
                format!(
                    "{} is not a loopback address with a port: write \"tcp:127.0.0.1:PORT\"; what \
                     miners do does not leave this machine in the clear",
                    shown(value)
                )
            })
        }
        _ => Err(format!(
            "{} can't be used: write \"unix:/path/to/socket\" or \"tcp:127.0.0.1:PORT\", where \
             the stats service on this machine takes events",
            shown(value)
        )),
    }
}

pub(super) fn socket_path(value: &str, rest: &str) -> Result<PathBuf, String> {
    // "unix:///path" is the same socket in the URL spelling; "unix://host/path" is nothing.
    let rest = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => {
            return Err(format!("{} names a host: write \"unix:/path/to/socket\"", shown(value)))
        }
        None => rest,
    };
    if rest.starts_with('@') {
        return Err("abstract sockets have no file permissions and are not supported: write \
                    \"unix:/path/to/socket\""
            .to_owned());
    }
    path(rest)
}

fn tls_address(value: &str, rest: &str) -> Result<PoolAddress, String> {
    let wanted = "write \"tls:HOST:PORT\", for example \"tls:pool.example:3337\" or \
                  \"tls:[2001:db8::1]:3337\"";
    let (host, port) = match rest.rsplit_once(':') {
        // The last colon of an IPv6 address stands before no port.
        Some((host, port)) if host.starts_with('[') == host.ends_with(']') => (host, port),
        _ => return Err(format!("{} has no port: {wanted}", shown(value))),
    };
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    let port =
        port.ok_or_else(|| format!("{} has no port from 1 to 65535: {wanted}", shown(value)))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
        None => !host.contains(':') && ServerName::try_from(host).is_ok(),
    };
    if !good {
        return Err(format!("{} names no host: {wanted}", shown(value)));
    }
    Ok(PoolAddress::Tls { host: bare.unwrap_or(host).to_owned(), port })
}

fn tcp_address(value: &str, rest: &str) -> Result<PoolAddress, String> {
    let address = rest.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    let Some(address) = address else {
        return Err(format!(
            "{} is not a loopback address with a port: write \"tcp:127.0.0.1:PORT\", or \
             \"tls:HOST:PORT\"",
            shown(value)
        ));
    };
    if !address.ip().is_loopback() {
        return Err(format!(
            "{} would carry shares and payout addresses over a network in the clear: write \
             \"tls:{address}\" and fill in [pool.tls]",
            shown(value)
        ));
    }
    Ok(PoolAddress::Tcp(address))
}

/// A DNS name or an IP address; empty leaves it to the address.
pub(super) fn server_name(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    if ServerName::try_from(value).is_err() {
        return Err(format!(
            "{} is neither a DNS name nor an IP address: write what stands in the pool's \
             certificate as subject alternative name, without a port",
            shown(value)
        ));
    }
    Ok(Some(value.to_owned()))
}

/// A name of printable ASCII without spaces.
pub(super) fn sidecar_id(value: &str) -> Result<String, String> {
    let printable = value.bytes().all(|byte| byte.is_ascii_graphic());
    if value.is_empty() || value.len() > SIDECAR_ID_MAX || !printable {
        return Err(format!(
            "{} can't be used: write 1 to {SIDECAR_ID_MAX} printable ASCII characters without \
             spaces",
            shown(value)
        ));
    }
    Ok(value.to_owned())
}

/// One of the formats.
pub(super) fn format(value: &str) -> Result<Format, String> {
    Format::ALL.into_iter().find(|format| format.as_str() == value).ok_or_else(|| {
        let names = Format::ALL.map(|format| format.as_str());
        let hint = nearest(value, names).map(|near| format!("; did you mean `{near}`?"));
        format!(
            "{} is not a format: write one of \"{}\"{}",
            shown(value),
            names.join("\", \""),
            hint.unwrap_or_default()
        )
    })
}

/// Filter directives of tracing.
pub(super) fn filter(value: &str) -> Result<String, String> {
    let remedy = "write levels and targets, for example \"info\" or \"info,gopool_sv2=debug\"";
    if let Err(error) = obs::check_filter(value) {
        // The parser's text may repeat what it was given.
        let error: String = error.to_string().chars().take(200).collect();
        return Err(format!("{}: {}; {remedy}", shown(value), error.escape_debug()));
    }
    // A lone word that is no level is taken for a target, and everything else goes silent.
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for word in value.split(',').map(str::trim) {
        let lower = word.to_lowercase();
        let level = LEVELS.contains(&lower.as_str());
        if let Some(near) = nearest(&lower, LEVELS).filter(|_| !level) {
            return Err(format!("{} is not a level; did you mean `{near}`?", shown(word)));
        }
    }
    Ok(value.to_owned())
}

/// A path; empty stands for none.
pub(super) fn optional_path(value: &str) -> Result<Option<PathBuf>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    path(value).map(Some)
}

/// The text of such a path.
pub(super) fn path_or_empty(path: &Option<PathBuf>) -> String {
    path.as_deref().map_or_else(String::new, |path| path.display().to_string())
}

/// `127.0.0.1:PORT` or `unix:PATH`; empty stands for none.
pub(super) fn admin_address(value: &str) -> Result<Option<AdminAddress>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let address = value.parse().map_err(|error| format!("{} is no address: {error}", shown(value)));
    address.map(Some)
}

/// As [`key_file`]; empty stands for none.
pub(super) fn optional_key_file(value: &str) -> Result<Option<KeyFile>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    key_file(value).map(Some)
}

/// A path that an operator can also type.
pub(super) fn path(value: &str) -> Result<PathBuf, String> {
    if value.is_empty() {
        return Err("is empty: write a path".to_owned());
    }
    if value.chars().any(char::is_control) {
        return Err(format!("{} holds control characters: write a plain path", shown(value)));
    }
    Ok(PathBuf::from(value))
}
