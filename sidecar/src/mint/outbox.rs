//! The ledger's events on their way to those who want to hear.

use std::time::Duration;

use gopool_sv2_proto::v1;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{interval, MissedTickBehavior};

use super::ledger::{Ledger as _, LedgerError, SqliteLedger};
use crate::event::{Overtaken, Source, SourceError};
use crate::sys::stopped;

/// How often new events are looked for: none of them is urgent.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The durable sequence of the ledger.
#[derive(Debug)]
pub struct Outbox {
    ledger: SqliteLedger,
    newest: watch::Sender<u64>,
}

impl Outbox {
    /// Reads how far the sequence is.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn new(ledger: SqliteLedger) -> Result<Self, LedgerError> {
        let (last, _) = ledger.event_range().await?;
        Ok(Self { ledger, newest: watch::Sender::new(last) })
    }

    /// Looks for new events until `stop` is true, and once more then.
    pub async fn watch(&self, mut stop: watch::Receiver<bool>) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stopping = tokio::select! {
                _ = look.tick() => false,
                () = stopped(&mut stop) => true,
            };
            // A ledger that can't be read says so where it is written.
            if let Ok((last, _)) = self.ledger.event_range().await {
                self.newest.send_if_modified(|newest| std::mem::replace(newest, last) != last);
            }
            if stopping {
                return;
            }
        }
    }
}

fn failed(error: LedgerError) -> SourceError {
    SourceError(error.to_string())
}

impl Source for Outbox {
    fn id(&self) -> [u8; 16] {
        self.ledger.identity().source_id
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    async fn oldest(&self) -> Result<u64, SourceError> {
        Ok(self.ledger.event_range().await.map_err(failed)?.1)
    }

    async fn read(&self, after: u64, max: usize) -> Result<Vec<v1::Event>, SourceError> {
        let most = u32::try_from(max).unwrap_or(u32::MAX);
        let stored = self.ledger.events_after(after, most).await.map_err(failed)?;
        let decoded = stored.into_iter().map(|stored| {
            let event = v1::Event::decode(stored.payload);
            event.map_err(|error| SourceError(format!("event {}: {error}", stored.seq)))
        });
        decoded.collect()
    }

    async fn overtaken(&self, sink: &str, have: u64) -> Result<Option<Overtaken>, SourceError> {
        self.ledger.overtaken(sink.to_owned(), have).await.map_err(failed)
    }

    async fn acked_by(&self, sink: &str) -> Result<u64, SourceError> {
        self.ledger.acked_by(sink.to_owned()).await.map_err(failed)
    }

    async fn acked(&self, sink: &str, seq: u64) -> Result<(), SourceError> {
        self.ledger.ack(sink.to_owned(), seq).await.map_err(failed)
    }
}
