//! What holds for a ledger as a whole: the mint's unit that its amounts are in, and whose work the
//! pool has given a key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::PoisonError;

use bytes::Bytes;
use rusqlite::params;

use super::books::Books;
use super::error::LedgerError;
use super::schema;
use super::sql::Prepared as _;
use super::store::SqliteLedger;
use super::Result;

impl SqliteLedger {
    /// Has the amounts of this ledger be of this unit and its quotes of this payment method, for
    /// all its life once there is one of either. Answers what they are: others must not be used
    /// with it, for amounts that are sealed would be paid in another unit.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn bind(&self, unit: &str, method: &str) -> Result<(String, String)> {
        let (unit, method) = (unit.to_owned(), method.to_owned());
        self.call(move |turn| {
            // Until there is an amount, or a quote, nothing depends on them.
            let add = "INSERT INTO meta(key, value) VALUES ('unit', ?1), ('method', ?2) \
                       ON CONFLICT DO UPDATE SET value = excluded.value \
                       WHERE NOT EXISTS (SELECT 1 FROM credit WHERE amount > 0) \
                       AND NOT EXISTS (SELECT 1 FROM quote WHERE quote_id IS NOT NULL \
                       OR candidate_quote_id IS NOT NULL)";
            turn.conn.run(add, params![unit, method])?;
            Ok((schema::meta(turn.conn, "unit")?, schema::meta(turn.conn, "method")?))
        })
        .await
    }

    /// Whether the pool has set a key for this identity: the work of its channels without a key is
    /// owed to that. Never waits for the disk.
    #[must_use]
    pub fn has_payout(&self, identity: &Bytes) -> bool {
        let payouts = self.shared.payouts.read().unwrap_or_else(PoisonError::into_inner);
        payouts.get(identity).is_some_and(|(_, some)| *some)
    }

    /// The pool has set one, or none. `order`: of what was written, which need not be that of those
    /// who hear of it.
    pub(super) fn payout_set(&self, identity: Bytes, some: bool, order: u64) {
        let mut payouts = self.shared.payouts.write().unwrap_or_else(PoisonError::into_inner);
        let known = payouts.entry(identity).or_insert((order, some));
        *known = (*known).max((order, some));
    }
}

/// Identities for which the pool has set a key, or none, and when.
pub(super) type Payouts = HashMap<Bytes, (u64, bool)>;

/// Rises from one writing to the next.
pub(super) fn next() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl Books {
    /// Identities that the pool has set a key for.
    pub(super) fn payouts(&self) -> std::result::Result<Payouts, LedgerError> {
        let mut all = self.conn.prepare("SELECT identity FROM payout")?;
        let found =
            all.query_map([], |row| Ok((Bytes::from(row.get::<_, Vec<u8>>(0)?), (0, true))))?;
        Ok(found.collect::<std::result::Result<_, _>>()?)
    }
}
