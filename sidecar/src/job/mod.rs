//! Jobs of one channel: what the miner was given and what becomes of a share for it.
//!
//! A job is *active* (the newest), *past* (older, same tip), *stale* (an older tip) or *void* (the
//! pool has forgotten it). A *future*
//! job exists only between the two messages of an announcement: the job and the SetNewPrevHash that
//! activates it always leave together, so no channel is ever between tips.

mod announce;
mod header;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

pub use announce::{Announcement, Body, NewTip};
pub use header::{header, header_hash, merkle_root, Fields};

#[cfg(test)]
use crate::types::planted;
use crate::types::{Hash, Job, Kind, RejectReason, StaleRule, Submit, Target};

/// Jobs of the current tip that stay known besides the active one. Devices queue a handful; the
/// reference pool keeps as many.
pub const MAX_PAST: usize = 16;
/// Jobs of the previous tip that stay known, so that a late share is told `stale-share`.
pub const MAX_STALE: usize = 8;
/// Consensus allows a block's time this far ahead of the clock.
pub const MAX_FUTURE_SECS: u32 = 7200;
/// Kept from [`MAX_FUTURE_SECS`], for clocks that differ.
pub const FUTURE_MARGIN_SECS: u32 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    Past,
    Stale,
    Void,
}

#[derive(Debug)]
struct Known {
    id: u32,
    state: State,
    job: Arc<Job>,
    /// Merkle root of a standard channel; `None` where the miner rolls the extranonce.
    root: Option<Hash>,
}

/// What a share needs besides its job to become a header.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Standard or extended.
    pub kind: Kind,
    /// The channel's extranonce prefix.
    pub prefix: &'a [u8],
    /// Bytes the miner rolls.
    pub extranonce_size: usize,
}

/// What to do with a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Forward it under the pool's name of the job.
    Forward {
        /// [`Job::id`].
        job_id: u64,
        /// Set when it is forwarded only because its hash meets nbits.
        would_refuse: Option<RejectReason>,
    },
    /// Answer it here.
    Refuse(RejectReason),
    /// The header of a block for a job that the pool has forgotten, so that nobody can make the
    /// block of it: answer `stale-share` here.
    LostBlock([u8; 80]),
}

/// The jobs of one channel. Pure: ids and time come from outside.
#[derive(Debug, Default)]
pub struct JobTable {
    /// Newest last.
    known: VecDeque<Known>,
}

impl JobTable {
    /// Takes the pool's newest job under the miner's name `id`, and says how to announce it.
    pub fn add(&mut self, id: u32, job: Arc<Job>, shape: Shape<'_>) -> Announcement {
        let last = self.known.back().map(|k| (k.state, k.job.prev_hash));
        let after_void = matches!(last, Some((State::Void, _)));
        // After void ones the tip is announced whatever it is: nobody shall go on with them.
        let same_tip = !after_void && last.is_some_and(|(_, tip)| tip == job.prev_hash);
        if same_tip {
            for known in self.known.iter_mut().filter(|k| k.state == State::Active) {
                known.state = State::Past;
            }
        } else if !after_void {
            // What was stale already is two tips old now.
            self.known.retain(|k| !matches!(k.state, State::Stale | State::Void));
            for known in &mut self.known {
                known.state = State::Stale;
            }
        }
        self.forget_beyond(State::Past, MAX_PAST);
        self.forget_beyond(State::Stale, MAX_STALE);
        self.forget_beyond(State::Void, MAX_STALE);
        let root = match shape.kind {
            Kind::Standard => Some(merkle_root(&job, shape.prefix, &[])),
            Kind::Extended => None,
        };
        let announcement = Announcement::new(id, &job, root, !same_tip);
        self.known.push_back(Known { id, state: State::Active, job, root });
        announcement
    }

    fn forget_beyond(&mut self, state: State, limit: usize) {
        let mut excess =
            self.known.iter().filter(|k| k.state == state).count().saturating_sub(limit);
        self.known.retain(|k| {
            let forget = k.state == state && excess > 0;
            excess -= usize::from(forget);
            !forget
        });
    }

