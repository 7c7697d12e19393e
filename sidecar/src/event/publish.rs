//! Keeps one sink up to date.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use gopool_sv2_proto::PROTOCOL;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout, Instant};
use v1::publish_request::Message as ToSink;
use v1::publish_response::Message as FromSink;

use super::{Overtaken, Source, SourceError, Stream, Way};
use crate::obs::{Counts, Trouble};
use crate::sys::stopped;

/// Events in one message at most (the contract's bound).
const MAX_BATCH: usize = 1024;
/// Events that may be on the way without an ack.
const WINDOW: u64 = 4 * MAX_BATCH as u64;
/// Waits between tries: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How long a sink may take to begin a stream.
const BEGIN: Duration = Duration::from_secs(10);
/// A stream that lives for so long works, though nothing of it was acknowledged.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the last events may take when we stop. Durable ones are not lost after that.
const LAST: Duration = Duration::from_secs(1);

/// Why a stream is over.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    NotBegun(String),
    #[error("{0}")]
    Unwanted(String),
    #[error("it did not begin a stream within {BEGIN:?}")]
    Silent,
    #[error("the sink ended the stream")]
    Ended,
    #[error("the stream broke: {0}")]
    Broken(String),
    #[error("the sink breaks the contract: {0}")]
    Contract(&'static str),
    #[error(
        "the sink has events that never came from here ({0}): was the ledger restored from an old \
         copy? No event is sent to it until the operator has looked: stop the sidecar, `gopool-sv2 \
         ledger resume`, start it"
    )]
    Ahead(Overtaken),
    #[error("the events can't be read: {0}")]
    Source(#[from] SourceError),
}

/// The task that sends one source's events to one sink.
#[derive(Debug)]
pub struct Publisher<S, W> {
    source: Arc<S>,
    way: W,
    sink: &'static str,
    sidecar_id: String,
    counts: Counts,
}

impl<S: Source, W: Way> Publisher<S, W> {
    /// `sink`: its name in logs, and under which the source notes what it has. `sidecar_id`: the
    /// operator's name of this sidecar.
    #[must_use]
    pub fn new(source: Arc<S>, way: W, sink: &'static str, sidecar_id: String) -> Self {
        Self { source, way, sink, sidecar_id, counts: Counts::default() }
    }

