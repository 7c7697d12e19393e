//! What a miner is told of his credits, read when an event goes by.

use bytes::Bytes;
use rusqlite::{OptionalExtension as _, Row};

use super::books::Books;
use super::error::LedgerError;
use super::sql::bytes;
use super::store::SqliteLedger;
use super::Result;
use crate::mint::PayoutKey;

/// Accounts that are told of one quote at most.
const NOTICES_MAX: u32 = 16;

/// Whose a credit or quote is, and where the quote stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The account's user identity.
    pub identity: Bytes,
    /// The account's payout key.
    pub payout_key: Option<PayoutKey>,
    /// The mint's id of the quote; `None`: the mint has none (yet).
    pub quote_id: Option<String>,
    /// All that the mint showed as paid on it when it was read last.
    pub paid_seen: u64,
}

fn read_notice(row: &Row<'_>) -> rusqlite::Result<Notice> {
    Ok(Notice {
        identity: bytes(row, "identity")?,
        payout_key: row.get("payout_key")?,
        quote_id: row.get("quote_id")?,
        paid_seen: row.get::<_, Option<u64>>("paid_seen")?.unwrap_or(0),
    })
}

impl Books {
    /// Of a credit; `None`: no such credit.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn credit_notice(&self, credit: u64) -> std::result::Result<Option<Notice>, LedgerError> {
        let find = "SELECT identity, account.payout_key, quote_id, paid_seen FROM credit \
                    JOIN account ON account.id = credit.account_id \
                    LEFT JOIN quote ON quote.quote_ref = credit.quote_ref WHERE credit.id = ?1";
        Ok(self.conn.query_row(find, [credit], read_notice).optional()?)
    }

    /// Of a quote, by its `request` text, for each account that is paid on it, at most 16; none: no
    /// such quote.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn quote_notices(&self, request: &str) -> std::result::Result<Vec<Notice>, LedgerError> {
        let find = "SELECT identity, account.payout_key, quote_id, paid_seen FROM quote \
                    JOIN account ON account.id = quote.account_id OR account.id IN \
                    (SELECT naming.account_id FROM naming \
                    WHERE naming.quote_ref = quote.quote_ref AND payments > 0) \
                    WHERE request = ?1 ORDER BY account.id LIMIT ?2";
        let mut find = self.conn.prepare(find)?;
        let found = find.query_map((request, NOTICES_MAX), read_notice)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

impl SqliteLedger {
    /// [`Books::credit_notice`].
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn credit_notice(&self, credit: u64) -> Result<Option<Notice>> {
        self.read(move |books| books.credit_notice(credit)).await
    }

    /// [`Books::quote_notices`].
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn quote_notices(&self, request: String) -> Result<Vec<Notice>> {
        self.read(move |books| books.quote_notices(&request)).await
    }
}
