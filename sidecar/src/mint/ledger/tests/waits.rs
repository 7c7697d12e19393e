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

/// A stand with one sealed credit of one account, whose quote was opened at 1,000 s and expires at
/// this time in seconds.
async fn expiring(expiry_s: i64) -> (Stand, i64) {
    let mut stand = Stand::new();
    let wide = Difficulty { whole: 20, fraction: 0 };
    stand.record(LedgerShare { credit: wide, ..share(1, "a", Some(key(1))) }).await;
    stand.seal(2_000).await;
    let account = stand.books("a", Some(key(1))).await.id;
    let ledger = stand.ledger();
    ledger.new_quote(account, "first".into(), "ehash:first".into(), 1).await.unwrap();
    ledger.quote_creating("first".into()).await.unwrap();
    ledger.quote_opened("first".into(), "id".into(), expiry_s, 1_000_000).await.unwrap();
    (stand, account)
}

async fn state(stand: &Stand, quote: &str) -> QuoteState {
    stand.ledger().quote(quote.into()).await.unwrap().unwrap().state
}

#[tokio::test]
async fn mq_11_a_quote_takes_nothing_new_after_half_its_time_and_is_answered_for_for_ever() {
    let (mut stand, account) = expiring(2_000).await;
    assert_eq!(stand.ledger().rotate_expiring(1_499_999).await, Ok(0));
    assert_eq!(stand.ledger().assign(256, 3).await, Ok(1));
    stand.ledger().mark_sent(vec![1], 3).await.unwrap();
    stand.record(share(2, "a", Some(key(1)))).await;
    stand.record(share(3, "a", Some(key(1)))).await;
    assert_eq!(stand.seal(2_000).await.sealed, 1);
    assert_eq!(stand.ledger().rotate_expiring(1_500_000).await, Ok(1));
    assert_eq!(stand.ledger().rotate_expiring(1_500_000).await, Ok(0));
    assert_eq!(state(&stand, "first").await, QuoteState::Closing);
    assert_eq!(stand.ledger().assign(256, 3).await, Ok(0));
    let needs = stand.ledger().due_quotes(0, 10).await.unwrap();
    assert_eq!(needs, [QuoteNeed::Missing { account_id: account, payout_key: key(1) }]);
    assert_eq!(stand.send(account, "second").await.len(), 1);
    // Long after it has expired, too.
    let read = stand.ledger().confirm("first".into(), 2, 2, 9_000_000).await;
    assert_eq!(read, Ok(Reading::Even(1)));
    assert_eq!(state(&stand, "first").await, QuoteState::Settled);
    assert_eq!(stand.ledger().payments_of("first".into()).await.unwrap().len(), 1);
    stand.assert_sound().await;
}

#[tokio::test]
async fn a_quote_that_never_expires_is_not_rotated_for_that() {
    for never in [0, i64::MAX] {
        let (stand, _) = expiring(never).await;
        // Thirty thousand years.
        assert_eq!(stand.ledger().rotate_expiring(1_000_000_000_000_000).await, Ok(0));
        assert_eq!(stand.ledger().assign(256, 3).await, Ok(1));
        stand.assert_sound().await;
    }
}

#[tokio::test]
async fn survives_quotes_that_expire_at_once_or_have_expired_with_a_minute_for_each() {
    // Long ago, when it was opened, and soon after.
    for expiry_s in [1, 1_000, 1_119] {
        let (stand, _) = expiring(expiry_s).await;
        for at_ms in [999_000, 1_000_000, 1_059_999] {
            assert_eq!(stand.ledger().rotate_expiring(at_ms).await, Ok(0), "{expiry_s} {at_ms}");
        }
        assert_eq!(stand.ledger().assign(256, 3).await, Ok(1));
        assert_eq!(stand.ledger().rotate_expiring(1_060_000).await, Ok(1), "{expiry_s}");
        stand.assert_sound().await;
    }
}

#[tokio::test]
async fn a_wallets_quote_takes_credits_until_the_expiry_that_it_was_told() {
    let mut stand = Stand::new();
    let quote = stand.wallet_quote(1, key(1), 1_000).await.to_string();
    let named = Some(QuoteRef::from_number(1));
    let wide = Difficulty { whole: 20, fraction: 0 };
    stand.record(LedgerShare { quote: named, credit: wide, ..share(1, "a", Some(key(1))) }).await;
    stand.seal(2_000).await;
    stand.ledger().quote_opened(quote.clone(), "w1".into(), 2_000, 1_000_000).await.unwrap();
    assert_eq!(stand.ledger().rotate_expiring(1_999_999).await, Ok(0));
    assert_eq!(stand.ledger().rotate_expiring(2_000_000).await, Ok(1));
    assert_eq!(state(&stand, &quote).await, QuoteState::Settled);
    // The account's own quotes take it now.
    assert_eq!(stand.ledger().assign(256, 3).await, Ok(0));
    assert_eq!(stand.ledger().due_quotes(0, 10).await.unwrap().len(), 1);
    stand.assert_sound().await;
}
