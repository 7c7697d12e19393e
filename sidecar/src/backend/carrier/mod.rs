//! What every carrier of the link has in common: one task that owns it, whatever the messages go
//! through.
//!
//! It asks its [`Carrier`] for a stream, greets, moves messages both ways and, when the stream
//! ends, asks again and takes up what was left. Batches are adaptive: whatever has queued when the
//! last message was taken goes into the next one, with no timer.

mod greet;
pub(crate) mod outage;
pub(crate) mod pump;
pub(crate) mod watchdog;

use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gopool_sv2_proto::v1::session_response;
use rand::Rng as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, Instant};

use super::ledger::{Returns, ShareLedger};
use super::link::{Greeting, Life, Link};
use super::{Backend, Command, Directory, Parcel, Share};
use crate::config::Pool;
use crate::obs::{Counts, Journal, Trouble};
use crate::sys::stopped;
use crate::types::{TargetLimits, Verdict};
pub(super) use greet::{Breach, Introduction};
use outage::{Outage, Patience};
use pump::StreamEnd;

/// Commands that may queue for the link, all connections together. Small: beyond it the miners'
/// sockets are the queue.
const COMMAND_QUEUE: usize = 4096;

/// A way to the pool.
pub(crate) trait Carrier: Display + Send + 'static {
    /// The sending half of a stream.
    type Outgoing: Outgoing;
    /// The receiving half.
    type Incoming: Incoming;
    /// Why there is no stream; its text says what to do.
    type Error: Display + Send;

    /// One try to begin a stream that takes up what an earlier one left. May be dropped half-way.
    fn dial(
        &self,
        left: Greeting,
    ) -> impl Future<Output = Result<Stream<Self::Outgoing, Self::Incoming>, Self::Error>> + Send;
}

/// An open stream that was greeted.
#[derive(Debug)]
pub(crate) struct Stream<O, I> {
    pub(crate) outgoing: O,
    pub(crate) incoming: I,
    pub(crate) limits: TargetLimits,
    pub(crate) life: Life,
}

/// To the pool. Dropped: nothing more comes.
pub(crate) trait Outgoing: Send {
    /// Waits for room for one message; false: the stream is over. Cancel-safe.
    fn ready(&mut self) -> impl Future<Output = bool> + Send;

    /// Hands over one message, for which there was room. Gives back the memory of shares when they
    /// were copied.
    fn send(&mut self, parcel: Parcel) -> Option<Vec<Share>>;
}

/// From the pool.
pub(crate) trait Incoming: Send {
    /// Waits for the next message; `None`: the pool ended the stream. The error is what broke it.
    /// Cancel-safe.
    fn receive(&mut self) -> impl Future<Output = Result<Option<Received>, String>> + Send;

    /// Takes back the memory of verdicts that it gave.
    fn reuse(&mut self, _verdicts: Vec<(u64, Verdict)>) {}
}

/// What comes from the pool.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once, and few wait at a time")]
pub(crate) enum Received {
    /// A message of the contract.
    Message(session_response::Message),
    /// Verdicts by the ids of their submits, where the carrier has a form of its own for them.
    Verdicts(Vec<(u64, Verdict)>),
}

/// The link's task, ready to run.
#[derive(Debug)]
pub(crate) struct LinkTask<C> {
    carrier: C,
    link: Link,
    directory: Directory,
    commands: mpsc::Receiver<Command>,
    backoff: (Duration, Duration),
    verdict_timeout: Duration,
    patience: Patience,
    outage: Outage,
    counts: Counts,
}

