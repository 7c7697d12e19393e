//! `gopool-sv2 ledger export`.

use std::io::{BufWriter, Write as _};

use clap::Args;
use gopool_sv2::mint::ledger::Export;
use gopool_sv2::types::Hash;
use serde_json::json;

use super::look::{account_json, key};
use super::text::{difficulty, harmless, hex, plain, quoted};
use super::{number, Outcome, Place};

/// What is exported.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// This account only.
    #[arg(long, value_name = "N", value_parser = number())]
    account: Option<u64>,
    /// No shares: accounts and credits only.
    #[arg(long)]
    no_shares: bool,
}

/// What the columns of the lines are, tab-separated.
const COLUMNS: &str = "\
# account\tnumber\tpayout key\taccrued\tshares\tpending\tconfirmed\tissued\tfrozen\tidentity
# credit\tnumber\tstate\tscheme\twork\tshares\tamount\tshare root\tpayment\tquote\topened ms\t\
named quote
# share\thash\twork\tat ms\tblock\tworker";

pub(super) fn run(place: &Place, options: &Options) -> Outcome {
    let books = place.books()?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut goes_on = place.json || writeln!(out, "{COLUMNS}").is_ok();
    // The rows of an account follow it.
    let (mut wanted, mut found, mut credit) = (true, false, 0);
    if goes_on {
        books.export(|row| {
            match &row {
                Export::Account(account) => {
                    // Numbers only rise.
                    if options.account.is_some_and(|id| account.id.unsigned_abs() > id) {
                        return false;
                    }
                    wanted = options.account.is_none_or(|id| account.id.unsigned_abs() == id);
                    found |= wanted;
                }
                Export::Credit(row) => credit = row.id,
                Export::Share { .. } if options.no_shares => return true,
                Export::Share { .. } => {}
            }
            if wanted {
                let line = if place.json { json_line(&row, credit) } else { text_line(&row) };
                // Whoever read it may be gone.
                goes_on = writeln!(out, "{line}").is_ok();
            }
            goes_on
        })?;
    }
    goes_on = goes_on && out.flush().is_ok();
    if let (Some(id), false, true) = (options.account, found, goes_on) {
        return Err(super::Wrong::Failed(format!("there is no account {id}")));
    }
    Ok(true)
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn text_line(row: &Export) -> String {
    let cells = match row {
        Export::Account(account) => vec![
            "account".to_owned(),
            account.id.to_string(),
            key(account.payout_key.as_ref()),
            difficulty(account.accrued),
            account.shares.to_string(),
            account.pending_amount.to_string(),
            account.confirmed_amount.to_string(),
            account.issued_amount.to_string(),
            if account.frozen { "frozen" } else { "-" }.to_owned(),
            quoted(&account.identity),
        ],
        Export::Credit(credit) => vec![
            "credit".to_owned(),
            credit.id.to_string(),
            credit.state.to_string(),
            credit.scheme.to_string(),
            credit.work.0.to_string(),
            credit.shares.to_string(),
            credit.amount.to_string(),
            or_none(credit.share_root.map(|root| hex(&root))),
            or_none(credit.payment_id.clone()),
            or_none(credit.quote_ref.as_ref().map(|quote| harmless(quote))),
            credit.opened_ms.to_string(),
            or_none(credit.wish.as_ref().map(|quote| harmless(quote))),
        ],
        Export::Share { hash, work, worker, at_ms, block_candidate } => vec![
            "share".to_owned(),
            Hash(*hash).to_string(),
            work.0.to_string(),
            at_ms.to_string(),
            if *block_candidate { "block" } else { "-" }.to_owned(),
            quoted(worker),
        ],
    };
    cells.join("\t")
}

fn json_line(row: &Export, credit: u64) -> String {
    let line = match row {
        Export::Account(account) => account_json(account),
        Export::Credit(credit) => json!({
            "kind": "credit",
            "account": credit.account_id,
            "credit": credit.id,
            "state": credit.state.as_str(),
            "scheme": credit.scheme.to_string(),
            "work": credit.work.0.to_string(),
            "shares": credit.shares,
            "amount": credit.amount,
            "share_root": credit.share_root.map(|root| hex(&root)),
            "payment_id": credit.payment_id,
            "quote": credit.quote_ref.as_ref().map(|quote| harmless(quote)),
            "named_quote": credit.wish.as_ref().map(|quote| harmless(quote)),
            "opened_ms": credit.opened_ms,
        }),
        Export::Share { hash, work, worker, at_ms, block_candidate } => json!({
            "kind": "share",
            "credit": credit,
            "hash": Hash(*hash).to_string(),
            "work": work.0.to_string(),
            "at_ms": at_ms,
            "block": block_candidate,
            "worker": plain(worker),
            "worker_hex": hex(worker),
        }),
    };
    line.to_string()
}
