//! Our frames against codec_sv2, in both directions and at every awkward length.

use codec_sv2::{Decrypted, Handshake, NoiseDecoder, NoiseEncoder, Transport};
use framing_sv2::framing::SerializedFrame;
use noise_sv2::{Initiator, NoiseEngine, Responder};
use proptest::prelude::*;

use super::*;

/// Raw bytes as a message.
struct Raw(Vec<u8>);

impl binary_sv2::GetSize for Raw {
    fn get_size(&self) -> usize {
        self.0.len()
    }
}

impl From<Raw> for binary_sv2::EncodableField<'_> {
    fn from(raw: Raw) -> Self {
        let bytes = raw.0.into_iter();
        Self::Struct(bytes.map(Into::into).collect())
    }
}

fn responder() -> Box<Responder> {
    let secp = secp256k1::Secp256k1::new();
    Responder::new(secp256k1::Keypair::new(&secp, &mut rand::thread_rng()), 60)
}

/// Client and server ends of one session.
pub(crate) fn engines() -> (NoiseEngine, NoiseEngine) {
    let mut initiator = Initiator::without_pk().unwrap();
    let (act2, server) = responder().step_1(initiator.step_0().unwrap()).unwrap();
    (initiator.step_2(act2).unwrap(), server)
}

/// The same with codec_sv2 at the client's end, which only its own handshake gives.
fn codec_and_engine() -> (Transport, NoiseEngine) {
    let initiator = Handshake::initiator(Initiator::without_pk().unwrap());
    let (act1, initiator) = initiator.step_0().unwrap();
    let (act2, server) = responder().step_1(act1.payload().try_into().unwrap()).unwrap();
    (initiator.step_2(act2).unwrap(), server)
}

fn write_all(writer: &mut Writer, frames: &[(u16, u8, Vec<u8>)]) -> Vec<u8> {
    for (extension, kind, bytes) in frames {
        let channel = extension & 0x8000 != 0;
        writer.push(Raw(bytes.clone()), *extension, *kind, channel).unwrap();
    }
    writer.pending().to_vec()
}

fn payload(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect()
}

fn sealed(frames: &[(u16, u8, Vec<u8>)]) -> (Vec<u8>, NoiseEngine) {
    let (client, server) = engines();
    (write_all(&mut Writer::new(server.into_split().0), frames), client)
}

fn read_all(reader: &mut Reader, wire: &[u8], step: usize) -> Vec<(u16, u8, Vec<u8>)> {
    let mut frames = Vec::new();
    for part in wire.chunks(step.max(1)) {
        reader.room().extend_from_slice(part);
        while let Some(frame) = reader.next_frame().unwrap() {
            frames.push((frame.extension_type, frame.message_type, frame.payload.to_vec()));
        }
    }
    frames
}

const LENGTHS: [usize; 9] = [0, 1, 31, 32, 65518, 65519, 65520, 131_038, 131_039];

#[test]
fn codec_sv2_reads_what_we_write() {
    let frames: Vec<_> =
        LENGTHS.iter().map(|&len| (0x8000_u16, len as u8, payload(len, 7))).collect();
    let (client, server) = codec_and_engine();
    let wire = write_all(&mut Writer::new(server.into_split().0), &frames);
    let mut state = client.split().1;
    let mut decoder = NoiseDecoder::new();
    let mut rest = wire.as_slice();
    for (_, kind, bytes) in &frames {
        let frame = loop {
            let wanted = decoder.writable_len();
            decoder.writable().copy_from_slice(&rest[..wanted]);
            rest = &rest[wanted..];
            match decoder.next_transport_frame(state).unwrap() {
                Decrypted::Frame(frame, next) => {
                    state = next;
                    break frame;
                }
                Decrypted::Incomplete(_, next) => state = next,
            }
        };
        let mut frame: SerializedFrame<Vec<u8>> = frame;
        assert_eq!(frame.header().msg_type(), *kind);
        assert!(frame.header().channel_msg());
        assert_eq!(frame.payload(), bytes.as_slice());
    }
    assert!(rest.is_empty());
}

#[test]
fn reads_what_codec_sv2_writes() {
    let (client, server) = codec_and_engine();
    let mut state = client.split().0;
    let mut encoder = NoiseEncoder::new();
    let mut wire = Vec::new();
    for len in LENGTHS {
        let mut bytes = vec![1, 0x80, 9];
        bytes.extend_from_slice(&(len as u32).to_le_bytes()[..3]);
        bytes.extend(payload(len, 3));
        let frame = SerializedFrame::from_bytes(bytes).unwrap();
        wire.extend_from_slice(&encoder.encode_transport(frame, &mut state).unwrap());
    }
    let frames = read_all(&mut Reader::new(server.into_split().1, 1 << 24), &wire, usize::MAX);
    assert_eq!(frames.len(), LENGTHS.len());
    for ((extension, kind, bytes), len) in frames.into_iter().zip(LENGTHS) {
        assert_eq!((extension, kind), (1, 9), "the channel bit is not part of the extension");
        assert_eq!(bytes, payload(len, 3));
    }
}

#[test]
fn rejects_a_declared_length_above_the_limit_before_the_payload_arrives() {
    let (wire, client) = sealed(&[(0, 1, payload(100, 1))]);
    let mut reader = Reader::new(client.into_split().1, 99);
    reader.room().extend_from_slice(&wire[..ENCRYPTED_HEADER_LEN]);
    let error = reader.next_frame().unwrap_err();
    assert_eq!(error, FrameError::TooLong { declared: 100, limit: 99 });
}

