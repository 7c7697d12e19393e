//! What waits, for how long, and for how many.

use super::*;

#[tokio::test]
async fn closes_what_a_clock_that_was_ahead_has_opened() {
    let mut stand = Stand::new();
    let at = |n, at_ms| LedgerShare { at_ms, ..share(n, "a", Some(key(1))) };
    stand.record(at(1, 1_000_000)).await;
    let due = Due { opened_by_ms: 1_000, work_from: Work(u128::MAX) };
    // Opened a moment ago, by a clock that is right.
    assert_eq!(stand.ledger().close_due(due, 1_000_000).await, Ok(0));
    // Opened since this was asked, or by a clock that is a little ahead.
    assert_eq!(stand.ledger().close_due(due, 990_000).await, Ok(0));
    // It was put back since.
    assert_eq!(stand.ledger().close_due(due, 2_000).await, Ok(1));
    stand.assert_sound().await;
}

#[tokio::test]
async fn forgets_at_its_start_for_how_long_it_wanted_to_wait() {
    let mut stand = Stand::new();
    let wide = Difficulty { whole: 20, fraction: 0 };
    stand.record(LedgerShare { credit: wide, ..share(1, "a", Some(key(1))) }).await;
    stand.record(LedgerShare { credit: wide, ..share(2, "b", Some(key(2))) }).await;
    stand.seal(2_000).await;
    let (a, b) = (stand.books("a", Some(key(1))).await.id, stand.books("b", Some(key(2))).await.id);
    // One was read, the other is to be asked for again; both at a time far from here.
    stand.send(a, "read").await;
    stand.ledger().confirm("read".into(), 0, 0, 1_000_000).await.unwrap();
    stand.ledger().new_quote(b, "again".into(), "ehash:again".into(), 1).await.unwrap();
    stand.ledger().quote_creating("again".into()).await.unwrap();
    stand.ledger().quote_again("again".into(), 1_000_000, "away".into(), 1).await.unwrap();
    assert!(stand.ledger().due_quotes(5_000, 10).await.unwrap().is_empty());
    assert!(stand.ledger().unread_quotes(5_000, 10).await.unwrap().is_empty());
    stand.reopen();
    assert_eq!(stand.ledger().due_quotes(5_000, 10).await.unwrap().len(), 1);
    assert_eq!(stand.ledger().unread_quotes(5_000, 10).await.unwrap().len(), 1);
    stand.assert_sound().await;
}

#[tokio::test]
async fn mq_11_300_credits_make_two_quotes_and_the_first_is_answered_for() {
    let mut stand = Stand::new();
    let wide = Difficulty { whole: 20, fraction: 0 };
    for n in 0..300 {
        stand.record(LedgerShare { credit: wide, ..share(n, "a", Some(key(1))) }).await;
        assert_eq!(stand.seal(2_000).await.sealed, 1);
    }
    let account = stand.books("a", Some(key(1))).await.id;
    assert_eq!(stand.send(account, "first").await.len(), 256);
    assert_eq!(stand.ledger().assign(256, 3).await, Ok(0));
    assert_eq!(stand.ledger().rotate(256, 0).await, Ok(1));
    assert_eq!(stand.send(account, "second").await.len(), 44);
    assert_eq!(stand.ledger().rotate(256, 0).await, Ok(0));
    for (quote, payments) in [("first", 256), ("second", 44)] {
        let sent = stand.ledger().payments_of(quote.into()).await.unwrap();
        assert_eq!(sent.len(), payments);
        let paid = sent.iter().map(|owed| owed.amount).sum();
        stand.ledger().confirm(quote.into(), paid, paid, 5_000).await.unwrap();
        // For ever.
        assert_eq!(stand.ledger().payments_of(quote.into()).await.unwrap().len(), payments);
    }
    assert_eq!(stand.books("a", Some(key(1))).await.confirmed_amount, 600);
    stand.assert_sound().await;
}
