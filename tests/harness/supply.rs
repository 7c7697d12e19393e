//! Shares found ahead, so that finding them is no part of what is measured.

use std::sync::Arc;

use gopool_sv2::miner::header::{Header, NonceScan};
use gopool_sv2::miner::space::Pass;
use gopool_sv2::miner::target::display_order;
use gopool_sv2::miner::work::{Base, Task};

use crate::Result;

/// Hashes tried for one share before that is given up: some minutes of a core.
const MAX_HASHES: u64 = 1 << 30;

/// A share as it is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'a> {
    /// The job.
    pub job_id: u32,
    /// nVersion of the header.
    pub version: u32,
    /// nTime of the header.
    pub ntime: u32,
    /// nonce of the header.
    pub nonce: u32,
    /// The miner's part of the extranonce; empty on a standard channel.
    pub extranonce: &'a [u8],
}

/// Shares of one job: real ones, each once, and none that is a block (that would change the tip
/// under everybody).
pub struct Supply {
    task: Arc<Task>,
    header: Header,
    extranonce: Vec<u8>,
    scan: NonceScan,
    /// The first nonce that was not tried yet.
    next: u32,
    tried: u64,
    /// Found and not handed out, the next one last.
    nonces: Vec<u32>,
    /// How many had to be found when they were wanted.
    late: u64,
}

impl Supply {
    /// Shares of `task`. `seed`: random, so that what is begun anew on the same job repeats no
    /// share; picks the extranonce, and the first nonce where there is none.
    #[must_use]
    pub fn new(task: Arc<Task>, seed: u64) -> Self {
        let bits = match task.base {
            Base::Root(_) => 0,
            Base::Coinbase { extranonce_size, .. } => (extranonce_size * 8).min(63),
        };
        let extranonce = seed & ((1 << bits) - 1);
        let pass = Pass { extranonce, version_flip: 0, nonce: 0, ntime_offset: 0 };
        let (header, extranonce) = pass.header(&task);
        let scan = NonceScan::new(&header);
        let next = (seed >> 32) as u32;
        Self { task, header, extranonce, scan, next, tried: 0, nonces: Vec::new(), late: 0 }
    }

    /// Finds shares until `count` are there.
    ///
    /// # Errors
    /// The target is too hard for a CPU, or the nonces are used up.
    pub fn stock(&mut self, count: usize) -> Result<()> {
        // Handed out from the end: turned, so that those found first go first.
        self.nonces.reverse();
        while self.nonces.len() < count {
            let nonce = self.find()?;
            self.nonces.push(nonce);
        }
        self.nonces.reverse();
        Ok(())
    }

    /// The next share.
    ///
    /// # Errors
    /// As [`Supply::stock`], when none is left.
    pub fn share(&mut self) -> Result<Share<'_>> {
        let nonce = match self.nonces.pop() {
            Some(nonce) => nonce,
            None => {
                self.late += 1;
                self.find()?
            }
        };
        Ok(Share {
            job_id: self.task.job_id,
            version: self.header.version,
            ntime: self.header.ntime,
            nonce,
            extranonce: &self.extranonce,
        })
    }

    /// The next share and its hash, as explorers print it.
    ///
    /// # Errors
    /// As [`Supply::share`].
    pub fn share_and_hash(&mut self) -> Result<(Share<'_>, String)> {
        let header = self.header.clone();
        let share = self.share()?;
        let hash = Header { nonce: share.nonce, ..header }.hash();
        Ok((share, display_order(&hash)))
    }

    /// The first nonce that was not tried yet: where to go on when only the target changes. Seed
    /// of such a supply: this, shifted by 32 bits to the left.
    #[must_use]
    pub const fn next_nonce(&self) -> u32 {
        self.next
    }

    /// How many shares had to be found in the moment they were wanted.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    fn find(&mut self) -> Result<u32> {
        let (from, target) = (self.tried, self.task.target);
        while self.tried - from < MAX_HASHES && self.tried <= u64::from(u32::MAX) {
            let (tried, found) = self.scan.search(self.next, 1 << 16, &target);
            self.next = self.next.wrapping_add(tried);
            self.tried += u64::from(tried);
            match found {
                Some((nonce, hash)) if !self.task.network.is_met_by(&hash) => return Ok(nonce),
                _ => {}
            }
        }
        let difficulty = target.difficulty();
        Err(format!(
            "no share of difficulty {difficulty:.3e} in {} hashes: make the pool's easiest \
             target easier, or give a lower --hash-rate",
            self.tried - from
        )
        .into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use gopool_sv2::miner::target::Target;

    use super::*;

    fn task(base: Base, share: u8, network: u8) -> Arc<Task> {
        let top = |byte| {
            let mut target = [0xff; 32];
            target[31] = byte;
            Target::from_le_bytes(target)
        };
        Arc::new(Task {
            epoch: 0,
            job_id: 7,
            version: 0x2000_0000,
            rolling: true,
            prev_hash: [1; 32],
            nbits: 0x207f_ffff,
            min_ntime: 1_790_000_000,
            since: Instant::now(),
            base,
            target: top(share),
            network: top(network),
        })
    }

    fn header(task: &Task, share: &Share<'_>) -> Header {
        let merkle_root = match &task.base {
            Base::Root(root) => *root,
            Base::Coinbase { head, tail, path, .. } => {
                gopool_sv2::miner::header::merkle_root(&[head, share.extranonce, tail], path)
            }
        };
        let (version, ntime, nonce) = (share.version, share.ntime, share.nonce);
        let (prev_hash, nbits) = (task.prev_hash, task.nbits);
        Header { version, prev_hash, merkle_root, ntime, nbits, nonce }
    }

    #[test]
    fn hands_out_real_shares_each_once_and_no_block() {
        let base = Base::Coinbase {
            head: vec![1; 60],
            tail: vec![2; 60],
            path: vec![[3; 32]],
            extranonce_size: 8,
        };
        for base in [base, Base::Root([4; 32])] {
            let task = task(base, 0x3f, 0x0f);
            let mut supply = Supply::new(Arc::clone(&task), u64::MAX - 5);
            supply.stock(200).unwrap();
            let mut nonces = BTreeSet::new();
            for _ in 0..300 {
                let share = supply.share().unwrap();
                let hash = header(&task, &share).hash();
                assert!(task.target.is_met_by(&hash) && !task.network.is_met_by(&hash));
                assert!(nonces.insert(share.nonce), "nonce {} twice", share.nonce);
            }
            assert_eq!(supply.late(), 100);
        }
    }

    #[test]
    fn other_seeds_give_other_extranonces() {
        let base =
            Base::Coinbase { head: vec![1], tail: vec![2], path: Vec::new(), extranonce_size: 4 };
        let task = task(base, 0xff, 0);
        let mut seen = BTreeSet::new();
        for seed in [1, 2, 1 << 31] {
            let mut supply = Supply::new(Arc::clone(&task), seed);
            let share = supply.share().unwrap();
            assert_eq!(share.extranonce.len(), 4);
            assert!(seen.insert(share.extranonce.to_vec()));
        }
    }
}
