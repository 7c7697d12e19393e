//! What grows with the age of the ledger, or with how long a mint is away, holds up nothing.

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::Poll;

use super::*;
use crate::mint::ledger::turn::Turn;
use crate::mint::ledger::{credits, wallet};
use v1::event::Event;

/// A share that is worth two units.
fn wide(n: u64, identity: &str, key: PayoutKey) -> LedgerShare {
    let credit = Difficulty { whole: 20, fraction: 0 };
    LedgerShare { credit, ..share(n, identity, Some(key)) }
}

/// A ledger whose one credit, of two units, was sent on the quote `q`.
async fn one_sent() -> Stand {
    let mut stand = Stand::new();
    stand.record(wide(1, "a", key(1))).await;
    stand.seal(2_000).await;
    stand.send(1, "q").await;
    stand
}

/// How SQLite finds the rows of a query.
async fn plan(stand: &Stand, query: &'static str, limits: usize) -> String {
    let explain = move |turn: &mut Turn<'_>| {
        let mut plan = turn.conn.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
        let limits = rusqlite::params_from_iter(vec![256; limits]);
        let rows = plan.query_map(limits, |row| row.get::<_, String>("detail"))?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.join("\n"))
    };
    stand.ledger().call(explain).await.unwrap()
}

#[tokio::test]
async fn assigns_from_the_open_quotes_on_and_few_at_a_time() {
    let mut stand = Stand::new();
    for (query, limits) in [(credits::ASSIGNABLE, 2), (wallet::ASSIGNABLE, 1)] {
        let plan = plan(&stand, query, limits).await;
        let first = plan.lines().next().unwrap();
        assert!(first.contains("quote USING INDEX quote_open"), "{plan}");
        assert!(plan.contains("credit USING INDEX credit_account (account_id=? AND state=?)"));
    }
    for round in 0..2 {
        let shares = (0..300).map(|n| wide(1_000 * round + n, &n.to_string(), key(1))).collect();
        stand.record_all(shares).await;
        let mut closed = Vec::new();
        while closed.last() != Some(&0) {
            closed.push(stand.ledger().close_due(NOW, 2_000).await.unwrap());
        }
        assert_eq!(closed, [256, 44, 0]);
        assert_eq!(stand.ledger().seal(TERMS, 1_000, 2_000).await.unwrap().sealed, 300);
    }
    assert_eq!(stand.ledger().assign(256, 3_000).await, Ok(0), "no quote is open");
    for account in 1..=300 {
        stand.open_quote(account, &format!("q{account}")).await;
    }
    let mut assigned = Vec::new();
    while assigned.last() != Some(&0) {
        assigned.push(stand.ledger().assign(256, 3_000).await.unwrap());
    }
    assert_eq!(assigned, [256, 256, 88, 0]);
    stand.assert_sound().await;
}

#[tokio::test]
async fn reads_what_is_to_be_confirmed_before_what_nobody_mints() {
    const DAY_MS: i64 = 24 * 3_600 * 1_000;
    let mut stand = Stand::new();
    // Each account has a quote that was paid, takes no more, and is never minted.
    stand.record_all((0..40).map(|n| wide(n, &n.to_string(), key(1))).collect()).await;
    stand.seal(2_000).await;
    for account in 1..=40 {
        stand.send(account, &format!("q{account}")).await;
        stand.ledger().confirm(format!("q{account}"), 2, 0, 10_000).await.unwrap();
    }
    assert_eq!(stand.ledger().rotate(1, 0).await, Ok(40));
    stand.record(wide(99, "0", key(1))).await;
    stand.seal(12_000).await;
    stand.send(1, "fresh").await;
    let mut readings = 0;
    for now in (20_000..2 * DAY_MS).step_by(60_000) {
        let unread = stand.ledger().unread_quotes(now - 10_000, 40).await.unwrap();
        // It is there each time, and first.
        assert_eq!(unread[0].quote_ref, "fresh");
        readings += unread.len() - 1;
        for quote in unread {
            let paid = if quote.quote_ref == "fresh" { 0 } else { 2 };
            stand.ledger().confirm(quote.quote_ref, paid, 0, now).await.unwrap();
        }
    }
    assert!((40..40 * 60).contains(&readings), "{readings} readings in two days");
}

