//! Every bounded place where something waits: how full it is, how full it was, and how often it had
//! no room. Counted with atomics: any thread, at the cost of an addition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// A bounded place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Connections of miners. No room: closed as it came.
    Connections,
    /// What connections have for the pool, all together. No room: that connection's socket isn't
    /// read until there is.
    Commands,
    /// Submits that wait for a verdict, of all connections. No room: nothing is taken from
    /// [`Place::Commands`].
    InFlight,
    /// Submits that wait for an answer, of one connection. No room: its socket isn't read.
    Unanswered,
    /// What the pool has for one connection. No room: the connection is closed.
    Mailbox,
    /// What waits to be written to one connection. No room for too long: it is closed.
    Outbox,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 6] = [
        Self::Connections,
        Self::Commands,
        Self::InFlight,
        Self::Unanswered,
        Self::Mailbox,
        Self::Outbox,
    ];

    /// The name in logs and statistics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Commands => "commands",
            Self::InFlight => "in-flight",
            Self::Unanswered => "unanswered",
            Self::Mailbox => "mailbox",
            Self::Outbox => "outbox",
        }
    }

    /// The setting that bounds it; empty: fixed.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Connections => "[listen].max_connections",
            Self::Commands => "",
            Self::InFlight => "[limits].max_in_flight",
            Self::Unanswered => "[limits].max_in_flight_per_connection",
            Self::Mailbox => "[limits].mailbox_events",
            Self::Outbox => "[limits].outbox_bytes",
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    depth: AtomicU64,
    peak: AtomicU64,
    full: AtomicU64,
}

/// How a place stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Which.
    pub place: Place,
    /// How much waits there; of places that each connection has, 0.
    pub depth: u64,
    /// The most that ever waited there.
    pub peak: u64,
    /// How often there was no room, since the start.
    pub full: u64,
}

/// The counts of all places. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Bounds(Arc<[Counts; Place::ALL.len()]>);

impl Bounds {
    /// This much waits there now.
    pub fn depth(&self, place: Place, depth: usize) {
        let counts = &self.0[place as usize];
        let depth = depth as u64;
        // Written only when it changes: the line stays in the caches of others.
        if counts.depth.load(Ordering::Relaxed) != depth {
            counts.depth.store(depth, Ordering::Relaxed);
            if counts.peak.load(Ordering::Relaxed) < depth {
                counts.peak.fetch_max(depth, Ordering::Relaxed);
            }
        }
    }

    /// There was no room.
    pub fn full(&self, place: Place) {
        self.0[place as usize].full.fetch_add(1, Ordering::Relaxed);
    }

    /// How a place stands.
    #[must_use]
    pub fn read(&self, place: Place) -> Reading {
        let counts = &self.0[place as usize];
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Reading {
            place,
            depth: read(&counts.depth),
            peak: read(&counts.peak),
            full: read(&counts.full),
        }
    }
}

/// Tells the log which places had no room since it was told last.
#[derive(Debug, Default)]
pub struct Teller([u64; Place::ALL.len()]);

impl Teller {
    /// Tells what is new, a line for each place.
    pub fn tell(&mut self, bounds: &Bounds) {
        for place in Place::ALL {
            let reading = bounds.read(place);
            let times = reading.full - std::mem::replace(&mut self.0[place as usize], reading.full);
            if times > 0 {
                let (name, setting) = (place.as_str(), place.setting());
                let Reading { depth, peak, full, .. } = reading;
                tracing::warn!(place = name, times, full, depth, peak, setting, "no room");
            } else {
                tracing::debug!(place = place.as_str(), depth = reading.depth, "room");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_full_and_remembers_the_peak() {
        let bounds = Bounds::default();
        for depth in [1, 7, 3] {
            bounds.clone().depth(Place::InFlight, depth);
        }
        bounds.full(Place::Mailbox);
        bounds.full(Place::Mailbox);
        let reading = bounds.read(Place::InFlight);
        assert_eq!((reading.depth, reading.peak, reading.full), (3, 7, 0));
        assert_eq!(bounds.read(Place::Mailbox).full, 2);
        let mut teller = Teller::default();
        teller.tell(&bounds);
        assert_eq!(teller.0[Place::Mailbox as usize], 2, "told once");
    }

    #[test]
    fn places_are_counted_apart() {
        for (index, place) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, index);
            assert!(Place::ALL[..index].iter().all(|other| other.as_str() != place.as_str()));
        }
    }
}
