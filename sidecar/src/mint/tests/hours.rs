//! What takes minutes and hours, with a clock that is set ahead.

use super::rig::{named, Rig, PLAN};
use super::*;
use crate::mint::dispatch::{Plan, UNSHOWN_MAX};
use crate::mint::fake::Faults;
use crate::mint::ledger::{self, CreditState, Ledger as _, QuoteState};
use crate::mint::Work;

const MINUTE_MS: i64 = 60_000;

/// Time passes, at the mint too, and then each task of the dispatcher looks once.
async fn look(rig: &Rig, passed_ms: i64) {
    rig.dispatcher.clock().pass(passed_ms);
    rig.mint().pass_ten_seconds();
    rig.dispatcher.look().await.unwrap();
}

/// Units of a credit, in order of the credits; `None`: not sealed.
fn credits(rig: &Rig) -> Vec<Option<u64>> {
    let books = ledger::Books::open(rig.ledger.path()).unwrap();
    let credits = (1..).map_while(|id| books.credit(id).unwrap());
    let units = |credit: ledger::Credit| match credit.state {
        CreditState::Open | CreditState::Closed => None,
        _ => Some(credit.amount),
    };
    credits.map(units).collect()
}

#[tokio::test]
async fn mq_10_credits_are_sealed_when_their_time_is_over_or_they_hold_enough() {
    let enough = Work(14 * PLAN.terms.unit_work.0);
    let plan = Plan { seal_ms: MINUTE_MS, seal_work: enough, ..PLAN };
    let mut rig = Rig::open_with("sealing", plan).await;
    rig.earn(None).await;
    for waited_ms in [0, MINUTE_MS / 2] {
        rig.dispatcher.clock().pass(waited_ms);
        rig.dispatcher.look().await.unwrap();
        assert_eq!(credits(&rig), [None]);
    }
    rig.dispatcher.clock().pass(MINUTE_MS / 2);
    rig.dispatcher.look().await.unwrap();
    assert_eq!(credits(&rig), [Some(7)], "its minute is over");
    rig.earn(None).await;
    rig.dispatcher.look().await.unwrap();
    assert_eq!(credits(&rig), [Some(7), None]);
    rig.earn(None).await;
    rig.dispatcher.look().await.unwrap();
    assert_eq!(credits(&rig), [Some(7), Some(14)], "it holds enough");
    rig.stop().await;
}

#[tokio::test]
async fn mq_4_an_hour_of_work_without_a_mint_is_paid_within_two_intervals_of_its_return() {
    let plan = Plan { seal_ms: MINUTE_MS, quote_payments: 256, ..PLAN };
    let mut rig = Rig::open_with("hour", plan).await;
    let (clock, dispatcher) = (Arc::clone(&rig.dispatcher), Arc::clone(&rig.dispatcher));
    let pass = |ms| clock.clock().pass(ms);
    soon(rig.mint().until(|seen| seen.streams == 1)).await;
    let (stop, stops) = tokio::sync::watch::channel(false);
    let hears = tokio::spawn(async move { dispatcher.hear_of_returns(stops).await });
    // Before: the mint has a quote, and what was earned so far.
    rig.earn(None).await;
    for _ in 0..2 {
        pass(MINUTE_MS);
        rig.dispatcher.look().await.unwrap();
    }
    rig.dispatcher.look().await.unwrap();
    assert_eq!(rig.account().await.unwrap().confirmed_amount, 7);
    let database = rig.mint_goes().await;
    for _ in 0..60 {
        rig.earn(None).await;
        pass(MINUTE_MS);
        rig.dispatcher.look().await.unwrap();
    }
    assert_eq!(credits(&rig), [Some(7); 61], "they wait, each for itself");
    assert_eq!(rig.account().await.unwrap().confirmed_amount, 7);
    assert!(!rig.dispatcher.may_call(), "nor is it asked all the time");
    rig.mint_comes(database).await;
    // What passes really is none of the time that counts.
    soon(rig.mint().until(|seen| seen.credited + seen.repeated >= 60)).await;
    rig.until(async || rig.dispatcher.may_call().then_some(())).await;
    let mut passed_ms = 0;
    while rig.account().await.unwrap().confirmed_amount < 61 * 7 {
        assert!(passed_ms <= 2 * MINUTE_MS, "not within two intervals");
        pass(1_000);
        passed_ms += 1_000;
        rig.dispatcher.look().await.unwrap();
    }
    assert_eq!(rig.mint().database().paid(), 61 * 7);
    assert!(rig.ledger.verify().await.unwrap().faults.is_empty());
    stop.send_replace(true);
    soon(hears).await.unwrap();
    rig.stop().await;
}

