//! Quotes that wallets made by themselves: made known, named by channels, used up, forgotten.
//!
//! Such a quote belongs to the key it is locked to. It takes the credits of shares whose own
//! channel named it, and no others: who names a stranger's quote pays the stranger, and who opens
//! a channel under a stranger's name and key moves nothing of what the stranger earns.

use gopool_sv2_proto::v1::{self, event::Event};
use rusqlite::OptionalExtension as _;

use crate::mint::{PayoutKey, Work};
use crate::types::QuoteRef;

use super::books::{read_quote, Books, QUOTE};
use super::error::LedgerError;
use super::model::Quote;
use super::quotes::NAME_BYTES_MAX;
use super::sql::Prepared as _;
use super::state::{CreditState, QuoteState};
use super::turn::{key_bytes, Turn};

/// Accounts whose payments fill a quote up together. One account alone can't: strangers who name
/// the quote take none of its owner's payments.
const ACCOUNTS_MAX: u64 = 16;

/// Sealed credits of accounts that named a quote which is open; from the quotes on, as for quotes
/// of the pool's.
pub(super) const ASSIGNABLE: &str = "SELECT credit.id, account.id, quote.quote_ref \
    FROM quote INDEXED BY quote_open CROSS JOIN naming INDEXED BY naming_quote \
    ON naming.quote_ref = quote.quote_ref CROSS JOIN account ON account.id = naming.account_id \
    CROSS JOIN credit INDEXED BY credit_account \
    ON credit.account_id = account.id AND credit.state = 2 AND credit.wish = quote.quote_ref \
    WHERE quote.state = 2 AND quote.account_id IS NULL AND takes AND NOT frozen LIMIT ?1";

impl Turn<'_> {
    /// [`super::Ledger::new_wallet_quote`].
    pub(super) fn new_wallet_quote(
        &self,
        quote: QuoteRef,
        key: &PayoutKey,
        id: &str,
        at_ms: i64,
    ) -> Result<(), LedgerError> {
        if id.is_empty() || id.len() > NAME_BYTES_MAX {
            return Err(LedgerError::Refused("the mint's id of a quote has 1 to 128 bytes"));
        }
        let name = quote.to_string();
        if super::books::quote(self.conn, &name)?.is_some() {
            return Err(LedgerError::Refused("another quote has this name"));
        }
        self.unused_id(id)?;
        let add = "INSERT INTO quote(quote_ref, payout_key, request, state, candidate_quote_id, \
                   created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let row = (name, key, quote.request(), QuoteState::Creating, id, at_ms);
        self.conn.run(add, row)?;
        Ok(())
    }

    /// Shares of an account come whose channel named a quote. One that is not (any more) in the
    /// ledger, or is of another key, takes nothing: the account's own quotes do.
    pub(super) fn name_quote(&self, account: i64, quote: &str) -> Result<(), LedgerError> {
        let takes = "SELECT 1 FROM quote JOIN account ON account.payout_key = quote.payout_key \
                     WHERE account.id = ?1 AND quote_ref = ?2 AND quote.account_id IS NULL \
                     AND state IN (?3, ?4)";
        let row = (account, quote, QuoteState::Creating, QuoteState::Open);
        let takes = self.conn.one(takes, row, |_| Ok(())).optional()?.is_some();
        let add = "INSERT OR IGNORE INTO naming(account_id, quote_ref, takes) VALUES (?1, ?2, ?3)";
        self.conn.run(add, (account, quote, takes))?;
        Ok(())
    }

    /// The quote takes no more credits, whoever named it.
    pub(super) fn used_up(&self, quote: &str) -> Result<(), LedgerError> {
        let named = "SELECT account_id FROM naming WHERE quote_ref = ?1 AND takes";
        let mut named = self.conn.prepare_cached(named)?;
        let found = named.query_map([quote], |row| row.get(0))?;
        let found: Vec<i64> = found.collect::<Result<_, _>>()?;
        found.into_iter().try_for_each(|account| self.stop_using(account, quote))
    }

    /// The quote takes no more credits of the account: what was carried for it goes to the account.
    fn stop_using(&self, account: i64, quote: &str) -> Result<(), LedgerError> {
        let carries = "SELECT account.carry AS carry, naming.carry AS own FROM account \
                       JOIN naming ON account_id = account.id WHERE id = ?1 AND quote_ref = ?2";
        let (carry, own): (Work, Work) = self
            .conn
            .query_row(carries, (account, quote), |row| Ok((row.get("carry")?, row.get("own")?)))?;
        let Some(sum) = carry.checked_add(own) else {
            return Err(LedgerError::Damaged(format!("the carry of account {account}")));
        };
        self.conn.run("UPDATE account SET carry = ?2 WHERE id = ?1", (account, sum))?;
        let stop = "UPDATE naming SET takes = 0, carry = zeroblob(16) \
                    WHERE account_id = ?1 AND quote_ref = ?2";
        self.conn.run(stop, (account, quote))?;
        Ok(())
    }

    /// Takes a place on a quote that a wallet made for a credit of an account that named it;
    /// `false`: it has none, and takes no more of that account.
    pub(super) fn take_named(
        &self,
        account: i64,
        quote: &str,
        payments_max: u64,
        at_ms: i64,
    ) -> Result<bool, LedgerError> {
        let known = self.quote(quote)?;
        if known.payments >= payments_max.saturating_mul(ACCOUNTS_MAX) {
            self.used_up(quote)?;
            return Ok(false);
        }
        let count = "UPDATE naming SET payments = payments + 1 WHERE account_id = ?1 \
                     AND quote_ref = ?2 AND takes AND payments < ?3 RETURNING payments";
        let row = (account, quote, payments_max);
        let counted: Option<u64> = self.conn.one(count, row, |row| row.get(0)).optional()?;
        let Some(payments) = counted else {
            let takes = "SELECT 1 FROM naming WHERE account_id = ?1 AND quote_ref = ?2 AND takes";
            if self.conn.one(takes, (account, quote), |_| Ok(())).optional()?.is_some() {
                self.stop_using(account, quote)?;
            }
            return Ok(false);
        };
        let take = "UPDATE quote SET payments = payments + 1 WHERE quote_ref = ?1";
        self.conn.run(take, [quote])?;
        if payments == 1 {
            self.tell_opened(account, &known, at_ms)?;
        }
        Ok(true)
    }

    /// Tells an account of the quote that it is paid on from now on.
    fn tell_opened(&self, account: i64, known: &Quote, at_ms: i64) -> Result<(), LedgerError> {
        let opened = v1::MintQuoteOpened {
            user_identity: self.owner(account)?.0,
            payout_key: key_bytes(Some(&known.payout_key)),
            quote_request: known.request.clone(),
            quote_id: known.quote_id.clone().unwrap_or_default(),
        };
        self.event(at_ms, Event::MintQuoteOpened(opened))
    }

    /// [`super::Ledger::forget_quotes`], for those that were made by then.
    pub(super) fn forget_quotes(&self, by: i64, most: u64) -> Result<u64, LedgerError> {
        let forget = "DELETE FROM quote WHERE quote_ref IN (SELECT quote_ref FROM quote \
                      WHERE state = 1 AND account_id IS NULL AND created_ms <= ?1 \
                      AND NOT EXISTS (SELECT 1 FROM naming \
                      WHERE naming.quote_ref = quote.quote_ref) ORDER BY created_ms LIMIT ?2)";
        Ok(self.conn.run(forget, (by, most))? as u64)
    }
}

