//! From shares to a confirmed credit.

use super::*;
use v1::event::Event;

#[tokio::test]
async fn seals_credits_and_carries_the_rest() {
    let mut stand = Stand::new();
    let mine = Some(key(1));
    // 7.5 in units of 10: too little.
    stand.record(share(1, "a", mine)).await;
    assert_eq!(stand.seal(2_000).await, Sealing { sealed: 0, carried: 1 });
    let first = stand.credit(1).await;
    assert_eq!((first.state, first.payment_id), (CreditState::Carried, None));
    // 15 with the carry: one, and 5 are left.
    stand.record(share(2, "a", mine)).await;
    assert_eq!(stand.seal(3_000).await, Sealing { sealed: 1, carried: 0 });
    let second = stand.credit(2).await;
    assert_eq!((second.state, second.amount), (CreditState::Sealed, 1));
    let books = stand.books("a", mine).await;
    assert_eq!((books.accrued, books.pending_amount), (Work(5 << 32), 1));
    // A least amount of 3: 5 + 22.5 are 2 units, so all is carried; with 7.5 more there are 3.
    let terms = Terms { min_amount: 3, ..TERMS };
    stand.record_all((3..=5).map(|n| share(n, "a", mine)).collect()).await;
    stand.ledger().close_due(NOW, 4_000).await.unwrap();
    let done = stand.ledger().seal(terms, 10, 4_000).await.unwrap();
    assert_eq!(done, Sealing { sealed: 0, carried: 1 });
    stand.record(share(6, "a", mine)).await;
    stand.ledger().close_due(NOW, 5_000).await.unwrap();
    let done = stand.ledger().seal(terms, 10, 5_000).await.unwrap();
    assert_eq!(done, Sealing { sealed: 1, carried: 0 });
    assert_eq!(stand.credit(4).await.amount, 3);
    assert_eq!(stand.books("a", mine).await.accrued, Work(5 << 32));
    assert_eq!(stand.assert_sound().await.credits, 4);
}

#[tokio::test]
async fn closes_what_is_due_and_only_that() {
    let mut stand = Stand::new();
    let at = |n, identity, at_ms| LedgerShare { at_ms, ..share(n, identity, Some(key(1))) };
    stand.record_all(vec![at(1, "old", 1_000), at(2, "new", 2_000), at(3, "big", 3_000)]).await;
    stand.record(at(4, "big", 3_000)).await;
    stand.record(LedgerShare { at_ms: 1, ..share(5, "nobody", None) }).await;
    let due = Due { opened_by_ms: 1_000, work_from: worth(2) };
    assert_eq!(stand.ledger().close_due(due, 4_000).await, Ok(2));
    assert_eq!(stand.ledger().close_due(due, 4_000).await, Ok(0));
    // A frozen account is not closed until it goes on.
    let new = stand.books("new", Some(key(1))).await;
    stand.ledger().freeze_account(new.id, true).await.unwrap();
    assert_eq!(stand.ledger().close_due(NOW, 4_000).await, Ok(0));
    stand.record(at(6, "new", 5_000)).await;
    let frozen = stand.books("new", Some(key(1))).await;
    assert_eq!((frozen.frozen, frozen.shares, frozen.accrued), (true, 2, worth(2)));
    stand.ledger().freeze_account(new.id, false).await.unwrap();
    assert_eq!(stand.ledger().close_due(NOW, 4_000).await, Ok(1));
    // A share that comes after opens the next credit.
    stand.record(at(7, "new", 6_000)).await;
    assert_eq!(stand.credit(5).await.state, CreditState::Open);
    assert_eq!(stand.assert_sound().await.shares, 7);
}

