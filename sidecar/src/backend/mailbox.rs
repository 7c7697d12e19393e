//! What waits for one connection. An empty one holds no memory but itself: there are as many as
//! miners, and most of them wait all the time. What it needs meanwhile it has from those that were
//! emptied before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Event;

/// Pieces of memory that are kept for mailboxes.
const SPARES_MAX: usize = 512;
/// Events for which there is room in all of them together.
const SPARE_EVENTS_MAX: usize = 8_192;

/// Memory of mailboxes that were emptied, for those that something comes for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Spares(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    spares: Vec<Vec<Event>>,
    /// For how many events they have room.
    events: usize,
}

impl Spares {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it is held, and it is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Event> {
        let mut kept = self.lock();
        let spare = kept.spares.pop().unwrap_or_default();
        kept.events -= spare.capacity();
        spare
    }

    fn give_back(&self, mut spare: Vec<Event>) {
        spare.clear();
        let mut kept = self.lock();
        let fits = kept.events + spare.capacity() <= SPARE_EVENTS_MAX;
        if fits && spare.capacity() > 0 && kept.spares.len() < SPARES_MAX {
            kept.events += spare.capacity();
            kept.spares.push(spare);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    /// The highest seq of a job put in so far.
    newest: u64,
    /// Nothing comes any more.
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    /// Held for a push or a swap.
    state: Mutex<State>,
    capacity: usize,
    wake: Notify,
    spares: Spares,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and it is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, state: &mut State, event: Event, capacity: usize) -> bool {
        let seq = match &event {
            Event::Opened { job, .. } | Event::Job { job, .. } => job.seq,
            _ => 0,
        };
        if state.events.len() >= capacity {
            return false;
        }
        if state.events.capacity() == 0 {
            state.events = self.spares.take();
        }
        state.events.push(event);
        state.newest = state.newest.max(seq);
        true
    }
}

/// The link's end. Dropped, the mailbox ends after what is in it.
#[derive(Debug)]
pub(super) struct Slot(Arc<Shared>);

impl Slot {
    /// Puts an event in while less than half is taken, so that it is never the one for which
    /// another has no room; never waits. false: it was not put in.
    pub(super) fn offer(&self, event: Event) -> bool {
        self.add(event, self.0.capacity / 2)
    }

    /// Puts an event in; never waits. false: it is full.
    pub(super) fn put(&self, event: Event) -> bool {
        self.add(event, self.0.capacity)
    }

    /// Puts events in as long as there is room. false: there was none for one of them.
    pub(super) fn put_all(&self, mut events: impl Iterator<Item = Event>) -> bool {
        let fit = {
            let mut state = self.0.lock();
            events.all(|event| self.0.push(&mut state, event, self.0.capacity))
        };
        self.0.wake.notify_one();
        fit
    }

    fn add(&self, event: Event, capacity: usize) -> bool {
        let fits = self.0.push(&mut self.0.lock(), event, capacity);
        if fits {
            self.0.wake.notify_one();
        }
        fits
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.wake.notify_one();
    }
}

/// The connection's end: one task waits at it and empties it.
#[derive(Debug)]
pub struct Mailbox(Arc<Shared>);

impl Mailbox {
    /// Room for `capacity` events, at least one.
    pub(super) fn new(capacity: usize, spares: Spares) -> (Slot, Self) {
        let (state, wake) = (Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { state, capacity: capacity.max(1), wake, spares });
        (Slot(Arc::clone(&shared)), Self(shared))
    }

    /// Waits until something is in it, or it has ended. Cancelled, it loses nothing.
    pub async fn ready(&self) {
        loop {
            {
                let state = self.0.lock();
                if !state.events.is_empty() || state.ended {
                    return;
                }
            }
            // One that came meanwhile left its mark.
            self.0.wake.notified().await;
        }
    }

    /// Takes all that is in it, in order, and the highest seq of a job that was ever in it.
    #[must_use]
    pub fn take(&self) -> (Vec<Event>, u64) {
        let mut state = self.0.lock();
        (std::mem::take(&mut state.events), state.newest)
    }

    /// Takes back the memory of events that were taken.
    pub fn reuse(&self, events: Vec<Event>) {
        self.0.spares.give_back(events);
    }

    /// Whether something is in it.
    #[must_use]
    pub fn has_some(&self) -> bool {
        !self.0.lock().events.is_empty()
    }

    /// Whether nothing comes any more: the connection was too slow to empty it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.lock().ended
    }

    /// Waits for the next event alone; `None` at the end.
    #[cfg(test)]
    pub(crate) async fn recv(&mut self) -> Option<Event> {
        self.ready().await;
        self.try_recv().ok()
    }

    /// The next event alone, if there is one.
    #[cfg(test)]
    pub(crate) fn try_recv(&mut self) -> Result<Event, ()> {
        let events = &mut self.0.lock().events;
        if events.is_empty() {
            return Err(());
        }
        Ok(events.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wakes_who_waits_for_what_comes_and_for_the_end() {
        let (slot, mailbox) = Mailbox::new(3, Spares::default());
        let waiting = tokio::spawn(async move {
            let mut all = Vec::new();
            loop {
                mailbox.ready().await;
                let (events, _) = mailbox.take();
                if events.is_empty() {
                    return (all, mailbox.has_ended());
                }
                all.extend(events);
            }
        });
        for _ in 0..3 {
            tokio::task::yield_now().await;
            assert!(slot.put(Event::LinkLost));
        }
        drop(slot);
        assert_eq!(waiting.await.unwrap(), (vec![Event::LinkLost; 3], true));
    }

    #[test]
    fn holds_no_more_than_it_may_and_nothing_once_it_is_emptied() {
        let (slot, mailbox) = Mailbox::new(2, Spares::default());
        assert!(slot.put(Event::LinkLost) && slot.put(Event::LinkLost));
        assert!(!slot.put(Event::LinkLost));
        assert_eq!(mailbox.take().0.len(), 2);
        assert_eq!(mailbox.0.lock().events.capacity(), 0);
        assert!(!mailbox.has_some() && !mailbox.has_ended() && slot.put(Event::LinkLost));
    }

    #[test]
    fn the_memory_of_what_was_taken_serves_whoever_is_next_and_has_a_bound() {
        let spares = Spares::default();
        let (slot, mailbox) = Mailbox::new(9, spares.clone());
        let (next, other) = Mailbox::new(9, spares.clone());
        assert!(slot.put_all((0..5).map(|_| Event::LinkLost)));
        let (events, _) = mailbox.take();
        let memory = events.as_ptr();
        mailbox.reuse(events);
        assert!(next.put(Event::LinkLost));
        let (events, _) = other.take();
        assert_eq!((events.as_ptr(), events.len()), (memory, 1));
        for capacity in [SPARE_EVENTS_MAX, 1, SPARE_EVENTS_MAX + 1, 0] {
            spares.give_back(Vec::with_capacity(capacity));
        }
        assert_eq!(spares.lock().events, SPARE_EVENTS_MAX);
        assert_eq!(spares.take().capacity(), SPARE_EVENTS_MAX);
        for _ in 0..=SPARES_MAX {
            spares.give_back(Vec::with_capacity(1));
        }
        let kept = spares.lock();
        assert!(kept.spares.len() <= SPARES_MAX && kept.events <= SPARE_EVENTS_MAX);
    }
}
