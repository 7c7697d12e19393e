//! What is due, found beside the writer: to look through all that is open takes the longer the more
//! of it there is, and most of the time nothing is due. Shares wait for neither.

use crate::mint::Work;

use super::books::Books;
use super::credits::{self, SLICE};
use super::error::LedgerError;
use super::model::Due;
use super::state::QuoteState;
use super::wallet;

/// Quotes that are to take no more credits.
#[derive(Debug, Default)]
pub(super) struct Old {
    /// Open ones, at most [`SLICE`].
    pub(super) open: Vec<String>,
    /// Of wallets, and named by shares, that never had a credit; at most [`SLICE`].
    pub(super) unused: Vec<String>,
}

impl Old {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.unused.is_empty()
    }
}

impl Books {
    /// Open credits that are due, at most [`SLICE`]. A credit of a time to come was opened by a
    /// clock that was wrong: it is due, too.
    pub(super) fn to_close(&self, due: Due, at_ms: i64) -> Result<Vec<u64>, LedgerError> {
        let Due { opened_by_ms, work_from } = due;
        let open = "SELECT credit.id FROM credit JOIN account ON account.id = account_id \
                    WHERE credit.state = 0 AND payout_key IS NOT NULL AND NOT frozen \
                    AND shares > 0 AND (opened_ms <= ?1 OR opened_ms > ?3 OR work >= ?2) LIMIT ?4";
        let mut open = self.conn.prepare_cached(open)?;
        let limits: (i64, Work, i64, u32) = (opened_by_ms, work_from, at_ms, SLICE);
        let found = open.query_map(limits, |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Quotes that have had their time, or their payments. A wallet's quote lives from its making
    /// on, for its expiry was told then; and its payments are counted for each account.
    pub(super) fn old_quotes(
        &self,
        payments_max: u64,
        opened_by_ms: i64,
    ) -> Result<Old, LedgerError> {
        let made_by_ms = opened_by_ms.saturating_sub(super::UNUSED_MS);
        let old = "SELECT quote_ref FROM quote WHERE state = ?5 AND (opened_ms <= ?2 \
                   OR account_id IS NOT NULL AND payments >= ?1 \
                   OR account_id IS NULL AND created_ms <= ?3) LIMIT ?4";
        let mut old = self.conn.prepare_cached(old)?;
        let limits = (payments_max, opened_by_ms, made_by_ms, SLICE, QuoteState::Open);
        let open = old.query_map(limits, |row| row.get(0))?.collect::<Result<_, _>>()?;
        let unused = "SELECT quote_ref FROM quote WHERE state = 1 AND account_id IS NULL \
                      AND created_ms <= ?1 AND EXISTS (SELECT 1 FROM naming \
                      WHERE naming.quote_ref = quote.quote_ref) LIMIT ?2";
        let mut unused = self.conn.prepare_cached(unused)?;
        let unused = unused.query_map((made_by_ms, SLICE), |row| row.get(0))?;
        Ok(Old { open, unused: unused.collect::<Result<_, _>>()? })
    }

    /// Whether a quote has room for a credit that waits for one.
    pub(super) fn may_assign(&self, payments_max: u64) -> Result<bool, LedgerError> {
        let mut waiting = self.conn.prepare_cached(wallet::ASSIGNABLE)?;
        if waiting.exists([1])? {
            return Ok(true);
        }
        Ok(self.conn.prepare_cached(credits::ASSIGNABLE)?.exists((payments_max, 1))?)
    }
}