impl Books {
    /// The key that a quote is locked to which a wallet made; `None`: no such quote (any more).
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn wallet_quote(&self, quote: QuoteRef) -> Result<Option<PayoutKey>, LedgerError> {
        let key = "SELECT payout_key FROM quote WHERE quote_ref = ?1 AND account_id IS NULL";
        Ok(self.conn.query_row(key, [quote.to_string()], |row| row.get(0)).optional()?)
    }

    /// Quotes of wallets that the mint is to be asked about: somebody's credits wait for them.
    pub(super) fn unproven(&self, at_ms: i64, most: u32) -> Result<Vec<Quote>, LedgerError> {
        let unproven = format!(
            "{QUOTE} WHERE state = 1 AND next_try_ms <= ?1 AND quote_ref IN \
             (SELECT wish FROM credit JOIN account ON account.id = credit.account_id \
             JOIN naming ON naming.account_id = account.id AND naming.quote_ref = wish \
             WHERE credit.state = 2 AND takes AND NOT frozen) ORDER BY next_try_ms LIMIT ?2"
        );
        let mut unproven = self.conn.prepare(&unproven)?;
        let found = unproven.query_map((at_ms, most), read_quote)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// What the mint let wallets mint of the credits of an account on quotes that wallets made. Of
    /// a quote that others are paid on, too, at most what was confirmed of the account's.
    pub(super) fn issued_to_wallets(&self, account: i64) -> Result<u128, LedgerError> {
        let named = "SELECT quote.quote_ref, issued_seen, EXISTS (SELECT 1 FROM naming AS other \
                     WHERE other.quote_ref = naming.quote_ref AND other.account_id <> ?1) \
                     FROM naming JOIN quote ON quote.quote_ref = naming.quote_ref \
                     WHERE naming.account_id = ?1 AND issued_seen > 0";
        let mut named = self.conn.prepare(named)?;
        let confirmed = "SELECT amount FROM credit WHERE quote_ref = ?1 AND state = ?2 \
                         AND account_id = ?3";
        let mut confirmed = self.conn.prepare(confirmed)?;
        let mut rows = named.query([account])?;
        let mut issued = 0_u128;
        while let Some(row) = rows.next()? {
            let (quote, seen, shared): (String, u64, bool) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let mut most = if shared { 0_u128 } else { u128::MAX };
            if shared {
                let row = (quote, CreditState::Confirmed, account);
                for amount in confirmed.query_map(row, |row| row.get::<_, u64>(0))? {
                    most += u128::from(amount?);
                }
            }
            issued += u128::from(seen).min(most);
        }
        Ok(issued)
    }
}
