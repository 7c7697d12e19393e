//! One mining channel: ids, extranonce, targets, jobs, and answers in order. Pure: nothing here
//! does I/O, reads a clock or judges work.

mod answers;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use answers::{Answer, Outcome, Settled, Token};

use answers::Answers;

use crate::job::{Announcement, Check, Fields, JobTable, Shape};
use crate::obs::clients::{ChannelFacts, OpenChannel};
use crate::types::{
    Bucket, ChannelKey, Grant, Job, Kind, OpenRequest, RefuseReason, RejectReason, Seat, Short,
    Submit, Target, TargetLimits,
};

/// Updates of one channel that may wait for the pool at a time. A device sends one, now and then.
pub const MAX_UPDATES_WAITING: usize = 4;

/// A submit's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Forward it; the verdict comes back under the token.
    Forward(Token, Submit),
    /// Answered here; the answer is queued behind its elders.
    Refused,
}

/// One open channel.
#[derive(Debug)]
pub struct Channel {
    key: ChannelKey,
    /// The life of the pool that its jobs are of.
    generation: u64,
    id: u32,
    group_id: u32,
    kind: Kind,
    prefix: Bytes,
    extranonce_size: u8,
    limits: TargetLimits,
    max_target: Target,
    wanted: Target,
    in_effect: Target,
    /// What the pool takes for the target in effect: its own wish, or our last report.
    known_to_pool: Target,
    jobs: JobTable,
    answers: Answers,
    nominal_hash_rate: f32,
    /// Updates that wait for the pool.
    updates: VecDeque<Update>,
    next_update: u32,
    update_pace: Bucket,
    told: Duration,
    /// Its place among those of the address, until it ends.
    seat: Option<Seat>,
    /// Where it counts for those who look, until it ends.
    book: Option<OpenChannel>,
}

/// An update that waits for the pool.
#[derive(Debug, Clone, Copy)]
struct Update {
    request: u32,
    nominal_hash_rate: f32,
    max_target: Target,
}

impl Channel {
    /// A channel the pool has granted, in a life of it. `id` and `group_id` are the connection's; a
    /// group of one, never addressed (SV2 spec 5.2.3).
    #[must_use]
    pub fn new(
        (key, generation): (ChannelKey, u64),
        (id, group_id): (u32, u32),
        request: &OpenRequest,
        grant: Grant,
        limits: TargetLimits,
    ) -> Self {
        let mut channel = Self {
            key,
            generation,
            id,
            group_id,
            kind: request.kind,
            prefix: grant.prefix,
            extranonce_size: grant.extranonce_size,
            limits,
            max_target: request.max_target,
            wanted: grant.target,
            in_effect: Target::EASIEST,
            known_to_pool: grant.target,
            jobs: JobTable::default(),
            answers: Answers::default(),
            nominal_hash_rate: request.nominal_hash_rate,
            updates: VecDeque::new(),
            next_update: 1,
            update_pace: Bucket::default(),
            told: Duration::ZERO,
            seat: None,
            book: None,
        };
        channel.in_effect = channel.hardest_bound();
        channel
    }

    /// Holds a place as long as it is open.
    #[must_use]
    pub fn seated(mut self, seat: Seat) -> Self {
        self.seat = Some(seat);
        self
    }

    /// What those who look see of it. `user_identity`: opaque, less a payout key.
    #[must_use]
    pub fn facts(&self, user_identity: Bytes) -> ChannelFacts {
        ChannelFacts {
            key: self.key,
            id: self.id,
            kind: self.kind,
            user_identity,
            prefix: self.prefix.clone(),
            extranonce_size: self.extranonce_size,
            nominal_hash_rate: self.nominal_hash_rate,
            target: self.in_effect,
            max_target: self.max_target,
        }
    }

    /// Counts there for those who look, as long as it is open.
    pub fn set_book(&mut self, book: OpenChannel) {
        self.book = Some(book);
    }

    /// Takes out where it counts, to be given back.
    pub const fn take_book(&mut self) -> Option<OpenChannel> {
        self.book.take()
    }

