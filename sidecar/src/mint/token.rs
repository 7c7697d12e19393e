//! The token of a quote that the pool asks its mint for: whoever else asks can't make one.
//!
//! Anybody may ask a mint for quotes, and the mint passes all that he wrote on to the payment
//! processor. `ref` names a quote of the pool's, and `tok` proves that the pool wrote it, for this
//! key and no other. The mint sees both; nothing sends a token back.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::types::PayoutKey;

/// Bytes of a token; its text is twice as long.
const TOKEN_BYTES: usize = 32;

/// The secret that tokens are made with: 32 random bytes that never leave this process and its
/// ledger. Debug output is redacted.
#[derive(Clone)]
pub struct QuoteSecret([u8; 32]);

impl QuoteSecret {
    /// Takes the 32 bytes as they are.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The token of the quote `reference` for `key`: HMAC-SHA256 (RFC 2104) of the reference and
    /// the 33 bytes of the key.
    #[must_use]
    pub fn token(&self, reference: &str, key: &PayoutKey) -> Token {
        Token(self.mac(reference, key).finalize().into_bytes().into())
    }

    /// Whether `token` is that of `reference` and `key`. Takes as long for a near miss as for
    /// another.
    #[must_use]
    pub fn verify(&self, reference: &str, key: &PayoutKey, token: &Token) -> bool {
        self.mac(reference, key).verify_slice(&token.0).is_ok()
    }

    fn mac(&self, reference: &str, key: &PayoutKey) -> Hmac<Sha256> {
        // A secret of one block or less is used as it is: filled up with zeros (RFC 2104, 2).
        let mut block = hmac::digest::crypto_common::Key::<Hmac<Sha256>>::default();
        block[..self.0.len()].copy_from_slice(&self.0);
        let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block);
        mac.update(reference.as_bytes());
        // Of fixed length: no other reference and key give the same bytes.
        mac.update(key.as_bytes());
        mac
    }
}

impl fmt::Debug for QuoteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuoteSecret([redacted])")
    }
}

/// A token. Its text is 64 hexadecimal digits; debug output is redacted.
#[derive(Clone)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// Reads 64 hexadecimal digits; `None`: something else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let text = text.as_bytes();
        if text.len() != 2 * TOKEN_BYTES {
            return None;
        }
        let mut bytes = [0; TOKEN_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// Its 64 hexadecimal digits, for the mint alone.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of secp256k1 and its double (SEC 2).
    const G: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    const G2: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

    fn key(text: &str) -> PayoutKey {
        PayoutKey::from_hex(text.as_bytes()).unwrap()
    }

    #[test]
    fn is_hmac_sha256_of_reference_and_key() {
        // Computed with Python's hmac module.
        let secret = QuoteSecret::new([7; 32]);
        let token = secret.token("gp1q:abc", &key(G));
        assert_eq!(
            token.to_hex(),
            "8b88701e427726e51713a7d2a96236d59bf97b373660b28f2fa0a44c3299018b"
        );
    }

    #[test]
    fn rejects_the_token_of_another_reference_key_or_secret() {
        let secret = QuoteSecret::new([7; 32]);
        let token = Token::from_hex(&secret.token("a", &key(G)).to_hex()).unwrap();
        assert!(secret.verify("a", &key(G), &token));
        assert!(!secret.verify("b", &key(G), &token));
        assert!(!secret.verify("", &key(G), &token));
        assert!(!secret.verify("a", &key(G2), &token));
        assert!(!QuoteSecret::new([8; 32]).verify("a", &key(G), &token));
        for bit in 0..256 {
            let mut other = token.clone();
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!secret.verify("a", &key(G), &other), "bit {bit}");
        }
    }

    #[test]
    fn rejects_texts_that_are_no_token() {
        let good = QuoteSecret::new([7; 32]).token("a", &key(G)).to_hex();
        assert!(Token::from_hex(&good.to_uppercase()).is_some());
        for bad in ["", &good[1..], &format!("{good}0"), &good.replace(&good[..1], "g")] {
            assert!(Token::from_hex(bad).is_none(), "{bad}");
        }
        assert!(Token::from_hex(&"é".repeat(32)).is_none());
    }

    #[test]
    fn never_shows_secrets() {
        let secret = QuoteSecret::new([0x5a; 32]);
        let shown = format!("{secret:?} {:?}", secret.token("a", &key(G)));
        assert_eq!(shown, "QuoteSecret([redacted]) Token([redacted])");
    }
}