#[tokio::test]
async fn carries_what_is_beyond_the_largest_amount() {
    let mut stand = Stand::new();
    let mine = Some(key(1));
    let huge = Difficulty { whole: u64::MAX, fraction: u32::MAX };
    stand.record(LedgerShare { credit: huge, ..share(1, "a", mine) }).await;
    stand.ledger().close_due(NOW, 2_000).await.unwrap();
    let terms = Terms { unit_work: Work(1), min_amount: 1 };
    assert_eq!(stand.ledger().seal(terms, 10, 2_000).await.unwrap().sealed, 1);
    assert_eq!(stand.credit(1).await.amount, crate::mint::work::AMOUNT_MAX);
    let books = stand.books("a", mine).await;
    assert_eq!(books.accrued, Work((1 << 96) - 1 - (1 << 62)));
    stand.assert_sound().await;
    for terms in [
        Terms { unit_work: Work::ZERO, min_amount: 1 },
        Terms { unit_work: Work(1), min_amount: (1 << 62) + 1 },
    ] {
        stand.record(share(u64::from(terms.unit_work == Work(1)) + 2, "a", mine)).await;
        stand.ledger().close_due(NOW, 3_000).await.unwrap();
        let refused = stand.ledger().seal(terms, 10, 3_000).await;
        assert!(matches!(refused, Err(LedgerError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn confirms_only_what_the_mint_shows() {
    let mut stand = Stand::new();
    let mine = Some(key(1));
    for round in 0..3 {
        let shares = (1..=8).map(|n| share(round * 10 + n, "a", mine)).collect();
        stand.record_all(shares).await;
        stand.seal(2_000).await;
    }
    let account = stand.books("a", mine).await.id;
    let needs = stand.ledger().due_quotes(0, 10).await.unwrap();
    assert_eq!(needs, [QuoteNeed::Missing { account_id: account, payout_key: key(1) }]);
    let sent = stand.send(account, "q").await;
    assert_eq!(sent.iter().map(|owed| owed.amount).collect::<Vec<_>>(), [6, 6, 6]);
    assert!(stand.ledger().due_credits(0, 10).await.unwrap().is_empty());
    assert_eq!(stand.ledger().unconfirmed(0, 10).await.unwrap().len(), 3);
    let all = stand.ledger().unconfirmed(0, 10).await.unwrap();
    let after = stand.ledger().unconfirmed(all[0].place, 10).await.unwrap();
    assert_eq!(after, all[1..]);
    assert_eq!(stand.ledger().unread_quotes(0, 10).await.unwrap().len(), 1);

    let confirm = |paid, issued| stand.ledger().confirm("q".into(), paid, issued, 5_000);
    for paid in [0, 6, 12, 17] {
        assert_eq!(confirm(paid, 0).await, Ok(Reading::Behind { missing: 18 - paid }));
        assert_eq!(stand.books("a", mine).await.confirmed_amount, 0);
    }
    assert_eq!(confirm(18, 0).await, Ok(Reading::Even(3)));
    let books = stand.books("a", mine).await;
    assert_eq!((books.confirmed_amount, books.pending_amount), (18, 0));
    assert_eq!(stand.ledger().payments_of("q".into()).await.unwrap().len(), 3);
    assert!(stand.ledger().unconfirmed(0, 10).await.unwrap().is_empty());
    // A mint that was restored shows less again: told, and nothing is taken back.
    assert_eq!(confirm(12, 0).await, Ok(Reading::Behind { missing: 6 }));
    assert_eq!(stand.books("a", mine).await.confirmed_amount, 18);
    // The quote is settled when it takes no more and all is minted.
    confirm(18, 7).await.unwrap();
    assert_eq!(stand.ledger().rotate(3, 0).await, Ok(1));
    let quote = stand.ledger().quote("q".into()).await.unwrap().unwrap();
    assert_eq!((quote.state, quote.payments), (QuoteState::Closing, 3));
    confirm(18, 18).await.unwrap();
    let quote = stand.ledger().quote("q".into()).await.unwrap().unwrap();
    assert_eq!(quote.state, QuoteState::Settled);
    let books = stand.books("a", mine).await;
    assert_eq!((books.issued_amount, books.quote_requests), (18, vec!["ehash:q".to_owned()]));
    stand.assert_sound().await;
}

#[tokio::test]
async fn stops_all_sending_when_a_mint_shows_too_much() {
    let mut stand = Stand::new();
    stand.record_all((1..=8).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    stand.record_all((11..=18).map(|n| share(n, "b", Some(key(2)))).collect()).await;
    stand.seal(2_000).await;
    let a = stand.books("a", Some(key(1))).await.id;
    let b = stand.books("b", Some(key(2))).await.id;
    stand.send(a, "qa").await;
    stand.open_quote(b, "qb").await;
    stand.ledger().assign(256, 3).await.unwrap();
    assert_eq!(stand.ledger().due_credits(0, 10).await.unwrap().len(), 1);
    let reading = stand.ledger().confirm("qa".into(), 7, 0, 5_000).await;
    assert_eq!(reading, Ok(Reading::Surplus { extra: 1 }));
    stand.reopen();
    let books = Books::open(&stand.settings.path).unwrap();
    assert!(books.stopped().unwrap().unwrap().contains("1 more"));
    assert!(stand.ledger().due_credits(0, 10).await.unwrap().is_empty());
    assert!(stand.ledger().unconfirmed(0, 10).await.unwrap().is_empty());
    assert!(stand.ledger().mark_sent(vec![2], 6_000).await.is_err());
    assert_eq!(stand.books("a", Some(key(1))).await.confirmed_amount, 0);
    let failures = |events: Vec<Event>| {
        events.iter().filter(|event| matches!(event, Event::MintFailed(_))).count()
    };
    assert_eq!(failures(stand.events().await), 1);
    stand.ledger().resume_sending().await.unwrap();
    assert!(stand.ledger().due_credits(0, 10).await.unwrap().is_empty(), "not looked at yet");
    // What is known does not stop it again, and does not stand for what was sent.
    assert_eq!(books.known_surplus("qa"), Ok(1));
    let short = stand.ledger().confirm("qa".into(), 6, 0, 7_000).await;
    assert_eq!(short, Ok(Reading::Behind { missing: 1 }));
    assert_eq!(stand.ledger().confirm("qb".into(), 0, 0, 6_500).await, Ok(Reading::Even(0)));
    assert_eq!(stand.ledger().due_credits(0, 10).await.unwrap().len(), 1);
    let more = stand.ledger().confirm("qa".into(), 8, 0, 7_500).await;
    assert_eq!(more, Ok(Reading::Surplus { extra: 1 }));
    stand.ledger().resume_sending().await.unwrap();
    let even = stand.ledger().confirm("qa".into(), 8, 0, 8_000).await;
    assert_eq!((even, books.stopped()), (Ok(Reading::Even(1)), Ok(None)));
    assert_eq!(stand.books("a", Some(key(1))).await.confirmed_amount, 6);
    let sums = QuoteSums { sent: 6, confirmed: 6, lost: 0 };
    assert_eq!((books.known_surplus("qa"), books.sums_of("qa")), (Ok(2), Ok(sums)));
    assert_eq!(books.sums_of("qb"), Ok(QuoteSums::default()));
    let quotes = books.quotes("", 10).unwrap();
    assert!(quotes.iter().map(|quote| quote.quote_ref.as_str()).eq(["qa", "qb"]));
    stand.assert_sound().await;
}

#[tokio::test]
async fn holds_back_what_is_frozen_and_goes_on_from_there() {
    let mut stand = Stand::new();
    let mine = Some(key(1));
    for round in 0..2 {
        stand.record_all((1..=8).map(|n| share(round * 10 + n, "a", mine)).collect()).await;
        stand.seal(2_000).await;
    }
    let account = stand.books("a", mine).await.id;
    stand.send(account, "q").await;
    let ledger = stand.ledger();
    ledger.freeze_credit(1).await.unwrap();
    assert_eq!(ledger.unconfirmed(0, 10).await.unwrap().len(), 1);
    assert_eq!(ledger.payments_of("q".into()).await.unwrap().len(), 1);
    // It was sent: what the mint shows may be its amount and not the other's.
    let reading = ledger.confirm("q".into(), 6, 0, 4_000).await;
    assert_eq!(reading, Ok(Reading::Behind { missing: 6 }));
    assert_eq!(ledger.confirm("q".into(), 12, 0, 4_000).await, Ok(Reading::Even(1)));
    assert_eq!(stand.credit(1).await.state, CreditState::Frozen);
    ledger.unfreeze_credit(1).await.unwrap();
    assert_eq!(stand.credit(1).await.state, CreditState::Sent);
    assert_eq!(ledger.confirm("q".into(), 12, 0, 4_000).await, Ok(Reading::Even(1)));
    assert_eq!(stand.books("a", mine).await.confirmed_amount, 12);
    // Frozen while its quote is lost: wakes up as lost.
    stand.record_all((31..=38).map(|n| share(n, "a", mine)).collect()).await;
    stand.seal(5_000).await;
    stand.ledger().rotate(1, 0).await.unwrap();
    stand.send(account, "r").await;
    stand.ledger().freeze_credit(3).await.unwrap();
    assert_eq!(stand.ledger().quote_lost("r".into(), "gone".into(), 6_000).await, Ok(1));
    stand.ledger().unfreeze_credit(3).await.unwrap();
    assert_eq!(stand.credit(3).await.state, CreditState::Lost);
    let stuck = Books::open(&stand.settings.path).unwrap().stuck(9_000, 10).unwrap();
    assert_eq!(stuck.iter().map(|stuck| stuck.credit.id).collect::<Vec<_>>(), [3]);
    stand.assert_sound().await;
}

#[tokio::test]
async fn waits_before_it_tries_again() {
    let mut stand = Stand::new();
    stand.record_all((1..=8).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    stand.seal(2_000).await;
    let account = stand.books("a", Some(key(1))).await.id;
    let ledger = stand.ledger();
    ledger.new_quote(account, "q".into(), "ehash:q".into(), 1).await.unwrap();
    ledger.quote_creating("q".into()).await.unwrap();
    ledger.set_candidate("q".into(), "c1".into()).await.unwrap();
    ledger.quote_again("q".into(), 9_000, "refused".into(), 3_000).await.unwrap();
    assert!(ledger.due_quotes(8_999, 10).await.unwrap().is_empty());
    let due = ledger.due_quotes(9_000, 10).await.unwrap();
    match &due[..] {
        [QuoteNeed::Unfinished(quote)] => {
            let seen = (quote.state, quote.attempts, quote.candidate_quote_id.as_deref());
            assert_eq!(seen, (QuoteState::New, 1, None), "the candidate is forgotten");
        }
        other => panic!("{other:?}"),
    }
    ledger.quote_creating("q".into()).await.unwrap();
    ledger.quote_opened("q".into(), "c2".into(), 0, 9_000).await.unwrap();
    ledger.assign(256, 3).await.unwrap();
    ledger.defer(1, 20_000, "mint away".into(), 9_000).await.unwrap();
    assert!(ledger.due_credits(19_999, 10).await.unwrap().is_empty());
    let due = ledger.due_credits(20_000, 10).await.unwrap();
    assert_eq!((due[0].attempts, due[0].quote_id.as_str()), (1, "c2"));
    assert_eq!(stand.credit(1).await.last_error.as_deref(), Some("mint away"));
}

#[tokio::test]
async fn tells_every_step_once_and_in_order() {
    let mut stand = Stand::new();
    let mine = Some(key(1));
    // A minute of shares, one each second: accrued is told every ten, and the rest at the close.
    for n in 0..60 {
        let at_ms = 1_000 + 1_000 * n as i64;
        stand.record(LedgerShare { at_ms, ..share(n, "a", mine) }).await;
    }
    stand.seal(61_000).await;
    let account = stand.books("a", mine).await.id;
    stand.send(account, "q").await;
    stand.ledger().confirm("q".into(), 45, 40, 5_000).await.unwrap();
    stand.reopen();
    let events = stand.events().await;
    let mut shares = 0;
    let mut told = Vec::new();
    for event in &events {
        match event {
            Event::MintAccrued(accrued) => {
                assert_eq!(&accrued.payout_key[..], key(1).as_bytes());
                shares += accrued.shares;
            }
            Event::MintSealed(sealed) => {
                assert_eq!((sealed.amount, sealed.shares, sealed.credit_id), (45, 60, 1));
                let root = stand.credit(1).await.share_root.unwrap();
                assert_eq!(&sealed.share_root[..], root);
                told.push("sealed");
            }
            Event::MintQuoteOpened(opened) => {
                assert_eq!(opened.quote_request, "ehash:q");
                told.push("opened");
            }
            Event::MintSent(_) => told.push("sent"),
            Event::MintConfirmed(confirmed) => {
                assert_eq!((confirmed.amount, confirmed.quote_request.as_str()), (45, "ehash:q"));
                told.push("confirmed");
            }
            Event::MintIssued(issued) => {
                assert_eq!(issued.issued_amount, 40);
                told.push("issued");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shares, 60);
    assert_eq!(told, ["sealed", "opened", "sent", "issued", "confirmed"]);
    assert_eq!(events.len() - told.len(), 6, "accrued is told seldom, not with each share");
}

#[tokio::test]
async fn prunes_what_is_final_and_nothing_else() {
    let mut stand = Stand::new();
    let mine = Some(key(1));
    stand.record_all((1..=8).map(|n| share(n, "a", mine)).collect()).await;
    stand.seal(2_000).await;
    let account = stand.books("a", mine).await.id;
    stand.send(account, "q").await;
    let prune = |by_ms| stand.ledger().prune(by_ms, i64::MAX, 5);
    assert_eq!(stand.assert_sound().await.shares, 8);
    // Not confirmed yet; and no consumer has the events.
    stand.ledger().ack("pool".into(), 0).await.unwrap();
    assert_eq!(prune(i64::MAX).await, Ok(0));
    stand.ledger().confirm("q".into(), 6, 0, 5_000).await.unwrap();
    assert_eq!(prune(4_999).await, Ok(0));
    // In small steps.
    assert_eq!((prune(5_000).await, prune(5_000).await, prune(5_000).await), (Ok(5), Ok(3), Ok(0)));
    let audit = stand.assert_sound().await;
    assert_eq!((audit.shares, audit.credits), (0, 1), "the root stays");
    let last = stand.events().await.len() as u64;
    assert!(stand.ledger().ack("pool".into(), last + 1).await.is_err(), "not written yet");
    stand.ledger().ack("pool".into(), last).await.unwrap();
    stand.ledger().ack("stats".into(), 2).await.unwrap();
    assert_eq!(prune(i64::MAX).await, Ok(2), "every consumer has to have them");
    let books = Books::open(&stand.settings.path).unwrap();
    assert_eq!(books.event_range(), Ok((last, 3)));
    stand.assert_sound().await;
}

#[tokio::test]
async fn prunes_events_from_the_front_only() {
    let mut stand = Stand::new();
    // The pool's own door brings late news: the times of these events are 9, 4 and 8 seconds.
    for (n, at_ms) in [(1, 9_000), (2, 4_000), (3, 8_000)] {
        stand.record(share(n, &n.to_string(), Some(key(1)))).await;
        stand.ledger().close_due(NOW, at_ms).await.unwrap();
    }
    assert_eq!(stand.events().await.len(), 3);
    assert_eq!(stand.ledger().prune(5_000, i64::MAX, 10).await, Ok(0), "a younger one is in front");
    assert_eq!(stand.events().await.len(), 3);
    assert_eq!(stand.ledger().prune(9_000, i64::MAX, 10).await, Ok(0));
    assert_eq!(stand.ledger().prune(9_001, i64::MAX, 2).await, Ok(2));
    assert_eq!(stand.events().await.len(), 1);
    stand.assert_sound().await;
}

#[tokio::test]
async fn exports_what_it_has() {
    let mut stand = Stand::new();
    stand.record_all((1..=5).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    stand.record_all((11..=12).map(|n| share(n, "b", None)).collect()).await;
    let books = Books::open(&stand.settings.path).unwrap();
    let mut rows = Vec::new();
    books
        .export(|row| {
            rows.push(match row {
                Export::Account(account) => format!("account {:?}", account.identity),
                Export::Credit(credit) => format!("credit {}", credit.shares),
                Export::Share { work, .. } => {
                    assert_eq!(work, worth(1));
                    "share".to_owned()
                }
            });
            true
        })
        .unwrap();
    let want = ["account b\"a\"", "credit 5", "share", "share", "share", "share", "share"];
    assert_eq!(rows[..7], want);
    assert_eq!(rows[7..], ["account b\"b\"", "credit 2", "share", "share"]);
    let mut taken = 0;
    books
        .export(|_| {
            taken += 1;
            taken < 3
        })
        .unwrap();
    assert_eq!(taken, 3);
}

#[tokio::test]
async fn what_was_sent_later_comes_later_whatever_its_number() {
    let mut stand = Stand::new();
    stand.record(share(1, "a", Some(key(1)))).await;
    stand.record(share(2, "a", Some(key(1)))).await;
    stand.record(share(3, "b", Some(key(2)))).await;
    stand.record(share(4, "b", Some(key(2)))).await;
    assert_eq!(stand.seal(1).await.sealed, 2);
    for (identity, n) in [("a", 1), ("b", 2)] {
        let account = stand.books(identity, Some(key(n))).await.id;
        stand.open_quote(account, identity).await;
    }
    let ledger = stand.ledger();
    ledger.assign(256, 3).await.unwrap();
    let due = ledger.due_credits(0, 10).await.unwrap();
    let (first, second) = (due[0].credit_id, due[1].credit_id);
    assert!(first < second);
    ledger.mark_sent(vec![second], 3).await.unwrap();
    let seen = ledger.unconfirmed(0, 10).await.unwrap();
    assert_eq!(seen.iter().map(|owed| owed.credit_id).collect::<Vec<_>>(), [second]);
    // Who has read so far goes on from there, and misses nothing.
    ledger.mark_sent(vec![first], 4).await.unwrap();
    let more = ledger.unconfirmed(seen[0].place, 10).await.unwrap();
    assert_eq!(more.iter().map(|owed| owed.credit_id).collect::<Vec<_>>(), [first]);
}

#[tokio::test]
async fn prunes_events_of_a_time_to_come_with_what_is_old() {
    let mut stand = Stand::new();
    let (ahead, now) = (50_000_000, 2_000_000);
    stand.record(share(1, "a", Some(key(1)))).await;
    stand.seal(ahead).await;
    let last = stand.ledger().event_range().await.unwrap().0;
    stand.ledger().ack("pool".into(), last).await.unwrap();
    let prune = |now_ms| stand.ledger().prune(now - 1_000, now_ms, 100);
    assert_eq!(prune(ahead - 1_000).await, Ok(0), "clocks differ a little");
    assert_eq!(prune(now).await, Ok(last), "nobody waits for that time");
    stand.assert_sound().await;
}