#[tokio::test]
async fn gives_an_account_back_what_was_carried_for_a_quote_that_never_had_a_credit() {
    let mut stand = Stand::new();
    let quote = stand.wallet_quote(1, key(1), 1_000).await;
    // 7.5 in units of 10: too little for a credit, so that nobody asks the mint for the quote.
    stand.record(LedgerShare { quote: Some(quote), ..share(1, "a", Some(key(1))) }).await;
    assert_eq!(stand.seal(2_000).await, Sealing { sealed: 0, carried: 1 });
    assert_eq!(stand.ledger().rotate(256, 999 + UNUSED_MS).await, Ok(0));
    assert_eq!(stand.ledger().rotate(256, 1_000 + UNUSED_MS).await, Ok(1));
    assert_eq!(stand.ledger().rotate(256, 1_000 + UNUSED_MS).await, Ok(0));
    stand.assert_sound().await;
    // With what comes by the next quote it makes one.
    let next = stand.wallet_quote(2, key(1), 3_000).await;
    stand.record(LedgerShare { quote: Some(next), ..share(2, "a", Some(key(1))) }).await;
    stand.seal(4_000).await;
    stand.ledger().rotate(256, 3_000 + UNUSED_MS).await.unwrap();
    stand.record(share(3, "a", Some(key(1)))).await;
    assert_eq!(stand.seal(5_000).await.sealed, 1);
    let books = stand.books("a", Some(key(1))).await;
    assert_eq!((books.pending_amount, books.accrued), (2, Work(worth(3).0 - (20 << 32))));
    stand.assert_sound().await;
}

#[tokio::test]
async fn stops_sending_at_any_number_that_a_mint_may_show() {
    let stand = one_sent().await;
    let read = stand.ledger().confirm("q".into(), u64::MAX, u64::MAX, 3_000).await;
    assert_eq!(read, Ok(Reading::Surplus { extra: u64::MAX - 2 }));
    let quote = stand.ledger().quote("q".into()).await.unwrap().unwrap();
    assert_eq!((quote.paid_seen, quote.last_read_ms), (i64::MAX as u64, 3_000));
    assert!(stand.ledger().mark_sent(vec![1], 4_000).await.is_err());
    stand.assert_sound().await;
}

#[tokio::test]
async fn knows_what_is_gone_with_the_mints_database_once_the_operator_does() {
    let stand = one_sent().await;
    assert_eq!(stand.ledger().confirm("q".into(), 2, 1, 3_000).await, Ok(Reading::Even(1)));
    let known = || Books::open(&stand.settings.path).unwrap().known_gone("q");
    stand.ledger().resume_sending().await.unwrap();
    assert_eq!(known(), Ok(0), "the mint has it");
    assert_eq!(stand.ledger().quote_lost("q".into(), "gone".into(), 4_000).await, Ok(0));
    assert_eq!(known(), Ok(0), "nobody knows yet");
    stand.ledger().resume_sending().await.unwrap();
    assert_eq!(known(), Ok(1));
    stand.assert_sound().await;
}

#[tokio::test]
async fn counts_a_known_surplus_anew_when_some_of_it_was_ours() {
    let mut stand = Stand::new();
    stand.record(wide(1, "a", key(1))).await;
    stand.seal(2_000).await;
    stand.open_quote(1, "q").await;
    assert_eq!(stand.ledger().assign(256, 3_000).await, Ok(1));
    // The mint has the payment of that credit, from a ledger that is gone, and 5 more.
    let read = stand.ledger().confirm("q".into(), 7, 0, 4_000).await;
    assert_eq!(read, Ok(Reading::Surplus { extra: 7 }));
    stand.ledger().resume_sending().await.unwrap();
    stand.ledger().mark_sent(vec![1], 5_000).await.unwrap();
    let behind = stand.ledger().confirm("q".into(), 7, 0, 6_000).await;
    assert_eq!(behind, Ok(Reading::Behind { missing: 2 }));
    stand.ledger().resume_sending().await.unwrap();
    assert_eq!(stand.ledger().confirm("q".into(), 7, 0, 7_000).await, Ok(Reading::Even(1)));
    // What nobody shows any more is not known any more.
    stand.ledger().confirm("q".into(), 2, 0, 8_000).await.unwrap();
    stand.ledger().resume_sending().await.unwrap();
    assert_eq!(Books::open(&stand.settings.path).unwrap().known_surplus("q"), Ok(0));
    let foreign = stand.ledger().confirm("q".into(), 3, 0, 9_000).await;
    assert_eq!(foreign, Ok(Reading::Surplus { extra: 1 }));
}