    /// The pool has forgotten all jobs: shares for them are stale from now on.
    pub fn make_void(&mut self) {
        for known in &mut self.known {
            known.state = State::Void;
        }
    }

    /// The newest job; none when the pool has forgotten it.
    #[must_use]
    pub fn newest(&self) -> Option<&Job> {
        self.known.back().filter(|k| k.state != State::Void).map(|k| &*k.job)
    }

    /// A share that the pool will not judge, although it was forwarded: the header, if it is a
    /// block.
    #[must_use]
    pub fn lost_block(&self, submit: &Submit, shape: Shape<'_>, now: u32) -> Option<[u8; 80]> {
        let known = self.known.iter().rev().find(|k| k.job.id == submit.job_id)?;
        let share = Fields {
            job_id: known.id,
            nonce: submit.nonce,
            ntime: submit.ntime,
            version: submit.version,
            extranonce: &submit.extranonce,
        };
        known.is_block(&share, shape, now).then(|| known.header(&share, shape))
    }

    /// Applies the pool's policy for the job to a share; `fault` is what is wrong with the message
    /// that brought it, `now` is unix seconds. A hash that meets
    /// nbits is forwarded whatever the policy says: a block is never lost here.
    #[must_use]
    pub fn check(
        &self,
        share: &Fields<'_>,
        shape: Shape<'_>,
        fault: Option<RejectReason>,
        now: u32,
    ) -> Check {
        let Some(known) = self.known.iter().rev().find(|k| k.id == share.job_id) else {
            return Check::Refuse(RejectReason::InvalidJobId);
        };
        if share.extranonce.len() != shape.extranonce_size {
            return Check::Refuse(RejectReason::BadExtranonceSize);
        }
        let job_id = known.job.id;
        #[cfg(test)]
        let newest = self.known.back().filter(|newest| newest.job.version == known.job.version);
        #[cfg(test)]
        if let Some(newest) = newest.filter(|_| planted::has(planted::Bug::WrongTip)) {
            return Check::Forward { job_id: newest.job.id, would_refuse: None };
        }
        match known.policy(share, now).or(fault) {
            None => Check::Forward { job_id, would_refuse: None },
            Some(reason) if known.is_block(share, shape, now) => {
                if known.state == State::Void {
                    return Check::LostBlock(known.header(share, shape));
                }
                Check::Forward { job_id, would_refuse: Some(reason) }
            }
            Some(reason) => Check::Refuse(reason),
        }
    }
}

impl Known {
    fn policy(&self, share: &Fields<'_>, now: u32) -> Option<RejectReason> {
        let job = &self.job;
        let rolled = share.version ^ job.version;
        if rolled & !job.version_mask != 0 {
            return Some(if job.version_mask == 0 {
                RejectReason::VersionRollingNotAllowed
            } else {
                RejectReason::InvalidVersionBit
            });
        }
        if share.ntime < job.min_ntime {
            return Some(RejectReason::NtimeTooOld);
        }
        let by_clock = now.saturating_add(MAX_FUTURE_SECS - FUTURE_MARGIN_SECS);
        if share.ntime > job.max_ntime.unwrap_or(by_clock) {
            return Some(RejectReason::NtimeTooNew);
        }
        let stale = match self.state {
            State::Active | State::Past => false,
            State::Stale => job.stale_rule == StaleRule::Strict,
            State::Void => true,
        };
        stale.then_some(RejectReason::Stale)
    }

    fn is_block(&self, share: &Fields<'_>, shape: Shape<'_>, now: u32) -> bool {
        // No node takes a block from further in the future.
        if share.ntime > now.saturating_add(MAX_FUTURE_SECS) {
            return false;
        }
        let Some(target) = Target::from_nbits(self.job.nbits) else { return false };
        header_hash(&self.job, &self.root_of(share, shape), share).meets(&target)
    }

    fn header(&self, share: &Fields<'_>, shape: Shape<'_>) -> [u8; 80] {
        header(&self.job, &self.root_of(share, shape), share)
    }

    fn root_of(&self, share: &Fields<'_>, shape: Shape<'_>) -> Hash {
        self.root.unwrap_or_else(|| merkle_root(&self.job, shape.prefix, share.extranonce))
    }
}
