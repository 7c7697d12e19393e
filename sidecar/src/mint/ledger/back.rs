//! Quotes that the mint did not know, and knows again: its database was gone, and is back.
//!
//! A payment that was sent on such a quote may be in that database. So the mint is asked for the
//! quote once more before the payment is sent on another one; when the mint has it, everything that
//! was sent there goes back there, under its old name, and is confirmed as ever. A mint without the
//! quote has none of its payments either: what was opened before it said so is of the same
//! database.

use rusqlite::OptionalExtension as _;

use super::books::{read_quote, Books, QUOTE};
use super::error::LedgerError;
use super::model::LostQuote;
use super::sql::Prepared as _;
use super::state::{CreditState, QuoteState};
use super::turn::Turn;

impl Turn<'_> {
    /// What was sent on a quote may still come to be paid there, should the mint know it again.
    pub(super) fn remember_quote(&self, credit: u64, quote: &str) -> Result<(), LedgerError> {
        let set = "INSERT OR REPLACE INTO former(credit_id, quote_ref) VALUES (?1, ?2)";
        self.conn.run(set, (credit, quote))?;
        Ok(())
    }

    /// [`super::Ledger::quote_hidden`].
    pub(super) fn quote_hidden(&self, quote: &str, at_ms: i64) -> Result<(), LedgerError> {
        let read = "UPDATE quote SET last_read_ms = ?2, seen = 1 WHERE quote_ref = ?1";
        self.conn.run(read, (quote, at_ms))?;
        Ok(())
    }

    /// [`super::Ledger::quote_unshown`].
    pub(super) fn quote_unshown(&self, quote: &str, at_ms: i64) -> Result<(), LedgerError> {
        let read = "UPDATE quote SET last_read_ms = ?2 WHERE quote_ref = ?1";
        self.conn.run(read, (quote, at_ms))?;
        Ok(())
    }

    /// [`super::Ledger::quote_gone`].
    pub(super) fn quote_gone(&self, lost: &LostQuote, at_ms: i64) -> Result<(), LedgerError> {
        let quote = &lost.quote.quote_ref;
        self.quote_hidden(quote, at_ms)?;
        let gone = "UPDATE former SET gone_on = ?3 WHERE credit_id = ?1 AND quote_ref = ?2";
        for (credit, next) in &lost.waiting {
            self.conn.run(gone, (credit, quote, next))?;
        }
        Ok(())
    }

    /// [`super::Ledger::quote_back`].
    pub(super) fn quote_back(&self, quote: &str, at_ms: i64) -> Result<u64, LedgerError> {
        if self.quote(quote)?.state != QuoteState::Lost {
            return Ok(0);
        }
        let sent = "SELECT id, state, frozen_from FROM former \
                    JOIN credit ON credit.id = credit_id \
                    WHERE former.quote_ref = ?1 ORDER BY id";
        let mut sent = self.conn.prepare_cached(sent)?;
        let found = sent.query_map([quote], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let found: Vec<(u64, CreditState, Option<CreditState>)> =
            found.collect::<Result<_, _>>()?;
        let elsewhere = |(_, state, from): &(u64, CreditState, Option<CreditState>)| {
            from.unwrap_or(*state) == CreditState::Sent
        };
        // The mint may have taken it there: that quote is read, and confirmed or lost, first.
        if self.stopped()?.is_some() || found.iter().any(elsewhere) {
            self.quote_hidden(quote, at_ms)?;
            return Ok(0);
        }
        self.step_quote(quote, QuoteState::Closing)?;
        self.quote_hidden(quote, 0)?;
        let set = "UPDATE credit SET quote_ref = ?2, attempts = 0, next_try_ms = 0 WHERE id = ?1";
        let freeze = "UPDATE credit SET frozen_from = ?2 WHERE id = ?1";
        let forget = "DELETE FROM former WHERE credit_id = ?1 AND quote_ref = ?2";
        let mut back = 0;
        for (credit, state, _) in found {
            match state {
                CreditState::Sealed => drop(self.step(credit, CreditState::Assigned)?),
                CreditState::Frozen => {
                    self.conn.run(freeze, (credit, CreditState::Sent))?;
                }
                CreditState::Assigned | CreditState::Lost => {}
                // Confirmed on another quote: should the mint show it here as well, that is more
                // than it owes, and stops all sending.
                _ => continue,
            }
            self.conn.run(set, (credit, quote))?;
            self.conn.run(forget, (credit, quote))?;
            if state != CreditState::Frozen {
                self.send_one(credit, at_ms)?;
            }
            back += 1;
        }
        Ok(back)
    }
}

impl Books {
    /// [`super::Ledger::lost_quotes`].
    pub(super) fn lost_quotes(
        &self,
        read_by_ms: i64,
        lost_by_ms: i64,
        most: u32,
    ) -> Result<Vec<LostQuote>, LedgerError> {
        self.at_one_moment(|books| {
            let lost = format!(
                "{QUOTE} WHERE quote.state = 5 AND quote_id IS NOT NULL AND last_read_ms <= ?1 \
                 AND quote_ref IN (SELECT former.quote_ref FROM credit \
                 JOIN former ON former.credit_id = credit.id WHERE credit.state = 3 \
                 AND gone_on IS NOT credit.quote_ref OR credit.state = 8 AND last_read_ms <= ?2) \
                 ORDER BY last_read_ms LIMIT ?3"
            );
            let mut lost = books.conn.prepare(&lost)?;
            let found = lost.query_map((read_by_ms, lost_by_ms, most), read_quote)?;
            let waiting = "SELECT credit.id, credit.quote_ref FROM former \
                           JOIN credit ON credit.id = credit_id \
                           WHERE former.quote_ref = ?1 AND credit.state = 3";
            let mut waiting = books.conn.prepare(waiting)?;
            found
                .map(|quote| {
                    let quote = quote?;
                    let rows = waiting
                        .query_map([&quote.quote_ref], |row| Ok((row.get(0)?, row.get(1)?)))?;
                    let waiting = rows.collect::<Result<_, _>>()?;
                    Ok(LostQuote { quote, waiting })
                })
                .collect()
        })
    }

    /// Whether a credit was sent on a quote that the mint lost, and waits until the mint has said
    /// that it still doesn't know that quote.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn waits_for_lost(&self, credit: u64) -> Result<bool, LedgerError> {
        let waits = "SELECT 1 FROM former JOIN credit ON credit.id = credit_id \
                     WHERE credit.id = ?1 AND state = 3 AND gone_on IS NOT credit.quote_ref";
        Ok(self.conn.query_row(waits, [credit], |_| Ok(())).optional()?.is_some())
    }
}
