//! Says every few seconds what the channels did and how the sidecar stands, for history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gopool_sv2_proto::v1;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{interval, Instant, MissedTickBehavior};
use v1::event::Event;

use super::Recent;
use crate::obs::clients::{Client, Clients};
use crate::obs::counts::{Counts, Times, BUCKET_ENDS_US, CREDITS};
use crate::obs::health::{Health, Readiness};
use crate::sys::{stopped, unix_millis};
use crate::types::Kind;

/// How often it looks whether something is due.
const TICK: Duration = Duration::from_secs(1);
/// Connections that are looked at in a turn: the list is locked for no more.
const STEP: usize = 256;

/// The task.
#[derive(Debug)]
pub struct Reporter {
    recent: Arc<Recent>,
    clients: Clients,
    counts: Counts,
    lost_ms: u64,
    every: Duration,
    /// When the next round begins.
    due: Instant,
    /// The round under way: connections up to this one were asked.
    round: Option<u64>,
    /// What is open is being told anew: connections up to this one were.
    anew: Option<u64>,
    /// How the dependencies stood.
    known: BTreeMap<&'static str, Health>,
    before: Before,
}

/// What the last Snapshot counted up to.
#[derive(Debug, Default)]
struct Before {
    at_ms: i64,
    answers: Times,
    handshakes_failed: u64,
    connections_refused: u64,
}

impl Reporter {
    /// Into `recent`, of what `clients` and `counts` say. `lost_ms`: how long miners are kept while
    /// the pool is away. `every`: from round to round.
    #[must_use]
    pub fn new(
        recent: Arc<Recent>,
        clients: Clients,
        counts: Counts,
        lost_ms: u64,
        every: Duration,
    ) -> Self {
        let before = Before { at_ms: counts.started_ms, ..Before::default() };
        let (due, known) = (Instant::now() + every, BTreeMap::new());
        Self {
            recent,
            clients,
            counts,
            lost_ms,
            every,
            due,
            round: None,
            anew: None,
            known,
            before,
        }
    }

