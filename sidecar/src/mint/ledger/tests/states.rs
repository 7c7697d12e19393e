//! States that may not follow another are refused, whoever asks.

use super::*;
use crate::mint::ledger::turn::Turn;

/// A stand with one sealed credit, its id and its account.
async fn sealed() -> (Stand, u64, i64) {
    let mut stand = Stand::new();
    stand.record_all((1..=4).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    assert_eq!(stand.seal(2_000).await.sealed, 1);
    let account = stand.books("a", Some(key(1))).await.id;
    (stand, 1, account)
}

#[tokio::test]
async fn rejects_every_step_of_a_credit_that_is_not_in_the_table() {
    let (stand, credit, _) = sealed().await;
    let mut allowed = 0;
    for from in CreditState::ALL.iter().copied() {
        for to in CreditState::ALL.iter().copied() {
            let step = move |turn: &mut Turn<'_>| {
                turn.conn.execute("UPDATE credit SET state = ?2 WHERE id = ?1", (credit, from))?;
                let done = turn.step(credit, to);
                Ok((done, turn.state(credit)?))
            };
            let (done, now) = stand.ledger().call(step).await.unwrap();
            let (want, stands) = match (from == to, from.may_become(to)) {
                (true, _) => (Ok(false), from),
                (false, true) => (Ok(true), to),
                (false, false) => (Err(LedgerError::Credit { from, to }), from),
            };
            assert_eq!((done, now), (want, stands), "{from} to {to}");
            allowed += u32::from(from != to && now == to);
        }
    }
    assert_eq!(allowed, 18);
}

#[tokio::test]
async fn rejects_every_step_of_a_quote_that_is_not_in_the_table() {
    let (stand, _, account) = sealed().await;
    stand.open_quote(account, "q").await;
    let mut allowed = 0;
    for from in QuoteState::ALL.iter().copied() {
        for to in QuoteState::ALL.iter().copied() {
            let set = move |turn: &mut Turn<'_>| {
                Ok(turn.conn.execute("UPDATE quote SET state = ?1", [from])?)
            };
            stand.ledger().call(set).await.unwrap();
            let quote = || "q".to_owned();
            let ledger = stand.ledger();
            // By the calls there are for it.
            let done = match to {
                QuoteState::New => ledger.quote_again(quote(), 0, String::new(), 5).await,
                QuoteState::Creating => ledger.quote_creating(quote()).await,
                QuoteState::Lost => ledger.quote_lost(quote(), String::new(), 5).await.map(drop),
                QuoteState::Open | QuoteState::Closing | QuoteState::Settled => continue,
            };
            let now = ledger.quote(quote()).await.unwrap().unwrap().state;
            let (want, stands) = match (from == to, from.may_become(to)) {
                (true, _) => (Ok(()), from),
                (false, true) => (Ok(()), to),
                (false, false) => (Err(LedgerError::Quote { from, to }), from),
            };
            assert_eq!((done, now), (want, stands), "{from} to {to}");
            allowed += u32::from(from != to && now == to);
        }
    }
    assert_eq!(allowed, 5);
}

#[tokio::test]
async fn rejects_calls_on_credits_that_stand_elsewhere() {
    let (stand, credit, account) = sealed().await;
    let ledger = stand.ledger();
    let refused = |to| LedgerError::Credit { from: CreditState::Sealed, to };
    assert_eq!(ledger.mark_sent(vec![credit], 3).await, Err(refused(CreditState::Sent)));
    assert!(ledger.defer(credit, 9, "x".into(), 3).await.is_err());
    assert_eq!(ledger.mark_sent(vec![99], 3).await, Err(LedgerError::Unknown("credit")));
    assert_eq!(ledger.requeue(99).await, Err(LedgerError::Unknown("credit")));
    assert_eq!(ledger.quote_creating("none".into()).await, Err(LedgerError::Unknown("quote")));
    assert_eq!(ledger.freeze_account(99, true).await, Err(LedgerError::Unknown("account")));
    let sent = stand.send(account, "q").await;
    assert_eq!(sent.len(), 1);
    let from = CreditState::Sent;
    let to = CreditState::Sealed;
    assert_eq!(ledger.requeue(credit).await, Err(LedgerError::Credit { from, to }));
    ledger.confirm("q".into(), 3, 0, 4).await.unwrap();
    let from = CreditState::Confirmed;
    let to = CreditState::Frozen;
    assert_eq!(ledger.freeze_credit(credit).await, Err(LedgerError::Credit { from, to }));
}

#[tokio::test]
async fn rejects_half_of_a_call() {
    let (stand, credit, account) = sealed().await;
    stand.open_quote(account, "q").await;
    stand.ledger().assign(256, 3).await.unwrap();
    let rows = stand.rows();
    // The first would do, the second is unknown: neither is done, and no event is written.
    assert!(stand.ledger().mark_sent(vec![credit, 99], 3).await.is_err());
    assert_eq!(stand.rows(), rows);
    stand.ledger().mark_sent(vec![credit], 3).await.unwrap();
    stand.events().await;
}

#[tokio::test]
async fn rejects_quotes_that_would_pay_twice() {
    let (stand, _, account) = sealed().await;
    let ledger = stand.ledger();
    stand.open_quote(account, "q").await;
    let new = |name: &str| ledger.new_quote(account, name.to_owned(), format!("r:{name}"), 5);
    assert!(matches!(new("r").await, Err(LedgerError::Refused(_))), "one that takes credits");
    ledger.rotate(0, i64::MAX).await.unwrap();
    new("r").await.unwrap();
    ledger.quote_creating("r".into()).await.unwrap();
    // The id of another quote, and a second candidate.
    let candidate = |id: &str| ledger.set_candidate("r".into(), id.to_owned());
    assert!(matches!(candidate("id-q").await, Err(LedgerError::Refused(_))));
    candidate("one").await.unwrap();
    assert!(matches!(candidate("two").await, Err(LedgerError::Refused(_))));
    let opened = ledger.quote_opened("r".into(), "two".into(), 0, 6).await;
    assert!(matches!(opened, Err(LedgerError::Refused(_))));
    ledger.quote_opened("r".into(), "one".into(), 0, 6).await.unwrap();
    let opened = ledger.quote_opened("r".into(), "two".into(), 0, 6).await;
    assert!(matches!(opened, Err(LedgerError::Refused(_))));
}
