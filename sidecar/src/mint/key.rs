//! The key that ehash is locked to (Cashu NUT-20): a compressed secp256k1 public key.

use std::fmt;
use std::str::FromStr;

use secp256k1::PublicKey;

/// Length of a payout key, in bytes.
pub const KEY_BYTES: usize = 33;

/// A payout key: 33 bytes of SEC 1, compressed, that name a point of secp256k1. Public; its secret
/// half is in the miner's wallet and nowhere here. Its text is 66 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayoutKey([u8; KEY_BYTES]);

/// Why something is no payout key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 33 bytes.
    #[error("a payout key has 33 bytes, this has {0}")]
    Length(usize),
    /// Text of another length, or with other characters.
    #[error("a payout key is written as 66 hexadecimal digits")]
    Text,
    /// The right length, but no point of the curve.
    #[error("these 33 bytes are no public key of secp256k1 (02 or 03, then x of a point)")]
    Point,
}

impl PayoutKey {
    /// Takes the 33 bytes of a compressed key and checks that they are a point of the curve.
    ///
    /// # Errors
    /// [`KeyError::Length`], [`KeyError::Point`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        PublicKey::from_slice(&key).map_err(|_| KeyError::Point)?;
        Ok(Self(key))
    }

    /// The 33 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl FromStr for PayoutKey {
    type Err = KeyError;

    /// Reads 66 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return Err(KeyError::Text);
        }
        let mut bytes = [0; KEY_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = match pair {
                &[high, low] => digit(high)? << 4 | digit(low)?,
                _ => return Err(KeyError::Text),
            };
        }
        Self::from_bytes(&bytes)
    }
}

fn digit(character: u8) -> Result<u8, KeyError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        b'A'..=b'F' => Ok(character - b'A' + 10),
        _ => Err(KeyError::Text),
    }
}

impl fmt::Display for PayoutKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PayoutKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of secp256k1 (SEC 2), compressed.
    const G: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn reads_what_it_writes() {
        let key: PayoutKey = G.parse().unwrap();
        assert_eq!(key.to_string(), G);
        assert_eq!(format!("{key:?}"), G);
        assert_eq!(PayoutKey::from_bytes(key.as_bytes()), Ok(key));
        assert_eq!(G.to_uppercase().parse(), Ok(key));
    }

    #[test]
    fn rejects_what_is_no_point() {
        // Long enough, and nothing else: a check of the length alone would take it.
        assert_eq!(PayoutKey::from_bytes(&[0xff; 33]), Err(KeyError::Point));
        assert_eq!(PayoutKey::from_bytes(&[0; 33]), Err(KeyError::Point));
        // x = 5 has no y on the curve: 5^3 + 7 is no square.
        let mut none = [0; 33];
        none[0] = 2;
        none[32] = 5;
        assert_eq!(PayoutKey::from_bytes(&none), Err(KeyError::Point));
        for head in ["00", "04", "05", "06"] {
            let text = format!("{head}{}", &G[2..]);
            assert_eq!(text.parse::<PayoutKey>(), Err(KeyError::Point), "{text}");
        }
    }

    #[test]
    fn rejects_other_lengths_and_texts() {
        assert_eq!(PayoutKey::from_bytes(&[2; 32]), Err(KeyError::Length(32)));
        assert_eq!(PayoutKey::from_bytes(&[4; 65]), Err(KeyError::Length(65)));
        for text in ["", &G[1..], &format!("{G}00"), &G.replace('9', "g"), &G.replace('9', " ")] {
            assert_eq!(text.parse::<PayoutKey>(), Err(KeyError::Text), "{text}");
        }
        let wide = format!("ä{}", &G[2..]);
        assert_eq!((wide.len(), wide.parse::<PayoutKey>()), (66, Err(KeyError::Text)));
    }
}
