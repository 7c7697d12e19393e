//! Plain values that every layer shares. No I/O, no clock.
//!
//! Hashes, targets and prev-hashes are 32 bytes in internal (header) order; as numbers they read
//! little-endian (SV2's U256).

mod extension;
mod hash;
mod network;
mod payout;
#[cfg(test)]
pub(crate) mod planted;
mod rate;
mod reason;
mod seats;
mod short;
#[cfg(test)]
pub(crate) mod vectors;
mod work;

pub use extension::{CREDITING_EXTENSIONS, MINT_CREDITS, SUPPORTED_EXTENSIONS, WORKERS};
pub use hash::{sha256d, Difficulty, Hash, Target};
pub use network::{Network, NetworkError};
pub use payout::{
    split_identity, BadPayout, BadPayoutKey, BadQuoteRef, Payout, PayoutKey, QuoteRef,
};
pub use rate::{Bucket, Rate};
pub use reason::{RefuseReason, RejectReason};
pub use seats::{Seat, Seats};
pub use short::Short;
pub use work::{
    ChannelKey, ConnId, Connection, Grant, Job, Kick, KickAction, OpenRequest, StaleRule, Submit,
    TargetLimits, Verdict,
};

/// What a channel can roll (SV2 spec 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Header-only mining: the merkle root is fixed per job.
    Standard,
    /// The miner rolls part of the coinbase.
    Extended,
}

impl Kind {
    /// `standard` or `extended`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
        }
    }
}

/// Version bits a miner may roll at most: bits 5 to 28 (BIP323).
pub const VERSION_ROLLING_MASK: u32 = 0x1fff_ffe0;
