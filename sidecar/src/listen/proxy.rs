//! The PROXY protocol, version 2: a load balancer says in front of a connection whose it is
//! (HAProxy, "The PROXY protocol", 2.2). Taken only from addresses that the operator trusts.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const FIXED_LEN: usize = 16;
/// Longest header taken. Addresses are 216 bytes at most and TLVs are short; a longer one could
/// only make us wait.
pub const HEADER_MAX: usize = 536;

/// Why the first bytes of a trusted address are no header. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It doesn't begin as one: perhaps the balancer sends version 1, or none.
    #[error("no PROXY protocol v2 header: switch it on in the load balancer (send-proxy-v2)")]
    Missing,
    /// A version, command, family or transport that is not TCP's.
    #[error("a PROXY header with version/command {0:#04x} and family {1:#04x} is not taken")]
    Unsupported(u8, u8),
    /// Shorter than its addresses, or longer than [`HEADER_MAX`].
    #[error("a PROXY header of {0} bytes")]
    Length(usize),
    /// The socket failed, or ended within the header.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header, and not a byte behind it. `None`: the connection is the balancer's own (a
/// health check), or it doesn't say whose it is; its address is that of the socket.
///
/// # Errors
/// [`ProxyError`]; close the connection.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyError> {
    let mut bytes = [0; HEADER_MAX];
    let (fixed, rest) = bytes.split_at_mut(FIXED_LEN);
    // The signature first: one that sends another protocol need not send 16 bytes.
    for at in 0..SIGNATURE.len() {
        stream.read_exact(&mut fixed[at..=at]).await?;
        if fixed[at] != SIGNATURE[at] {
            return Err(ProxyError::Missing);
        }
    }
    stream.read_exact(&mut fixed[SIGNATURE.len()..]).await?;
    let len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let rest = rest.get_mut(..len).ok_or(ProxyError::Length(FIXED_LEN + len))?;
    stream.read_exact(rest).await?;
    source(fixed[12], fixed[13], rest)
}

/// Whose connection it is. What follows the addresses (TLVs) is not looked at.
fn source(command: u8, family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let short = || ProxyError::Length(FIXED_LEN + rest.len());
    match (command, family) {
        // LOCAL, whatever the family; and PROXY for a stream of unknown or Unix family.
        (0x20, _) | (0x21, 0x00 | 0x31) => Ok(None),
        (0x21, 0x11) => {
            let ends: &[u8; 12] = rest.first_chunk().ok_or_else(short)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *ends;
            let port = u16::from_be_bytes([high, low]);
            Ok(Some((Ipv4Addr::new(a, b, c, d), port).into()))
        }
        (0x21, 0x21) => {
            let ends: &[u8; 36] = rest.first_chunk().ok_or_else(short)?;
            let mut ip = [0; 16];
            ip.copy_from_slice(&ends[..16]);
            let port = u16::from_be_bytes([ends[32], ends[33]]);
            Ok(Some((Ipv6Addr::from(ip).to_canonical(), port).into()))
        }
        _ => Err(ProxyError::Unsupported(command, family)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap();
        [&SIGNATURE, [command, family].as_slice(), &len.to_be_bytes(), rest].concat()
    }

    /// The result, and how many bytes were taken.
    fn taken(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, usize) {
        let all = bytes.len();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(read(&mut bytes));
        (result, all - bytes.len())
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0x0d, 0x08];

    fn v6(ip: &str) -> Vec<u8> {
        let ip: Ipv6Addr = ip.parse().unwrap();
        [&ip.octets()[..], &[0; 16], &[0x12, 0x34, 0, 1]].concat()
    }

    #[test]
    fn takes_the_source_and_not_a_byte_more() {
        let tlvs = [&V4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        for (bytes, wanted) in [
            (header(0x21, 0x11, &V4), Some("203.0.113.9:4660")),
            (header(0x21, 0x11, &tlvs), Some("203.0.113.9:4660")),
            (header(0x21, 0x21, &v6("2001:db8::7")), Some("[2001:db8::7]:4660")),
            (header(0x21, 0x21, &v6("::ffff:203.0.113.9")), Some("203.0.113.9:4660")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x11, &V4), None),
            (header(0x21, 0x00, &[9; 40]), None),
            (header(0x21, 0x31, &[0; 216]), None),
            (header(0x21, 0x11, &[1; HEADER_MAX - FIXED_LEN]), Some("1.1.1.1:257")),
        ] {
            let len = bytes.len();
            let (source, took) = taken(&[&bytes[..], b"what follows"].concat());
            assert_eq!(source.unwrap(), wanted.map(|text| text.parse().unwrap()));
            assert_eq!(took, len);
        }
    }

    #[test]
    fn rejects_what_is_no_header() {
        let error = |bytes: &[u8]| taken(bytes).0.unwrap_err().to_string();
        assert!(error(b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n").contains("send-proxy-v2"));
        assert!(error(&[0x0d]).contains("socket"));
        for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x21, 0x12), (0x21, 0x41)] {
            let found = error(&header(command, family, &V4));
            assert!(found.contains("not taken"), "{found}");
        }
        assert!(error(&header(0x21, 0x11, &V4[..11])).contains("27 bytes"));
        assert!(error(&header(0x21, 0x21, &V4)).contains("28 bytes"));
        let long = header(0x21, 0x11, &[0; HEADER_MAX - FIXED_LEN + 1]);
        let (found, took) = taken(&long);
        assert!(matches!(found, Err(ProxyError::Length(537))));
        assert_eq!(took, FIXED_LEN, "nothing of it is awaited");
        assert!(error(&header(0x21, 0x11, &V4)[..20]).contains("socket"));
    }

    proptest! {
        #[test]
        fn survives_any_bytes(
            good in any::<bool>(),
            mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            if good {
                bytes.splice(..0, SIGNATURE);
            }
            let (_, took) = taken(&bytes);
            prop_assert!(took <= HEADER_MAX);
        }
    }
}