#[tokio::test]
async fn seals_the_others_when_one_credit_is_damaged() {
    let mut stand = Stand::new();
    stand.record_all(vec![wide(1, "a", key(1)), wide(2, "b", key(1))]).await;
    let damage = |turn: &mut Turn<'_>| {
        Ok(turn.conn.execute("UPDATE credit SET shares = 9 WHERE id = 1", [])?)
    };
    stand.ledger().call(damage).await.unwrap();
    assert_eq!(stand.seal(2_000).await, Sealing { sealed: 1, carried: 0 });
    assert_eq!(stand.credit(1).await.state, CreditState::Closed);
    assert_eq!(stand.credit(2).await.state, CreditState::Sealed);
}

#[tokio::test]
async fn tells_when_its_writer_is_gone() {
    let mut stand = Stand::new();
    stand.ledger = None;
    let counts = crate::obs::Counts::default();
    let (sender, _outcomes) = mpsc::channel(8);
    let ledger = SqliteLedger::open_counted(&stand.settings, sender, counts.clone()).unwrap();
    let fails = |_: &mut Turn<'_>| -> Result<()> { panic!("a fault") };
    assert_eq!(ledger.call(fails).await, Err(LedgerError::Closed));
    drop(ledger);
    let stands = counts.ledger.standing.read();
    assert_eq!(stands.state, crate::obs::counts::State::Down);
    assert!(stands.detail.contains("restart the sidecar"), "{}", stands.detail);
}

#[tokio::test]
async fn tells_how_much_was_paid_and_not_minted_on_a_quote_that_the_mint_lost() {
    let stand = one_sent().await;
    stand.ledger().confirm("q".into(), 2, 1, 3_000).await.unwrap();
    assert_eq!(stand.ledger().quote_lost("q".into(), "gone".into(), 4_000).await, Ok(0));
    let events = stand.events().await;
    let Some(Event::MintFailed(failed)) = events.last() else { panic!("{events:?}") };
    assert_eq!(failed.detail, "gone; 1 that it had paid was not seen minted");
}

/// Has a call come to the writer, behind all that was queued before.
async fn queued<T>(mut call: Pin<&mut impl Future<Output = T>>) {
    poll_fn(|context| {
        assert!(call.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn shares_wait_for_one_call_and_not_for_all_that_came_before_them() {
    use std::sync::mpsc::sync_channel;
    let mut stand = Stand::new();
    let ledger = stand.ledger().clone();
    // The writer is held until all that follows has queued.
    let ((begun, begins), (go, gone)) = (sync_channel(1), sync_channel::<()>(1));
    let mut held = Box::pin(ledger.call(move |_| {
        begun.send(()).unwrap();
        assert!(gone.recv().is_err());
        Ok(())
    }));
    queued(held.as_mut()).await;
    begins.recv().unwrap();
    let mut long = Box::pin(ledger.call(|_| {
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    }));
    queued(long.as_mut()).await;
    let (end, ended) = sync_channel::<()>(1);
    let mut endless = Box::pin(ledger.call(move |_| {
        assert!(ended.recv().is_err());
        Ok(())
    }));
    queued(endless.as_mut()).await;
    assert!(stand.ledger().record(share(1, "a", Some(key(1)))));
    drop(go);
    let told = tokio::time::timeout(Duration::from_secs(30), stand.outcomes.recv()).await;
    assert_eq!(told.unwrap().unwrap(), [Kept { id: 1, outcome: Outcome::Recorded }]);
    drop(end);
    assert_eq!((held.await, long.await, endless.await), (Ok(()), Ok(()), Ok(())));
    stand.assert_sound().await;
}
