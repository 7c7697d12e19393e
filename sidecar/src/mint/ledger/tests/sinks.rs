//! Events of a ledger that was restored from an old copy go to nobody who knows others.

use super::*;
use crate::event::{Overtaken, Source as _};
use crate::mint::outbox::Outbox;

/// A stand whose ledger has written so many events.
async fn stand(events: u64) -> Stand {
    let mut stand = Stand::new();
    grow(&mut stand, 0, events).await;
    stand
}

/// The ledger goes on by the events `from` to `to`.
async fn grow(stand: &mut Stand, from: u64, to: u64) {
    for n in from..to {
        stand.record(share(n, "a", Some(key(1)))).await;
        stand.ledger().close_due(NOW, 2_000).await.unwrap();
    }
    assert_eq!(stand.ledger().event_range().await.unwrap().0, to);
}

/// What the pool, having this, is told by the way that events go.
async fn pool(stand: &Stand, have: u64) -> Option<Overtaken> {
    let outbox = Outbox::new(stand.ledger().clone()).await.unwrap();
    outbox.overtaken("pool", have).await.unwrap()
}

#[tokio::test]
async fn rejects_a_sink_that_has_more_and_remembers_it_for_ever() {
    let mut stand = stand(5).await;
    assert_eq!(pool(&stand, 0).await, None);
    stand.reopen();
    let overtaken = Overtaken { have: 9, newest: 5 };
    let ahead = Some(overtaken);
    assert_eq!(pool(&stand, 9).await, ahead);
    // Nor is anything paid meanwhile.
    let books = Books::open(&stand.settings.path).unwrap();
    assert_eq!(books.overtaken(), Ok(Some(("pool".to_owned(), overtaken))));
    assert!(books.stopped().unwrap().unwrap().contains("old copy"));
    // Its numbers pass those of the sink, and the sink may say what it likes.
    grow(&mut stand, 5, 12).await;
    for have in [9, 12, 0] {
        stand.reopen();
        assert_eq!(pool(&stand, have).await, ahead, "{have}");
    }
    stand.assert_sound().await;
}

#[tokio::test]
async fn rejects_a_sink_that_had_more_when_the_ledger_was_opened_though_it_has_less_now() {
    let mut stand = stand(5).await;
    assert_eq!(pool(&stand, 0).await, None);
    // An old copy, opened. Before the pool is there it has more events than the pool knows of
    // others; and is opened again.
    stand.reopen();
    grow(&mut stand, 5, 12).await;
    stand.reopen();
    assert_eq!(pool(&stand, 9).await, Some(Overtaken { have: 9, newest: 12 }));
}

#[tokio::test]
async fn lets_events_flow_to_a_sink_that_has_what_it_was_told() {
    let mut stand = stand(5).await;
    for (have, next) in [(0, 8), (8, 11), (9, 12), (12, 13)] {
        assert_eq!(pool(&stand, have).await, None, "{have}");
        let now = stand.ledger().event_range().await.unwrap().0;
        grow(&mut stand, now, next).await;
        // Acknowledged or not: it may have any of them.
        assert_eq!(pool(&stand, next).await, None);
        assert_eq!(stand.ledger().sinks_heard().await, Ok(true));
        stand.reopen();
        assert_eq!(stand.ledger().sinks_heard().await, Ok(false), "it may have more");
    }
    assert_eq!(pool(&stand, 13).await, None);
    // Who was never told of any has none.
    let outbox = Outbox::new(stand.ledger().clone()).await.unwrap();
    assert_eq!(outbox.overtaken("other", 0).await.unwrap(), None);
    let strange = outbox.overtaken("third", 1).await.unwrap();
    assert_eq!(strange, Some(Overtaken { have: 1, newest: 13 }));
}

#[tokio::test]
async fn goes_on_as_a_new_sequence_when_the_operator_says_so() {
    let mut stand = stand(5).await;
    pool(&stand, 0).await;
    stand.ledger().ack("pool".into(), 5).await.unwrap();
    // Nothing to go on with: nothing changes.
    let rows = stand.rows();
    stand.ledger().resume_events().await.unwrap();
    assert_eq!(stand.rows(), rows);
    stand.reopen();
    let before = stand.ledger().identity().clone();
    assert!(pool(&stand, 9).await.is_some());
    stand.ledger().resume_events().await.unwrap();
    stand.reopen();
    let after = stand.ledger().identity().clone();
    assert_ne!(after.source_id, before.source_id);
    assert_eq!(after.pool_id, before.pool_id, "payments keep their names");
    let books = Books::open(&stand.settings.path).unwrap();
    assert_eq!(books.overtaken(), Ok(None));
    // The pool has none of that sequence, and nothing is pruned before it has.
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(0));
    assert_eq!(pool(&stand, 0).await, None);
    assert_eq!(stand.events().await.len(), 5);
    stand.ledger().ack("pool".into(), 5).await.unwrap();
    stand.assert_sound().await;
}

#[tokio::test]
async fn keeps_events_until_all_who_were_ever_to_be_told_have_acknowledged_them() {
    let mut stand = stand(5).await;
    // One that takes events, and never says that it has any; not even after a restart.
    assert_eq!(pool(&stand, 0).await, None);
    assert_eq!(stand.ledger().acked_by("pool".into()).await, Ok(0));
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(0));
    stand.reopen();
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(0));
    assert_eq!(stand.events().await.len(), 5);
    // What it acknowledges goes, and what is behind that stays; to be told anew changes nothing.
    stand.ledger().ack("pool".into(), 3).await.unwrap();
    assert_eq!(pool(&stand, 3).await, None);
    assert_eq!(stand.ledger().acked_by("pool".into()).await, Ok(3));
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(3));
    assert_eq!(stand.ledger().event_range().await, Ok((5, 4)));
    // A second one has what is left.
    let outbox = Outbox::new(stand.ledger().clone()).await.unwrap();
    assert_eq!(outbox.overtaken("other", 0).await.unwrap(), None);
    stand.ledger().ack("pool".into(), 5).await.unwrap();
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(0));
    stand.ledger().ack("other".into(), 4).await.unwrap();
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(1));
    assert_eq!(stand.ledger().event_range().await, Ok((5, 5)));
    stand.assert_sound().await;
}

#[tokio::test]
async fn keeps_events_for_a_sink_that_may_not_be_told_of_them_before_the_operator_has_looked() {
    let stand = stand(5).await;
    assert!(pool(&stand, 1).await.is_some(), "it was told of none here");
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(0));
    stand.ledger().resume_events().await.unwrap();
    assert_eq!(stand.ledger().prune(i64::MAX, i64::MAX, 100).await, Ok(0));
    assert_eq!(pool(&stand, 0).await, None);
    assert_eq!(stand.events().await.len(), 5);
    stand.assert_sound().await;
}
