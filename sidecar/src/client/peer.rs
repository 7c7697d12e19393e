//! A server for tests, made of the reference implementation's responder and codec.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use binary_sv2::{GetSize, Serialize};
use bytes::BytesMut;
use codec_sv2::{
    Decoded, Decrypted, Handshake, MessageFrame, NoiseDecoder, NoiseEncoder, TransportDecryptState,
    TransportEncryptState,
};
use common_messages_sv2::SetupConnectionSuccess;
use key_utils::Secp256k1PublicKey;
use noise_sv2::Responder;
use parsers_sv2::{
    CommonMessages, CommonMessagesOwned, IsSv2Message, Mining, MiningOwned, MiningTypes,
};
use secp256k1::{Keypair, Secp256k1, SecretKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Incoming, PoolUrl};

/// The authority of every test server unless a test wants another.
pub(crate) const SECRET: [u8; 32] = [0x44; 32];

/// A listening server.
pub(crate) struct Peer {
    listener: TcpListener,
}

/// One accepted connection after its handshake.
pub(crate) struct PeerConnection {
    pub(crate) stream: TcpStream,
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    buffer: BytesMut,
    encrypt: TransportEncryptState,
    decrypt: Option<TransportDecryptState>,
}

fn keypair(secret: [u8; 32]) -> Keypair {
    let secret = SecretKey::from_slice(&secret).expect("secret key");
    Keypair::from_secret_key(&Secp256k1::new(), &secret)
}

impl Peer {
    pub(crate) async fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("bind") }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("address").port()
    }

    pub(crate) fn url(&self) -> PoolUrl {
        let key = Secp256k1PublicKey(keypair(SECRET).x_only_public_key().0);
        format!("stratum2+tcp://127.0.0.1:{}/{key}", self.port()).parse().expect("url")
    }

    /// A TCP connection without a handshake.
    pub(crate) async fn accept_raw(&self) -> TcpStream {
        self.listener.accept().await.expect("accept").0
    }

    /// A connection with a good certificate.
    pub(crate) async fn accept(&self) -> PeerConnection {
        self.accept_as(SECRET, 0).await.expect("handshake")
    }

    /// A connection with a certificate of the authority `secret`, made `age` seconds ago
    /// (negative: in the future), good for an hour. `None` when the client hangs up.
    pub(crate) async fn accept_as(&self, secret: [u8; 32], age: i64) -> Option<PeerConnection> {
        let mut stream = self.accept_raw().await;
        let responder = Responder::new(keypair(secret), 3600);
        let mut decoder = NoiseDecoder::new();
        let mut encoder = NoiseEncoder::new();
        let act1 = loop {
            stream.read_exact(decoder.writable()).await.ok()?;
            if let Decoded::Frame(f) = decoder.next_handshake_frame::<Responder>().expect("act 1") {
                break f.payload().try_into().expect("64 bytes");
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_secs();
        let then = u32::try_from(i64::try_from(now).expect("clock") - age).expect("time");
        let (act2, transport) = Handshake::responder(responder)
            .step_1_with_now_rng(act1, then, &mut rand::thread_rng())
            .expect("step 1");
        stream.write_all(&encoder.encode_handshake(act2)).await.ok()?;
        let (encrypt, decrypt) = transport.split();
        let (buffer, decrypt) = (BytesMut::new(), Some(decrypt));
        Some(PeerConnection { stream, encoder, decoder, buffer, encrypt, decrypt })
    }
}

impl PeerConnection {
    /// The encrypted bytes of a message, to be sent in whatever pieces.
    pub(crate) fn encode<M: IsSv2Message + Serialize + GetSize>(&mut self, message: M) -> Vec<u8> {
        let (kind, bit) = (message.message_type(), message.channel_bit());
        self.encode_as(message, kind, 0, bit)
    }

    /// The same under another type or extension.
    pub(crate) fn encode_as<M: Serialize + GetSize>(
        &mut self,
        message: M,
        kind: u8,
        extension: u16,
        channel_bit: bool,
    ) -> Vec<u8> {
        let frame =
            MessageFrame::from_message(message, kind, extension, channel_bit).expect("frame");
        self.encoder.encode_transport(frame, &mut self.encrypt).expect("encrypt").to_vec()
    }

    /// Sends a message; a client that is gone is none of the server's business.
    pub(crate) async fn send<M: IsSv2Message + Serialize + GetSize>(&mut self, message: M) {
        let bytes = self.encode(message);
        let _ = self.stream.write_all(&bytes).await;
    }

    /// The next message of the client; `None` when it closed. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Option<Incoming> {
        loop {
            let want = self.decoder.writable_len();
            while self.buffer.len() < want {
                if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                    return None;
                }
            }
            self.decoder.writable().copy_from_slice(&self.buffer.split_to(want));
            let state = self.decrypt.take().expect("state");
            match self.decoder.next_transport_frame(state).expect("client frame") {
                Decrypted::Incomplete(_, state) => self.decrypt = Some(state),
                Decrypted::Frame(mut frame, state) => {
                    self.decrypt = Some(state);
                    let kind = frame.header().msg_type();
                    assert_eq!(frame.header().ext_type_without_channel_msg(), 0);
                    return Some(if MiningTypes::try_from(kind).is_ok() {
                        let message = Mining::try_from((kind, frame.payload())).expect("mining");
                        let message = message.into_owned();
                        assert_eq!(message.channel_bit(), frame.header().channel_msg());
                        Incoming::Mining(message)
                    } else {
                        let message =
                            CommonMessages::try_from((kind, frame.payload())).expect("common");
                        Incoming::Common(message.into_owned())
                    });
                }
            }
        }
    }

    /// The next mining message; `None` when the client closed.
    pub(crate) async fn recv_mining(&mut self) -> Option<MiningOwned> {
        match self.recv().await? {
            Incoming::Mining(message) => Some(message),
            other => panic!("expected a mining message, got {other:?}"),
        }
    }

    /// Answers SetupConnection with Success and returns the client's flags.
    pub(crate) async fn setup(&mut self) -> u32 {
        let flags = match self.recv().await {
            Some(Incoming::Common(CommonMessagesOwned::SetupConnection(m))) => {
                assert_eq!((m.min_version, m.max_version), (2, 2));
                m.flags
            }
            other => panic!("expected SetupConnection, got {other:?}"),
        };
        let success = SetupConnectionSuccess { used_version: 2, flags: 0 };
        self.send(CommonMessagesOwned::SetupConnectionSuccess(success)).await;
        flags
    }
}

/// Waiting times fit for a test that expects them to pass.
pub(crate) fn short(millis: u64) -> super::ConnectOptions {
    let time = Duration::from_millis(millis);
    super::ConnectOptions { handshake_deadline: time, reply_timeout: time, source: None }
}
