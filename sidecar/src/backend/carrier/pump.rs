//! Moves messages both ways while a stream lasts.

use std::collections::VecDeque;
use std::time::Duration;

use gopool_sv2_proto::v1::session_request::Message as ToPool;
use gopool_sv2_proto::v1::Drain;
use tokio::sync::watch;
use tokio::time::{timeout, Instant};

use super::watchdog::{Sample, Watchdog};
use super::{Carrier, Incoming, LinkTask, Outgoing, Received, Stream};
use crate::backend::link::MAX_BATCH;
use crate::backend::Parcel;
use crate::obs::Place;
use crate::sys::stopped;

/// Messages that may wait for the transport before no more are taken from the pool: a pool that
/// asks without reading must not fill our memory.
pub(crate) const PENDING_MAX: usize = 4 * MAX_BATCH;
/// A restarted pool that can't have a channel back yet, for want of work, say, is asked again after
/// this.
pub(crate) const RETRY: Duration = Duration::from_millis(500);
/// How long the pool may take to hear that we stop.
const LEAVE: Duration = Duration::from_secs(1);

/// Why a stream that was greeted is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamEnd {
    #[error("the stream broke: {0}")]
    Broken(String),
    #[error("the pool ended the stream")]
    Ended,
    #[error("the pool is stopping, and nothing waits for it any more")]
    Drained,
    #[error(
        "the pool is connected but did not answer for {0:?}: see its log; is it stuck, or is \
             [pool].verdict_timeout_ms too short for it?"
    )]
    Silent(Duration),
}

impl<C: Carrier> LinkTask<C> {
    /// Runs until the stream ends; `None`: we are stopping and nobody is attached any more.
    pub(super) async fn pump(
        &mut self,
        stream: Stream<C::Outgoing, C::Incoming>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<StreamEnd> {
        let Stream { mut outgoing, mut incoming, limits, life } = stream;
        let mut pending: VecDeque<Parcel> = VecDeque::new();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut made = Vec::new();
        // Before what it makes possible.
        self.directory.link_up(limits);
        self.link.welcomed(&life, &mut made);
        let begun = Instant::now();
        let mut was_full = false;
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let half = self.verdict_timeout / 2;
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + half, half);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watchdog = Watchdog::begin(&self.link, !made.is_empty());
        let mut written = 0;
        let freed = self.link.freed();
        let mut sample = Sample::default();
        loop {
            pending.extend(made.drain(..));
            if pending.is_empty() && self.link.is_drained() {
                return Some(StreamEnd::Drained);
            }
            let room = if pending.is_empty() { self.link.room() } else { 0 };
            if let Some(took) = sample.look(&self.link, Instant::now) {
                self.counts.pool.verdict.observe(took);
            }
            let full = self.link.room() == 0;
            if full && !was_full {
                self.counts.bounds.full(Place::InFlight);
            }
            was_full = full;
            self.counts.bounds.depth(Place::InFlight, self.link.in_flight());
            self.counts.bounds.depth(Place::Commands, self.commands.len());
            tokio::select! {
                received = incoming.receive(), if pending.len() < PENDING_MAX => match received {
                    Ok(Some(Received::Message(message))) => {
                        self.counts.pool.standing.heard();
                        self.link.receive(message, &mut made);
                        self.link.ask(&mut made);
                    }
                    Ok(Some(Received::Verdicts(verdicts))) => {
                        self.counts.pool.standing.heard();
                        self.link.judged(verdicts.iter().copied());
                        incoming.reuse(verdicts);
                    }
                    Ok(None) => return Some(StreamEnd::Ended),
                    Err(text) => return Some(StreamEnd::Broken(text)),
                },
                taken = self.commands.recv_many(&mut batch, room), if room > 0 => {
                    if taken == 0 {
                        break;
                    }
                    self.link.send(batch.drain(..), &mut made);
                }
                room = outgoing.ready(), if !pending.is_empty() => {
                    if !room {
                        return Some(StreamEnd::Ended);
                    }
                    if let Some(shares) = pending.pop_front().and_then(|p| outgoing.send(p)) {
                        self.link.reuse(shares);
                    }
                    written += 1;
                }
                answer = self.link.answered() => made.push(answer.into()),
                // Shares were kept: there is room again.
                () = freed.notified(), if full => {}
                _ = look.tick() => {
                    if watchdog.bites(&self.link, !pending.is_empty(), written) {
                        return Some(StreamEnd::Silent(self.verdict_timeout));
                    }
                    self.link.look_at_opens(&mut made);
                }
                _ = retry.tick(), if self.link.is_reopening() => {
                    self.link.retry(begun.elapsed() >= self.patience.lost, &mut made);
                }
                () = stopped(stop) => break,
            }
        }
        take_leave(outgoing, incoming).await;
        None
    }
}

/// Tells the pool that the session is over, so that it keeps nothing for it.
async fn take_leave(mut outgoing: impl Outgoing, mut incoming: impl Incoming) {
    let drain = Drain { grace_ms: 0, reason: "the sidecar stops".into() };
    let leave = async move {
        if outgoing.ready().await {
            outgoing.send(ToPool::Drain(drain).into());
            drop(outgoing);
            while let Ok(Some(_)) = incoming.receive().await {}
        }
    };
    // A pool that is deaf notices the end of the connection.
    let _ = timeout(LEAVE, leave).await;
}
