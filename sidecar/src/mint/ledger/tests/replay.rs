//! Every call may be made again.

use super::*;

#[tokio::test]
async fn changes_nothing_when_calls_are_made_ten_times() {
    let mut stand = Stand::new();
    let (mine, yours) = (Some(key(1)), Some(key(2)));
    stand.record_all((1..=9).map(|n| share(n, "a", mine)).collect()).await;
    stand.record_all((11..=19).map(|n| share(n, "b", None)).collect()).await;
    let unassigned = Bytes::from_static(b"b");
    stand.ledger().set_payout(unassigned.clone(), yours, true, 1_500).await.unwrap();
    stand.seal(2_000).await;
    let (a, b) = (stand.books("a", mine).await.id, stand.books("b", yours).await.id);
    let sent = stand.send(a, "qa").await;
    stand.open_quote(b, "qb").await;
    stand.ledger().assign(256, 3).await.unwrap();
    let frozen = 2;
    stand.ledger().freeze_credit(frozen).await.unwrap();
    stand.ledger().confirm("qa".into(), sent[0].amount, 2, 4_000).await.unwrap();
    stand.ledger().rotate(1, 0).await.unwrap();
    stand.ledger().ack("pool".into(), 3).await.unwrap();
    stand.ledger().stop_sending("for a look".into()).await.unwrap();

    let rows = stand.rows();
    for turn in 0..10 {
        if turn == 5 {
            stand.reopen();
        }
        for n in (1..=9).chain(11..=19) {
            let (identity, key) = if n < 10 { ("a", mine) } else { ("b", None) };
            assert_eq!(stand.record(share(n, identity, key)).await, Outcome::Again);
        }
        let ledger = stand.ledger();
        let many: Vec<LedgerShare> = (1..=9).map(|n| share(n, "a", None)).collect();
        assert_eq!(ledger.record_many(many, 1_000).await.unwrap(), [Outcome::Again; 9]);
        let set = ledger.set_payout(unassigned.clone(), yours, true, 9_000).await;
        assert_eq!(set, Ok(0));
        assert_eq!(stand.seal(9_000).await, Sealing::default());
        let (qa, request) = ("qa".to_owned(), "ehash:qa".to_owned());
        ledger.new_quote(a, qa.clone(), request, 9_000).await.unwrap();
        ledger.set_candidate(qa.clone(), "id-qa".into()).await.unwrap();
        ledger.quote_opened(qa.clone(), "id-qa".into(), 7, 9_000).await.unwrap();
        let reading = ledger.confirm(qa, sent[0].amount, 2, 4_000).await.unwrap();
        assert_eq!(reading, Reading::Even(0));
        ledger.freeze_credit(frozen).await.unwrap();
        ledger.rotate(1, 0).await.unwrap();
        ledger.assign(256, 3).await.unwrap();
        ledger.ack("pool".into(), 3).await.unwrap();
        ledger.ack("pool".into(), 1).await.unwrap();
        ledger.stop_sending("another reason".into()).await.unwrap();
        assert!(ledger.mark_sent(vec![1], 9_000).await.is_err(), "sending is stopped");
        assert_eq!(stand.rows(), rows, "turn {turn}");
    }

    stand.ledger().resume_sending().await.unwrap();
    stand.ledger().unfreeze_credit(frozen).await.unwrap();
    let due = stand.ledger().due_credits(0, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    stand.ledger().mark_sent(vec![frozen], 9_500).await.unwrap();
    let rows = stand.rows();
    for _ in 0..10 {
        stand.ledger().mark_sent(vec![frozen], 9_900).await.unwrap();
        stand.ledger().unfreeze_credit(frozen).await.unwrap();
        stand.ledger().resume_sending().await.unwrap();
    }
    assert_eq!(stand.rows(), rows);
    stand.assert_sound().await;
}

#[tokio::test]
async fn names_a_payment_once_and_for_ever() {
    let mut stand = Stand::new();
    stand.record_all((1..=9).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    stand.seal(2_000).await;
    let account = stand.books("a", Some(key(1))).await.id;
    let sent = stand.send(account, "q1").await;
    let name = sent[0].payment_id.clone();
    // The mint has lost its books, the operator moves the credit to another quote.
    assert_eq!(stand.ledger().quote_lost("q1".into(), "gone".into(), 3_000).await, Ok(1));
    assert_eq!(stand.ledger().quote_lost("q1".into(), "gone".into(), 3_000).await, Ok(0));
    assert!(stand.ledger().payments_of("q1".into()).await.unwrap().is_empty());
    assert!(stand.ledger().due_quotes(0, 10).await.unwrap().is_empty(), "waits for the operator");
    stand.ledger().requeue(1).await.unwrap();
    stand.ledger().requeue(1).await.unwrap();
    stand.reopen();
    let again = stand.send(account, "q2").await;
    assert_eq!(again[0].payment_id, name);
    assert_eq!((again[0].credit_id, again[0].amount), (sent[0].credit_id, sent[0].amount));
    stand.assert_sound().await;
}
