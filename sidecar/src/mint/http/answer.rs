//! What the mint said, bounded and checked.

use hyper::body::Bytes;
use hyper::StatusCode;
use serde::Deserialize;

use super::super::text::{is_id, is_printable, printable};
use super::error::{MintError, Refusal};
use crate::types::PayoutKey;

/// A quote as the mint has it. Amounts are in the mint's unit. There is no `state`: custom methods
/// have none, and the totals say more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The mint's id of it: printable ASCII, at most 128 bytes. Not for the log.
    pub quote_id: String,
    /// What our payment processor gave for it: printable ASCII, at most 1 KiB.
    pub request: String,
    /// The key it is locked to; `None`: to none.
    pub payout_key: Option<PayoutKey>,
    /// Sum of all payments that the mint counted.
    pub amount_paid: u64,
    /// How much of it wallets have minted.
    pub amount_issued: u64,
    /// Until when it is valid, seconds since the epoch; `None`: for ever.
    pub expiry: Option<u64>,
}

/// The fields that are read; others are skipped.
#[derive(Deserialize)]
struct Body {
    quote: String,
    request: String,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    pubkey: Option<String>,
    amount_paid: u64,
    amount_issued: u64,
    #[serde(default)]
    expiry: Option<u64>,
}

/// An error of the mint's (NUT-00).
#[derive(Deserialize)]
struct Fault {
    code: u64,
    #[serde(default)]
    detail: String,
}

/// Reads a quote.
pub(super) fn quote(body: &Bytes, unit: &str) -> Result<Quote, MintError> {
    let bad = |what: &str| MintError::NotAMint(what.to_owned());
    let read: Body = serde_json::from_slice(body).map_err(|error| {
        MintError::NotAMint(format!("no quote: {}", printable(&error.to_string())))
    })?;
    if !is_id(&read.quote) {
        return Err(bad("the id of the quote is no id"));
    }
    if !is_printable(&read.request) {
        return Err(bad("the request of the quote is too long or not printable"));
    }
    if read.unit.is_some_and(|named| !named.eq_ignore_ascii_case(unit)) {
        return Err(bad("the quote is in another unit"));
    }
    let key = read.pubkey.filter(|key| !key.is_empty());
    let key = key.map(|key| PayoutKey::from_hex(key.as_bytes())).transpose();
    Ok(Quote {
        quote_id: read.quote,
        request: read.request,
        payout_key: key.map_err(|_| bad("the pubkey of the quote is no key"))?,
        amount_paid: read.amount_paid,
        amount_issued: read.amount_issued,
        expiry: read.expiry,
    })
}

/// Reads why the mint refused.
pub(super) fn refusal(status: StatusCode, body: &Bytes) -> MintError {
    let Ok(Fault { code, detail }) = serde_json::from_slice(body) else {
        return MintError::NotAMint(format!("HTTP status {}", status.as_u16()));
    };
    let detail = printable(&detail);
    // A quote that isn't known has no code of its own.
    let kind = match code {
        11006 => Refusal::Amount,
        11013 => Refusal::Unit,
        20006 => Refusal::InUse,
        50000 if detail.eq_ignore_ascii_case("unknown quote") => Refusal::UnknownQuote,
        50000 => Refusal::Backend,
        _ => Refusal::Other,
    };
    MintError::Refused { kind, code, detail }
}
