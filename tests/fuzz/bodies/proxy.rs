//! Target 11: whatever a balancer puts in front of a connection.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gopool_sv2::listen::{read_proxy_header, ProxyError, HEADER_MAX};
use tokio::runtime::{Builder, Runtime};

use super::input::Input;

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().build().expect("a runtime"));
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is in the header, read by index from the text of the protocol. `Err`: no header that is
/// taken, or not all of it is there.
fn naive(bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), ()> {
    if bytes.len() < 16 || &bytes[..12] != SIGNATURE {
        return Err(());
    }
    let len = usize::from(bytes[14]) << 8 | usize::from(bytes[15]);
    let whole = 16 + len;
    if whole > HEADER_MAX || bytes.len() < whole {
        return Err(());
    }
    let at = |offset: usize| u16::from(bytes[offset]) << 8 | u16::from(bytes[offset + 1]);
    let source = match (bytes[12], bytes[13]) {
        (0x20, _) | (0x21, 0x00 | 0x31) => None,
        (0x21, 0x11) if len >= 12 => {
            let ip: [u8; 4] = bytes[16..20].try_into().unwrap();
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), at(24)))
        }
        (0x21, 0x21) if len >= 36 => {
            let ip: [u8; 16] = bytes[16..32].try_into().unwrap();
            Some(SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), at(48)))
        }
        _ => return Err(()),
    };
    Ok((source, whole))
}

/// The first byte says how the rest is made: as it is, behind the signature, or behind a header
/// with the right length.
pub fn protocol_v2(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes = match input.u8() % 3 {
        0 => input.rest().to_vec(),
        1 => [SIGNATURE, input.rest()].concat(),
        _ => {
            let kind = [input.pick(&[0x20, 0x21, 0x21, 0x22]), input.pick(&[0, 0x11, 0x21, 0x31])];
            let rest = input.rest();
            let len = u16::try_from(rest.len().min(0xffff)).unwrap().to_be_bytes();
            [SIGNATURE, &kind[..], &len, rest].concat()
        }
    };
    let mut stream = bytes.as_slice();
    let got = RUNTIME.with_borrow(|runtime| runtime.block_on(read_proxy_header(&mut stream)));
    let took = bytes.len() - stream.len();
    assert!(took <= HEADER_MAX, "{took} bytes were taken");
    match (naive(&bytes), got) {
        (Ok((source, whole)), Ok(got)) => assert_eq!((got, took), (source, whole)),
        (Err(()), Err(error)) => {
            assert!(!error.to_string().is_empty());
            if matches!(error, ProxyError::Missing) {
                assert!(!bytes.starts_with(SIGNATURE));
            }
        }
        (naive, got) => panic!("{naive:?}, but {got:?}"),
    }
}
