//! What stock mints were seen to do, each with what it means to us.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::mint::fake::Fault;
use crate::mint::http::{MintError, Refusal};

fn refused(error: MintError) -> Refusal {
    match error {
        MintError::Refused { kind, .. } => kind,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn mint_exits_when_the_processor_is_down_at_its_start() {
    let nobody = nobody();
    let started = FakeMint::start(Mint::new(nobody.get()), Database::default()).await;
    assert!(started.unwrap_err().contains("refused"));
}

#[tokio::test]
async fn mint_asks_for_settings_three_times_and_listens_once() {
    let line = Line::start().await;
    let seen = line.mint.seen();
    assert_eq!((seen.settings_calls, seen.streams, seen.creates, seen.checks), (3, 1, 0, 0));
    for (unit, method) in [("sat", "ehash"), ("hash", "other")] {
        let other = Mint { unit, method, ..Mint::new(line.endpoint.address) };
        let started = FakeMint::start(other, Database::default()).await;
        assert!(started.unwrap_err().contains("deals in"), "{unit} {method}");
    }
}

#[tokio::test]
async fn quotes_are_made_in_either_case_of_the_unit_and_without_an_amount() {
    let line = Line::start().await;
    for unit in ["HASH", "hash"] {
        let body = json!({ "unit": unit, "amount": 1, "pubkey": KEYS[0] });
        let quote = line.mint.post_quote(body).await.unwrap();
        assert_eq!((&quote["unit"], quote.get("state")), (&json!("hash"), None));
    }
    let quote = line.mint.post_quote(json!({ "unit": "hash", "pubkey": KEYS[0] })).await.unwrap();
    assert_eq!(quote["amount"], json!(null));
    let read = line.quote(quote["quote"].as_str().unwrap()).await.unwrap();
    assert_eq!((read.amount_paid, read.payout_key), (0, Some(key(0))));
    assert_eq!(read.expiry, Some(2_000_000_000));
}

#[tokio::test]
async fn rejects_quotes_that_are_not_locked() {
    let line = Line::start().await;
    let off_curve = format!("02{}", "ff".repeat(32));
    for pubkey in [json!(null), json!(""), json!(off_curve), json!(&KEYS[0][2..])] {
        let body = json!({ "unit": "hash", "amount": 1, "pubkey": pubkey });
        let fault = line.mint.post_quote(body).await.unwrap_err();
        assert_eq!(fault, Fault(50000, "Invalid payment request".into()), "{pubkey}");
    }
    assert_eq!(line.mint.database(), Database::default());
    assert!(line.books.state().wishes.is_empty());
}

#[tokio::test]
async fn rejects_amount_zero_and_other_units() {
    let line = Line::start().await;
    let fault = line.mint.post_quote(json!({ "unit": "hash", "amount": 0 })).await.unwrap_err();
    assert_eq!(fault.0, 11006);
    let settings = api::Settings { unit: "sat".into(), ..api_settings(line.mint.url()) };
    let http = MintHttp::new(&settings).unwrap();
    let token = secret().token("a", &key(0));
    assert_eq!(refused(http.create(&key(0), "a", &token).await.unwrap_err()), Refusal::Unit);
    assert_eq!(line.mint.seen().creates, 0);
}

#[tokio::test]
async fn rejects_a_name_that_another_quote_has() {
    let line = Line::start().await;
    line.books.state().same_name = Some("gp1q:same".into());
    let first = line.create("a").await.unwrap();
    assert_eq!(refused(line.create("b").await.unwrap_err()), Refusal::InUse);
    // The processor was told of an id that never comes to be.
    let told = line.books.candidate("b").unwrap();
    assert_ne!(told, first.quote_id);
    assert_eq!(refused(line.quote(&told).await.unwrap_err()), Refusal::UnknownQuote);
}

#[tokio::test]
async fn payment_on_the_stream_counts_once_and_amounts_are_no_limit() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    assert_eq!(quote.request, "ehash:a");
    for (id, amount) in [("p1", 323), ("p2", 77), ("p1", 323)] {
        line.books.send("a", id, amount);
    }
    soon(line.mint.until(|seen| seen.events == 3)).await;
    let seen = line.mint.seen();
    assert_eq!((seen.credited, seen.repeated, seen.dropped), (2, 1, 0));
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 400);
}

