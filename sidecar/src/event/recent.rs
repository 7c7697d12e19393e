//! What happened here, kept in memory until its sink has it: a ring of numbered events. When the
//! sink is away for too long, the oldest go, and are counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gopool_sv2_proto::v1;
use rand::RngCore as _;
use tokio::sync::watch;

use super::{wire, Source, SourceError};
use crate::obs::clients::ChannelBook;
use crate::obs::counts::Count;
use crate::obs::totals::Totals;
use crate::obs::witness::{Block, Closed, Witness};
use crate::sys::unix_millis;
use crate::types::{ChannelKey, Connection};

#[derive(Debug)]
struct Kept {
    /// In order, without a gap.
    events: VecDeque<v1::Event>,
    /// The number of the first of them, or of the next one.
    first: u64,
}

/// The ring. One sink takes from it: what it has is not kept.
#[derive(Debug)]
pub struct Recent {
    id: [u8; 16],
    max: usize,
    /// Locked for a push, or a copy of what a message holds.
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    dropped: Arc<Count>,
    /// The sink missed something since this was asked last.
    missed: AtomicBool,
}

impl Recent {
    /// An empty ring with a name that nobody had. `max`: events that it holds at most, not 0.
    /// `dropped`: where those are counted that went before the sink had them.
    #[must_use]
    pub fn new(max: usize, dropped: Arc<Count>) -> Self {
        let mut id = [0; 16];
        rand::thread_rng().fill_bytes(&mut id);
        Self {
            id,
            max: max.max(1),
            kept: Mutex::new(Kept { events: VecDeque::new(), first: 1 }),
            newest: watch::Sender::new(0),
            dropped,
            missed: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // What is inside is whole between any two statements.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an event its number and keeps it.
    pub(super) fn push(&self, event: v1::event::Event) {
        let mut kept = self.lock();
        if kept.events.len() >= self.max {
            kept.events.pop_front();
            kept.first += 1;
            self.dropped.one();
        }
        let seq = kept.first + kept.events.len() as u64;
        kept.events.push_back(v1::Event { seq, at_ms: unix_millis(), event: Some(event) });
        // Under the lock: numbers are told in order.
        self.newest.send_replace(seq);
    }

    /// Whether more than half of it is full. What can wait elsewhere should do so then.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.lock().events.len() > self.max / 2
    }

    /// When the oldest event happened that the sink does not have, milliseconds since the epoch;
    /// 0: it has all.
    #[must_use]
    pub fn oldest_ms(&self) -> i64 {
        self.lock().events.front().map_or(0, |event| event.at_ms)
    }

    /// Whether the sink missed something, since this was asked last: it has to hear of all that is
    /// open now.
    pub fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }
}

impl Source for Recent {
    fn id(&self) -> [u8; 16] {
        self.id
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    async fn oldest(&self) -> Result<u64, SourceError> {
        Ok(self.lock().first)
    }

    async fn read(&self, after: u64, max: usize) -> Result<Vec<v1::Event>, SourceError> {
        let kept = self.lock();
        let Some(skipped) = (after + 1).checked_sub(kept.first) else {
            // A new stream says from where it goes on.
            return Err(SourceError(
                "it takes them too slowly, and some are gone: look at its log and at its disk"
                    .to_owned(),
            ));
        };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        Ok(kept.events.iter().skip(skipped).take(max).cloned().collect())
    }

    async fn begun(&self, _sink: &str, have: u64) {
        if have + 1 < self.lock().first {
            self.missed.store(true, Ordering::Relaxed);
        }
    }

    async fn acked(&self, _sink: &str, seq: u64) -> Result<(), SourceError> {
        let mut kept = self.lock();
        while kept.events.front().is_some_and(|event| event.seq <= seq) {
            kept.events.pop_front();
            kept.first += 1;
        }
        if kept.events.is_empty() {
            // It was full once, perhaps.
            kept.events = VecDeque::new();
        }
        Ok(())
    }
}

impl Witness for Recent {
    fn connection_opened(&self, connection: &Connection) {
        self.push(wire::opened(connection));
    }

    fn connection_closed(&self, closed: Closed<'_>) {
        self.push(wire::closed(closed));
    }

    fn channel_started(&self, book: &ChannelBook) {
        self.push(wire::started(book));
    }

    fn totals(&self, book: &ChannelBook, totals: Totals) {
        self.push(wire::totals(book, totals));
    }

    fn channel_ended(&self, channel: ChannelKey, reason: &str) {
        self.push(wire::ended(channel, reason));
    }

    fn block(&self, block: Block<'_>) {
        self.push(wire::block(block));
    }
}

#[cfg(test)]
mod tests;
