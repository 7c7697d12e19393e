//! The vectors of `tests/vectors`, for the tests of all layers.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::{Hash, Target};

/// Bytes that are written in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.filter(|_| text.len() % 2 == 0).map(Self).ok_or_else(|| D::Error::custom(text))
    }
}

impl Hex {
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }

    pub(crate) fn target(&self) -> Target {
        Target(self.array())
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash(self.array())
    }

    /// Eight digits as they are written: not little-endian.
    pub(crate) fn word(&self) -> u32 {
        u32::from_be_bytes(self.array())
    }
}

/// `share.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Share {
    pub(crate) job: JobOf,
    pub(crate) submit: SubmitOf,
    pub(crate) channels: Vec<ChannelOf>,
    pub(crate) coinbase: Hex,
    pub(crate) coinbase_txid: Hex,
    pub(crate) merkle_root: Hex,
    pub(crate) header: Hex,
    pub(crate) hash: Hex,
    pub(crate) verdicts: Vec<VerdictAt>,
    pub(crate) policy: Vec<Policy>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct JobOf {
    pub(crate) version: u32,
    pub(crate) version_mask: u32,
    pub(crate) prev_hash: Hex,
    pub(crate) nbits: Hex,
    pub(crate) min_ntime: u32,
    pub(crate) coinbase_prefix: Hex,
    pub(crate) coinbase_suffix: Hex,
    pub(crate) merkle_path: Vec<Hex>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SubmitOf {
    pub(crate) channel_id: u32,
    pub(crate) sequence: u32,
    pub(crate) job_id: u32,
    pub(crate) nonce: u32,
    pub(crate) ntime: u32,
    pub(crate) version: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChannelOf {
    pub(crate) kind: String,
    pub(crate) extranonce_prefix: Hex,
    pub(crate) extranonce: Hex,
    pub(crate) payload: Hex,
}

#[derive(Debug, Deserialize)]
pub(crate) struct VerdictAt {
    pub(crate) target: Hex,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) change: Change,
    pub(crate) now: u32,
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) job_id: Option<u32>,
    pub(crate) ntime: Option<u32>,
    pub(crate) version: Option<u32>,
    pub(crate) extranonce: Option<Hex>,
    pub(crate) version_mask: Option<u32>,
    pub(crate) max_ntime: Option<u32>,
}

/// `targets.json`, without what only pools compute.
#[derive(Debug, Deserialize)]
pub(crate) struct Targets {
    pub(crate) difficulties: Vec<DifficultyOf>,
    pub(crate) nbits: Vec<NBits>,
    pub(crate) bounds: Vec<Bound>,
    pub(crate) meets: Vec<Meets>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DifficultyOf {
    pub(crate) difficulty: f64,
    pub(crate) target: Hex,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NBits {
    pub(crate) nbits: Hex,
    pub(crate) target: Option<Hex>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) wanted: Hex,
    pub(crate) pool: Hex,
    pub(crate) miner: Hex,
    pub(crate) target: Hex,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Meets {
    pub(crate) name: String,
    pub(crate) hash: Hex,
    pub(crate) target: Hex,
    pub(crate) meets: bool,
}

/// `tlv.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Tlvs {
    pub(crate) worker: Vec<Worker>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) bytes: Hex,
    pub(crate) worker: Option<Hex>,
    pub(crate) swapped: bool,
    pub(crate) too_long: Option<usize>,
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn share() -> Share {
    read(include_str!("../../../tests/vectors/share.json"))
}

pub(crate) fn targets() -> Targets {
    read(include_str!("../../../tests/vectors/targets.json"))
}

pub(crate) fn tlvs() -> Tlvs {
    read(include_str!("../../../tests/vectors/tlv.json"))
}
