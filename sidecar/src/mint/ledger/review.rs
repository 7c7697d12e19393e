//! What operators look up: quotes, and what was paid on each.

use rusqlite::OptionalExtension as _;

use super::books::{read_quote, Books, QUOTE};
use super::error::LedgerError;
use super::model::Quote;
use super::state::CreditState;

/// What the credits of a quote come to, in the mint's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuoteSums {
    /// The mint may have heard of it: sent, confirmed, or frozen or lost after that.
    pub sent: u128,
    /// The mint showed it.
    pub confirmed: u128,
    /// Waits for the operator: the mint did not know the quote any more.
    pub lost: u128,
}

impl Books {
    /// Up to `most` quotes that the mint has given an id, after the name `after` (empty: from the
    /// first), in the order of their names.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn quotes(&self, after: &str, most: u32) -> Result<Vec<Quote>, LedgerError> {
        let quotes = format!(
            "{QUOTE} WHERE quote_ref > ?1 AND quote_id IS NOT NULL ORDER BY quote_ref LIMIT ?2"
        );
        let mut quotes = self.conn.prepare(&quotes)?;
        let found = quotes.query_map((after, most), read_quote)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// What the credits of a quote come to; zero for a quote that nobody knows.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn sums_of(&self, quote_ref: &str) -> Result<QuoteSums, LedgerError> {
        use CreditState::{Confirmed, Frozen, Lost, Sent};
        let credits = "SELECT state, frozen_from, ifnull(amount, 0) FROM credit \
                       WHERE quote_ref = ?1";
        let mut credits = self.conn.prepare(credits)?;
        let mut rows = credits.query([quote_ref])?;
        let mut sums = QuoteSums::default();
        while let Some(row) = rows.next()? {
            let (state, frozen_from): (CreditState, Option<CreditState>) =
                (row.get(0)?, row.get(1)?);
            // At most 2^64 rows of 2^64 each.
            let amount = u128::from(row.get::<_, u64>(2)?);
            let state = if state == Frozen { frozen_from.unwrap_or(Frozen) } else { state };
            if matches!(state, Sent | Confirmed | Lost) {
                sums.sent += amount;
            }
            if state == Confirmed {
                sums.confirmed += amount;
            }
            if state == Lost {
                sums.lost += amount;
            }
        }
        Ok(sums)
    }

    /// Where a frozen credit goes on when it is let go; `None`: it is not frozen, or not there.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn frozen_from(&self, credit: u64) -> Result<Option<CreditState>, LedgerError> {
        let from = "SELECT frozen_from FROM credit WHERE id = ?1";
        let from = self.conn.query_row(from, [credit], |row| row.get(0)).optional()?;
        Ok(from.flatten())
    }

    /// What the mint showed on a quote that was not sent, as far as the operator said that it is
    /// known ([`super::Ledger::resume_sending`]).
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn known_surplus(&self, quote_ref: &str) -> Result<u64, LedgerError> {
        let known = super::schema::meta(&self.conn, &format!("surplus:{quote_ref}")).optional()?;
        Ok(known.unwrap_or_default())
    }

    /// What the mint had been paid on a quote that it lost, and wallets were not seen to mint, as
    /// far as the operator said that it is known ([`super::Ledger::resume_sending`]).
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn known_gone(&self, quote_ref: &str) -> Result<u64, LedgerError> {
        let known = super::schema::meta(&self.conn, &format!("gone:{quote_ref}")).optional()?;
        Ok(known.unwrap_or_default())
    }
}
