//! Does the ledger add up? And all of it in rows, for those who want to see for themselves.

use std::collections::HashMap;

use bytes::Bytes;
use rusqlite::OptionalExtension as _;

use crate::mint::work::AMOUNT_MAX;
use crate::mint::Work;

use super::books::{read_credit, Books, CREDIT};
use super::error::LedgerError;
use super::model::{AccountBooks, Credit, Identity};
use super::root::payment_id;
use super::schema;
use super::sql::{bytes, Wide};
use super::state::CreditState;

/// Most faults that are listed.
const FAULTS_MAX: usize = 100;

/// What a check of the whole ledger found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Accounts looked at.
    pub accounts: u64,
    /// Credits looked at.
    pub credits: u64,
    /// Shares looked at.
    pub shares: u64,
    /// What does not add up, in words, at most 100. Empty: all is well.
    pub faults: Vec<String>,
}

impl Audit {
    fn fault(&mut self, wrong: bool, text: impl FnOnce() -> String) {
        if wrong && self.faults.len() < FAULTS_MAX {
            self.faults.push(text());
        }
    }
}

/// What the credits of one account come to.
#[derive(Default)]
struct Sums {
    /// Work of sealed and carried credits.
    sealed_work: u128,
    /// Amounts of them, in work.
    paid_work: u128,
    confirmed: u128,
    closed_shares: u64,
}

/// A row of an export, in this order: each account, then its credits, then the shares of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// An account.
    Account(AccountBooks),
    /// A credit of the account before it.
    Credit(Credit),
    /// A share of the credit before it.
    Share {
        /// Header hash, 32 bytes, internal order.
        hash: [u8; 32],
        /// What it counts.
        work: Work,
        /// Worker of extension 0x0002.
        worker: Bytes,
        /// When it was accepted, milliseconds since the epoch.
        at_ms: i64,
        /// The hash meets nbits.
        block_candidate: bool,
    },
}

impl Books {
    /// Checks every sum, root and link of the ledger, at one moment of it: the work of all shares
    /// is in their credits; the amounts of an account and its carries make the work of its credits;
    /// roots and names of payments follow from the shares; all shares count by one scheme, and none
    /// was deleted before its credit was settled; no event is left out.
    ///
    /// # Errors
    /// [`LedgerError::Storage`]: it can't be read. What does not add up is in [`Audit::faults`].
    pub fn verify(&self) -> Result<Audit, LedgerError> {
        self.at_one_moment(|books| {
            let mut audit = Audit::default();
            books.verify_file(&mut audit)?;
            let sums = books.verify_credits(&mut audit)?;
            books.verify_accounts(&mut audit, &sums)?;
            books.verify_quotes(&mut audit)?;
            books.verify_events(&mut audit)?;
            Ok(audit)
        })
    }

    fn verify_file(&self, audit: &mut Audit) -> Result<(), LedgerError> {
        let found: String = self.conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        audit.fault(found != "ok", || format!("SQLite finds: {found}"));
        let foreign = self.conn.query_row("PRAGMA foreign_key_check", [], |row| row.get(0));
        let foreign: Option<String> = foreign.optional()?;
        let table = foreign.clone().unwrap_or_default();
        audit.fault(foreign.is_some(), || format!("a row of {table} points nowhere"));
        Ok(())
    }

