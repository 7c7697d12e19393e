//! The way to the payment processor: where it is, with which certificates, and waiting until it
//! is there.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Error, Result};
use cdk::cdk_payment::{MintPayment, SettingsResponse};
use cdk_payment_processor::PaymentProcessorClient;

/// The files of the mint's side, as stock `cdk-mintd` names them.
pub const FILES: [&str; 3] = ["ca.pem", "client.pem", "client.key"];

/// Time between two tries to reach a processor.
const BETWEEN: Duration = Duration::from_secs(1);

/// A reason that did not change is told again after this many tries.
const TELL_EVERY: u64 = 10;

/// Longest time that one try may take.
const TRY_MAX: Duration = Duration::from_secs(10);

/// Where the processor listens: `host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or address, IPv6 in brackets; as it stands in an URL.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
}

impl Address {
    /// Whether nobody but this machine can be there.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let form = "must be host:port, for example 127.0.0.1:50051 or [::1]:50051";
        let (host, port) = text.rsplit_once(':').context(form)?;
        let port = port.parse().ok().filter(|port| *port != 0).context(form)?;
        let bare = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inner) => {
                let inner = inner.context(form)?;
                ensure!(inner.parse::<std::net::Ipv6Addr>().is_ok(), form);
                inner
            }
            None => host,
        };
        let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        ensure!(!bare.is_empty() && (bare != host || host.chars().all(known)), form);
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How the mint reaches its processor.
#[derive(Clone, Debug)]
pub struct Link {
    address: Address,
    tls_dir: Option<PathBuf>,
}

impl Link {
    /// With mutual TLS when there is a folder of certificates (see [`FILES`]), else in the clear.
    ///
    /// # Errors
    /// A file that is missing, or a way in the clear that leaves this machine.
    pub fn new(address: Address, tls_dir: Option<&Path>) -> Result<Self> {
        match tls_dir {
            Some(dir) => {
                for name in FILES {
                    let path = dir.join(name);
                    std::fs::File::open(&path).with_context(|| {
                        format!("{} can't be read: mintd/certificates makes it", path.display())
                    })?;
                }
            }
            None => ensure!(
                address.is_loopback(),
                "{address} is not on this machine: whoever is between could make money, so use \
                 --tls-dir"
            ),
        }
        Ok(Self { address, tls_dir: tls_dir.map(Path::to_owned) })
    }

    /// Dials until the processor answers, and says on the way what is missing. Returns it
    /// together with its settings. Never gives up: to stop, drop the future.
    pub async fn wait(&self) -> (PaymentProcessorClient, SettingsResponse) {
        let start = Instant::now();
        let mut told = String::new();
        let mut tries = 0u64;
        loop {
            tries += 1;
            let tried = tokio::time::timeout(TRY_MAX, self.dial()).await;
            let why = match tried.unwrap_or_else(|_| late()) {
                Ok(found) => {
                    tracing::info!(processor = %self.address, "the payment processor answers");
                    return found;
                }
                Err(why) => format!("{why:#}"),
            };
            if why != told || tries.is_multiple_of(TELL_EVERY) {
                let seconds = start.elapsed().as_secs();
                tracing::warn!(processor = %self.address, tries, seconds, why,
                    "waiting for the payment processor");
                told = why;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    async fn dial(&self) -> Result<(PaymentProcessorClient, SettingsResponse)> {
        let Address { host, port } = &self.address;
        let client = PaymentProcessorClient::new(host, *port, self.tls_dir.clone()).await?;
        let settings = client.get_settings().await?;
        Ok((client, settings))
    }
}

fn late<T>() -> Result<T> {
    bail!("no answer within {} s", TRY_MAX.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for good in ["127.0.0.1:50051", "[::1]:1", "localhost:2", "pool-1.example:65535"] {
            assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
        }
    }

    #[test]
    fn rejects_what_is_no_address() {
        for bad in
            ["", "50051", "127.0.0.1", "a:0", ":1", "::1:2", "[::1:2", "[a]:1", "a/b:1", "a:b"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rejects_a_way_in_the_clear_that_leaves_the_machine() {
        for (address, ok) in [("127.0.0.1:1", true), ("[::1]:1", true), ("localhost:1", true)]
            .into_iter()
            .chain([("10.0.0.1:1", false), ("pool.example:1", false), ("[::2]:1", false)])
        {
            let link = Link::new(address.parse().expect(address), None);
            assert_eq!(link.is_ok(), ok, "{address}");
        }
    }

    #[test]
    fn rejects_a_folder_without_certificates_and_says_how_to_make_them() {
        let dir = tempfile::tempdir().expect("folder");
        let link = Link::new("127.0.0.1:1".parse().expect("address"), Some(dir.path()));
        let why = link.expect_err("refused").to_string();
        assert!(why.contains("ca.pem") && why.contains("mintd/certificates"), "{why}");
    }
}
