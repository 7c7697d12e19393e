//! Targets 1 and 2: the handshake against any bytes, and both ends of a session in any
//! interleaving.

use std::cell::RefCell;
use std::time::Duration;

use gopool_sv2::frame::{FrameError, Reader, Writer};
use gopool_sv2::noise::{Acceptor, HandshakeError};
use noise_sv2::{Initiator, NoiseDecryptor, NoiseEncryptor};
use tokio::io::{duplex, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::frames::{authority, Raw};
use super::input::{filler, Input};

const NOW: u32 = 1_790_000_000;
/// Length of the first message of the handshake, and of the answer (SV2 spec 4.5).
const ACT_1: usize = 64;
const ACT_2: usize = 234;

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

fn acceptor() -> Acceptor {
    Acceptor::new(authority(), 3600, Duration::from_secs(3600), 1)
}

type Ciphers = (NoiseEncryptor, NoiseDecryptor);

/// Runs the handshake while `peer` is written to in the given pieces and then ended or left open.
/// Returns what came of it, what was answered, and the listener's end.
async fn shake(pieces: &[&[u8]]) -> (Result<Ciphers, HandshakeError>, Vec<u8>) {
    let (mut ours, mut theirs) = duplex(1 << 16);
    let acceptor = acceptor();
    let (result, ()) = tokio::join!(
        async {
            let result = acceptor.accept(&mut ours, Instant::now(), NOW).await;
            drop(ours);
            result
        },
        write(&mut theirs, pieces)
    );
    let mut answer = Vec::new();
    theirs.read_to_end(&mut answer).await.expect("reads from memory");
    (result, answer)
}

async fn write(to: &mut DuplexStream, pieces: &[&[u8]]) {
    for piece in pieces {
        // The other side may have had enough.
        let _ = to.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    let _ = to.shutdown().await;
}

/// 64 bytes, whatever they are, get an answer of 234; fewer get none. What follows them is no
/// frame.
pub fn responder_any_bytes(data: &[u8]) {
    let mut input = Input::new(data);
    let cut = 1 + input.below(80);
    let bytes = input.rest();
    let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
    let (result, answer) = RUNTIME.with_borrow(|runtime| runtime.block_on(shake(&pieces)));
    match result {
        Ok((_, decryptor)) => {
            assert!(bytes.len() >= ACT_1);
            assert_eq!(answer.len(), ACT_2);
            let mut reader = Reader::new(decryptor, 1 << 24);
            for piece in bytes[ACT_1..].chunks(cut) {
                reader.room().extend_from_slice(piece);
                match reader.next_frame() {
                    Ok(None) => {}
                    Ok(Some(frame)) => panic!("a frame without the key: {frame:?}"),
                    Err(error) => {
                        assert_eq!(error, FrameError::Authentication);
                        break;
                    }
                }
            }
        }
        Err(HandshakeError::Closed(got)) => {
            assert!(bytes.len() < ACT_1 && got == bytes.len() && answer.is_empty());
        }
        Err(error) => panic!("{error}"),
    }
}

/// One direction of a session: what was pushed, and what has arrived.
struct Way {
    writer: Writer,
    reader: Reader,
    sent: Vec<(u8, Vec<u8>)>,
    arrived: usize,
    spoilt: bool,
}

impl Way {
    fn new(encryptor: NoiseEncryptor, decryptor: NoiseDecryptor) -> Self {
        let (writer, reader) = (Writer::new(encryptor), Reader::new(decryptor, 1 << 24));
        Self { writer, reader, sent: Vec::new(), arrived: 0, spoilt: false }
    }

    fn push(&mut self, kind: u8, payload: Vec<u8>) {
        self.writer.push(Raw(payload.clone()), 0, kind, false).unwrap();
        self.sent.push((kind, payload));
    }

    /// Moves up to `most` bytes, one bit of them flipped if asked for. false: the session is over.
    fn carry(&mut self, most: usize, flip: Option<usize>) -> bool {
        let count = most.min(self.writer.pending().len());
        let mut bytes = self.writer.pending()[..count].to_vec();
        self.writer.advance(count);
        if let Some(bit) = flip.filter(|_| count > 0) {
            bytes[bit / 8 % count] ^= 1 << (bit % 8);
            self.spoilt = true;
        }
        self.reader.room().extend_from_slice(&bytes);
        loop {
            match self.reader.next_frame() {
                Ok(Some(frame)) => {
                    let (kind, payload) = &self.sent[self.arrived];
                    assert_eq!((frame.message_type, &*frame.payload), (*kind, &payload[..]));
                    self.arrived += 1;
                }
                Ok(None) => return true,
                Err(error) => {
                    assert!(self.spoilt, "{error} though nothing was spoilt");
                    assert_eq!(error, FrameError::Authentication);
                    return false;
                }
            }
        }
    }
}

/// A handshake in pieces, perhaps with a flipped bit; then frames in both directions, cut and
/// interleaved as the input has it. All arrive, in order, up to the first flipped bit.
pub fn two_sided_interleave(data: &[u8]) {
    let mut input = Input::new(data);
    let key = authority().x_only_public_key().0.serialize();
    let mut initiator = Initiator::from_raw_k(key).unwrap();
    let act_1 = initiator.step_0().unwrap();
    let cut = 1 + input.below(70);
    let pieces: Vec<&[u8]> = act_1.chunks(cut).collect();
    let (result, answer) = RUNTIME.with_borrow(|runtime| runtime.block_on(shake(&pieces)));
    let (encryptor, decryptor) = result.expect("a handshake");
    let mut act_2: [u8; ACT_2] = answer.try_into().expect("234 bytes");
    let flipped = input.u8() == 1;
    if flipped {
        let bit = input.below(8 * ACT_2);
        act_2[bit / 8] ^= 1 << (bit % 8);
    }
    let engine = match initiator.step_2_with_now(act_2, NOW) {
        Ok(engine) => engine,
        Err(_) => return assert!(flipped, "an honest answer is refused"),
    };
    assert!(!flipped, "a spoilt answer is taken");
    let (their_encryptor, their_decryptor) = engine.into_split();
    let mut ways = [Way::new(their_encryptor, decryptor), Way::new(encryptor, their_decryptor)];
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let choice = input.u8();
        let way = &mut ways[usize::from(choice & 1)];
        let alive = match choice >> 1 & 7 {
            0..=2 => {
                let kind = input.u8();
                let len = if kind == 255 { input.below(70_000) } else { input.below(300) };
                way.push(kind, filler(len, kind));
                true
            }
            3 if input.bool() => {
                let bit = input.below(1 << 15);
                way.carry(1 + input.below(600), Some(bit))
            }
            _ => way.carry(1 + input.below(40_000), None),
        };
        if !alive {
            return;
        }
    }
    for way in &mut ways {
        let rest = way.writer.pending().len();
        if way.carry(rest, None) && !way.spoilt {
            assert_eq!(way.arrived, way.sent.len());
            assert!(!way.reader.is_mid_frame());
        }
    }
}
