//! Pool addresses: `stratum2+tcp://host:port/AUTHORITY_KEY` (SV2 specification, section 4.7).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use key_utils::Secp256k1PublicKey;

const SCHEME: &str = "stratum2+tcp";
const BASE58: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Where a pool listens and which authority must have signed its certificate.
///
/// `Display` prints the same text that `FromStr` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUrl {
    host: String,
    port: u16,
    authority: [u8; 32],
    key_text: String,
}

impl PoolUrl {
    /// The host: a name, an IPv4 address, or an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority's x-only secp256k1 public key, 32 bytes, big-endian as in BIP340.
    pub fn authority(&self) -> [u8; 32] {
        self.authority
    }

    /// The same authority at another place, as a `Reconnect` message asks for (SV2
    /// specification, section 3.6.5): an empty host or port 0 means "as before".
    pub fn redirected(&self, host: &str, port: u16) -> Result<Self, UrlFault> {
        let mut url = self.clone();
        if !host.is_empty() {
            url.host = checked_host(host)?;
        }
        if port != 0 {
            url.port = port;
        }
        Ok(url)
    }

    /// `host:port` as the resolver takes it, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}://{}/{}", self.address(), self.key_text)
    }
}

impl FromStr for PoolUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let (host, port, key) = split(text)?;
        let authority = parse_key(key)?.into_bytes();
        Ok(Self { host, port, authority, key_text: key.to_owned() })
    }
}

/// What is wrong with a pool address; every text says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// No `://` in it.
    #[error("the pool address has no scheme; write {SCHEME}://host:port/AUTHORITY_KEY")]
    SchemeMissing,
    /// Another scheme, for example `stratum+tcp`, which is Stratum V1.
    #[error("unknown scheme {0:?}; a Stratum V2 address starts with {SCHEME}://")]
    Scheme(String),
    /// Nothing before the port.
    #[error("the pool address has no host; write {SCHEME}://host:port/AUTHORITY_KEY")]
    HostMissing,
    /// A host with characters no host name and no IP address has.
    #[error("{0:?} is no host name and no IP address (IPv6 goes in brackets; no user name here)")]
    Host(String),
    /// No port: the protocol has no default one.
    #[error("the pool address has no port; write {SCHEME}://host:port/AUTHORITY_KEY")]
    PortMissing,
    /// A port that is not 1 to 65535.
    #[error("{0:?} is no port; it must be a number from 1 to 65535")]
    Port(String),
    /// No key after the port.
    #[error(
        "the pool address has no authority key; the pool's operator publishes it as part of \
             the address, after the port and a slash"
    )]
    KeyMissing,
    /// A character that base58 does not have.
    #[error(
        "the authority key has {character:?} at position {position}, which base58 does not \
             use; copy the key again"
    )]
    KeyCharacter {
        /// The character.
        character: char,
        /// Its place in the key, counted from 1.
        position: usize,
    },
    /// The checksum at the end does not fit the rest.
    #[error("the authority key's checksum is wrong: it is mistyped or cut off; copy it again")]
    KeyChecksum,
    /// Intact base58check, but not two version bytes and 32 key bytes.
    #[error("the authority key is intact but has the wrong length; is it another kind of key?")]
    KeyLength,
    /// A version other than 1, for example a Bitcoin address or a secret key.
    #[error("the authority key has version {0}, known is 1; is it another kind of key?")]
    KeyVersion(u16),
    /// 32 bytes that are no point of the curve.
    #[error("the authority key is no valid secp256k1 public key")]
    KeyInvalid,
}

/// Host, port and key of an address; the key is not looked at and may be empty.
pub(crate) fn split(text: &str) -> Result<(String, u16, &str), UrlFault> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").ok_or(UrlFault::SchemeMissing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(UrlFault::Scheme(scheme.to_owned()));
    }
    let (place, key) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = split_place(place)?;
    let host = checked_host(host)?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok((host, port, key)),
        _ => Err(UrlFault::Port(port.to_owned())),
    }
}

/// `host:port` as the resolver takes it.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn split_place(place: &str) -> Result<(&str, &str), UrlFault> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or_else(|| UrlFault::Host(place.to_owned()))?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(UrlFault::Host(host.to_owned()));
        }
        let port = tail.strip_prefix(':').filter(|p| !p.is_empty());
        return port.map(|port| (host, port)).ok_or(UrlFault::PortMissing);
    }
    if place.is_empty() {
        return Err(UrlFault::HostMissing);
    }
    match place.rsplit_once(':') {
        None | Some((_, "")) => Err(UrlFault::PortMissing),
        // More than one colon outside brackets is an IPv6 address written without them.
        Some((host, _)) if host.contains(':') => Err(UrlFault::Host(place.to_owned())),
        Some(found) => Ok(found),
    }
}

fn checked_host(host: &str) -> Result<String, UrlFault> {
    if host.is_empty() {
        return Err(UrlFault::HostMissing);
    }
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.chars().all(name) || host.parse::<Ipv6Addr>().is_ok() {
        Ok(host.to_owned())
    } else {
        Err(UrlFault::Host(host.to_owned()))
    }
}