#[tokio::test]
async fn payment_name_of_another_quote_is_dropped_and_breaks_its_check() {
    let line = Line::start().await;
    let first = line.create("a").await.unwrap();
    let second = line.create("b").await.unwrap();
    line.books.send("a", "p1", 5);
    line.books.send("b", "p1", 7);
    soon(line.mint.until(|seen| seen.credited == 1 && seen.dropped == 1)).await;
    assert_eq!(line.quote(&first.quote_id).await.unwrap().amount_paid, 5);
    for _ in 0..2 {
        let error = line.quote(&second.quote_id).await.unwrap_err();
        assert_eq!(refused(error), Refusal::InUse);
        // Shown as it is until the next check.
        assert_eq!(line.quote(&second.quote_id).await.unwrap().amount_paid, 0);
        line.mint.pass_ten_seconds();
    }
}

#[tokio::test]
async fn payment_of_an_unknown_name_or_of_nothing_is_dropped() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.books.send("nobody", "p1", 5);
    line.books.send("a", "p2", 0);
    soon(line.mint.until(|seen| seen.dropped == 2)).await;
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 0);
}

#[tokio::test]
async fn payment_that_is_only_written_down_counts_at_the_next_check() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 0);
    line.books.note("a", "p1", 9);
    // One check in ten seconds.
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 0);
    line.mint.pass_ten_seconds();
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 9);
    assert_eq!((line.mint.seen().events, line.mint.seen().checks), (0, 2));
}

#[tokio::test]
async fn dropped_event_is_repaired_by_the_next_check() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.mint.faults().drop_events = 1;
    line.books.send("a", "p1", 9);
    line.books.send("a", "p2", 1);
    soon(line.mint.until(|seen| seen.dropped == 1 && seen.credited == 1)).await;
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 10);
}

#[tokio::test]
async fn payment_while_the_mint_is_down_comes_with_the_new_stream() {
    let mut line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.books.send("a", "p1", 4);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    line.books.confirm("p1");
    line.books.note("a", "p2", 5);
    line.restart_mint(|database| database).await;
    soon(line.mint.until(|seen| seen.events == 1)).await;
    assert_eq!(line.mint.database().quote(&quote.quote_id).unwrap().paid(), 9);
}

#[tokio::test]
async fn event_before_the_quote_is_written_down_is_lost_and_repaired() {
    let line = Line::start().await;
    line.mint.faults().hold_rows = true;
    line.books.state().hasty = Some(6);
    line.books.ask("a", key(0));
    let token = secret().token("a", &key(0));
    let locked = key(0);
    let (quote, ()) = tokio::join!(soon(line.http.create(&locked, "a", &token)), async {
        soon(line.mint.until(|seen| seen.dropped == 1)).await;
        line.mint.release_rows();
    });
    let quote = quote.unwrap();
    assert_eq!(quote.amount_paid, 0);
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 6);
}

#[tokio::test]
async fn quotes_fail_while_the_processor_is_down_and_reads_fail_once() {
    let mut line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.books.send("a", "p1", 5);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    let address = line.stop_processor().await;
    assert_eq!(refused(line.create("b").await.unwrap_err()), Refusal::Backend);
    let error = line.quote(&quote.quote_id).await.unwrap_err();
    assert_eq!(refused(error), Refusal::Backend);
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 5);
    line.mint.issue(&quote.quote_id, 5).await.unwrap();
    line.mint.pass_ten_seconds();
    assert_eq!(refused(line.quote(&quote.quote_id).await.unwrap_err()), Refusal::Backend);
    line.start_processor(address).await;
    soon(line.mint.until(|seen| seen.streams == 2)).await;
    line.create("b").await.unwrap();
    line.mint.pass_ten_seconds();
    let read = line.quote(&quote.quote_id).await.unwrap();
    assert_eq!((read.amount_paid, read.amount_issued), (5, 5));
}

