//! What the mint of tests writes down. A copy is a backup.

use std::collections::BTreeMap;

/// All quotes by the mint's ids of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    pub(super) quotes: BTreeMap<String, Row>,
}

/// One quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The processor's name of it.
    pub identifier: String,
    /// What wallets are shown.
    pub request: String,
    /// The key it is locked to.
    pub pubkey: Option<String>,
    /// What the wallet asked for; no limit.
    pub amount: Option<u64>,
    /// Until when it is valid, seconds since the epoch.
    pub expiry: Option<u64>,
    /// Payments by their names.
    pub payments: BTreeMap<String, u64>,
    /// How much was minted.
    pub issued: u64,
    /// The processor was asked in the last ten seconds.
    pub checked: bool,
}

impl Row {
    /// Sum of its payments.
    #[must_use]
    pub fn paid(&self) -> u64 {
        self.payments.values().sum()
    }
}

impl Database {
    /// Ids of all quotes.
    #[must_use]
    pub fn quote_ids(&self) -> Vec<String> {
        self.quotes.keys().cloned().collect()
    }

    /// One quote.
    #[must_use]
    pub fn quote(&self, quote_id: &str) -> Option<&Row> {
        self.quotes.get(quote_id)
    }

    /// Sum of all payments.
    #[must_use]
    pub fn paid(&self) -> u64 {
        self.quotes.values().map(Row::paid).sum()
    }

    /// Sum of all that was minted.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.quotes.values().map(|row| row.issued).sum()
    }

    /// The same, with all quotes locked to this key.
    #[must_use]
    pub fn locked_to(mut self, key: &str) -> Self {
        self.quotes.values_mut().for_each(|row| row.pubkey = Some(key.to_owned()));
        self
    }

    /// Whether an identifier or a request is a quote's already.
    pub(super) fn is_taken(&self, identifier: &str, request: &str) -> bool {
        let same = |row: &Row| row.identifier == identifier || row.request == request;
        self.quotes.values().any(same)
    }

    /// Adds a payment. `Some(false)`: the quote has it already; `None`: another quote has it, which
    /// the table of payments doesn't allow.
    pub(super) fn add(&mut self, quote_id: &str, payment_id: &str, amount: u64) -> Option<bool> {
        let holder = self.quotes.iter().find(|(_, row)| row.payments.contains_key(payment_id));
        match holder {
            Some((holder, _)) if holder == quote_id => return Some(false),
            Some(_) => return None,
            None => {}
        }
        let row = self.quotes.get_mut(quote_id)?;
        row.payments.insert(payment_id.to_owned(), amount);
        Some(true)
    }
}
