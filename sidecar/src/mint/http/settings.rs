//! What the operator says of the mint's HTTP API.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::super::pem::PemError;
use super::super::text::is_name;

/// The mint's HTTP API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://HOST[:PORT][/PATH]` or `https://…`, without the `/v1`. Redirects are not followed.
    pub url: String,
    /// Take `http` to another machine: then whoever is on the way reads the ids of quotes, and can
    /// answer for the mint.
    pub allow_plain: bool,
    /// Authorities (PEM) that sign the mint's certificate, in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// The mint's unit, lower case. Default of the program: `hash`.
    pub unit: String,
    /// The custom payment method, lower case. Default of the program: `ehash`.
    pub method: String,
    /// How long a call may take, from connecting to the last byte of the answer. Default of the
    /// program: 30 s.
    pub timeout: Duration,
    /// Most calls at a time; others wait. Default of the program: 8.
    pub in_flight_max: usize,
}

/// Why there can be no client. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No URL of a mint.
    #[error("the mint's url {0:?} can't be used: write http://HOST:PORT or https://HOST[/PATH]")]
    Url(String),
    /// Plain HTTP to another machine.
    #[error(
        "the mint's url {0:?} is http to another machine: use https, or allow plain http if nobody \
         else is on that network"
    )]
    Plain(String),
    /// A name that no mint would take.
    #[error("the {what} {name:?} is no name: use lower case letters, digits, - and _")]
    Name {
        /// `unit` or `method`.
        what: &'static str,
        /// What stands there.
        name: String,
    },
    /// Nothing could ever be called.
    #[error("the {0} of calls to the mint is zero: leave it out for the default")]
    Zero(&'static str),
    /// The file of authorities.
    #[error("the mint's ca_file: {0}")]
    Authorities(#[from] PemError),
    /// The TLS library takes none of it.
    #[error("no TLS for the mint ({0}): is ca_file a file of authorities?")]
    Tls(String),
}

impl Settings {
    /// Checks all but the file; answers the URL without a slash at its end.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<String, SettingsError> {
        for (what, name) in [("unit", &self.unit), ("method", &self.method)] {
            if !is_name(name) {
                return Err(SettingsError::Name { what, name: name.clone() });
            }
        }
        match (self.timeout.is_zero(), self.in_flight_max) {
            (true, _) => return Err(SettingsError::Zero("timeout")),
            (_, 0) => return Err(SettingsError::Zero("number")),
            _ => {}
        }
        let bad = || SettingsError::Url(self.url.clone());
        let uri: Uri = self.url.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        let authority = uri.authority().ok_or_else(bad)?.as_str();
        // `uri` drops a fragment without a word.
        if uri.query().is_some() || self.url.contains('#') || authority.contains('@') {
            return Err(bad());
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.allow_plain || is_this_machine(host) => {}
            Some("http") => return Err(SettingsError::Plain(self.url.clone())),
            _ => return Err(bad()),
        }
        Ok(self.url.trim_end_matches('/').to_owned())
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}