    /// Counts there, as the sink.
    #[must_use]
    pub fn counted(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    /// Runs until `stop` is true and the sink has all, or has had a second for it.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut trouble = Trouble::new("events wait for their sink");
        let mut wait = BACKOFF.0;
        // What it had in our last life does not wait for it, though it is away.
        if let Ok(acked) = self.source.acked_by(self.sink).await {
            self.counts.sinks.of(self.sink).acked.set(acked);
        }
        loop {
            let begun = tokio::select! {
                begun = self.begin() => begun,
                () = stopped(&mut stop) => return,
            };
            match begun {
                Ok((mut stream, have)) => {
                    let mut told = false;
                    let works = || {
                        if !std::mem::replace(&mut told, true) {
                            trouble.over();
                            self.counts.sinks.of(self.sink).standing.up();
                            tracing::info!(sink = self.sink, way = %self.way, have, "events flow");
                            wait = BACKOFF.0;
                        }
                    };
                    match self.flow(&mut stream, have, works, &mut stop).await {
                        Ok(()) => return,
                        Err(end) => self.lost(&end, &mut trouble),
                    }
                }
                Err(end) => self.lost(&end, &mut trouble),
            }
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            // Many sidecars must not come back in step.
            let jittered = Duration::from_millis(rand::thread_rng().gen_range(ms / 2..=ms));
            tokio::select! {
                () = sleep(jittered) => {}
                () = stopped(&mut stop) => return,
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    fn lost(&self, end: &End, trouble: &mut Trouble) {
        trouble.log(end);
        let (sink, reason) = (self.counts.sinks.of(self.sink), end.to_string());
        match end {
            End::Unwanted(_) => sink.standing.off(&reason),
            _ => sink.standing.down(&reason),
        }
        sink.newest.set(*self.source.newest().borrow());
    }

    /// One try: a stream, and up to where the sink has the events.
    async fn begin(&self) -> Result<(W::Stream, u64), End> {
        let first_seq = self.source.oldest().await?;
        let start = v1::PublishStart {
            protocol: PROTOCOL,
            sidecar_id: self.sidecar_id.clone(),
            source_id: Bytes::copy_from_slice(&self.source.id()),
            durable: self.source.is_durable(),
            first_seq,
        };
        let greeted = async {
            let begun = self.way.begin(start).await;
            let mut stream = begun.map_err(|error| match self.way.takes_none(&error) {
                true => End::Unwanted(error.to_string()),
                false => End::NotBegun(error.to_string()),
            })?;
            let first = stream.receive().await.map_err(|text| match stream.takes_none() {
                true => End::Unwanted(text),
                false => End::Broken(text),
            });
            let ready = match first? {
                Some(v1::PublishResponse { message: Some(FromSink::Ready(ready)) }) => ready,
                Some(_) => return Err(End::Contract("its first message is not PublishReady")),
                None => return Err(End::Ended),
            };
            if ready.protocol != PROTOCOL {
                return Err(End::Contract("it speaks another version"));
            }
            Ok((stream, ready.have_seq))
        };
        let (stream, have) = timeout(BEGIN, greeted).await.map_err(|_| End::Silent)??;
        if let Some(overtaken) = self.source.overtaken(self.sink, have).await? {
            return Err(End::Ahead(overtaken));
        }
        if have > 0 {
            self.source.acked(self.sink, have).await?;
        }
        self.source.begun(self.sink, have).await;
        // What every sink had once is gone.
        Ok((stream, have.max(first_seq.saturating_sub(1))))
    }

    /// Sends what is there and what comes, until the stream ends (an error) or we stop. `works` is
    /// called when it does: many a sink begins a stream and then can keep nothing (a full disk).
    async fn flow(
        &self,
        stream: &mut W::Stream,
        have: u64,
        mut works: impl FnMut(),
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        let mut newest = self.source.newest();
        if have >= *newest.borrow() {
            works();
        }
        let mut settles = Some(Instant::now() + SETTLED);
        let (mut sent, mut acked) = (have, have);
        let (mut grows, mut leaves) = (true, None);
        loop {
            self.counts.sinks.of(self.sink).newest.set(*newest.borrow());
            self.counts.sinks.of(self.sink).acked.set(acked);
            while sent < *newest.borrow_and_update() && sent - acked < WINDOW {
                let events = self.source.read(sent, MAX_BATCH).await?;
                let Some(last) = events.last() else { break };
                sent = last.seq;
                let message = Some(ToSink::Batch(v1::EventBatch { events }));
                tokio::select! {
                    open = stream.send(v1::PublishRequest { message }) => if !open {
                        return Err(End::Ended);
                    },
                    // It takes nothing: what waits is sent in the next life.
                    () = too_late(stop) => return Ok(()),
                }
            }
            if leaves.is_some() && acked >= *newest.borrow() {
                return Ok(());
            }
            tokio::select! {
                answer = stream.receive() => match answer.map_err(End::Broken)? {
                    Some(v1::PublishResponse { message: Some(FromSink::Ack(ack)) }) => {
                        if ack.seq > sent || ack.seq < acked {
                            return Err(End::Contract("it acknowledges what was not sent"));
                        }
                        acked = ack.seq;
                        works();
                        self.counts.sinks.of(self.sink).standing.heard();
                        self.source.acked(self.sink, acked).await?;
                    }
                    // A newer sink may say more.
                    Some(_) => {}
                    None => return Err(End::Ended),
                },
                () = sleep_until(settles.unwrap_or_else(Instant::now)), if settles.is_some() => {
                    settles = None;
                    works();
                }
                changed = newest.changed(), if grows => grows = changed.is_ok(),
                () = stopped(stop), if leaves.is_none() => leaves = Some(Instant::now() + LAST),
                () = sleep_until(leaves.unwrap_or_else(Instant::now)), if leaves.is_some() => {
                    return Ok(());
                }
            }
        }
    }
}

/// Completes when we stop and the last events have had their time.
async fn too_late(stop: &mut watch::Receiver<bool>) {
    stopped(stop).await;
    sleep(LAST).await;
}

#[cfg(test)]
mod tests;
