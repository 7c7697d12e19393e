//! What changes the ledger: `requeue`, `freeze`, `unfreeze`, `resume`. Each step is looked at
//! first; one that can't be done keeps all of them from being done.

use std::future::Future;

use clap::Args;
use gopool_sv2::mint::ledger::{
    Books, Credit, CreditState, Ledger as _, LedgerError, OpenError, Settings, SqliteLedger,
};
use serde_json::json;
use tokio::sync::mpsc;

use super::look::{account, key, overtaken};
use super::text::{harmless, quoted};
use super::{number, say, Outcome, Place, Wrong};

/// Which credits are sent again.
#[derive(Debug, Args)]
pub(super) struct Requeue {
    /// Numbers of the credits, as `stuck` prints them.
    #[arg(value_name = "CREDIT", required_unless_present = "lost", value_parser = number())]
    credits: Vec<u64>,
    /// All that are lost.
    #[arg(long, conflicts_with = "credits")]
    lost: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// What is held back, or goes on.
#[derive(Debug, Args)]
pub(super) struct Target {
    #[command(flatten)]
    what: What,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// One of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// An account: nothing of it is closed, sealed or sent.
    #[arg(long, value_name = "N", value_parser = number())]
    account: Option<u64>,
    /// A credit that is sealed and not final.
    #[arg(long, value_name = "N", value_parser = number())]
    credit: Option<u64>,
}

/// What is counted when sending goes on.
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// Count anew what the mint shows too much, and what is gone with a database of its, though
    /// sending is not stopped: for a quote that stays behind because some of what was known turned
    /// out to be a payment of ours, and for losses that `reconcile` names each time.
    #[arg(long)]
    recount: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// What is to be done with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Requeue(u64),
    Freeze(u64),
    Unfreeze(u64),
    Account(i64, bool),
    Resume,
    ResumeEvents,
}

/// How it stands with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It can be done.
    Free,
    /// It is so already.
    Nothing,
    /// It can't be done.
    Refused,
}

/// A step, and what there is to say of it.
#[derive(Debug)]
struct Step {
    action: Action,
    way: Way,
    text: String,
}

impl Step {
    const fn new(action: Action, way: Way, text: String) -> Self {
        Self { action, way, text }
    }
}

/// Takes the ledger for ourselves.
fn take(place: &Place, books: &Books) -> Result<SqliteLedger, Wrong> {
    let settings = Settings {
        path: place.file.clone(),
        scheme: books.identity()?.scheme,
        max_shares: 1,
        accrued_every_ms: 0,
    };
    // No shares are written, so there are no outcomes.
    let (outcomes, _) = mpsc::channel(1);
    SqliteLedger::open(&settings, outcomes).map_err(|error| match error {
        OpenError::InUse(path) => Wrong::Failed(format!(
            "a sidecar runs on {}: stop it, do this again, and start it again; nothing was changed",
            path.display()
        )),
        error => error.into(),
    })
}

/// Says what would be done, or does it.
fn carry_out(
    place: &Place,
    yes: bool,
    plan: impl FnOnce(&Books) -> Result<Vec<Step>, Wrong>,
) -> Outcome {
    let books = place.books()?;
    // First the lock: what is planned then holds.
    let ledger = if yes { Some(take(place, &books)?) } else { None };
    let steps = plan(&books)?;
    let good = !steps.iter().any(|step| step.way == Way::Refused);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut done = 0_u64;
    for step in &steps {
        let status = match (step.way, &ledger) {
            (Way::Refused, _) => "can't",
            (Way::Nothing, _) => "nothing to do",
            (Way::Free, Some(ledger)) if good => {
                runtime.block_on(act(ledger, step.action))?;
                done += 1;
                "done"
            }
            (Way::Free, _) => "would",
        };
        tell(place, step, status);
    }
    if place.json {
        say(json!({
            "kind": "summary", "ok": good, "dry_run": !yes, "steps": steps.len(), "done": done,
        }));
    } else if !good && steps.len() > 1 {
        say("nothing was done: leave out what can't be");
    } else if good && !yes && steps.iter().any(|step| step.way == Way::Free) {
        say("nothing was changed: to do it, stop the sidecar and give --yes");
    }
    Ok(good)
}

