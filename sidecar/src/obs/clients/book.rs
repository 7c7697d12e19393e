//! Channels, and what each of them has done.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::{lock, Presence};
use crate::obs::counts::{ByReject, Count, Level, WorkSum};
use crate::obs::totals::{Sum, Untold};
use crate::obs::witness::Witness;
use crate::sys::unix_millis;
use crate::types::{ChannelKey, Difficulty, Hash, Kind, RejectReason, Short, Target};

/// What a channel is when it is opened.
#[derive(Debug, Clone)]
pub struct ChannelFacts {
    /// The link's name of it.
    pub key: ChannelKey,
    /// The miner's name of it.
    pub id: u32,
    /// Standard or extended.
    pub kind: Kind,
    /// Opaque bytes of the miner, less a payout key.
    pub user_identity: Bytes,
    /// Extranonce prefix.
    pub prefix: Bytes,
    /// Bytes the miner rolls.
    pub extranonce_size: u8,
    /// In H/s.
    pub nominal_hash_rate: f32,
    /// The target that the miner was told.
    pub target: Target,
    /// The easiest target that the miner takes.
    pub max_target: Target,
}

/// What is known of an open channel. Its own connection writes, anybody reads.
#[derive(Debug)]
pub struct ChannelBook {
    /// The link's name of it.
    pub key: ChannelKey,
    /// The miner's name of it.
    pub id: u32,
    /// Standard or extended.
    pub kind: Kind,
    /// Opaque bytes of the miner, less a payout key.
    pub user_identity: Bytes,
    /// Extranonce prefix.
    pub prefix: Bytes,
    /// Bytes the miner rolls.
    pub extranonce_size: u8,
    /// When it was opened, milliseconds since the epoch.
    pub opened_ms: i64,
    nominal_hash_rate: AtomicU32,
    targets: Mutex<(Target, Target)>,
    /// Accepted shares.
    pub accepted: Count,
    /// Shares that were not credited.
    pub rejected: ByReject,
    /// What was credited.
    pub work: WorkSum,
    /// Sequence number of the last share that was accepted.
    pub last_sequence: Level,
    /// Shares of the last Success.
    pub last_batch: Level,
    /// Sum of the last Success.
    pub last_batch_work: Level,
    /// When the last share was accepted, milliseconds since the epoch; 0: none was.
    pub last_share_ms: Level,
    best: AtomicU64,
    /// Block candidates that the pool accepted.
    pub blocks: Count,
    /// `None`: nobody keeps history.
    untold: Option<Untold>,
}

impl ChannelBook {
    /// In H/s, as the miner says.
    #[must_use]
    pub fn nominal_hash_rate(&self) -> f32 {
        f32::from_bits(self.nominal_hash_rate.load(Ordering::Relaxed))
    }

    /// The target that the miner was told, and the easiest that it takes.
    #[must_use]
    pub fn targets(&self) -> (Target, Target) {
        *lock(&self.targets)
    }

    /// The difficulty of the best accepted share; 0: there is none.
    #[must_use]
    pub fn best(&self) -> f64 {
        f64::from_bits(self.best.load(Ordering::Relaxed))
    }

    /// Tells that it is there, unless its end was told.
    pub fn tell(&self, witness: &dyn Witness) {
        if let Some(untold) = &self.untold {
            untold.unless_over(|| witness.channel_started(self));
        }
    }

    /// Tells what it did since the last time, unless its end was told.
    pub fn tell_totals(&self, witness: &dyn Witness) {
        self.take(witness, None::<fn()>);
    }

    fn take(&self, witness: &dyn Witness, last: Option<impl FnOnce()>) {
        if let Some(untold) = &self.untold {
            let tell = |totals| witness.totals(self, totals);
            untold.take(unix_millis(), || self.sum(), tell, last);
        }
    }

    fn sum(&self) -> Sum {
        let mut sum =
            Sum { accepted: self.accepted.get(), credit: self.work.get(), ..Sum::default() };
        for (count, (_, read)) in sum.rejected.iter_mut().zip(self.rejected.read()) {
            *count = read;
        }
        sum
    }
}

/// An open channel's hold on its entry.
#[derive(Debug)]
pub struct OpenChannel {
    book: Arc<ChannelBook>,
    of: Presence,
    /// Why it ends, when it does.
    ends: Cow<'static, str>,
}

