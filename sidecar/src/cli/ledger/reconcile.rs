//! `gopool-sv2 ledger reconcile`: does the mint show what was sent, no more and no less?

use clap::Args;
use gopool_sv2::mint::http::{self, MintError, MintHttp, Refusal};
use gopool_sv2::mint::http_settings;
use gopool_sv2::mint::ledger::{Books, Quote, QuoteState, QuoteSums};
use serde_json::json;

use super::look::overtaken;
use super::text::{at_most, harmless, Table};
use super::{complain, say, Outcome, Place, Wrong};

/// Quotes that are read from the ledger at a time.
const PAGE: u32 = 256;

/// Readings that fail in a row before the mint is given up.
const FAILURES_MAX: u32 = 3;

/// What is printed of it.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print quotes that are as they should be, too.
    #[arg(long)]
    all: bool,
    /// Print the mint's ids of quotes as well.
    #[arg(long)]
    secrets: bool,
}

/// What a reading of a quote comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    /// One word.
    word: &'static str,
    /// Somebody has to look.
    bad: bool,
    text: String,
}

impl Verdict {
    fn good(word: &'static str, text: impl Into<String>) -> Self {
        Self { word, bad: false, text: text.into() }
    }

    fn bad(word: &'static str, text: impl Into<String>) -> Self {
        Self { word, bad: true, text: text.into() }
    }
}

/// What the ledger says of a quote. While the mint is read the sidecar goes on: what was confirmed
/// before must show, what shows must have been sent by the time after.
#[derive(Debug, Clone, Copy)]
struct Ours {
    before: QuoteSums,
    after: QuoteSums,
    /// What the operator knows of that we did not send.
    known: u64,
    /// What was gone with the mint's database when the operator said that he knows.
    gone: u64,
}

fn judge(quote: &Quote, ours: Ours, read: &Result<http::Quote, MintError>) -> Verdict {
    let found = match read {
        Ok(found) => found,
        Err(MintError::Refused { kind: Refusal::UnknownQuote, .. }) => {
            return unknown(quote, ours);
        }
        Err(error) => return Verdict::bad("unread", harmless(&error.to_string())),
    };
    let (paid, expected) =
        (u128::from(found.amount_paid), ours.after.sent.saturating_add(u128::from(ours.known)));
    if found.payout_key != Some(quote.payout_key) {
        return Verdict::bad("other-key", "the mint has it locked to another key, or to none");
    }
    if found.amount_issued > found.amount_paid {
        return Verdict::bad("over-issued", "the mint let wallets mint more than was paid");
    }
    if quote.state == QuoteState::Lost {
        return Verdict::bad(
            "back",
            "the mint knows it again, and the ledger gave it up: the sidecar sends there what \
             waits, once it has read it. What another database of the mint's paid since then shows \
             as a surplus: that was paid twice",
        );
    }
    if paid > expected {
        let extra = paid - expected;
        return Verdict::bad("surplus", format!("{extra} more than was sent: somebody else paid"));
    }
    if paid < ours.before.confirmed {
        let missing = ours.before.confirmed - paid;
        return Verdict::bad(
            "forgotten",
            format!(
                "{missing} less than the mint had shown: was its database put back? It asks the \
                 sidecar for what it lacks when it is read: try again in 10 s"
            ),
        );
    }
    match expected - paid {
        0 if ours.known > 0 => Verdict::good(
            "even",
            format!("with {} that somebody else paid, as you know", ours.known),
        ),
        0 => Verdict::good("even", ""),
        missing => Verdict::good("waits", format!("{missing} of what was sent does not show yet")),
    }
}

