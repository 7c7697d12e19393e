//! What becomes of shares: each counts once, for the account it was mined for.

use super::*;
use crate::sys::unix_millis;

#[tokio::test]
async fn records_shares_and_their_work() {
    let mut stand = Stand::new();
    let outcomes = stand.record_all((1..=300).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Recorded));
    let books = stand.books("a", Some(key(1))).await;
    assert_eq!((books.shares, books.accrued), (300, worth(300)));
    assert_eq!(stand.assert_sound().await.shares, 300);
}

#[tokio::test]
async fn rejects_a_hash_that_is_there_already() {
    let mut stand = Stand::new();
    let first = share(1, "a", Some(key(1)));
    assert_eq!(stand.record(first.clone()).await, Outcome::Recorded);
    // Another submit, account, key, session, or door; also in one transaction with another share.
    let mut others = vec![first.clone(), first.clone(), first.clone(), first.clone()];
    others[0].source = Source::V2(Origin { session: [1; 16], submit: 2 });
    others[1].source = Source::V2(Origin { session: [2; 16], submit: 1 });
    others[2].identity = Bytes::from_static(b"b");
    others[2].source = Source::V2(Origin { session: [1; 16], submit: 3 });
    others[3].source = Source::V1;
    for reopened in [false, true] {
        if reopened {
            stand.reopen();
        }
        let outcomes = stand.record_all(others.clone()).await;
        assert_eq!(outcomes, [Outcome::Duplicate; 4]);
        let outcomes = stand.ledger().record_many(others.clone(), 1_000).await.unwrap();
        assert_eq!(outcomes, [Outcome::Duplicate; 4]);
    }
    let books = stand.books("a", Some(key(1))).await;
    assert_eq!((books.shares, books.accrued), (1, worth(1)));
    assert_eq!(stand.assert_sound().await.shares, 1);
}

#[tokio::test]
async fn rejects_a_hash_twice_in_one_transaction() {
    let mut stand = Stand::new();
    let mut second = share(1, "a", None);
    second.source = Source::V1;
    let shares = vec![share(1, "a", None), second.clone(), share(1, "a", None)];
    let outcomes = stand.record_all(shares).await;
    assert_eq!(outcomes, [Outcome::Recorded, Outcome::Duplicate, Outcome::Again]);
    // And of the pool's own door: only the first is recorded.
    second.hash = Hash([9; 32]);
    let outcomes = stand.ledger().record_many(vec![second.clone(), second], 1_000).await.unwrap();
    assert_eq!(outcomes, [Outcome::Recorded, Outcome::Duplicate]);
    assert_eq!(stand.books("a", None).await.accrued, worth(2));
}

#[tokio::test]
async fn knows_the_same_submit_again() {
    let mut stand = Stand::new();
    let first = share(1, "a", Some(key(1)));
    assert_eq!(stand.record(first.clone()).await, Outcome::Recorded);
    let rows = stand.rows();
    for _ in 0..3 {
        assert_eq!(stand.record(first.clone()).await, Outcome::Again);
        stand.reopen();
    }
    assert_eq!(stand.rows(), rows, "no second credit");
}

#[tokio::test]
async fn gives_nothing_to_who_opens_under_a_strangers_name() {
    let mut stand = Stand::new();
    let (own, thief) = (key(1), key(2));
    // Before, between and after the owner's shares, with a key, and without one.
    stand.record(share(1, "owner", Some(thief))).await;
    stand.record(share(2, "owner", Some(own))).await;
    stand.record(share(3, "owner", None)).await;
    stand.record(share(4, "owner", Some(thief))).await;
    stand.record(share(5, "owner", Some(own))).await;
    stand.record(share(6, "owner", None)).await;
    assert_eq!(stand.books("owner", Some(thief)).await.accrued, worth(2));
    assert_eq!(stand.books("owner", Some(own)).await.accrued, worth(2));
    assert_eq!(stand.books("owner", None).await.accrued, worth(2));
    // Nor when all is sealed: what the thief gets is what the thief has mined.
    stand.seal(5_000).await;
    let books = stand.books("owner", Some(thief)).await;
    assert_eq!((books.shares, books.pending_amount), (2, 1));
    let books = stand.books("owner", None).await;
    assert_eq!((books.accrued, books.pending_amount), (worth(2), 0), "unassigned is not sealed");
    assert_eq!(stand.assert_sound().await.accounts, 3);
}