fn parse_key(key: &str) -> Result<Secp256k1PublicKey, UrlFault> {
    if key.is_empty() {
        return Err(UrlFault::KeyMissing);
    }
    let foreign = |c: &(usize, char)| !u8::try_from(c.1).is_ok_and(|b| BASE58.contains(&b));
    if let Some((at, character)) = key.chars().enumerate().find(foreign) {
        return Err(UrlFault::KeyCharacter { character, position: at + 1 });
    }
    key.parse::<Secp256k1PublicKey>().map_err(|error| match error {
        // Every character was found good above, so what is left to fail is the checksum.
        key_utils::Error::Bs58Decode(_) => UrlFault::KeyChecksum,
        key_utils::Error::KeyLength => UrlFault::KeyLength,
        key_utils::Error::KeyVersion(version) => UrlFault::KeyVersion(version),
        key_utils::Error::Secp256k1(_) | key_utils::Error::Custom(_) => UrlFault::KeyInvalid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // From the Noise test vector of the protocol notes (authority secret: 32 bytes of 0x44).
    const KEY: &str = "9axyEG5bASfivgHzqZTvGPnforoki8Z1qXvSAe6CbAK3wFAVETn";

    fn fault(text: &str) -> UrlFault {
        text.parse::<PoolUrl>().expect_err(text)
    }

    #[test]
    fn reads_names_and_addresses_and_prints_them_back() {
        for place in ["pool.example:3336", "127.0.0.1:1", "[::1]:65535", "a-b_c.example:34254"] {
            let text = format!("stratum2+tcp://{place}/{KEY}");
            let url: PoolUrl = text.parse().expect(place);
            assert_eq!(url.to_string(), text);
            assert_eq!(url.address(), place);
            assert_eq!(url.authority()[..4], [0x2c, 0x0b, 0x7c, 0xf9]);
        }
        let url: PoolUrl = format!("stratum2+tcp://[::1]:7/{KEY}").parse().expect("url");
        assert_eq!((url.host(), url.port()), ("::1", 7));
    }

    #[test]
    fn rejects_a_wrong_scheme_host_or_port_by_name() {
        assert_eq!(fault("pool.example:3336"), UrlFault::SchemeMissing);
        assert_eq!(fault(""), UrlFault::SchemeMissing);
        let v1 = format!("stratum+tcp://pool.example:3333/{KEY}");
        assert_eq!(fault(&v1), UrlFault::Scheme("stratum+tcp".into()));
        assert_eq!(fault(&format!("stratum2+tcp:///{KEY}")), UrlFault::HostMissing);
        assert_eq!(fault(&format!("stratum2+tcp://:3336/{KEY}")), UrlFault::HostMissing);
        for host in ["user@pool", "a b", "[::zz]", "::1", "[::1"] {
            let text = format!("stratum2+tcp://{host}:3336/{KEY}");
            assert!(matches!(fault(&text), UrlFault::Host(_)), "{text}");
        }
        for place in ["pool.example", "pool.example:", "[::1]", "[::1]:"] {
            assert_eq!(fault(&format!("stratum2+tcp://{place}/{KEY}")), UrlFault::PortMissing);
        }
        for port in ["0", "65536", "x", "-1", "3336x"] {
            let text = format!("stratum2+tcp://pool.example:{port}/{KEY}");
            assert_eq!(fault(&text), UrlFault::Port(port.into()));
        }
    }

    #[test]
    fn rejects_a_damaged_key_by_name() {
        let with = |key: &str| fault(&format!("stratum2+tcp://pool.example:3336/{key}"));
        assert_eq!(with(""), UrlFault::KeyMissing);
        assert_eq!(fault("stratum2+tcp://pool.example:3336"), UrlFault::KeyMissing);
        assert_eq!(with(&KEY[..KEY.len() - 1]), UrlFault::KeyChecksum);
        assert_eq!(with(&KEY.replacen('y', "z", 1)), UrlFault::KeyChecksum);
        assert_eq!(with("1"), UrlFault::KeyChecksum);
        let zero = KEY.replacen('x', "0", 1);
        assert_eq!(with(&zero), UrlFault::KeyCharacter { character: '0', position: 3 });
        assert!(matches!(with(&format!("{KEY}/")), UrlFault::KeyCharacter { character: '/', .. }));
        // A secret key of the same family: intact, but 32 bytes only.
        let secret = key_utils::Secp256k1SecretKey(
            secp256k1::SecretKey::from_slice(&[0x44; 32]).expect("secret"),
        );
        assert_eq!(with(&secret.to_string()), UrlFault::KeyLength);
    }

    #[test]
    fn redirects_keep_the_authority_and_what_is_left_empty() {
        let url: PoolUrl = format!("stratum2+tcp://pool.example:3336/{KEY}").parse().expect("url");
        assert_eq!(url.redirected("", 0), Ok(url.clone()));
        let other = url.redirected("other.example", 0).expect("host");
        assert_eq!((other.host(), other.port()), ("other.example", 3336));
        assert_eq!(other.authority(), url.authority());
        assert_eq!(url.redirected("", 9).expect("port").address(), "pool.example:9");
        assert!(url.redirected("evil host\n", 0).is_err());
    }
}
