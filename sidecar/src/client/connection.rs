//! TCP, Noise handshake, certificate: from an address to an encrypted connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codec_sv2::{Decoded, Handshake, InitiatorSent, NoiseDecoder, NoiseEncoder};
use noise_sv2::Initiator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{timeout_at, Instant};

use super::error::{CertificateFault, ClientError, Stage};
use super::io::{Reader, Writer};
use super::url::PoolUrl;

/// Seconds by which `noise_sv2` lets the clocks differ; here only to name the right fault.
const CLOCK_LEEWAY: u32 = 10;

/// Waiting times of a connection.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// From the first look-up of the name to the end of the handshake, all together. A server
    /// that trickles bytes cannot stretch it. Default 10 s.
    pub handshake_deadline: Duration,
    /// For the answer to SetupConnection and to each opening of a channel. Default 10 s.
    pub reply_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self { handshake_deadline: ten, reply_timeout: ten }
    }
}

/// An encrypted connection to a server whose certificate was verified.
#[derive(Debug)]
pub struct Connection {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) options: ConnectOptions,
    pub(super) next_request_id: u32,
}

impl Connection {
    /// Connects, runs the handshake and verifies the certificate against the authority of `url`.
    ///
    /// Errors: `Connect`, `Handshake`, `Certificate`, `Closed` (the server hung up on us) and
    /// `Timeout` with the stage that was too slow.
    pub async fn connect(url: &PoolUrl, options: &ConnectOptions) -> Result<Self, ClientError> {
        let deadline = Instant::now() + options.handshake_deadline;
        let late = |stage| ClientError::Timeout { stage, after: options.handshake_deadline };
        let refused = |source| ClientError::Connect { address: url.address(), source };
        let mut stream = timeout_at(deadline, TcpStream::connect(url.address()))
            .await
            .map_err(|_| late(Stage::Connect))?
            .map_err(refused)?;
        // Submits are small and each one is worth sending at once.
        stream.set_nodelay(true).map_err(refused)?;
        let transport = timeout_at(deadline, handshake(&mut stream, url.authority()))
            .await
            .map_err(|_| late(Stage::Handshake))??;
        let (encrypt, decrypt) = transport.split();
        let (read, write) = stream.into_split();
        Ok(Self {
            reader: Reader::new(read, decrypt),
            writer: Writer::new(write, encrypt),
            options: options.clone(),
            next_request_id: 1,
        })
    }

    /// The two halves, for two tasks. Messages that came while an answer was awaited are not
    /// lost: the reader yields them first.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

/// Runs the initiator's side of Noise NX (SV2 specification, section 4.5). Reads exactly the 234
/// bytes of act 2, so that what follows stays in the socket for the reader.
async fn handshake(
    stream: &mut TcpStream,
    authority: [u8; 32],
) -> Result<codec_sv2::Transport, ClientError> {
    let broken = |e: codec_sv2::Error| ClientError::Handshake(e.to_string());
    let closed = |e: std::io::Error| ClientError::Closed {
        stage: Stage::Handshake,
        source: (e.kind() != std::io::ErrorKind::UnexpectedEof).then_some(e),
    };
    let initiator = Initiator::from_raw_k(authority)
        .map_err(|_| ClientError::Handshake("the authority key is no curve point".into()))?;
    let (act1, state) = Handshake::initiator(initiator).step_0().map_err(broken)?;
    stream.write_all(&NoiseEncoder::new().encode_handshake(act1)).await.map_err(closed)?;

    let mut decoder = NoiseDecoder::new();
    let act2 = loop {
        stream.read_exact(decoder.writable()).await.map_err(closed)?;
        match decoder.next_handshake_frame::<InitiatorSent>().map_err(broken)? {
            Decoded::Frame(message) => break message,
            Decoded::Incomplete(_) => {}
        }
    };
    let act2 = act2
        .payload()
        .try_into()
        .map_err(|_| ClientError::Handshake("act 2 has the wrong length".into()))?;
    let now = unix_now();
    state.step_2_with_now(act2, now).map_err(|error| handshake_error(error, now))
}

/// Tells a bad certificate from a handshake that did not authenticate at all.
fn handshake_error(error: codec_sv2::Error, now: u32) -> ClientError {
    use codec_sv2::Error::{AeadError, NoiseSv2Error};
    match error {
        NoiseSv2Error(noise_sv2::Error::InvalidCertificate(cert)) => {
            let fault = if cert.version != noise_sv2::CERTIFICATE_VERSION {
                CertificateFault::Version(cert.version)
            } else if cert.not_valid_after.saturating_add(CLOCK_LEEWAY) < now {
                CertificateFault::Expired { not_valid_after: cert.not_valid_after, now }
            } else if cert.valid_from.saturating_sub(CLOCK_LEEWAY) > now {
                CertificateFault::NotYetValid { valid_from: cert.valid_from, now }
            } else {
                CertificateFault::WrongAuthority
            };
            fault.into()
        }
        AeadError(_) | NoiseSv2Error(noise_sv2::Error::Aead(_)) => ClientError::Handshake(
            "the answer does not authenticate; is this a Stratum V2 port?".into(),
        ),
        other => ClientError::Handshake(other.to_string()),
    }
}

/// The clock in Unix seconds; 0 before 1970, the end of u32 after 2106.
fn unix_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