#[tokio::test]
async fn releases_unassigned_work_only_to_the_key_that_the_pool_sets() {
    let mut stand = Stand::new();
    let owner = Bytes::from_static(b"owner");
    stand.record_all((1..=100).map(|n| share(n, "owner", None)).collect()).await;
    let claim = |key, claim| stand.ledger().set_payout(owner.clone(), key, claim, 2_000);
    // Without the claim only what comes later goes to the key.
    assert_eq!(claim(Some(key(1)), false).await, Ok(0));
    assert!(matches!(claim(None, true).await, Err(LedgerError::Refused(_))));
    let other = Bytes::from_static(b"other");
    assert_eq!(stand.ledger().set_payout(other, Some(key(9)), true, 2_000).await, Ok(0));
    assert_eq!(stand.books("owner", None).await.shares, 100);
    stand.record(share(101, "owner", None)).await;
    stand.record(share(102, "owner", Some(key(2)))).await;
    assert_eq!(stand.books("owner", Some(key(1))).await.accrued, worth(1));
    assert_eq!(stand.books("owner", Some(key(2))).await.accrued, worth(1));
    // With it, all of it.
    let claim = |key, claim| stand.ledger().set_payout(owner.clone(), key, claim, 3_000);
    assert_eq!(claim(Some(key(1)), true).await, Ok(100));
    assert_eq!(claim(Some(key(1)), true).await, Ok(0), "it is released once");
    assert_eq!(stand.books("owner", None).await.shares, 0);
    let books = stand.books("owner", Some(key(1))).await;
    assert_eq!((books.shares, books.accrued), (101, worth(101)));
    stand.seal(4_000).await;
    // 757.5 difficulties, two credits, in units of 10: nothing but the rest is left.
    let books = stand.books("owner", Some(key(1))).await;
    assert_eq!((books.pending_amount, books.accrued), (75, Work((7 << 32) + (1 << 31))));
    // No key from now on: back to unassigned.
    assert_eq!(stand.ledger().set_payout(owner.clone(), None, false, 5_000).await, Ok(0));
    stand.record(share(103, "owner", None)).await;
    assert_eq!(stand.books("owner", None).await.shares, 1);
    stand.assert_sound().await;
}

#[tokio::test]
async fn rejects_what_is_out_of_bounds_and_keeps_the_rest() {
    let mut stand = Stand::new();
    let mut shares: Vec<LedgerShare> = (1..=6).map(|n| share(n, "a", Some(key(1)))).collect();
    shares[1].identity = vec![b'x'; 256].into();
    shares[2].worker = vec![b'x'; 256].into();
    shares[3].identity = vec![0; 255].into();
    shares[4].identity = Bytes::new();
    let outcomes = stand.record_all(shares).await;
    let (kept, failed) = (Outcome::Recorded, Outcome::Failed);
    assert_eq!(outcomes, [kept, failed, failed, kept, kept, kept]);
    assert_eq!(stand.assert_sound().await.shares, 4);
}

#[tokio::test]
async fn fails_a_share_whose_sum_does_not_fit_and_no_other() {
    let mut stand = Stand::new();
    stand.record(share(1, "a", Some(key(1)))).await;
    let full = |turn: &mut super::super::turn::Turn<'_>| {
        let set = "UPDATE credit SET work = ?1";
        Ok(turn.conn.execute(set, [Work(u128::MAX - worth(1).0)])?)
    };
    assert_eq!(stand.ledger().call(full).await, Ok(1));
    let more = vec![share(2, "a", Some(key(1))), share(3, "a", Some(key(1))), share(4, "b", None)];
    let outcomes = stand.record_all(more).await;
    assert_eq!(outcomes, [Outcome::Recorded, Outcome::Failed, Outcome::Recorded]);
}

