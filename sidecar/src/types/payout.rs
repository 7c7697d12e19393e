//! Where the credit of a channel's work goes beside the pool's own books: a Cashu payout key, or a
//! deposit quote of the miner's wallet, written behind its user identity.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use secp256k1::PublicKey;

/// What comes between a user identity and where its credit goes.
const MARK: &[u8] = b"~ehash=";
/// What a deposit quote's `request` begins with; our name of it follows.
const REQUEST_MARK: &str = "ehash:";
/// What our name of a deposit quote begins with; its number follows.
const QUOTE_MARK: &str = "gp1q:";
/// The digits of that number (RFC 4648 base 32, lower case).
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// How many of them.
const DIGIT_COUNT: u32 = 26;

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

/// Our name of a deposit quote at the mint: a number of 128 bits. Its text is `gp1q:` and 26 digits
/// of base 32, highest first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuoteRef(u128);

/// A name of a deposit quote that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the request of a deposit quote: ehash:gp1q: and 26 digits of base 32")]
pub struct BadQuoteRef;

impl QuoteRef {
    /// The name of this number.
    #[must_use]
    pub const fn from_number(number: u128) -> Self {
        Self(number)
    }

    /// From its text, or from that of its `request`.
    ///
    /// # Errors
    /// [`BadQuoteRef`]: anything else.
    pub fn from_text(text: &[u8]) -> Result<Self, BadQuoteRef> {
        let text = text.strip_prefix(REQUEST_MARK.as_bytes()).unwrap_or(text);
        let digits = text.strip_prefix(QUOTE_MARK.as_bytes()).ok_or(BadQuoteRef)?;
        if digits.len() != DIGIT_COUNT as usize {
            return Err(BadQuoteRef);
        }
        let mut number = 0_u128;
        for digit in digits {
            let digit = DIGITS.iter().position(|known| known == digit).ok_or(BadQuoteRef)?;
            // 130 bits of digits: the highest two must be none.
            number = number.checked_mul(32).ok_or(BadQuoteRef)? | digit as u128;
        }
        Ok(Self(number))
    }

    /// The `request` of the quote, which wallets see.
    #[must_use]
    pub fn request(&self) -> String {
        format!("{REQUEST_MARK}{self}")
    }
}

impl fmt::Display for QuoteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(QUOTE_MARK)?;
        let digit = |place: u32| DIGITS[usize::from((self.0 >> (5 * place)) as u8 & 31)];
        (0..DIGIT_COUNT).rev().try_for_each(|place| write!(f, "{}", char::from(digit(place))))
    }
}

impl fmt::Debug for QuoteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a miner wants its credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payout {
    /// On quotes that the pool makes, locked to this key.
    Key(PayoutKey),
    /// On a quote that the miner's wallet made; the mint knows its key, and so does the ledger.
    Quote(QuoteRef),
}

/// What stands behind a user identity is neither a payout key nor a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPayout {
    /// It is no key.
    #[error(transparent)]
    Key(#[from] BadPayoutKey),
    /// It begins like a quote, and is none.
    #[error(transparent)]
    Quote(#[from] BadQuoteRef),
}

/// The user identity less where its credit goes, and that: `NAME~ehash=KEY`, or `NAME~ehash=` and
/// the `request` of a wallet's quote; `NAME~ehash=KEY.RIG`, as proxies write that number their
/// miners, is of the name `NAME.RIG`. The pool never sees it in the name.
///
/// # Errors
/// [`BadPayout`]: something else stands there.
pub fn split_identity(identity: &[u8]) -> Result<(Cow<'_, [u8]>, Option<Payout>), BadPayout> {
    let mark = identity.windows(MARK.len()).rposition(|window| window == MARK);
    let Some(at) = mark else { return Ok((identity.into(), None)) };
    let (name, behind) = (&identity[..at], &identity[at + MARK.len()..]);
    let end = behind.iter().position(|byte| *byte == b'.').unwrap_or(behind.len());
    let (given, rig) = behind.split_at(end);
    let name = match rig {
        [] => Cow::Borrowed(name),
        rig => Cow::Owned([name, rig].concat()),
    };
    let is_quote = [REQUEST_MARK, QUOTE_MARK].iter().any(|m| given.starts_with(m.as_bytes()));
    let payout = match is_quote {
        true => Payout::Quote(QuoteRef::from_text(given)?),
        false => Payout::Key(PayoutKey::from_hex(given)?),
    };
    Ok((name, Some(payout)))
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
        let to = |key| Some(Payout::Key(key));
        let named = |name: &str, key| Ok((name.as_bytes().to_vec(), key));
        assert_eq!(split(&with("bc1q.rig")), named("bc1q.rig", to(key)));
        assert_eq!(split(&with("")), named("", to(key)));
        assert_eq!(split(&with("a~ehash=b")), named("a~ehash=b", to(key)));
        // A proxy numbers its miners behind the name that it was given.
        assert_eq!(split(&format!("{}.miner1", with("bc1q"))), named("bc1q.miner1", to(key)));
        assert_eq!(split(&format!("{}.b.c", with("bc1q.a"))), named("bc1q.a.b.c", to(key)));
        assert_eq!(split(&format!("{}.", with("bc1q"))), named("bc1q.", to(key)));
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
            let refused = Err(BadPayout::Key(BadPayoutKey));
            assert_eq!(split_identity(identity.as_bytes()), refused, "{bad}");
        }
        assert_eq!(PayoutKey::from_bytes(&[0xff; 33]), Err(BadPayoutKey));
    }

    #[test]
    fn takes_the_request_of_a_quote_off_the_identity() {
        for number in [0, 1, 31, 32, 0x0123_4567_89ab_cdef, u128::MAX] {
            let quote = QuoteRef::from_number(number);
            assert_eq!(quote.request(), format!("ehash:{quote}"));
            assert_eq!(quote.to_string().len(), 31);
            for text in [quote.request(), quote.to_string()] {
                for (identity, name) in [
                    (format!("bc1q.rig~ehash={text}"), "bc1q.rig"),
                    (format!("bc1q~ehash={text}.miner1"), "bc1q.miner1"),
                ] {
                    let split = Ok((Cow::from(name.as_bytes()), Some(Payout::Quote(quote))));
                    assert_eq!(split_identity(identity.as_bytes()), split, "{identity}");
                }
            }
        }
        // Digits count from a: RFC 4648's alphabet.
        assert_eq!(QuoteRef::from_number(25).to_string(), format!("gp1q:{}z", "a".repeat(25)));
        assert_eq!(QuoteRef::from_number(26).to_string(), format!("gp1q:{}2", "a".repeat(25)));
    }

    #[test]
    fn rejects_names_of_quotes_that_are_none() {
        let good = QuoteRef::from_number(u128::MAX).to_string();
        let beyond = good.replacen("gp1q:h", "gp1q:i", 1);
        let loud = good.to_uppercase().replacen("GP1Q", "gp1q", 1);
        for bad in [
            "gp1q:",
            "ehash:",
            "ehash:gp1q:",
            "ehash:ehash:gp1q:aaaaaaaaaaaaaaaaaaaaaaaaaa",
            &good[..30],
            &format!("{good}a"),
            &format!("{good} "),
            &beyond,
            &loud,
            &good.replacen('h', "0", 1),
        ] {
            let identity = format!("bc1q~ehash={bad}");
            let refused = Err(BadPayout::Quote(BadQuoteRef));
            assert_eq!(split_identity(identity.as_bytes()), refused, "{bad}");
        }
    }
}
