//! Submits that wait for the pool's verdict. Pure.

use std::collections::HashMap;

use crate::types::{ChannelKey, Submit};

/// A submit on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The channel it came on.
    pub channel: ChannelKey,
    /// The channel's name of it.
    pub token: u64,
    /// What was sent, to send it again when a stream breaks.
    pub submit: Submit,
}

/// The table of submits in flight: each gets an id that is never used twice in a session, and is
/// taken out by exactly one verdict.
#[derive(Debug)]
pub struct InFlight {
    next_id: u64,
    capacity: usize,
    waiting: HashMap<u64, Sent>,
}

impl InFlight {
    /// `capacity`: most submits that wait at a time; told to the pool, whose ring must hold as
    /// many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { next_id: 1, capacity, waiting: HashMap::new() }
    }

    /// How many more may be sent.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.waiting.len())
    }

    /// Takes a submit in and gives it its id; `None` when the table is full.
    pub fn insert(&mut self, sent: Sent) -> Option<u64> {
        if self.room() == 0 {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.insert(id, sent);
        Some(id)
    }

    /// A verdict came: hands out whom it is for. `None` for an id that doesn't wait (any more).
    pub fn take(&mut self, id: u64) -> Option<Sent> {
        self.waiting.remove(&id)
    }

    /// Empties the table, in the order the submits were sent.
    pub fn take_all(&mut self) -> Vec<(u64, Sent)> {
        let mut all: Vec<_> = self.waiting.drain().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::types::ConnId;

    fn sent(token: u64) -> Sent {
        let submit = Submit {
            job_id: 1,
            nonce: 0,
            ntime: 0,
            version: 0,
            extranonce: Bytes::new(),
            worker: Bytes::new(),
            would_refuse: None,
        };
        Sent { channel: ChannelKey::new(ConnId(1), 1).unwrap(), token, submit }
    }

    proptest! {
        /// Against a plain list: ids rise, each is taken once, the bound holds.
        #[test]
        fn each_submit_is_taken_exactly_once(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let mut table = InFlight::new(8);
            let mut model: Vec<(u64, u64)> = Vec::new();
            let (mut last, mut token) = (0, 0);
            for (send, which) in steps {
                if send {
                    token += 1;
                    match table.insert(sent(token)) {
                        Some(id) => {
                            prop_assert_eq!(id, last + 1);
                            last = id;
                            model.push((id, token));
                        }
                        None => prop_assert_eq!(model.len(), 8),
                    }
                } else if !model.is_empty() {
                    let (id, token) = model.swap_remove(which.index(model.len()));
                    prop_assert_eq!(table.take(id).map(|s| s.token), Some(token));
                    prop_assert_eq!(table.take(id), None);
                }
                prop_assert_eq!(table.room(), 8 - model.len());
            }
            model.sort_unstable();
            let left: Vec<_> = table.take_all().into_iter().map(|(id, s)| (id, s.token)).collect();
            prop_assert_eq!(left, model);
        }
    }
}
