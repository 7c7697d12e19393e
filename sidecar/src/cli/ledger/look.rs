//! What only reads: `accounts`, `stuck`, `verify`.

use std::collections::HashMap;

use clap::Args;
use gopool_sv2::mint::ledger::{AccountBooks, Books, CreditState, LedgerError, Quote};
use gopool_sv2::mint::PayoutKey;
use gopool_sv2::sys::unix_millis;
use serde_json::json;

use super::text::{age, at_most, difficulty, harmless, hex, plain, quoted, Table};
use super::{say, Outcome, Place};

/// Accounts that are read at a time.
const PAGE: u32 = 256;

/// Which credits `stuck` is about.
#[derive(Debug, Args)]
pub(super) struct Stuck {
    /// Only credits that were opened so long ago; lost and frozen ones always.
    #[arg(long, value_name = "N", default_value_t = 15)]
    minutes: u32,
    /// The oldest so many.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    most: u32,
    /// Print the mint's ids of quotes as well.
    #[arg(long)]
    secrets: bool,
}

/// A key, or `-` for none: unassigned.
pub(super) fn key(key: Option<&PayoutKey>) -> String {
    key.map_or_else(|| "-".to_owned(), PayoutKey::to_string)
}

/// An account as JSON.
pub(super) fn account_json(account: &AccountBooks) -> serde_json::Value {
    json!({
        "kind": "account",
        "account": account.id,
        "identity": plain(&account.identity),
        "identity_hex": hex(&account.identity),
        "payout_key": account.payout_key.map(|key| key.to_string()),
        "accrued_difficulty": difficulty(account.accrued),
        "accrued_work": account.accrued.0.to_string(),
        "shares": account.shares,
        "pending": account.pending_amount,
        "confirmed": account.confirmed_amount,
        "issued": account.issued_amount,
        "frozen": account.frozen,
    })
}

/// One account by its number.
pub(super) fn account(books: &Books, id: i64) -> Result<Option<AccountBooks>, LedgerError> {
    let found = books.accounts(id.saturating_sub(1), 1)?;
    Ok(found.into_iter().find(|account| account.id == id))
}

pub(super) fn accounts(place: &Place) -> Outcome {
    let books = place.books()?;
    let mut table = Table::new(&[
        ">account",
        "payout key",
        ">accrued",
        ">shares",
        ">pending",
        ">confirmed",
        ">issued",
        "frozen",
        "identity",
    ]);
    let (mut count, mut pending, mut confirmed, mut issued) = (0_u64, 0_u128, 0_u128, 0_u128);
    let mut after = 0;
    loop {
        let page = books.accounts(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for account in &page {
            count += 1;
            pending += u128::from(account.pending_amount);
            confirmed += u128::from(account.confirmed_amount);
            issued += u128::from(account.issued_amount);
            if place.json {
                say(account_json(account));
                continue;
            }
            table.row(vec![
                account.id.to_string(),
                key(account.payout_key.as_ref()),
                difficulty(account.accrued),
                account.shares.to_string(),
                account.pending_amount.to_string(),
                account.confirmed_amount.to_string(),
                account.issued_amount.to_string(),
                if account.frozen { "frozen" } else { "-" }.to_owned(),
                quoted(&account.identity),
            ]);
        }
    }
    let stopped = books.stopped()?.map(|reason| harmless(&reason));
    let events = overtaken(&books)?;
    if place.json {
        say(json!({
            "kind": "summary",
            "accounts": count,
            "pending": at_most(pending),
            "confirmed": at_most(confirmed),
            "issued": at_most(issued),
            "sending_stopped": stopped,
            "events_stopped": events,
        }));
        return Ok(true);
    }
    say(&table);
    say(format_args!(
        "\n{count} accounts: {pending} pending, {confirmed} confirmed, {issued} issued"
    ));
    tell_stopped(stopped.as_deref(), events.as_deref());
    Ok(true)
}

/// Why no events go to somebody who has others; `None`: they flow.
pub(super) fn overtaken(books: &Books) -> Result<Option<String>, LedgerError> {
    let found = books.overtaken()?;
    Ok(found.map(|(sink, overtaken)| format!("stopped because of the {sink}: {overtaken}")))
}

/// Says that nothing is sent, or nothing told, and what to do.
fn tell_stopped(reason: Option<&str>, events: Option<&str>) {
    if let Some(reason) = reason {
        say(format_args!(
            "sending is stopped: {reason}\n  find out with `ledger reconcile`, then `ledger resume`"
        ));
    }
    if let Some(events) = events {
        say(format_args!(
            "events are {events}\n  was this ledger restored from an old copy, or runs one \
             elsewhere? See docs/mint.md, \"Backup and restore\", then `ledger resume`"
        ));
    }
}

/// What keeps a credit in a state, and what to do about it.
const fn remedy(state: CreditState) -> &'static str {
    match state {
        CreditState::Open => "not closed in time: does the sidecar run, with its [mint]?",
        CreditState::Closed => "not sealed: does the sidecar run? Its log says why if it does",
        CreditState::Sealed => "no open quote yet: does the mint answer? See last error, and log",
        CreditState::Assigned => {
            "not sent yet: is sending stopped (below)? Does the mint answer? Else see the log"
        }
        CreditState::Sent => {
            "the mint does not show it yet: is it connected to [mint.processor]? Then `reconcile`"
        }
        CreditState::Frozen => "an operator held it back: `ledger unfreeze --credit N`",
        CreditState::Lost => {
            "the mint lost its quote: bring its database back, which is enough; or, should that be \
             gone for good, `ledger requeue N`, or `requeue --lost`"
        }
        CreditState::Confirmed | CreditState::Carried => "final",
    }
}

