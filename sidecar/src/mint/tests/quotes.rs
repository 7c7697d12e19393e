//! What can go wrong while a quote of the pool's is made, rotated and read: each ends with
//! everything paid once, on a quote that is ours.

use super::rig::Rig;
use super::*;
use crate::mint::ledger::{self, CreditState, Ledger as _, Quote, QuoteNeed, QuoteState};
use crate::sys::unix_millis;

impl Rig {
    /// A quote that is in the mint's database, as the ledger has it.
    async fn known(&self, id: &str) -> Quote {
        let name = self.mint().database().quote(id).unwrap().identifier.clone();
        self.ledger.quote(name).await.unwrap().unwrap()
    }

    /// The quote that is to be asked for, or asked for again, once it was tried so often.
    async fn unfinished(&self, attempts: u32) -> Quote {
        self.until(async || {
            let needs = self.ledger.due_quotes(i64::MAX, 10).await.unwrap();
            needs.into_iter().find_map(|need| match need {
                QuoteNeed::Unfinished(quote) if quote.attempts >= attempts => Some(quote),
                _ => None,
            })
        })
        .await
    }
}

#[tokio::test]
async fn mq_4_a_mint_that_was_long_away_is_called_as_soon_as_it_listens() {
    let mut rig = Rig::start("long-away").await;
    let database = rig.mint_goes().await;
    rig.earn(None).await;
    // Asked for in vain for hours.
    let mut quote = rig.unfinished(1).await;
    while quote.attempts < 20 {
        let (name, detail) = (quote.quote_ref.clone(), "away".to_owned());
        rig.ledger.quote_creating(name.clone()).await.unwrap();
        rig.ledger.quote_again(name, 0, detail, unix_millis()).await.unwrap();
        quote = rig.unfinished(quote.attempts).await;
    }
    let asked = rig.unfinished(quote.attempts + 1).await;
    assert_eq!(asked.quote_ref, quote.quote_ref);
    rig.dispatcher.long_away();
    assert!(!rig.dispatcher.may_call());
    rig.mint_comes(database).await;
    rig.confirmed(7).await;
    rig.stop().await;
}

#[tokio::test]
async fn mq_11_credits_go_on_another_quote_once_half_of_the_time_to_expiry_is_over() {
    let mut rig = Rig::open("half-over").await;
    rig.earn(None).await;
    let account = rig.account().await.unwrap().id;
    let (now, hour) = (unix_millis(), 3_600_000);
    let (old, ledger) = ("old".to_owned(), &rig.ledger);
    ledger.new_quote(account, old.clone(), "ehash:old".into(), now - 2 * hour).await.unwrap();
    ledger.quote_creating(old.clone()).await.unwrap();
    let expiry_s = (now + hour) / 1_000;
    ledger.quote_opened(old.clone(), "id-old".into(), expiry_s, now - 2 * hour).await.unwrap();
    rig.run();
    rig.confirmed(7).await;
    let old = rig.ledger.quote(old).await.unwrap().unwrap();
    assert_eq!((old.state, old.payments), (QuoteState::Settled, 0));
    rig.stop().await;
}

#[tokio::test]
async fn survives_a_mint_whose_quotes_have_expired_when_they_are_made() {
    let mut rig = Rig::start("expired").await;
    rig.mint().faults().expiry = Some(1);
    for credits in 1..=2 {
        rig.earn(None).await;
        rig.confirmed(7 * credits).await;
    }
    // Not one for each look.
    let ids = rig.mint().database().quote_ids();
    assert_eq!(ids.len(), 1);
    let quote = rig.known(&ids[0]).await;
    assert_eq!((quote.expiry_s, quote.payments), (1, 2));
    rig.stop().await;
}

#[tokio::test]
async fn asks_again_for_a_quote_that_the_mint_did_not_write_down() {
    let mut rig = Rig::start("not-written").await;
    rig.mint().faults().drop_rows = 1;
    rig.earn(None).await;
    rig.confirmed(7).await;
    let ids = rig.mint().database().quote_ids();
    assert_eq!((ids.len(), rig.paid(&ids[0]), rig.mint().seen().creates), (1, 7, 2));
    // Under the same name; the id that never came to be is forgotten.
    assert_eq!(rig.account().await.unwrap().quote_ids, ids);
    rig.stop().await;
}