    /// Where it counts; `None`: nobody looks.
    #[must_use]
    pub const fn book(&self) -> Option<&OpenChannel> {
        self.book.as_ref()
    }

    /// Says to those who look why it is going to end.
    pub fn ends(&mut self, reason: impl Into<Cow<'static, str>>) {
        if let Some(book) = &mut self.book {
            book.ends(reason);
        }
    }

    /// The worker that a waiting submit named; empty: none.
    #[must_use]
    pub fn worker(&self, token: Token) -> Short {
        self.answers.worker(token)
    }

    /// The link's name of it.
    #[must_use]
    pub const fn key(&self) -> ChannelKey {
        self.key
    }

    /// The life of the pool that its jobs are of.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The miner's name of it.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The id of its group of one.
    #[must_use]
    pub const fn group_id(&self) -> u32 {
        self.group_id
    }

    /// Standard or extended.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The extranonce prefix.
    #[must_use]
    pub const fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// Bytes the miner rolls.
    #[must_use]
    pub const fn extranonce_size(&self) -> u8 {
        self.extranonce_size
    }

    /// The target the miner was told.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.in_effect
    }

    /// The target that the pool wants.
    #[must_use]
    pub const fn wanted(&self) -> Target {
        self.wanted
    }

    /// The target to report to the pool, when it takes another for the one in effect. Told once.
    pub fn target_to_report(&mut self) -> Option<Target> {
        let known = std::mem::replace(&mut self.known_to_pool, self.in_effect);
        (known != self.in_effect).then_some(self.in_effect)
    }

    /// Submits that wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.answers.waiting()
    }

    /// All three are upper bounds: what the pool wants, its minimum difficulty, the miner's own
    /// bound. There is always a smallest, so no update can fail here.
    fn hardest_bound(&self) -> Target {
        self.wanted.min(self.limits.easiest).min(self.max_target)
    }

    fn shape(&self) -> Shape<'_> {
        Shape {
            kind: self.kind,
            prefix: &self.prefix,
            extranonce_size: usize::from(self.extranonce_size),
        }
    }

    /// Takes the pool's newest job under the connection's next job id.
    pub fn add_job(&mut self, job_id: u32, job: Arc<Job>) -> Announcement {
        let shape = Shape {
            kind: self.kind,
            prefix: &self.prefix,
            extranonce_size: usize::from(self.extranonce_size),
        };
        self.jobs.add(job_id, job, shape)
    }

    /// The newest job announced; none when the pool has forgotten it.
    #[must_use]
    pub fn newest_job(&self) -> Option<&Job> {
        self.jobs.newest()
    }

    /// The pool wants another target. Returns the target to tell the miner, if it changes.
    pub fn want_target(&mut self, wanted: Target) -> Option<Target> {
        self.wanted = wanted;
        self.known_to_pool = wanted;
        self.changed_target()
    }

    /// The pool, in another life, has the channel again. Returns the target to tell the miner, if
    /// it changes.
    pub fn reopened(
        &mut self,
        generation: u64,
        wanted: Target,
        limits: Option<TargetLimits>,
    ) -> Option<Target> {
        self.generation = generation;
        self.jobs.make_void();
        self.limits = limits.unwrap_or(self.limits);
        self.want_target(wanted)
    }

    fn changed_target(&mut self) -> Option<Target> {
        let target = self.hardest_bound();
        let before = std::mem::replace(&mut self.in_effect, target);
        if let Some(book) = &self.book {
            book.retarget(target, self.max_target, self.nominal_hash_rate);
        }
        (before != target).then_some(target)
    }

    /// How often the miner updates it: kept here, held to its rate by the connection.
    pub const fn update_pace(&mut self) -> &mut Bucket {
        &mut self.update_pace
    }

    /// When the miner was told something last, as said to [`Channel::set_told`].
    #[must_use]
    pub const fn told(&self) -> Duration {
        self.told
    }

    /// Says that the miner is told something now: kept here, the time is the connection's.
    pub const fn set_told(&mut self, now: Duration) {
        self.told = now;
    }

    /// UpdateChannel of the miner (SV2 spec 5.3.7): the request id to send to the pool.
    ///
    /// # Errors
    /// The reason for UpdateChannel.Error; the channel is as before.
    pub fn update(
        &mut self,
        nominal_hash_rate: f32,
        max_target: Target,
    ) -> Result<u32, RefuseReason> {
        if !nominal_hash_rate.is_finite() || nominal_hash_rate < 0.0 {
            return Err(RefuseReason::InvalidNominalHashrate);
        }
        self.limits.admit(&max_target)?;
        if self.updates.len() >= MAX_UPDATES_WAITING {
            return Err(RefuseReason::RateLimited);
        }
        let request = self.next_update;
        self.next_update = self.next_update.wrapping_add(1);
        let nominal_hash_rate = nominal_hash_rate.abs();
        self.updates.push_back(Update { request, nominal_hash_rate, max_target });
        Ok(request)
    }

    /// The pool's answer to an update. When it was taken, returns the target to tell the miner, if
    /// it changes. An answer nobody waits for changes nothing.
    pub fn updated(&mut self, request: u32, taken: bool) -> Option<Target> {
        let index = self.updates.iter().position(|update| update.request == request)?;
        let update = self.updates.remove(index)?;
        if !taken {
            return None;
        }
        self.max_target = update.max_target;
        self.nominal_hash_rate = update.nominal_hash_rate;
        self.changed_target()
    }

    /// Says when the submits to come come; [`Settled::came`] repeats it.
    pub const fn set_now(&mut self, now: Duration) {
        self.answers.set_now(now);
    }

    /// A share of the miner. `worker`: whom it is of, empty when it doesn't say; or why the message
    /// that brought it is refused, unless it is a block.
    pub fn submit(
        &mut self,
        sequence: u32,
        share: &Fields<'_>,
        worker: Result<Short, RejectReason>,
        now: u32,
    ) -> Taken {
        let fault = worker.as_ref().err().copied();
        let worker = worker.unwrap_or_default();
        match self.jobs.check(share, self.shape(), fault, now) {
            Check::Forward { job_id, would_refuse } => {
                let submit = Submit {
                    job_id,
                    nonce: share.nonce,
                    ntime: share.ntime,
                    version: share.version,
                    extranonce: Short::new(share.extranonce),
                    worker,
                    would_refuse,
                };
                Taken::Forward(self.answers.wait(sequence, worker), submit)
            }
            Check::Refuse(reason) => {
                self.answers.refuse(sequence, worker, Outcome::Rejected(reason));
                Taken::Refused
            }
            Check::LostBlock(header) => {
                mourn(&header);
                self.answers.refuse(sequence, worker, Outcome::Unjudged(RejectReason::Stale));
                Taken::Refused
            }
        }
    }

    /// The header of a submit that was forwarded and that the pool will not judge, if it is a
    /// block.
    #[must_use]
    pub fn lost_block(&self, submit: &Submit) -> Option<[u8; 80]> {
        self.jobs.lost_block(submit, self.shape(), submit.ntime)
    }

    /// The pool's verdict. false when nobody waits for it.
    pub fn settle(&mut self, token: Token, submit_id: u64, outcome: Outcome) -> bool {
        self.answers.settle(token, submit_id, outcome)
    }

    /// The pool is away: nothing that waits is accepted.
    pub fn settle_all(&mut self, reason: RejectReason) {
        self.answers.settle_all(Outcome::Unjudged(reason));
    }

    /// Takes the answers that are due; see [`Answer`].
    pub fn drain_answers(&mut self, answer: impl FnMut(Answer), settled: impl FnMut(Settled)) {
        self.answers.drain(answer, settled);
    }
}

/// Says that a block candidate can't reach the pool.
pub fn mourn(header: &[u8; 80]) {
    let header: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
    tracing::error!(header, "a block candidate is lost: the pool was away, or was restarted");
}
