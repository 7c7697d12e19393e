//! One pool job as SV2 messages.

use std::sync::Arc;

use crate::types::{Hash, Job};

/// How a job is told to a miner: NewMiningJob or NewExtendedMiningJob, and SetNewPrevHash right
/// behind it when the tip is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The miner's name of the job.
    pub job_id: u32,
    /// The pool's place of the job, for traces.
    pub job_seq: u64,
    /// `None`: a future job, activated by `new_tip`. Otherwise active at once (SV2 spec 5.3.15).
    pub min_ntime: Option<u32>,
    /// Block version before rolling.
    pub version: u32,
    /// What the miner works on.
    pub body: Body,
    /// Present when the tip is new to the channel.
    pub new_tip: Option<NewTip>,
}

/// The part of a job that depends on the kind of channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// NewMiningJob.
    Standard {
        /// Root with the whole extranonce filled in.
        merkle_root: Hash,
    },
    /// NewExtendedMiningJob: coinbase and merkle path of the job.
    Extended(Arc<Job>),
}

/// SetNewPrevHash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTip {
    /// The block to build on.
    pub prev_hash: Hash,
    /// Lowest ntime accepted.
    pub min_ntime: u32,
    /// Compact network target.
    pub nbits: u32,
}

impl Announcement {
    pub(super) fn new(job_id: u32, job: &Arc<Job>, root: Option<Hash>, new_tip: bool) -> Self {
        Self {
            job_id,
            job_seq: job.seq,
            min_ntime: (!new_tip).then_some(job.min_ntime),
            version: job.version,
            body: match root {
                Some(merkle_root) => Body::Standard { merkle_root },
                None => Body::Extended(Arc::clone(job)),
            },
            new_tip: new_tip.then_some(NewTip {
                prev_hash: job.prev_hash,
                min_ntime: job.min_ntime,
                nbits: job.nbits,
            }),
        }
    }
}
