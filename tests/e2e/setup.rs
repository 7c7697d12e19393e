//! SetupConnection and RequestExtensions over the wire: what is refused is told before the close.

use gopool_sv2_tests::attacker::Attacker;
use gopool_sv2_tests::{Line, LineOptions};

const SETUP_ERROR: u8 = 0x02;
const OPEN_ERROR: u8 = 0x12;
const EXTENSIONS: u16 = 1;

/// SetupConnection up to its texts, which are empty.
fn setup(protocol: u8, version: u8, flags: u32) -> Vec<u8> {
    let mut bytes = vec![protocol, version, 0, version, 0];
    bytes.extend(flags.to_le_bytes());
    bytes.extend([0; 7]);
    bytes
}

/// Flags and error string of a SetupConnection.Error.
fn refusal(flags: u32, code: &str) -> Vec<u8> {
    let mut bytes = flags.to_le_bytes().to_vec();
    bytes.push(code.len() as u8);
    bytes.extend(code.as_bytes());
    bytes
}

#[test]
fn sc_8_every_error_is_delivered_before_the_close() {
    let line = Line::start(LineOptions::default()).unwrap();
    for (setup, refusal) in [
        (setup(1, 2, 0), refusal(0, "unsupported-protocol")),
        (setup(255, 2, 0), refusal(0, "unsupported-protocol")),
        (setup(0, 1, 0), refusal(0, "protocol-version-mismatch")),
        (setup(0, 2, 3), refusal(0xffff_fffa, "unsupported-feature-flags")),
        (setup(0, 2, u32::MAX), refusal(0xffff_fffa, "unsupported-feature-flags")),
        (setup(0, 2, 0)[..9].to_vec(), refusal(0, "invalid-setup-connection")),
        (Vec::new(), refusal(0, "invalid-setup-connection")),
    ] {
        // Much that nobody will read is on its way behind it: it must not reset the connection.
        let mut peer = Attacker::new(&line);
        peer.send(0, 0, &setup);
        for _ in 0..20 {
            peer.send(0, 0x13, &[0; 1000]);
        }
        assert_eq!(peer.until_closed(), [(SETUP_ERROR, refusal)], "{setup:?}");
    }
    line.stop().unwrap();
}

#[test]
fn sc_2_a_setup_with_the_channel_bit_is_answered() {
    let line = Line::start(LineOptions::default()).unwrap();
    let mut peer = Attacker::new(&line);
    assert_eq!(peer.send(0x8000, 0, &setup(0, 2, 0)).next_frame(), (0x01, vec![2, 0, 0, 0, 0, 0]));
    line.stop().unwrap();
}

/// RequestExtensions.
fn request(id: u8, extensions: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id, 0, extensions.len() as u8, 0];
    bytes.extend(extensions.iter().flat_map(|extension| [*extension, 0]));
    bytes
}

fn requiring_workers() -> Line {
    let limits = "[extensions]\nrequired = [0x0002]\n".into();
    Line::start(LineOptions { limits, ..LineOptions::default() }).unwrap()
}

#[test]
fn ex_5_a_miner_that_retries_with_the_required_extension_mines() {
    let line = requiring_workers();
    let mut peer = Attacker::new(&line);
    peer.set_up();
    assert_eq!(peer.next_frame().0, 0x01);
    // None of the unsupported, one of the required.
    let lacking = vec![1, 0, 1, 0, 9, 0, 1, 0, 2, 0];
    assert_eq!(peer.send(EXTENSIONS, 0, &request(1, &[9])).next_frame(), (2, lacking));
    let granted = vec![2, 0, 1, 0, 2, 0];
    assert_eq!(peer.send(EXTENSIONS, 0, &request(2, &[2, 9])).next_frame(), (1, granted));
    let mut open = vec![9, 0, 0, 0, line.address.len() as u8];
    open.extend(line.address.as_bytes());
    open.extend(1e9_f32.to_le_bytes());
    open.extend([0xff; 32]);
    open.extend([4, 0]);
    assert_eq!(peer.send(0, 0x13, &open).next_frame().0, 0x14);
    line.stop().unwrap();
}

#[test]
fn ex_4_ex_6_a_miner_without_the_required_extension_hears_why_before_the_close() {
    let line = requiring_workers();
    let mut open = vec![9, 0, 0, 0, 1, b'x'];
    open.extend(1e9_f32.to_le_bytes());
    open.extend([0xff; 32]);
    let code = b"required-extension-not-negotiated";
    let refused = [&[9, 0, 0, 0, code.len() as u8], code.as_slice()].concat();
    let frames = Attacker::new(&line)
        .set_up()
        .send(EXTENSIONS, 0, &request(7, &[]))
        .send(0, 0x10, &open)
        .send(0, 0x10, &open)
        .until_closed();
    let success = (0x01, vec![2, 0, 0, 0, 0, 0]);
    let lacking = (2, vec![7, 0, 0, 0, 1, 0, 2, 0]);
    assert_eq!(frames, [success, lacking, (OPEN_ERROR, refused)]);
    line.stop().unwrap();
}
