//! Tells miners of their credits, as far as their connections have agreed to hear it.

use std::sync::Arc;

use gopool_sv2_proto::v1::{self, event::Event};
use prost::Message as _;
use tokio::sync::watch;

use super::ledger::{Ledger as _, LedgerError, Notice, SqliteLedger};
use crate::backend::ledger::Returns;
use crate::backend::MintNews;
use crate::sys::stopped;

/// Events that are read at a time.
const BATCH: u32 = 256;

/// The mint did not answer, or not as it should; it is tried again.
const MINT_UNAVAILABLE: &str = "mint-unavailable";
/// The account's quote at the mint is of no use any more, or all sending is stopped. What was not
/// sent gets another quote; what was sent may wait for the operator.
const QUOTE_FAILED: &str = "quote-failed";

/// Follows the ledger's events from the newest on. What it misses is no loss: wallets ask the mint.
#[derive(Debug)]
pub struct Herald {
    ledger: SqliteLedger,
    returns: Returns,
    mint_url: Arc<str>,
}

impl Herald {
    /// `returns`: the way to the miners. `mint_url`: where they are told that the mint is.
    #[must_use]
    pub fn new(ledger: SqliteLedger, returns: Returns, mint_url: &str) -> Self {
        Self { ledger, returns, mint_url: mint_url.into() }
    }

    /// Runs until `stop` is true. `newest`: the number of the newest event.
    pub async fn run(self, mut newest: watch::Receiver<u64>, mut stop: watch::Receiver<bool>) {
        let mut told = *newest.borrow_and_update();
        loop {
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = stopped(&mut stop) => return,
            }
            let last = *newest.borrow_and_update();
            if let Err(error) = self.tell(told, last).await {
                tracing::warn!(%error, "miners are not told of some credits");
            }
            told = last;
        }
    }

    /// Tells what the events behind `after` say, up to `last`.
    pub(super) async fn tell(&self, mut after: u64, last: u64) -> Result<(), LedgerError> {
        while after < last && self.returns.has_listeners() {
            let stored = self.ledger.events_after(after, BATCH).await?;
            let Some(newest) = stored.last().map(|stored| stored.seq) else { break };
            after = newest;
            for stored in stored {
                let Ok(v1::Event { event: Some(event), .. }) = v1::Event::decode(stored.payload)
                else {
                    continue;
                };
                self.event(event).await?;
            }
        }
        Ok(())
    }

    async fn event(&self, event: Event) -> Result<(), LedgerError> {
        match event {
            Event::MintConfirmed(confirmed) => {
                let found = self.ledger.credit_notice(confirmed.credit_id).await?;
                let Some(Notice { identity, payout_key, quote_id, paid_seen }) = found else {
                    return Ok(());
                };
                let (Some(key), Some(quote_id)) = (payout_key, quote_id) else { return Ok(()) };
                let news = MintNews::Credited {
                    credit_seq: confirmed.credit_id,
                    quote_id,
                    amount: confirmed.amount,
                    amount_paid: paid_seen,
                    mint_url: Arc::clone(&self.mint_url),
                };
                self.returns.tell_news(identity, key, news);
            }
            Event::MintFailed(failed) => {
                let Some(error_code) = error_code(&failed) else { return Ok(()) };
                let found = match failed.credit_id {
                    0 => self.ledger.quote_notices(failed.quote_request).await?,
                    credit => self.ledger.credit_notice(credit).await?.into_iter().collect(),
                };
                for Notice { identity, payout_key, .. } in found {
                    let Some(key) = payout_key else { continue };
                    let news = MintNews::Failed { error_code: error_code.to_owned() };
                    self.returns.tell_news(identity, key, news);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a miner is told of a failure; of a row of tries only the first counts.
fn error_code(failed: &v1::MintFailed) -> Option<&'static str> {
    match (failed.next_try_ms, failed.attempts) {
        (0, _) => Some(QUOTE_FAILED),
        (_, 0 | 1) => Some(MINT_UNAVAILABLE),
        _ => None,
    }
}
