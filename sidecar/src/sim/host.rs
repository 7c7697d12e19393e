//! The pool behind the contract: tips, jobs, targets, prefixes, judgement.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use gopool_sv2_proto::v1;

use super::stage::{Promise, Stage};
use super::truth::Truth;
use crate::types::{Difficulty, Target, VERSION_ROLLING_MASK};

/// The hardest level there is.
pub(super) const LEVELS: u8 = 5;
/// Jobs of a channel that the pool remembers.
const JOBS: usize = 24;

/// The target of a level: each is twice as hard as the one before.
pub(super) fn target(level: u8) -> Target {
    let mut bytes = [0xff; 32];
    bytes[31] = 0x7f >> level;
    Target(bytes)
}

/// The level of a target, rounded to what is harder.
pub(super) fn level(target: &[u8]) -> u8 {
    target.last().map_or(0, |top| (top.leading_zeros() as u8).saturating_sub(1))
}

/// A job as a channel had it.
#[derive(Debug)]
struct Known {
    id: u64,
    tip: u32,
    /// The easiest level wanted since it was given.
    easiest: u8,
    min_ntime: u32,
    max_ntime: Option<u32>,
}

/// An open channel, or one that is being opened.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) conn: u64,
    pub(super) open: bool,
    /// Tells this opening from another of the same name.
    pub(super) order: u64,
    pub(super) request: v1::OpenChannel,
    pub(super) prefix: u32,
    pub(super) wanted: u8,
    /// A target was given since the channel was opened.
    pub(super) retargeted: bool,
    /// What the miner was told instead of the target that is wanted.
    reported: Option<Target>,
    pub(super) newest: Option<Arc<v1::Job>>,
    known: Vec<Known>,
    /// Updates that were taken.
    pub(super) taken: BTreeSet<u32>,
    /// All jobs that it ever had.
    ever: BTreeSet<u64>,
    /// Submits that wait for a verdict.
    pub(super) owed: BTreeSet<u64>,
}

impl Channel {
    pub(super) fn new(request: v1::OpenChannel, order: u64) -> Self {
        Self {
            conn: request.connection.as_ref().map_or(0, |c| c.id),
            open: false,
            order,
            prefix: 0,
            wanted: 0,
            retargeted: false,
            reported: None,
            newest: None,
            known: Vec::new(),
            taken: BTreeSet::new(),
            ever: BTreeSet::new(),
            owed: BTreeSet::new(),
            request,
        }
    }

    pub(super) fn rolls(&self) -> u32 {
        if self.request.kind() == v1::ChannelKind::Extended {
            8
        } else {
            0
        }
    }

    /// It gets a job.
    pub(super) fn give(&mut self, job: &Arc<v1::Job>) {
        self.newest = Some(Arc::clone(job));
        let known = Known {
            id: job.id,
            tip: u32::from_le_bytes(job.prev_hash[..4].try_into().unwrap()),
            easiest: self.wanted,
            min_ntime: job.min_ntime,
            max_ntime: job.max_ntime,
        };
        self.ever.insert(job.id);
        self.known.push(known);
        if self.known.len() > JOBS {
            self.known.remove(0);
        }
    }

    /// It gets a target.
    pub(super) fn want(&mut self, level: u8) {
        self.wanted = level;
        (self.retargeted, self.reported) = (true, None);
        for known in &mut self.known {
            known.easiest = known.easiest.min(level);
        }
    }
}

impl Channel {
    /// The sidecar says what the miner was told when another target was wanted. They may have
    /// crossed.
    pub(super) fn reports(&mut self, report: &v1::TargetInEffect) {
        if report.wanted_target[..] == target(self.wanted).0 {
            self.reported = report.target[..].try_into().ok().map(Target);
        }
    }

    /// What the miner was told as the pool knows it, and what that should be.
    pub(super) fn in_effect(&self, easiest: u8) -> (Target, Target) {
        let wanted = target(self.wanted);
        let most = self.request.max_target[..].try_into().map_or(Target::EASIEST, Target);
        (self.reported.unwrap_or(wanted), wanted.min(target(easiest)).min(most))
    }
}

/// What one life of the pool's process has.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) epoch: u32,
    /// The easiest level of this life.
    pub(super) easiest: u8,
    prefixes: BTreeSet<u32>,
    next_prefix: u32,
    jobs: u64,
    pub(super) own_jobs: bool,
    strict: bool,
    says_max_ntime: bool,
}

