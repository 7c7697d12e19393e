//! The initiator's side of Noise NX and the server's certificate (SV2 specification, section 4.5),
//! without I/O.

use std::fmt;

use codec_sv2::{InitiatorSent, NoiseEncoder, Transport};
use noise_sv2::{Initiator, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE};
use rand::rngs::StdRng;
use rand::SeedableRng;
use secp256k1::XOnlyPublicKey;

use super::error::{CertificateFault, ClientError};

/// Length of act 2, the server's only message of the handshake.
pub const ACT_2_BYTES: usize = INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE;

/// Seconds by which `noise_sv2` lets the clocks differ; here only to name the right fault.
const CLOCK_LEEWAY: u32 = 10;

/// A curve point whose secret nobody knows (BIP341, "nothing up my sleeve"): no certificate is
/// signed by it.
const NOBODY: [u8; 32] = [
    0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a, 0x5e,
    0x07, 0x8a, 0x5a, 0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a, 0xc0,
];

/// What a certificate says. Times are Unix seconds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// Its format; 0 is the only one there is.
    pub version: u16,
    /// First second of validity.
    pub valid_from: u32,
    /// Last second of validity.
    pub not_valid_after: u32,
}

impl Certificate {
    /// What is wrong with it at `now`, its signature aside. The clocks may differ by 10 s.
    pub fn fault(&self, now: u32) -> Option<CertificateFault> {
        let Self { version, valid_from, not_valid_after } = *self;
        if version != noise_sv2::CERTIFICATE_VERSION {
            Some(CertificateFault::Version(version))
        } else if not_valid_after.saturating_add(CLOCK_LEEWAY) < now {
            Some(CertificateFault::Expired { not_valid_after, now })
        } else if valid_from.saturating_sub(CLOCK_LEEWAY) > now {
            Some(CertificateFault::NotYetValid { valid_from, now })
        } else {
            None
        }
    }
}

/// A handshake whose act 1 is made and whose act 2 is awaited.
pub struct Handshake {
    act1: Vec<u8>,
    state: codec_sv2::Handshake<InitiatorSent>,
    /// Has the same ephemeral key, and trusts nobody.
    twin: Option<Box<Initiator>>,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}

impl Handshake {
    /// With a server that `authority` (x-only, as in the address) must vouch for.
    ///
    /// # Errors
    /// `Handshake` when the key is no curve point.
    pub fn new(authority: [u8; 32]) -> Result<Self, ClientError> {
        let initiator = Initiator::from_raw_k(authority).map_err(|_| no_point())?;
        Self::start(initiator, None)
    }

    /// The same, and the certificate can be looked at. Without an authority any server passes:
    /// who it is remains unknown.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn inspecting(authority: Option<[u8; 32]>) -> Result<Self, ClientError> {
        let point = |key: [u8; 32]| XOnlyPublicKey::from_slice(&key).map_err(|_| no_point());
        // The library shows a certificate only when it refuses it. Two initiators with the same
        // random numbers have the same ephemeral key, so both can read the answer: one refuses
        // for certain, the other judges.
        let rng = StdRng::from_entropy();
        let judge = Initiator::new_with_rng(authority.map(point).transpose()?, &mut rng.clone());
        let mut twin = Initiator::new_with_rng(Some(point(NOBODY)?), &mut rng.clone());
        twin.step_0().map_err(|error| ClientError::Handshake(error.to_string()))?;
        Self::start(judge, Some(twin))
    }

    fn start(judge: Box<Initiator>, twin: Option<Box<Initiator>>) -> Result<Self, ClientError> {
        let broken = |e: codec_sv2::Error| ClientError::Handshake(e.to_string());
        let (act1, state) = codec_sv2::Handshake::initiator(judge).step_0().map_err(broken)?;
        let act1 = NoiseEncoder::new().encode_handshake(act1).to_vec();
        Ok(Self { act1, state, twin })
    }

    /// What to send: 64 bytes that look random.
    pub fn act1(&self) -> &[u8] {
        &self.act1
    }

    /// The certificate in act 2. Nothing vouches for it before [`Self::finish`] says so.
    ///
    /// # Errors
    /// `Handshake` when act 2 does not authenticate, or this was not made for
    /// [inspection](Self::inspecting), or was asked before.
    pub fn certificate(&mut self, act2: &[u8; ACT_2_BYTES]) -> Result<Certificate, ClientError> {
        let unreadable = || ClientError::Handshake("the certificate cannot be read".into());
        match self.twin.take().ok_or_else(unreadable)?.step_2_with_now(*act2, 0) {
            Err(noise_sv2::Error::InvalidCertificate(c)) => {
                let (version, valid_from) = (c.version, c.valid_from);
                Ok(Certificate { version, valid_from, not_valid_after: c.not_valid_after })
            }
            Err(error) => Err(handshake_error(codec_sv2::Error::NoiseSv2Error(error), 0)),
            Ok(_) => Err(unreadable()),
        }
    }

    /// Takes act 2 and verifies the certificate as of `now`, in Unix seconds.
    ///
    /// # Errors
    /// `Certificate`, and `Handshake` when act 2 does not authenticate.
    pub fn finish(self, act2: &[u8; ACT_2_BYTES], now: u32) -> Result<Transport, ClientError> {
        self.state.step_2_with_now(*act2, now).map_err(|error| handshake_error(error, now))
    }
}