#[tokio::test]
async fn gives_up_a_name_that_the_mint_has_under_an_id_that_nobody_was_told() {
    let mut rig = Rig::start("other-id").await;
    // First another id is shown than was told, then the name is in use.
    rig.mint().faults().other_ids = 1;
    rig.earn(None).await;
    rig.confirmed(7).await;
    let database = rig.mint().database();
    let ids = database.quote_ids();
    assert_eq!((ids.len(), rig.mint().seen().creates), (2, 3));
    let (paid, stray): (Vec<&String>, Vec<&String>) =
        ids.iter().partition(|id| database.quote(id).unwrap().paid() == 7);
    assert_eq!((paid.len(), stray.len()), (1, 1));
    assert_eq!(rig.known(stray[0]).await.state, QuoteState::Lost);
    assert_eq!(rig.known(paid[0]).await.state, QuoteState::Open);
    rig.stop().await;
}

#[tokio::test]
async fn gives_up_a_quote_whose_answer_was_lost_when_the_mint_has_it_under_another_id() {
    let mut rig = Rig::start("other-id-lost").await;
    rig.mint().faults().other_ids = 1;
    rig.mint().faults().lose_answers = 1;
    rig.earn(None).await;
    rig.confirmed(7).await;
    assert_eq!((rig.mint().database().quote_ids().len(), rig.mint().database().paid()), (2, 7));
    rig.stop().await;
}

#[tokio::test]
async fn rejects_a_quote_that_is_locked_to_another_key() {
    let mut rig = Rig::start("other-key").await;
    rig.mint().faults().other_key = Some(KEYS[1].to_owned());
    rig.earn(None).await;
    rig.confirmed(7).await;
    let database = rig.mint().database();
    let ids = database.quote_ids();
    assert_eq!(ids.len(), 2);
    for id in ids {
        let row = database.quote(&id).unwrap();
        let (state, paid) = match row.pubkey.as_deref() == Some(KEYS[0]) {
            true => (QuoteState::Open, 7),
            false => (QuoteState::Lost, 0),
        };
        assert_eq!((rig.known(&id).await.state, row.paid()), (state, paid));
    }
    rig.stop().await;
}

#[tokio::test]
async fn rejects_a_quote_that_was_made_without_asking_this_processor() {
    let mut rig = Rig::start("unasked").await;
    rig.mint().faults().unasked = true;
    rig.earn(None).await;
    let quote = rig.unfinished(2).await;
    assert_eq!(quote.candidate_quote_id, None);
    rig.mint().faults().unasked = false;
    rig.confirmed(7).await;
    let database = rig.mint().database();
    let ours = database.quote_ids().into_iter().filter(|id| {
        let row = database.quote(id).unwrap();
        let ours = row.identifier == quote.quote_ref;
        assert_eq!(row.paid(), if ours { 7 } else { 0 });
        ours
    });
    assert_eq!(ours.count(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn survives_a_quote_that_the_mint_refuses_to_show() {
    let mut rig = Rig::start("hidden").await;
    rig.mint().faults().refuse_checks = true;
    rig.earn(None).await;
    soon(rig.mint().until(|seen| seen.credited == 1)).await;
    let id = rig.mint().database().quote_ids().remove(0);
    let quote = rig
        .until(async || {
            // Refused at each look, as at the first in ten seconds.
            rig.mint().pass_ten_seconds();
            Some(rig.known(&id).await).filter(|quote| quote.last_read_ms > 0)
        })
        .await;
    // It was asked, and told nothing: what was sent is neither confirmed nor lost.
    assert_eq!((quote.state, quote.paid_seen), (QuoteState::Open, 0));
    let books = ledger::Books::open(rig.ledger.path()).unwrap();
    assert_eq!(books.credit(1).unwrap().unwrap().state, CreditState::Sent);
    assert_eq!(books.stopped().unwrap(), None);
    // What comes after it is sent, too.
    rig.earn(None).await;
    soon(rig.mint().until(|seen| seen.credited == 2)).await;
    assert_eq!(rig.account().await.unwrap().confirmed_amount, 0);
    rig.mint().faults().refuse_checks = false;
    rig.confirmed(14).await;
    rig.stop().await;
}
