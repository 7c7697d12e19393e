//! A mint's database that was lost and is back: what was sent there is paid there, and only there.

use super::*;

/// A stand with credits 1 and 2 of 6 each, sent on quote `old`, of which the first was confirmed;
/// the mint has lost that since. Their account.
async fn lost() -> (Stand, i64) {
    let mut stand = Stand::new();
    for round in 0..2 {
        let shares = (1..=8).map(|n| share(round * 10 + n, "a", Some(key(1)))).collect();
        stand.record_all(shares).await;
        stand.seal(2_000).await;
        if round == 0 {
            let account = stand.books("a", Some(key(1))).await.id;
            stand.send(account, "old").await;
            let read = stand.ledger().confirm("old".into(), 6, 0, 3_000).await;
            assert_eq!(read, Ok(Reading::Even(1)));
        }
    }
    stand.ledger().assign(256, 4).await.unwrap();
    stand.ledger().mark_sent(vec![2], 4_000).await.unwrap();
    assert_eq!(stand.ledger().quote_lost("old".into(), "gone".into(), 5_000).await, Ok(1));
    let account = stand.books("a", Some(key(1))).await.id;
    (stand, account)
}

/// Names of quotes that the mint is to be asked for.
async fn asked(stand: &Stand) -> Vec<LostQuote> {
    stand.ledger().lost_quotes(9_000, 9_000, 10).await.unwrap()
}

async fn due(stand: &Stand) -> Vec<u64> {
    let due = stand.ledger().due_credits(9_000, 10).await.unwrap();
    due.iter().map(|owed| owed.credit_id).collect()
}

/// Puts credit 2 on another quote, as far as it is sent without a question.
async fn requeue(stand: &Stand, account: i64, name: &str) {
    stand.ledger().requeue(2).await.unwrap();
    stand.open_quote(account, name).await;
    assert_eq!(stand.ledger().assign(256, 6_000).await, Ok(1));
}

#[tokio::test]
async fn what_waits_for_the_operator_goes_on_by_itself_when_the_database_is_back() {
    let (stand, _) = lost().await;
    let name = stand.credit(2).await.payment_id;
    let asked_for = asked(&stand).await;
    assert_eq!((asked_for.len(), asked_for[0].waiting.len()), (1, 0));
    // Not at once, and not when it was lost for certain.
    assert_eq!(stand.ledger().lost_quotes(9_000, -1, 10).await, Ok(vec![]));
    assert_eq!(stand.ledger().quote_back("old".into(), 7_000).await, Ok(1));
    let credit = stand.credit(2).await;
    assert_eq!((credit.state, credit.quote_ref), (CreditState::Sent, Some("old".to_owned())));
    assert_eq!(credit.payment_id, name, "the same payment");
    // The mint is told again, and asked what it shows.
    let owed = stand.ledger().unconfirmed(0, 10).await.unwrap();
    assert_eq!(owed.iter().map(|owed| owed.credit_id).collect::<Vec<_>>(), [2]);
    assert_eq!(stand.ledger().payments_of("old".into()).await.unwrap().len(), 2);
    assert_eq!(stand.ledger().unread_quotes(0, 10).await.unwrap().len(), 1);
    assert_eq!(stand.ledger().confirm("old".into(), 6, 0, 8_000).await, {
        Ok(Reading::Behind { missing: 6 })
    });
    assert_eq!(stand.ledger().confirm("old".into(), 12, 0, 8_000).await, Ok(Reading::Even(1)));
    assert!(asked(&stand).await.is_empty());
    // It takes nothing new.
    assert_eq!(stand.ledger().quote("old".into()).await.unwrap().unwrap().state, {
        QuoteState::Closing
    });
    assert_eq!(stand.ledger().quote_back("old".into(), 9_000).await, Ok(0));
    stand.assert_sound().await;
}

#[tokio::test]
async fn nothing_is_sent_on_another_quote_before_the_mint_was_asked_for_the_old_one() {
    let (mut stand, account) = lost().await;
    requeue(&stand, account, "new").await;
    assert_eq!(due(&stand).await, [0_u64; 0]);
    let books = Books::open(&stand.settings.path).unwrap();
    assert_eq!(books.waits_for_lost(2), Ok(true));
    let before = asked(&stand).await.remove(0);
    assert_eq!(before.waiting, [(2, "new".to_owned())]);
    // What was asked before a quote was open says nothing of the mint that has that quote.
    stand.ledger().quote_lost("new".into(), "gone".into(), 6_500).await.unwrap();
    stand.open_quote(account, "newer").await;
    assert_eq!(stand.ledger().assign(256, 6_500).await, Ok(1));
    stand.ledger().quote_gone(before, 7_000).await.unwrap();
    assert_eq!(due(&stand).await, [0_u64; 0]);
    assert_eq!(stand.ledger().lost_quotes(6_999, 9_000, 10).await, Ok(vec![]), "asked just now");
    let now = asked(&stand).await.remove(0);
    stand.ledger().quote_gone(now, 8_000).await.unwrap();
    assert_eq!((due(&stand).await, books.waits_for_lost(2)), (vec![2], Ok(false)));
    assert!(asked(&stand).await.is_empty());
    // A new process knows of it.
    stand.reopen();
    stand.ledger().confirm("newer".into(), 0, 0, 8_500).await.unwrap();
    assert_eq!(due(&stand).await, [2]);
    stand.assert_sound().await;
}

