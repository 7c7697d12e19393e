//! From jobs to shares: coinbase, merkle root, header and hash, by the text of the specification
//! and in nobody else's code.

use sha2::{Digest as _, Sha256};

use crate::message::{Body, Job, Tip, U256};
use crate::miner::Channel;

/// Most hashes for one share: above it the server's target is none for these tests.
const MOST_HASHES: u32 = 1 << 24;

/// What a miner submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub channel: u32,
    pub sequence: u32,
    pub job: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    /// `None` on a standard channel.
    pub extranonce: Option<Vec<u8>>,
}

impl Share {
    /// Payload of the submit.
    pub fn payload(&self) -> Vec<u8> {
        let words = [self.channel, self.sequence, self.job, self.nonce, self.ntime, self.version];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        if let Some(extranonce) = &self.extranonce {
            bytes.push(extranonce.len() as u8);
            bytes.extend(extranonce);
        }
        bytes
    }
}

pub fn sha256d(bytes: &[u8]) -> U256 {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// `a` as a number at most `b`.
pub fn at_most(a: &U256, b: &U256) -> bool {
    a.iter().rev().le(b.iter().rev())
}

/// The target of compact bits.
pub fn network_target(nbits: u32) -> U256 {
    let mut target = [0; 32];
    let (exponent, mantissa) = ((nbits >> 24) as usize, nbits & 0x007f_ffff);
    for (index, byte) in mantissa.to_le_bytes()[..3].iter().enumerate() {
        if let Some(place) = (exponent + index).checked_sub(3).filter(|at| *at < 32) {
            target[place] = *byte;
        }
    }
    target
}

/// Half of a number.
pub fn half(target: &U256) -> U256 {
    let mut out = [0; 32];
    for index in 0..32 {
        let above = target.get(index + 1).copied().unwrap_or_default();
        out[index] = target[index] >> 1 | above << 7;
    }
    out
}

/// The difficulty of a target: how many times harder than 2^208 * 0xffff.
pub fn difficulty(target: &U256) -> f64 {
    let value = target.iter().rev().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
    65_535.0 * 2_f64.powi(208) / value
}

/// The coinbase of an extended job, as it goes into the merkle tree.
pub fn coinbase(job: &Job, prefix: &[u8], extranonce: &[u8]) -> Vec<u8> {
    let Body::Extended { prefix: head, suffix, .. } = &job.body else { panic!("standard job") };
    [head, prefix, extranonce, suffix].concat()
}

/// The header without its nonce.
pub fn header(job: &Job, tip: &Tip, prefix: &[u8], share: &Share) -> Vec<u8> {
    let root = match &job.body {
        Body::Standard { root } => *root,
        Body::Extended { path, .. } => {
            let extranonce = share.extranonce.as_deref().expect("an extranonce");
            let first = sha256d(&coinbase(job, prefix, extranonce));
            path.iter().fold(first, |left, right| sha256d(&[left, *right].concat()))
        }
    };
    let mut header = share.version.to_le_bytes().to_vec();
    header.extend(tip.prev_hash);
    header.extend(root);
    header.extend(share.ntime.to_le_bytes());
    header.extend(tip.nbits.to_le_bytes());
    header
}

/// Looks from the share's nonce on for one whose hash `fits`.
pub fn search(header: &[u8], share: &mut Share, fits: impl Fn(&U256) -> bool) -> U256 {
    let mut bytes = header.to_vec();
    bytes.extend([0; 4]);
    for _ in 0..MOST_HASHES {
        bytes[76..].copy_from_slice(&share.nonce.to_le_bytes());
        let hash = sha256d(&bytes);
        if fits(&hash) {
            return hash;
        }
        share.nonce = share.nonce.wrapping_add(1);
    }
    panic!("no share in {MOST_HASHES} hashes: the target is too hard for these tests");
}

impl Channel {
    /// A share as yet without work: every sequence number starts at another nonce.
    pub fn draft(&self, sequence: u32) -> Share {
        Share {
            channel: self.id,
            sequence,
            job: self.job.id,
            nonce: sequence.wrapping_mul(0x0001_0001) << 12,
            ntime: self.job.min_ntime.unwrap_or(self.tip.min_ntime).max(self.tip.min_ntime),
            version: self.job.version,
            extranonce: self.extended.then(|| vec![0; usize::from(self.size)]),
        }
    }

    /// Makes a draft one whose hash is in (`above`, `target`]; never a block.
    pub fn between(&self, mut share: Share, above: &U256, target: &U256) -> Share {
        let network = network_target(self.tip.nbits);
        let header = header(&self.job, &self.tip, &self.prefix, &share);
        search(&header, &mut share, |hash| {
            !at_most(hash, above) && at_most(hash, target) && !at_most(hash, &network)
        });
        share
    }

    /// Makes a draft a share of the channel's target.
    pub fn worked(&self, share: Share) -> Share {
        self.between(share, &[0; 32], &self.target)
    }

    /// What a share hashes to on the channel's newest work.
    fn digest(&self, share: &Share) -> U256 {
        let mut bytes = header(&self.job, &self.tip, &self.prefix, share);
        bytes.extend(share.nonce.to_le_bytes());
        sha256d(&bytes)
    }

    /// Whether a share meets the channel's target on its newest work.
    pub fn is_met_by(&self, share: &Share) -> bool {
        at_most(&self.digest(share), &self.target)
    }

    /// The hash of a share, as explorers print it.
    pub fn hash(&self, share: &Share) -> String {
        self.digest(share).iter().rev().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A good share.
    pub fn share(&self, sequence: u32) -> Share {
        self.worked(self.draft(sequence))
    }
}
