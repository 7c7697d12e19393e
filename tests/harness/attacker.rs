//! A peer that finished the handshake and sends messages, good and bad ones. A fault of its own
//! fails the test.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::{Heard, Line, RawPeer};

/// A peer that finished the handshake and may send whatever it likes.
pub struct Attacker(RawPeer);

impl Deref for Attacker {
    type Target = RawPeer;

    fn deref(&self) -> &RawPeer {
        &self.0
    }
}

impl DerefMut for Attacker {
    fn deref_mut(&mut self) -> &mut RawPeer {
        &mut self.0
    }
}

/// A bare connection to the listener of `line`.
#[must_use]
pub fn socket(line: &Line) -> TcpStream {
    let url = line.pool_url().unwrap();
    let socket = TcpStream::connect((url.host(), url.port())).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// A bare connection to the listener of `line` from another address of this machine.
#[must_use]
pub fn socket_from(line: &Line, source: [u8; 4]) -> TcpStream {
    connect_from(source, ([127, 0, 0, 1], line.pool_url().unwrap().port()).into())
}

/// A bare connection to `server` from another address of this machine.
#[must_use]
pub fn connect_from(source: [u8; 4], server: SocketAddr) -> TcpStream {
    let from = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    from.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    from.connect(&server.into()).unwrap();
    let socket = TcpStream::from(from);
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// A SetupConnection for mining with protocol version 2 and nothing else in it.
pub const SETUP: [u8; 16] = [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An OpenExtendedMiningChannel: 10^9 hashes per second, any target, 4 bytes to roll.
#[must_use]
pub fn open_extended(request: u32, user: &str) -> Vec<u8> {
    let mut open = request.to_le_bytes().to_vec();
    open.push(u8::try_from(user.len()).unwrap());
    open.extend(user.as_bytes());
    open.extend(1e9_f32.to_le_bytes());
    open.extend([0xff; 32]);
    open.extend([4, 0]);
    open
}

/// A SubmitSharesExtended of channel 1 that is no work: nonce `sequence`, on the first job.
#[must_use]
pub fn junk_share(sequence: u32, ntime: u32) -> Vec<u8> {
    let mut share = Vec::new();
    for field in [1, sequence, 1, sequence, ntime, 0x2000_0000] {
        share.extend(u32::to_le_bytes(field));
    }
    share.extend([8, 0, 0, 0, 0, 0, 0, 0, 0]);
    share
}

impl Attacker {
    /// Does the handshake.
    #[must_use]
    pub fn new(line: &Line) -> Self {
        Self::on(socket(line))
    }

    /// Does the handshake on a fresh connection.
    #[must_use]
    pub fn on(socket: TcpStream) -> Self {
        Self(RawPeer::on(socket))
    }

    /// Sends a frame with any payload.
    pub fn send(&mut self, extension_type: u16, message_type: u8, payload: &[u8]) -> &mut Self {
        self.0.send(extension_type, message_type, payload);
        self
    }

    /// Sends the first `part` bytes (encrypted ones) of a frame with `len` zeros.
    pub fn send_part(&mut self, extension_type: u16, message_type: u8, len: usize, part: usize) {
        let sealed = self.seal(extension_type, message_type, &vec![0; len], len);
        self.write(&sealed[..part]);
    }

    /// A good SetupConnection.
    pub fn set_up(&mut self) -> &mut Self {
        self.send(0, 0, &SETUP)
    }

    /// Everything the listener still sends until it closes, as (type, payload).
    pub fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        self.0.until_closed().into_iter().map(|f| (f.message_type, f.payload)).collect()
    }

    /// Waits for the next frame.
    pub fn next_frame(&mut self) -> (u8, Vec<u8>) {
        match self.hear(Duration::from_secs(30)) {
            Heard::Frame(frame) => (frame.message_type, frame.payload),
            other => panic!("a frame expected: {other:?}"),
        }
    }

    /// Asks for an extended channel.
    pub fn send_open(&mut self, request: u32, user: &str) -> &mut Self {
        self.send(0, 0x13, &open_extended(request, user))
    }

    /// Opens an extended channel for `user` and waits for its first job: channel 1, job 1.
    pub fn open(&mut self, user: &str) -> &mut Self {
        self.send_open(9, user);
        for wanted in [0x01, 0x14, 0x1f, 0x20] {
            let (mut kind, mut payload) = self.next_frame();
            // Who waits for long may be told another target before the first job.
            while kind == 0x21 {
                (kind, payload) = self.next_frame();
            }
            assert_eq!(kind, wanted, "{payload:?}");
        }
        self
    }

    /// A share that is no work: nonce `sequence`, on the first job.
    pub fn junk(&mut self, sequence: u32, ntime: u32) -> &mut Self {
        self.send(0x8000, 0x1b, &junk_share(sequence, ntime))
    }
}
