//! Hashes, targets and difficulty.

use std::cmp::Ordering;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// A double-SHA256, 32 bytes in internal order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// An upper bound of a hash, 32 bytes, little-endian as a number (SV2's U256).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Target(pub [u8; 32]);

/// SHA-256 applied twice.
#[must_use]
pub fn sha256d(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash(Sha256::digest(hasher.finalize()).into())
}

fn write_reversed_hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Hash {
    /// As explorers print it: reversed, 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_reversed_hex(&self.0, f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_reversed_hex(&self.0, f)
    }
}

impl Hash {
    /// At or below `target`: equality counts (SV2 spec 5.3.21).
    #[must_use]
    pub fn meets(&self, target: &Target) -> bool {
        Target(self.0) <= *target
    }
}

impl fmt::Display for Target {
    /// The number in hexadecimal, 64 digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_reversed_hex(&self.0, f)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_reversed_hex(&self.0, f)
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Target {
    /// Below means harder.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl Target {
    /// Every hash meets it.
    pub const EASIEST: Self = Self([0xff; 32]);
    /// No hash is expected to meet it; never given to a miner.
    pub const ZERO: Self = Self([0; 32]);

    /// Expands the compact form of a block header's nbits. `None` when it is negative, zero, or
    /// does not fit 256 bits.
    #[must_use]
    pub fn from_nbits(nbits: u32) -> Option<Self> {
        let mantissa = nbits & 0x007f_ffff;
        let size = (nbits >> 24) as usize;
        if nbits & 0x0080_0000 != 0 || mantissa == 0 {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in mantissa.to_le_bytes().into_iter().enumerate().take(3) {
            // Byte `index` of the mantissa stands at size - 3 + index of the number.
            let Some(place) = (size + index).checked_sub(3) else { continue };
            match bytes.get_mut(place) {
                Some(slot) => *slot = byte,
                None if byte != 0 => return None,
                None => {}
            }
        }
        let target = Self(bytes);
        (target != Self::ZERO).then_some(target)
    }
}

/// An exact difficulty (pdiff): `whole + fraction / 2^32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Difficulty {
    /// The integer part.
    pub whole: u64,
    /// The rest in units of 2^-32.
    pub fraction: u32,
}

impl Difficulty {
    /// The exact sum; saturates at the largest value.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        let (fraction, carry) = self.fraction.overflowing_add(other.fraction);
        let whole = self.whole.checked_add(other.whole).and_then(|w| w.checked_add(carry.into()));
        match whole {
            Some(whole) => Self { whole, fraction },
            None => Self { whole: u64::MAX, fraction: u32::MAX },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::vectors;

    #[test]
    fn orders_targets_as_little_endian_numbers() {
        let mut low = [0xff; 32];
        low[31] = 0;
        let mut high = [0; 32];
        high[31] = 1;
        assert!(Target(low) < Target(high));
        assert!(Hash(low).meets(&Target(low)), "equality counts");
        assert!(!Hash(high).meets(&Target(low)));
    }

    #[test]
    fn expands_nbits() {
        let one = Target::from_nbits(0x1d00_ffff).unwrap();
        assert_eq!(one.to_string(), format!("00000000ffff{}", "0".repeat(52)));
        let regtest = Target::from_nbits(0x207f_ffff).unwrap();
        assert_eq!(regtest.to_string(), format!("7fffff{}", "0".repeat(58)));
        assert_eq!(Target::from_nbits(0x0100_3456), None, "shifted out to zero");
        assert_eq!(Target::from_nbits(0x0400_1234).unwrap().0[1..3], [0x34, 0x12]);
        for bad in [0, 0x0180_0000, 0x0092_3456, 0xff12_3456, 0x2201_0000] {
            assert_eq!(Target::from_nbits(bad), None, "{bad:08x}");
        }
        assert!(Target::from_nbits(0x2200_00ff).is_some(), "the highest byte still fits");
    }

    #[test]
    fn agrees_with_the_vectors() {
        let vectors = vectors::targets();
        assert!(vectors.nbits.len() > 10 && vectors.meets.len() > 5);
        for vector in vectors.nbits {
            let want = vector.target.map(|target| target.target());
            assert_eq!(Target::from_nbits(vector.nbits.word()), want, "{:?}", vector.nbits);
        }
        for vector in vectors.meets {
            let meets = vector.hash.hash().meets(&vector.target.target());
            assert_eq!(meets, vector.meets, "{}", vector.name);
        }
    }

    #[test]
    fn adds_difficulties_with_carry() {
        let half = Difficulty { whole: 0, fraction: 1 << 31 };
        assert_eq!(half.saturating_add(half), Difficulty { whole: 1, fraction: 0 });
        let top = Difficulty { whole: u64::MAX, fraction: u32::MAX };
        assert_eq!(top.saturating_add(half), top);
    }
}