const ASKED: &str =
    "it was sent on a quote that the mint lost: the mint is asked whether it still \
                     doesn't know that; does it answer?";

const HELD: &str = "its account is frozen: `ledger unfreeze --account N`";

pub(super) fn stuck(place: &Place, options: &Stuck) -> Outcome {
    let books = place.books()?;
    let now = unix_millis();
    let by = now.saturating_sub(i64::from(options.minutes).saturating_mul(60_000));
    // One more tells whether there are more.
    let mut found = books.stuck(now, options.most.saturating_add(1))?;
    let more = found.len() > options.most as usize;
    found.truncate(options.most as usize);
    let waits = |state| matches!(state, CreditState::Frozen | CreditState::Lost);
    found.retain(|stuck| stuck.credit.opened_ms <= by || waits(stuck.credit.state));
    let mut frozen: HashMap<i64, bool> = HashMap::new();
    let mut table = Table::new(&[
        ">credit",
        "state",
        "age",
        ">amount",
        ">shares",
        ">tries",
        ">account",
        "quote",
        "made by",
        "quote id",
        "payout key",
        "identity",
        "last error",
    ]);
    let mut remedies: Vec<(CreditState, &'static str)> = Vec::new();
    for stuck in &found {
        let credit = &stuck.credit;
        let held = match frozen.get(&credit.account_id) {
            Some(held) => *held,
            None => account(&books, credit.account_id)?.is_some_and(|account| account.frozen),
        };
        frozen.insert(credit.account_id, held);
        let todo = match held && !waits(credit.state) {
            true => HELD,
            false if books.waits_for_lost(credit.id)? => ASKED,
            false => remedy(credit.state),
        };
        let known = match &credit.quote_ref {
            Some(quote) => books.quote(quote)?,
            None => None,
        };
        let made_by = known.as_ref().map(Quote::made_by);
        let id = known.and_then(|quote| quote.quote_id).filter(|_| options.secrets);
        let error = credit.last_error.as_ref().map(|error| harmless(error));
        let quote = credit.quote_ref.as_ref().map(|quote| harmless(quote));
        let id = id.map(|id| harmless(&id));
        if place.json {
            let mut line = json!({
                "kind": "stuck",
                "credit": credit.id,
                "state": credit.state.as_str(),
                "opened_ms": credit.opened_ms,
                "amount": credit.amount,
                "shares": credit.shares,
                "attempts": credit.attempts,
                "next_try_ms": credit.next_try_ms,
                "account": credit.account_id,
                "account_frozen": held,
                "identity": plain(&stuck.identity),
                "identity_hex": hex(&stuck.identity),
                "payout_key": stuck.payout_key.map(|key| key.to_string()),
                "payment_id": credit.payment_id,
                "quote": quote,
                "quote_made_by": made_by,
                "last_error": error,
                "do": todo,
            });
            if options.secrets {
                line["quote_id"] = json!(id);
            }
            say(line);
            continue;
        }
        if !remedies.contains(&(credit.state, todo)) {
            remedies.push((credit.state, todo));
        }
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row(vec![
            credit.id.to_string(),
            credit.state.to_string(),
            age(credit.opened_ms, now),
            credit.amount.to_string(),
            credit.shares.to_string(),
            credit.attempts.to_string(),
            credit.account_id.to_string(),
            or_none(quote),
            made_by.unwrap_or("-").to_owned(),
            id.unwrap_or_else(|| if options.secrets { "-" } else { "(--secrets)" }.to_owned()),
            key(stuck.payout_key.as_ref()),
            quoted(&stuck.identity),
            or_none(error),
        ]);
    }
    let stopped = books.stopped()?.map(|reason| harmless(&reason));
    let events = overtaken(&books)?;
    if place.json {
        let count = found.len();
        say(json!({
            "kind": "summary",
            "stuck": count,
            "more": more,
            "sending_stopped": stopped,
            "events_stopped": events,
        }));
        return Ok(true);
    }
    match found.is_empty() {
        true => say(format_args!("nothing waits for more than {} minutes", options.minutes)),
        false => say(&table),
    }
    for (state, todo) in remedies {
        say(format_args!("{state}: {todo}"));
    }
    if more {
        say(format_args!("there are more than {}: see --most", options.most));
    }
    tell_stopped(stopped.as_deref(), events.as_deref());
    Ok(true)
}

pub(super) fn verify(place: &Place) -> Outcome {
    let audit = place.books()?.verify()?;
    let faults: Vec<String> = audit.faults.iter().map(|fault| harmless(fault)).collect();
    let good = faults.is_empty();
    if place.json {
        say(json!({
            "kind": "audit",
            "ok": good,
            "accounts": audit.accounts,
            "credits": audit.credits,
            "shares": audit.shares,
            "faults": faults,
        }));
        return Ok(good);
    }
    say(format_args!(
        "{} accounts, {} credits, {} shares: {}",
        audit.accounts,
        audit.credits,
        audit.shares,
        if good { "all of it adds up" } else { "it does not add up" }
    ));
    faults.iter().for_each(say);
    if !good {
        say("stop the sidecar, keep this file as it is, and compare it with the last backup");
    }
    Ok(good)
}
