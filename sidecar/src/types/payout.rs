//! Where the credit of a channel's work goes beside the pool's own books: a Cashu payout key that
//! the miner wrote behind its user identity.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use secp256k1::PublicKey;

/// What comes between a user identity and its payout key.
const MARK: &[u8] = b"~ehash=";

/// A Cashu payout key: a secp256k1 point, compressed (NUT-20's `pubkey`). Always a real one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayoutKey([u8; 33]);

/// A payout key that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a compressed secp256k1 public key: 66 hexadecimal digits that begin with 02 or 03")]
pub struct BadPayoutKey;

impl PayoutKey {
    /// From its 33 bytes.
    ///
    /// # Errors
    /// [`BadPayoutKey`]: another length, or no point of the curve.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadPayoutKey> {
        let bytes: [u8; 33] = bytes.try_into().map_err(|_| BadPayoutKey)?;
        PublicKey::from_slice(&bytes).map_err(|_| BadPayoutKey)?;
        Ok(Self(bytes))
    }

    /// From 66 hexadecimal digits, of either case.
    ///
    /// # Errors
    /// [`BadPayoutKey`]: anything else, or no point of the curve.
    pub fn from_hex(text: &[u8]) -> Result<Self, BadPayoutKey> {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        if text.len() != 66 {
            return Err(BadPayoutKey);
        }
        let bytes: Option<Vec<u8>> = text.chunks_exact(2).map(pair).collect();
        Self::from_bytes(&bytes.ok_or(BadPayoutKey)?)
    }

    /// Its 33 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

impl FromStr for PayoutKey {
    type Err = BadPayoutKey;

    fn from_str(text: &str) -> Result<Self, BadPayoutKey> {
        Self::from_hex(text.as_bytes())
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

/// The user identity less its payout key, and that key: `NAME~ehash=KEY`, or `NAME~ehash=KEY.RIG`,
/// as proxies write that number their miners; then the name is `NAME.RIG`. The pool never sees the
/// key in the name.
///
/// # Errors
/// [`BadPayoutKey`]: something else stands where the key should.
pub fn split_identity(identity: &[u8]) -> Result<(Cow<'_, [u8]>, Option<PayoutKey>), BadPayoutKey> {
    let mark = identity.windows(MARK.len()).rposition(|window| window == MARK);
    let Some(at) = mark else { return Ok((identity.into(), None)) };
    let (name, behind) = (&identity[..at], &identity[at + MARK.len()..]);
    let end = behind.iter().position(|byte| *byte == b'.').unwrap_or(behind.len());
    let (key, rig) = behind.split_at(end);
    let name = match rig {
        [] => Cow::Borrowed(name),
        rig => Cow::Owned([name, rig].concat()),
    };
    Ok((name, Some(PayoutKey::from_hex(key)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of the curve.
    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn takes_the_key_off_the_identity() {
        let key = PayoutKey::from_hex(KEY.as_bytes()).unwrap();
        assert_eq!(key.to_string(), KEY);
        assert_eq!(PayoutKey::from_hex(KEY.to_uppercase().as_bytes()), Ok(key));
        let with = |name: &str| format!("{name}~ehash={KEY}");
        let split = |identity: &str| {
            split_identity(identity.as_bytes()).map(|(name, key)| (name.into_owned(), key))
        };
        let named = |name: &str, key| Ok((name.as_bytes().to_vec(), key));
        assert_eq!(split(&with("bc1q.rig")), named("bc1q.rig", Some(key)));
        assert_eq!(split(&with("")), named("", Some(key)));
        assert_eq!(split(&with("a~ehash=b")), named("a~ehash=b", Some(key)));
        // A proxy numbers its miners behind the name that it was given.
        assert_eq!(split(&format!("{}.miner1", with("bc1q"))), named("bc1q.miner1", Some(key)));
        assert_eq!(split(&format!("{}.b.c", with("bc1q.a"))), named("bc1q.a.b.c", Some(key)));
        assert_eq!(split(&format!("{}.", with("bc1q"))), named("bc1q.", Some(key)));
        for name in ["bc1q.rig", "", "~ehash", "a~EHASH=b"] {
            assert_eq!(split(name), named(name, None));
        }
    }

    #[test]
    fn rejects_what_is_no_point_of_the_curve() {
        let no_point = format!("02{}", "ff".repeat(32));
        let uncompressed = format!("04{}", "11".repeat(64));
        for bad in [
            "",
            "02",
            &KEY[..65],
            &format!("{KEY}0"),
            &no_point,
            &uncompressed,
            "g".repeat(66).as_str(),
            &format!(".{KEY}"),
            &format!("{KEY}rig.1"),
        ] {
            let identity = format!("bc1q~ehash={bad}");
            assert_eq!(split_identity(identity.as_bytes()), Err(BadPayoutKey), "{bad}");
        }
        assert_eq!(PayoutKey::from_bytes(&[0xff; 33]), Err(BadPayoutKey));
    }
}
