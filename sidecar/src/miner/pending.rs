//! Submits without an answer.

use std::collections::BTreeMap;

/// The submits of one channel that wait for their answer, by sequence number.
#[derive(Debug, Default)]
pub struct Pending {
    /// Whether the share is a block too.
    open: BTreeMap<u32, bool>,
}

/// What a `SubmitShares.Success` settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Submits now accepted.
    pub accepted: u64,
    /// Blocks among them.
    pub blocks: u64,
    /// The server's count was another than that of the submits open up to its sequence number.
    pub mismatch: bool,
}

impl Pending {
    /// Notes a submit.
    pub fn submitted(&mut self, sequence: u32, block: bool) {
        self.open.insert(sequence, block);
    }

    /// Takes a Success: `last` is the newest accepted sequence number, `count` how many submits
    /// the batch accepts (SV2 specification, section 5.3.13). All open submits up to `last` ought
    /// to be in it, since refused ones were answered by then. If the server counts fewer, the
    /// newest are taken as accepted and the others stay open; if it counts more, nothing is
    /// accepted that was not submitted.
    pub fn accepted(&mut self, last: u32, count: u32) -> Settled {
        let up_to: Vec<u32> = self.open.range(..=last).rev().map(|(seq, _)| *seq).collect();
        let taken = up_to.len().min(count as usize);
        let blocks =
            up_to.iter().take(taken).filter(|seq| self.open.remove(seq) == Some(true)).count();
        Settled {
            accepted: taken as u64,
            blocks: blocks as u64,
            mismatch: up_to.len() as u64 != u64::from(count),
        }
    }

    /// Takes an Error; false when no such submit is open.
    pub fn rejected(&mut self, sequence: u32) -> bool {
        self.open.remove(&sequence).is_some()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sequences: &[u32]) -> Pending {
        let mut pending = Pending::default();
        sequences.iter().for_each(|seq| pending.submitted(*seq, *seq == 3));
        pending
    }

    #[test]
    fn a_success_settles_its_batch_and_nothing_later() {
        let mut pending = with(&[1, 2, 3, 4]);
        let want = Settled { accepted: 3, blocks: 1, mismatch: false };
        assert_eq!(pending.accepted(3, 3), want);
        assert_eq!(pending.len(), 1);
        assert_eq!(pending.accepted(4, 1).accepted, 1);
        assert!(pending.is_empty());
    }

    #[test]
    fn an_error_takes_its_submit_out_of_the_batch() {
        let mut pending = with(&[1, 2, 3]);
        assert!(pending.rejected(2));
        assert!(!pending.rejected(2));
        assert!(!pending.rejected(99));
        assert_eq!(pending.accepted(3, 2), Settled { accepted: 2, blocks: 1, mismatch: false });
    }

    #[test]
    fn rejects_a_count_greater_than_what_was_submitted() {
        let mut pending = with(&[1, 2]);
        assert_eq!(
            pending.accepted(9, u32::MAX),
            Settled { accepted: 2, blocks: 0, mismatch: true }
        );
        assert_eq!(pending.accepted(9, 2), Settled { accepted: 0, blocks: 0, mismatch: true });
    }

    #[test]
    fn a_short_count_leaves_the_older_ones_unanswered() {
        let mut pending = with(&[1, 2, 3]);
        assert_eq!(pending.accepted(3, 1), Settled { accepted: 1, blocks: 1, mismatch: true });
        assert_eq!(pending.len(), 2);
        assert!(pending.rejected(1));
    }
}
