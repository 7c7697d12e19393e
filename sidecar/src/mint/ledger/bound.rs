//! What holds for a ledger as a whole: the mint's unit that its amounts are in, and whose work the
//! pool has given a key.

use std::collections::HashSet;
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
    /// Has the amounts of this ledger be of this unit and payment method for all its life, which
    /// the first call says. Answers what they are: others must not be used with it, for amounts
    /// that are sealed would be paid in another unit.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn bind(&self, unit: &str, method: &str) -> Result<(String, String)> {
        let (unit, method) = (unit.to_owned(), method.to_owned());
        self.call(move |turn| {
            let add = "INSERT OR IGNORE INTO meta(key, value) VALUES ('unit', ?1), ('method', ?2)";
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
        !payouts.is_empty() && payouts.contains(identity)
    }

    /// The pool has set one, or none.
    pub(super) fn payout_set(&self, identity: Bytes, some: bool) {
        let mut payouts = self.shared.payouts.write().unwrap_or_else(PoisonError::into_inner);
        match some {
            true => drop(payouts.insert(identity)),
            false => drop(payouts.remove(&identity)),
        }
    }
}

impl Books {
    /// Identities that the pool has set a key for.
    pub(super) fn payouts(&self) -> std::result::Result<HashSet<Bytes>, LedgerError> {
        let mut all = self.conn.prepare("SELECT identity FROM payout")?;
        let found = all.query_map([], |row| row.get::<_, Vec<u8>>(0).map(Bytes::from))?;
        Ok(found.collect::<std::result::Result<_, _>>()?)
    }
}
