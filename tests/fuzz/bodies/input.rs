//! Bytes as decisions: what a fuzzer or a property test makes up.

/// A reader over the input. Past its end everything is zero, so that any bytes are an input.
#[derive(Debug, Clone)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.0.len().min(N);
        out[..taken].copy_from_slice(&self.0[..taken]);
        self.0 = &self.0[taken..];
        out
    }

    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// Below `limit`, which is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        let word = if limit > 256 { usize::from(self.u16()) } else { usize::from(self.u8()) };
        word % limit
    }

    /// Up to `most` bytes of the input.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let wanted = self.below(most + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(wanted);
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// `len` bytes that a place in the stream can be told by.
pub fn filler(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed).collect()
}
