//! A peer that finished the handshake and sends whatever it likes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use binary_sv2::{EncodableField, GetSize};
use gopool_sv2::frame::{Reader, Writer};
use gopool_sv2_tests::Line;
use noise_sv2::Initiator;
use socket2::{Domain, Socket, Type};

/// Any bytes as the payload of a frame.
struct Raw(Vec<u8>);

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

/// A peer that finished the handshake and may send whatever it likes.
pub struct Attacker {
    /// The socket below.
    pub socket: TcpStream,
    writer: Writer,
    reader: Reader,
}

/// A bare connection to the listener.
pub fn socket(line: &Line) -> TcpStream {
    let url = line.pool_url().unwrap();
    let socket = TcpStream::connect((url.host(), url.port())).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// A bare connection to the listener from another address of this machine.
pub fn socket_from(line: &Line, source: [u8; 4]) -> TcpStream {
    let url = line.pool_url().unwrap();
    let from = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    from.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    from.connect(&SocketAddr::from(([127, 0, 0, 1], url.port())).into()).unwrap();
    let socket = TcpStream::from(from);
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

impl Attacker {
    /// Does the handshake.
    pub fn new(line: &Line) -> Self {
        Self::on(socket(line))
    }

    /// Does the handshake on a fresh connection.
    pub fn on(mut socket: TcpStream) -> Self {
        let mut initiator = Initiator::without_pk().unwrap();
        socket.write_all(&initiator.step_0().unwrap()).unwrap();
        let mut act2 = [0; 234];
        socket.read_exact(&mut act2).unwrap();
        let (encryptor, decryptor) = initiator.step_2(act2).unwrap().into_split();
        Self { socket, writer: Writer::new(encryptor), reader: Reader::new(decryptor, 1 << 24) }
    }

    /// Sends a frame with any payload.
    pub fn send(&mut self, extension_type: u16, message_type: u8, payload: &[u8]) -> &mut Self {
        let channel = extension_type & 0x8000 != 0;
        self.writer.push(Raw(payload.to_vec()), extension_type, message_type, channel).unwrap();
        // The listener may have closed already.
        let _ = self.socket.write_all(self.writer.pending());
        self.writer.advance(usize::MAX);
        self
    }

    /// Sends the first `part` bytes (encrypted ones) of a frame with `len` zeros.
    pub fn send_part(&mut self, extension_type: u16, message_type: u8, len: usize, part: usize) {
        self.writer.push(Raw(vec![0; len]), extension_type, message_type, false).unwrap();
        let _ = self.socket.write_all(&self.writer.pending()[..part]);
        self.writer.advance(usize::MAX);
    }

    /// A good SetupConnection.
    pub fn set_up(&mut self) -> &mut Self {
        let mut setup = vec![0, 2, 0, 2, 0, 0, 0, 0, 0];
        setup.extend([0, 0, 0, 0, 0, 0, 0]);
        self.send(0, 0, &setup)
    }

    /// Everything the listener still sends until it closes, as (type, payload).
    pub fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            let got = match self.socket.read(&mut bytes) {
                Ok(0) => return frames,
                Ok(got) => got,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return frames,
                Err(error) => panic!("the listener doesn't close: {error}"),
            };
            self.reader.room().extend_from_slice(&bytes[..got]);
            while let Some(frame) = self.reader.next_frame().unwrap() {
                frames.push((frame.message_type, frame.payload.to_vec()));
            }
        }
    }

    /// Waits for the next frame.
    pub fn next(&mut self) -> (u8, Vec<u8>) {
        let mut bytes = [0; 4096];
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return (frame.message_type, frame.payload.to_vec());
            }
            let got = self.socket.read(&mut bytes).unwrap();
            assert!(got > 0, "the listener closed");
            self.reader.room().extend_from_slice(&bytes[..got]);
        }
    }

    /// Asks for an extended channel.
    pub fn send_open(&mut self, request: u32, user: &str) -> &mut Self {
        let mut open = request.to_le_bytes().to_vec();
        open.push(user.len() as u8);
        open.extend(user.as_bytes());
        open.extend(1e9_f32.to_le_bytes());
        open.extend([0xff; 32]);
        open.extend([4, 0]);
        self.send(0, 0x13, &open)
    }

    /// Opens an extended channel for `user` and waits for its first job: channel 1, job 1.
    pub fn open(&mut self, user: &str) -> &mut Self {
        self.send_open(9, user);
        let mut expected = [0x01, 0x14, 0x1f, 0x20].iter();
        let mut next = expected.next();
        while let Some(wanted) = next {
            let (kind, payload) = self.next();
            assert_eq!(kind, *wanted, "{payload:?}");
            next = expected.next();
        }
        self
    }

    /// A share that is no work: nonce `sequence`, on the first job.
    pub fn junk(&mut self, sequence: u32, ntime: u32) -> &mut Self {
        let mut share = Vec::new();
        for field in [1, sequence, 1, sequence, ntime, 0x2000_0000] {
            share.extend(u32::to_le_bytes(field));
        }
        share.extend([8, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.send(0x8000, 0x1b, &share)
    }
}