#[tokio::test]
async fn what_was_to_be_sent_elsewhere_goes_back_to_the_quote_that_is_back() {
    for frozen in [false, true] {
        for assigned in [false, true] {
            let (stand, account) = lost().await;
            match assigned {
                true => requeue(&stand, account, "new").await,
                false => stand.ledger().requeue(2).await.unwrap(),
            }
            if frozen {
                stand.ledger().freeze_credit(2).await.unwrap();
            }
            assert_eq!(stand.ledger().quote_back("old".into(), 7_000).await, Ok(1));
            if frozen {
                assert_eq!(stand.credit(2).await.state, CreditState::Frozen);
                stand.ledger().unfreeze_credit(2).await.unwrap();
            }
            let credit = stand.credit(2).await;
            let at = (credit.state, credit.quote_ref.as_deref());
            assert_eq!(at, (CreditState::Sent, Some("old")), "{frozen} {assigned}");
            assert_eq!(due(&stand).await, [0_u64; 0]);
            let read = stand.ledger().confirm("old".into(), 12, 12, 8_000).await;
            assert_eq!(read, Ok(Reading::Even(1)));
            let state = stand.ledger().quote("old".into()).await.unwrap().unwrap().state;
            assert_eq!(state, QuoteState::Settled);
            stand.assert_sound().await;
        }
    }
}

#[tokio::test]
async fn rejects_taking_back_what_is_sent_elsewhere_or_while_sending_is_stopped() {
    let (stand, account) = lost().await;
    requeue(&stand, account, "new").await;
    let ledger = stand.ledger();
    ledger.stop_sending("for a look".into()).await.unwrap();
    assert_eq!(ledger.quote_back("old".into(), 7_000).await, Ok(0));
    ledger.resume_sending().await.unwrap();
    let gone = asked(&stand).await.remove(0);
    ledger.quote_gone(gone, 7_000).await.unwrap();
    ledger.mark_sent(due(&stand).await, 7_500).await.unwrap();
    // Frozen or not, the mint may have taken it by now.
    for frozen in [true, false] {
        match frozen {
            true => ledger.freeze_credit(2).await.unwrap(),
            false => ledger.unfreeze_credit(2).await.unwrap(),
        }
        assert_eq!(ledger.quote_back("old".into(), 8_000).await, Ok(0));
        assert_eq!(stand.credit(2).await.quote_ref.as_deref(), Some("new"));
    }
    // It is confirmed there. Should the old database come back now, with that payment in it, it was
    // paid twice, by two databases: seen, and told.
    assert_eq!(ledger.confirm("new".into(), 6, 0, 8_500).await, Ok(Reading::Even(1)));
    assert_eq!(ledger.quote_back("old".into(), 9_000).await, Ok(0));
    let read = ledger.confirm("old".into(), 12, 0, 9_500).await;
    assert_eq!(read, Ok(Reading::Surplus { extra: 6 }));
    stand.assert_sound().await;
}

#[tokio::test]
async fn what_is_lost_again_with_the_next_database_goes_back_to_the_first() {
    let (stand, account) = lost().await;
    requeue(&stand, account, "new").await;
    let ledger = stand.ledger();
    let gone = asked(&stand).await.remove(0);
    ledger.quote_gone(gone, 7_000).await.unwrap();
    ledger.mark_sent(due(&stand).await, 7_500).await.unwrap();
    assert_eq!(ledger.quote_lost("new".into(), "gone".into(), 8_000).await, Ok(1));
    let quotes: Vec<_> = asked(&stand).await.into_iter().map(|lost| lost.quote.quote_ref).collect();
    assert_eq!(quotes.len(), 2, "{quotes:?}");
    assert_eq!(ledger.quote_back("old".into(), 9_000).await, Ok(1));
    assert_eq!(ledger.confirm("old".into(), 12, 0, 9_500).await, Ok(Reading::Even(1)));
    assert_eq!(stand.books("a", Some(key(1))).await.confirmed_amount, 12);
    stand.assert_sound().await;
}

#[tokio::test]
async fn nothing_new_is_sent_after_a_start_before_the_mint_has_shown_what_it_paid() {
    let mut stand = Stand::new();
    let mut accounts = Vec::new();
    for (name, n) in [("a", 1), ("b", 2)] {
        let first = u64::from(n) * 100;
        stand.record_all((1..=8).map(|i| share(first + i, name, Some(key(n)))).collect()).await;
        accounts.push(stand.books(name, Some(key(n))).await.id);
    }
    for (account, name) in accounts.iter().zip(["qa", "qb"]) {
        stand.open_quote(*account, name).await;
    }
    stand.reopen();
    stand.seal(2_000).await;
    assert_eq!(stand.ledger().assign(256, 3_000).await, Ok(2));
    assert_eq!(due(&stand).await, [0_u64; 0]);
    let unread = stand.ledger().unread_quotes(0, 10).await.unwrap();
    assert_eq!(unread.len(), 2);
    let ledger = stand.ledger();
    ledger.confirm("qa".into(), 0, 0, 4_000).await.unwrap();
    assert_eq!(due(&stand).await, [0_u64; 0], "the other one may show it");
    // This ledger is an old copy: a later one has paid the same shares, under another name.
    let read = ledger.confirm("qb".into(), 6, 0, 4_000).await;
    assert_eq!(read, Ok(Reading::Surplus { extra: 6 }));
    assert_eq!(due(&stand).await, [0_u64; 0]);
    // The operator knows.
    ledger.resume_sending().await.unwrap();
    assert_eq!(due(&stand).await, [1, 2]);
    stand.assert_sound().await;
}
