//! SetupConnection (SV2 spec 3.6, 5.3.1).

use std::sync::Arc;

use common_messages_sv2::{
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH as VERSION_MISMATCH,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS as UNSUPPORTED_FLAGS,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL as UNSUPPORTED_PROTOCOL,
    SV2_MINING_PROTOCOL_DISCRIMINANT as MINING,
};

use super::{copied, Cause, Effects, Outbound, Phase, Session, Setup};
use crate::obs::printable;
use crate::types::Connection;

/// The only version of the protocol there is.
const VERSION: u16 = 2;
/// Bit 0: the client takes standard jobs only.
pub(super) const REQUIRES_STANDARD_JOBS: u32 = 1;
/// Bit 2: the client rolls version bits. The listener allows it; whether the pool does shows with
/// its jobs, and one that doesn't is never sent to such a client.
const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
/// Everything else, told in full in each Error (SV2 spec 3.6.3).
pub(super) const UNSUPPORTED: u32 = !(REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING);

/// A SetupConnection that doesn't parse.
pub(super) const MALFORMED: &str = "invalid-setup-connection";

impl Session {
    /// Every SetupConnection is answered (SV2 spec 3.6.1), also one that can't be read.
    pub(super) fn refuse_malformed_setup(&mut self, fx: &mut Effects) {
        fx.out.push(Outbound::SetupError { flags: 0, code: MALFORMED });
        self.close(Cause::SetupRefused, fx);
    }

    /// Says to those who look what the miner said of itself.
    pub(super) fn tell_setup(&self) {
        if let (Some(presence), Phase::Mining(connection)) = (&self.presence, &self.phase) {
            presence.set_up(Arc::clone(connection));
        }
    }

    pub(super) fn set_up(&mut self, setup: Setup<'_>, fx: &mut Effects) {
        let refusal = if setup.protocol != MINING {
            Some((UNSUPPORTED_PROTOCOL, 0))
        } else if !(setup.min_version..=setup.max_version).contains(&VERSION) {
            Some((VERSION_MISMATCH, 0))
        } else if setup.flags & UNSUPPORTED != 0 {
            Some((UNSUPPORTED_FLAGS, UNSUPPORTED))
        } else {
            None
        };
        if let Some((code, flags)) = refusal {
            fx.out.push(Outbound::SetupError { flags, code });
            return self.close(Cause::SetupRefused, fx);
        }
        self.phase = Phase::Mining(Arc::new(Connection {
            id: self.conn,
            remote_address: self.remote_address.clone(),
            vendor: copied(setup.vendor),
            hardware_version: copied(setup.hardware_version),
            firmware: copied(setup.firmware),
            device_id: copied(setup.device_id),
            setup_flags: setup.flags,
            extensions: Vec::new(),
            connected_ms: self.connected_ms,
        }));
        self.tell_setup();
        tracing::info!(
            vendor = printable(setup.vendor),
            hardware = printable(setup.hardware_version),
            firmware = printable(setup.firmware),
            flags = setup.flags,
            "connection set up"
        );
        // Bits of Success are demands of ours, not an echo: we have none.
        fx.out.push(Outbound::SetupSuccess { version: VERSION, flags: 0 });
    }
}

#[cfg(test)]
mod tests;