#[tokio::test]
async fn what_the_mint_has_got_back_under_another_key_stays_lost() {
    let mut rig = Rig::open_with("back", Plan { quote_payments: 256, ..PLAN }).await;
    // It has the payment, and doesn't show it.
    rig.mint().faults().refuse_checks = true;
    rig.earn(None).await;
    for _ in 0..3 {
        look(&rig, MINUTE_MS).await;
    }
    soon(rig.mint().until(|seen| seen.credited == 1)).await;
    let kept = rig.mint_goes().await;
    rig.mint_comes(Database::default()).await;
    look(&rig, MINUTE_MS).await;
    let path = rig.ledger.path().to_owned();
    let state = || ledger::Books::open(&path).unwrap().credit(1).unwrap().unwrap().state;
    assert_eq!(state(), CreditState::Lost);
    // A quote of that id, but whoever has the other key would be paid.
    let strange = kept.clone().locked_to(KEYS[1]);
    rig.mint_goes().await;
    rig.mint_comes(strange).await;
    for _ in 0..3 {
        look(&rig, MINUTE_MS).await;
    }
    assert!(rig.mint().seen().requests > 0);
    assert_eq!(state(), CreditState::Lost);
    rig.mint_goes().await;
    rig.mint_comes(kept).await;
    for _ in 0..3 {
        look(&rig, MINUTE_MS).await;
    }
    assert_eq!(state(), CreditState::Confirmed);
    rig.stop().await;
}

#[tokio::test]
async fn a_quote_whose_making_is_not_known_yet_is_looked_for_again_and_not_made_twice() {
    let mut rig = Rig::open_with("not-known", PLAN).await;
    rig.mint().faults().lose_answers = 1;
    rig.mint().faults().refuse_checks = true;
    rig.earn(None).await;
    for _ in 0..4 {
        look(&rig, MINUTE_MS).await;
    }
    let seen = rig.mint().seen();
    assert_eq!((seen.creates, seen.credited), (1, 0), "asked once, and for nothing else: {seen:?}");
    assert!(seen.requests >= 4, "it is asked whether it made it: {seen:?}");
    rig.mint().faults().refuse_checks = false;
    for _ in 0..2 {
        look(&rig, MINUTE_MS).await;
    }
    soon(rig.mint().until(|seen| seen.credited + seen.repeated >= 1)).await;
    look(&rig, MINUTE_MS).await;
    assert_eq!(rig.account().await.unwrap().confirmed_amount, 7);
    assert_eq!((rig.mint().database().quote_ids().len(), rig.mint().seen().creates), (1, 1));
    rig.stop().await;
}