#[tokio::test]
async fn rejects_shares_when_there_is_no_room() {
    let stand = Stand::new();
    let settings =
        Settings { path: stand.folder.join("small.db"), max_shares: 4, ..stand.settings.clone() };
    // Outcomes are not taken: the writer stands with the first batch, and the queue fills.
    let (sender, mut outcomes) = mpsc::channel(1);
    let ledger = SqliteLedger::open(&settings, sender).unwrap();
    let mut taken = 0;
    while ledger.record(share(taken + 1, "a", None)) {
        taken += 1;
        assert!(taken < 10_000, "the queue has no end");
    }
    let mut kept = 0;
    while kept < taken {
        kept += outcomes.recv().await.unwrap().len() as u64;
    }
    assert!(ledger.record(share(taken + 1, "a", None)), "there is room again");
    drop(ledger);
    assert_eq!(outcomes.recv().await.unwrap().len(), 1, "what was taken is written first");
}

/// A pool such as goPool accepts what is 0.98 of the difficulty that it assigned, and for a while
/// what the one before asked for. It credits what it assigned.
#[tokio::test]
async fn mq_8_the_credit_of_the_pool_counts_and_not_the_luck_of_the_share() {
    let mut stand = Stand::new();
    // 15286.8 and 46340.95, as vardiff had them.
    let assigned = Difficulty { whole: 15_286, fraction: 3_435_973_836 };
    let before = Difficulty { whole: 46_340, fraction: 4_080_218_931 };
    // Zero bytes at the end are luck: just enough, by far enough, and a block.
    for (n, zeros, credit) in [(1, 0, assigned), (2, 6, assigned), (3, 12, before), (4, 9, before)]
    {
        let mut given = LedgerShare { credit, ..share(n, "a", Some(key(1))) };
        given.hash.0[32 - zeros..].fill(0);
        given.block_candidate = zeros > 8;
        assert_eq!(stand.record(given).await, Outcome::Recorded);
    }
    let sum = Work::from(assigned).checked_add(Work::from(assigned)).unwrap();
    let sum = sum.checked_add(Work::from(before)).unwrap().checked_add(Work::from(before)).unwrap();
    assert_eq!(sum, Work(((2 * 15_286 + 2 * 46_340) << 32) + 2 * (3_435_973_836 + 4_080_218_931)));
    assert_eq!(stand.books("a", Some(key(1))).await.accrued, sum);
    stand.assert_sound().await;
}

#[tokio::test]
async fn rejects_a_share_of_the_pools_own_door_that_may_have_been_recorded_and_deleted() {
    let mut stand = Stand::new();
    let at =
        |n, name, at_ms| LedgerShare { source: Source::V1, at_ms, ..share(n, name, key(1).into()) };
    let (paid, open) = (at(1, "a", 1_000), at(2, "b", 1_000));
    // Events stay, for somebody waits for them.
    stand.ledger().ack("pool".into(), 0).await.unwrap();
    stand.record(paid.clone()).await;
    assert_eq!(stand.ledger().close_due(NOW, 2_000).await, Ok(1));
    // Carried, which settles it too.
    let terms = Terms { unit_work: Work(1), min_amount: crate::mint::work::AMOUNT_MAX };
    let settled_ms = 5_000_000;
    assert_eq!(stand.ledger().seal(terms, 10, settled_ms).await.unwrap().carried, 1);
    stand.record(open.clone()).await;
    assert_eq!(stand.ledger().prune(settled_ms - 1, i64::MAX, 100).await, Ok(0));
    let known = stand.ledger().record_many(vec![paid.clone(), open.clone()], 1_000).await;
    assert_eq!(known, Ok(vec![Outcome::Duplicate; 2]));
    assert_eq!(stand.ledger().prune(settled_ms, i64::MAX, 100).await, Ok(1));
    let young = at(3, "a", settled_ms + POOL_CLOCK_MS + 1);
    for again in [
        vec![paid.clone()],
        vec![young.clone(), paid],
        vec![at(3, "a", settled_ms + POOL_CLOCK_MS)],
    ] {
        let told = stand.ledger().record_many(again, 1_000).await;
        assert!(matches!(told, Err(LedgerError::Refused(_))), "{told:?}");
        stand.reopen();
    }
    assert_eq!(stand.books("a", Some(key(1))).await.shares, 1, "none of them");
    // What is still there is known, however old; and what is young was never forgotten.
    let told = stand.ledger().record_many(vec![open, young], 1_000).await;
    assert_eq!(told, Ok(vec![Outcome::Duplicate, Outcome::Recorded]));
    stand.assert_sound().await;
}