fn tell(place: &Place, step: &Step, status: &str) {
    if !place.json {
        return say(format_args!("{status}: {}", step.text));
    }
    let (change, credit, account) = match step.action {
        Action::Requeue(credit) => ("requeue", Some(credit), None),
        Action::Freeze(credit) => ("freeze", Some(credit), None),
        Action::Unfreeze(credit) => ("unfreeze", Some(credit), None),
        Action::Account(account, true) => ("freeze", None, Some(account)),
        Action::Account(account, false) => ("unfreeze", None, Some(account)),
        Action::Resume => ("resume", None, None),
        Action::ResumeEvents => ("resume-events", None, None),
    };
    say(json!({
        "kind": "step",
        "change": change,
        "credit": credit,
        "account": account,
        "status": status,
        "text": step.text,
    }));
}

fn act(
    ledger: &SqliteLedger,
    action: Action,
) -> std::pin::Pin<Box<dyn Future<Output = Result<(), LedgerError>> + '_>> {
    match action {
        Action::Requeue(credit) => Box::pin(ledger.requeue(credit)),
        Action::Freeze(credit) => Box::pin(ledger.freeze_credit(credit)),
        Action::Unfreeze(credit) => Box::pin(ledger.unfreeze_credit(credit)),
        Action::Account(account, frozen) => Box::pin(ledger.freeze_account(account, frozen)),
        Action::Resume => Box::pin(ledger.resume_sending()),
        Action::ResumeEvents => Box::pin(ledger.resume_events()),
    }
}

/// A credit in words: its number, state, amount, and whose it is.
fn named(books: &Books, credit: &Credit) -> Result<String, Wrong> {
    let Credit { id, state, amount, account_id, .. } = credit;
    let whose = match account(books, *account_id)? {
        Some(owner) => format!(
            "account {account_id}, {}, key {}",
            quoted(&owner.identity),
            key(owner.payout_key.as_ref())
        ),
        None => format!("account {account_id}"),
    };
    Ok(format!("credit {id} ({state}, amount {amount}, {whose})"))
}

