//! The ledger as the payment processor reads it.

use tokio::sync::watch;

use super::ledger::{Ledger, LedgerError, Owed};
use super::processor::{
    Asker, Created, Deposits, Payment, Place, Refused, Sent, Unavailable, Wish,
};

/// Answers the mint from the ledger.
#[derive(Debug)]
pub struct LedgerDeposits<L> {
    ledger: L,
    sent: watch::Receiver<u64>,
}

impl<L> LedgerDeposits<L> {
    /// `sent` changes when there is more for the mint to be told.
    pub const fn new(ledger: L, sent: watch::Receiver<u64>) -> Self {
        Self { ledger, sent }
    }
}

fn unavailable(error: &LedgerError) -> Unavailable {
    Unavailable(error.to_string())
}

fn payment(owed: Owed) -> Payment {
    Payment { payment_id: owed.payment_id, amount: owed.amount }
}

impl<L: Ledger> Deposits for LedgerDeposits<L> {
    async fn create(&self, wish: Wish) -> Result<Created, Refused> {
        let Asker::Pool { reference } = wish.asker else {
            return Err(Refused::UnknownReference);
        };
        let known = self.ledger.quote(reference.clone()).await.map_err(|e| unavailable(&e))?;
        let known = known.ok_or(Refused::UnknownReference)?;
        if known.payout_key != wish.payout_key {
            return Err(Refused::OtherKey);
        }
        match self.ledger.set_candidate(reference.clone(), wish.quote_id).await {
            Ok(()) => Ok(Created { identifier: reference, request: known.request, expiry: None }),
            Err(LedgerError::Refused(_) | LedgerError::Quote { .. }) => Err(Refused::Taken),
            Err(LedgerError::Unknown(_)) => Err(Refused::UnknownReference),
            Err(error) => Err(unavailable(&error).into()),
        }
    }

    async fn payments(&self, identifier: &str) -> Result<Vec<Payment>, Unavailable> {
        let paid = self.ledger.payments_of(identifier.to_owned()).await;
        Ok(paid.map_err(|error| unavailable(&error))?.into_iter().map(payment).collect())
    }

    async fn unconfirmed(&self, after: Place, most: usize) -> Result<Vec<Sent>, Unavailable> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let owed = self.ledger.unconfirmed(after.0, most).await.map_err(|e| unavailable(&e))?;
        let sent = owed.into_iter().map(|owed| Sent {
            place: Place(owed.place),
            identifier: owed.quote_ref.clone(),
            payment: payment(owed),
        });
        Ok(sent.collect())
    }

    fn woken(&self) -> watch::Receiver<u64> {
        self.sent.clone()
    }
}