    fn verify_credits(&self, audit: &mut Audit) -> Result<HashMap<i64, Sums>, LedgerError> {
        let Identity { pool_id, scheme, .. } = self.identity()?;
        let columns = format!("{CREDIT} ORDER BY credit.id");
        let mut credits = self.conn.prepare(&columns)?;
        let mut works = self.conn.prepare("SELECT work FROM share WHERE credit_id = ?1")?;
        let mut rows = credits.query([])?;
        let mut sums: HashMap<i64, Sums> = HashMap::new();
        while let Some(row) = rows.next()? {
            let credit = read_credit(row)?;
            let id = credit.id;
            audit.credits += 1;
            audit.fault(credit.scheme != scheme, || {
                format!(
                    "credit {id} counts shares by `{}`, the ledger by `{scheme}`",
                    credit.scheme
                )
            });
            let all_here = row.get::<_, i64>("pruned")? == 0;
            let settled = matches!(credit.state, CreditState::Confirmed | CreditState::Carried);
            audit.fault(!all_here && !settled, || {
                format!("credit {id} is {}, and shares of it were deleted", credit.state)
            });
            if all_here {
                let (mut work, mut shares) = (0_u128, 0_u64);
                for share in works.query_map([id], |row| row.get::<_, Work>(0))? {
                    work = work.saturating_add(share?.0);
                    shares += 1;
                }
                audit.shares += shares;
                let counts = credit.shares;
                audit.fault(shares != counts, || {
                    format!("credit {id} counts {counts} shares, the table has {shares}")
                });
                audit.fault(work != credit.work.0, || {
                    format!("credit {id} is not the work of its shares")
                });
                let root = match credit.share_root {
                    Some(_) => Some(self.rooted(id)?.root),
                    None => None,
                };
                audit.fault(root != credit.share_root, || {
                    format!("the root of credit {id} is not that of its shares")
                });
            }
            let sum = sums.entry(credit.account_id).or_default();
            if credit.state != CreditState::Open {
                sum.closed_shares += credit.shares;
            }
            if !matches!(credit.state, CreditState::Open | CreditState::Closed) {
                let (unit, carry) = (row.get("unit_work")?, row.get("carry_in")?);
                verify_sealed(audit, &credit, unit, carry, &pool_id);
                let (Work(unit), amount) = (unit, u128::from(credit.amount));
                sum.sealed_work = sum.sealed_work.saturating_add(credit.work.0);
                sum.paid_work = sum.paid_work.saturating_add(amount.saturating_mul(unit));
                if credit.state == CreditState::Confirmed {
                    sum.confirmed += amount;
                }
            }
        }
        let lost = "SELECT count(*) FROM share WHERE NOT EXISTS \
                    (SELECT 1 FROM credit WHERE credit.id = credit_id)";
        let lost: u64 = self.conn.query_row(lost, [], |row| row.get(0))?;
        audit.fault(lost > 0, || format!("{lost} shares have no credit"));
        Ok(sums)
    }

    fn verify_accounts(
        &self,
        audit: &mut Audit,
        sums: &HashMap<i64, Sums>,
    ) -> Result<(), LedgerError> {
        let accounts = "SELECT id, payout_key, carry, closed_shares, confirmed FROM account";
        let mut accounts = self.conn.prepare(accounts)?;
        let mut named = self.conn.prepare("SELECT carry FROM naming WHERE account_id = ?1")?;
        let mut rows = accounts.query([])?;
        let none = Sums::default();
        while let Some(row) = rows.next()? {
            audit.accounts += 1;
            let id: i64 = row.get("id")?;
            let sum = sums.get(&id).unwrap_or(&none);
            let carry: Work = row.get("carry")?;
            let mut carry = Some(carry);
            for own in named.query_map([id], |row| row.get(0))? {
                carry = carry.zip(Some(own?)).and_then(|(sum, own)| sum.checked_add(own));
            }
            let all = carry.and_then(|carry| sum.paid_work.checked_add(carry.0));
            audit.fault(all != Some(sum.sealed_work), || {
                format!("the amounts and the carry of account {id} are not its work")
            });
            let shares: u64 = row.get("closed_shares")?;
            audit.fault(shares != sum.closed_shares, || {
                format!("account {id} does not count its shares right")
            });
            let confirmed: Wide = row.get("confirmed")?;
            audit.fault(confirmed.0 != sum.confirmed, || {
                format!("account {id} does not count what was confirmed right")
            });
            let key: Option<crate::mint::PayoutKey> = row.get("payout_key")?;
            audit.fault(key.is_none() && sum.sealed_work > 0, || {
                format!("account {id} has no key, but sealed credits")
            });
        }
        Ok(())
    }

    fn verify_quotes(&self, audit: &mut Audit) -> Result<(), LedgerError> {
        let stray = "SELECT credit.id FROM credit JOIN account ON account.id = credit.account_id \
                     LEFT JOIN quote ON quote.quote_ref = credit.quote_ref \
                     AND quote.payout_key = account.payout_key \
                     AND ifnull(quote.account_id = account.id, quote.quote_ref = wish) \
                     WHERE credit.state IN (3, 4, 5) AND quote.quote_id IS NULL LIMIT 1";
        let stray: Option<u64> = self.conn.query_row(stray, [], |row| row.get(0)).optional()?;
        let credit = stray.unwrap_or_default();
        audit.fault(stray.is_some(), || {
            format!("credit {credit} has no open quote of its own account, nor the one it named")
        });
        let foreign = "SELECT quote_ref FROM quote JOIN account ON account.id = account_id \
                       WHERE quote.payout_key <> ifnull(account.payout_key, x'') LIMIT 1";
        let nameless = "SELECT wish FROM credit WHERE wish IS NOT NULL AND NOT EXISTS \
                        (SELECT 1 FROM naming WHERE naming.account_id = credit.account_id \
                        AND naming.quote_ref = wish) LIMIT 1";
        let open = "SELECT naming.quote_ref FROM naming \
                    JOIN account ON account.id = naming.account_id LEFT JOIN quote \
                    ON quote.quote_ref = naming.quote_ref AND quote.account_id IS NULL \
                    AND quote.payout_key = account.payout_key AND quote.state IN (1, 2) \
                    WHERE takes AND quote.quote_ref IS NULL LIMIT 1";
        let left = "SELECT quote_ref FROM naming WHERE NOT takes AND carry <> zeroblob(16) LIMIT 1";
        for (query, what) in [
            (foreign, "is locked to another key than its account's"),
            (nameless, "was named for a credit, and nobody wrote down by whom"),
            (open, "is not there, or not open, or of another key, and takes credits"),
            (left, "takes no more credits, and something is carried for it"),
        ] {
            let found: Option<String> =
                self.conn.query_row(query, [], |row| row.get(0)).optional()?;
            let quote = found.clone().unwrap_or_default();
            audit.fault(found.is_some(), || format!("quote {quote} {what}"));
        }
        Ok(())
    }