pub(super) fn requeue(place: &Place, options: &Requeue) -> Outcome {
    carry_out(place, options.yes, |books| {
        let mut ids = options.credits.clone();
        if options.lost {
            let found = books.stuck(i64::MAX, u32::MAX)?.into_iter();
            let lost = found.filter(|stuck| stuck.credit.state == CreditState::Lost);
            ids = lost.map(|stuck| stuck.credit.id).collect();
            if ids.is_empty() && !place.json {
                say("no credit is lost");
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| plan_requeue(books, id)).collect()
    })
}

fn plan_requeue(books: &Books, id: u64) -> Result<Step, Wrong> {
    let action = Action::Requeue(id);
    let Some(credit) = books.credit(id)? else {
        return Ok(Step::new(action, Way::Refused, format!("there is no credit {id}")));
    };
    let name = named(books, &credit)?;
    let (way, more) = match credit.state {
        CreditState::Lost => {
            let payment = credit.payment_id.as_deref().unwrap_or("-");
            (Way::Free, format!("send it on another quote, as the same payment {payment}"))
        }
        CreditState::Sealed => (Way::Nothing, "it waits for a quote".to_owned()),
        CreditState::Frozen => (Way::Refused, "it is frozen: unfreeze it first".to_owned()),
        CreditState::Confirmed | CreditState::Carried => (Way::Refused, "it is final".to_owned()),
        _ => (Way::Refused, "only lost credits are sent on another quote".to_owned()),
    };
    Ok(Step::new(action, way, format!("{name}: {more}")))
}

pub(super) fn freeze(place: &Place, target: &Target, frozen: bool) -> Outcome {
    carry_out(place, target.yes, |books| {
        let step = match (target.what.account, target.what.credit) {
            (Some(id), _) => plan_account(books, i64::try_from(id)?, frozen)?,
            (None, Some(id)) => plan_credit(books, id, frozen)?,
            // The parser asks for one of them.
            (None, None) => return Ok(Vec::new()),
        };
        Ok(vec![step])
    })
}

fn plan_account(books: &Books, id: i64, frozen: bool) -> Result<Step, Wrong> {
    let action = Action::Account(id, frozen);
    let Some(found) = account(books, id)? else {
        return Ok(Step::new(action, Way::Refused, format!("there is no account {id}")));
    };
    let name = format!(
        "account {id} ({}, key {}, pending {})",
        quoted(&found.identity),
        key(found.payout_key.as_ref()),
        found.pending_amount
    );
    let (way, more) = match (found.frozen, frozen) {
        (true, true) => (Way::Nothing, "it is frozen"),
        (false, false) => (Way::Nothing, "it is not frozen"),
        (false, true) => (
            Way::Free,
            "hold it back: its shares are kept, nothing of it is closed, sealed or sent; what the \
             mint was told stays told",
        ),
        (true, false) => (Way::Free, "let it go on"),
    };
    Ok(Step::new(action, way, format!("{name}: {more}")))
}

fn plan_credit(books: &Books, id: u64, frozen: bool) -> Result<Step, Wrong> {
    let action = if frozen { Action::Freeze(id) } else { Action::Unfreeze(id) };
    let Some(credit) = books.credit(id)? else {
        return Ok(Step::new(action, Way::Refused, format!("there is no credit {id}")));
    };
    let name = named(books, &credit)?;
    let (way, more) = match (credit.state, frozen) {
        (CreditState::Frozen, true) => (Way::Nothing, "it is frozen".to_owned()),
        (CreditState::Frozen, false) => {
            let from = books.frozen_from(id)?.map_or("-", CreditState::as_str);
            (Way::Free, format!("let it go on as {from}"))
        }
        (_, false) => (Way::Nothing, "it is not frozen".to_owned()),
        (CreditState::Sent, true) => (
            Way::Free,
            "hold it back: the mint is not told again, but may know of it already".to_owned(),
        ),
        (state, true) if state.may_become(CreditState::Frozen) => {
            (Way::Free, "hold it back".to_owned())
        }
        (CreditState::Open | CreditState::Closed, true) => {
            let text = "it has no amount yet: freeze its account";
            (Way::Refused, text.to_owned())
        }
        (_, true) => (Way::Refused, "it is final".to_owned()),
    };
    Ok(Step::new(action, way, format!("{name}: {more}")))
}

pub(super) fn resume(place: &Place, options: &Resume) -> Outcome {
    carry_out(place, options.yes, |books| {
        let sending = match books.stopped()? {
            None if options.recount => {
                let text = "count anew what the mint shows too much: what it showed at the last \
                            readings, less all that was sent; and take what is gone with a \
                            database of its as known";
                Step::new(Action::Resume, Way::Free, text.to_owned())
            }
            None => Step::new(Action::Resume, Way::Nothing, "sending is not stopped".to_owned()),
            Some(reason) => {
                let reason = harmless(&reason);
                let waiting = books.figures()?.waiting;
                let states = [CreditState::Closed, CreditState::Sealed, CreditState::Assigned];
                let waiting = waiting.iter().filter(|of| states.contains(&of.state));
                let credits: u64 = waiting.map(|of| of.credits).sum();
                let text = format!(
                    "let sending go on; it was stopped because {reason}. What the mint shows too \
                     much by now is taken as known; {credits} credits that wait are sent. Were \
                     they paid before by a ledger that is gone? Then `ledger freeze` them first"
                );
                Step::new(Action::Resume, Way::Free, text)
            }
        };
        let action = Action::ResumeEvents;
        let events = match overtaken(books)? {
            None => Step::new(action, Way::Nothing, "events are not stopped".to_owned()),
            Some(reason) => {
                let text = format!(
                    "let events go on, {reason}: under a new name of the sequence, from the first \
                     that is still here. The pool keeps what it has under the old name"
                );
                Step::new(action, Way::Free, text)
            }
        };
        Ok(vec![sending, events])
    })
}
