//! Deposit quotes: from the wish to an open one, whatever gets lost on the way.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, MissedTickBehavior};

use super::backoff::wait_ms;
use super::{Dispatcher, STEP, TICK};
use crate::mint::http::{MintError, Quote as AtMint, Refusal};
use crate::mint::ledger::{Ledger, LedgerError, Quote, QuoteNeed, QuoteState};
use crate::obs::Trouble;
use crate::sys::stopped;
use crate::types::QuoteRef;

/// As many tries at most count for the wait of one quote while the mint does not answer at all:
/// 4 s. How seldom a mint is called that is away is the breaker's matter, which knows when it is
/// back.
const AWAY_TRIES: u32 = 2;

impl<L: Ledger> Dispatcher<L> {
    pub(super) async fn open_quotes(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut trouble = Trouble::new("quotes wait");
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stopped(&mut stop) => return,
            }
            tokio::select! {
                done = self.open_due() => match done {
                    Ok(()) => trouble.over(),
                    Err(error) => trouble.log(&error),
                },
                // What is under way is found out at the next start.
                () = stopped(&mut stop) => return,
            }
        }
    }

    pub(super) async fn open_due(self: &Arc<Self>) -> Result<(), LedgerError> {
        let now = self.clock.now_ms();
        for need in self.ledger.due_quotes(now, STEP).await? {
            if let QuoteNeed::Missing { account_id, .. } = need {
                // Nobody finds another's by counting.
                let quote = QuoteRef::from_number(rand::random());
                let (name, request) = (quote.to_string(), quote.request());
                self.ledger.new_quote(account_id, name, request, now).await?;
            }
        }
        let mut calls = JoinSet::new();
        for need in self.ledger.due_quotes(now, STEP).await? {
            let QuoteNeed::Unfinished(quote) = need else { continue };
            if !self.may_call() {
                break;
            }
            if calls.len() >= self.plan.calls {
                finished(calls.join_next().await)?;
            }
            let dispatcher = Arc::clone(self);
            calls.spawn(async move { dispatcher.open(quote).await });
        }
        while !calls.is_empty() {
            finished(calls.join_next().await)?;
        }
        Ok(())
    }

    /// One try to get a quote open.
    async fn open(&self, quote: Quote) -> Result<(), LedgerError> {
        if let Some(candidate) = &quote.candidate_quote_id {
            return self.find_out(&quote, candidate, false).await;
        }
        let reference = quote.quote_ref.clone();
        if quote.state == QuoteState::New {
            self.ledger.quote_creating(reference.clone()).await?;
        }
        let token = self.secret.token(&reference, &quote.payout_key);
        let created = self.mint.create(&quote.payout_key, &reference, &token).await;
        self.note(&created);
        // What the mint asked our processor while it made the quote.
        let known = self.ledger.quote(reference.clone()).await?;
        let candidate = known.and_then(|known| known.candidate_quote_id);
        match (created, candidate) {
            (Ok(made), Some(candidate)) if made.quote_id == candidate => {
                self.opened(&quote, &made).await
            }
            (Ok(_), candidate) => {
                // Somebody answers for the mint, or its processor is not us.
                let detail = "the mint made a quote without asking this processor: does it dial \
                              [mint.processor].listen, and is [mint].url the same mint?";
                tracing::error!("{detail}");
                match candidate {
                    Some(candidate) => self.find_out(&quote, &candidate, false).await,
                    None => self.again(&quote, quote.attempts, detail.to_owned()).await,
                }
            }
            (Err(error), Some(candidate)) => {
                let in_use = is(&error, Refusal::InUse);
                self.find_out(&quote, &candidate, in_use).await
            }
            (Err(error), None) => {
                let tries = match error {
                    MintError::Refused { .. } | MintError::NotAnId => quote.attempts,
                    MintError::Unreachable(_) | MintError::TimedOut(_) | MintError::NotAMint(_) => {
                        quote.attempts.min(AWAY_TRIES)
                    }
                };
                self.again(&quote, tries, error.to_string()).await
            }
        }
    }

    /// Did the mint make the quote under this id? `in_use`: it says that it has one of our name.
    async fn find_out(
        &self,
        quote: &Quote,
        candidate: &str,
        in_use: bool,
    ) -> Result<(), LedgerError> {
        let read = self.mint.quote(candidate).await;
        self.note(&read);
        match read {
            Ok(found) if found.payout_key == Some(quote.payout_key) => {
                self.opened(quote, &found).await
            }
            Ok(_) => self.give_up(quote, "the mint's quote is locked to another key").await,
            Err(error) if is(&error, Refusal::UnknownQuote) && in_use => {
                // Made in an earlier try whose id is not known any more. Nothing was paid on it.
                self.give_up(quote, "the mint has a quote of this name under another id").await
            }
            Err(error) if is(&error, Refusal::UnknownQuote) && quote.account_id.is_none() => {
                // Only the wallet could make it. Its key's credits go on quotes that we make.
                self.give_up(quote, "the mint did not make the wallet's quote").await
            }
            Err(error) if is(&error, Refusal::UnknownQuote) => {
                let detail = "the mint did not make the quote".to_owned();
                self.again(quote, quote.attempts, detail).await
            }
            // Not known yet: the next look will tell.
            Err(_) => Ok(()),
        }
    }

    async fn opened(&self, quote: &Quote, made: &AtMint) -> Result<(), LedgerError> {
        let expiry = made.expiry.map_or(0, |at| i64::try_from(at).unwrap_or(i64::MAX));
        let (reference, id) = (quote.quote_ref.clone(), made.quote_id.clone());
        let now = self.clock.now_ms();
        if made.amount_paid > 0 {
            // Before it takes any credit: what was paid was not sent from here.
            let paid = made.amount_paid;
            let text = format!("the mint shows {paid} on a quote on which nothing was sent yet");
            tracing::error!("{text}: was the ledger restored from an old copy?");
            self.ledger.stop_sending(text).await?;
        }
        self.ledger.quote_opened(reference.clone(), id, expiry, now).await?;
        if made.amount_paid > 0 {
            self.ledger.confirm(reference, made.amount_paid, made.amount_issued, now).await?;
        }
        tracing::info!(key = %quote.payout_key, "a deposit quote is open");
        Ok(())
    }

    /// `tries`: how many count for the wait.
    async fn again(&self, quote: &Quote, tries: u32, detail: String) -> Result<(), LedgerError> {
        let now = self.clock.now_ms();
        let next = now + wait_ms(tries);
        self.ledger.quote_again(quote.quote_ref.clone(), next, detail, now).await
    }

    async fn give_up(&self, quote: &Quote, detail: &str) -> Result<(), LedgerError> {
        tracing::warn!(detail, "another quote is asked for");
        let now = self.clock.now_ms();
        self.ledger.quote_lost(quote.quote_ref.clone(), detail.to_owned(), now).await.map(drop)
    }
}

pub(super) fn is(error: &MintError, refusal: Refusal) -> bool {
    matches!(error, MintError::Refused { kind, .. } if *kind == refusal)
}

/// What a task of a set came to.
pub(super) fn finished(
    done: Option<Result<Result<(), LedgerError>, tokio::task::JoinError>>,
) -> Result<(), LedgerError> {
    match done {
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            tracing::error!(%error, "a call to the mint failed");
            Ok(())
        }
        None => Ok(()),
    }
}
