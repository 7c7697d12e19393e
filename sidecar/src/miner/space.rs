//! The search space of a task and the order in which threads walk through it.
//!
//! A *pass* is [`SPAN`] nonces under fixed extranonce, version bits and time. Passes are numbered;
//! thread `i` of `n` takes the numbers `i`, `i + n`, `i + 2n` and on, so no two threads meet.
//! Short passes make every dimension move within seconds even on a slow CPU, which exercises the
//! server's rules for rolled versions and extranonces.

use super::header::{merkle_root, Header};
use super::work::{Base, Task};

/// Nonces of a pass.
pub const SPAN: u32 = 1 << 20;

/// log2 of the passes that share extranonce, version and time.
const NONCE_HIGH_BITS: u32 = 12;
/// log2 of the versions under the mask of BIP323.
const VERSION_BITS: u32 = 24;
/// Lowest rollable version bit.
const VERSION_SHIFT: u32 = 5;
/// More extranonce bits than a CPU ever walks through.
const MAX_EXTRANONCE_BITS: u32 = 40;

/// Where a pass lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pass {
    /// Number for the own extranonce; 0 on standard channels.
    pub extranonce: u64,
    /// Bits to flip in the version, already in place.
    pub version_flip: u32,
    /// First nonce.
    pub nonce: u32,
    /// Seconds past the task's `min_ntime`.
    pub ntime_offset: u32,
}

impl Pass {
    /// The pass with that number. Different numbers give different passes until the space is
    /// used up after 2^32 seconds of ntime.
    pub fn nth(number: u64, extranonce_bits: u32, rolling: bool) -> Self {
        let extranonce = number & ((1 << extranonce_bits) - 1);
        let mut rest = number >> extranonce_bits;
        let mut version_flip = 0;
        if rolling {
            // Shifted by the extranonce, so that both move from pass to pass; for one extranonce
            // it still goes through every version once.
            let versions = (1_u64 << VERSION_BITS) - 1;
            version_flip = (((rest + extranonce) & versions) as u32) << VERSION_SHIFT;
            rest >>= VERSION_BITS;
        }
        let high = (rest & ((1 << NONCE_HIGH_BITS) - 1)) as u32;
        let ntime_offset = u32::try_from(rest >> NONCE_HIGH_BITS).unwrap_or(u32::MAX);
        Self { extranonce, version_flip, nonce: high * SPAN, ntime_offset }
    }

    /// The header of the pass's first nonce, and the extranonce as sent in a submit (big-endian,
    /// padded; empty on standard channels).
    pub fn header(&self, task: &Task) -> (Header, Vec<u8>) {
        let (root, extranonce) = match &task.base {
            Base::Root(root) => (*root, Vec::new()),
            Base::Coinbase { head, tail, path, extranonce_size } => {
                let mut extranonce = vec![0; *extranonce_size];
                let number = self.extranonce.to_be_bytes();
                for (to, from) in extranonce.iter_mut().rev().zip(number.iter().rev()) {
                    *to = *from;
                }
                (merkle_root(&[head, &extranonce, tail], path), extranonce)
            }
        };
        let header = Header {
            version: task.version ^ self.version_flip,
            prev_hash: task.prev_hash,
            merkle_root: root,
            ntime: task.min_ntime.wrapping_add(self.ntime_offset),
            nbits: task.nbits,
            nonce: self.nonce,
        };
        (header, extranonce)
    }
}

/// One thread's way through the space. It lives as long as the thread: a task that differs only in
/// job id or target continues where the last one stopped, so that no header is hashed (and no
/// share submitted) twice.
#[derive(Debug)]
pub struct Cursor {
    thread: u64,
    threads: u64,
    step: u64,
    last: Option<Ground>,
}

/// The part of a task that decides which headers its passes stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ground {
    prev_hash: [u8; 32],
    version: u32,
    rolling: bool,
    base: Base,
    min_ntime: u32,
}

impl Cursor {
    /// For thread number `thread` (from 0) of `threads`.
    pub fn new(thread: usize, threads: usize) -> Self {
        Self { thread: thread as u64, threads: threads as u64, step: 0, last: None }
    }

    /// Turns to `task`: from the start if its headers are new, else onward.
    pub fn turn_to(&mut self, task: &Task) {
        let ground = Ground {
            prev_hash: task.prev_hash,
            version: task.version,
            rolling: task.rolling,
            base: task.base.clone(),
            min_ntime: task.min_ntime,
        };
        let reached = self.last.as_ref().map(|last| {
            let pass = self.pass_at(self.step, &last.base, last.rolling);
            last.min_ntime.saturating_add(pass.ntime_offset)
        });
        let same = self.last.as_ref().is_some_and(|last| {
            let moved = Ground { min_ntime: last.min_ntime, ..ground.clone() };
            // With a later time the headers differ as soon as it lies past every time used.
            moved == *last && reached.is_some_and(|at| ground.min_ntime <= at)
        });
        if !same {
            self.step = 0;
        }
        self.last = Some(ground);
    }

    /// The next pass of this thread, without taking it.
    pub fn peek(&self, task: &Task) -> Pass {
        self.pass_at(self.step, &task.base, task.rolling)
    }

    /// Takes the pass that [`Self::peek`] shows.
    pub fn advance(&mut self) {
        self.step += 1;
    }

    fn pass_at(&self, step: u64, base: &Base, rolling: bool) -> Pass {
        let number = step.wrapping_mul(self.threads).wrapping_add(self.thread);
        Pass::nth(number, extranonce_bits(base), rolling)
    }
}

