//! What a program wants done when something becomes of credit.
//!
//! Callbacks are called after the commit, on a thread of their own, in the order of the ledger's
//! events. One that panics is logged and changes nothing; one that blocks holds up the callbacks
//! behind it, and nothing else. A program that must not miss any takes the events themselves, which
//! are kept until they are acknowledged.

use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use gopool_sv2_proto::v1::{self, event::Event};
use prost::Message as _;
use tokio::sync::{mpsc, watch};

use super::ledger::{Ledger as _, LedgerError, SqliteLedger};
use crate::sys::stopped;

/// Events that are read at a time.
const BATCH: u32 = 256;
/// Events that wait for the thread.
const WAITING: usize = 64;

/// Called for what happens from the start of the bridge on. Each has nothing to do by default.
pub trait QuoteCallbacks: fmt::Debug + Send + Sync + 'static {
    /// Work of an account entered the ledger; sums since the last time.
    fn on_accrued(&self, _: &v1::MintAccrued) {}
    /// Work became a credit with an amount.
    fn on_sealed(&self, _: &v1::MintSealed) {}
    /// A deposit quote is open at the mint.
    fn on_quote_open(&self, _: &v1::MintQuoteOpened) {}
    /// A credit was sent to the mint.
    fn on_sent(&self, _: &v1::MintSent) {}
    /// The mint shows the credit.
    fn on_confirmed(&self, _: &v1::MintConfirmed) {}
    /// The wallet was seen to have minted.
    fn on_issued(&self, _: &v1::MintIssued) {}
    /// Something went wrong; it is tried again, or waits for the operator.
    fn on_failed(&self, _: &v1::MintFailed) {}
}

/// Writes what happens to the log, at debug.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreditLog;

impl QuoteCallbacks for CreditLog {
    fn on_sealed(&self, event: &v1::MintSealed) {
        let v1::MintSealed { credit_id, amount, shares, .. } = event;
        tracing::debug!(credit = credit_id, amount, shares, "credit sealed");
    }

    fn on_confirmed(&self, event: &v1::MintConfirmed) {
        let v1::MintConfirmed { credit_id, amount, .. } = event;
        tracing::debug!(credit = credit_id, amount, "credit confirmed by the mint");
    }

    fn on_failed(&self, event: &v1::MintFailed) {
        let v1::MintFailed { credit_id, attempts, detail, .. } = event;
        tracing::debug!(credit = credit_id, attempts, detail, "credit or quote failed");
    }
}

fn call(callbacks: &dyn QuoteCallbacks, event: &Event) {
    match event {
        Event::MintAccrued(event) => callbacks.on_accrued(event),
        Event::MintSealed(event) => callbacks.on_sealed(event),
        Event::MintQuoteOpened(event) => callbacks.on_quote_open(event),
        Event::MintSent(event) => callbacks.on_sent(event),
        Event::MintConfirmed(event) => callbacks.on_confirmed(event),
        Event::MintIssued(event) => callbacks.on_issued(event),
        Event::MintFailed(event) => callbacks.on_failed(event),
        _ => {}
    }
}

/// Starts the thread, which ends when the sender is gone and the last callback has returned.
fn start(callbacks: Arc<dyn QuoteCallbacks>) -> std::io::Result<mpsc::Sender<Event>> {
    let (sender, mut events) = mpsc::channel(WAITING);
    let run = move || {
        while let Some(event) = events.blocking_recv() {
            // It sees its own state only, and may have left that half done: its own affair.
            let called = catch_unwind(AssertUnwindSafe(|| call(&*callbacks, &event)));
            if called.is_err() {
                tracing::error!("a callback for credit panicked; nothing else is changed by that");
            }
        }
    };
    thread::Builder::new().name("mint-callbacks".to_owned()).spawn(run)?;
    Ok(sender)
}

/// Follows the ledger's events from the newest on, until `stop` is true. `newest`: the number of
/// the newest event.
pub(super) async fn run(
    ledger: SqliteLedger,
    callbacks: Arc<dyn QuoteCallbacks>,
    mut newest: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let sender = match start(callbacks) {
        Ok(sender) => sender,
        Err(error) => return tracing::error!(%error, "no callbacks for credit"),
    };
    let mut told = *newest.borrow_and_update();
    loop {
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = stopped(&mut stop) => return,
        }
        let last = *newest.borrow_and_update();
        tokio::select! {
            read = hand_over(&ledger, &sender, &mut told, last) => if let Err(error) = read {
                tracing::warn!(%error, "callbacks for credit wait");
            },
            () = stopped(&mut stop) => return,
        }
    }
}

async fn hand_over(
    ledger: &SqliteLedger,
    sender: &mpsc::Sender<Event>,
    told: &mut u64,
    last: u64,
) -> Result<(), LedgerError> {
    while *told < last {
        let stored = ledger.events_after(*told, BATCH).await?;
        if stored.is_empty() {
            break;
        }
        for stored in stored {
            *told = stored.seq;
            let Ok(v1::Event { event: Some(event), .. }) = v1::Event::decode(stored.payload) else {
                continue;
            };
            // The thread doesn't end before the sender does.
            let _ = sender.send(event).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
