//! One turn of the writer: what may be done inside of one transaction.

use std::collections::HashMap;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Statement};

use crate::mint::{PayoutKey, Scheme, Work};
use crate::sys::unix_millis;
use crate::types::QuoteRef;

use super::error::LedgerError;
use super::model::POOL_CLOCK_MS;
use super::schema;
use super::sql::Prepared as _;
use super::state::CreditState;

/// The statements of the share path, prepared once.
pub(super) struct Hot<'c> {
    pub(super) find: Statement<'c>,
    pub(super) add: Statement<'c>,
    pub(super) group: Statement<'c>,
    pub(super) payout: Statement<'c>,
    pub(super) grow: Statement<'c>,
}

impl<'c> Hot<'c> {
    fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            find: conn.prepare("SELECT origin FROM share WHERE share_hash = ?1")?,
            add: conn.prepare(
                "INSERT INTO share(share_hash, credit_id, work, height, is_block, at_ms, origin, \
                 worker) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            group: conn.prepare(
                "SELECT account.id AS account_id, credit.id AS credit_id, work, shares, \
                 told_work, told_shares, told_ms FROM account LEFT JOIN credit \
                 ON credit.account_id = account.id AND credit.state = 0 \
                 AND ifnull(wish, '') = ?3 WHERE identity = ?1 AND ifnull(payout_key, x'') = ?2",
            )?,
            payout: conn.prepare("SELECT payout_key FROM payout WHERE identity = ?1")?,
            grow: conn.prepare(
                "UPDATE credit SET work = ?2, shares = ?3, told_work = ?4, told_shares = ?5, \
                 told_ms = ?6 WHERE id = ?1",
            )?,
        })
    }
}

/// Who a share goes to.
pub(super) type Owner = (Bytes, Option<PayoutKey>);

/// And the quote that the share's channel named.
pub(super) type Whose = (Owner, Option<QuoteRef>);

/// What the shares of this turn add to one open credit.
pub(super) struct Group {
    pub(super) credit_id: u64,
    pub(super) work: Work,
    pub(super) shares: u64,
    pub(super) told_work: Work,
    pub(super) told_shares: u64,
    pub(super) told_ms: i64,
    /// The latest time of its shares.
    pub(super) at_ms: i64,
}

/// One turn. Whoever gets it is inside of a transaction that the writer began and will end.
pub(super) struct Turn<'c> {
    pub(super) conn: &'c Connection,
    pub(super) hot: Hot<'c>,
    /// How shares are valued.
    pub(super) scheme: Scheme,
    /// Goes into the names of payments.
    pub(super) pool_id: [u8; 16],
    /// Least time between two MintAccrued of an account, in milliseconds.
    pub(super) accrued_every_ms: i64,
    /// Open credits that shares of this turn went to; written by [`Turn::flush`].
    pub(super) groups: HashMap<Whose, Group>,
    /// When the last credit was settled whose shares are deleted; 0: none ever was.
    pub(super) forgotten_ms: i64,
    /// Keys set by the pool, of identities that were asked for in this turn.
    pub(super) payouts: HashMap<Bytes, Option<PayoutKey>>,
}

impl<'c> Turn<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        identity: &super::Identity,
        accrued_every_ms: i64,
    ) -> rusqlite::Result<Self> {
        // Told by a clock that was ahead it may be a time to come; then it is now, here. The file
        // keeps it: the clock of this process may be the one that is wrong.
        let forgotten: i64 = schema::meta(conn, "forgotten_ms")?;
        Ok(Self {
            conn,
            hot: Hot::prepare(conn)?,
            forgotten_ms: forgotten.min(unix_millis() - POOL_CLOCK_MS),
            scheme: identity.scheme,
            pool_id: identity.pool_id,
            accrued_every_ms,
            groups: HashMap::new(),
            payouts: HashMap::new(),
        })
    }

    /// Forgets what was gathered: rows are the only memory between two turns.
    pub(super) fn forget(&mut self) {
        self.groups.clear();
        self.payouts.clear();
    }

    /// Writes an event with the next number, in the transaction of what it tells.
    pub(super) fn event(&self, at_ms: i64, event: v1::event::Event) -> Result<(), LedgerError> {
        let next = "UPDATE meta SET value = value + 1 WHERE key = 'event_seq' RETURNING value";
        let seq: u64 = self.conn.one(next, [], |row| row.get(0))?;
        let payload = v1::Event { seq, at_ms, event: Some(event) }.encode_to_vec();
        let add = "INSERT INTO event(seq, at_ms, payload) VALUES (?1, ?2, ?3)";
        self.conn.run(add, (seq, at_ms, payload))?;
        Ok(())
    }

    /// Where a credit stands.
    pub(super) fn state(&self, credit: u64) -> Result<CreditState, LedgerError> {
        let state = "SELECT state FROM credit WHERE id = ?1";
        let state = self.conn.one(state, [credit], |row| row.get(0)).optional()?;
        state.ok_or(LedgerError::Unknown("credit"))
    }

    /// Moves a credit to a state; `false`: it was there already. The one place where a credit's
    /// state is changed.
    pub(super) fn step(&self, credit: u64, to: CreditState) -> Result<bool, LedgerError> {
        let from = self.state(credit)?;
        if from == to {
            return Ok(false);
        }
        if !from.may_become(to) {
            return Err(LedgerError::Credit { from, to });
        }
        self.conn.run("UPDATE credit SET state = ?2 WHERE id = ?1", (credit, to))?;
        Ok(true)
    }

    /// Who an account is.
    pub(super) fn owner(&self, account: i64) -> Result<Owner, LedgerError> {
        let owner = "SELECT identity, payout_key FROM account WHERE id = ?1";
        let owner = self.conn.one(owner, [account], |row| {
            Ok((super::sql::bytes(row, "identity")?, row.get("payout_key")?))
        });
        owner.optional()?.ok_or(LedgerError::Unknown("account"))
    }

    /// The number of an account, which is made when there is none.
    pub(super) fn account(
        &self,
        identity: &[u8],
        key: Option<&PayoutKey>,
    ) -> Result<i64, LedgerError> {
        if let Some(found) = find_account(self.conn, identity, key)? {
            return Ok(found);
        }
        let add = "INSERT INTO account(identity, payout_key) VALUES (?1, ?2) RETURNING id";
        Ok(self.conn.one(add, (identity, key), |row| row.get(0))?)
    }

    /// Why sending is stopped, if it is.
    pub(super) fn stopped(&self) -> Result<Option<String>, LedgerError> {
        Ok(schema::meta(self.conn, "stopped").optional()?)
    }
}

/// The number of an account.
pub(super) fn find_account(
    conn: &Connection,
    identity: &[u8],
    key: Option<&PayoutKey>,
) -> rusqlite::Result<Option<i64>> {
    let find = "SELECT id FROM account WHERE identity = ?1 AND ifnull(payout_key, x'') = ?2";
    let key = super::sql::owner_key(key);
    conn.one(find, (identity, key), |row| row.get(0)).optional()
}

/// A key as the contract has it: no bytes for none.
pub(super) fn key_bytes(key: Option<&PayoutKey>) -> Bytes {
    Bytes::copy_from_slice(super::sql::owner_key(key))
}

/// Work as the contract has it.
pub(super) fn difficulty(work: Work) -> v1::Difficulty {
    let difficulty = work.difficulty();
    v1::Difficulty { whole: difficulty.whole, fraction: difficulty.fraction }
}
