//! What happens to deposit quotes, and what a reading of one means for its credits.

use gopool_sv2_proto::v1::{self, event::Event};
use rusqlite::OptionalExtension as _;

use super::due::Old;
use super::error::LedgerError;
use super::model::{Quote, Reading};
use super::schema;
use super::sql::Prepared as _;
use super::state::{CreditState, QuoteState};
use super::turn::{key_bytes, Turn};

/// Longest name of a quote, ours or the mint's, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 128;

impl Turn<'_> {
    /// A quote by our name of it.
    pub(super) fn quote(&self, quote: &str) -> Result<Quote, LedgerError> {
        super::books::quote(self.conn, quote)?.ok_or(LedgerError::Unknown("quote"))
    }

    /// Moves a quote to a state; `false`: it was there already.
    pub(super) fn step_quote(&self, quote: &str, to: QuoteState) -> Result<bool, LedgerError> {
        let from = self.quote(quote)?.state;
        if from == to {
            return Ok(false);
        }
        if !from.may_become(to) {
            return Err(LedgerError::Quote { from, to });
        }
        self.conn.run("UPDATE quote SET state = ?2 WHERE quote_ref = ?1", (quote, to))?;
        if matches!(to, QuoteState::Closing | QuoteState::Lost) {
            self.used_up(quote)?;
        }
        Ok(true)
    }

    /// [`super::Ledger::new_quote`].
    pub(super) fn new_quote(
        &self,
        account: i64,
        quote: &str,
        request: &str,
        at_ms: i64,
    ) -> Result<(), LedgerError> {
        if quote.is_empty() || quote.len() > NAME_BYTES_MAX || request.len() > 2 * NAME_BYTES_MAX {
            return Err(LedgerError::Refused("the name of a quote has 1 to 128 bytes"));
        }
        if let Some(known) = super::books::quote(self.conn, quote)? {
            return match known.account_id == Some(account) && known.request == request {
                true => Ok(()),
                false => Err(LedgerError::Refused("another quote has this name")),
            };
        }
        let Some(key) = self.owner(account)?.1 else {
            return Err(LedgerError::Refused("an account without a key gets no quote"));
        };
        let taking = "SELECT 1 FROM quote WHERE account_id = ?1 AND state IN (0, 1, 2)";
        if self.conn.one(taking, [account], |_| Ok(())).optional()?.is_some() {
            return Err(LedgerError::Refused("the account has a quote that takes credits"));
        }
        let add = "INSERT INTO quote(quote_ref, account_id, payout_key, request, state, \
                   created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.conn.run(add, (quote, account, key, request, QuoteState::New, at_ms))?;
        Ok(())
    }

    /// [`super::Ledger::quote_creating`].
    pub(super) fn quote_creating(&self, quote: &str) -> Result<(), LedgerError> {
        self.step_quote(quote, QuoteState::Creating).map(|_| ())
    }

    /// [`super::Ledger::set_candidate`].
    pub(super) fn set_candidate(&self, quote: &str, id: &str) -> Result<(), LedgerError> {
        if id.is_empty() || id.len() > NAME_BYTES_MAX {
            return Err(LedgerError::Refused("the mint's id of a quote has 1 to 128 bytes"));
        }
        let known = self.quote(quote)?;
        let found = known.candidate_quote_id.or(known.quote_id);
        match (known.state, found) {
            (_, Some(found)) if found == id => Ok(()),
            (_, Some(_)) => Err(LedgerError::Refused("the quote is being made under another id")),
            (QuoteState::Creating, None) => {
                self.unused_id(id)?;
                let set = "UPDATE quote SET candidate_quote_id = ?2 WHERE quote_ref = ?1";
                self.conn.run(set, (quote, id))?;
                Ok(())
            }
            (_, None) => Err(LedgerError::Refused("the quote is not being made")),
        }
    }

    /// Refuses an id of the mint's that another quote has: one payment would count twice.
    pub(super) fn unused_id(&self, id: &str) -> Result<(), LedgerError> {
        let used = "SELECT 1 FROM quote WHERE quote_id = ?1 OR candidate_quote_id = ?1";
        match self.conn.one(used, [id], |_| Ok(())).optional()? {
            Some(()) => Err(LedgerError::Refused("another quote has this id of the mint's")),
            None => Ok(()),
        }
    }

    /// [`super::Ledger::quote_again`].
    pub(super) fn quote_again(
        &self,
        quote: &str,
        next_try_ms: i64,
        detail: &str,
        at_ms: i64,
    ) -> Result<(), LedgerError> {
        // The same news twice: it is waiting for its next try already.
        if !self.step_quote(quote, QuoteState::New)? {
            return Ok(());
        }
        let set = "UPDATE quote SET candidate_quote_id = NULL, attempts = attempts + 1, \
                   next_try_ms = ?2, last_error = ?3 WHERE quote_ref = ?1 RETURNING attempts";
        let attempts = self.conn.one(set, (quote, next_try_ms, detail), |row| row.get(0))?;
        self.tell_failed(quote, attempts, next_try_ms, detail, at_ms)
    }

    /// Tells of a fault of a quote.
    fn tell_failed(
        &self,
        quote: &str,
        attempts: u32,
        next_try_ms: i64,
        detail: &str,
        at_ms: i64,
    ) -> Result<(), LedgerError> {
        let failed = v1::MintFailed {
            credit_id: 0,
            quote_request: self.quote(quote)?.request,
            attempts,
            next_try_ms,
            detail: detail.to_owned(),
        };
        self.event(at_ms, Event::MintFailed(failed))
    }

    /// [`super::Ledger::quote_opened`].
    pub(super) fn quote_opened(
        &self,
        quote: &str,
        id: &str,
        expiry_s: i64,
        at_ms: i64,
    ) -> Result<(), LedgerError> {
        let known = self.quote(quote)?;
        match known.quote_id {
            Some(found) if found == id => return Ok(()),
            Some(_) => return Err(LedgerError::Refused("the quote is open under another id")),
            None => {}
        }
        if known.candidate_quote_id.as_deref() != Some(id) {
            self.set_candidate(quote, id)?;
        }
        self.step_quote(quote, QuoteState::Open)?;
        let set = "UPDATE quote SET quote_id = ?2, candidate_quote_id = NULL, expiry_s = ?3, \
                   opened_ms = ?4, attempts = 0, last_error = NULL, seen = 1 WHERE quote_ref = ?1";
        self.conn.run(set, (quote, id, expiry_s, at_ms))?;
        // Who is paid on a wallet's quote hears of it with the first payment.
        let Some(account) = known.account_id else { return Ok(()) };
        let owner = self.owner(account)?;
        let opened = v1::MintQuoteOpened {
            user_identity: owner.0,
            payout_key: key_bytes(owner.1.as_ref()),
            quote_request: known.request,
            quote_id: id.to_owned(),
        };
        self.event(at_ms, Event::MintQuoteOpened(opened))
    }

    /// [`super::Ledger::rotate`] and [`super::Ledger::rotate_expiring`], for quotes that were found
    /// old.
    pub(super) fn rotate(&self, old: &[Old]) -> Result<u64, LedgerError> {
        let mut rotated = 0;
        for old in old {
            let (quote, from, to) = match old {
                Old::Open(quote) => (quote, QuoteState::Open, QuoteState::Closing),
                // What is carried for it is the account's again.
                Old::Unused(quote) => (quote, QuoteState::Creating, QuoteState::Lost),
            };
            if self.quote(quote)?.state == from {
                self.step_quote(quote, to)?;
                self.settle(quote)?;
                rotated += 1;
            }
        }
        Ok(rotated)
    }

    /// A quote that takes no more credits is settled when all of them are confirmed and minted.
    fn settle(&self, quote: &str) -> Result<(), LedgerError> {
        let known = self.quote(quote)?;
        let open = "SELECT count(*) FROM credit WHERE quote_ref = ?1 AND state <> 5";
        let open: u64 = self.conn.one(open, [quote], |row| row.get(0))?;
        let minted = known.issued_seen >= known.paid_seen;
        if known.state == QuoteState::Closing && open == 0 && minted {
            self.step_quote(quote, QuoteState::Settled)?;
        }
        Ok(())
    }

    /// [`super::Ledger::quote_lost`].
    pub(super) fn quote_lost(
        &self,
        quote: &str,
        detail: &str,
        at_ms: i64,
    ) -> Result<u64, LedgerError> {
        if !self.step_quote(quote, QuoteState::Lost)? {
            return Ok(0);
        }
        let known = self.quote(quote)?;
        let unminted = known.paid_seen.saturating_sub(known.issued_seen);
        let credits = "SELECT id, state, frozen_from FROM credit WHERE quote_ref = ?1 ORDER BY id";
        let mut credits = self.conn.prepare_cached(credits)?;
        let found = credits.query_map([quote], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<_>>(2)?))
        })?;
        let found: Vec<(u64, CreditState, Option<CreditState>)> =
            found.collect::<Result<_, _>>()?;
        let refreeze = "UPDATE credit SET frozen_from = ?2 WHERE id = ?1";
        let mut lost = 0;
        for (credit, state, frozen_from) in found {
            match (state, frozen_from) {
                (CreditState::Assigned, _) => {
                    self.step(credit, CreditState::Sealed)?;
                    self.unassign(credit)?;
                }
                (CreditState::Sent, _) => {
                    self.step(credit, CreditState::Lost)?;
                    self.remember_quote(credit, quote)?;
                    lost += 1;
                }
                // What is frozen stays so; it wakes up in the state that this one has become.
                (CreditState::Frozen, Some(CreditState::Assigned)) => {
                    self.conn.run(refreeze, (credit, CreditState::Sealed))?;
                    self.unassign(credit)?;
                }
                (CreditState::Frozen, Some(CreditState::Sent)) => {
                    self.conn.run(refreeze, (credit, CreditState::Lost))?;
                    self.remember_quote(credit, quote)?;
                    lost += 1;
                }
                _ => {}
            }
        }
        let detail = match unminted {
            0 => detail.to_owned(),
            unminted => format!("{detail}; {unminted} that it had paid was not seen minted"),
        };
        self.tell_failed(quote, 0, 0, &detail, at_ms)?;
        if unminted > 0 {
            tracing::error!(unminted, quote, "what the mint has lost was paid, and not minted");
        }
        Ok(lost)
    }

    /// [`super::Ledger::confirm`].
    pub(super) fn confirm(
        &self,
        quote: &str,
        paid: u64,
        issued: u64,
        at_ms: i64,
    ) -> Result<Reading, LedgerError> {
        let known = self.quote(quote)?;
        // A first look is no reading of what was sent: that comes when something was.
        let set = "UPDATE quote SET paid_seen = ?2, issued_seen = ?3, seen = 1, last_read_ms = \
                   CASE WHEN seen OR state <> 2 THEN ?4 ELSE last_read_ms END \
                   WHERE quote_ref = ?1";
        // The table holds no more; what is compared is what the mint said.
        let most = i64::MAX.unsigned_abs();
        self.conn.run(set, (quote, paid.min(most), issued.min(most), at_ms))?;
        if issued > known.issued_seen {
            let seen =
                v1::MintIssued { quote_request: known.request.clone(), issued_amount: issued };
            self.event(at_ms, Event::MintIssued(seen))?;
        }
        // What somebody else paid there, and the operator knows of, is as if we had sent it.
        let sent = self.sent_on(quote)?.saturating_add(self.known_surplus(quote)?.into());
        if sent < u128::from(paid) {
            let extra = u64::try_from(u128::from(paid) - sent).unwrap_or(u64::MAX);
            let text = format!("the mint shows {extra} more on the quote than was ever sent");
            if self.stop_sending(&text)? {
                self.tell_failed(quote, 0, 0, &text, at_ms)?;
            }
            return Ok(Reading::Surplus { extra });
        }
        // All that the mint can show are payments of ours, each above zero: only all of them
        // together make this sum.
        if sent > u128::from(paid) {
            let missing = u64::try_from(sent - u128::from(paid)).unwrap_or(u64::MAX);
            return Ok(Reading::Behind { missing });
        }
        let open = "SELECT id FROM credit WHERE quote_ref = ?1 AND state = 4 ORDER BY id";
        let mut open = self.conn.prepare_cached(open)?;
        let found = open.query_map([quote], |row| row.get(0))?;
        let found: Vec<u64> = found.collect::<Result<_, _>>()?;
        for credit in &found {
            self.confirm_credit(*credit, &known.request, at_ms)?;
        }
        self.settle(quote)?;
        Ok(Reading::Even(found.len() as u64))
    }

    /// All that the mint may have been told to pay on a quote: what was sent, also if it was
    /// frozen after that.
    fn sent_on(&self, quote: &str) -> Result<u128, LedgerError> {
        let amounts = "SELECT amount FROM credit WHERE quote_ref = ?1 \
                       AND (state IN (?2, ?3) OR state = ?4 AND frozen_from = ?2)";
        let mut amounts = self.conn.prepare_cached(amounts)?;
        let states = (quote, CreditState::Sent, CreditState::Confirmed, CreditState::Frozen);
        let mut sum = 0_u128;
        for amount in amounts.query_map(states, |row| row.get::<_, u64>(0))? {
            // At most 2^64 rows of 2^64 each.
            sum += u128::from(amount?);
        }
        Ok(sum)
    }

    /// [`super::Ledger::stop_sending`]; `false`: it was stopped before, for the reason that stays.
    pub(super) fn stop_sending(&self, reason: &str) -> Result<bool, LedgerError> {
        let set = "INSERT OR IGNORE INTO meta(key, value) VALUES ('stopped', ?1)";
        Ok(self.conn.run(set, [reason])? > 0)
    }

    /// [`super::Ledger::resume_sending`].
    pub(super) fn resume_sending(&self) -> Result<(), LedgerError> {
        self.conn.run("DELETE FROM meta WHERE key = 'stopped'", [])?;
        // The next reading would stop it again. What turned out to be ours is none of it any more.
        let read = "SELECT quote_ref, paid_seen FROM quote WHERE paid_seen > 0 AND state <> ?1";
        let mut read = self.conn.prepare_cached(read)?;
        let found = read.query_map([QuoteState::Lost], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let found: Vec<(String, u64)> = found.collect::<Result<_, _>>()?;
        let set = "INSERT OR REPLACE INTO meta(key, value) VALUES ('surplus:' || ?1, ?2)";
        for (quote, paid) in found {
            let extra = u128::from(paid).saturating_sub(self.sent_on(&quote)?);
            if extra == 0 {
                let forget = "DELETE FROM meta WHERE key = 'surplus:' || ?1";
                self.conn.run(forget, [quote])?;
            } else if let Ok(extra) = u64::try_from(extra) {
                self.conn.run(set, (quote, extra))?;
            }
        }
        let gone = "INSERT OR REPLACE INTO meta(key, value) \
                    SELECT 'gone:' || quote_ref, paid_seen - issued_seen FROM quote \
                    WHERE state = ?1 AND paid_seen > issued_seen";
        self.conn.run(gone, [QuoteState::Lost])?;
        Ok(())
    }

    /// What the mint shows on a quote that we did not send, as far as the operator knows of it.
    fn known_surplus(&self, quote: &str) -> Result<u64, LedgerError> {
        let known = schema::meta(self.conn, &format!("surplus:{quote}")).optional()?;
        Ok(known.unwrap_or_default())
    }

    /// [`super::Ledger::ack`].
    pub(super) fn ack(&self, consumer: &str, seq: u64) -> Result<(), LedgerError> {
        let last: u64 = schema::meta(self.conn, "event_seq")?;
        if seq > last {
            return Err(LedgerError::Refused("that event was not written yet"));
        }
        if consumer.is_empty() || consumer.len() > NAME_BYTES_MAX {
            return Err(LedgerError::Refused("the name of a consumer has 1 to 128 bytes"));
        }
        let set = "INSERT INTO consumer(name, acked_seq) VALUES (?1, ?2) ON CONFLICT DO UPDATE \
                   SET acked_seq = max(acked_seq, ?2)";
        self.conn.run(set, (consumer, seq))?;
        Ok(())
    }
}
