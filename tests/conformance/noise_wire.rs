//! The initiator's handshake by the text of SV2 spec 4.5, on bare primitives: a second opinion on
//! `noise_sv2`, which serves both ends elsewhere.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use secp256k1::{PublicKey, Secp256k1, SecretKey};
use sha2::{Digest as _, Sha256};

/// Name of the protocol, the first thing that is hashed.
pub const NAME: &[u8] = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";

pub type Key = [u8; 32];

pub fn sha256(parts: &[&[u8]]) -> Key {
    Sha256::digest(parts.concat()).into()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    sha256(&[&pad(0x5c), &sha256(&[&pad(0x36), &parts.concat()])])
}

/// The certificate: SIGNATURE_NOISE_MESSAGE.
#[derive(Debug, Clone, Copy)]
pub struct Certificate {
    pub version: u16,
    pub valid_from: u32,
    pub not_valid_after: u32,
    /// What is signed: SHA256 of version, times and the static key, x only.
    pub digest: Key,
    pub signature: [u8; 64],
}

/// The initiator after act 2.
#[derive(Debug, Clone, Copy)]
pub struct Shaken {
    pub certificate: Certificate,
    /// Client to server, server to client.
    pub keys: (Key, Key),
}

/// The initiator after act 1.
pub struct Initiator {
    secret: SecretKey,
    pub ephemeral: [u8; 64],
    ck: Key,
    h: Key,
    k: Key,
}

impl Initiator {
    /// `encoding`: of the secret's public key; a fresh one when it isn't given.
    pub fn new(secret: Key, encoding: Option<[u8; 64]>) -> Self {
        let secret = SecretKey::from_slice(&secret).unwrap();
        let public = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
        let ephemeral = encoding.unwrap_or_else(|| ElligatorSwift::from_pubkey(public).to_array());
        let ck = sha256(&[NAME]);
        // The prologue is empty, and so is the payload of act 1.
        let h = sha256(&[&ck]);
        let h = sha256(&[&sha256(&[&h, &ephemeral])]);
        Self { secret, ephemeral, ck, h, k: [0; 32] }
    }

    /// The hash of all that was said so far.
    pub const fn hash(&self) -> Key {
        self.h
    }

    fn mix(&mut self, theirs: [u8; 64]) {
        // Our encoding first: the server is party B.
        let shared = ElligatorSwift::shared_secret(
            ElligatorSwift::from_array(self.ephemeral),
            ElligatorSwift::from_array(theirs),
            self.secret,
            ElligatorSwiftParty::A,
            None,
        );
        (self.ck, self.k) = hkdf(&self.ck, &shared.to_secret_bytes());
    }

    /// Opens a part of act 2 under the key of the moment, with all that came before as its data.
    fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: sealed, aad: &self.h };
        let plain = ChaCha20Poly1305::new(&self.k.into()).decrypt(&Nonce::default(), payload);
        self.h = sha256(&[&self.h, sealed]);
        plain.ok()
    }

    /// Reads act 2; `None`: it doesn't authenticate.
    pub fn finish(mut self, act2: &[u8; 234]) -> Option<Shaken> {
        let (theirs, rest) = act2.split_first_chunk::<64>()?;
        let (sealed_key, sealed_certificate) = rest.split_at(80);
        self.h = sha256(&[&self.h, theirs]);
        self.mix(*theirs);
        let static_key: [u8; 64] = self.open(sealed_key)?.try_into().ok()?;
        self.mix(static_key);
        let message: [u8; 74] = self.open(sealed_certificate)?.try_into().ok()?;
        let public = PublicKey::from_ellswift(ElligatorSwift::from_array(static_key));
        let (head, signature) = message.split_first_chunk::<10>()?;
        let certificate = Certificate {
            version: u16::from_le_bytes([head[0], head[1]]),
            valid_from: u32::from_le_bytes([head[2], head[3], head[4], head[5]]),
            not_valid_after: u32::from_le_bytes([head[6], head[7], head[8], head[9]]),
            digest: sha256(&[head, &public.x_only_public_key().0.serialize()]),
            signature: signature.try_into().ok()?,
        };
        Some(Shaken { certificate, keys: hkdf(&self.ck, &[]) })
    }
}

fn hkdf(ck: &Key, input: &[u8]) -> (Key, Key) {
    let key = hmac(ck, &[input]);
    let first = hmac(&key, &[&[1]]);
    (first, hmac(&key, &[&first, &[2]]))
}

fn nonce(count: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_le_bytes());
    nonce.into()
}

/// Seals the `count`th piece under a key.
pub fn seal(key: &Key, count: u64, plain: &[u8]) -> Vec<u8> {
    ChaCha20Poly1305::new(key.into()).encrypt(&nonce(count), plain).unwrap()
}

/// Opens the `count`th piece under a key.
pub fn open(key: &Key, count: u64, sealed: &[u8]) -> Option<Vec<u8>> {
    ChaCha20Poly1305::new(key.into()).decrypt(&nonce(count), sealed).ok()
}