    fn verify_events(&self, audit: &mut Audit) -> Result<(), LedgerError> {
        let last: u64 = schema::meta(&self.conn, "event_seq")?;
        let events = "SELECT count(*), ifnull(min(seq), 0), ifnull(max(seq), 0) FROM event";
        let (count, first, newest): (u64, u64, u64) =
            self.conn.query_row(events, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let gapless = count == 0 || (newest == last && newest - first + 1 == count);
        audit.fault(!gapless, || {
            format!("{count} events from {first} to {newest}, but {last} were written")
        });
        Ok(())
    }

    /// Hands every account, credit and share to `take`; ends early when `take` says `false`. What
    /// belongs to an account is of one moment, and each account of its own: a slow reader holds
    /// the file's log up no longer than that. Shares that were pruned are not there any more.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn export(&self, mut take: impl FnMut(Export) -> bool) -> Result<(), LedgerError> {
        let mut after = 0;
        loop {
            let next = "SELECT id FROM account WHERE id > ?1 ORDER BY id LIMIT 1";
            let next: Option<i64> =
                self.conn.query_row(next, [after], |row| row.get(0)).optional()?;
            let Some(account) = next else { return Ok(()) };
            after = account;
            let goes_on = self.at_one_moment(|books| {
                books.export_account(books.account_of(account)?, &mut take)
            })?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn export_account(
        &self,
        account: AccountBooks,
        take: &mut impl FnMut(Export) -> bool,
    ) -> Result<bool, LedgerError> {
        let columns = format!("{CREDIT} WHERE account_id = ?1 ORDER BY credit.id");
        let mut credits = self.conn.prepare(&columns)?;
        let found = credits.query_map([account.id], read_credit)?;
        let found: Vec<Credit> = found.collect::<Result<_, _>>()?;
        if !take(Export::Account(account)) {
            return Ok(false);
        }
        let shares = "SELECT share_hash, work, worker, at_ms, is_block FROM share \
                      WHERE credit_id = ?1 ORDER BY share_hash";
        let mut shares = self.conn.prepare(shares)?;
        for credit in found {
            let id = credit.id;
            if !take(Export::Credit(credit)) {
                return Ok(false);
            }
            let mut rows = shares.query([id])?;
            while let Some(row) = rows.next()? {
                let share = Export::Share {
                    hash: row.get("share_hash")?,
                    work: row.get("work")?,
                    worker: bytes(row, "worker")?,
                    at_ms: row.get("at_ms")?,
                    block_candidate: row.get("is_block")?,
                };
                if !take(share) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Checks what is fixed at the sealing of a credit.
fn verify_sealed(audit: &mut Audit, credit: &Credit, unit: Work, carry: Work, pool: &[u8; 16]) {
    let id = credit.id;
    let total = carry.checked_add(credit.work).unwrap_or_default();
    let whole = total.0.checked_div(unit.0).unwrap_or_default().min(AMOUNT_MAX.into());
    let carried = credit.state == CreditState::Carried;
    audit.fault(!carried && whole != u128::from(credit.amount), || {
        format!("the amount of credit {id} does not follow from its work")
    });
    audit.fault(carried != (credit.amount == 0), || match carried {
        true => format!("credit {id} was carried, and pays something"),
        false => format!("credit {id} pays nothing"),
    });
    audit.fault(credit.share_root.is_none(), || format!("credit {id} has no root"));
    let name = credit.share_root.map(|root| payment_id(pool, id, &root)).filter(|_| !carried);
    audit.fault(name != credit.payment_id, || {
        format!("the name of the payment of credit {id} does not follow from its shares")
    });
}
