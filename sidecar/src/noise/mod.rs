//! The responder's handshake (SV2 spec 4.5): one total deadline, bounded work, a certificate that
//! slow clocks accept. Knows no message.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use noise_sv2::{NoiseDecryptor, NoiseEncryptor, Responder};
use secp256k1::Keypair;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{timeout_at, Instant};

/// How far valid_from lies in the past: miners' clocks are often minutes slow, and clients allow
/// only about ten seconds.
pub const BACKDATE_SECS: u32 = 3600;

/// Why a handshake did not finish. Nothing is sent to the peer: there is no channel to say it on.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The deadline for the whole handshake passed.
    #[error("not finished within {0:?}")]
    Deadline(Duration),
    /// The peer went away.
    #[error("the peer closed the connection after {0} of 64 bytes")]
    Closed(usize),
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] std::io::Error),
    /// The key exchange failed.
    #[error("key exchange failed")]
    Crypto,
    /// We are stopping.
    #[error("the listener is stopping")]
    Stopping,
}

impl HandshakeError {
    /// Its name in statistics, one of [`HANDSHAKES`](crate::obs::counts::HANDSHAKES).
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Deadline(_) => "deadline",
            Self::Closed(_) => "closed",
            Self::Io(_) => "socket",
            Self::Crypto => "crypto",
            Self::Stopping => "stopping",
        }
    }
}

/// Answers handshakes with one authority key. Cheap to clone; any thread.
#[derive(Clone)]
pub struct Acceptor {
    /// Shared by all clones; held for a copy only.
    authority: Arc<RwLock<Keypair>>,
    validity_secs: u32,
    deadline: Duration,
    permits: Arc<Semaphore>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// `validity_secs`: how long a certificate holds from now on. `deadline`: for the whole
    /// handshake, waiting for a turn included. `at_once`: key exchanges computed at the same time
    /// (each costs about 0.35 ms of a core). Each of these waits until whatever else was ready has
    /// had its turn, so that a reconnect storm leaves room for shares.
    #[must_use]
    pub fn new(authority: Keypair, validity_secs: u32, deadline: Duration, at_once: usize) -> Self {
        let (authority, permits) =
            (Arc::new(RwLock::new(authority)), Arc::new(Semaphore::new(at_once)));
        Self { authority, validity_secs, deadline, permits }
    }

    /// Signs the certificates of handshakes from now on, of all clones, with another key.
    pub fn renew(&self, authority: Keypair) {
        *self.authority.write().unwrap_or_else(PoisonError::into_inner) = authority;
    }

    /// When a connection that came at `arrived` must have finished its handshake.
    #[must_use]
    pub fn deadline(&self, arrived: Instant) -> Instant {
        arrived + self.deadline
    }

