//! How much a share is worth, and what amount of the mint's unit that makes. Exact: whole numbers
//! only, nothing is rounded away, every sum is checked.

use std::fmt;
use std::str::FromStr;

use crate::types::{Difficulty, Hash};

/// Highest amount of one credit: fits the signed 64-bit columns of a mint with room to add.
pub const AMOUNT_MAX: u64 = 1 << 62;

/// Highest value of one share under [`Scheme::HashpoolPow2`], in units: exact in JSON.
pub const POW2_MAX: u64 = 1 << 53;

/// Work, in units of 2^-32 of difficulty 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Work(pub u128);

impl Work {
    /// None.
    pub const ZERO: Self = Self(0);
    /// Difficulty 1.
    pub const DIFFICULTY_1: Self = Self(1 << 32);

    /// The exact sum; `None` beyond 2^128.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference; zero when `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// As a difficulty, exact up to 2^64 of it; the largest beyond.
    #[must_use]
    pub fn difficulty(self) -> Difficulty {
        // The cut keeps the low 32 bits, which are the fraction.
        let fraction = (self.0 & u128::from(u32::MAX)) as u32;
        match u64::try_from(self.0 >> 32) {
            Ok(whole) => Difficulty { whole, fraction },
            Err(_) => Difficulty { whole: u64::MAX, fraction: u32::MAX },
        }
    }
}

impl From<Difficulty> for Work {
    fn from(credit: Difficulty) -> Self {
        Self(u128::from(credit.whole) << 32 | u128::from(credit.fraction))
    }
}

/// What a share counts. A ledger has one for all its life: sums of two would mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// The credit that the pool gave: what the share was assigned, never the luck of its hash.
    #[default]
    Linear,
    /// hashpool's: 2^(leading zero bits of the hash - min) units, 0 below min, at most
    /// [`POW2_MAX`]. A lottery: what a share brings depends on the hash that was found.
    HashpoolPow2 {
        /// Leading zero bits of a hash that is worth one unit; 0 to 255.
        min_zero_bits: u8,
    },
}

impl Scheme {
    /// What a share with this hash and credit counts. Under [`Scheme::HashpoolPow2`] a unit is
    /// [`Work::DIFFICULTY_1`].
    #[must_use]
    pub fn work(self, hash: &Hash, credit: Difficulty) -> Work {
        match self {
            Self::Linear => credit.into(),
            Self::HashpoolPow2 { min_zero_bits } => {
                let exponent = zero_bits(hash).checked_sub(u32::from(min_zero_bits));
                let units = exponent.map_or(0, |bits| 1_u64.checked_shl(bits).unwrap_or(POW2_MAX));
                Work(u128::from(units.min(POW2_MAX)) << 32)
            }
        }
    }
}

/// Leading zero bits of a hash as a number of 256 bits: 0 to 256.
fn zero_bits(hash: &Hash) -> u32 {
    // Internal order: the highest byte is the last.
    let zeros = hash.0.iter().rev().take_while(|byte| **byte == 0).count();
    let next = hash.0.iter().rev().nth(zeros).map_or(0, |byte| byte.leading_zeros());
    zeros as u32 * 8 + next
}

impl fmt::Display for Scheme {
    /// `linear` or `hashpool_pow2:MIN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear => f.write_str("linear"),
            Self::HashpoolPow2 { min_zero_bits } => write!(f, "hashpool_pow2:{min_zero_bits}"),
        }
    }
}

/// A text that names no scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scheme: linear, or hashpool_pow2:MIN with MIN from 0 to 255")]
pub struct SchemeError(String);

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let scheme = match text.split_once(':') {
            None if text == "linear" => Some(Self::Linear),
            Some(("hashpool_pow2", min)) => {
                min.parse().ok().map(|min_zero_bits| Self::HashpoolPow2 { min_zero_bits })
            }
            _ => None,
        };
        scheme.ok_or_else(|| SchemeError(text.to_owned()))
    }
}

/// What a sealed credit pays, and what stays for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// In the mint's unit; 0 when nothing is paid, else `min_amount` to [`AMOUNT_MAX`].
    pub amount: u64,
    /// Work that is not paid yet.
    pub carry: Work,
}

