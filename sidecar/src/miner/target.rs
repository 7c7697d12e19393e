//! 256-bit targets: comparison, compact form, difficulty.

use std::cmp::Ordering;
use std::fmt;

/// A target: a hash meets it when, read as a little-endian integer, it is not greater.
///
/// Ordered as integers: the smaller the harder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target([u8; 32]);

impl Target {
    /// Every hash meets it.
    pub const EASIEST: Self = Self([0xff; 32]);
    /// No hash that will ever be found meets it.
    pub const NEVER: Self = Self([0; 32]);

    /// From 32 little-endian bytes, the order SV2 sends.
    pub const fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 little-endian bytes.
    pub const fn to_le_bytes(self) -> [u8; 32] {
        self.0
    }

    /// From the compact form of a block header (`nbits`). `None` for a negative number, zero or
    /// an overflow: no hash meets those.
    pub fn from_compact(nbits: u32) -> Option<Self> {
        let size = (nbits >> 24) as usize;
        let mantissa = nbits & 0x007f_ffff;
        if mantissa == 0 || nbits & 0x0080_0000 != 0 {
            return None;
        }
        let mut bytes = [0_u8; 32];
        for (i, byte) in mantissa.to_le_bytes().iter().take(3).enumerate() {
            // Byte i of the mantissa has the weight 256^(size - 3 + i).
            match (size + i).checked_sub(3) {
                Some(place) if place < 32 => bytes[place] = *byte,
                Some(_) if *byte != 0 => return None,
                _ => {}
            }
        }
        (bytes != [0; 32]).then_some(Self(bytes))
    }

    /// Whether `hash`, 32 bytes as the double SHA-256 yields them, meets this target.
    pub fn is_met_by(&self, hash: &[u8; 32]) -> bool {
        Self(*hash) <= *self
    }

    /// The harder of two.
    pub fn harder(self, other: Self) -> Self {
        self.min(other)
    }

    /// The most significant 32 bits: a hash with more than that need not be looked at further.
    pub fn top(&self) -> u32 {
        u32::from_le_bytes([self.0[28], self.0[29], self.0[30], self.0[31]])
    }

    /// Difficulty in Bitcoin's unit (1 = 0xffff · 2^208); infinite for [`Self::NEVER`].
    pub fn difficulty(&self) -> f64 {
        let value = self.0.iter().rev().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
        65_535.0 * 2_f64.powi(208) / value
    }
}

impl Ord for Target {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_order(&self.0))
    }
}

/// A hash or target as hex, most significant byte first: how block explorers print it.
pub fn display_order(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    for byte in bytes.iter().rev() {
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::vectors;

    fn one_at(place: usize) -> Target {
        let mut bytes = [0; 32];
        bytes[place] = 1;
        Target(bytes)
    }

    #[test]
    fn compares_as_little_endian_integers_and_takes_equality() {
        assert!(one_at(31) > one_at(30));
        assert!(one_at(0) < one_at(1));
        assert_eq!(one_at(31).harder(one_at(3)), one_at(3));
        let hash = one_at(12);
        assert!(hash.is_met_by(&hash.0));
        let mut above = hash.0;
        above[0] = 1;
        assert!(!hash.is_met_by(&above));
        assert!(!Target::NEVER.is_met_by(&one_at(0).0));
        assert!(Target::EASIEST.is_met_by(&[0xff; 32]));
    }

    #[test]
    fn reads_compact_targets_and_rejects_impossible_ones() {
        let one = Target::from_compact(0x1d00_ffff).expect("difficulty 1");
        assert_eq!(one.0[26..28], [0xff, 0xff]);
        assert_eq!(one.0.iter().filter(|b| **b != 0).count(), 2);
        let regtest = Target::from_compact(0x207f_ffff).expect("regtest");
        assert_eq!(regtest.0[29..32], [0xff, 0xff, 0x7f]);
        assert_eq!(Target::from_compact(0x0312_3456).expect("small").0[..3], [0x56, 0x34, 0x12]);
        assert_eq!(Target::from_compact(0x0112_3456).expect("shifted").0[..2], [0x12, 0]);
        for bad in [0, 0x1d00_0000, 0x1d80_ffff, 0x2101_0000, 0xff00_0001, 0x0100_0056] {
            assert_eq!(Target::from_compact(bad), None, "{bad:#x}");
        }
        assert!(Target::from_compact(0x2200_00ff).is_some());
    }

    #[test]
    fn agrees_with_the_vectors() {
        let vectors = vectors::targets();
        assert!(vectors.difficulties.len() > 10 && vectors.nbits.len() > 10);
        for vector in vectors.difficulties {
            let got = Target::from_le_bytes(vector.target.array()).difficulty();
            // The target is rounded down to a whole number.
            let (want, error) = (vector.difficulty, (got / vector.difficulty - 1.0).abs());
            assert!(error < 1e-8, "{got} for {want}");
        }
        for vector in vectors.nbits {
            let want = vector.target.map(|target| Target::from_le_bytes(target.array()));
            assert_eq!(Target::from_compact(vector.nbits.word()), want, "{:?}", vector.nbits);
        }
        for vector in vectors.meets {
            let target = Target::from_le_bytes(vector.target.array());
            assert_eq!(target.is_met_by(&vector.hash.array()), vector.meets, "{}", vector.name);
        }
        assert!(Target::NEVER.difficulty().is_infinite());
    }

    #[test]
    fn prints_most_significant_byte_first() {
        let text = format!("{:?}", one_at(31));
        assert_eq!(text, format!("01{}", "00".repeat(31)));
    }
}
