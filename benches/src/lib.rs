//! What the benchmarks of single pieces stand on: both ends of an encrypted connection, a
//! connection that mines, work for it, and the clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ends;
mod mining;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gopool_sv2::types::{Hash, Job, StaleRule, VERSION_ROLLING_MASK};
use rustix::time::{clock_gettime, ClockId};

pub use ends::{authority, Ends, Message};
pub use mining::{accepted, Mining, Scratch};

/// The clock of miner, listener and pool, unix seconds.
pub const NOW: u32 = 1_790_000_000;
/// The extranonce prefix of every channel: half of the extranonce on an extended channel, all of it
/// on a standard one.
pub const PREFIX: [u8; 8] = [0x5a; 8];
/// Bytes that an extended channel rolls.
pub const EXTRANONCE: usize = 8;

/// Work as a full block of some 4,000 transactions makes it: 12 hashes beside the coinbase's way to
/// the root, and a coinbase of two outputs. Each `seq` is new work, and each is on a new tip.
#[must_use]
pub fn job(seq: u64) -> Arc<Job> {
    let mut prev_hash = [0; 32];
    prev_hash[..8].copy_from_slice(&seq.to_le_bytes());
    Arc::new(Job {
        id: 1_000 + seq,
        seq,
        prev_hash: Hash(prev_hash),
        nbits: 0x1702_4a0b,
        version: 0x2000_0000,
        version_mask: VERSION_ROLLING_MASK,
        min_ntime: NOW,
        max_ntime: None,
        merkle_path: (0..12).map(|at| Hash([at; 32])).collect(),
        coinbase_prefix: Bytes::from(vec![0xc1; 58]),
        coinbase_suffix: Bytes::from(vec![0xc2; 111]),
        stale_rule: StaleRule::Strict,
        height: 900_000,
    })
}

/// Something that is done again and again, with preparations that don't count.
pub trait Piece {
    /// Makes ready for `count` times [`Piece::run`].
    fn prepare(&mut self, count: u64);

    /// What is measured, once. Returns something that depends on all of it.
    fn run(&mut self) -> usize;
}

/// What the processor has done for this thread: what else runs on the machine has no part in it but
/// by the caches.
fn spent() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// What the processor does for so many runs of a piece. It is prepared and run in groups, so that a
/// look at the clock costs little beside a group, and what is prepared is still in the caches.
pub fn time(piece: &mut impl Piece, times: u64, group: u64) -> Duration {
    let (mut left, mut sum) = (times, Duration::ZERO);
    while left > 0 {
        let count = left.min(group);
        piece.prepare(count);
        let begin = spent();
        for _ in 0..count {
            black_box(piece.run());
        }
        sum += spent() - begin;
        left -= count;
    }
    sum
}
