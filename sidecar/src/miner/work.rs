//! What to mine on: jobs, tip and target of one channel, as a state machine without I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use binary_sv2::U256Owned;
use mining_sv2::{NewExtendedMiningJobOwned, NewMiningJobOwned, SetNewPrevHashOwned};
use parsers_sv2::MiningOwned;

use super::target::Target;

/// Bits of nVersion a miner may roll (BIP323): 5 to 28.
pub const VERSION_MASK: u32 = 0x1fff_ffe0;

/// Future jobs kept. A server has no reason to have more in the air; the oldest goes.
pub const MAX_FUTURE_JOBS: usize = 64;

/// The open channel, whatever its kind.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its id.
    pub id: u32,
    /// The group whose messages concern it too.
    pub group: u32,
    /// Target at opening.
    pub target: Target,
    /// First bytes of its extranonce (extended channels only).
    pub extranonce_prefix: Vec<u8>,
    /// Bytes the miner chooses itself; `None` for a standard channel.
    pub extranonce_size: Option<u16>,
    /// The server forbids version rolling on this connection.
    pub fixed_version: bool,
}

/// How the merkle root of a task comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Standard channel: the server computed it. Internal order.
    Root([u8; 32]),
    /// Extended channel: coinbase = `head`, own extranonce, `tail`; then the path.
    Coinbase {
        /// The job's prefix and the channel's extranonce prefix.
        head: Vec<u8>,
        /// The job's suffix.
        tail: Vec<u8>,
        /// Merkle path, deepest first.
        path: Vec<[u8; 32]>,
        /// Length of the own extranonce in bytes, at most 32.
        extranonce_size: usize,
    },
}

/// Everything the hash threads need; a snapshot that never changes.
#[derive(Debug, Clone)]
pub struct Task {
    /// Grows with each new tip: a share found for an older one is stale and is not sent.
    pub epoch: u64,
    /// The job.
    pub job_id: u32,
    /// Its version.
    pub version: u32,
    /// Whether the bits of [`VERSION_MASK`] may be changed.
    pub rolling: bool,
    /// Previous block's hash, internal order.
    pub prev_hash: [u8; 32],
    /// Compact network target.
    pub nbits: u32,
    /// First permitted time.
    pub min_ntime: u32,
    /// When that became the first permitted time; each second since permits one more.
    pub since: Instant,
    /// Where the merkle root comes from.
    pub base: Base,
    /// What a share must meet.
    pub target: Target,
    /// What a block must meet.
    pub network: Target,
}

impl Task {
    /// How many seconds past `min_ntime` a header may say at `now`.
    pub fn ntime_allowance(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

/// What a message did to the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing to mine differently.
    Unchanged,
    /// [`Work::task`] yields something else now.
    NewTask,
    /// The message makes no sense here and was ignored; the text says why.
    Ignored(String),
}

struct Job {
    id: u32,
    version: u32,
    rolling: bool,
    base: Base,
    /// The channel's target when the job came.
    target: Target,
}

struct Tip {
    prev_hash: [u8; 32],
    nbits: u32,
}

struct Active {
    job: Job,
    min_ntime: u32,
    since: Instant,
    /// The job was sent without a time: later SetTargets concern it too.
    born_future: bool,
}

/// The state machine. Owned by the task of the connection.
pub struct Work {
    channel: Channel,
    target: Target,
    epoch: u64,
    tip: Option<Tip>,
    /// By age, so that the oldest is dropped first.
    futures: BTreeMap<u64, Job>,
    received: u64,
    active: Option<Active>,
}

impl Work {
    /// No work yet. `epoch` must be greater than that of any earlier connection.
    pub fn new(channel: Channel, epoch: u64) -> Self {
        let target = channel.target;
        let futures = BTreeMap::new();
        Self { channel, target, epoch, tip: None, futures, received: 0, active: None }
    }

    /// The channel, with its present group and extranonce prefix.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The epoch of the tip now mined on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a message with this channel id concerns this channel, directly or by its group.
    pub fn concerns(&self, channel_id: u32) -> bool {
        channel_id == self.channel.id || channel_id == self.channel.group
    }

    /// Takes a message about work; others leave everything unchanged. `now` dates its arrival.
    pub fn on_message(&mut self, message: &MiningOwned, now: Instant) -> Step {
        match message {
            MiningOwned::NewMiningJob(m) if self.concerns(m.channel_id) => {
                self.on_standard_job(m, now)
            }
            MiningOwned::NewExtendedMiningJob(m) if self.concerns(m.channel_id) => {
                self.on_extended_job(m, now)
            }
            MiningOwned::SetNewPrevHash(m) if self.concerns(m.channel_id) => {
                self.on_prev_hash(m, now)
            }
            MiningOwned::SetTarget(m) if self.concerns(m.channel_id) => {
                self.on_target(Target::from_le_bytes(m.maximum_target.to_array()))
            }
            MiningOwned::SetExtranoncePrefix(m) if m.channel_id == self.channel.id => {
                // Only jobs sent after it use it; those already here hold the old one.
                self.channel.extranonce_prefix = m.extranonce_prefix.to_owned_bytes();
                Step::Unchanged
            }
            MiningOwned::SetGroupChannel(m) => {
                if m.channel_ids.iter().any(|id| *id == self.channel.id) {
                    self.channel.group = m.group_channel_id;
                }
                Step::Unchanged
            }
            _ => Step::Unchanged,
        }
    }