/// Turns work into an amount: as many whole units as are in carry and work together. Less than
/// `min_amount` (or than 1) is not paid but carried; so is what is beyond [`AMOUNT_MAX`]. Nothing
/// is lost: `amount * unit + carry` is always what went in.
///
/// `None` when the sum does not fit, or when `unit` is zero.
#[must_use]
pub fn payment(carry: Work, work: Work, unit: Work, min_amount: u64) -> Option<Payment> {
    let total = carry.checked_add(work)?;
    let whole = total.0.checked_div(unit.0)?.min(u128::from(AMOUNT_MAX));
    let amount = u64::try_from(whole).ok()?;
    if amount < min_amount.max(1) {
        return Some(Payment { amount: 0, carry: total });
    }
    // Not more than total: whole is its quotient, or less.
    let paid = whole.checked_mul(unit.0)?;
    Some(Payment { amount, carry: Work(total.0.checked_sub(paid)?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A hash with exactly this many leading zero bits, all others set.
    fn hash(zeros: usize) -> Hash {
        let mut bytes = [0xff; 32];
        for bit in 0..zeros {
            bytes[31 - bit / 8] &= !(0x80 >> (bit % 8));
        }
        Hash(bytes)
    }

    const ANY: Difficulty = Difficulty { whole: 77, fraction: 5 };

    #[test]
    fn counts_credit_to_the_last_digit() {
        let work = Scheme::Linear.work(&hash(200), ANY);
        assert_eq!(work, Work((77 << 32) + 5));
        assert_eq!(work.difficulty(), ANY);
        let top = Difficulty { whole: u64::MAX, fraction: u32::MAX };
        assert_eq!(Work::from(top), Work((1 << 96) - 1));
        assert_eq!(Work(1 << 96).difficulty(), top);
    }

    #[test]
    fn counts_zero_bits_as_hashpool_does() {
        // (leading zero bits, min) -> units: below min, at min, above, around the cap.
        let golden = [
            ((31, 32), 0),
            ((32, 32), 1),
            ((33, 32), 2),
            ((40, 32), 256),
            ((0, 0), 1),
            ((10, 0), 1_024),
            ((84, 32), 1 << 52),
            ((85, 32), 1 << 53),
            ((86, 32), 1 << 53),
            ((96, 32), 1 << 53),
            ((256, 0), 1 << 53),
            ((256, 255), 2),
            ((0, 255), 0),
        ];
        for ((zeros, min_zero_bits), units) in golden {
            let work = Scheme::HashpoolPow2 { min_zero_bits }.work(&hash(zeros), ANY);
            assert_eq!(work, Work(units << 32), "{zeros} bits, min {min_zero_bits}");
        }
    }

    #[test]
    fn counts_zero_bits_of_the_genesis_block() {
        // 000000000019d668…: ten zero digits and a 1, so 43 bits.
        let text = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().rev().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap();
        }
        assert_eq!(Hash(bytes).to_string(), text);
        assert_eq!(zero_bits(&Hash(bytes)), 43);
        let scheme = Scheme::HashpoolPow2 { min_zero_bits: 32 };
        assert_eq!(scheme.work(&Hash(bytes), ANY), Work(2_048 << 32));
    }

    #[test]
    fn reads_the_schemes_it_writes() {
        for scheme in [Scheme::Linear, Scheme::HashpoolPow2 { min_zero_bits: 32 }] {
            assert_eq!(scheme.to_string().parse(), Ok(scheme));
        }
        for text in ["", "Linear", "linear:1", "hashpool_pow2", "hashpool_pow2:256"] {
            assert!(text.parse::<Scheme>().is_err(), "{text}");
        }
    }

    #[test]
    fn rejects_sums_that_do_not_fit() {
        assert_eq!(payment(Work(u128::MAX), Work(1), Work(1), 1), None);
        assert_eq!(payment(Work(1), Work(1), Work::ZERO, 1), None);
        let most = payment(Work(u128::MAX), Work::ZERO, Work(1), 1).unwrap();
        assert_eq!(most.amount, AMOUNT_MAX, "what is beyond is carried");
        assert_eq!(most.carry, Work(u128::MAX - u128::from(AMOUNT_MAX)));
    }

    proptest! {
        #[test]
        fn pays_and_carries_all_work(
            works in prop::collection::vec(0_u128..1 << 90, 1..60),
            unit in 1_u128..1 << 70,
            min_amount in 0_u64..1_000,
        ) {
            let (mut carry, mut paid, mut sum) = (Work::ZERO, 0_u128, 0_u128);
            for work in works {
                let made = payment(carry, Work(work), Work(unit), min_amount).unwrap();
                prop_assert!(made.amount == 0 || made.amount >= min_amount.max(1));
                prop_assert!(made.amount <= AMOUNT_MAX);
                paid += u128::from(made.amount) * unit;
                sum += work;
                carry = made.carry;
                prop_assert_eq!(paid + carry.0, sum);
                // Nothing that could be paid is held back.
                let payable = carry.0 / unit;
                prop_assert!(payable < u128::from(min_amount.max(1)) || made.amount == AMOUNT_MAX);
            }
        }

        #[test]
        fn keeps_difficulties(whole: u64, fraction: u32) {
            let credit = Difficulty { whole, fraction };
            prop_assert_eq!(Work::from(credit).difficulty(), credit);
        }
    }
}
