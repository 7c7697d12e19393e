//! Books in memory behind the processor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::mint::processor::{
    Asker, Created, Deposits, Payment, Place, Refused, Sent, Unavailable, Wish,
};
use crate::types::PayoutKey;

/// Quotes and payments in memory.
pub(super) struct Books {
    state: Mutex<State>,
    woken: watch::Sender<u64>,
}

#[derive(Default)]
pub(super) struct State {
    /// By our names: the key, and the mint's id if it was told.
    quotes: BTreeMap<String, (PayoutKey, Option<String>)>,
    sent: Vec<Sent>,
    confirmed: BTreeSet<String>,
    /// All that was asked for, in order.
    pub(super) wishes: Vec<Wish>,
    /// The books can't be read or written.
    pub(super) broken: bool,
    /// Every quote gets this name.
    pub(super) same_name: Option<String>,
    /// A payment of this amount is sent while the mint makes a quote.
    pub(super) hasty: Option<u64>,
    /// Places of payments are in disorder.
    pub(super) disorder: bool,
}

impl Default for Books {
    fn default() -> Self {
        Self { state: Mutex::default(), woken: watch::Sender::new(0) }
    }
}

impl Books {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool is about to ask for a quote.
    pub(super) fn ask(&self, reference: &str, key: PayoutKey) {
        self.state().quotes.entry(reference.to_owned()).or_insert((key, None));
    }

    /// The mint's id of a quote, as it was told before the quote was made.
    pub(super) fn candidate(&self, reference: &str) -> Option<String> {
        self.state().quotes.get(reference)?.1.clone()
    }

    /// Sends a payment.
    pub(super) fn send(&self, identifier: &str, payment_id: &str, amount: u64) {
        self.note(identifier, payment_id, amount);
        self.wake();
    }

    /// Writes a payment down and wakes nobody.
    pub(super) fn note(&self, identifier: &str, payment_id: &str, amount: u64) {
        let mut state = self.state();
        let place = Place(state.sent.last().map_or(1, |sent| sent.place.0 + 1));
        let payment = Payment { payment_id: payment_id.to_owned(), amount };
        state.sent.push(Sent { place, identifier: identifier.to_owned(), payment });
    }

    pub(super) fn wake(&self) {
        self.woken.send_modify(|count| *count += 1);
    }

    pub(super) fn confirm(&self, payment_id: &str) {
        self.state().confirmed.insert(payment_id.to_owned());
    }

    fn checked(&self) -> Result<MutexGuard<'_, State>, Unavailable> {
        let state = self.state();
        match state.broken {
            true => Err(Unavailable("the disk is full".to_owned())),
            false => Ok(state),
        }
    }
}

impl Deposits for Books {
    async fn create(&self, wish: Wish) -> Result<Created, Refused> {
        let mut state = self.checked()?;
        state.wishes.push(wish.clone());
        let count = state.wishes.len();
        let identifier = match wish.asker {
            Asker::Wallet => format!("gp1q:wallet{count}"),
            Asker::Pool { reference } => {
                let (key, id) =
                    state.quotes.get_mut(&reference).ok_or(Refused::UnknownReference)?;
                if *key != wish.payout_key {
                    return Err(Refused::OtherKey);
                }
                if id.is_some() {
                    return Err(Refused::Taken);
                }
                *id = Some(wish.quote_id);
                reference
            }
        };
        let identifier = state.same_name.clone().unwrap_or(identifier);
        let hasty = state.hasty.take();
        drop(state);
        if let Some(amount) = hasty {
            self.send(&identifier, "hasty", amount);
        }
        let request = format!("ehash:{identifier}");
        Ok(Created { identifier, request, expiry: Some(2_000_000_000) })
    }

    async fn payments(&self, identifier: &str) -> Result<Vec<Payment>, Unavailable> {
        let state = self.checked()?;
        let of_it = state.sent.iter().filter(|sent| sent.identifier == identifier);
        Ok(of_it.map(|sent| sent.payment.clone()).collect())
    }

    async fn unconfirmed(&self, after: Place, most: usize) -> Result<Vec<Sent>, Unavailable> {
        let state = self.checked()?;
        if state.disorder {
            return Ok(state.sent.iter().rev().cloned().collect());
        }
        let open = state.sent.iter().filter(|sent| {
            sent.place > after && !state.confirmed.contains(&sent.payment.payment_id)
        });
        Ok(open.take(most).cloned().collect())
    }

    fn woken(&self) -> watch::Receiver<u64> {
        self.woken.subscribe()
    }
}
