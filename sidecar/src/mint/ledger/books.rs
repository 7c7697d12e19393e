//! Reading the ledger, beside its writer and without holding it up.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::mint::{PayoutKey, Work};
use crate::types::Hash;

use super::credits::Rooted;
use super::error::{LedgerError, OpenError};
use super::model::{AccountBooks, Credit, Identity, Owed, Quote, QuoteNeed, StoredEvent, Stuck};
use super::root::ShareRoot;
use super::schema;
use super::sql::{bytes, count, Wide};
use super::state::{CreditState, QuoteState};
use super::turn::find_account;

/// A quote of which not all is minted is read at least so often, in milliseconds.
const UNMINTED_MAX_MS: i64 = 24 * 3_600 * 1_000;

/// Most quotes that the books of an account name.
const QUOTES_NAMED_MAX: i64 = 16;

/// The ledger for readers: a connection of its own that can't write. Every call sees one moment
/// of the ledger. Blocks on the disk.
#[derive(Debug)]
pub struct Books {
    pub(super) conn: Connection,
}

impl Books {
    /// Opens the ledger at `path` for reading, whether a sidecar runs on it or not.
    ///
    /// # Errors
    /// [`OpenError`]: no such file, not ours, or of another version.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { conn: schema::open_to_read(path)? })
    }

    /// Runs `read` on one moment of the ledger.
    pub(super) fn at_one_moment<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let moment = self.conn.unchecked_transaction()?;
        let found = read(self);
        moment.finish()?;
        found
    }

    /// What is constant in the life of the ledger.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn identity(&self) -> Result<Identity, LedgerError> {
        Ok(schema::read_identity(&self.conn)?)
    }

    /// 32 random bytes of this ledger, for marks on what it asks of a mint (HMAC). Secret.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn secret(&self) -> Result<[u8; 32], LedgerError> {
        Ok(schema::meta(&self.conn, "secret")?)
    }

    /// Why sending is stopped; `None`: it is not.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn stopped(&self) -> Result<Option<String>, LedgerError> {
        Ok(schema::meta(&self.conn, "stopped").optional()?)
    }

    /// The books of an account; `None`: no such account.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn account(
        &self,
        identity: &[u8],
        key: Option<&PayoutKey>,
    ) -> Result<Option<AccountBooks>, LedgerError> {
        self.at_one_moment(|books| match find_account(&books.conn, identity, key)? {
            Some(account) => books.account_of(account).map(Some),
            None => Ok(None),
        })
    }

    /// Up to `most` accounts after the number `after`, in the order of their numbers.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn accounts(&self, after: i64, most: u32) -> Result<Vec<AccountBooks>, LedgerError> {
        self.at_one_moment(|books| {
            let ids = "SELECT id FROM account WHERE id > ?1 ORDER BY id LIMIT ?2";
            let mut ids = books.conn.prepare(ids)?;
            let found = ids.query_map((after, most), |row| row.get(0))?;
            let found: Vec<i64> = found.collect::<Result<_, _>>()?;
            found.into_iter().map(|id| books.account_of(id)).collect()
        })
    }

    pub(super) fn account_of(&self, id: i64) -> Result<AccountBooks, LedgerError> {
        let columns = "SELECT identity, payout_key, carry, closed_shares, confirmed, frozen \
                       FROM account WHERE id = ?1";
        let mut books = self.conn.query_row(columns, [id], |row| {
            Ok(AccountBooks {
                id,
                identity: bytes(row, "identity")?,
                payout_key: row.get("payout_key")?,
                accrued: row.get("carry")?,
                shares: row.get("closed_shares")?,
                pending_amount: 0,
                confirmed_amount: at_most(row.get::<_, Wide>("confirmed")?.0),
                issued_amount: 0,
                quote_requests: Vec::new(),
                quote_ids: Vec::new(),
                frozen: row.get("frozen")?,
            })
        })?;
        let live = "SELECT state, work, shares, ifnull(amount, 0) AS amount FROM credit \
                    WHERE account_id = ?1 AND state = ?2";
        let mut live = self.conn.prepare(live)?;
        let mut pending = 0_u128;
        // State by state, so that the index of what waits is used: confirmed credits are many.
        for state in CreditState::ALL {
            if matches!(state, CreditState::Confirmed | CreditState::Carried) {
                continue;
            }
            let mut rows = live.query((id, *state))?;
            while let Some(row) = rows.next()? {
                if matches!(state, CreditState::Open | CreditState::Closed) {
                    let sum = books.accrued.checked_add(row.get("work")?);
                    books.accrued = sum.unwrap_or(Work(u128::MAX));
                }
                if *state == CreditState::Open {
                    books.shares += count(row, "shares")?;
                }
                pending += u128::from(count(row, "amount")?);
            }
        }
        books.pending_amount = at_most(pending);
        let carries = "SELECT carry FROM naming WHERE account_id = ?1 AND takes";
        let mut carries = self.conn.prepare(carries)?;
        for carry in carries.query_map([id], |row| row.get(0))? {
            books.accrued = books.accrued.checked_add(carry?).unwrap_or(Work(u128::MAX));
        }
        let issued = "SELECT issued_seen FROM quote WHERE account_id = ?1";
        let mut issued = self.conn.prepare(issued)?;
        let mut sum = self.issued_to_wallets(id)?;
        for amount in issued.query_map([id], |row| row.get::<_, u64>(0))? {
            sum += u128::from(amount?);
        }
        books.issued_amount = at_most(sum);
        let quotes = "SELECT request, quote_id FROM quote WHERE quote_id IS NOT NULL \
                      AND (account_id = ?1 OR quote_ref IN \
                      (SELECT quote_ref FROM naming WHERE account_id = ?1)) \
                      ORDER BY created_ms DESC, quote_ref LIMIT ?2";
        let mut quotes = self.conn.prepare(quotes)?;
        let found =
            quotes.query_map((id, QUOTES_NAMED_MAX), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let found = found.collect::<Result<Vec<(String, String)>, _>>()?;
        (books.quote_requests, books.quote_ids) = found.into_iter().unzip();
        Ok(books)
    }

    /// Closed credits that are to be sealed, each with the root over its shares; at most `most`.
    pub(super) fn closed(&self, most: u32) -> Result<Vec<Rooted>, LedgerError> {
        let closed = "SELECT credit.id FROM credit JOIN account ON account.id = account_id \
                      WHERE credit.state = 1 AND NOT frozen ORDER BY credit.id LIMIT ?1";
        let mut closed = self.conn.prepare(closed)?;
        let found = closed.query_map([most], |row| row.get(0))?;
        let found: Vec<u64> = found.collect::<Result<_, _>>()?;
        found.into_iter().map(|credit| self.rooted(credit)).collect()
    }

    /// The root over the shares of a credit that takes no more.
    pub(super) fn rooted(&self, credit: u64) -> Result<Rooted, LedgerError> {
        let hashes = "SELECT share_hash FROM share WHERE credit_id = ?1 ORDER BY share_hash";
        let mut hashes = self.conn.prepare(hashes)?;
        let mut root = ShareRoot::default();
        for hash in hashes.query_map([credit], |row| row.get::<_, [u8; 32]>(0))? {
            root.add(&hash?);
        }
        Ok(Rooted { credit, leaves: root.leaves(), root: root.root() })
    }

    /// [`super::Ledger::due_quotes`].
    pub(super) fn due_quotes(&self, at_ms: i64, most: u32) -> Result<Vec<QuoteNeed>, LedgerError> {
        let missing = "SELECT DISTINCT account.id, payout_key FROM credit \
                       JOIN account ON account.id = account_id \
                       WHERE credit.state = 2 AND NOT frozen AND NOT EXISTS \
                       (SELECT 1 FROM quote WHERE quote.account_id = account.id \
                        AND quote.state IN (0, 1, 2)) AND NOT EXISTS \
                       (SELECT 1 FROM naming WHERE naming.account_id = account.id \
                        AND naming.quote_ref = wish AND takes) ORDER BY account.id LIMIT ?1";
        let mut missing = self.conn.prepare(missing)?;
        let found = missing.query_map([most], |row| {
            Ok(QuoteNeed::Missing { account_id: row.get(0)?, payout_key: row.get(1)? })
        })?;
        let mut found: Vec<QuoteNeed> = found.collect::<Result<_, _>>()?;
        let unfinished = format!(
            "{QUOTE} JOIN account ON account.id = account_id WHERE quote.state IN (0, 1) \
             AND account_id IS NOT NULL AND next_try_ms <= ?1 AND NOT frozen \
             ORDER BY next_try_ms LIMIT ?2"
        );
        let mut unfinished = self.conn.prepare(&unfinished)?;
        for quote in unfinished.query_map((at_ms, most), read_quote)? {
            found.push(QuoteNeed::Unfinished(quote?));
        }
        found.extend(self.unproven(at_ms, most)?.into_iter().map(QuoteNeed::Unfinished));
        Ok(found)
    }

    /// A quote by our name of it; `None`: no such quote.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn quote(&self, quote_ref: &str) -> Result<Option<Quote>, LedgerError> {
        quote(&self.conn, quote_ref)
    }

    /// Quotes with something to read at the mint, longest unread first, as far as they were not
    /// read since `read_by_ms`: those with credits that were sent, and those that take credits and
    /// were not looked at since the ledger was opened; then, a quarter of `most`, those of which
    /// not all is minted, the more seldom the longer that takes.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn unread_quotes(&self, read_by_ms: i64, most: u32) -> Result<Vec<Quote>, LedgerError> {
        let waits = format!(
            "{QUOTE} WHERE quote.state IN (2, 3) AND last_read_ms <= ?1 AND quote_ref IN \
             (SELECT quote_ref FROM credit WHERE credit.state = 4 \
             UNION SELECT quote_ref FROM quote WHERE state = 2 AND seen = 0) \
             ORDER BY last_read_ms LIMIT ?2"
        );
        let mut waits = self.conn.prepare(&waits)?;
        let found = waits.query_map((read_by_ms, most), read_quote)?;
        let mut found: Vec<Quote> = found.collect::<Result<_, _>>()?;
        let left = (most / 4).max(1).min(most.saturating_sub(found.len() as u32));
        let unminted = format!(
            "{QUOTE} WHERE quote.state IN (2, 3) AND last_read_ms <= ?1 \
             - max(0, min(?3, (last_read_ms - opened_ms) / 4)) AND issued_seen < paid_seen \
             AND NOT EXISTS (SELECT 1 FROM credit WHERE credit.quote_ref = quote.quote_ref \
             AND credit.state = 4) AND (state = 3 OR seen) ORDER BY last_read_ms LIMIT ?2"
        );
        let mut unminted = self.conn.prepare(&unminted)?;
        for quote in unminted.query_map((read_by_ms, left, UNMINTED_MAX_MS), read_quote)? {
            found.push(quote?);
        }
        Ok(found)
    }

    /// Quotes that the mint has, longest unread first, as far as they were not read since
    /// `read_by_ms`: also those that are settled and with which nothing happens any more. Who can
    /// pay there without us does it where nobody looks.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn idle_quotes(&self, read_by_ms: i64, most: u32) -> Result<Vec<Quote>, LedgerError> {
        let idle = format!(
            "{QUOTE} WHERE quote.state IN (2, 3, 4) AND quote_id IS NOT NULL \
             AND last_read_ms <= ?1 AND opened_ms <= ?1 ORDER BY last_read_ms LIMIT ?2"
        );
        let mut idle = self.conn.prepare(&idle)?;
        let found = idle.query_map((read_by_ms, most), read_quote)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// [`super::Ledger::due_credits`].
    pub(super) fn due_credits(&self, at_ms: i64, most: u32) -> Result<Vec<Owed>, LedgerError> {
        let due = format!(
            "{OWED} JOIN account ON account.id = credit.account_id WHERE credit.state = ?1 \
             AND credit.next_try_ms <= ?2 AND NOT frozen AND quote.state IN (2, 3) \
             AND NOT EXISTS (SELECT 1 FROM meta WHERE key = 'stopped') \
             AND NOT EXISTS (SELECT 1 FROM quote WHERE state = 2 AND seen = 0) \
             AND NOT EXISTS (SELECT 1 FROM former WHERE former.credit_id = credit.id \
             AND gone_on IS NOT credit.quote_ref) ORDER BY credit.id LIMIT ?3"
        );
        let mut due = self.conn.prepare(&due)?;
        let found = due.query_map((CreditState::Assigned, at_ms, most), read_owed)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// [`super::Ledger::unconfirmed`].
    pub(super) fn unconfirmed(&self, after: u64, most: u32) -> Result<Vec<Owed>, LedgerError> {
        let sent = format!(
            "{OWED} JOIN account ON account.id = credit.account_id WHERE credit.state = ?1 \
             AND credit.sent_seq > ?2 AND NOT frozen AND quote.state IN (2, 3) \
             AND NOT EXISTS (SELECT 1 FROM meta WHERE key = 'stopped') \
             ORDER BY credit.sent_seq LIMIT ?3"
        );
        let mut sent = self.conn.prepare(&sent)?;
        let found = sent.query_map((CreditState::Sent, after, most), read_owed)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// [`super::Ledger::payments_of`].
    pub(super) fn payments_of(&self, quote_ref: &str) -> Result<Vec<Owed>, LedgerError> {
        let paid = format!(
            "{OWED} WHERE credit.quote_ref = ?1 AND credit.state IN (?2, ?3) ORDER BY credit.id"
        );
        let mut paid = self.conn.prepare(&paid)?;
        let states = (quote_ref, CreditState::Sent, CreditState::Confirmed);
        let found = paid.query_map(states, read_owed)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// [`super::Ledger::events_after`].
    pub(super) fn events_after(
        &self,
        seq: u64,
        most: u32,
    ) -> Result<Vec<StoredEvent>, LedgerError> {
        let events = "SELECT seq, payload FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut events = self.conn.prepare(events)?;
        // What is beyond i64 is beyond every number there is.
        let after = i64::try_from(seq).unwrap_or(i64::MAX);
        let found = events.query_map((after, most), |row| {
            Ok(StoredEvent { seq: row.get(0)?, payload: bytes(row, "payload")? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The number of the last event, and of the first that is still here (one more than the last
    /// when none is). 0 and 1 before the first.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn event_range(&self) -> Result<(u64, u64), LedgerError> {
        self.at_one_moment(|books| {
            let last: u64 = schema::meta(&books.conn, "event_seq")?;
            let first = "SELECT min(seq) FROM event";
            let first: Option<u64> = books.conn.query_row(first, [], |row| row.get(0))?;
            Ok((last, first.unwrap_or(last + 1)))
        })
    }

    /// The credit that a share is in; `None`: the ledger has no such share (any more).
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn credit_of(&self, hash: &Hash) -> Result<Option<u64>, LedgerError> {
        let credit = "SELECT credit_id FROM share WHERE share_hash = ?1";
        Ok(self.conn.query_row(credit, [hash], |row| row.get(0)).optional()?)
    }

    /// One credit; `None`: no such credit.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn credit(&self, id: u64) -> Result<Option<Credit>, LedgerError> {
        let credit = format!("{CREDIT} WHERE credit.id = ?1");
        Ok(self.conn.query_row(&credit, [id], read_credit).optional()?)
    }

    /// Credits that were opened at or before `opened_by_ms` and are neither confirmed nor carried;
    /// oldest first, at most `most`. Credits that still take shares of unassigned accounts are not
    /// among them: those wait for their owner, not for the operator.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn stuck(&self, opened_by_ms: i64, most: u32) -> Result<Vec<Stuck>, LedgerError> {
        let stuck = "SELECT credit.*, credit.id AS credit_id, identity, payout_key FROM credit \
                     JOIN account ON account.id = account_id WHERE opened_ms <= ?1 \
                     AND state NOT IN (?2, ?3) AND NOT (state = 0 AND payout_key IS NULL) \
                     ORDER BY opened_ms, credit.id LIMIT ?4";
        let mut stuck = self.conn.prepare(stuck)?;
        let row = (opened_by_ms, CreditState::Confirmed, CreditState::Carried, most);
        let found = stuck.query_map(row, |row| {
            Ok(Stuck {
                credit: read_credit(row)?,
                identity: bytes(row, "identity")?,
                payout_key: row.get("payout_key")?,
            })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

/// Sums of amounts stay below 2^64 in any life of a pool; beyond, the largest is shown.
fn at_most(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

/// A quote by our name of it.
pub(super) fn quote(conn: &Connection, quote_ref: &str) -> Result<Option<Quote>, LedgerError> {
    let one = format!("{QUOTE} WHERE quote_ref = ?1");
    Ok(conn.prepare_cached(&one)?.query_row([quote_ref], read_quote).optional()?)
}

pub(super) const QUOTE: &str = "SELECT quote.* FROM quote";

pub(super) fn read_quote(row: &Row<'_>) -> rusqlite::Result<Quote> {
    Ok(Quote {
        quote_ref: row.get("quote_ref")?,
        account_id: row.get("account_id")?,
        payout_key: row.get("payout_key")?,
        request: row.get("request")?,
        state: row.get::<_, QuoteState>("state")?,
        candidate_quote_id: row.get("candidate_quote_id")?,
        quote_id: row.get("quote_id")?,
        expiry_s: row.get("expiry_s")?,
        opened_ms: row.get("opened_ms")?,
        payments: row.get("payments")?,
        paid_seen: row.get("paid_seen")?,
        issued_seen: row.get("issued_seen")?,
        last_read_ms: row.get("last_read_ms")?,
        attempts: row.get("attempts")?,
        next_try_ms: row.get("next_try_ms")?,
    })
}

const OWED: &str = "SELECT credit.id, payment_id, amount, quote.quote_ref, quote.quote_id, \
                    credit.state, credit.attempts, credit.sent_seq \
                    FROM credit JOIN quote ON quote.quote_ref = credit.quote_ref";

fn read_owed(row: &Row<'_>) -> rusqlite::Result<Owed> {
    Ok(Owed {
        credit_id: row.get("id")?,
        payment_id: row.get("payment_id")?,
        amount: row.get("amount")?,
        quote_ref: row.get("quote_ref")?,
        quote_id: row.get("quote_id")?,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        place: row.get("sent_seq")?,
    })
}

pub(super) const CREDIT: &str = "SELECT credit.*, credit.id AS credit_id FROM credit";

pub(super) fn read_credit(row: &Row<'_>) -> rusqlite::Result<Credit> {
    Ok(Credit {
        id: row.get("credit_id")?,
        account_id: row.get("account_id")?,
        state: row.get("state")?,
        scheme: row.get("scheme")?,
        work: row.get("work")?,
        shares: row.get("shares")?,
        amount: row.get::<_, Option<u64>>("amount")?.unwrap_or_default(),
        share_root: row.get("share_root")?,
        payment_id: row.get("payment_id")?,
        quote_ref: row.get("quote_ref")?,
        wish: row.get("wish")?,
        attempts: row.get("attempts")?,
        next_try_ms: row.get("next_try_ms")?,
        opened_ms: row.get("opened_ms")?,
        last_error: row.get("last_error")?,
    })
}
