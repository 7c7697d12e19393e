//! Target 3: frames through the reader in any pieces, whole or spoilt.

use std::cell::RefCell;

use binary_sv2::{EncodableField, GetSize};
use gopool_sv2::frame::{FrameError, Reader, Writer, ENCRYPTED_HEADER_LEN, PLAIN_CHUNK_LEN};
use gopool_sv2::session::Outbound;
use noise_sv2::{Initiator, NoiseEngine, Responder};
use secp256k1::Keypair;

use super::input::{filler, Input};

/// Raw bytes as a message.
pub struct Raw(pub Vec<u8>);

impl GetSize for Raw {
    fn get_size(&self) -> usize {
        self.0.len()
    }
}

impl From<Raw> for EncodableField<'_> {
    fn from(raw: Raw) -> Self {
        Self::Struct(raw.0.into_iter().map(Into::into).collect())
    }
}

/// A key that is the same in every run.
pub fn authority() -> Keypair {
    let secp = secp256k1::Secp256k1::new();
    Keypair::from_seckey_slice(&secp, &[0x44; 32]).unwrap()
}

/// Client and server ends of one session.
pub fn engines() -> (NoiseEngine, NoiseEngine) {
    let mut initiator = Initiator::without_pk().unwrap();
    let mut responder = Responder::new(authority(), 60);
    let (act2, server) = responder.step_1(initiator.step_0().unwrap()).unwrap();
    (initiator.step_2(act2).unwrap(), server)
}

thread_local! {
    /// A handshake costs more than all else here: as long as nothing fails to decrypt, the two ends
    /// stay in step and serve the next run.
    static ENDS: RefCell<Option<(Writer, Reader)>> = const { RefCell::new(None) };
}

fn ends() -> (Writer, Reader) {
    let fresh = || {
        let (client, server) = engines();
        (Writer::new(client.into_split().0), Reader::new(server.into_split().1, 0))
    };
    ENDS.take().unwrap_or_else(fresh)
}

/// Lengths around those where something changes.
fn length(input: &mut Input<'_>) -> usize {
    match input.u8() {
        255 => PLAIN_CHUNK_LEN - 1 + input.below(3),
        254 if input.u8() > 200 => 2 * PLAIN_CHUNK_LEN - 1 + input.below(3),
        253 => input.below(70_000),
        small => small.into(),
    }
}

type Sent = (u16, u8, Vec<u8>);

/// Reads all of `wire` in pieces that the input cuts.
fn read(
    input: &mut Input<'_>,
    reader: &mut Reader,
    mut wire: &[u8],
) -> (Vec<Sent>, Option<FrameError>) {
    let mut frames = Vec::new();
    while !wire.is_empty() {
        let piece = match input.u8() {
            0 => wire.len(),
            1 => ENCRYPTED_HEADER_LEN,
            2 => 1 + input.below(40_000),
            small => usize::from(small),
        };
        let (now, later) = wire.split_at(piece.clamp(1, wire.len()));
        wire = later;
        let room = reader.room();
        assert!(room.capacity() - room.len() > 0, "no room to read into");
        room.extend_from_slice(now);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    frames.push((frame.extension_type, frame.message_type, frame.payload.to_vec()));
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// What is written is read, in order and whole, up to the first frame that is too long or spoilt;
/// that one ends it.
pub fn stream_fragmented(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = if input.bool() { usize::from(input.u16()) } else { 1 << 24 };
    let (mut writer, mut reader) = ends();
    reader.set_max_payload(limit);
    let mut sent: Vec<Sent> = Vec::new();
    let mut begins = Vec::new();
    for _ in 0..input.below(6) {
        let (extension, kind, channel) = (input.u16() & 0x7fff, input.u8(), input.bool());
        let payload = filler(length(&mut input), kind);
        begins.push(writer.pending().len());
        writer.push(Raw(payload.clone()), extension, kind, channel).unwrap();
        sent.push((extension, kind, payload));
    }
    let mut wire = writer.pending().to_vec();
    writer.advance(wire.len());
    let too_long = sent.iter().position(|frame| frame.2.len() > limit);
    let spoilt = (!wire.is_empty() && input.u8() == 1).then(|| {
        let at = input.below(wire.len());
        wire[at] ^= 1 << input.below(8);
        // In which frame, and whether in its header.
        let frame = begins.iter().rposition(|begin| *begin <= at).unwrap();
        (frame, at < begins[frame] + ENCRYPTED_HEADER_LEN)
    });
    let (frames, error) = read(&mut input, &mut reader, &wire);
    let declared = |frame: usize| FrameError::TooLong { declared: sent[frame].2.len(), limit };
    let (whole, want) = match (too_long, spoilt) {
        // A header says its length only if it is authentic.
        (Some(long), Some((bad, header))) if bad < long || bad == long && header => {
            (bad, Some(FrameError::Authentication))
        }
        (Some(long), _) => (long, Some(declared(long))),
        (None, Some((bad, _))) => (bad, Some(FrameError::Authentication)),
        (None, None) => (sent.len(), None),
    };
    assert_eq!(error, want);
    assert_eq!(frames.len(), whole);
    assert!(frames.iter().eq(sent.iter().take(whole)), "a frame differs");
    if error.is_none() {
        assert!(!reader.is_mid_frame());
        ENDS.set(Some((writer, reader)));
    }
}

/// The frames that a message of ours makes, decrypted: extension type, message type, payload.
pub fn written(message: &Outbound) -> Vec<(u16, u8, Vec<u8>)> {
    let (mut writer, mut reader) = ends();
    reader.set_max_payload(1 << 24);
    message.write(&mut writer).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    reader.room().extend_from_slice(writer.pending());
    writer.advance(writer.pending().len());
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().expect("what we wrote") {
        frames.push((frame.extension_type, frame.message_type, frame.payload.to_vec()));
    }
    ENDS.set(Some((writer, reader)));
    frames
}
