//! The address of a server to probe: a pool's address whose key may be left out.

use std::fmt;
use std::str::FromStr;

use crate::client::{self, PoolUrl, UrlFault};

/// Where to connect, and which authority must vouch for the server if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeUrl {
    host: String,
    port: u16,
    authority: Option<[u8; 32]>,
}

impl ProbeUrl {
    /// The host: a name, an IPv4 address, or an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority's x-only secp256k1 public key, 32 bytes, big-endian as in BIP340. Without it
    /// nothing tells whose server answers.
    pub fn authority(&self) -> Option<[u8; 32]> {
        self.authority
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        client::address(&self.host, self.port)
    }
}

impl fmt::Display for ProbeUrl {
    /// `host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

impl FromStr for ProbeUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let (host, port, key) = client::split(text)?;
        let authority = match key {
            "" => None,
            _ => Some(text.parse::<PoolUrl>()?.authority()),
        };
        Ok(Self { host, port, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A public key: of the authority secret 0x44..44 of the protocol's test vector.
    const KEY: &str = "9axyEG5bASfivgHzqZTvGPnforoki8Z1qXvSAe6CbAK3wFAVETn";

    #[test]
    fn reads_addresses_with_and_without_a_key() {
        let url: ProbeUrl = format!("stratum2+tcp://[::1]:3336/{KEY}").parse().unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 3336));
        assert_eq!(url.authority().unwrap()[..2], [0x2c, 0x0b]);
        for text in ["stratum2+tcp://pool.example:3336", "stratum2+tcp://pool.example:3336/"] {
            let url: ProbeUrl = text.parse().unwrap();
            assert_eq!(url.authority(), None);
            assert_eq!(url.to_string(), "pool.example:3336");
        }
    }

    #[test]
    fn rejects_what_the_miner_rejects() {
        for text in ["pool.example:3336", "stratum+tcp://pool.example:3336", "stratum2+tcp://x"] {
            assert!(text.parse::<ProbeUrl>().is_err(), "{text}");
        }
        let damaged = format!("stratum2+tcp://pool.example:3336/{}", &KEY[1..]);
        assert_eq!(damaged.parse::<ProbeUrl>(), Err(UrlFault::KeyChecksum));
    }
}
