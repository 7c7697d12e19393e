//! What the pool has told before. It tells some of it again: every channel that opens gets the work
//! that is there, and after a break of the stream comes what may have been lost with it.

use std::collections::VecDeque;

use crate::types::{ChannelKey, Hash, Job};

/// Results and candidates that are remembered; the contract has a pool repeat those of some
/// seconds.
const BLOCKS: usize = 256;
/// Templates that are: the one in use, and those that jobs under way may be of.
const TEMPLATES: usize = 8;

/// The newest of something.
#[derive(Debug)]
struct Recent<T> {
    newest: VecDeque<T>,
    most: usize,
}

impl<T: PartialEq> Recent<T> {
    const fn new(most: usize) -> Self {
        Self { newest: VecDeque::new(), most }
    }

    /// Remembers it; whether it is new.
    fn is_new(&mut self, one: T) -> bool {
        if self.newest.contains(&one) {
            return false;
        }
        if self.newest.len() >= self.most {
            self.newest.pop_front();
        }
        self.newest.push_back(one);
        true
    }
}

/// What of a job is its template's. Coinbase and times may be each channel's own; in a block
/// without transactions the time is all that a newer template has.
#[derive(Debug, PartialEq, Eq)]
struct Template {
    prev_hash: Hash,
    merkle_path: Vec<Hash>,
    min_ntime: Option<u32>,
}

/// What the pool has told.
#[derive(Debug)]
pub(super) struct Seen {
    templates: Recent<Template>,
    tip: Option<Hash>,
    results: Recent<(ChannelKey, Hash, Option<bool>)>,
    candidates: Recent<Hash>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            templates: Recent::new(TEMPLATES),
            tip: None,
            results: Recent::new(BLOCKS),
            candidates: Recent::new(BLOCKS),
        }
    }
}

impl Seen {
    /// Whether a job is new work, and not that of before for another channel or target; if so,
    /// whether it builds on another block.
    pub(super) fn work(&mut self, job: &Job) -> Option<bool> {
        let (prev_hash, merkle_path) = (job.prev_hash, job.merkle_path.clone());
        let min_ntime = merkle_path.is_empty().then_some(job.min_ntime);
        let new = self.templates.is_new(Template { prev_hash, merkle_path, min_ntime });
        new.then(|| self.tip.replace(prev_hash) != Some(prev_hash))
    }

    /// Whether that was not told of this block yet.
    pub(super) fn result(&mut self, channel: ChannelKey, hash: Hash, fate: Option<bool>) -> bool {
        self.results.is_new((channel, hash, fate))
    }

    /// Whether this block candidate is new.
    pub(super) fn candidate(&mut self, hash: Hash) -> bool {
        self.candidates.is_new(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_newest_and_no_more() {
        let mut seen = Recent::new(3);
        let new = [1, 2, 3, 1, 4, 1].map(|one| seen.is_new(one));
        assert_eq!(new, [true, true, true, false, true, true], "1 went when 4 came");
        assert_eq!(seen.newest, [3, 4, 1]);
    }
}