impl Host {
    pub(super) fn new(stage: &mut Stage, epoch: u32) -> Self {
        Self {
            epoch,
            easiest: stage.between(0, 1) as u8,
            prefixes: BTreeSet::new(),
            next_prefix: stage.between(1, 3) as u32,
            jobs: 0,
            own_jobs: stage.chance(50),
            strict: stage.chance(50),
            says_max_ntime: stage.chance(50),
        }
    }

    /// The prefix that is wanted, when nobody has it; else another.
    pub(super) fn grant(&mut self, wanted: &[u8], grantable: bool) -> u32 {
        let wanted = wanted.try_into().ok().map(u32::from_be_bytes).filter(|_| grantable);
        let prefix = match wanted {
            Some(wanted) if !self.prefixes.contains(&wanted) => wanted,
            _ => loop {
                self.next_prefix += 1;
                if !self.prefixes.contains(&self.next_prefix) {
                    break self.next_prefix;
                }
            },
        };
        self.prefixes.insert(prefix);
        prefix
    }

    pub(super) fn free(&mut self, prefix: u32) {
        self.prefixes.remove(&prefix);
    }

    /// A job on a tip; the bits of the version that nobody rolls name the life.
    pub(super) fn job(&mut self, stage: &mut Stage, life: u32, tip: u32, now: u32) -> v1::Job {
        self.jobs += 1;
        let mut prev_hash = [7; 32];
        prev_hash[..4].copy_from_slice(&tip.to_le_bytes());
        // Now and then every other hash is a block.
        let nbits = if tip % 8 == 3 { 0x207f_ffff } else { 0x1d00_ffff };
        let coinbase = self.jobs.to_le_bytes();
        v1::Job {
            id: self.jobs,
            seq: 0,
            channel_ids: Vec::new(),
            prev_hash: Bytes::copy_from_slice(&prev_hash),
            nbits,
            version: 0x2000_0000 | (life & 31),
            version_mask: VERSION_ROLLING_MASK,
            min_ntime: now - 600,
            max_ntime: self.says_max_ntime.then_some(now + 7_200),
            merkle_path: Vec::new(),
            coinbase_prefix: Bytes::copy_from_slice(&coinbase),
            coinbase_suffix: Bytes::from_static(&[2]),
            stale_rule: match (self.strict, stage.chance(50)) {
                (true, _) => v1::StaleRule::Strict,
                (false, true) => v1::StaleRule::Host,
                (false, false) => v1::StaleRule::Unspecified,
            }
            .into(),
            height: tip,
        }
    }

    /// Looks at a share for an open channel: the verdict to be.
    pub(super) fn judge(
        &self,
        (stage, truth): (&mut Stage, &mut Truth),
        channel: &Channel,
        submit: &v1::Submit,
        (life, tip, now): (u32, u32, u32),
    ) -> v1::Verdict {
        use v1::RejectReason as R;
        truth.judged(stage, submit.nonce, life);
        let mut verdict = v1::Verdict { submit_id: submit.id, ..v1::Verdict::default() };
        let mut refuse = |reason: R| {
            verdict.reason = reason.into();
            verdict.clone()
        };
        let Some(share) = truth.share(submit.nonce) else { return refuse(R::InvalidShare) };
        let known = channel.known.iter().rev().find(|known| known.id == submit.job_id);
        let Some(known) = known else {
            if !channel.ever.contains(&submit.job_id) {
                let text = format!("submit {}: never had job {}", submit.id, submit.job_id);
                stage.breaks(Promise::Contract, text);
            }
            return refuse(R::StaleShare);
        };
        if submit.extranonce.len() as u32 != channel.rolls() {
            return refuse(R::BadExtranonceSize);
        }
        if submit.would_refuse() != R::Unspecified {
            return refuse(submit.would_refuse());
        }
        if known.tip != tip {
            return refuse(R::StaleShare);
        }
        if submit.ntime < known.min_ntime {
            return refuse(R::NtimeTooOld);
        }
        if submit.ntime > known.max_ntime.unwrap_or(now + 7_200) {
            return refuse(R::NtimeTooNew);
        }
        if share.level < known.easiest {
            return refuse(R::DifficultyTooLow);
        }
        let credit = Difficulty { whole: 1 << known.easiest, fraction: submit.nonce << 20 };
        truth.accepted(stage, submit.nonce, (known.tip, tip));
        v1::Verdict {
            submit_id: submit.id,
            accepted: true,
            share_hash: Bytes::copy_from_slice(&[9; 32]),
            credit_whole: credit.whole,
            credit_fraction: credit.fraction,
            ..v1::Verdict::default()
        }
    }
}
