//! Mailboxes of the attached connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mailbox::{Mailbox, Slot, Spares};
use super::{Event, Judged};
use crate::types::{ConnId, TargetLimits};

#[derive(Debug, Default)]
struct Inner {
    mailboxes: HashMap<ConnId, Slot>,
    limits: Option<TargetLimits>,
}

/// Where events for a connection go. Shared by the link and the connections' tasks; its lock is
/// held for a look-up and a push that can't block.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    inner: Arc<Mutex<Inner>>,
    spares: Spares,
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held, and the map is whole between any two statements.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attach(&self, conn: ConnId, capacity: usize) -> (Mailbox, Option<TargetLimits>) {
        let (slot, mailbox) = Mailbox::new(capacity, self.spares.clone());
        let mut inner = self.lock();
        inner.mailboxes.insert(conn, slot);
        (mailbox, inner.limits)
    }

    pub(super) fn detach(&self, conn: ConnId) {
        self.lock().mailboxes.remove(&conn);
    }

    pub(super) fn limits(&self) -> Option<TargetLimits> {
        self.lock().limits
    }

    /// Puts an event into a connection's mailbox. A connection whose mailbox is full is cut off:
    /// its mailbox ends after what is in it. Returns whether it was delivered.
    pub fn deliver(&self, conn: ConnId, event: Event) -> bool {
        let mut inner = self.lock();
        let Some(slot) = inner.mailboxes.get(&conn) else { return false };
        let delivered = slot.put(event);
        if !delivered {
            inner.mailboxes.remove(&conn);
        }
        delivered
    }

    /// Puts verdicts into the mailboxes of their connections, as [`Directory::deliver`] does.
    pub(super) fn judged(&self, mut judged: &[Judged]) {
        let mut inner = self.lock();
        while let Some(first) = judged.first() {
            let conn = first.channel.conn();
            let run = judged.iter().take_while(|next| next.channel.conn() == conn).count();
            let (these, rest) = judged.split_at(run);
            judged = rest;
            let Some(slot) = inner.mailboxes.get(&conn) else { continue };
            if !slot.put_all(these.iter().copied().map(Event::Verdict)) {
                inner.mailboxes.remove(&conn);
            }
        }
    }

    /// Puts an event into a connection's mailbox that it can do without: when much waits there
    /// already, nothing happens. Returns whether it was delivered.
    pub(super) fn offer(&self, conn: ConnId, event: Event) -> bool {
        self.lock().mailboxes.get(&conn).is_some_and(|slot| slot.offer(event))
    }

    /// The link is up: new and present connections may open channels.
    pub fn link_up(&self, limits: TargetLimits) {
        self.set_limits(Some(limits), &Event::LinkUp(limits));
    }

    /// The pool is away: who comes now can't open channels.
    pub(super) fn link_down(&self) {
        self.lock().limits = None;
    }

    /// The pool is away for good: every connection is told.
    pub fn link_lost(&self) {
        self.set_limits(None, &Event::LinkLost);
    }

    fn set_limits(&self, limits: Option<TargetLimits>, event: &Event) {
        let mut inner = self.lock();
        inner.limits = limits;
        inner.mailboxes.retain(|_, slot| slot.put(event.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_mailbox_ends_only_its_own_connection() {
        let directory = Directory::default();
        let (mut slow, ..) = directory.attach(ConnId(1), 2);
        let (mut quick, ..) = directory.attach(ConnId(2), 8);
        for _ in 0..3 {
            directory.deliver(ConnId(1), Event::LinkLost);
            assert!(directory.deliver(ConnId(2), Event::LinkLost));
        }
        assert_eq!(slow.recv().await, Some(Event::LinkLost));
        assert_eq!(slow.recv().await, Some(Event::LinkLost));
        assert_eq!(slow.recv().await, None, "cut off after what was in it");
        assert_eq!(quick.recv().await, Some(Event::LinkLost));
        assert!(!directory.deliver(ConnId(1), Event::LinkLost));
    }

    #[tokio::test]
    async fn offers_never_cut_a_connection_off() {
        let directory = Directory::default();
        let (mut slow, ..) = directory.attach(ConnId(1), 4);
        let offered: Vec<_> = (0..9).map(|_| directory.offer(ConnId(1), Event::LinkLost)).collect();
        assert_eq!(offered, [true, true, false, false, false, false, false, false, false]);
        for _ in 0..2 {
            assert!(directory.deliver(ConnId(1), Event::LinkLost), "its room is still there");
        }
        for _ in 0..4 {
            assert_eq!(slow.recv().await, Some(Event::LinkLost));
        }
        assert!(!slow.has_ended());
        assert!(!directory.offer(ConnId(2), Event::LinkLost), "nobody is there");
    }
}
