//! What is due, found beside the writer: to look through all that is open takes the longer the more
//! of it there is, and most of the time nothing is due. Shares wait for neither. Whoever writes
//! looks at each row once more.

use crate::mint::Work;

use super::books::Books;
use super::credits;
use super::error::LedgerError;
use super::model::Due;
use super::slices::FOUND_MAX;
use super::wallet;

/// How far apart two clocks of this process may be, in milliseconds.
pub(super) const CLOCKS_APART_MS: i64 = 60_000;

/// How long a quote of the pool's takes credits, whatever the mint says of its expiry, in
/// milliseconds. Half of a few seconds would be over before a credit is assigned, and half of a
/// time that is past (the mint's clock is wrong) before the quote is open: nobody would be paid,
/// and the mint would be asked for another quote each second. So there is one a minute at most for
/// each account with credits. What is paid on it when it has expired is counted all the same by
/// stock mints, which look at no expiry; at a mint that does, it waits as sent.
const FRESH_MS: i64 = 60_000;

/// A quote that is to take no more credits.
#[derive(Debug)]
pub(super) enum Old {
    /// It is open.
    Open(String),
    /// A wallet's, named by shares, that never had a credit.
    Unused(String),
}

/// A sealed credit and the quote that has room for it.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) credit: u64,
    pub(super) quote: String,
    /// The account, when its shares named the quote.
    pub(super) named_by: Option<i64>,
}

impl Books {
    /// Open credits that are due. One of a time to come was opened by a clock that was wrong: it is
    /// due, too.
    pub(super) fn to_close(&self, due: Due, at_ms: i64) -> Result<Vec<u64>, LedgerError> {
        let Due { opened_by_ms, work_from } = due;
        let open = "SELECT credit.id FROM credit JOIN account ON account.id = account_id \
                    WHERE credit.state = 0 AND payout_key IS NOT NULL AND NOT frozen \
                    AND shares > 0 AND (opened_ms <= ?1 OR opened_ms > ?3 OR work >= ?2) LIMIT ?4";
        let mut open = self.conn.prepare_cached(open)?;
        let wrong_ms = at_ms.saturating_add(CLOCKS_APART_MS);
        let limits: (i64, Work, i64, u32) = (opened_by_ms, work_from, wrong_ms, FOUND_MAX);
        let found = open.query_map(limits, |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Quotes that have had their time, or their payments. A wallet's quote lives from its making
    /// on, for its expiry was told then; and its payments are counted for each account.
    pub(super) fn old_quotes(
        &self,
        payments_max: u64,
        opened_by_ms: i64,
    ) -> Result<Vec<Old>, LedgerError> {
        let made_by_ms = opened_by_ms.saturating_sub(super::UNUSED_MS);
        let old = "SELECT quote_ref FROM quote WHERE state = 2 AND (opened_ms <= ?2 \
                   OR account_id IS NOT NULL AND payments >= ?1 \
                   OR account_id IS NULL AND created_ms <= ?3) LIMIT ?4";
        let mut old = self.conn.prepare_cached(old)?;
        let limits = (payments_max, opened_by_ms, made_by_ms, FOUND_MAX);
        let open = old.query_map(limits, |row| row.get(0).map(Old::Open))?;
        let unused = "SELECT quote_ref FROM quote WHERE state = 1 AND account_id IS NULL \
                      AND created_ms <= ?1 AND EXISTS (SELECT 1 FROM naming \
                      WHERE naming.quote_ref = quote.quote_ref) LIMIT ?2";
        let mut unused = self.conn.prepare_cached(unused)?;
        let unused =
            unused.query_map((made_by_ms, FOUND_MAX), |row| row.get(0).map(Old::Unused))?;
        Ok(open.chain(unused).collect::<Result<_, _>>()?)
    }

    /// Quotes that are to take no more credits because they expire: those of the pool's when half
    /// of the time from their opening is over, so that the other half is left for paying and
    /// minting. Not from their making: the mint may have been away for days before it was asked. A
    /// wallet's was told its expiry here, long after it takes its last credit; it is old when that
    /// is past.
    pub(super) fn expiring_quotes(&self, at_ms: i64) -> Result<Vec<Old>, LedgerError> {
        // Sums beyond 64 bits are SQLite's floating point: an expiry without end is never reached.
        let old = "SELECT quote_ref FROM quote WHERE state = 2 AND expiry_s > 0 \
                   AND CASE WHEN account_id IS NULL THEN ?1 >= expiry_s * 1000 \
                   ELSE opened_ms <= ?2 AND ?1 - opened_ms >= (expiry_s * 1000 - opened_ms) / 2 \
                   END LIMIT ?3";
        let mut old = self.conn.prepare_cached(old)?;
        let limits = (at_ms, at_ms.saturating_sub(FRESH_MS), FOUND_MAX);
        let found = old.query_map(limits, |row| row.get(0).map(Old::Open))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Credits that wait for a quote and have one with room; those on quotes of wallets first.
    pub(super) fn assignable(&self, payments_max: u64) -> Result<Vec<Match>, LedgerError> {
        let mut named = self.conn.prepare_cached(wallet::ASSIGNABLE)?;
        let named = named.query_map([FOUND_MAX], |row| {
            Ok(Match { credit: row.get(0)?, named_by: Some(row.get(1)?), quote: row.get(2)? })
        })?;
        let mut own = self.conn.prepare_cached(credits::ASSIGNABLE)?;
        let own = own.query_map((payments_max, FOUND_MAX), |row| {
            Ok(Match { credit: row.get(0)?, named_by: None, quote: row.get(1)? })
        })?;
        Ok(named.chain(own).collect::<Result<_, _>>()?)
    }

    /// Of the quotes of wallets that nobody used, when the oldest was made that is not among the
    /// `keep` newest; `None`: there are no more than those.
    pub(super) fn unused_beyond(&self, keep: u64) -> Result<Option<i64>, LedgerError> {
        let first = "SELECT created_ms FROM quote WHERE state = 1 AND account_id IS NULL \
                     ORDER BY created_ms DESC LIMIT 1 OFFSET ?1";
        let mut first = self.conn.prepare_cached(first)?;
        let mut found = first.query_map([keep], |row| row.get(0))?;
        Ok(found.next().transpose()?)
    }
}