    /// Runs the handshake on a connection that came at `arrived`, from when on the deadline counts;
    /// `now` is unix seconds.
    ///
    /// # Errors
    /// Any [`HandshakeError`]; the connection is to be dropped.
    pub async fn accept<S>(
        &self,
        stream: &mut S,
        arrived: Instant,
        now: u32,
    ) -> Result<(NoiseEncryptor, NoiseDecryptor), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        timeout_at(self.deadline(arrived), self.exchange(stream, now))
            .await
            .map_err(|_| HandshakeError::Deadline(self.deadline))?
    }

    async fn exchange<S>(
        &self,
        stream: &mut S,
        now: u32,
    ) -> Result<(NoiseEncryptor, NoiseDecryptor), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut act1 = [0; noise_sv2::ELLSWIFT_ENCODING_SIZE];
        let mut got = 0;
        while got < act1.len() {
            match stream.read(&mut act1[got..]).await? {
                0 => return Err(HandshakeError::Closed(got)),
                n => got += n,
            }
        }
        let permit = self.permits.acquire().await.map_err(|_| HandshakeError::Stopping)?;
        // Behind everything else that is ready now: of thousands that come at once all would be
        // computed before the next share has its turn, each as long as dozens of shares.
        yield_now().await;
        let (act2, engine) = self.respond(act1, now)?;
        drop(permit);
        stream.write_all(&act2).await?;
        Ok(engine.into_split())
    }

    fn respond(
        &self,
        act1: [u8; noise_sv2::ELLSWIFT_ENCODING_SIZE],
        now: u32,
    ) -> Result<
        ([u8; noise_sv2::INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE], noise_sv2::NoiseEngine),
        HandshakeError,
    > {
        let validity = self.validity_secs.saturating_add(BACKDATE_SECS);
        let authority = *self.authority.read().unwrap_or_else(PoisonError::into_inner);
        Responder::new(authority, validity)
            .step_1_with_now_rng(act1, now.saturating_sub(BACKDATE_SECS), &mut rand::thread_rng())
            .map_err(|_| HandshakeError::Crypto)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use noise_sv2::Initiator;
    use tokio::io::duplex;

    use super::*;

    const NOW: u32 = 1_790_000_000;

    fn acceptor(deadline: Duration) -> (Acceptor, [u8; 32]) {
        let secp = secp256k1::Secp256k1::new();
        let authority = Keypair::new(&secp, &mut rand::thread_rng());
        let public = authority.x_only_public_key().0.serialize();
        (Acceptor::new(authority, 3600, deadline, 1), public)
    }

    async fn handshake_at(client_now: u32) -> bool {
        let (acceptor, public) = acceptor(Duration::from_secs(20));
        let (mut ours, mut theirs) = duplex(1024);
        let server =
            tokio::spawn(
                async move { acceptor.accept(&mut ours, Instant::now(), NOW).await.is_ok() },
            );
        let mut initiator = Initiator::from_raw_k(public).unwrap();
        theirs.write_all(&initiator.step_0().unwrap()).await.unwrap();
        let mut act2 = [0; noise_sv2::INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        theirs.read_exact(&mut act2).await.unwrap();
        assert!(server.await.unwrap());
        initiator.step_2_with_now(act2, client_now).is_ok()
    }

    #[tokio::test]
    async fn certificate_holds_for_slow_and_fast_clocks_but_not_for_ever() {
        assert!(handshake_at(NOW).await);
        assert!(handshake_at(NOW - BACKDATE_SECS + 1).await, "almost an hour slow");
        assert!(handshake_at(NOW + 3599).await, "almost an hour fast");
        assert!(!handshake_at(NOW - BACKDATE_SECS - 60).await, "too slow");
        assert!(!handshake_at(NOW + 3600 + 60).await, "expired");
    }

    #[tokio::test(start_paused = true)]
    async fn rejects_a_trickle_by_one_total_deadline() {
        let (acceptor, _) = acceptor(Duration::from_secs(5));
        let (mut ours, mut theirs) = duplex(1024);
        let trickle = tokio::spawn(async move {
            while theirs.write_all(&[7]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let result = acceptor.accept(&mut ours, Instant::now(), NOW).await;
        assert!(matches!(result, Err(HandshakeError::Deadline(_))));
        trickle.abort();
    }

    #[tokio::test]
    async fn certificates_are_signed_with_the_newest_key_of_any_clone() {
        let secp = secp256k1::Secp256k1::new();
        let (acceptor, old) = acceptor(Duration::from_secs(5));
        let renewed = Keypair::new(&secp, &mut rand::thread_rng());
        acceptor.clone().renew(renewed);
        for (key, good) in [(old, false), (renewed.x_only_public_key().0.serialize(), true)] {
            let (mut ours, mut theirs) = duplex(1024);
            let acceptor = acceptor.clone();
            let server = tokio::spawn(async move {
                acceptor.accept(&mut ours, Instant::now(), NOW).await.is_ok()
            });
            let mut initiator = Initiator::from_raw_k(key).unwrap();
            theirs.write_all(&initiator.step_0().unwrap()).await.unwrap();
            let mut act2 = [0; 234];
            theirs.read_exact(&mut act2).await.unwrap();
            assert_eq!(initiator.step_2_with_now(act2, NOW).is_ok(), good);
            assert!(server.await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_storm_of_handshakes_lets_others_run_after_each() {
        let (acceptor, public) = acceptor(Duration::from_secs(60));
        let done = Arc::new(AtomicUsize::new(0));
        let storm: Vec<_> = (0..50)
            .map(|_| {
                let (acceptor, done) = (acceptor.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    let (mut ours, mut theirs) = duplex(1024);
                    let first = Initiator::from_raw_k(public).unwrap().step_0().unwrap();
                    theirs.write_all(&first).await.unwrap();
                    acceptor.accept(&mut ours, Instant::now(), NOW).await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        let mut before = 0;
        while before < storm.len() {
            yield_now().await;
            let now = done.load(Ordering::Relaxed);
            assert!(now <= before + 2, "{before} to {now} in one turn");
            before = now;
        }
        for handshake in storm {
            handshake.await.unwrap();
        }
    }

    #[tokio::test]
    async fn rejects_a_peer_that_leaves_early() {
        let (acceptor, _) = acceptor(Duration::from_secs(5));
        let (mut ours, mut theirs) = duplex(1024);
        theirs.write_all(&[7; 63]).await.unwrap();
        drop(theirs);
        let result = acceptor.accept(&mut ours, Instant::now(), NOW).await;
        assert!(matches!(result, Err(HandshakeError::Closed(63))));
    }
}