    /// The target a share must meet now.
    ///
    /// A job sent with its time keeps the target it came with. For a job sent as future the
    /// specification lets later SetTargets count, while widespread servers freeze it at
    /// activation: the harder of the two satisfies both.
    pub fn target(&self) -> Target {
        match &self.active {
            Some(active) if active.born_future => active.job.target.harder(self.target),
            Some(active) => active.job.target,
            None => self.target,
        }
    }

    /// The snapshot for the hash threads; `None` before the first active job.
    pub fn task(&self) -> Option<Arc<Task>> {
        let (active, tip) = (self.active.as_ref()?, self.tip.as_ref()?);
        Some(Arc::new(Task {
            epoch: self.epoch,
            job_id: active.job.id,
            version: active.job.version,
            rolling: active.job.rolling && !self.channel.fixed_version,
            prev_hash: tip.prev_hash,
            nbits: tip.nbits,
            min_ntime: active.min_ntime,
            since: active.since,
            base: active.job.base.clone(),
            target: self.target(),
            network: Target::from_compact(tip.nbits).unwrap_or(Target::NEVER),
        }))
    }

    fn on_standard_job(&mut self, m: &NewMiningJobOwned, now: Instant) -> Step {
        if self.channel.extranonce_size.is_some() {
            return Step::Ignored(format!("standard job {} on an extended channel", m.job_id));
        }
        let job = Job {
            id: m.job_id,
            version: m.version,
            // The bits of BIP323 are free on a standard channel unless the connection fixes them.
            rolling: true,
            base: Base::Root(m.merkle_root.to_array()),
            target: self.target,
        };
        self.on_job(job, m.min_ntime.clone().into_inner(), now)
    }

    fn on_extended_job(&mut self, m: &NewExtendedMiningJobOwned, now: Instant) -> Step {
        let Some(extranonce_size) = self.channel.extranonce_size else {
            return Step::Ignored(format!("extended job {} on a standard channel", m.job_id));
        };
        let mut head = m.coinbase_tx_prefix.to_owned_bytes();
        head.extend_from_slice(&self.channel.extranonce_prefix);
        let job = Job {
            id: m.job_id,
            version: m.version,
            rolling: m.version_rolling_allowed,
            base: Base::Coinbase {
                head,
                tail: m.coinbase_tx_suffix.to_owned_bytes(),
                path: m.merkle_path.iter().map(U256Owned::to_array).collect(),
                extranonce_size: usize::from(extranonce_size),
            },
            target: self.target,
        };
        self.on_job(job, m.min_ntime.clone().into_inner(), now)
    }

    fn on_job(&mut self, job: Job, min_ntime: Option<u32>, now: Instant) -> Step {
        match min_ntime {
            None => {
                self.futures.retain(|_, other| other.id != job.id);
                self.futures.insert(self.received, job);
                self.received += 1;
                if self.futures.len() > MAX_FUTURE_JOBS {
                    self.futures.pop_first();
                }
                Step::Unchanged
            }
            Some(_) if self.tip.is_none() => {
                Step::Ignored(format!("job {} is to start before any SetNewPrevHash", job.id))
            }
            Some(min_ntime) => {
                self.active = Some(Active { job, min_ntime, since: now, born_future: false });
                Step::NewTask
            }
        }
    }

    fn on_prev_hash(&mut self, m: &SetNewPrevHashOwned, now: Instant) -> Step {
        let named = self.futures.iter().find(|(_, job)| job.id == m.job_id).map(|(age, _)| *age);
        let Some(mut job) = named.and_then(|age| self.futures.remove(&age)) else {
            return Step::Ignored(format!("SetNewPrevHash names unknown future job {}", m.job_id));
        };
        // Whatever else was in the air belongs to a chain tip that did not come.
        self.futures.clear();
        job.target = job.target.harder(self.target);
        self.tip = Some(Tip { prev_hash: m.prev_hash.to_array(), nbits: m.nbits });
        self.epoch += 1;
        let (min_ntime, since) = (m.min_ntime, now);
        self.active = Some(Active { job, min_ntime, since, born_future: true });
        Step::NewTask
    }

    fn on_target(&mut self, target: Target) -> Step {
        let before = self.target();
        self.target = target;
        if self.active.is_some() && self.target() != before {
            Step::NewTask
        } else {
            Step::Unchanged
        }
    }
}

#[cfg(test)]
mod tests;
