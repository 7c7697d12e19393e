//! What happens to credits once they take no more shares.

use gopool_sv2_proto::v1::{self, event::Event};
use rusqlite::OptionalExtension as _;

use crate::mint::work::{payment, AMOUNT_MAX};
use crate::mint::Work;

use super::due::Match;
use super::due::CLOCKS_APART_MS;
use super::error::LedgerError;
use super::model::{Sealing, Terms};
use super::root::payment_id;
use super::sql::{Prepared as _, Wide};
use super::state::CreditState;
use super::turn::{key_bytes, Turn};

/// The root over the shares of a closed credit.
pub(super) struct Rooted {
    pub(super) credit: u64,
    pub(super) root: [u8; 32],
    pub(super) leaves: u64,
}

/// Sealed credits of accounts whose quote has room. Begins with the open quotes, which are few: an
/// account's old ones, and what waits while there is none, are many. In order for each account.
pub(super) const ASSIGNABLE: &str = "SELECT credit.id, quote.quote_ref \
    FROM quote INDEXED BY quote_open CROSS JOIN account ON account.id = quote.account_id \
    CROSS JOIN credit INDEXED BY credit_account \
    ON credit.account_id = account.id AND credit.state = 2 \
    WHERE quote.state = 2 AND quote.payments < ?1 AND NOT frozen AND NOT EXISTS (SELECT 1 \
    FROM naming WHERE naming.account_id = account.id AND naming.quote_ref = wish AND takes) \
    LIMIT ?2";

