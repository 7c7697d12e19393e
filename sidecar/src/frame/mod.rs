//! Encrypted SV2 frames: bytes in, frames out, and back (SV2 spec 3.2, 4.6). Knows no message.
//!
//! Both halves work in place on one buffer each: a frame is decrypted where it was received and
//! encrypted where it waits to be sent. codec_sv2 reserves 320 KiB for each of four buffers per
//! connection and copies every frame twice; it serves as the oracle in the tests instead.

mod aead;
mod reader;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use reader::{Caps, Frame, Reader};
pub use writer::Writer;

/// Length of a frame header in the clear.
pub const HEADER_LEN: usize = framing_sv2::SV2_FRAME_HEADER_SIZE;
/// Length of an authentication tag.
pub const MAC_LEN: usize = noise_sv2::AEAD_MAC_LEN;
/// Length of an encrypted header.
pub const ENCRYPTED_HEADER_LEN: usize = HEADER_LEN + MAC_LEN;
/// Most ciphertext of one AEAD message.
pub const CHUNK_LEN: usize = framing_sv2::SV2_FRAME_CHUNK_SIZE;
/// Most plaintext of one AEAD message.
pub const PLAIN_CHUNK_LEN: usize = CHUNK_LEN - MAC_LEN;

/// Why the frames of a connection can't go on. All of them end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A tag doesn't fit: garbage, tampering, or another key.
    #[error("a frame fails authentication")]
    Authentication,
    /// The peer announces more than the connection's state allows.
    #[error("a frame of {declared} bytes is longer than the {limit} allowed here")]
    TooLong {
        /// Length in the header.
        declared: usize,
        /// Length allowed.
        limit: usize,
    },
    /// We were about to send more than a frame can hold, or a message that doesn't serialize.
    #[error("a message can't be put into a frame")]
    Encode,
    /// 2^64 messages under one key.
    #[error("the session key is used up")]
    KeyExhausted,
}

/// Bytes of ciphertext for `plain` bytes of payload (SV2 spec 4.6).
#[must_use]
pub const fn encrypted_len(plain: usize) -> usize {
    plain + plain.div_ceil(PLAIN_CHUNK_LEN) * MAC_LEN
}
