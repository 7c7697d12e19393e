//! A peer below all typed clients: it finishes the handshake and then sends whatever it likes.
//!
//! Frames are made and read here, by the text of SV2 spec 3.2 and 4.6, on `noise_sv2`'s ciphers:
//! a second opinion on the listener's framing. A fault of the peer itself fails the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use noise_sv2::{Initiator, NoiseDecryptor, NoiseEncryptor};

/// Length of a header in the clear.
const HEADER: usize = 6;
/// Length of an authentication tag.
const MAC: usize = 16;
/// Most ciphertext of one piece of a payload.
const CHUNK: usize = 65_535;
/// Bit of the extension type that says "for a channel".
pub const CHANNEL_BIT: u16 = 0x8000;

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// With the channel bit.
    pub extension_type: u16,
    /// Message type.
    pub message_type: u8,
    /// In the clear.
    pub payload: Vec<u8>,
}

/// What came of waiting for a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A frame.
    Frame(RawFrame),
    /// The other side closed; `orderly`: not by a reset.
    Closed {
        /// The end of the stream, nothing thrown away.
        orderly: bool,
    },
    /// Nothing in the time given.
    Silence,
}

/// A peer that finished the handshake.
pub struct RawPeer {
    /// The socket below.
    pub socket: TcpStream,
    encryptor: NoiseEncryptor,
    decryptor: NoiseDecryptor,
    /// Received, not yet read.
    buffer: Vec<u8>,
    header: Option<[u8; HEADER]>,
    /// Bytes of ciphertext received in all.
    pub received: usize,
}

impl RawPeer {
    /// Does the handshake on a fresh connection, without a look at who answers.
    #[must_use]
    pub fn on(mut socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut initiator = Initiator::without_pk().unwrap();
        socket.write_all(&initiator.step_0().unwrap()).unwrap();
        let mut act2 = [0; noise_sv2::INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        socket.read_exact(&mut act2).unwrap();
        let (encryptor, decryptor) = initiator.step_2(act2).unwrap().into_split();
        Self::after_handshake(socket, encryptor, decryptor)
    }

    /// On a connection whose handshake is done.
    #[must_use]
    pub fn after_handshake(
        socket: TcpStream,
        encryptor: NoiseEncryptor,
        decryptor: NoiseDecryptor,
    ) -> Self {
        Self { socket, encryptor, decryptor, buffer: Vec::new(), header: None, received: 0 }
    }

    /// The bytes of a frame; `declared` is the length its header says.
    pub fn seal(
        &mut self,
        extension_type: u16,
        message_type: u8,
        payload: &[u8],
        declared: usize,
    ) -> Vec<u8> {
        let mut header = extension_type.to_le_bytes().to_vec();
        header.push(message_type);
        header.extend(&(declared as u32).to_le_bytes()[..3]);
        self.encryptor.encrypt(&mut header).unwrap();
        for plain in payload.chunks(CHUNK - MAC) {
            let mut sealed = plain.to_vec();
            self.encryptor.encrypt(&mut sealed).unwrap();
            header.extend(sealed);
        }
        header
    }

    /// Sends bytes as they are. The other side may have closed: that shows when it is listened to.
    pub fn write(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.socket.write_all(bytes);
        self
    }

    /// Sends a frame with any payload.
    pub fn send(&mut self, extension_type: u16, message_type: u8, payload: &[u8]) -> &mut Self {
        let sealed = self.seal(extension_type, message_type, payload, payload.len());
        self.write(&sealed)
    }

    /// Waits for a frame, the end, or the end of `patience`.
    pub fn hear(&mut self, patience: Duration) -> Heard {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(frame) = self.open() {
                return Heard::Frame(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Silence;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return Heard::Closed { orderly: true },
                Ok(got) => {
                    self.received += got;
                    self.buffer.extend_from_slice(&bytes[..got]);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                        return Heard::Closed { orderly: false };
                    }
                    _ => panic!("{error}"),
                },
            }
        }
    }

    /// The next frame of what was received.
    fn open(&mut self) -> Option<RawFrame> {
        if self.header.is_none() && self.buffer.len() >= HEADER + MAC {
            let plain = self.open_piece(HEADER + MAC);
            self.header = Some(plain.try_into().unwrap());
        }
        let [e0, e1, message_type, l0, l1, l2] = self.header?;
        let len = u32::from_le_bytes([l0, l1, l2, 0]) as usize;
        let sealed = len + len.div_ceil(CHUNK - MAC) * MAC;
        if self.buffer.len() < sealed {
            return None;
        }
        self.header = None;
        let mut payload = Vec::new();
        let mut left = sealed;
        while left > 0 {
            let piece = left.min(CHUNK);
            payload.extend(self.open_piece(piece));
            left -= piece;
        }
        assert_eq!(payload.len(), len, "the length in the header is that of the payload");
        Some(RawFrame { extension_type: u16::from_le_bytes([e0, e1]), message_type, payload })
    }

    fn open_piece(&mut self, len: usize) -> Vec<u8> {
        let mut piece: Vec<u8> = self.buffer.drain(..len).collect();
        self.decryptor.decrypt(&mut piece).expect("a frame that authenticates");
        piece
    }

    /// Everything the listener still sends until it closes.
    pub fn until_closed(&mut self) -> Vec<RawFrame> {
        let mut frames = Vec::new();
        loop {
            match self.hear(Duration::from_secs(30)) {
                Heard::Frame(frame) => frames.push(frame),
                Heard::Closed { .. } => return frames,
                Heard::Silence => panic!("the listener doesn't close"),
            }
        }
    }
}