#[tokio::test]
async fn mq_18_a_payment_that_is_none_of_ours_is_found_within_a_day_where_nothing_happens_any_more()
{
    let mut rig = Rig::open_with("idle", PLAN).await;
    // As many payments as a quote takes, all of them minted.
    for units in [7, 14] {
        rig.earn(None).await;
        rig.until(async || {
            look(&rig, MINUTE_MS).await;
            rig.account().await.filter(|books| books.confirmed_amount == units)
        })
        .await;
    }
    let id = rig.mint().database().quote_ids().remove(0);
    rig.mint().issue(&id, 14).await.unwrap();
    let name = rig.mint().database().quote(&id).unwrap().identifier.clone();
    let quote = async || rig.ledger.quote(name.clone()).await.unwrap().unwrap();
    let settled = rig
        .until(async || {
            look(&rig, 10 * MINUTE_MS).await;
            Some(quote().await).filter(|quote| quote.state == QuoteState::Settled)
        })
        .await;
    assert!(rig.mint().pay(&id, "none of ours", 5));
    look(&rig, 23 * 60 * MINUTE_MS).await;
    let path = rig.ledger.path().to_owned();
    let stopped = || ledger::Books::open(&path).unwrap().stopped().unwrap();
    assert_eq!(quote().await.last_read_ms, settled.last_read_ms);
    assert_eq!(stopped(), None, "a day is a day");
    look(&rig, 61 * MINUTE_MS).await;
    assert!(stopped().is_some_and(|reason| reason.contains("5 more")), "{:?}", stopped());
    // One that the mint has forgotten concerns nobody.
    rig.mint_goes().await;
    rig.mint_comes(Database::default()).await;
    look(&rig, 25 * 60 * MINUTE_MS).await;
    let quote = rig.ledger.quote(name).await.unwrap().unwrap();
    assert_eq!(quote.state, QuoteState::Settled);
    assert!(quote.last_read_ms > settled.last_read_ms + 24 * 60 * MINUTE_MS);
    rig.stop().await;
}

#[tokio::test]
async fn a_quote_that_the_mint_can_not_show_holds_up_others_for_minutes_and_not_for_its_life() {
    holds_up_others_for_minutes("unshown", PATIENCE, |faults, id| faults.hide = id).await;
}

#[tokio::test]
async fn a_quote_that_the_mint_never_gets_to_show_holds_up_others_for_minutes_as_well() {
    let timeout = Duration::from_millis(100);
    holds_up_others_for_minutes("hangs", timeout, |faults, id| faults.hang = id).await;
}

async fn holds_up_others_for_minutes(
    name: &str,
    timeout: Duration,
    fault: fn(&mut Faults, Option<String>),
) {
    let plan = Plan { quote_payments: 256, ..PLAN };
    let mut rig = Rig::open_patient(name, plan, timeout).await;
    rig.earn(None).await;
    rig.until(async || {
        look(&rig, MINUTE_MS).await;
        rig.account().await.filter(|books| books.confirmed_amount == 7)
    })
    .await;
    let id = rig.mint().database().quote_ids().remove(0);
    let name = rig.mint().database().quote(&id).unwrap().identifier.clone();
    let (_, others) = named(&rig.wallet_asks(1).await);
    fault(&mut rig.mint().faults(), Some(id.clone()));
    rig.earn(None).await;
    rig.earn(Some(others)).await;
    let state = async || rig.ledger.quote(name.clone()).await.unwrap().unwrap().state;
    for _ in 0..UNSHOWN_MAX - 1 {
        look(&rig, MINUTE_MS).await;
    }
    assert_eq!(state().await, QuoteState::Open, "for minutes it may be a passing fault");
    rig.until(async || {
        look(&rig, MINUTE_MS).await;
        (state().await == QuoteState::Closing).then_some(())
    })
    .await;
    // What comes now is paid elsewhere, though this one is still not shown.
    rig.earn(None).await;
    rig.until(async || {
        look(&rig, MINUTE_MS).await;
        let database = rig.mint().database();
        let ours = database.quote_ids().into_iter().filter(|other| {
            *other != id && database.quote(other).unwrap().pubkey.as_deref() == Some(KEYS[0])
        });
        (ours.map(|other| rig.paid(&other)).sum::<u64>() == 7).then_some(())
    })
    .await;
    fault(&mut rig.mint().faults(), None);
    rig.until(async || {
        look(&rig, MINUTE_MS).await;
        rig.account().await.filter(|books| books.confirmed_amount == 21)
    })
    .await;
    rig.stop().await;
}
