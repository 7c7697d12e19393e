//! The ledger as the payment processor reads it.

use tokio::sync::watch;

use super::clock::Clock;
use super::ledger::{Ledger, LedgerError, Owed, UNUSED_MS};
use super::processor::{
    Asker, Created, Deposits, Payment, Place, Refused, Sent, Unavailable, Wish,
};
use crate::types::{PayoutKey, QuoteRef};

/// How long wallets have to mint what was paid on a quote of theirs last, in milliseconds: its
/// expiry is told when it is made. Stock wallets only warn after it, stock mints don't look.
const MINTING_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// Answers the mint from the ledger.
#[derive(Debug)]
pub struct LedgerDeposits<L> {
    ledger: L,
    clock: Clock,
    quote_life_ms: i64,
    sent: watch::Receiver<u64>,
    listens: watch::Sender<u64>,
}

impl<L> LedgerDeposits<L> {
    /// `quote_life_ms`: how long a quote takes credits. `sent` changes when there is more for the
    /// mint to be told.
    pub fn new(ledger: L, quote_life_ms: i64, sent: watch::Receiver<u64>) -> Self {
        Self { ledger, clock: Clock::start(), quote_life_ms, sent, listens: watch::Sender::new(0) }
    }

    /// Rises each time that the mint opens its stream of payments.
    #[must_use]
    pub fn listens(&self) -> watch::Receiver<u64> {
        self.listens.subscribe()
    }
}

impl<L: Ledger> LedgerDeposits<L> {
    /// A wallet's own quote. Nothing of its request goes into the name.
    async fn create_for_wallet(&self, key: PayoutKey, id: String) -> Result<Created, Refused> {
        // Nobody finds another's by counting.
        let (quote, now) = (QuoteRef::from_number(rand::random()), self.clock.now_ms());
        match self.ledger.new_wallet_quote(quote, key, id, now).await {
            Ok(()) => {}
            Err(LedgerError::Refused(_)) => return Err(Refused::Taken),
            Err(error) => return Err(unavailable(&error).into()),
        }
        let taking = UNUSED_MS.saturating_add(self.quote_life_ms);
        let expiry_ms = now.saturating_add(taking).saturating_add(MINTING_MS);
        Ok(Created {
            identifier: quote.to_string(),
            request: quote.request(),
            expiry: u64::try_from(expiry_ms / 1_000).ok(),
        })
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
        let reference = match wish.asker {
            Asker::Pool { reference } => reference,
            Asker::Wallet => return self.create_for_wallet(wish.payout_key, wish.quote_id).await,
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

    fn mint_listens(&self) {
        self.listens.send_modify(|count| *count += 1);
    }
}