#[test]
fn fr_12_rejects_by_the_type_in_the_header_before_the_payload_arrives() {
    let caps: Caps = |extension, kind| (extension == 1 && kind == 7).then_some(60_000);
    for (frame, limit) in [
        ((0x8001, 7, 60_000), None),
        ((1, 7, 60_001), Some(60_000)),
        ((1, 8, 101), Some(100)),
        ((0, 7, 101), Some(100)),
        ((0, 7, 100), None),
    ] {
        let (extension, kind, len) = frame;
        let (wire, client) = sealed(&[(extension, kind, payload(len, 1))]);
        let mut reader = Reader::new(client.into_split().1, 100);
        reader.set_caps(caps);
        reader.room().extend_from_slice(&wire[..ENCRYPTED_HEADER_LEN]);
        let error = limit.map(|limit| FrameError::TooLong { declared: len, limit });
        assert_eq!(reader.next_frame().err(), error, "{frame:?}");
    }
}

#[test]
fn reserves_no_more_than_a_step_for_a_long_frame() {
    let (wire, client) = sealed(&[(0, 1, payload(1 << 20, 1))]);
    let mut reader = Reader::new(client.into_split().1, 1 << 24);
    reader.room().extend_from_slice(&wire[..ENCRYPTED_HEADER_LEN]);
    assert!(reader.next_frame().unwrap().is_none());
    assert!(reader.room().capacity() <= 32 * 1024);
}

#[test]
fn gives_the_room_of_long_frames_back() {
    let frames = [(0, 1, payload(12_000, 1))];
    let (wire, client) = sealed(&frames);
    let mut reader = Reader::new(client.into_split().1, 1 << 24);
    assert_eq!(read_all(&mut reader, &wire, wire.len()), frames);
    assert!(reader.room().capacity() <= 4 * 1024);
}

/// Reads with memory that is lent for each read alone. What is left when all was read.
fn read_lent(reader: &mut Reader, wire: &[u8], step: usize) -> (Vec<(u16, u8, Vec<u8>)>, usize) {
    let mut frames = Vec::new();
    let mut spare = vec![Vec::with_capacity(16 * 1024)];
    for part in wire.chunks(step.max(1)) {
        reader.lend(|| spare.pop().unwrap_or_default());
        reader.room().extend_from_slice(part);
        while let Some(frame) = reader.next_frame().unwrap() {
            frames.push((frame.extension_type, frame.message_type, frame.payload.to_vec()));
        }
        spare.extend(reader.give_back().map(|mut memory| {
            memory.clear();
            memory
        }));
    }
    (frames, spare.len())
}

#[test]
fn a_writer_holds_what_it_was_lent_only_as_long_as_something_waits() {
    let (_, server) = engines();
    let mut writer = Writer::new(server.into_split().0);
    writer.lend(|| Vec::with_capacity(9_000));
    writer.push(Raw(payload(600, 1)), 0, 1, false).unwrap();
    writer.lend(|| panic!("it has some"));
    assert_eq!(writer.give_back(), None, "it is still needed");
    writer.advance(100);
    writer.advance(writer.pending().len());
    writer.lend(Vec::new);
    assert_eq!(writer.give_back(), Some(Vec::new()), "what it kept was given back to the system");
    writer.lend(|| Vec::with_capacity(9_000));
    writer.push(Raw(payload(600, 1)), 0, 1, false).unwrap();
    writer.advance(writer.pending().len());
    assert!(writer.give_back().is_some_and(|memory| memory.capacity() == 9_000));
}

proptest! {
    #[test]
    fn survives_any_fragmentation_with_lent_memory(
        lens in prop::collection::vec(0_usize..3000, 1..12),
        step in 1_usize..5000,
    ) {
        let frames: Vec<_> = lens.iter().map(|&l| (0_u16, 0x1b_u8, payload(l, l as u8))).collect();
        let (wire, client) = sealed(&frames);
        let mut reader = Reader::new(client.into_split().1, 65536);
        let (read, given_back) = read_lent(&mut reader, &wire, step);
        prop_assert_eq!(read, frames);
        prop_assert!(!reader.is_mid_frame());
        // Who had much waiting in it kept one, and asked for another.
        prop_assert!(given_back <= 1);
    }

    #[test]
    fn survives_any_fragmentation(
        lens in prop::collection::vec(0_usize..3000, 1..12),
        step in 1_usize..5000,
    ) {
        let frames: Vec<_> = lens.iter().map(|&l| (0_u16, 0x1b_u8, payload(l, l as u8))).collect();
        let (wire, client) = sealed(&frames);
        let mut reader = Reader::new(client.into_split().1, 65536);
        prop_assert_eq!(read_all(&mut reader, &wire, step), frames);
        prop_assert!(!reader.is_mid_frame());
    }

    #[test]
    fn rejects_any_flipped_bit(
        len in 0_usize..200,
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let (mut wire, client) = sealed(&[(0, 1, payload(len, 1))]);
        let at = at.index(wire.len());
        wire[at] ^= 1_u8 << bit;
        let mut reader = Reader::new(client.into_split().1, 65536);
        reader.room().extend_from_slice(&wire);
        prop_assert_eq!(reader.next_frame().unwrap_err(), FrameError::Authentication);
    }
}
