//! Block headers: coinbase, merkle root, the 80 bytes and their double hash.

use sha2::compress256;
use sha2::digest::generic_array::typenum::U64;
use sha2::digest::generic_array::GenericArray;
use sha2::{Digest, Sha256};

use super::target::Target;

/// SHA-256's initial state (FIPS 180-4, section 5.3.3).
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

type Block = GenericArray<u8, U64>;

/// Double SHA-256, bytes in the order the function yields (internal order).
pub fn sha256d(data: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(data)).into()
}

/// Merkle root in header order: hashes the coinbase made of `parts` and folds the path, deepest
/// node first (SV2 specification, section 5.3.16).
pub fn merkle_root(parts: &[&[u8]], path: &[[u8; 32]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let mut root: [u8; 32] = Sha256::digest(hasher.finalize()).into();
    for node in path {
        let mut pair = [0; 64];
        pair[..32].copy_from_slice(&root);
        pair[32..].copy_from_slice(node);
        root = sha256d(&pair);
    }
    root
}

/// The fields of a block header. Hashes in internal order, numbers as integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// nVersion.
    pub version: u32,
    /// Hash of the previous block.
    pub prev_hash: [u8; 32],
    /// Merkle root.
    pub merkle_root: [u8; 32],
    /// Time, Unix seconds.
    pub ntime: u32,
    /// Compact network target.
    pub nbits: u32,
    /// Nonce.
    pub nonce: u32,
}

impl Header {
    /// The 80 bytes that are hashed.
    pub fn to_bytes(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(&self.prev_hash);
        bytes[36..68].copy_from_slice(&self.merkle_root);
        bytes[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        bytes[76..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// The block hash in internal order.
    pub fn hash(&self) -> [u8; 32] {
        sha256d(&self.to_bytes())
    }
}

/// A header prepared for trying nonces: the first 64 bytes are hashed once (midstate), so a nonce
/// costs two compressions.
#[derive(Clone)]
pub struct NonceScan {
    midstate: [u32; 8],
    /// Bytes 64..80 of the header and SHA-256's padding for 80 bytes.
    tail: Block,
    /// The first hash and the padding for 32 bytes.
    second: Block,
}

impl NonceScan {
    /// Prepares `header`; its own nonce does not matter.
    pub fn new(header: &Header) -> Self {
        let bytes = header.to_bytes();
        let mut midstate = IV;
        let mut head = Block::default();
        head.copy_from_slice(&bytes[..64]);
        compress256(&mut midstate, &[head]);

        let mut tail = Block::default();
        tail[..16].copy_from_slice(&bytes[64..]);
        tail[16] = 0x80;
        tail[56..].copy_from_slice(&(80_u64 * 8).to_be_bytes());
        let mut second = Block::default();
        second[32] = 0x80;
        second[56..].copy_from_slice(&(32_u64 * 8).to_be_bytes());
        Self { midstate, tail, second }
    }

    /// Tries `count` nonces from `first` on (wrapping) and stops at the first whose hash meets
    /// `target`. Returns the number tried and, if it stopped, the nonce and the hash in internal
    /// order.
    pub fn search(
        &mut self,
        first: u32,
        count: u32,
        target: &Target,
    ) -> (u32, Option<(u32, [u8; 32])>) {
        let top = target.top();
        for tried in 0..count {
            let nonce = first.wrapping_add(tried);
            self.tail[12..16].copy_from_slice(&nonce.to_le_bytes());
            let mut state = self.midstate;
            compress256(&mut state, std::slice::from_ref(&self.tail));
            for (bytes, word) in self.second[..32].chunks_exact_mut(4).zip(state) {
                bytes.copy_from_slice(&word.to_be_bytes());
            }
            let mut state = IV;
            compress256(&mut state, std::slice::from_ref(&self.second));
            // The last word of the digest holds the most significant bytes of the LE integer: one
            // comparison rules almost every hash out.
            if state[7].swap_bytes() <= top {
                let mut hash = [0; 32];
                for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
                    bytes.copy_from_slice(&word.to_be_bytes());
                }
                if target.is_met_by(&hash) {
                    return (tried + 1, Some((nonce, hash)));
                }
            }
        }
        (count, None)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::types::vectors;

    /// Coinbase prefix, suffix, extranonce prefix, extranonce, merkle path.
    type Parts = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, Vec<[u8; 32]>);

    /// The share vector of `tests/vectors`.
    pub(in crate::miner) fn vector() -> Parts {
        let vectors::Share { job, mut channels, .. } = vectors::share();
        let extended = channels.remove(0);
        let path = job.merkle_path.iter().map(|node| node.array()).collect();
        let (prefix, suffix) = (job.coinbase_prefix.0, job.coinbase_suffix.0);
        (prefix, suffix, extended.extranonce_prefix.0, extended.extranonce.0, path)
    }

    /// The header of that vector.
    pub(in crate::miner) fn vector_header() -> Header {
        let (prefix, suffix, en1, en2, path) = vector();
        let vectors::Share { job, submit, .. } = vectors::share();
        Header {
            version: submit.version,
            prev_hash: job.prev_hash.array(),
            merkle_root: merkle_root(&[&prefix, &en1, &en2, &suffix], &path),
            ntime: submit.ntime,
            nbits: job.nbits.word(),
            nonce: submit.nonce,
        }
    }

    #[test]
    fn merkle_root_matches_the_vector() {
        let (prefix, suffix, en1, en2, path) = vector();
        let want = vectors::share();
        let txid = merkle_root(&[&prefix, &en1, &en2, &suffix], &[]);
        assert_eq!(txid, want.coinbase_txid.array());
        let root = merkle_root(&[&prefix, &en1, &en2, &suffix], &path);
        assert_eq!(root, want.merkle_root.array());
    }

    #[test]
    fn header_and_hash_match_the_vector() {
        let (header, want) = (vector_header(), vectors::share());
        assert_eq!(header.to_bytes().to_vec(), want.header.0);
        assert_eq!(header.hash(), want.hash.array());
        for verdict in want.verdicts {
            let target = Target::from_le_bytes(verdict.target.array());
            assert_eq!(target.is_met_by(&header.hash()), verdict.reason == "accepted");
        }
    }

    #[test]
    fn nonce_scan_finds_the_vector_and_its_hash() {
        let header = vector_header();
        let target = Target::from_le_bytes(header.hash());
        let mut scan = NonceScan::new(&header);
        let (tried, found) = scan.search(header.nonce - 500, 1000, &target);
        assert_eq!((tried, found), (501, Some((header.nonce, header.hash()))));
        assert_eq!(scan.search(header.nonce + 1, 1000, &target), (1000, None));
        // One less: the top bits still fit, the rest does not.
        let mut below = target.to_le_bytes();
        below[0] -= 1;
        let below = Target::from_le_bytes(below);
        assert_eq!(below.top(), target.top());
        assert_eq!(scan.search(header.nonce - 500, 1000, &below), (1000, None));
    }

    #[test]
    fn nonce_scan_wraps_at_the_end_of_the_nonces() {
        let mut scan = NonceScan::new(&vector_header());
        let (tried, found) = scan.search(u32::MAX, 2, &Target::EASIEST);
        assert_eq!((tried, found.map(|f| f.0)), (1, Some(u32::MAX)));
        let (_, found) = scan.search(u32::MAX.wrapping_add(1), 1, &Target::EASIEST);
        let header = Header { nonce: 0, ..vector_header() };
        assert_eq!(found, Some((0, header.hash())));
    }
}
