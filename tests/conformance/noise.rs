//! HS: handshake and certificate (SV2 spec 3.6.5, ch. 4).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secp256k1::schnorr::Signature;
use secp256k1::{Message as Digest, Secp256k1, XOnlyPublicKey};

use crate::message::Message;
use crate::miner::{setup_payload, Miner, PATIENCE};
use crate::noise_wire::{open, seal, sha256, Initiator, Key, Shaken, NAME};
use crate::rig::rig;

const SETUP_LEN: u8 = 41;

fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// Bytes of hexadecimal digits.
fn hex<const N: usize>(digits: &str) -> [u8; N] {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.try_into().unwrap()
}

fn socket() -> TcpStream {
    let socket = rig().socket();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A handshake with primitives of our own.
fn shaken() -> (TcpStream, Shaken) {
    let mut socket = socket();
    let initiator = Initiator::new(sha256(&[b"ephemeral", &now().to_le_bytes()]), None);
    socket.write_all(&initiator.ephemeral).unwrap();
    let mut act2 = [0; 234];
    socket.read_exact(&mut act2).unwrap();
    (socket, initiator.finish(&act2).expect("act 2 authenticates"))
}

/// Header and payload of a SetupConnection, each sealed.
fn sealed_setup(key: &Key) -> Vec<u8> {
    let payload = setup_payload(0, 2, 2, 0);
    assert_eq!(payload.len(), usize::from(SETUP_LEN));
    [seal(key, 0, &[0, 0, 0, SETUP_LEN, 0, 0]), seal(key, 1, &payload)].concat()
}

/// What still comes until the end; a reset is an end, too.
fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    bytes
}

#[test]
fn hs_1_no_plaintext_is_taken_or_sent() {
    let mut socket = socket();
    let payload = setup_payload(0, 2, 2, 0);
    let frame = [&[0, 0, 0, SETUP_LEN, 0, 0][..], &payload, &[0; 200]].concat();
    socket.write_all(&frame).unwrap();
    // The first 64 bytes are a key like any; its answer is random to who has no secret.
    let said = rest(socket);
    assert!(said.len() <= 234, "{} bytes", said.len());
    assert!(!said.starts_with(&[0, 0, 1, 6, 0, 0]), "SetupConnection.Success in the clear");
}

#[test]
fn hs_2_the_handshake_is_bound_to_the_name_of_the_protocol() {
    let h0 = sha256(&[NAME]);
    assert_eq!(h0, hex("2eb47881208e9eee1f669f67c66ee70ea9ea88090d503fe830dc4bc83e29bf10"));
    let h1 = sha256(&[&h0]);
    assert_eq!(h1, hex("922fa32e4f487c0d59caa3bed7899ce3d98db7e13dbd3b7cf2d23dd433dc6104"));
    shaken();
}

#[test]
fn hs_3_act_one_is_64_bytes_without_a_length() {
    let mut socket = socket();
    let initiator = Initiator::new([5; 32], None);
    socket.write_all(&initiator.ephemeral[..63]).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(socket.read(&mut [0; 1]).is_err(), "an answer to 63 bytes");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&initiator.ephemeral[63..]).unwrap();
    let mut act2 = [0; 234];
    socket.read_exact(&mut act2).unwrap();
    assert!(initiator.finish(&act2).is_some());
}

#[test]
fn hs_4_act_two_has_234_bytes() {
    let (mut socket, _) = shaken();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = socket.read(&mut [0; 1]).expect_err("nothing behind the 234 bytes");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
}

/// The transcript with known keys on both sides.
fn vector() -> (Initiator, [u8; 234]) {
    let ephemeral = "1d8a4eace693ae2d9a1e40b458151a9959e2d15364c7a5005d32fe61985fb4e8\
                     f844fbbbfb8c3b6c12e9d5e76141a5ab56201b874bd3871772c45ffca0acd4f8";
    let act2 = "c0290103855dbf5559ec8712e8e3574f00a154d85ed8abcc35c719c2add9ca89\
                e63cab5ed7be08c0b39489ee7d8cb691358db3fddb97cd6bca8977914061c588\
                9416ce9bfc78205cde65ec511f212f8391bb491a83f5f8947a40da667a2fe041\
                d83af0f60b44ae16eb0abdf85ce4f36add6ddb0e0ea11d7d72b9a58a315f77bd\
                d839c978d44cf822931aa8ea590d1b1289ead34427c32a9200c152df43c618fe\
                11dd247a043a40f4e17ab970ab1fdb569488ae634922ab2dbf53ba63e952b353\
                2adec29e701d323a11a247e6e7df45ccab743a4e344db4cf68721360bcfaa946\
                0fc1cde664fe85fcb773";
    (Initiator::new([0x11; 32], Some(hex(ephemeral))), hex(act2))
}

#[test]
fn hs_5_the_servers_part_in_both_key_exchanges_is_b() {
    let (initiator, act2) = vector();
    let Shaken { keys, .. } = initiator.finish(&act2).expect("the vector");
    let c1 = hex("818d9ee86a441bdd3bf4a91ed0cc62bc3e081b3a1c770c42f038209703cc3f74");
    let c2 = hex("549a89457b6b1932263d05b540e07831be03b0cbf805310070ba3e93a04ae79e");
    assert_eq!(keys, (c1, c2));
    // The same code, on the server.
    shaken();
}

