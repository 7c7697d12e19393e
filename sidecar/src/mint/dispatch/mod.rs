//! Brings credits to the mint: seals what is due, opens deposit quotes, sends, and reads back until
//! the mint shows it.
//!
//! Four tasks that share nothing but the ledger: two that only write there, and two that talk to
//! the mint, so that a mint that is slow or away holds up nothing else; and one that hears when the
//! mint is back. None of them is near the share path. All that they know is in the ledger: a
//! process that is killed goes on where it was.

mod backoff;
mod quotes;
mod readings;
mod unshown;

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{interval, MissedTickBehavior};

use super::clock::Clock;
use super::http::{MintError, MintHttp};
use super::ledger::{Due, Ledger, LedgerError, Pace, Terms, SLICE, UNUSED_MS};
use super::token::QuoteSecret;
use super::work::Work;
use crate::obs::{Counts, Trouble};
use crate::sys::stopped;
use backoff::Breaker;
use unshown::Unshown;
#[cfg(test)]
pub(in crate::mint) use unshown::UNSHOWN_MAX;

/// How often each task looks for something to do.
const TICK: Duration = Duration::from_secs(1);
/// Quotes that are looked at in one step.
const STEP: u32 = 256;
/// Closings in one step, of up to 256 credits each.
const CLOSINGS: usize = 256;
/// Quotes of wallets that are remembered before anybody uses them, the newest.
const UNUSED_QUOTES: u64 = 100_000;
/// How long nothing new is sent at the start before all have been heard that take events.
const SINKS_MS: i64 = 60_000;
/// Rows that go in one step: the first of a second, more in each further one, and the most. Each is
/// somewhere else on the disk, and shares wait meanwhile.
const PRUNE_ROWS: (u64, u64) = (64, 2_000);
/// How often quotes of wallets are looked for that nobody used.
const FORGET_EVERY_MS: i64 = 60_000;

/// How credits are made and paid.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How work becomes amounts.
    pub terms: Terms,
    /// From the first share of a credit to its sealing.
    pub seal_ms: i64,
    /// A credit of so much work is sealed at the next look.
    pub seal_work: Work,
    /// Payments on one quote.
    pub quote_payments: u64,
    /// Life of a quote.
    pub quote_life_ms: i64,
    /// How long the shares of a paid credit are kept.
    pub keep_shares_ms: i64,
    /// Calls to the mint at a time.
    pub calls: usize,
}

/// What the tasks share.
#[derive(Debug)]
pub struct Dispatcher<L> {
    ledger: L,
    mint: MintHttp,
    secret: QuoteSecret,
    plan: Plan,
    clock: Clock,
    started_ms: i64,
    breaker: Mutex<Breaker>,
    unshown: Mutex<Unshown>,
    /// When idle quotes were looked for last.
    swept_ms: AtomicI64,
    /// Rises when there is more for the mint to be told.
    sent: watch::Sender<u64>,
    /// Rises when the mint has opened its stream of payments.
    listens: watch::Receiver<u64>,
    counts: Counts,
}

impl<L: Ledger> Dispatcher<L> {
    /// `sent`: rises when there is more for the mint to be told. `listens`: rises when the mint has
    /// opened its stream of payments. `counts`: where calls are counted.
    pub fn new(
        ledger: L,
        mint: MintHttp,
        secret: QuoteSecret,
        plan: Plan,
        sent: watch::Sender<u64>,
        listens: watch::Receiver<u64>,
        counts: Counts,
    ) -> Arc<Self> {
        let clock = Clock::start();
        let (started_ms, breaker) = (clock.now_ms(), Mutex::default());
        Arc::new(Self {
            ledger,
            mint,
            secret,
            plan,
            clock,
            started_ms,
            breaker,
            unshown: Mutex::default(),
            swept_ms: AtomicI64::new(0),
            sent,
            listens,
            counts,
        })
    }

