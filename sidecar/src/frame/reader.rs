//! Received bytes to frames.

use framing_sv2::header::Header;
use noise_sv2::NoiseDecryptor;

use super::aead::Window;
use super::{encrypted_len, FrameError, CHUNK_LEN, ENCRYPTED_HEADER_LEN, HEADER_LEN, MAC_LEN};

/// Room asked for when nothing is known about what comes: many small frames fit one read.
const READ_AHEAD: usize = 2048;
/// Room asked for at most at a time: a declared length alone never reserves more.
const RESERVE_MAX: usize = 16 * 1024;
/// An empty buffer larger than this is given back; see the writer's.
const KEEP_MAX: usize = READ_AHEAD;
/// What waits for the rest of its frame moves to other memory as long as it is no longer than this.
const MOVED_MAX: usize = 1024;

/// One frame, decrypted, in the reader's buffer.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Extension type without the channel bit (SV2 spec 3.2.1).
    pub extension_type: u16,
    /// Message type.
    pub message_type: u8,
    /// The payload in the clear.
    pub payload: &'a mut [u8],
}

/// Turns a connection's received bytes into frames. Owned by one task; does no I/O itself: the
/// driver reads into [`Reader::room`] (a cancelled read loses nothing) and then takes frames with
/// [`Reader::next_frame`] until there is none.
#[derive(Debug)]
pub struct Reader {
    decryptor: NoiseDecryptor,
    buffer: Vec<u8>,
    /// The buffer is to be given back.
    lent: bool,
    /// Start of what has not been taken yet.
    start: usize,
    /// The decrypted header of the frame whose payload is awaited.
    header: Option<Header>,
    max_payload: usize,
    caps: Caps,
}

/// Longest payload of a message by its extension type (without the channel bit) and message type;
/// `None`: see [`Reader::set_max_payload`].
pub type Caps = fn(u16, u8) -> Option<usize>;

impl Reader {
    /// `max_payload`: longest payload accepted, see [`Reader::set_max_payload`].
    #[must_use]
    pub const fn new(decryptor: NoiseDecryptor, max_payload: usize) -> Self {
        let caps: Caps = |_, _| None;
        Self {
            decryptor,
            buffer: Vec::new(),
            lent: false,
            start: 0,
            header: None,
            max_payload,
            caps,
        }
    }

    /// Reads into `memory`, which is empty, from now on, until [`Reader::give_back`]. A reader that
    /// waits for its peer then holds no more than has come. Asks for none that it has no use for.
    pub fn lend(&mut self, memory: impl FnOnce() -> Vec<u8>) {
        let held = self.buffer.get(self.start..).unwrap_or_default();
        if self.lent || held.len() > MOVED_MAX {
            return;
        }
        let mut memory = memory();
        memory.extend_from_slice(held);
        (self.buffer, self.start, self.lent) = (memory, 0, true);
    }

    /// Gives back what was lent, unless much waits in it: that is kept for as long.
    pub fn give_back(&mut self) -> Option<Vec<u8>> {
        let held = self.buffer.get(self.start..).unwrap_or_default();
        if !std::mem::take(&mut self.lent) || held.len() > MOVED_MAX {
            return None;
        }
        let own = held.to_vec();
        self.start = 0;
        Some(std::mem::replace(&mut self.buffer, own))
    }

    /// Sets the longest payload of single types, above or below that of all others; applies to
    /// headers decrypted from now on.
    pub const fn set_caps(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// Changes the longest payload accepted; applies to headers decrypted from now on.
    pub const fn set_max_payload(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
    }

    /// The buffer to append received bytes to, with room for what is expected next.
    pub fn room(&mut self) -> &mut Vec<u8> {
        let held = self.buffer.len() - self.start;
        if self.start > 0 {
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(held);
            self.start = 0;
        }
        if held == 0 && self.buffer.capacity() > KEEP_MAX && !self.lent {
            self.buffer = Vec::new();
        }
        let missing = self.missing(held).clamp(READ_AHEAD, RESERVE_MAX);
        self.buffer.reserve(missing);
        &mut self.buffer
    }

    /// true while part of a frame has been received and the rest is awaited.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.header.is_some() || self.buffer.len() > self.start
    }

    /// Whether the next header is there, or the rest of the frame whose header was.
    #[must_use]
    pub fn can_go_on(&self) -> bool {
        self.is_mid_frame() && self.missing(self.buffer.len() - self.start) == 0
    }

    fn missing(&self, held: usize) -> usize {
        let wanted =
            self.header.map_or(ENCRYPTED_HEADER_LEN, |h| encrypted_len(h.payload_length()));
        wanted.saturating_sub(held)
    }

    /// The next frame, if it is complete. Call again until it returns `None`.
    ///
    /// # Errors
    /// Any [`FrameError`]; the reader must not be used after one.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let header = match self.header {
            Some(header) => header,
            None => match self.take_header()? {
                Some(header) => header,
                None => return Ok(None),
            },
        };
        let payload = header.payload_length();
        let sealed = encrypted_len(payload);
        if self.buffer.len() - self.start < sealed {
            self.header = Some(header);
            return Ok(None);
        }
        let begin = self.start;
        self.open_chunks(begin, sealed)?;
        self.header = None;
        self.start = begin + sealed;
        Ok(Some(Frame {
            extension_type: header.ext_type_without_channel_msg(),
            message_type: header.msg_type(),
            payload: &mut self.buffer[begin..begin + payload],
        }))
    }

    fn take_header(&mut self) -> Result<Option<Header>, FrameError> {
        let end = self.start + ENCRYPTED_HEADER_LEN;
        let Some(sealed) = self.buffer.get_mut(self.start..end) else { return Ok(None) };
        self.decryptor.decrypt(&mut Window::new(sealed)).map_err(|_| FrameError::Authentication)?;
        let header =
            Header::from_bytes(&sealed[..HEADER_LEN]).map_err(|_| FrameError::Authentication)?;
        let declared = header.payload_length();
        let cap = (self.caps)(header.ext_type_without_channel_msg(), header.msg_type());
        let limit = cap.unwrap_or(self.max_payload);
        if declared > limit {
            return Err(FrameError::TooLong { declared, limit });
        }
        self.start = end;
        Ok(Some(header))
    }

    /// Decrypts `sealed` bytes at `begin` chunk by chunk and closes the gaps the tags leave.
    fn open_chunks(&mut self, begin: usize, sealed: usize) -> Result<(), FrameError> {
        let (mut from, mut to, end) = (begin, begin, begin + sealed);
        while from < end {
            let next = (from + CHUNK_LEN).min(end);
            self.decryptor
                .decrypt(&mut Window::new(&mut self.buffer[from..next]))
                .map_err(|_| FrameError::Authentication)?;
            let plain = next - from - MAC_LEN;
            if to != from {
                self.buffer.copy_within(from..from + plain, to);
            }
            to += plain;
            from = next;
        }
        Ok(())
    }
}
