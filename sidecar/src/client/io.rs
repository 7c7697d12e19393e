//! The reading and the writing half of an encrypted connection.

use std::collections::VecDeque;
use std::fmt;

use binary_sv2::{GetSize, Serialize};
use bytes::{Buf, BytesMut};
use codec_sv2::{
    Decrypted, MessageFrame, NoiseDecoder, NoiseEncoder, SerializedFrame, TransportDecryptState,
    TransportEncryptState,
};
use parsers_sv2::{
    CommonMessageTypes, CommonMessages, CommonMessagesOwned, IsSv2Message, Mining, MiningOwned,
    MiningTypes,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::error::{ClientError, Stage};

/// Room made for each read; many small frames arrive with one system call.
const READ_CHUNK: usize = 16 * 1024;
/// Messages kept while an answer is awaited. A server that sends more before it answers is broken.
const MAX_BACKLOG: usize = 1024;

/// A message from the server.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// Setup, endpoint change, reconnect.
    Common(CommonMessagesOwned),
    /// The mining protocol.
    Mining(MiningOwned),
    /// A message this client does not know, to be ignored (SV2 specification, section 3.4.1).
    Other {
        /// Extension, without the channel bit.
        extension_type: u16,
        /// Type within the extension.
        message_type: u8,
    },
}

/// The reading half. Owned by one task.
pub struct Reader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    decoder: NoiseDecoder,
    /// `None` after a decryption failed: nothing after it can be read.
    state: Option<TransportDecryptState>,
    backlog: VecDeque<Incoming>,
    pub(super) stage: Stage,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(socket: OwnedReadHalf, state: TransportDecryptState) -> Self {
        Self {
            socket,
            buffer: BytesMut::new(),
            decoder: NoiseDecoder::new(),
            state: Some(state),
            backlog: VecDeque::new(),
            stage: Stage::Mining,
        }
    }

    /// The next message. Cancel-safe: bytes that were read stay in this half, so it may stand in
    /// a `select!`.
    ///
    /// Errors: `Closed`, and `Protocol` for what does not decrypt or parse; both are final.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        match self.backlog.pop_front() {
            Some(message) => Ok(message),
            None => self.next_fresh().await,
        }
    }

    /// Like [`Self::next`], but from the wire, past the kept messages.
    pub(super) async fn next_fresh(&mut self) -> Result<Incoming, ClientError> {
        loop {
            if let Some(frame) = self.decode()? {
                return parse(frame);
            }
            self.buffer.reserve(READ_CHUNK);
            let stage = self.stage;
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(ClientError::Closed { stage, source: None }),
                Ok(_) => {}
                Err(e) => return Err(ClientError::Closed { stage, source: Some(e) }),
            }
        }
    }

    /// Keeps a message that came before the awaited answer.
    pub(super) fn keep(&mut self, message: Incoming) -> Result<(), ClientError> {
        if self.backlog.len() >= MAX_BACKLOG {
            let text = format!("{MAX_BACKLOG} messages came before the answer to a request");
            return Err(ClientError::Protocol(text));
        }
        self.backlog.push_back(message);
        Ok(())
    }

    /// Gives the decoder what is buffered, in exactly the amounts it asks for: once asked for
    /// room it counts all of it as data.
    fn decode(&mut self) -> Result<Option<SerializedFrame>, ClientError> {
        loop {
            let want = self.decoder.writable_len();
            if self.buffer.len() < want {
                return Ok(None);
            }
            let Some(state) = self.state.take() else {
                return Err(ClientError::Protocol("decryption failed before".into()));
            };
            self.decoder.writable().copy_from_slice(&self.buffer[..want]);
            self.buffer.advance(want);
            match self.decoder.next_transport_frame(state) {
                Ok(Decrypted::Frame(frame, state)) => {
                    self.state = Some(state);
                    return Ok(Some(frame));
                }
                Ok(Decrypted::Incomplete(_, state)) => self.state = Some(state),
                Err(error) => return Err(ClientError::Protocol(error.to_string())),
            }
        }
    }
}

fn parse(mut frame: SerializedFrame) -> Result<Incoming, ClientError> {
    let header = frame.header();
    let (extension_type, message_type) = (header.ext_type_without_channel_msg(), header.msg_type());
    let malformed = |error: parsers_sv2::ParserError| {
        ClientError::Protocol(format!("message type {message_type:#04x} is malformed: {error}"))
    };
    if extension_type != 0 {
        return Ok(Incoming::Other { extension_type, message_type });
    }
    if MiningTypes::try_from(message_type).is_ok() {
        let message = Mining::try_from((message_type, frame.payload())).map_err(malformed)?;
        return Ok(Incoming::Mining(message.into_owned()));
    }
    if CommonMessageTypes::try_from(message_type).is_ok() {
        let message =
            CommonMessages::try_from((message_type, frame.payload())).map_err(malformed)?;
        return Ok(Incoming::Common(message.into_owned()));
    }
    Ok(Incoming::Other { extension_type, message_type })
}

/// The writing half. Owned by one task.
pub struct Writer {
    socket: OwnedWriteHalf,
    encoder: NoiseEncoder,
    state: TransportEncryptState,
    out: BytesMut,
    pub(super) stage: Stage,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("queued", &self.out.len()).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(socket: OwnedWriteHalf, state: TransportEncryptState) -> Self {
        let encoder = NoiseEncoder::new();
        Self { socket, encoder, state, out: BytesMut::new(), stage: Stage::Mining }
    }

    /// Encrypts a message into this half's buffer; [`Self::flush`] sends it. The caller bounds
    /// the buffer by looking at [`Self::queued`].
    pub fn queue<M>(&mut self, message: M) -> Result<(), ClientError>
    where
        M: IsSv2Message + Serialize + GetSize,
    {
        let (kind, extension) = (message.message_type(), message.extension_type());
        let channel_bit = message.channel_bit();
        let unfit = |e: &dyn fmt::Display| {
            ClientError::Protocol(format!("message type {kind:#04x} cannot be sent: {e}"))
        };
        let frame = MessageFrame::from_message(message, kind, extension, channel_bit)
            .map_err(|e| unfit(&e))?;
        let bytes = self.encoder.encode_transport(frame, &mut self.state).map_err(|e| unfit(&e))?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Bytes queued and not yet handed to the system.
    pub fn queued(&self) -> usize {
        self.out.len()
    }

    /// Sends what is queued. Cancel-safe: what was not sent stays queued. Returns at once when
    /// nothing is.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while self.out.has_remaining() {
            match self.socket.write_buf(&mut self.out).await {
                Ok(0) => return Err(ClientError::Closed { stage: self.stage, source: None }),
                Ok(_) => {}
                Err(e) => {
                    return Err(ClientError::Closed { stage: self.stage, source: Some(e) });
                }
            }
        }
        Ok(())
    }

    /// [`Self::queue`] and [`Self::flush`].
    pub async fn send<M>(&mut self, message: M) -> Result<(), ClientError>
    where
        M: IsSv2Message + Serialize + GetSize,
    {
        self.queue(message)?;
        self.flush().await
    }

    /// Sends what is queued and tells the server that nothing more comes.
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.flush().await?;
        let stage = self.stage;
        let closed = |e| ClientError::Closed { stage, source: Some(e) };
        self.socket.shutdown().await.map_err(closed)
    }
}