#[tokio::test]
async fn mint_listens_again_after_the_processor_was_down_and_hears_all_that_is_unconfirmed() {
    let mut line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.books.send("a", "p1", 5);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    let address = line.stop_processor().await;
    soon(line.mint.until(|seen| seen.streams_ended == 1 && seen.streams_refused > 0)).await;
    line.books.send("a", "p2", 6);
    line.start_processor(address).await;
    soon(line.mint.until(|seen| seen.credited == 2)).await;
    assert_eq!(line.mint.seen().repeated, 1);
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 11);
}

#[tokio::test]
async fn mint_without_its_database_knows_no_quote() {
    let mut line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.restart_mint(|_| Database::default()).await;
    let error = line.quote(&quote.quote_id).await.unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownQuote);
    let error = line.quote("not-an-id-of-the-mint").await.unwrap_err();
    assert_eq!(refused(error), Refusal::UnknownQuote);
}

#[tokio::test]
async fn mint_from_an_older_backup_is_paid_again_by_the_check_and_only_once() {
    let mut line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    let backup = line.mint.database();
    line.books.send("a", "p1", 5);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    line.books.confirm("p1");
    line.restart_mint(|_| backup).await;
    assert_eq!(line.mint.database().paid(), 0);
    for _ in 0..3 {
        assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 5);
        line.mint.pass_ten_seconds();
    }
}

#[tokio::test]
async fn foreign_payment_shows_as_surplus() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.books.send("a", "p1", 5);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    assert!(line.mint.pay(&quote.quote_id, "theirs", 100));
    assert!(!line.mint.pay(&quote.quote_id, "theirs", 100));
    assert!(!line.mint.pay("no-quote", "other", 100));
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 105);
}

#[tokio::test]
async fn wallet_mints_what_was_paid_and_no_more() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.books.note("a", "p1", 323);
    line.mint.issue(&quote.quote_id, 323).await.unwrap();
    assert_eq!(line.mint.issue(&quote.quote_id, 1).await.unwrap_err().0, 20001);
    line.books.send("a", "p2", 77);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    line.mint.issue(&quote.quote_id, 77).await.unwrap();
    let read = line.quote(&quote.quote_id).await.unwrap();
    assert_eq!((read.amount_paid, read.amount_issued), (400, 400));
    assert_eq!(line.mint.database().issued(), 400);
}

#[tokio::test]
async fn lost_answer_leaves_a_quote_under_the_id_that_was_told() {
    let line = Line::start().await;
    line.mint.faults().lose_answers = 1;
    let error = line.create("a").await.unwrap_err();
    assert!(matches!(error, MintError::Unreachable(_)), "{error}");
    let told = line.books.candidate("a").unwrap();
    assert_eq!(line.quote(&told).await.unwrap().request, "ehash:a");
    // Asked for once more: the books know that it has an id.
    assert_eq!(refused(line.create("a").await.unwrap_err()), Refusal::Backend);
    assert_eq!(line.mint.database().quote_ids(), [told]);
}

#[tokio::test]
async fn survives_a_mint_that_is_slow() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    line.mint.faults().slow = Duration::from_secs(10_000);
    let patience = Duration::from_millis(50);
    let settings = api::Settings { timeout: patience, ..api_settings(line.mint.url()) };
    let http = MintHttp::new(&settings).unwrap();
    let error = soon(http.quote(&quote.quote_id)).await.unwrap_err();
    assert_eq!(error, MintError::TimedOut(patience));
    // Its stream does not wait for that.
    line.books.send("a", "p1", 5);
    soon(line.mint.until(|seen| seen.credited == 1)).await;
    line.mint.faults().slow = Duration::ZERO;
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 5);
}

#[tokio::test]
async fn survives_two_thousand_payments_on_one_quote() {
    let line = Line::start().await;
    let quote = line.create("a").await.unwrap();
    for number in 0..2_000 {
        line.books.send("a", &format!("p{number}"), 1 + number);
    }
    soon(line.mint.until(|seen| seen.credited == 2_000)).await;
    assert_eq!(line.quote(&quote.quote_id).await.unwrap().amount_paid, 2_000 * 2_001 / 2);
    assert_eq!((line.mint.seen().repeated, line.mint.seen().dropped), (0, 0));
}