/// The mint does not know the quote.
fn unknown(quote: &Quote, ours: Ours) -> Verdict {
    let unminted = quote.paid_seen.saturating_sub(quote.issued_seen);
    match (quote.state, ours.after.lost) {
        (QuoteState::Lost, 0) if unminted > ours.gone => Verdict::bad(
            "lost",
            format!(
                "{unminted} was paid there and never seen minted: it is gone with the mint's \
                 database, unless the wallet was faster or the database comes back; it is not \
                 paid again. `ledger resume --recount` takes it as known"
            ),
        ),
        (QuoteState::Lost, 0) if unminted > 0 => {
            Verdict::good("lost", format!("{unminted} is gone with the mint's database"))
        }
        (QuoteState::Lost, 0) => Verdict::good("lost", "what was sent on it is on other quotes"),
        (QuoteState::Lost, lost) => Verdict::bad(
            "lost",
            format!("{lost} of it waits for you: `ledger requeue --lost` sends it again"),
        ),
        (QuoteState::Settled, _) => {
            Verdict::good("unknown", "the mint forgot it; all of it had been paid and minted")
        }
        _ => Verdict::bad(
            "unknown",
            "the mint does not know it: the sidecar gives it up when it reads it, then see `ledger \
             stuck`",
        ),
    }
}

/// What all readings come to.
#[derive(Debug, Default)]
struct Totals {
    quotes: u64,
    wrong: u64,
    unread: u64,
    surplus: bool,
    sent: u128,
    paid: u128,
    issued: u128,
    /// The mint was given up.
    gave_up: bool,
}

pub(super) fn run(place: &Place, options: &Options) -> Outcome {
    let Some(config) = place.mint.as_ref().filter(|mint| !mint.url.is_empty()) else {
        let text = "gopool-sv2: which mint? Give --config FILE with [mint].url";
        return Err(Wrong::Usage(text.to_owned()));
    };
    let books = place.books()?;
    let mint = MintHttp::new(&http_settings(config))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        "quote",
        "made by",
        ">account",
        "state",
        ">sent",
        ">confirmed",
        ">paid",
        ">issued",
        "result",
        "quote id",
        "",
    ]);
    let totals = runtime.block_on(compare(&books, &mint, |quote, ours, found, verdict| {
        if !(verdict.bad || options.all) {
            return;
        }
        let id = options.secrets.then(|| harmless(quote.quote_id.as_deref().unwrap_or("-")));
        if place.json {
            say(quote_json(quote, ours, found, verdict, id));
            return;
        }
        let seen = |amount: Option<u64>| amount.map_or("-".to_owned(), |a| a.to_string());
        table.row(vec![
            harmless(&quote.quote_ref),
            quote.made_by().to_owned(),
            quote.account_id.map_or_else(|| "-".to_owned(), |account| account.to_string()),
            quote.state.to_string(),
            ours.after.sent.to_string(),
            ours.after.confirmed.to_string(),
            seen(found.map(|found| found.amount_paid)),
            seen(found.map(|found| found.amount_issued)),
            verdict.word.to_owned(),
            id.unwrap_or_else(|| "(--secrets)".to_owned()),
            verdict.text.clone(),
        ]);
    }))?;
    let stopped = books.stopped()?.map(|reason| harmless(&reason));
    let events = overtaken(&books)?;
    let good = totals.wrong == 0 && !totals.gave_up && stopped.is_none() && events.is_none();
    if place.json {
        say(json!({
            "kind": "summary",
            "ok": good,
            "quotes": totals.quotes,
            "wrong": totals.wrong,
            "unread": totals.unread,
            "gave_up": totals.gave_up,
            "sent": at_most(totals.sent),
            "paid": at_most(totals.paid),
            "issued": at_most(totals.issued),
            "sending_stopped": stopped,
            "events_stopped": events,
        }));
        return Ok(good);
    }
    if options.all && totals.quotes > 0 || totals.wrong > 0 {
        say(format_args!("{table}\n"));
    }
    let (stopped, events) = (stopped.as_deref(), events.as_deref());
    say(Summary { totals: &totals, stopped, events });
    if totals.gave_up {
        complain("gopool-sv2: the mint was not read to the end: it could not be read three times");
    }
    Ok(good)
}