fn no_point() -> ClientError {
    ClientError::Handshake("the authority key is no curve point".into())
}

/// Tells a bad certificate from a handshake that did not authenticate at all.
fn handshake_error(error: codec_sv2::Error, now: u32) -> ClientError {
    use codec_sv2::Error::{AeadError, NoiseSv2Error};
    match error {
        NoiseSv2Error(noise_sv2::Error::InvalidCertificate(c)) => {
            let (version, valid_from) = (c.version, c.valid_from);
            let read = Certificate { version, valid_from, not_valid_after: c.not_valid_after };
            read.fault(now).unwrap_or(CertificateFault::WrongAuthority).into()
        }
        AeadError(_) | NoiseSv2Error(noise_sv2::Error::Aead(_)) => ClientError::Handshake(
            "the answer does not authenticate; is this a Stratum V2 port?".into(),
        ),
        other => ClientError::Handshake(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use noise_sv2::Responder;
    use secp256k1::{Keypair, Secp256k1};

    use super::*;

    const NOW: u32 = 1_790_000_000;

    fn authority() -> (Keypair, [u8; 32]) {
        let pair = Keypair::new(&Secp256k1::new(), &mut rand::thread_rng());
        let public = pair.x_only_public_key().0.serialize();
        (pair, public)
    }

    /// Act 2 with a certificate that is valid for an hour from [`NOW`].
    fn answer(handshake: &Handshake, authority: Keypair) -> [u8; ACT_2_BYTES] {
        let act1 = handshake.act1().try_into().unwrap();
        let rng = &mut rand::thread_rng();
        Responder::new(authority, 3600).step_1_with_now_rng(act1, NOW, rng).unwrap().0
    }

    #[test]
    fn shows_the_certificate_and_still_verifies_it() {
        let (pair, public) = authority();
        let mut handshake = Handshake::inspecting(Some(public)).unwrap();
        let act2 = answer(&handshake, pair);
        let certificate = handshake.certificate(&act2).unwrap();
        let want = Certificate { version: 0, valid_from: NOW, not_valid_after: NOW + 3600 };
        assert_eq!(certificate, want);
        assert_eq!(certificate.fault(NOW), None);
        assert!(handshake.finish(&act2, NOW).is_ok());

        let (_, other) = authority();
        let mut handshake = Handshake::inspecting(Some(other)).unwrap();
        let act2 = answer(&handshake, pair);
        assert_eq!(handshake.certificate(&act2).unwrap(), want);
        let error = handshake.finish(&act2, NOW).unwrap_err();
        assert!(matches!(error, ClientError::Certificate(CertificateFault::WrongAuthority)));
    }

    #[test]
    fn judges_the_time_of_a_certificate_with_ten_seconds_of_leeway() {
        let certificate = Certificate { version: 0, valid_from: NOW, not_valid_after: NOW + 9 };
        for good in [NOW - 10, NOW, NOW + 9, NOW + 19] {
            assert_eq!(certificate.fault(good), None, "{good}");
        }
        let early = CertificateFault::NotYetValid { valid_from: NOW, now: NOW - 11 };
        assert_eq!(certificate.fault(NOW - 11), Some(early));
        let late = CertificateFault::Expired { not_valid_after: NOW + 9, now: NOW + 20 };
        assert_eq!(certificate.fault(NOW + 20), Some(late));
        let odd = Certificate { version: 1, ..certificate };
        assert_eq!(odd.fault(NOW), Some(CertificateFault::Version(1)));
    }

    #[test]
    fn rejects_an_answer_that_was_altered() {
        let (pair, public) = authority();
        let mut handshake = Handshake::inspecting(Some(public)).unwrap();
        let mut act2 = answer(&handshake, pair);
        act2[ACT_2_BYTES - 1] ^= 1;
        assert!(matches!(handshake.certificate(&act2), Err(ClientError::Handshake(_))));
        assert!(matches!(handshake.finish(&act2, NOW), Err(ClientError::Handshake(_))));
    }
}