    /// Runs all tasks until `stop` is true.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        tokio::join!(
            self.seal_and_send(stop.clone()),
            self.prune(stop.clone()),
            Arc::clone(&self).open_quotes(stop.clone()),
            Arc::clone(&self).read_quotes(stop.clone()),
            self.hear_of_returns(stop.clone()),
        );
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unshown(&self) -> MutexGuard<'_, Unshown> {
        self.unshown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the mint may be called now.
    pub(in crate::mint) fn may_call(&self) -> bool {
        self.breaker().lets_through(self.clock.now_ms())
    }

    /// As after hours without an answer.
    #[cfg(test)]
    pub(in crate::mint) fn long_away(&self) {
        *self.breaker() = Breaker::at_its_longest(self.clock.now_ms());
    }

    /// Lets time pass for this.
    #[cfg(test)]
    pub(in crate::mint) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// One look of each task. None of them may run.
    #[cfg(test)]
    pub(in crate::mint) async fn look(self: &Arc<Self>) -> Result<(), LedgerError> {
        self.step().await?;
        self.open_due().await?;
        self.read_due().await
    }

    /// A mint that opens its stream of payments is there: it is called at the next look, and not
    /// when the wait for one that was away is over. Its HTTP API may open a moment later; a call
    /// that comes too early begins with the shortest wait.
    pub(in crate::mint) async fn hear_of_returns(&self, mut stop: watch::Receiver<bool>) {
        let mut listens = self.listens.clone();
        loop {
            tokio::select! {
                heard = listens.changed() => if heard.is_err() {
                    return;
                },
                () = stopped(&mut stop) => return,
            }
            self.breaker().answered();
        }
    }

    /// Notes whether the mint answers at all.
    fn note<T>(&self, called: &Result<T, MintError>) {
        let mut breaker = self.breaker();
        match called {
            Ok(_) | Err(MintError::Refused { .. } | MintError::NotAnId) => {
                self.counts.mint.calls.one(if called.is_ok() { "answered" } else { "refused" });
                self.counts.mint.standing.up();
                breaker.answered();
            }
            Err(
                error @ (MintError::Unreachable(_)
                | MintError::TimedOut(_)
                | MintError::NotAMint(_)),
            ) => {
                self.counts.mint.calls.one("failed");
                self.counts.mint.standing.down(&error.to_string());
                if breaker.failed(self.clock.now_ms()) {
                    tracing::warn!(%error, "the mint can't be used; credits wait in the ledger");
                }
            }
        }
    }

    async fn seal_and_send(&self, mut stop: watch::Receiver<bool>) {
        let mut trouble = Trouble::new("credits wait");
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stopped(&mut stop) => return,
            }
            tokio::select! {
                done = self.step() => match done {
                    Ok(()) => trouble.over(),
                    Err(error) => trouble.log(&error),
                },
                // Where it was is in the ledger.
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Everything on a credit's way that needs no mint.
    async fn step(&self) -> Result<(), LedgerError> {
        let (ledger, plan) = (&self.ledger, &self.plan);
        let now = self.clock.now_ms();
        // What is opened while the others are closed is not due.
        let mut due = Due { opened_by_ms: now - plan.seal_ms, work_from: plan.seal_work };
        // Not without end: what is sealed is to be sent.
        for _ in 0..CLOSINGS {
            if ledger.close_due(due, self.clock.now_ms()).await? == 0 {
                break;
            }
            // Work comes all the time.
            due.work_from = Work(u128::MAX);
        }
        loop {
            let sealing = ledger.seal(plan.terms, STEP, now).await?;
            if sealing.sealed + sealing.carried == 0 {
                break;
            }
        }
        while ledger.rotate(plan.quote_payments, now - plan.quote_life_ms).await? > 0 {}
        while ledger.rotate_expiring(now).await? > 0 {}
        // What is old by now takes none of these.
        while ledger.assign(plan.quote_payments, now).await? > 0 {}
        // Who has heard more than this ledger knows would say so first. Who is away for longer may
        // take no events any more.
        let waited = now - self.started_ms >= SINKS_MS;
        let mut pace = Pace::start();
        while waited || ledger.sinks_heard().await? {
            let owed = ledger.due_credits(now, SLICE).await?;
            if owed.is_empty() {
                break;
            }
            // Written down first: what the mint may have heard is never sent as another payment.
            ledger.mark_sent(owed.iter().map(|owed| owed.credit_id).collect(), now).await?;
            self.sent.send_modify(|count| *count += 1);
            pace.rest().await;
        }
        Ok(())
    }

    async fn prune(&self, mut stop: watch::Receiver<bool>) {
        let mut trouble = Trouble::new("what is old stays");
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forgot_ms = self.clock.now_ms();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stopped(&mut stop) => return,
            }
            tokio::select! {
                done = self.prune_due(&mut forgot_ms) => match done {
                    Ok(()) => trouble.over(),
                    Err(error) => trouble.log(&error),
                },
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Shares of paid credits and events that are old enough to go, and quotes that nobody used.
    async fn prune_due(&self, forgot_ms: &mut i64) -> Result<(), LedgerError> {
        let (now, mut pace, mut rows) = (self.clock.now_ms(), Pace::start(), PRUNE_ROWS.0);
        let by = now - self.plan.keep_shares_ms;
        while self.ledger.prune(by, now, rows).await? >= rows {
            // The more there is, the less a share's wait is to be heard of; and it has to be done.
            rows = (rows + PRUNE_ROWS.0).min(PRUNE_ROWS.1);
            pace.rest().await;
        }
        if now - *forgot_ms >= FORGET_EVERY_MS {
            *forgot_ms = now;
            let (made_by, most) = (now - UNUSED_MS, PRUNE_ROWS.0);
            while self.ledger.forget_quotes(made_by, UNUSED_QUOTES, most).await? >= most {
                pace.rest().await;
            }
        }
        Ok(())
    }
}