/// Reads all quotes, one after the other.
async fn compare(
    books: &Books,
    mint: &MintHttp,
    mut tell: impl FnMut(&Quote, Ours, Option<&http::Quote>, &Verdict),
) -> Result<Totals, Wrong> {
    let mut totals = Totals::default();
    let (mut after, mut failures) = (String::new(), 0);
    loop {
        let page = books.quotes(&after, PAGE)?;
        let Some(last) = page.last() else { return Ok(totals) };
        after.clone_from(&last.quote_ref);
        for quote in &page {
            let name = &quote.quote_ref;
            let before = books.sums_of(name)?;
            let read = mint.quote(quote.quote_id.as_deref().unwrap_or_default()).await;
            // Its state may have changed, too: now it is not older than what the mint said.
            let quote = books.quote(name)?.unwrap_or_else(|| quote.clone());
            let (after, known) = (books.sums_of(name)?, books.known_surplus(name)?);
            let ours = Ours { before, after, known, gone: books.known_gone(name)? };
            let verdict = judge(&quote, ours, &read);
            let found = read.as_ref().ok();
            tell(&quote, ours, found, &verdict);
            totals.quotes += 1;
            totals.wrong += u64::from(verdict.bad);
            totals.surplus |= verdict.word == "surplus";
            totals.sent += ours.after.sent;
            totals.paid += found.map_or(0, |found| found.amount_paid.into());
            totals.issued += found.map_or(0, |found| found.amount_issued.into());
            failures = if verdict.word == "unread" { failures + 1 } else { 0 };
            totals.unread += u64::from(verdict.word == "unread");
            if failures == FAILURES_MAX {
                totals.gave_up = true;
                return Ok(totals);
            }
        }
    }
}

fn quote_json(
    quote: &Quote,
    ours: Ours,
    found: Option<&http::Quote>,
    verdict: &Verdict,
    id: Option<String>,
) -> serde_json::Value {
    let mut line = json!({
        "kind": "quote",
        "quote": harmless(&quote.quote_ref),
        "made_by": quote.made_by(),
        "account": quote.account_id,
        "payout_key": quote.payout_key.to_string(),
        "state": quote.state.as_str(),
        "sent": at_most(ours.after.sent),
        "confirmed": at_most(ours.after.confirmed),
        "known_surplus": ours.known,
        "paid": found.map(|found| found.amount_paid),
        "issued": found.map(|found| found.amount_issued),
        "result": verdict.word,
        "ok": !verdict.bad,
        "text": verdict.text,
    });
    if let Some(id) = id {
        line["quote_id"] = json!(id);
    }
    line
}

struct Summary<'a> {
    totals: &'a Totals,
    stopped: Option<&'a str>,
    events: Option<&'a str>,
}

impl std::fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Totals { quotes, wrong, unread, surplus, sent, paid, issued, .. } = self.totals;
        write!(
            f,
            "{quotes} quotes: {sent} sent, the mint shows {paid} paid and {issued} issued; "
        )?;
        match wrong {
            0 => write!(f, "no difference that matters")?,
            wrong => write!(f, "{wrong} to look at")?,
        }
        if *unread > 0 {
            let more = "is the sidecar running? The mint asks it at each reading";
            write!(f, "\n{unread} could not be read: {more}")?;
        }
        match (self.stopped, surplus) {
            (Some(reason), _) => write!(
                f,
                "\nsending is stopped: {reason}\n  when you know why: stop the sidecar, \
                 `gopool-sv2 ledger resume --yes --config FILE`, start it"
            )?,
            (None, true) => write!(
                f,
                "\na surplus stops all sending as soon as the sidecar reads it; when you know \
                 whose it is, `gopool-sv2 ledger resume` lets it go on"
            )?,
            (None, false) => {}
        }
        match self.events {
            Some(events) => write!(f, "\nevents are {events}; see `gopool-sv2 ledger stuck`"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