impl Turn<'_> {
    /// [`super::Ledger::close_due`], for credits that were found due.
    pub(super) fn close_due(&self, found: &[u64], at_ms: i64) -> Result<u64, LedgerError> {
        let still = "SELECT 1 FROM credit JOIN account ON account.id = credit.account_id \
                     WHERE credit.id = ?1 AND credit.state = 0 AND NOT frozen";
        let mut closed = 0;
        for credit in found {
            if self.conn.one(still, [credit], |_| Ok(())).optional()?.is_some() {
                self.close_credit(*credit, at_ms)?;
                closed += 1;
            }
        }
        Ok(closed)
    }

    /// [`super::Ledger::seal`], for credits whose roots were computed.
    pub(super) fn seal(
        &self,
        rooted: &[Rooted],
        terms: Terms,
        at_ms: i64,
    ) -> Result<Sealing, LedgerError> {
        if terms.unit_work == Work::ZERO || terms.min_amount > AMOUNT_MAX {
            return Err(LedgerError::Refused("a unit of no work, or a least amount above 2^62"));
        }
        let mut done = Sealing::default();
        for rooted in rooted {
            // Somebody else was faster.
            if self.state(rooted.credit)? != CreditState::Closed {
                continue;
            }
            match self.seal_one(rooted, terms, at_ms) {
                Ok(true) => done.sealed += 1,
                Ok(false) => done.carried += 1,
                // Nothing of it was written; the others don't wait for it.
                Err(LedgerError::Damaged(what)) => {
                    tracing::error!(credit = rooted.credit, %what, "a credit can't be sealed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Seals one credit; `false`: it was carried.
    fn seal_one(&self, rooted: &Rooted, terms: Terms, at_ms: i64) -> Result<bool, LedgerError> {
        let id = rooted.credit;
        let columns = "SELECT account.id AS account, work, shares, naming.quote_ref AS named, \
                       ifnull(naming.carry, account.carry) AS carry \
                       FROM credit JOIN account ON account.id = credit.account_id \
                       LEFT JOIN naming ON naming.account_id = account.id \
                       AND naming.quote_ref = wish AND takes WHERE credit.id = ?1";
        let (account, work, shares, named, carry) = self.conn.one(columns, [id], |row| {
            Ok((
                row.get("account")?,
                row.get("work")?,
                row.get::<_, u64>("shares")?,
                row.get::<_, Option<String>>("named")?,
                row.get("carry")?,
            ))
        })?;
        if shares != rooted.leaves {
            let found = rooted.leaves;
            let text = format!("credit {id} counts {shares} shares, the table has {found}");
            return Err(LedgerError::Damaged(text));
        }
        let Some(paid) = payment(carry, work, terms.unit_work, terms.min_amount) else {
            return Err(LedgerError::Damaged(format!("the work of credit {id} does not add up")));
        };
        let owner = self.owner(account)?;
        // What a wallet's quote is owed stays with it as long as it takes credits.
        match named {
            Some(quote) => {
                let set = "UPDATE naming SET carry = ?3 WHERE account_id = ?1 AND quote_ref = ?2";
                self.conn.run(set, (account, quote, paid.carry))?;
            }
            None => {
                let set = "UPDATE account SET carry = ?2 WHERE id = ?1";
                self.conn.run(set, (account, paid.carry))?;
            }
        }
        if paid.amount == 0 {
            self.step(id, CreditState::Carried)?;
            let set = "UPDATE credit SET unit_work = ?2, carry_in = ?3, amount = 0, \
                       share_root = ?4, sealed_ms = ?5, settled_ms = ?5 WHERE id = ?1";
            self.conn.run(set, (id, terms.unit_work, carry, rooted.root, at_ms))?;
            return Ok(false);
        }
        self.step(id, CreditState::Sealed)?;
        let name = payment_id(&self.pool_id, id, &rooted.root);
        let set = "UPDATE credit SET unit_work = ?2, carry_in = ?3, amount = ?4, share_root = ?5, \
                   payment_id = ?6, sealed_ms = ?7 WHERE id = ?1";
        let row = (id, terms.unit_work, carry, paid.amount, rooted.root, name, at_ms);
        self.conn.run(set, row)?;
        let sealed = v1::MintSealed {
            credit_id: id,
            user_identity: owner.0,
            payout_key: key_bytes(owner.1.as_ref()),
            amount: paid.amount,
            shares,
            share_root: rooted.root.to_vec().into(),
        };
        self.event(at_ms, Event::MintSealed(sealed))?;
        Ok(true)
    }

    /// [`super::Ledger::assign`], for credits and quotes that were found for each other.
    pub(super) fn assign(
        &self,
        found: &[Match],
        payments_max: u64,
        at_ms: i64,
    ) -> Result<u64, LedgerError> {
        let still = "SELECT 1 FROM credit JOIN account ON account.id = credit.account_id \
                     JOIN quote ON quote.quote_ref = ?2 WHERE credit.id = ?1 AND credit.state = 2 \
                     AND quote.state = 2 AND NOT frozen";
        let take =
            "UPDATE quote SET payments = payments + 1 WHERE quote_ref = ?1 AND payments < ?2";
        let mut assigned = 0;
        for Match { credit, quote, named_by } in found {
            if self.conn.one(still, (credit, quote), |_| Ok(())).optional()?.is_none() {
                continue;
            }
            let has_room = match named_by {
                Some(account) => self.take_named(*account, quote, payments_max, at_ms)?,
                None => self.conn.run(take, (quote, payments_max))? > 0,
            };
            if has_room {
                self.put_on(*credit, quote)?;
                assigned += 1;
            }
        }
        Ok(assigned)
    }

    /// A sealed credit is to be paid on this quote.
    pub(super) fn put_on(&self, credit: u64, quote: &str) -> Result<(), LedgerError> {
        self.step(credit, CreditState::Assigned)?;
        let set = "UPDATE credit SET quote_ref = ?2, attempts = 0, next_try_ms = 0 WHERE id = ?1";
        self.conn.run(set, (credit, quote))?;
        Ok(())
    }

    /// [`super::Ledger::mark_sent`].
    pub(super) fn mark_sent(&self, credits: &[u64], at_ms: i64) -> Result<(), LedgerError> {
        if let Some(reason) = self.stopped()? {
            tracing::debug!(%reason, "sending is stopped");
            return Err(LedgerError::Refused("sending is stopped"));
        }
        credits.iter().try_for_each(|credit| self.send_one(*credit, at_ms))
    }

    /// A credit is sent on its quote from now on.
    pub(super) fn send_one(&self, credit: u64, at_ms: i64) -> Result<(), LedgerError> {
        if !self.step(credit, CreditState::Sent)? {
            return Ok(());
        }
        let set = "UPDATE credit SET sent_ms = ?2 WHERE id = ?1 RETURNING payment_id";
        let payment_id = self.conn.one(set, (credit, at_ms), |row| row.get(0))?;
        self.event(at_ms, Event::MintSent(v1::MintSent { credit_id: credit, payment_id }))?;
        let place: u64 = super::schema::meta(self.conn, "event_seq")?;
        self.conn.run("UPDATE credit SET sent_seq = ?2 WHERE id = ?1", (credit, place))?;
        Ok(())
    }

    /// Counts a confirmed credit in the books of its account, and tells.
    pub(super) fn confirm_credit(
        &self,
        credit: u64,
        request: &str,
        at_ms: i64,
    ) -> Result<(), LedgerError> {
        if !self.step(credit, CreditState::Confirmed)? {
            return Ok(());
        }
        let set = "UPDATE credit SET settled_ms = ?2, last_error = NULL WHERE id = ?1 \
                   RETURNING account_id, amount";
        let (account, amount): (i64, u64) =
            self.conn.one(set, (credit, at_ms), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let sum = "SELECT confirmed FROM account WHERE id = ?1";
        let sum: Wide = self.conn.one(sum, [account], |row| row.get(0))?;
        let Some(sum) = sum.0.checked_add(amount.into()) else {
            return Err(LedgerError::Damaged(format!("the sum of account {account}")));
        };
        let set = "UPDATE account SET confirmed = ?2 WHERE id = ?1";
        self.conn.run(set, (account, Wide(sum)))?;
        let confirmed =
            v1::MintConfirmed { credit_id: credit, amount, quote_request: request.to_owned() };
        self.event(at_ms, Event::MintConfirmed(confirmed))
    }

    /// [`super::Ledger::defer`].
    pub(super) fn defer(
        &self,
        credit: u64,
        next_try_ms: i64,
        detail: &str,
        at_ms: i64,
    ) -> Result<(), LedgerError> {
        let state = self.state(credit)?;
        if !matches!(state, CreditState::Assigned | CreditState::Sent) {
            return Err(LedgerError::Refused("only a credit that is to be sent can be deferred"));
        }
        let set = "UPDATE credit SET attempts = attempts + 1, next_try_ms = ?2, last_error = ?3 \
                   WHERE id = ?1 RETURNING attempts";
        let attempts = self.conn.one(set, (credit, next_try_ms, detail), |row| row.get(0))?;
        let failed = v1::MintFailed {
            credit_id: credit,
            attempts,
            next_try_ms,
            detail: detail.to_owned(),
            ..v1::MintFailed::default()
        };
        self.event(at_ms, Event::MintFailed(failed))
    }

    /// [`super::Ledger::freeze_credit`].
    pub(super) fn freeze_credit(&self, credit: u64) -> Result<(), LedgerError> {
        let from = self.state(credit)?;
        if self.step(credit, CreditState::Frozen)? {
            let set = "UPDATE credit SET frozen_from = ?2 WHERE id = ?1";
            self.conn.run(set, (credit, from))?;
        }
        Ok(())
    }

    /// [`super::Ledger::unfreeze_credit`].
    pub(super) fn unfreeze_credit(&self, credit: u64) -> Result<(), LedgerError> {
        if self.state(credit)? != CreditState::Frozen {
            return Ok(());
        }
        let from = "SELECT frozen_from FROM credit WHERE id = ?1";
        let from = self.conn.one(from, [credit], |row| row.get::<_, Option<_>>(0))?;
        let Some(from) = from else {
            return Err(LedgerError::Damaged(format!("credit {credit} was frozen from nowhere")));
        };
        self.step(credit, from)?;
        self.conn.run("UPDATE credit SET frozen_from = NULL WHERE id = ?1", [credit])?;
        Ok(())
    }

    /// [`super::Ledger::freeze_account`].
    pub(super) fn freeze_account(&self, account: i64, frozen: bool) -> Result<(), LedgerError> {
        let set = "UPDATE account SET frozen = ?2 WHERE id = ?1";
        match self.conn.run(set, (account, frozen))? {
            0 => Err(LedgerError::Unknown("account")),
            _ => Ok(()),
        }
    }

    /// [`super::Ledger::requeue`].
    pub(super) fn requeue(&self, credit: u64) -> Result<(), LedgerError> {
        let state = self.state(credit)?;
        if state != CreditState::Lost && state != CreditState::Sealed {
            let to = CreditState::Sealed;
            return Err(LedgerError::Credit { from: state, to });
        }
        if self.step(credit, CreditState::Sealed)? {
            self.unassign(credit)?;
        }
        Ok(())
    }

    /// Takes a credit off its quote. Its payment keeps its name: a mint that has booked it under
    /// the old quote after all refuses it under the new one.
    pub(super) fn unassign(&self, credit: u64) -> Result<(), LedgerError> {
        let set = "UPDATE credit SET quote_ref = NULL, attempts = 0, next_try_ms = 0 WHERE id = ?1";
        self.conn.run(set, [credit])?;
        Ok(())
    }

    /// [`super::Ledger::prune`], the part about shares.
    pub(super) fn prune_shares(
        &mut self,
        settled_by_ms: i64,
        most: u64,
    ) -> Result<u64, LedgerError> {
        let oldest = "SELECT id, settled_ms FROM credit WHERE settled_ms IS NOT NULL \
                      AND pruned < 2 AND settled_ms <= ?1 ORDER BY settled_ms LIMIT 1";
        let shares = "DELETE FROM share WHERE share_hash IN \
                      (SELECT share_hash FROM share WHERE credit_id = ?1 LIMIT ?2)";
        let mut deleted = 0;
        while deleted < most {
            let next = self.conn.one(oldest, [settled_by_ms], |row| Ok((row.get(0)?, row.get(1)?)));
            let Some((credit, settled_ms)): Option<(u64, i64)> = next.optional()? else { break };
            let wanted = most - deleted;
            let found = self.conn.run(shares, (credit, wanted))? as u64;
            let pruned = if found < wanted { 2 } else { 1 };
            self.conn.run("UPDATE credit SET pruned = ?2 WHERE id = ?1", (credit, pruned))?;
            let forgotten = "UPDATE meta SET value = max(value, ?1) WHERE key = 'forgotten_ms'";
            self.conn.run(forgotten, [settled_ms])?;
            self.forgotten_ms = self.forgotten_ms.max(settled_ms);
            deleted += found;
        }
        Ok(deleted)
    }

    /// [`super::Ledger::prune`], the part about events.
    pub(super) fn prune_events(
        &self,
        before_ms: i64,
        now_ms: i64,
        most: u64,
    ) -> Result<u64, LedgerError> {
        // Without any consumer nobody was ever to be told, and nobody waits for them.
        let acked = "SELECT ifnull(min(acked_seq), 9223372036854775807) FROM consumer";
        let acked: i64 = self.conn.one(acked, [], |row| row.get(0))?;
        // From the front only, up to the first that is young: times may go back, numbers don't.
        // One of a time to come was told by a clock that was wrong; nothing waits for that time.
        let delete = "WITH first AS MATERIALIZED \
                      (SELECT seq, at_ms FROM event WHERE seq <= ?1 ORDER BY seq LIMIT ?4) \
                      DELETE FROM event WHERE seq IN (SELECT seq FROM first WHERE seq < \
                      ifnull((SELECT min(seq) FROM first WHERE at_ms BETWEEN ?2 AND ?3), \
                      9223372036854775807))";
        let latest_ms = now_ms.saturating_add(CLOCKS_APART_MS);
        Ok(self.conn.run(delete, (acked, before_ms, latest_ms, most))? as u64)
    }
}
