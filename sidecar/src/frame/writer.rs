//! Messages to bytes that wait to be sent.

use binary_sv2::{to_writer, GetSize, Serialize};
use noise_sv2::NoiseEncryptor;

use super::aead::Tail;
use super::{encrypted_len, FrameError, ENCRYPTED_HEADER_LEN, PLAIN_CHUNK_LEN};

/// A buffer that has grown beyond this is given back once it is empty. What answers need stays;
/// jobs are few, and a miner's memory must not creep up to the worst moment it ever had.
const KEEP_MAX: usize = 512;
/// Longest payload: its length is 24 bits (SV2 spec 3.2).
const MAX_PAYLOAD: usize = (1 << 24) - 1;
/// Bit 15 of extension_type: the payload begins with a channel id (SV2 spec 3.2.1).
const CHANNEL_BIT: u16 = 0x8000;

/// Encrypts frames into one outgoing buffer, so that everything queued goes out in one write.
/// Owned by one task; does no I/O itself.
#[derive(Debug)]
pub struct Writer {
    encryptor: NoiseEncryptor,
    buffer: Vec<u8>,
    /// The buffer is to be given back.
    lent: bool,
    /// Start of what has not been sent yet.
    start: usize,
}

impl Writer {
    /// Takes over the sending half of a session.
    #[must_use]
    pub const fn new(encryptor: NoiseEncryptor) -> Self {
        Self { encryptor, buffer: Vec::new(), lent: false, start: 0 }
    }

    /// Writes into `memory`, which is empty, from now on, until [`Writer::give_back`]. A writer
    /// that has nothing to send then holds none. Asks for none that it has no use for.
    pub fn lend(&mut self, memory: impl FnOnce() -> Vec<u8>) {
        if !self.lent && self.buffer.is_empty() {
            (self.buffer, self.lent) = (memory(), true);
        }
    }

    /// Gives back what was lent, unless something waits in it: then it is kept until that is sent.
    pub fn give_back(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.lent) || !self.buffer.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// Encrypts one message behind those that wait. Order of calls is order on the wire.
    ///
    /// # Errors
    /// [`FrameError::Encode`] or [`FrameError::KeyExhausted`]; the writer must not be used after.
    pub fn push<T: Serialize + GetSize>(
        &mut self,
        message: T,
        extension_type: u16,
        message_type: u8,
        channel_msg: bool,
    ) -> Result<(), FrameError> {
        let len = message.get_size();
        self.push_with(len, extension_type, message_type, channel_msg, |payload| {
            to_writer(message, payload).map(drop).map_err(|_| FrameError::Encode)
        })
    }

    /// The same for a payload of `len` bytes that `fill` writes.
    ///
    /// # Errors
    /// As [`Writer::push`], and what `fill` says.
    pub fn push_with(
        &mut self,
        len: usize,
        extension_type: u16,
        message_type: u8,
        channel_msg: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        self.header(len, extension_type, message_type, channel_msg)?;
        if len <= PLAIN_CHUNK_LEN {
            let begin = self.buffer.len();
            self.buffer.resize(begin + len, 0);
            fill(&mut self.buffer[begin..])?;
            return if len == 0 { Ok(()) } else { self.seal(begin) };
        }
        let mut plain = vec![0; len];
        fill(&mut plain)?;
        for chunk in plain.chunks(PLAIN_CHUNK_LEN) {
            let begin = self.buffer.len();
            self.buffer.extend_from_slice(chunk);
            self.seal(begin)?;
        }
        Ok(())
    }

    /// The same for a message that is there in parts, in the order of its fields, and short: it
    /// fits one piece of ciphertext.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn push_parts(
        &mut self,
        parts: &[&[u8]],
        extension_type: u16,
        message_type: u8,
        channel_msg: bool,
    ) -> Result<(), FrameError> {
        let len = parts.iter().map(|part| part.len()).sum();
        if len > PLAIN_CHUNK_LEN {
            return Err(FrameError::Encode);
        }
        self.header(len, extension_type, message_type, channel_msg)?;
        let begin = self.buffer.len();
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        if len == 0 {
            Ok(())
        } else {
            self.seal(begin)
        }
    }

    fn header(
        &mut self,
        len: usize,
        extension_type: u16,
        message_type: u8,
        channel_msg: bool,
    ) -> Result<(), FrameError> {
        if len > MAX_PAYLOAD {
            return Err(FrameError::Encode);
        }
        let bit = if channel_msg { CHANNEL_BIT } else { 0 };
        let [e0, e1] = (extension_type & !CHANNEL_BIT | bit).to_le_bytes();
        let [l0, l1, l2, ..] = len.to_le_bytes();
        // Once, not by doubling.
        self.buffer.reserve(ENCRYPTED_HEADER_LEN + encrypted_len(len));
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(&[e0, e1, message_type, l0, l1, l2]);
        self.seal(begin)
    }

    fn seal(&mut self, begin: usize) -> Result<(), FrameError> {
        self.encryptor
            .encrypt(&mut Tail::new(&mut self.buffer, begin))
            .map_err(|_| FrameError::KeyExhausted)
    }

    /// What waits to be sent.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// `sent` bytes of [`Writer::pending`] are on their way.
    pub fn advance(&mut self, sent: usize) {
        self.start = (self.start + sent).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.start = 0;
            self.buffer.clear();
            if self.buffer.capacity() > KEEP_MAX && !self.lent {
                self.buffer = Vec::new();
            }
        } else if self.start > self.buffer.len() / 2 {
            // A peer that never takes all of it must not make the buffer grow by what it took.
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(self.buffer.len() - self.start);
            self.start = 0;
        }
    }
}
