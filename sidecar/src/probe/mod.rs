//! A walk from a pool's address to work, step by step, that names what is wrong.
//!
//! [`run`] takes the way a miner takes: it looks the name up, connects, runs the Noise handshake,
//! judges the certificate, sends SetupConnection, opens a channel and waits for the first job. It
//! submits nothing. Each step that went well is given to the caller as a [`Step`]; the first that
//! does not ends the probe with a [`Failure`], which says in words what is wrong, why that is
//! likely and what to do. Nothing is printed here.
//!
//! Each kind of channel is tried on a connection of its own, because that is how devices come: one
//! that needs standard jobs says so in SetupConnection, and on such a connection no extended
//! channel may be opened (SV2 specification, section 5.3.1).
//!
//! When no handshake comes about, the port is asked in Stratum V1, HTTP and TLS, so that the
//! report can say what listens there.

mod certificate;
mod explain;
mod foreign;
mod greet;
mod job;
mod reach;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod time;
mod url;
mod work;

use std::time::Duration;

use crate::types::Kind;

pub use report::{Cause, Diagnosis, Fact, Facts, Failure, Stage, Step};
pub use run::run;
pub use url::ProbeUrl;

/// Longest wait for the answers to questions in other protocols.
const ASKING_TIMEOUT: Duration = Duration::from_secs(5);

/// What to probe, and how.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// The server.
    pub url: ProbeUrl,
    /// The name to open channels for, at most 255 bytes.
    pub user: String,
    /// The kinds of channels to try, one after the other, at least one.
    pub kinds: Vec<Kind>,
    /// The longest each step may take.
    pub timeout: Duration,
    /// The longest wait for what else may listen, when there is no handshake.
    pub asking_timeout: Duration,
    /// Speed to announce, in hashes per second.
    pub nominal_hash_rate: f32,
    /// Rollable bytes to ask for on an extended channel, at most 32.
    pub min_extranonce_size: u16,
    /// Wait that long for a new tip after the first job, on the last channel.
    pub wait_tip: Option<Duration>,
}

impl ProbeOptions {
    /// Sensible values for everything but the server: the user `probe`, both kinds of channels,
    /// 10 s for a step, 1 TH/s, 4 rollable bytes, no wait for a tip.
    pub fn new(url: ProbeUrl) -> Self {
        Self {
            url,
            user: "probe".to_owned(),
            kinds: vec![Kind::Standard, Kind::Extended],
            timeout: Duration::from_secs(10),
            asking_timeout: ASKING_TIMEOUT,
            nominal_hash_rate: 1e12,
            min_extranonce_size: 4,
            wait_tip: None,
        }
    }

    /// The same with that time for a step, and no longer for questions in other protocols.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, asking_timeout: timeout.min(ASKING_TIMEOUT), ..self }
    }

    /// Says what makes no sense, before anything is sent.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn check(&self) -> Result<(), String> {
        let fault = |text: &str| Err(text.to_owned());
        if self.user.len() > 255 {
            return fault("the user name is longer than 255 bytes");
        }
        if self.kinds.is_empty() {
            return fault("there is no kind of channel to try");
        }
        if self.timeout.is_zero() {
            return fault("the timeout must be longer than 0");
        }
        if !self.nominal_hash_rate.is_finite() || self.nominal_hash_rate < 0.0 {
            return fault("the hash rate must be a number that is not negative");
        }
        if self.min_extranonce_size > 32 {
            return fault("the extranonce has at most 32 bytes");
        }
        Ok(())
    }
}
