//! Quotes that wallets make by themselves, from the mint's question to the payment: the real
//! ledger, processor and dispatcher, and a mint that behaves as stock ones were seen to.

use super::rig::{named, Rig, PLAN};
use super::*;
use crate::mint::ledger::{self, Ledger as _, UNUSED_MS};
use crate::mint::processor::{Asker, Deposits as _, Refused, Wish};
use crate::sys::unix_millis;
use crate::types::QuoteRef;

#[tokio::test]
async fn pays_on_the_wallets_own_quote_until_it_is_full_and_then_on_one_of_the_pools() {
    let mut rig = Rig::start("wallets-own").await;
    let made = rig.wallet_asks(0).await;
    let (id, quote) = named(&made);
    assert_eq!(rig.ledger.wallet_quote(quote).await, Ok(Some(key(0))));
    // Valid for as long as it may be paid, and a month more.
    let valid_ms = made["expiry"].as_i64().unwrap() * 1_000 - unix_millis();
    assert!(valid_ms > UNUSED_MS + PLAN.quote_life_ms + 29 * 86_400_000, "{valid_ms}");
    // Somebody else's, which nobody names, changes nothing.
    rig.wallet_asks(0).await;
    for credits in 1..=2 {
        rig.earn(Some(quote)).await;
        rig.confirmed(7 * credits).await;
        assert_eq!(rig.paid(&id), 7 * credits);
    }
    rig.earn(Some(quote)).await;
    rig.confirmed(21).await;
    assert_eq!((rig.paid(&id), rig.mint().database().paid()), (14, 21));
    assert_eq!(rig.mint().database().quote_ids().len(), 3);
    rig.stop().await;
}

#[tokio::test]
async fn survives_a_quote_that_the_mint_asked_about_and_never_made() {
    let mut rig = Rig::start("never-made").await;
    let wish =
        |id: &str| Wish { quote_id: id.to_owned(), payout_key: key(0), asker: Asker::Wallet };
    let created = rig.deposits.create(wish("no-such-quote")).await.unwrap();
    assert_eq!(created.request, format!("ehash:{}", created.identifier));
    // The same id again would be another quote at the same place.
    let again = rig.deposits.create(wish("no-such-quote")).await;
    assert_eq!(again.unwrap_err(), Refused::Taken);
    let quote = QuoteRef::from_text(created.identifier.as_bytes()).unwrap();
    rig.earn(Some(quote)).await;
    rig.confirmed(7).await;
    let ids = rig.mint().database().quote_ids();
    assert_eq!((ids.len(), rig.paid(&ids[0])), (1, 7));
    rig.stop().await;
}

#[tokio::test]
async fn survives_the_loss_of_the_mints_database_with_the_wallets_quote_in_it() {
    let mut rig = Rig::start("lost-database").await;
    let (id, quote) = named(&rig.wallet_asks(0).await);
    rig.earn(Some(quote)).await;
    rig.confirmed(7).await;
    assert_eq!(rig.paid(&id), 7);
    // Another mint in its place, which knows nothing, on the same port.
    drop(rig.mint_goes().await);
    rig.mint_comes(Database::default()).await;
    rig.earn(Some(quote)).await;
    let lost = soon(async {
        loop {
            let lost = rig.ledger.quote(quote.to_string()).await.unwrap().unwrap();
            if lost.state == ledger::QuoteState::Lost {
                return ledger::Books::open(rig.ledger.path()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for stuck in lost.stuck(i64::MAX, 10).unwrap() {
        if stuck.credit.state == ledger::CreditState::Lost {
            rig.ledger.requeue(stuck.credit.id).await.unwrap();
        }
    }
    rig.confirmed(14).await;
    assert!(rig.mint().database().quote(&id).is_none());
    rig.stop().await;
}

#[tokio::test]
async fn a_quote_that_was_paid_before_anything_was_sent_on_it_stops_all_sending() {
    let mut rig = Rig::start("paid-before").await;
    let (id, quote) = named(&rig.wallet_asks(0).await);
    // As a ledger did of which this one is an old copy.
    assert!(rig.mint().pay(&id, "gp1c:another", 5));
    rig.earn(Some(quote)).await;
    soon(async {
        while rig.ledger.quote(quote.to_string()).await.unwrap().unwrap().paid_seen != 5 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let books = ledger::Books::open(rig.ledger.path()).unwrap();
    assert!(books.stopped().unwrap().unwrap().contains("nothing was sent yet"));
    assert_eq!((rig.paid(&id), rig.mint().seen().credited), (5, 0));
    rig.ledger.resume_sending().await.unwrap();
    rig.confirmed(7).await;
    assert_eq!(rig.paid(&id), 12);
    rig.stop().await;
}
