//! What a channel did, and the workers that its shares name, in portions: each share is in exactly
//! one of them, however adding and taking interleave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::types::{Difficulty, RejectReason, Seat, Seats, Short};

/// Workers of one channel that have sums of their own.
const WORKERS_MAX: usize = 1_024;
/// Reasons there are.
const REASONS: usize = RejectReason::ALL.len();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a channel, or a worker on it, did in some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    /// The worker; empty: all shares of the channel that no other portion has.
    pub worker: Bytes,
    /// Accepted shares.
    pub accepted: u64,
    /// What was credited for them.
    pub credit: Difficulty,
    /// Shares that were not credited, by reason; those that are 0 are left out.
    pub rejected: Vec<(RejectReason, u64)>,
    /// The difficulty of the best hash among the accepted; 0: there is none.
    pub best: f64,
    /// Nothing in it is from before, milliseconds since the epoch.
    pub since_ms: i64,
}

/// A sum that only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) accepted: u64,
    pub(super) credit: Difficulty,
    pub(super) rejected: [u64; REASONS],
}

impl Sum {
    fn add(&mut self, outcome: Result<Difficulty, RejectReason>) {
        match outcome {
            Ok(credit) => {
                self.accepted += 1;
                self.credit = self.credit.saturating_add(credit);
            }
            Err(reason) => {
                if let Some(count) = self.rejected.get_mut(reason as usize) {
                    *count += 1;
                }
            }
        }
    }

    /// Without a part of it.
    fn without(mut self, part: &Self) -> Self {
        self.accepted = self.accepted.saturating_sub(part.accepted);
        self.credit = less(self.credit, part.credit).unwrap_or_default();
        for (count, part) in self.rejected.iter_mut().zip(part.rejected) {
            *count = count.saturating_sub(part);
        }
        self
    }

    /// Grows to `now` and says by how much. What was read while it was added to may be short of a
    /// carry, never too much: then it grows the next time.
    fn grow(&mut self, now: Self) -> Self {
        let mut grown = Self::default();
        if let Some(more) = now.accepted.checked_sub(self.accepted) {
            (grown.accepted, self.accepted) = (more, now.accepted);
        }
        if let Some(more) = less(now.credit, self.credit) {
            (grown.credit, self.credit) = (more, now.credit);
        }
        let counts = self.rejected.iter_mut().zip(now.rejected);
        for ((before, now), grown) in counts.zip(&mut grown.rejected) {
            if let Some(more) = now.checked_sub(*before) {
                (*grown, *before) = (more, now);
            }
        }
        grown
    }

    fn portion(&self, worker: Bytes, best: f64, since_ms: i64) -> Totals {
        let counts = RejectReason::ALL.iter().copied().zip(self.rejected);
        Totals {
            worker,
            accepted: self.accepted,
            credit: self.credit,
            rejected: counts.filter(|(_, count)| *count > 0).collect(),
            best,
            since_ms,
        }
    }
}

/// The exact difference; `None`: it would be below 0.
fn less(from: Difficulty, what: Difficulty) -> Option<Difficulty> {
    let units = |d: Difficulty| u128::from(d.whole) << 32 | u128::from(d.fraction);
    let rest = units(from).checked_sub(units(what))?;
    // Not longer than what it was taken from.
    Some(Difficulty { whole: u64::try_from(rest >> 32).ok()?, fraction: rest as u32 })
}

/// A worker since the last portion.
#[derive(Debug)]
struct Worker {
    sum: Sum,
    best: f64,
    _seat: Seat,
}

#[derive(Debug, Default)]
struct Workers {
    /// All that workers ever did, those of earlier portions too.
    named: Sum,
    by_name: BTreeMap<Bytes, Worker>,
}

#[derive(Debug)]
struct Taken {
    since_ms: i64,
    /// What was in portions without a worker.
    rest: Sum,
    over: bool,
}

/// What of a channel is in no portion yet.
#[derive(Debug)]
pub(super) struct Untold {
    /// Bits of the best difficulty since the last portion that had an accepted share.
    best: AtomicU64,
    /// Locked for shares that name a worker, and for a copy.
    workers: Mutex<Workers>,
    /// Locked as long as portions are told: none may follow the last.
    taken: Mutex<Taken>,
}

impl Untold {
    pub(super) fn new(opened_ms: i64) -> Self {
        let taken = Taken { since_ms: opened_ms, rest: Sum::default(), over: false };
        Self { best: AtomicU64::new(0), workers: Mutex::default(), taken: Mutex::new(taken) }
    }

    /// A share was accepted that has this difficulty. From its first one on a worker has sums of
    /// its own, if there is room for it.
    pub(super) fn judged(&self, worker: &[u8], difficulty: f64, seats: &Seats) {
        if !worker.is_empty() {
            let workers = &mut lock(&self.workers).by_name;
            if !workers.contains_key(worker) && workers.len() < WORKERS_MAX {
                if let Some(_seat) = seats.take() {
                    let new = Worker { sum: Sum::default(), best: 0.0, _seat };
                    workers.insert(Bytes::copy_from_slice(worker), new);
                }
            }
            if let Some(known) = workers.get_mut(worker) {
                known.best = known.best.max(difficulty);
                return;
            }
        }
        // Bits of positive floats are in the order of their values.
        self.best.fetch_max(difficulty.to_bits(), Ordering::Relaxed);
    }

    /// Shares that name workers were answered. After the channel has counted them: what is here is
    /// there, too.
    pub(super) fn named(&self, shares: &[(Short, Result<Difficulty, RejectReason>)]) {
        let workers = &mut *lock(&self.workers);
        for &(worker, outcome) in shares {
            if let Some(known) = workers.by_name.get_mut(&*worker) {
                known.sum.add(outcome);
                workers.named.add(outcome);
            }
        }
    }

    /// Does something unless the last portion was taken.
    pub(super) fn unless_over(&self, act: impl FnOnce()) {
        let taken = lock(&self.taken);
        if !taken.over {
            act();
        }
    }

    /// Tells what came since the last portion. `all`: what the channel has counted. When it is the
    /// `last` one, nothing follows what `last` does.
    pub(super) fn take(
        &self,
        now_ms: i64,
        all: impl FnOnce() -> Sum,
        mut tell: impl FnMut(Totals),
        last: Option<impl FnOnce()>,
    ) {
        let mut taken = lock(&self.taken);
        if taken.over {
            return;
        }
        let since_ms = std::mem::replace(&mut taken.since_ms, now_ms);
        // The workers first: whatever is read here, the channel has counted it already.
        let (named, portions) = self.take_workers(since_ms);
        let rest = taken.rest.grow(all().without(&named));
        if rest != Sum::default() {
            let best = if rest.accepted > 0 { self.best.swap(0, Ordering::Relaxed) } else { 0 };
            tell(rest.portion(Bytes::new(), f64::from_bits(best), since_ms));
        }
        portions.into_iter().for_each(tell);
        if let Some(last) = last {
            taken.over = true;
            last();
        }
    }

    fn take_workers(&self, since_ms: i64) -> (Sum, Vec<Totals>) {
        let mut workers = lock(&self.workers);
        let named = workers.named;
        let mut portions = Vec::new();
        for (name, worker) in &mut workers.by_name {
            let sum = std::mem::take(&mut worker.sum);
            if sum != Sum::default() {
                let best = if sum.accepted > 0 { std::mem::take(&mut worker.best) } else { 0.0 };
                portions.push(sum.portion(name.clone(), best, since_ms));
            }
        }
        (named, portions)
    }
}

#[cfg(test)]
mod tests;