fn extranonce_bits(base: &Base) -> u32 {
    match base {
        Base::Root(_) => 0,
        Base::Coinbase { extranonce_size, .. } => u32::try_from(*extranonce_size * 8)
            .map_or(MAX_EXTRANONCE_BITS, |bits| bits.min(MAX_EXTRANONCE_BITS)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Instant;

    use super::*;
    use crate::miner::target::Target;
    use crate::miner::work::VERSION_MASK;

    fn task(base: Base, rolling: bool) -> Task {
        Task {
            epoch: 1,
            job_id: 1,
            version: 0x2000_0010,
            rolling,
            prev_hash: [1; 32],
            nbits: 0x207f_ffff,
            min_ntime: 1000,
            since: Instant::now(),
            base,
            target: Target::EASIEST,
            network: Target::NEVER,
        }
    }

    fn coinbase(extranonce_size: usize) -> Base {
        Base::Coinbase { head: vec![1], tail: vec![2], path: Vec::new(), extranonce_size }
    }

    #[test]
    fn passes_never_repeat() {
        for bits in [0, 8, 16] {
            for rolling in [false, true] {
                let around = 1_u64 << (bits + if rolling { VERSION_BITS } else { 0 });
                let starts = [0, around, around << NONCE_HIGH_BITS];
                let numbers: HashSet<_> = starts.iter().flat_map(|s| *s..*s + 5000).collect();
                let passes: HashSet<_> =
                    numbers.iter().map(|n| Pass::nth(*n, bits, rolling)).collect();
                assert_eq!(passes.len(), numbers.len(), "{bits} {rolling}");
            }
        }
    }

    #[test]
    fn rolls_only_the_bits_of_the_mask_and_only_when_allowed() {
        let mut union = 0;
        for n in (0..1 << 24).step_by(997) {
            let pass = Pass::nth(n, 0, true);
            assert_eq!(pass.version_flip & !VERSION_MASK, 0);
            union |= pass.version_flip;
            assert_eq!(Pass::nth(n, 0, false).version_flip, 0);
        }
        assert_eq!(union, VERSION_MASK);
        let (header, _) = Pass::nth(1, 0, true).header(&task(Base::Root([0; 32]), true));
        assert_eq!(header.version, 0x2000_0030);
    }

    #[test]
    fn ntime_moves_only_when_everything_else_is_used_up() {
        assert_eq!(Pass::nth((1 << 12) - 1, 0, false).ntime_offset, 0);
        assert_eq!(Pass::nth(1 << 12, 0, false).ntime_offset, 1);
        assert_eq!(Pass::nth((1 << 36) - 1, 0, true).ntime_offset, 0);
        assert_eq!(Pass::nth(1 << 36, 0, true).ntime_offset, 1);
        assert_eq!(Pass::nth(u64::MAX, 40, true).ntime_offset, 0);
        assert_eq!(Pass::nth(u64::MAX, 0, false).ntime_offset, u32::MAX);
    }

    #[test]
    fn extranonce_has_exactly_the_channels_size() {
        for (size, want) in [(0, vec![]), (2, vec![0, 5]), (11, vec![0; 11])] {
            let (_, extranonce) = Pass::nth(5, 0, true).header(&task(coinbase(size), true));
            assert_eq!(extranonce.len(), want.len());
        }
        let (first, extranonce) = Pass::nth(5, 16, true).header(&task(coinbase(2), true));
        assert_eq!(extranonce, [0, 5]);
        let (second, _) = Pass::nth(6, 16, true).header(&task(coinbase(2), true));
        assert_ne!(first.merkle_root, second.merkle_root);
        assert_eq!(first.merkle_root, merkle_root(&[&[1], &[0, 5], &[2]], &[]));
    }

    #[test]
    fn threads_never_meet_and_a_reissued_job_is_continued() {
        let mut seen = HashSet::new();
        let first = task(Base::Root([7; 32]), false);
        let reissued = Task { job_id: 2, target: Target::NEVER, ..first.clone() };
        let mut cursors = [Cursor::new(0, 3), Cursor::new(1, 3), Cursor::new(2, 3)];
        for task in [&first, &reissued, &first] {
            for cursor in &mut cursors {
                cursor.turn_to(task);
                for _ in 0..50 {
                    assert!(seen.insert(cursor.peek(task)));
                    cursor.advance();
                }
            }
        }
        let mut cursor = Cursor::new(1, 3);
        cursor.turn_to(&first);
        let start = cursor.peek(&first);
        cursor.advance();
        let fresh = task(Base::Root([8; 32]), false);
        cursor.turn_to(&fresh);
        assert_eq!(cursor.peek(&fresh), start, "new headers start at the beginning");
    }

    #[test]
    fn a_later_time_starts_afresh_only_past_the_times_already_used() {
        let at = |min_ntime| Task { min_ntime, ..task(Base::Root([7; 32]), false) };
        let mut cursor = Cursor::new(0, 1);
        cursor.turn_to(&at(1000));
        for _ in 0..(1 << 12) + 1 {
            cursor.advance();
        }
        assert_eq!(cursor.peek(&at(1000)).ntime_offset, 1);
        let mut overlap = Cursor { step: cursor.step, last: cursor.last.clone(), ..cursor };
        overlap.turn_to(&at(1001));
        assert_ne!(overlap.step, 0, "1001 was used already");
        cursor.turn_to(&at(1002));
        assert_eq!(cursor.step, 0);
    }
}
