//! Connections, jobs, submits and verdicts as the layers pass them on.

use bytes::Bytes;

use super::{
    Difficulty, Hash, Kind, PayoutKey, QuoteRef, RefuseReason, RejectReason, Short, Target,
};

/// A miner's connection: unique in the life of the process, from 1, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Our name of a channel towards the pool: unique in the life of the process, never used again.
///
/// It carries its connection, so that no table is needed to find the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelKey(u64);

impl ChannelKey {
    const ORDINAL_BITS: u32 = 24;

    /// The `ordinal`-th channel (from 1) of a connection; `None` when the connection has opened
    /// 2^24 channels and must not open more.
    #[must_use]
    pub const fn new(conn: ConnId, ordinal: u32) -> Option<Self> {
        if ordinal >> Self::ORDINAL_BITS != 0 || conn.0 >> (64 - Self::ORDINAL_BITS) != 0 {
            return None;
        }
        Some(Self(conn.0 << Self::ORDINAL_BITS | ordinal as u64))
    }

    /// As it came over the link.
    #[must_use]
    pub const fn from_wire(id: u64) -> Self {
        Self(id)
    }

    /// As it goes over the link.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        self.0
    }

    /// The connection it belongs to.
    #[must_use]
    pub const fn conn(self) -> ConnId {
        ConnId(self.0 >> Self::ORDINAL_BITS)
    }
}

/// A connection after SetupConnection, as the pool is told. Texts are opaque bytes of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Our name of it.
    pub id: ConnId,
    /// "address:port" of the peer.
    pub remote_address: String,
    /// SetupConnection.vendor.
    pub vendor: Bytes,
    /// SetupConnection.hardware_version.
    pub hardware_version: Bytes,
    /// SetupConnection.firmware.
    pub firmware: Bytes,
    /// SetupConnection.device_id.
    pub device_id: Bytes,
    /// SetupConnection.flags.
    pub setup_flags: u32,
    /// SV2 extensions in force, ascending.
    pub extensions: Vec<u16>,
    /// When it was accepted, milliseconds since the epoch.
    pub connected_ms: i64,
}

impl Connection {
    /// `REQUIRES_VERSION_ROLLING`: a job that forbids rolling is of no use to it (SV2 spec 5.3.1).
    #[must_use]
    pub const fn requires_version_rolling(&self) -> bool {
        self.setup_flags & (1 << 2) != 0
    }
}

/// What a miner asked for when it opened a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRequest {
    /// Standard or extended.
    pub kind: Kind,
    /// Opaque bytes, 0 to 255, less a payout key.
    pub user_identity: Bytes,
    /// The payout key that was given with it, or that of the quote.
    pub payout_key: Option<PayoutKey>,
    /// The deposit quote that was given with it.
    pub quote: Option<QuoteRef>,
    /// In H/s; finite, not negative. 0 means unknown.
    pub nominal_hash_rate: f32,
    /// Easiest target the miner takes; not zero.
    pub max_target: Target,
    /// Rollable bytes needed at least; 0 on a standard channel.
    pub min_extranonce_size: u16,
}

/// The pool's limits on targets (the link's Welcome).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetLimits {
    /// The pool's minimum difficulty.
    pub easiest: Target,
    /// The pool's maximum difficulty; [`Target::ZERO`]: none.
    pub hardest: Target,
}

impl TargetLimits {
    /// Whether a miner's max_target can be served at all.
    ///
    /// # Errors
    /// `max-target-out-of-range`: zero, or harder than the pool's maximum difficulty.
    pub fn admit(&self, max_target: &Target) -> Result<(), RefuseReason> {
        if *max_target == Target::ZERO || *max_target < self.hardest {
            return Err(RefuseReason::MaxTargetOutOfRange);
        }
        Ok(())
    }
}

/// What the pool granted when it opened a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Extranonce prefix, 1 to 32 bytes; on a standard channel the whole extranonce.
    pub prefix: Bytes,
    /// Bytes the miner rolls; with the prefix at most 32.
    pub extranonce_size: u8,
    /// The target the pool wants.
    pub target: Target,
}