    /// Runs until `stop` is true, and says the rest then. The connections should be gone by then.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.turn().await,
                () = stopped(&mut stop) => break,
            }
        }
        self.look();
        self.round = Some(0);
        // Whatever it pushes out.
        while !self.report(|| false).await {}
    }

    async fn turn(&mut self) {
        let oldest = u64::try_from(self.recent.oldest_ms()).unwrap_or_default();
        self.counts.sinks.stats.oldest_ms.set(oldest);
        self.look();
        if self.recent.take_missed() {
            self.anew = Some(0);
        }
        let recent = Arc::clone(&self.recent);
        if !self.tell_anew().await {
            return;
        }
        if self.round.is_none() && Instant::now() >= self.due {
            self.due = Instant::now() + self.every;
            self.round = Some(0);
        }
        self.report(|| recent.is_crowded()).await;
    }

    /// Says what of the dependencies changed.
    fn look(&mut self) {
        for dependency in Readiness::of(&self.counts, self.lost_ms).dependencies {
            let (name, health) = (dependency.name, dependency.health);
            let before = self.known.insert(name, health).unwrap_or(Health::Off);
            if before != health && health != Health::Off {
                self.recent.push(Event::Health(v1::Health {
                    dependency: name.to_owned(),
                    up: health == Health::Up,
                    detail: dependency.detail,
                }));
            }
        }
    }

    /// Tells what is open, as far as there is room. True: all of it.
    async fn tell_anew(&mut self) -> bool {
        let recent = Arc::clone(&self.recent);
        let done = self.walk(
            self.anew,
            || recent.is_crowded(),
            |client| {
                client.tell(&*recent);
                client.channels().iter().for_each(|book| book.tell(&*recent));
            },
        );
        self.anew = done.await;
        self.anew.is_none()
    }

    /// Goes on with the round, until `waits` says that the rest has to wait: nothing is lost, the
    /// channels add it up. True: it is over.
    async fn report(&mut self, waits: impl Fn() -> bool) -> bool {
        if self.round.is_none() {
            return true;
        }
        let recent = Arc::clone(&self.recent);
        let done = self.walk(self.round, waits, |client| {
            client.channels().iter().for_each(|book| book.tell_totals(&*recent));
        });
        self.round = done.await;
        if self.round.is_none() {
            let snapshot = self.snapshot();
            self.recent.push(Event::Snapshot(snapshot));
        }
        self.round.is_none()
    }

    /// Visits the connections behind `from`, and says behind which one to go on; `None`: it was at
    /// all of them.
    async fn walk(
        &self,
        from: Option<u64>,
        waits: impl Fn() -> bool,
        visit: impl Fn(&Client),
    ) -> Option<u64> {
        let mut at = from?;
        loop {
            let page = self.clients.after(at, STEP);
            if page.is_empty() {
                return None;
            }
            for client in page {
                if waits() {
                    return Some(at);
                }
                visit(&client);
                at = client.id;
            }
            yield_now().await;
        }
    }

    fn snapshot(&mut self) -> v1::Snapshot {
        let connections = &self.counts.connections;
        let failed = connections.handshakes.read().filter(|(how, _)| *how != "ok");
        let now = Before {
            at_ms: unix_millis(),
            answers: self.counts.shares.ack.read(),
            handshakes_failed: failed.map(|(_, count)| count).sum(),
            connections_refused: connections.refused.read().map(|(_, count)| count).sum(),
        };
        let before = std::mem::replace(&mut self.before, now);
        let now = &self.before;
        let open = |kind| self.counts.channels.open.of(kind).get();
        let dependencies = Readiness::of(&self.counts, self.lost_ms).dependencies;
        v1::Snapshot {
            since_ms: before.at_ms,
            connections: self.counts.connections.set_up.get(),
            standard_channels: open(Kind::Standard),
            extended_channels: open(Kind::Extended),
            answers: latencies(&before.answers, &now.answers),
            handshakes_failed: now.handshakes_failed - before.handshakes_failed,
            connections_refused: now.connections_refused - before.connections_refused,
            dependencies: dependencies
                .into_iter()
                .map(|dependency| v1::Dependency {
                    name: dependency.name.to_owned(),
                    state: dependency.health.as_str().to_owned(),
                    age_ms: dependency.age_ms,
                    detail: dependency.detail,
                })
                .collect(),
            mint: (self.counts.ledger.enabled.get() > 0).then(|| mint(&self.counts)),
        }
    }
}

/// How many there are more now, of each length.
fn latencies(before: &Times, now: &Times) -> Vec<v1::LatencyCount> {
    let buckets = now.buckets.iter().zip(before.buckets);
    let counts = buckets.map(|(now, before)| now.saturating_sub(before));
    let longer = (0, now.longer.saturating_sub(before.longer));
    let all = BUCKET_ENDS_US.into_iter().zip(counts).chain([longer]);
    all.filter(|(_, count)| *count > 0)
        .map(|(upto_us, count)| v1::LatencyCount { upto_us, count })
        .collect()
}

fn mint(counts: &Counts) -> v1::MintStanding {
    let mint = &counts.mint;
    let credits = CREDITS.iter().zip(&mint.credits);
    v1::MintStanding {
        credits: credits
            .map(|(state, of)| v1::CreditCount {
                state: (*state).to_owned(),
                count: of.count.get(),
                amount: of.amount.get(),
            })
            .filter(|credits| credits.count > 0)
            .collect(),
        oldest_unconfirmed_ms: i64::try_from(mint.oldest_unconfirmed_ms.get()).unwrap_or_default(),
        confirmed: mint.confirmed.get(),
        surplus: mint.surplus.get(),
        sending_stopped: mint.sending_stopped.get() > 0,
    }
}

#[cfg(test)]
mod tests;
