//! Places that several connections share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Places for something that many connections hold. Clones share them; any thread may take and
/// leave. By default there is no end of them.
#[derive(Debug, Clone, Default)]
pub struct Seats {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Seats {
    /// `max` places; 0: there is no end of them.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// Takes a place; `None` when all are taken.
    #[must_use]
    pub fn take(&self) -> Option<Seat> {
        // The count guards nothing but itself.
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(&self.taken));
        (self.max == 0 || before < self.max).then_some(seat)
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_once_it_is_dropped() {
        let seats = Seats::new(2);
        let others = seats.clone();
        let first = seats.take().unwrap();
        let second = others.take().unwrap();
        assert!(seats.take().is_none() && others.take().is_none());
        assert_eq!(seats.taken(), 2, "who got none holds none");
        drop(first);
        assert!(others.take().is_some());
        drop(second);
        assert_eq!(seats.taken(), 0);
    }

    #[test]
    fn zero_is_no_limit() {
        let seats = Seats::default();
        let all: Vec<_> = (0..1_000).map(|_| seats.take().unwrap()).collect();
        assert_eq!(seats.taken(), all.len());
    }
}