/// What to do with shares for a job of an older tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleRule {
    /// Forward them: the pool judges.
    Host,
    /// Answer `stale-share` here, unless the hash meets nbits.
    Strict,
}

/// One job of the pool. Self-contained; lengths were checked when it came over the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The pool's name of it.
    pub id: u64,
    /// Its place in the order of jobs on the link.
    pub seq: u64,
    /// The block to build on.
    pub prev_hash: Hash,
    /// Compact network target.
    pub nbits: u32,
    /// Block version before rolling.
    pub version: u32,
    /// Bits the miner may roll, inside [`super::VERSION_ROLLING_MASK`]. 0: none.
    pub version_mask: u32,
    /// Lowest ntime accepted.
    pub min_ntime: u32,
    /// Highest ntime accepted; `None`: as far as our clock allows.
    pub max_ntime: Option<u32>,
    /// Siblings from the coinbase to the root, deepest first; at most 255.
    pub merkle_path: Vec<Hash>,
    /// Coinbase before the extranonce prefix, 1 to 65535 bytes.
    pub coinbase_prefix: Bytes,
    /// Coinbase after the extranonce, 1 to 65535 bytes.
    pub coinbase_suffix: Bytes,
    /// What to do with late shares.
    pub stale_rule: StaleRule,
    /// Height of the block, 0 when unknown.
    pub height: u32,
}

impl Job {
    /// Length of the payload that NewExtendedMiningJob has with it at most, in bytes (SV2 spec
    /// 5.3.16).
    #[must_use]
    pub fn message_len(&self) -> usize {
        // Channel, job, min_ntime with its presence, version, rolling; three length fields.
        let fields = 4 + 4 + (1 + 4) + 4 + 1 + (1 + 2 + 2);
        let path = self.merkle_path.len() * 32;
        fields + path + self.coinbase_prefix.len() + self.coinbase_suffix.len()
    }
}

/// One share on its way to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submit {
    /// [`Job::id`].
    pub job_id: u64,
    /// Header nonce.
    pub nonce: u32,
    /// Header time.
    pub ntime: u32,
    /// Full header version.
    pub version: u32,
    /// Exactly the granted number of bytes.
    pub extranonce: Short,
    /// Worker of extension 0x0002; empty: none.
    pub worker: Short,
    /// Why we would have refused it, had its hash not met nbits.
    pub would_refuse: Option<RejectReason>,
}

/// The pool's judgement of one share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Credited.
    Accepted {
        /// Header hash.
        hash: Hash,
        /// What the pool books.
        credit: Difficulty,
        /// The hash meets nbits.
        block_candidate: bool,
    },
    /// Not credited.
    Rejected(RejectReason),
}

/// How a miner is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KickAction {
    /// CloseChannel; the connection stays.
    CloseChannel,
    /// CloseChannel for each channel, then the connection is closed.
    CloseConnection,
    /// Reconnect, then the connection is closed.
    Reconnect,
}

/// The pool sends a miner away. The pool has closed the channel already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kick {
    /// How.
    pub action: KickAction,
    /// Told to the miner; 1 to 255 bytes of printable ASCII.
    pub reason: String,
    /// For [`KickAction::Reconnect`]; empty: the same host.
    pub host: String,
    /// For [`KickAction::Reconnect`]; 0: the same port.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_keys_lead_back_to_their_connection() {
        let key = ChannelKey::new(ConnId(77), 5).unwrap();
        assert_eq!(key.conn(), ConnId(77));
        assert_eq!(ChannelKey::from_wire(key.to_wire()), key);
        assert_ne!(key, ChannelKey::new(ConnId(77), 6).unwrap());
        assert_eq!(ChannelKey::new(ConnId(77), 1 << 24), None);
        assert_eq!(ChannelKey::new(ConnId(1 << 40), 1), None);
    }
}
