//! Views on a buffer in which the AEAD works in place.

use chacha20poly1305::aead::{Buffer, Error};

/// Part of a received buffer: can shrink (the tag goes), never grows.
pub(super) struct Window<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Window<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        let len = bytes.len();
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for Window<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsMut<[u8]> for Window<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Buffer for Window<'_> {
    fn extend_from_slice(&mut self, _other: &[u8]) -> Result<(), Error> {
        Err(Error)
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// The end of an outgoing buffer: the tag is appended.
pub(super) struct Tail<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Tail<'a> {
    /// From `start` (at most the length) to the end.
    pub(super) fn new(bytes: &'a mut Vec<u8>, start: usize) -> Self {
        let start = start.min(bytes.len());
        Self { bytes, start }
    }
}

impl AsRef<[u8]> for Tail<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl AsMut<[u8]> for Tail<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

impl Buffer for Tail<'_> {
    fn extend_from_slice(&mut self, other: &[u8]) -> Result<(), Error> {
        self.bytes.extend_from_slice(other);
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }
}
