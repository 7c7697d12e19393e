//! Coinbase, merkle root and header of a share (SV2 spec 5.3.16).

use crate::types::{sha256d, Hash, Job};

/// What a miner submits for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The miner's name of the job.
    pub job_id: u32,
    /// Header nonce.
    pub nonce: u32,
    /// Header time.
    pub ntime: u32,
    /// Full header version.
    pub version: u32,
    /// What the miner rolled; empty on a standard channel.
    pub extranonce: &'a [u8],
}

/// Root of the job's merkle tree with the given extranonce in the coinbase.
#[must_use]
pub fn merkle_root(job: &Job, prefix: &[u8], extranonce: &[u8]) -> Hash {
    let coinbase = sha256d(&[&job.coinbase_prefix, prefix, extranonce, &job.coinbase_suffix]);
    job.merkle_path.iter().fold(coinbase, |left, right| sha256d(&[&left.0, &right.0]))
}

/// The block header of a share, as it is hashed.
#[must_use]
pub fn header(job: &Job, root: &Hash, share: &Fields<'_>) -> [u8; 80] {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&share.version.to_le_bytes());
    header[4..36].copy_from_slice(&job.prev_hash.0);
    header[36..68].copy_from_slice(&root.0);
    header[68..72].copy_from_slice(&share.ntime.to_le_bytes());
    header[72..76].copy_from_slice(&job.nbits.to_le_bytes());
    header[76..].copy_from_slice(&share.nonce.to_le_bytes());
    header
}

/// Hash of the block header of a share.
#[must_use]
pub fn header_hash(job: &Job, root: &Hash, share: &Fields<'_>) -> Hash {
    sha256d(&[&header(job, root, share)])
}