#[test]
fn hs_6_keys_are_hashed_as_they_travel_and_sealed_one_by_one() {
    let (initiator, act2) = vector();
    let said = hex("e7f36937eb3eb197ae2dd4775e5497bed88b3288429e2c745619c94f28905231");
    assert_eq!(initiator.hash(), said);
    assert!(initiator.finish(&act2).is_some());
    // A change anywhere in act 2 shows.
    for at in [0, 63, 64, 100, 143, 144, 233] {
        let (initiator, mut act2) = vector();
        act2[at] ^= 1;
        assert!(initiator.finish(&act2).is_none(), "{at}");
    }
    shaken();
}

#[test]
fn hs_7_nonces_count_up_on_each_way() {
    let (mut socket, Shaken { keys: (ours, theirs), .. }) = shaken();
    socket.write_all(&sealed_setup(&ours)).unwrap();
    let mut answer = [0; 22 + 22];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(open(&theirs, 0, &answer[..22]).unwrap(), [0, 0, 1, 6, 0, 0]);
    assert_eq!(open(&theirs, 1, &answer[22..]).unwrap(), [2, 0, 0, 0, 0, 0]);
    // A request for an extension that nobody has: the third and fourth piece on each way.
    socket.write_all(&seal(&ours, 2, &[1, 0, 0, 6, 0, 0])).unwrap();
    let request = seal(&ours, 3, &[1, 0, 1, 0, 0xfe, 0xff]);
    socket.write_all(&request).unwrap();
    let mut header = [0; 22];
    socket.read_exact(&mut header).unwrap();
    let header = open(&theirs, 2, &header).unwrap();
    assert_eq!(header[..3], [1, 0, 2]);
    let mut payload = vec![0; usize::from(header[3]) + 16];
    socket.read_exact(&mut payload).unwrap();
    assert!(open(&theirs, 3, &payload).is_some());
    // What was sent once is garbage the next time.
    socket.write_all(&request).unwrap();
    socket.write_all(&request).unwrap();
    assert!(rest(socket).is_empty());
}

#[test]
fn hs_8_nothing_is_processed_after_a_piece_that_does_not_authenticate() {
    for at in [0, 21, 22, 30, usize::from(SETUP_LEN) + 37] {
        let (mut socket, Shaken { keys: (ours, _), .. }) = shaken();
        let mut setup = sealed_setup(&ours);
        setup[at] ^= 1;
        socket.write_all(&setup).unwrap();
        // A good one behind it; the listener may have closed already.
        let _ = socket.write_all(&sealed_setup(&ours));
        let _ = socket.write_all(&[0; 200]);
        assert!(rest(socket).is_empty(), "{at}");
    }
}

#[test]
fn hs_9_the_certificate_is_of_version_0_and_says_from_when_to_when() {
    let (_, Shaken { certificate, .. }) = shaken();
    assert_eq!(certificate.version, 0);
    assert!(certificate.valid_from < certificate.not_valid_after);
}

#[test]
fn hs_10_the_authority_signed_the_static_key() {
    let (_, Shaken { certificate, .. }) = shaken();
    let authority = XOnlyPublicKey::from_slice(&rig().authority).unwrap();
    let signature = Signature::from_slice(&certificate.signature).unwrap();
    let digest = Digest::from_digest(certificate.digest);
    Secp256k1::new().verify_schnorr(&signature, &digest, &authority).expect("the URL's key");
}

#[test]
fn hs_11_the_certificate_holds_now() {
    let (_, Shaken { certificate, .. }) = shaken();
    assert!((certificate.valid_from..certificate.not_valid_after).contains(&now()));
}

#[test]
fn hs_12_a_clock_that_is_an_hour_slow_is_served() {
    let (_, Shaken { certificate, .. }) = shaken();
    // Both clocks are this machine's, or both are set by the net: seconds of difference.
    assert!(now() - certificate.valid_from >= 3590, "{certificate:?}");
    assert!(certificate.not_valid_after - now() >= 60, "{certificate:?}");
}

#[test]
fn hs_14_who_stands_still_in_the_handshake_is_closed_and_delays_nobody() {
    let silent: Vec<_> = (0..8).map(|_| socket()).collect();
    let mut slow = socket();
    slow.write_all(&[1; 63]).unwrap();
    let mut miner = Miner::fresh(rig());
    miner.say(0x00, &setup_payload(0, 2, 2, 0));
    assert!(matches!(miner.next(), Message::SetupSuccess { .. }));
    for socket in silent.into_iter().chain([slow]) {
        assert!(rest(socket).is_empty());
    }
}

#[test]
fn hs_15_the_url_carries_the_authoritys_key_with_a_checksum() {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let (scheme, key) = (rig().url.split("://").next(), rig().url.rsplit('/').next().unwrap());
    assert_eq!(scheme, Some("stratum2+tcp"));
    // Version, key, checksum: 38 bytes, the highest first.
    let mut number = [0_u8; 38];
    for digit in key.bytes() {
        let mut carry = DIGITS.iter().position(|d| *d == digit).expect("base58") as u32;
        for byte in number.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        assert_eq!(carry, 0, "longer than 38 bytes");
    }
    let (payload, checksum) = number.split_at(34);
    assert_eq!(checksum, &sha256(&[&sha256(&[payload])])[..4]);
    assert_eq!(payload[..2], [1, 0]);
    assert_eq!(payload[2..], rig().authority);
}
