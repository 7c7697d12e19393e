//! The gRPC carrier: one task that owns the link to the pool.
//!
//! It dials, greets, moves messages both ways and, when the stream ends, dials again and takes up
//! what was left. Batches are adaptive: whatever has queued when the last message was taken by the
//! transport goes into the next one, with no timer.

mod dial;
pub(crate) mod outage;
pub(crate) mod pump;
pub(crate) mod watchdog;

use std::pin::pin;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, Instant};

use super::link::Link;
use super::{Backend, Command, Directory};
use crate::config::Pool;
use crate::obs::{Bounds, Journal};
use crate::sys::stopped;
use dial::{Dialer, LinkError};
use outage::{Outage, Patience};

/// Commands that may queue for the link, all connections together. Small: beyond it the miners'
/// sockets are the queue.
const COMMAND_QUEUE: usize = 4096;
/// The same trouble is logged again after this many tries.
const REPEAT_LOG_AFTER: u32 = 60;

/// The link's task, ready to run.
#[derive(Debug)]
pub struct GrpcLink {
    dialer: Dialer,
    link: Link,
    directory: Directory,
    commands: mpsc::Receiver<Command>,
    backoff: (Duration, Duration),
    verdict_timeout: Duration,
    patience: Patience,
    outage: Outage,
    bounds: Bounds,
}

/// Makes a link to the pool and the [`Backend`] that connections attach to. `max_in_flight`: most
/// submits that wait for a verdict at a time.
#[must_use]
pub fn new(
    pool: &Pool,
    max_in_flight: usize,
    journal: Journal,
    bounds: Bounds,
) -> (Backend, GrpcLink) {
    let (backend, receiver, directory) = Backend::new(COMMAND_QUEUE);
    let link = GrpcLink {
        dialer: Dialer::new(pool, max_in_flight),
        link: Link::new(max_in_flight, directory.clone(), journal),
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
        bounds,
    };
    (backend, link)
}

impl GrpcLink {
    /// Runs until `stop` is true and every connection has gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut trouble = Trouble::default();
        let mut wait = self.backoff.0;
        loop {
            let Some(dialled) = self.dial(&mut stop).await else { return };
            match dialled {
                Ok(stream) => {
                    trouble.over(&self.dialer);
                    wait = self.backoff.0;
                    let before = self.link.waiting_since().0;
                    let error = self.pump(stream, &mut stop).await;
                    let Some(error) = error else { return self.link.lost() };
                    trouble.log(&error);
                    self.link.cut();
                    let oldest = (before, self.link.waiting_since().0);
                    self.outage.begins_unless_it_goes_on(oldest, self.patience, Instant::now());
                    if matches!(error, LinkError::Silent(_)) {
                        // It had its time already.
                        self.outage.give_up(&mut self.link);
                    }
                }
                Err(error) => trouble.log(&error),
            }
            if !self.pause(jittered(wait), &mut stop).await {
                return;
            }
            wait = (wait * 2).min(self.backoff.1);
        }
    }

    /// One try; meanwhile the outage takes its course. `None`: stop.
    async fn dial(
        &mut self,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Result<dial::Stream, LinkError>> {
        let Self { dialer, link, commands, outage, .. } = self;
        loop {
            let mut dialling = pin!(dialer.dial(link.greeting()));
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

/// Says what is wrong with the link when it changes, not at every try.
#[derive(Debug, Default)]
struct Trouble {
    last: String,
    times: u32,
}

impl Trouble {
    fn log(&mut self, error: &LinkError) {
        let text = error.to_string();
        self.times += 1;
        if text != self.last || self.times.is_multiple_of(REPEAT_LOG_AFTER) {
            tracing::warn!(tries = self.times, "no link to the pool: {text}");
        }
        self.last = text;
    }

    fn over(&mut self, dialer: &Dialer) {
        *self = Self::default();
        tracing::info!(pool = %dialer, "link to the pool is up");
    }
}