#[tokio::test]
async fn old_shares_of_the_pools_own_door_begin_a_credit_when_they_come() {
    let stand = Stand::new();
    let old = LedgerShare { source: Source::V1, ..share(1, "a", Some(key(1))) };
    stand.ledger().record_many(vec![old], 9_000_000).await.unwrap();
    let due = |opened_by_ms| Due { opened_by_ms, work_from: Work(u128::MAX) };
    // Else they would be a credit of their own in each second in which some come.
    assert_eq!(stand.ledger().close_due(due(8_999_999), 9_000_000).await, Ok(0));
    assert_eq!(stand.ledger().close_due(due(9_000_000), 9_000_000).await, Ok(1));
    stand.assert_sound().await;
}

#[tokio::test]
async fn knows_at_once_and_after_a_restart_for_whom_the_pool_has_set_a_key() {
    let mut stand = Stand::new();
    let (alice, bob) = (Bytes::from_static(b"alice"), Bytes::from_static(b"bob"));
    assert!(!stand.ledger().has_payout(&alice));
    stand.ledger().set_payout(alice.clone(), Some(key(1)), false, 1).await.unwrap();
    for _ in 0..2 {
        assert!(stand.ledger().has_payout(&alice) && !stand.ledger().has_payout(&bob));
        stand.reopen();
    }
    stand.ledger().set_payout(alice.clone(), None, false, 2).await.unwrap();
    for _ in 0..2 {
        assert!(!stand.ledger().has_payout(&alice));
        stand.reopen();
    }
    // Two at once may be heard of the other way round.
    for (order, some) in [(7, true), (6, false)] {
        stand.ledger().payout_set(bob.clone(), some, order);
        assert!(stand.ledger().has_payout(&bob));
    }
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_has_deleted_bars_no_share_of_after_the_next_start() {
    let mut stand = Stand::new();
    let ahead = unix_millis() + 400 * 86_400_000;
    stand.ledger().ack("pool".into(), 0).await.unwrap();
    let at = |n, at_ms| LedgerShare { source: Source::V1, at_ms, ..share(n, "a", key(1).into()) };
    stand.ledger().record_many(vec![at(1, ahead)], ahead).await.unwrap();
    assert_eq!(stand.ledger().close_due(NOW, ahead).await, Ok(1));
    let terms = Terms { unit_work: Work(1), min_amount: crate::mint::work::AMOUNT_MAX };
    assert_eq!(stand.ledger().seal(terms, 10, ahead).await.unwrap().carried, 1);
    assert_eq!(stand.ledger().prune(ahead, ahead, 100).await, Ok(1));
    let later = unix_millis() + 60_000;
    assert!(stand.ledger().record_many(vec![at(2, later)], later).await.is_err());
    stand.reopen();
    assert_eq!(
        stand.ledger().record_many(vec![at(2, later)], later).await,
        Ok(vec![Outcome::Recorded])
    );
    // A clock that is behind at another start takes nothing of it away.
    let kept = "SELECT value FROM meta WHERE key = 'forgotten_ms'";
    let file = rusqlite::Connection::open(&stand.settings.path).unwrap();
    assert_eq!(file.query_row(kept, [], |row| row.get(0)), Ok(ahead));
    assert!(stand.ledger().record_many(vec![at(3, 1_000)], later).await.is_err());
}

#[tokio::test]
async fn rejects_a_claim_of_work_that_the_operator_holds_back() {
    let mut stand = Stand::new();
    stand.record(share(1, "a", None)).await;
    let account = stand.books("a", None).await.id;
    stand.ledger().freeze_account(account, true).await.unwrap();
    let claim = || stand.ledger().set_payout(Bytes::from_static(b"a"), Some(key(1)), true, 2);
    assert!(matches!(claim().await, Err(LedgerError::Refused(_))));
    assert!(!stand.ledger().has_payout(&Bytes::from_static(b"a")));
    assert_eq!(stand.books("a", None).await.accrued, worth(1));
    stand.ledger().freeze_account(account, false).await.unwrap();
    assert_eq!(claim().await, Ok(1));
    stand.assert_sound().await;
}
