//! What the mint shows of what was sent.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, MissedTickBehavior};

use super::quotes::{finished, is};
use super::unshown::UNSHOWN_MAX;
use super::{Dispatcher, STEP, TICK};
use crate::mint::http::{MintError, Refusal};
use crate::mint::ledger::{Ledger, LedgerError, LostQuote, Quote, QuoteState, Reading};
use crate::obs::Trouble;
use crate::sys::stopped;

/// The mint asks for the payments of a quote at most once in 10 s: to read it sooner tells nothing.
const READ_EVERY_MS: i64 = 10_000;

/// How often the mint is asked for quotes that it lost, while nothing but the operator is waited
/// for.
const LOST_EVERY_MS: i64 = 60_000;

/// How long a quote with which nothing happens is not read, how often such are looked for, and how
/// many are read then: 86,400 a day.
const IDLE_MS: i64 = 24 * 3_600 * 1_000;
const SWEEP_EVERY_MS: i64 = 60_000;
const SWEPT: u32 = 60;

/// Between the beginnings of two readings. A step of 256 takes half of its second.
const APART: Duration = Duration::from_millis(2);

impl<L: Ledger> Dispatcher<L> {
    pub(super) async fn read_quotes(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut trouble = Trouble::new("payments are not confirmed");
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stopped(&mut stop) => return,
            }
            tokio::select! {
                done = self.read_due() => match done {
                    Ok(()) => trouble.over(),
                    Err(error) => trouble.log(&error),
                },
                () = stopped(&mut stop) => return,
            }
        }
    }

    pub(super) async fn read_due(self: &Arc<Self>) -> Result<(), LedgerError> {
        if !self.may_call() {
            return Ok(());
        }
        let by = self.clock.now_ms() - READ_EVERY_MS;
        let mut calls = JoinSet::new();
        // One that can't be written down holds up no other.
        let mut done = Ok(());
        let mut quotes = self.ledger.unread_quotes(by, STEP).await?;
        let now = self.clock.now_ms();
        if now - self.swept_ms.load(Ordering::Relaxed) >= SWEEP_EVERY_MS {
            self.swept_ms.store(now, Ordering::Relaxed);
            let idle = self.ledger.idle_quotes(now - IDLE_MS, SWEPT).await?;
            let fresh = |quote: &Quote| quotes.iter().all(|q| q.quote_ref != quote.quote_ref);
            let idle: Vec<Quote> = idle.into_iter().filter(fresh).collect();
            quotes.extend(idle);
        }
        quotes.extend(self.witness(&quotes, by).await?);
        for quote in quotes {
            if calls.len() >= self.plan.calls {
                done = done.and(finished(calls.join_next().await));
            }
            if !self.may_call() {
                break;
            }
            let dispatcher = Arc::clone(self);
            calls.spawn(async move { dispatcher.read(quote).await });
            // Those that became due together are not read, and written, at the same moment.
            sleep(APART).await;
        }
        for lost in self.ledger.lost_quotes(by, by + READ_EVERY_MS - LOST_EVERY_MS, STEP).await? {
            if calls.len() >= self.plan.calls {
                done = done.and(finished(calls.join_next().await));
            }
            if !self.may_call() {
                break;
            }
            let dispatcher = Arc::clone(self);
            calls.spawn(async move { dispatcher.read_lost(lost).await });
        }
        while !calls.is_empty() {
            done = done.and(finished(calls.join_next().await));
        }
        done
    }

    /// While some quotes are not shown: one that has been. Is that still?
    async fn witness(&self, read: &[Quote], by: i64) -> Result<Option<Quote>, LedgerError> {
        if !self.unshown().is_any() {
            return Ok(None);
        }
        let others = self.ledger.idle_quotes(by, STEP).await?;
        let unshown = self.unshown();
        let is_read = |quote: &Quote| read.iter().any(|one| one.quote_ref == quote.quote_ref);
        Ok(others.into_iter().find(|quote| !unshown.is(&quote.quote_ref) && !is_read(quote)))
    }

    /// Has the mint got a quote back that it did not know?
    async fn read_lost(&self, lost: LostQuote) -> Result<(), LedgerError> {
        let Some(id) = &lost.quote.quote_id else { return Ok(()) };
        let read = self.mint.quote(id).await;
        self.note(&read);
        let now = self.clock.now_ms();
        match read {
            Ok(found) if found.payout_key == Some(lost.quote.payout_key) => {
                let credits = self.ledger.quote_back(lost.quote.quote_ref, now).await?;
                if credits > 0 {
                    tracing::warn!(
                        credits,
                        "the mint knows a quote again that it had lost: what was sent there is \
                         paid there"
                    );
                    self.sent.send_modify(|count| *count += 1);
                }
                Ok(())
            }
            Err(error) if is(&error, Refusal::UnknownQuote) => {
                self.ledger.quote_gone(lost, now).await
            }
            // Not known: what waits goes on waiting.
            Ok(_) | Err(_) => self.ledger.quote_hidden(lost.quote.quote_ref, now).await,
        }
    }

    /// Reads one quote; this makes the mint ask our processor for what it missed.
    async fn read(&self, quote: Quote) -> Result<(), LedgerError> {
        let Some(id) = &quote.quote_id else { return Ok(()) };
        let read = self.mint.quote(id).await;
        self.note(&read);
        let now = self.clock.now_ms();
        if quote.state != QuoteState::Open
            || read.as_ref().is_err_and(|e| is(e, Refusal::UnknownQuote) || is(e, Refusal::InUse))
        {
            self.unshown().leave(&quote.quote_ref);
        }
        match read {
            Ok(found) => {
                self.unshown().shown(&quote.quote_ref);
                let (paid, issued) = (found.amount_paid, found.amount_issued);
                match self.ledger.confirm(quote.quote_ref, paid, issued, now).await? {
                    Reading::Even(0) => {}
                    Reading::Even(credits) => tracing::info!(credits, paid, "the mint has paid"),
                    Reading::Behind { missing } => {
                        tracing::debug!(missing, "the mint has not counted all that was sent");
                    }
                    Reading::Surplus { extra } => tracing::error!(
                        extra,
                        "the mint shows more on a quote than was ever sent: somebody else pays \
                         there. Nothing more is sent until the operator has looked: gopool-sv2 \
                         ledger reconcile"
                    ),
                }
                Ok(())
            }
            // All on it was paid and minted: nobody misses it.
            Err(error)
                if is(&error, Refusal::UnknownQuote) && quote.state == QuoteState::Settled =>
            {
                self.ledger.quote_hidden(quote.quote_ref, now).await
            }
            Err(error) if is(&error, Refusal::UnknownQuote) => {
                let detail = "the mint does not know the quote any more";
                let lost = self.ledger.quote_lost(quote.quote_ref, detail.to_owned(), now).await?;
                tracing::error!(
                    credits = lost,
                    "{detail}: was its database lost? What was sent on it waits for the operator: \
                     gopool-sv2 ledger stuck"
                );
                Ok(())
            }
            Err(error) if is(&error, Refusal::InUse) => {
                tracing::error!(
                    "the mint refuses to show a quote, because it has one of its payments on \
                     another quote: no payment of it is confirmed until that is gone. See \
                     gopool-sv2 ledger reconcile"
                );
                self.ledger.quote_hidden(quote.quote_ref, now).await
            }
            Err(MintError::Unreachable(_)) => Ok(()),
            // Read again, others first; but all sending waits for a first look at each open quote.
            Err(error) => {
                let is_open = quote.state == QuoteState::Open;
                if is_open && self.unshown().failed(&quote.quote_ref) {
                    tracing::error!(
                        %error,
                        "the mint has not shown a quote {UNSHOWN_MAX} times, and others \
                         meanwhile: it takes no more credits. What was sent on it waits"
                    );
                    self.ledger.close_quote(quote.quote_ref.clone()).await?;
                }
                self.ledger.quote_unshown(quote.quote_ref, now).await
            }
        }
    }
}
