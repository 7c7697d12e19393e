//! The ledger as the share path and the pool's requests see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, Semaphore};

use super::clock::Clock;
use super::ledger::{self, Ledger, LedgerError, SqliteLedger, POOL_CLOCK_MS};
use crate::backend::ledger::{
    Account, Answer, Call, CallError, Code, Keeping, Kept, LedgerShare, QuoteAnswer, QuoteUnknown,
    RecordedShare, Reply, Returns, ShareLedger,
};
use crate::types::QuoteRef;

/// Quotes that are looked up at a time.
const LOOKUPS_MAX: usize = 64;
/// How long a channel waits for that.
const LOOKUP: Duration = Duration::from_secs(5);

/// Hands accepted shares to the ledger.
pub struct Keeper {
    ledger: SqliteLedger,
    unit: String,
    clock: Clock,
    runtime: Handle,
    lookups: Arc<Semaphore>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Keeper {
    /// `unit`: the mint's. Requests of the pool run on the present runtime.
    #[must_use]
    pub fn new(ledger: SqliteLedger, unit: String) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { ledger, unit, clock: Clock::start(), runtime: Handle::current(), lookups }
    }
}

impl ShareLedger for Keeper {
    fn record(&self, share: LedgerShare) -> bool {
        self.ledger.record(ledger::LedgerShare {
            id: share.id,
            source: ledger::Source::V2(ledger::Origin {
                session: share.origin.run,
                submit: share.origin.submit_id,
            }),
            hash: share.hash,
            identity: share.user_identity,
            payout_key: share.payout_key,
            quote: share.quote,
            worker: share.worker,
            credit: share.credit,
            block_candidate: share.block_candidate,
            height: 0,
            // Not the wall clock's time: one that jumps would hold the credit back, or hurry it.
            at_ms: self.clock.now_ms(),
        })
    }

    fn has_payout(&self, user_identity: &bytes::Bytes) -> bool {
        self.ledger.has_payout(user_identity)
    }

    fn call(&self, call: Call, answer: Answer) {
        let (ledger, unit, now) = (self.ledger.clone(), self.unit.clone(), self.clock.now_ms());
        // At most as many as are let in.
        self.runtime.spawn(async move {
            answer.give(serve(&ledger, call, unit, now).await.map_err(|error| failed(&error)));
        });
    }

    fn find_quote(&self, quote: QuoteRef, answer: QuoteAnswer) {
        // Full: the answer that is dropped says so.
        let Ok(place) = Arc::clone(&self.lookups).try_acquire_owned() else { return };
        let ledger = self.ledger.clone();
        let found = self.runtime.spawn(async move {
            let found = ledger.wallet_quote(quote).await;
            // Held for as long as the disk is busy with it, whoever still waits.
            drop(place);
            found
        });
        self.runtime.spawn(async move {
            let found = tokio::time::timeout(LOOKUP, found).await;
            answer.give(match found {
                Ok(Ok(Ok(Some(key)))) => Ok(key),
                Ok(Ok(Ok(None))) => Err(QuoteUnknown::NoSuchQuote),
                Ok(Ok(Err(error))) => {
                    tracing::warn!(%error, "a quote can't be looked up");
                    Err(QuoteUnknown::Unavailable)
                }
                Ok(Err(_)) | Err(_) => Err(QuoteUnknown::Unavailable),
            });
        });
    }
}

fn failed(error: &LedgerError) -> CallError {
    let code = match error {
        LedgerError::Closed | LedgerError::Busy | LedgerError::Storage(_) => Code::Unavailable,
        LedgerError::Unknown(_) => Code::NotFound,
        LedgerError::Refused(_) | LedgerError::Credit { .. } | LedgerError::Quote { .. } => {
            Code::InvalidArgument
        }
        LedgerError::Damaged(_) => Code::Internal,
    };
    CallError { code, detail: error.to_string() }
}

