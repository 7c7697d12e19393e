//! A few bytes in plain memory: what comes with every share takes nothing from the heap.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// At most 32 bytes: what a miner rolled, or a worker's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Short {
    bytes: [u8; 32],
    size: u8,
}

impl Short {
    /// What is longer is cut off; nothing that was checked is.
    #[must_use]
    pub fn new(from: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let size = from.len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..size), from.get(..size)) {
            to.copy_from_slice(from);
        }
        Self { bytes, size: u8::try_from(size).unwrap_or(0) }
    }

    /// The bytes, and zeros behind them.
    #[must_use]
    pub const fn padded(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// How many count.
    #[must_use]
    pub const fn size(&self) -> u8 {
        self.size
    }

    /// A copy that is shared from then on.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl Deref for Short {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size)).unwrap_or_default()
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_fits_and_no_more() {
        for len in [0, 1, 8, 31, 32, 33, 200] {
            let bytes = vec![7; len];
            let short = Short::new(&bytes);
            assert_eq!(*short, bytes[..len.min(32)]);
            assert_eq!(usize::from(short.size()), short.len());
            assert_eq!(short.padded()[short.len()..], [0; 32][short.len()..]);
            assert_eq!(short.to_bytes(), *short);
        }
    }
}
