//! Which extensions are in force on a connection (extension 0x0001). Pure.
//!
//! The miner may ask before its first message of another kind; the first request that gets a
//! Success settles it. What it asks later is answered by what is in force and changes nothing.

use std::sync::Arc;

use super::tlv::{self, Named};
use super::{Cause, Effects, Outbound, Phase, Session};
use crate::types::{RejectReason, Short, CREDITING_EXTENSIONS, SUPPORTED_EXTENSIONS, WORKERS};

/// Requests that may lack a required extension: a client that got it wrong once retries once. The
/// last of them is answered, then the connection is closed.
pub(super) const REFUSALS_MAX: u8 = 3;

/// What a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// These of the requested are in force, in the order of the request.
    Success(Vec<u16>),
    /// None is.
    Error {
        /// Of the requested, those that can't be.
        unsupported: Vec<u16>,
        /// Those that must be and were not requested.
        required: Vec<u16>,
    },
}

/// The negotiation on one connection.
#[derive(Debug)]
pub(super) struct Extensions {
    /// What can be in force here.
    supported: &'static [u16],
    /// What the operator requires, all of it supported.
    required: Arc<[u16]>,
    in_force: Vec<u16>,
    /// Requests can't change anything any more.
    settled: bool,
    refusals: u8,
    /// Shares whose worker came in the other byte order.
    swapped: u64,
}

impl Default for Extensions {
    fn default() -> Self {
        Self {
            supported: SUPPORTED_EXTENSIONS,
            required: Arc::default(),
            in_force: Vec::new(),
            settled: false,
            refusals: 0,
            swapped: 0,
        }
    }
}

impl Extensions {
    /// Refuse miners without these. An extension that isn't supported can't be required: nobody
    /// could mine.
    fn require(&mut self, required: Arc<[u16]>) {
        self.required = required;
    }

    /// Whether credit goes to payout keys here.
    pub(super) const fn set_crediting(&mut self, credits: bool) {
        self.supported = if credits { CREDITING_EXTENSIONS } else { SUPPORTED_EXTENSIONS };
    }

    /// Whether the extension is in force.
    pub(super) fn has(&self, extension: u16) -> bool {
        self.in_force.contains(&extension)
    }

    /// RequestExtensions: any number of extensions, in any order, repeated or not.
    pub(super) fn request(&mut self, requested: &[u16]) -> Reply {
        let possible = if self.settled { &self.in_force } else { self.supported };
        // A bit for each number there is: a request may hold them all, and its time is others'.
        let mut seen = vec![0_u64; 1 << 10];
        let mut is_first = |extension: u16| {
            let (word, bit) = (usize::from(extension >> 6), 1 << (extension & 63));
            let new = seen[word] & bit == 0;
            seen[word] |= bit;
            new
        };
        let distinct = requested.iter().copied().filter(|extension| is_first(*extension));
        let (granted, unsupported): (Vec<u16>, Vec<u16>) =
            distinct.partition(|extension| possible.contains(extension));
        let required = self.missing(&granted);
        if granted.is_empty() || !required.is_empty() {
            self.refusals = self.refusals.saturating_add(u8::from(!required.is_empty()));
            return Reply::Error { unsupported, required };
        }
        if !self.settled {
            self.settled = true;
            self.in_force.clone_from(&granted);
        }
        Reply::Success(granted)
    }

    /// Another message has come: requests are over. Whether the miner may go on.
    pub(super) fn settle(&mut self) -> bool {
        self.settled = true;
        self.missing(&self.in_force).is_empty()
    }

    /// The worker that the bytes behind a submit name; empty: none, or nothing of it was agreed on.
    ///
    /// # Errors
    /// Why the submit is to be refused.
    pub(super) fn worker(&mut self, tlvs: &[u8]) -> Result<Short, RejectReason> {
        if tlvs.is_empty() || !self.has(WORKERS) {
            return Ok(Short::default());
        }
        match tlv::worker(tlvs) {
            Ok(Named { worker, swapped }) => {
                self.swapped += u64::from(swapped);
                Ok(Short::new(worker))
            }
            Err(error) => {
                tracing::debug!(%error, "share refused");
                Err(RejectReason::InvalidShare)
            }
        }
    }

    /// Says at the end what was noticed.
    pub(super) fn report(&self) {
        if self.swapped > 0 {
            tracing::info!(shares = self.swapped, "workers were named in big-endian TLVs");
        }
    }

    /// Whether the miner was told often enough what it must request.
    pub(super) const fn is_given_up(&self) -> bool {
        self.refusals >= REFUSALS_MAX
    }

    /// What is required and neither among `granted` nor in force.
    fn missing(&self, granted: &[u16]) -> Vec<u16> {
        let lacks = |extension: &&u16| !granted.contains(extension) && !self.has(**extension);
        self.required.iter().filter(lacks).copied().collect()
    }
}

impl Session {
    /// Lets nobody mine without these extensions (each of [`SUPPORTED_EXTENSIONS`]).
    #[must_use]
    pub fn requiring(mut self, required: Arc<[u16]>) -> Self {
        self.extensions.require(required);
        self
    }

    pub(super) fn request_extensions(
        &mut self,
        request_id: u16,
        requested: &[u16],
        fx: &mut Effects,
    ) {
        match self.extensions.request(requested) {
            Reply::Success(supported) => {
                if let Phase::Mining(connection) = &mut self.phase {
                    let connection = Arc::make_mut(connection);
                    connection.extensions = self.extensions.in_force.clone();
                    connection.extensions.sort_unstable();
                }
                self.tell_setup();
                fx.out.push(Outbound::ExtensionsSuccess { request_id, supported });
            }
            Reply::Error { unsupported, required } => {
                tracing::debug!(?unsupported, ?required, "extensions refused");
                fx.out.push(Outbound::ExtensionsError { request_id, unsupported, required });
            }
        }
        if self.extensions.is_given_up() {
            self.close(Cause::RequiredExtension, fx);
        }
    }
}

#[cfg(test)]
mod tests;
