//! Shares on their way into the tables, and where the pool wants them to go.

use bytes::Bytes;
use gopool_sv2_proto::v1;
use rusqlite::OptionalExtension as _;

use crate::mint::{PayoutKey, Work};

use super::error::LedgerError;
use super::model::{LedgerShare, Outcome, Source, NAME_BYTES_MAX, POOL_CLOCK_MS};
use super::sql::{self, Prepared as _};
use super::state::CreditState;
use super::turn::{difficulty, key_bytes, Group, Owner, Turn, Whose};

impl Turn<'_> {
    /// Writes one share; its credit follows with [`Turn::flush`]. One that it opens begins at
    /// `at_ms`. An error is one of the storage: nothing of the whole turn may be kept.
    pub(super) fn record(
        &mut self,
        share: &LedgerShare,
        at_ms: i64,
    ) -> Result<Outcome, LedgerError> {
        if share.identity.len() > NAME_BYTES_MAX || share.worker.len() > NAME_BYTES_MAX {
            return Ok(Outcome::Failed);
        }
        let origin = match share.source {
            Source::V1 => None,
            Source::V2(origin) => Some(sql::origin(origin)),
        };
        let found = self.hot.find.query_row([share.hash], |row| row.get::<_, Option<[u8; 24]>>(0));
        match found.optional()? {
            Some(before) if before.is_some() && before == origin => return Ok(Outcome::Again),
            Some(_) => return Ok(Outcome::Duplicate),
            None => {}
        }
        let work = self.scheme.work(&share.hash, share.credit);
        let key = match share.payout_key {
            Some(key) => Some(key),
            None => self.payout(&share.identity)?,
        };
        // Without a key there is no quote either.
        let quote = share.quote.filter(|_| share.payout_key.is_some());
        let owner = ((share.identity.clone(), key), quote);
        if !self.groups.contains_key(&owner) {
            let group = self.open_group(&owner, at_ms)?;
            self.groups.insert(owner.clone(), group);
        }
        let Some(group) = self.groups.get_mut(&owner) else { return Ok(Outcome::Failed) };
        let Some(sum) = group.work.checked_add(work) else { return Ok(Outcome::Failed) };
        self.hot.add.execute((
            share.hash,
            group.credit_id,
            work,
            share.height,
            share.block_candidate,
            share.at_ms,
            origin,
            &share.worker[..],
        ))?;
        // Only now: what is counted is in the table.
        group.work = sum;
        group.shares += 1;
        group.at_ms = group.at_ms.max(share.at_ms);
        Ok(Outcome::Recorded)
    }

    /// Whether one of them may have been recorded and deleted since: it would be credited again.
    pub(super) fn refuse_forgotten(&mut self, shares: &[LedgerShare]) -> Result<(), LedgerError> {
        let since = match self.forgotten_ms {
            0 => i64::MIN,
            forgotten => forgotten.saturating_add(POOL_CLOCK_MS),
        };
        for share in shares {
            if share.at_ms <= since {
                let found = self.hot.find.query_row([share.hash], |_| Ok(())).optional()?;
                found.ok_or(LedgerError::Refused(
                    "a share was accepted so long ago that it may have been recorded, and its row \
                     deleted, before ([mint].keep_shares_h): it would be credited twice",
                ))?;
            }
        }
        Ok(())
    }

    /// The key that the pool set for an identity.
    fn payout(&mut self, identity: &Bytes) -> Result<Option<PayoutKey>, LedgerError> {
        if let Some(key) = self.payouts.get(identity) {
            return Ok(*key);
        }
        let key = self.hot.payout.query_row([&identity[..]], |row| row.get(0)).optional()?;
        self.payouts.insert(identity.clone(), key);
        Ok(key)
    }

    /// The open credit of an owner, for the quote that was named; account and credit are made when
    /// there are none.
    fn open_group(&mut self, (owner, quote): &Whose, at_ms: i64) -> Result<Group, LedgerError> {
        let key = sql::owner_key(owner.1.as_ref());
        let wish = quote.map(|quote| quote.to_string());
        let named = wish.as_deref().unwrap_or_default();
        let found = self.hot.group.query_row((&owner.0[..], key, named), |row| {
            let account: i64 = row.get("account_id")?;
            let Some(credit_id) = row.get("credit_id")? else { return Ok((account, None)) };
            let group = Group {
                credit_id,
                work: row.get("work")?,
                shares: row.get("shares")?,
                told_work: row.get("told_work")?,
                told_shares: row.get("told_shares")?,
                told_ms: row.get("told_ms")?,
                at_ms,
            };
            Ok((account, Some(group)))
        });
        match found.optional()? {
            Some((_, Some(group))) => Ok(group),
            Some((account, None)) => self.open_credit(account, wish, at_ms),
            None => self.open_credit(self.account(&owner.0, owner.1.as_ref())?, wish, at_ms),
        }
    }

    fn open_credit(
        &self,
        account: i64,
        wish: Option<String>,
        at_ms: i64,
    ) -> Result<Group, LedgerError> {
        if let Some(quote) = &wish {
            self.name_quote(account, quote)?;
        }
        let add = "INSERT INTO credit(account_id, state, scheme, opened_ms, told_ms, wish) \
                   VALUES (?1, ?2, ?3, ?4, ?4, ?5) RETURNING id";
        let row = (account, CreditState::Open, self.scheme.to_string(), at_ms, wish);
        let credit_id = self.conn.one(add, row, |row| row.get(0))?;
        Ok(Group {
            credit_id,
            work: Work::ZERO,
            shares: 0,
            told_work: Work::ZERO,
            told_shares: 0,
            told_ms: at_ms,
            at_ms,
        })
    }

    /// Writes what shares added to their credits, once for each, and tells what is due.
    pub(super) fn flush(&mut self) -> Result<(), LedgerError> {
        for ((owner, _), mut group) in std::mem::take(&mut self.groups) {
            if group.at_ms.saturating_sub(group.told_ms) >= self.accrued_every_ms {
                self.tell_accrued(&owner, &mut group)?;
            }
            self.hot.grow.execute((
                group.credit_id,
                group.work,
                group.shares,
                group.told_work,
                group.told_shares,
                group.told_ms,
            ))?;
        }
        Ok(())
    }

    /// Tells what went into a credit and was not told yet.
    pub(super) fn tell_accrued(&self, owner: &Owner, group: &mut Group) -> Result<(), LedgerError> {
        let shares = group.shares.saturating_sub(group.told_shares);
        if shares > 0 {
            let accrued = v1::MintAccrued {
                user_identity: owner.0.clone(),
                payout_key: key_bytes(owner.1.as_ref()),
                shares,
                credit: Some(difficulty(group.work.saturating_sub(group.told_work))),
            };
            self.event(group.at_ms, v1::event::Event::MintAccrued(accrued))?;
        }
        group.told_work = group.work;
        group.told_shares = group.shares;
        group.told_ms = group.at_ms;
        Ok(())
    }

    /// Closes an open credit: it takes no more shares. What was not told of it is told as its
    /// owner's.
    pub(super) fn close_credit(&self, credit: u64, at_ms: i64) -> Result<u64, LedgerError> {
        let columns = "SELECT account_id, work, shares, told_work, told_shares FROM credit \
                       WHERE id = ?1";
        let (account, mut group) = self.conn.one(columns, [credit], |row| {
            let group = Group {
                credit_id: credit,
                work: row.get("work")?,
                shares: row.get("shares")?,
                told_work: row.get("told_work")?,
                told_shares: row.get("told_shares")?,
                told_ms: at_ms,
                at_ms,
            };
            Ok((row.get::<_, i64>("account_id")?, group))
        })?;
        self.tell_accrued(&self.owner(account)?, &mut group)?;
        self.step(credit, CreditState::Closed)?;
        let told = "UPDATE credit SET told_work = work, told_shares = shares, told_ms = ?2 \
                    WHERE id = ?1";
        self.conn.run(told, (credit, at_ms))?;
        let count = "UPDATE account SET closed_shares = closed_shares + ?2 WHERE id = ?1";
        self.conn.run(count, (account, group.shares))?;
        Ok(group.shares)
    }

    /// [`super::Ledger::set_payout`].
    pub(super) fn set_payout(
        &mut self,
        identity: &Bytes,
        key: Option<PayoutKey>,
        claim_unassigned: bool,
        at_ms: i64,
    ) -> Result<u64, LedgerError> {
        if identity.len() > NAME_BYTES_MAX {
            return Err(LedgerError::Refused("an identity has at most 255 bytes"));
        }
        self.payouts.remove(identity);
        let Some(key) = key else {
            if claim_unassigned {
                return Err(LedgerError::Refused("unassigned work can't be claimed without a key"));
            }
            self.conn.run("DELETE FROM payout WHERE identity = ?1", [&identity[..]])?;
            return Ok(0);
        };
        // The time of the first setting stays: the same call twice changes nothing.
        let set = "INSERT INTO payout(identity, payout_key, set_ms) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET payout_key = ?2, set_ms = ?3 WHERE payout_key <> ?2";
        self.conn.run(set, (&identity[..], key, at_ms))?;
        if !claim_unassigned {
            return Ok(0);
        }
        let open = "SELECT credit.id FROM account CROSS JOIN credit ON account_id = account.id \
                    WHERE identity = ?1 AND payout_key IS NULL AND state = 0";
        let open = self.conn.one(open, [&identity[..]], |row| row.get(0)).optional()?;
        let Some(credit) = open else { return Ok(0) };
        let held = "SELECT frozen FROM account JOIN credit ON account_id = account.id \
                    WHERE credit.id = ?1";
        if self.conn.one(held, [credit], |row| row.get(0))? {
            return Err(LedgerError::Refused(
                "the operator holds the unassigned work of this identity back (ledger freeze): it \
                 can't be claimed",
            ));
        }
        let released = self.close_credit(credit, at_ms)?;
        let to = self.account(identity, Some(&key))?;
        let leave = "UPDATE account SET closed_shares = closed_shares - ?2 \
                     WHERE id = (SELECT account_id FROM credit WHERE id = ?1)";
        self.conn.run(leave, (credit, released))?;
        self.conn.run("UPDATE credit SET account_id = ?2 WHERE id = ?1", (credit, to))?;
        let arrive = "UPDATE account SET closed_shares = closed_shares + ?2 WHERE id = ?1";
        self.conn.run(arrive, (to, released))?;
        Ok(released)
    }
}