impl OpenChannel {
    pub(super) fn new(facts: ChannelFacts, of: Presence) -> Self {
        let ChannelFacts { key, id, kind, user_identity, prefix, extranonce_size, .. } = facts;
        let (opened_ms, witness) = (unix_millis(), of.counts().witness());
        let book = Arc::new(ChannelBook {
            key,
            id,
            kind,
            user_identity,
            prefix,
            extranonce_size,
            opened_ms,
            nominal_hash_rate: AtomicU32::new(facts.nominal_hash_rate.to_bits()),
            targets: Mutex::new((facts.target, facts.max_target)),
            accepted: Count::default(),
            rejected: ByReject::default(),
            work: WorkSum::default(),
            last_sequence: Level::default(),
            last_batch: Level::default(),
            last_batch_work: Level::default(),
            last_share_ms: Level::default(),
            best: AtomicU64::new(0),
            blocks: Count::default(),
            untold: witness.map(|_| Untold::new(opened_ms)),
        });
        if let Some(witness) = witness {
            witness.channel_started(&book);
        }
        let channels = &of.counts().channels;
        channels.open.of(kind).up();
        channels.opened.of(kind).one();
        lock(&of.client().channels).push(Arc::clone(&book));
        Self { book, of, ends: Cow::Borrowed("connection closed") }
    }

    /// Says why it is going to end; otherwise it is the end of its connection.
    pub fn ends(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.ends = reason.into();
    }

    /// The entry.
    #[must_use]
    pub fn book(&self) -> &ChannelBook {
        &self.book
    }

    /// Its targets and its hash rate are these now.
    pub fn retarget(&self, target: Target, max_target: Target, nominal_hash_rate: f32) {
        *lock(&self.book.targets) = (target, max_target);
        self.book.nominal_hash_rate.store(nominal_hash_rate.to_bits(), Ordering::Relaxed);
    }

    /// The pool accepted a share of this worker; empty: it named none.
    pub fn judged(&self, hash: &Hash, block_candidate: bool, worker: &[u8]) {
        let (difficulty, counts) = (difficulty_of(hash), self.of.counts());
        // Bits of positive floats are in the order of their values.
        self.book.best.fetch_max(difficulty.to_bits(), Ordering::Relaxed);
        if let Some(untold) = &self.book.untold {
            untold.judged(worker, difficulty, &counts.workers);
        }
        if block_candidate {
            self.book.blocks.one();
        }
    }

    /// Whether it matters which worker a share names.
    #[must_use]
    pub fn tells_workers_apart(&self) -> bool {
        self.book.untold.is_some()
    }

    /// Shares that name workers are answered; they are among those of the channel already.
    pub fn named(&self, shares: &[(Short, Result<Difficulty, RejectReason>)]) {
        if let Some(untold) = self.book.untold.as_ref().filter(|_| !shares.is_empty()) {
            untold.named(shares);
        }
    }

    /// A share is answered, so long after it was read.
    pub fn answered(&self, after: Duration) {
        self.of.counts().shares.ack.observe(after);
    }

    /// Accepted shares are answered with one Success.
    pub fn accepted(&self, count: u32, work: Difficulty, last_sequence: u32) {
        let book = &self.book;
        book.accepted.add(u64::from(count));
        book.work.add(work);
        book.last_sequence.set(u64::from(last_sequence));
        book.last_batch.set(u64::from(count));
        book.last_batch_work.set(work.whole);
        book.last_share_ms.set(u64::try_from(unix_millis()).unwrap_or_default());
        self.of.counts().shares.accept(u64::from(count), work);
    }

    /// A share is answered with an Error; `judged`: somebody could judge it.
    pub fn rejected(&self, reason: RejectReason, judged: bool) {
        self.book.rejected.add(reason, 1);
        let shares = &self.of.counts().shares;
        let counts = if judged { &shares.rejected } else { &shares.unjudged };
        counts.add(reason, 1);
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        if let Some(witness) = self.of.counts().witness() {
            let last = || witness.channel_ended(self.book.key, &self.ends);
            self.book.take(witness, Some(last));
        }
        lock(&self.of.client().channels).retain(|book| !Arc::ptr_eq(book, &self.book));
        self.of.counts().channels.open.of(self.book.kind).down();
    }
}

/// Difficulty 1, less its low bits that are zero: 0xffff · 2^208.
const ONE: (f64, i32) = (65_535.0, 208);

/// The difficulty (pdiff) that a hash has, or a target stands for, about: for people to look at.
#[must_use]
pub fn difficulty_of(hash: &Hash) -> f64 {
    let mut value = 0.0_f64;
    // As a number it reads little-endian.
    for word in hash.0.chunks_exact(8).rev() {
        let word = word.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        value = value * 2.0_f64.powi(64) + word as f64;
    }
    if value == 0.0 {
        return f64::MAX;
    }
    ONE.0 * 2.0_f64.powi(ONE.1) / value
}