/// Makes a link to the pool and the [`Backend`] that connections attach to. `max_in_flight`: most
/// submits that wait for a verdict at a time.
pub(crate) fn link<C: Carrier>(
    carrier: C,
    pool: &Pool,
    max_in_flight: usize,
    journal: Journal,
    counts: Counts,
) -> (Backend, LinkTask<C>) {
    let (backend, receiver, directory) = Backend::new(COMMAND_QUEUE);
    let task = LinkTask {
        carrier,
        link: Link::new(max_in_flight, directory.clone(), journal).counted(counts.clone()),
        directory,
        commands: receiver,
        backoff: (
            Duration::from_millis(pool.reconnect_min_ms),
            Duration::from_millis(pool.reconnect_max_ms),
        ),
        verdict_timeout: Duration::from_millis(pool.verdict_timeout_ms),
        patience: Patience {
            grace: Duration::from_millis(pool.grace_ms),
            lost: Duration::from_millis(pool.lost_ms),
        },
        outage: Outage::of_a_start(Instant::now()),
        counts,
    };
    (backend, task)
}

impl<C> LinkTask<C> {
    /// Has accepted shares kept before their miners hear. What became of them is told through what
    /// is returned.
    #[cfg_attr(
        not(feature = "mint"),
        allow(dead_code, reason = "only the mint bridge keeps shares")
    )]
    pub(crate) fn keep_in(&mut self, ledger: Arc<dyn ShareLedger>) -> Returns {
        self.link.keep_in(ledger)
    }
}

type Dialled<C> =
    Result<Stream<<C as Carrier>::Outgoing, <C as Carrier>::Incoming>, <C as Carrier>::Error>;

impl<C: Carrier> LinkTask<C> {
    /// Runs until `stop` is true and every connection has gone.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut trouble = Trouble::new("no link to the pool");
        let mut wait = self.backoff.0;
        loop {
            let Some(dialled) = self.dial(&mut stop).await else { return };
            match dialled {
                Ok(stream) => {
                    trouble.over();
                    self.counts.pool.standing.up();
                    self.counts.pool.ups.one();
                    tracing::info!(pool = %self.carrier, "link to the pool is up");
                    wait = self.backoff.0;
                    let before = self.link.waiting_since().0;
                    let end = self.pump(stream, &mut stop).await;
                    let Some(end) = end else { return self.link.lost() };
                    trouble.log(&end);
                    self.counts.pool.failures.one();
                    self.counts.pool.standing.down(&end.to_string());
                    self.link.cut();
                    let oldest = (before, self.link.waiting_since().0);
                    self.outage.begins_unless_it_goes_on(oldest, self.patience, Instant::now());
                    if matches!(end, StreamEnd::Silent(_)) {
                        // It had its time already.
                        self.outage.give_up(&mut self.link);
                    }
                }
                Err(error) => {
                    trouble.log(&error);
                    self.counts.pool.failures.one();
                    self.counts.pool.standing.down(&error.to_string());
                }
            }
            if !self.pause(jittered(wait), &mut stop).await {
                return;
            }
            wait = (wait * 2).min(self.backoff.1);
        }
    }

    /// One try; meanwhile the outage takes its course. `None`: stop.
    async fn dial(&mut self, stop: &mut watch::Receiver<bool>) -> Option<Dialled<C>> {
        let Self { carrier, link, commands, outage, .. } = self;
        loop {
            let mut dialling = pin!(carrier.dial(link.greeting()));
            let given_up = outage.has_given_up();
            // What is given up while a Hello is under way was not told in it: say it again.
            while outage.has_given_up() == given_up {
                tokio::select! {
                    dialled = &mut dialling => return Some(dialled),
                    () = stopped(stop) => return None,
                    open = outage.passes(link, commands) => open.then_some(())?,
                }
            }
        }
    }

    /// Waits before the next try; meanwhile the outage takes its course. false: stop.
    async fn pause(&mut self, wait: Duration, stop: &mut watch::Receiver<bool>) -> bool {
        let deadline = Instant::now() + wait;
        loop {
            tokio::select! {
                () = sleep_until(deadline) => return true,
                () = stopped(stop) => return false,
                open = self.outage.passes(&mut self.link, &mut self.commands) => if !open {
                    return false;
                },
            }
        }
    }
}

/// Full jitter: many sidecars must not come back in step.
fn jittered(wait: Duration) -> Duration {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(rand::thread_rng().gen_range(ms / 2..=ms))
}
