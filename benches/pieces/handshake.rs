//! The listener's part of a handshake.

use std::collections::VecDeque;
use std::time::Duration;

use criterion::Criterion;
use gopool_sv2::frame::{Reader, Writer};
use gopool_sv2::noise::Acceptor;
use gopool_sv2_pieces::{authority, Piece, NOW};
use noise_sv2::{
    Initiator, NoiseDecryptor, NoiseEncryptor, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE,
};
use tokio::io::{duplex, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::measure;

/// Connections that wait for their turn.
const WAITING: u64 = 8;

pub(crate) fn measure_all(c: &mut Criterion) {
    measure(c, "handshake/responder", Handshakes::new(), 1, WAITING);
}

/// Connections whose first message has come: from there to the keys, the answer written. The
/// miner's part is done before, and left out.
struct Handshakes {
    runtime: Runtime,
    acceptor: Acceptor,
    waiting: VecDeque<(DuplexStream, DuplexStream, Box<Initiator>)>,
    /// The miner's ends of those that are through.
    done: Vec<(DuplexStream, Box<Initiator>)>,
}

impl Handshakes {
    fn new() -> Self {
        let mut new = Self {
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
            acceptor: Acceptor::new(authority(), 3_600, Duration::from_secs(20), 1),
            waiting: VecDeque::new(),
            done: Vec::new(),
        };
        new.prepare(1);
        let (encryptor, _) = new.accept();
        let (mut theirs, mut initiator) = new.done.pop().unwrap();
        let mut act_2 = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        new.runtime.block_on(theirs.read_exact(&mut act_2)).unwrap();
        let (_, decryptor) = initiator.step_2_with_now(act_2, NOW).unwrap().into_split();
        let (mut writer, mut reader) = (Writer::new(encryptor), Reader::new(decryptor, 64));
        writer.push_parts(&[b"heard"], 0, 7, false).unwrap();
        reader.room().extend_from_slice(writer.pending());
        let frame = reader.next_frame().unwrap().unwrap();
        assert_eq!((frame.message_type, &*frame.payload), (7, b"heard".as_slice()));
        new
    }

    fn accept(&mut self) -> (NoiseEncryptor, NoiseDecryptor) {
        let (mut ours, theirs, initiator) = self.waiting.pop_front().unwrap();
        let accepted = self.acceptor.accept(&mut ours, Instant::now(), NOW);
        let keys = self.runtime.block_on(accepted).unwrap();
        self.done.push((theirs, initiator));
        keys
    }
}

impl Piece for Handshakes {
    fn prepare(&mut self, count: u64) {
        self.done.clear();
        let key = authority().x_only_public_key().0.serialize();
        for _ in 0..count {
            let (ours, mut theirs) = duplex(1_024);
            let mut initiator = Initiator::from_raw_k(key).unwrap();
            let act_1 = initiator.step_0().unwrap();
            self.runtime.block_on(theirs.write_all(&act_1)).unwrap();
            self.waiting.push_back((ours, theirs, initiator));
        }
    }

    fn run(&mut self) -> usize {
        let keys = self.accept();
        std::mem::size_of_val(&keys)
    }
}