async fn serve(
    ledger: &SqliteLedger,
    call: Call,
    unit: String,
    now: i64,
) -> Result<Reply, LedgerError> {
    match call {
        Call::SetPayout { user_identity, payout_key, claim_unassigned } => {
            let name = user_identity.clone();
            let set = ledger.set_payout(user_identity, payout_key, claim_unassigned, now).await?;
            // What changes where money goes leaves a trace.
            tracing::info!(
                identity = %name.escape_ascii(),
                key = payout_key.map_or_else(|| "none".to_owned(), |key| key.to_string()),
                claimed = set,
                "the pool has set where credit goes"
            );
            Ok(Reply::PayoutSet(set))
        }
        Call::GetAccount { user_identity, payout_key } => {
            let books = ledger.account(user_identity, payout_key).await?;
            let books = books.ok_or(LedgerError::Unknown("account"))?;
            Ok(Reply::Account(Box::new(Account {
                accrued: books.accrued.difficulty(),
                shares: books.shares,
                pending: books.pending_amount,
                confirmed: books.confirmed_amount,
                issued: books.issued_amount,
                unit,
                quote_requests: books.quote_requests,
                quote_ids: books.quote_ids,
                frozen: books.frozen,
            })))
        }
        Call::RecordShares(shares) => {
            let shares = shares.into_iter().map(|share| from_elsewhere(share, now));
            let shares = shares.collect::<Result<_, _>>()?;
            let outcomes = ledger.record_many(shares, now).await?;
            let recorded = |outcome| outcome == ledger::Outcome::Recorded;
            Ok(Reply::Recorded(outcomes.into_iter().map(recorded).collect()))
        }
    }
}

/// `now`: the ledger's time. The pool's clock may be a little ahead of it; by more, and a share
/// would seem to be younger than it is, and so not forgotten when it is.
fn from_elsewhere(share: RecordedShare, now: i64) -> Result<ledger::LedgerShare, LedgerError> {
    match share.accepted_ms {
        ..=0 => return Err(LedgerError::Refused("accepted_ms is not when a share was accepted")),
        at if at > now.saturating_add(POOL_CLOCK_MS) => {
            return Err(LedgerError::Refused(
                "a share was accepted in ten minutes or later, by the sidecar's clock: set the \
                 clocks; one that was set, or slept, since the sidecar's start counts from its \
                 next start on",
            ))
        }
        _ => {}
    }
    Ok(ledger::LedgerShare {
        id: 0,
        source: ledger::Source::V1,
        hash: share.hash,
        identity: share.user_identity,
        payout_key: share.payout_key,
        quote: None,
        worker: bytes::Bytes::new(),
        credit: share.credit,
        block_candidate: share.block_candidate,
        height: share.height,
        at_ms: share.accepted_ms.min(now),
    })
}

/// Tells the miners what became of their shares, until the ledger is gone.
pub async fn tell(mut outcomes: mpsc::Receiver<Vec<ledger::Kept>>, returns: Returns) {
    while let Some(kept) = outcomes.recv().await {
        returns.kept(kept.into_iter().map(|kept| Kept {
            id: kept.id,
            outcome: match kept.outcome {
                ledger::Outcome::Recorded => Keeping::Recorded,
                ledger::Outcome::Again => Keeping::Again,
                ledger::Outcome::Duplicate => Keeping::Duplicate,
                ledger::Outcome::Failed => Keeping::Failed,
            },
        }));
    }
    returns.lost();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Difficulty, Hash};

    #[test]
    fn rejects_shares_of_another_door_without_a_time_or_from_a_clock_far_ahead() {
        let now = 1_000_000_000;
        let at = |accepted_ms| {
            let share = RecordedShare {
                hash: Hash([1; 32]),
                user_identity: "name".into(),
                payout_key: None,
                credit: Difficulty { whole: 1, fraction: 0 },
                height: 0,
                block_candidate: false,
                accepted_ms,
            };
            from_elsewhere(share, now).map(|share| share.at_ms)
        };
        assert_eq!((at(1), at(now)), (Ok(1), Ok(now)));
        // Not later than now, which is when its row may be deleted at the earliest.
        assert_eq!((at(now + 1), at(now + POOL_CLOCK_MS)), (Ok(now), Ok(now)));
        for accepted_ms in [i64::MIN, -1, 0, now + POOL_CLOCK_MS + 1, i64::MAX] {
            assert!(matches!(at(accepted_ms), Err(LedgerError::Refused(_))), "{accepted_ms}");
        }
    }
}
