//! Quotes that wallets made by themselves.

use v1::event::Event;

use super::*;

/// A share whose channel named a quote.
fn naming(n: u64, identity: &str, key: PayoutKey, quote: QuoteRef) -> LedgerShare {
    LedgerShare { quote: Some(quote), ..share(n, identity, Some(key)) }
}

impl Stand {
    /// Records two shares that name a quote, which are worth 15, and seals them.
    async fn earn(&mut self, n: u64, identity: &str, key: PayoutKey, quote: QuoteRef) {
        let shares = vec![naming(n, identity, key, quote), naming(n + 1, identity, key, quote)];
        self.record_all(shares).await;
        self.seal(2_000).await;
    }

    /// Assigns and sends all that can be.
    async fn pay(&self, payments_max: u64) -> Vec<Owed> {
        while self.ledger().assign(payments_max, 3_000).await.unwrap() > 0 {}
        let due = self.ledger().due_credits(4_000, 100).await.unwrap();
        let ids = due.iter().map(|owed| owed.credit_id).collect();
        self.ledger().mark_sent(ids, 4_000).await.unwrap();
        due
    }

    /// The accounts that need a quote of the pool's.
    async fn missing(&self) -> Vec<i64> {
        let needs = self.ledger().due_quotes(9_000, 100).await.unwrap();
        let account = |need: &QuoteNeed| match need {
            QuoteNeed::Missing { account_id, .. } => Some(*account_id),
            QuoteNeed::Unfinished(_) => None,
        };
        needs.iter().filter_map(account).collect()
    }
}

#[tokio::test]
async fn pays_on_the_quote_that_the_channel_named() {
    let mut stand = Stand::new();
    let quote = stand.wallet_quote(1, key(1), 1_000).await;
    assert_eq!(stand.ledger().wallet_quote(quote).await, Ok(Some(key(1))));
    // Nobody asks the mint about it before it is needed.
    stand.record(naming(1, "a", key(1), quote)).await;
    assert!(stand.ledger().due_quotes(2_000, 10).await.unwrap().is_empty());
    stand.earn(2, "a", key(1), quote).await;
    assert!(stand.missing().await.is_empty());
    assert_eq!(stand.prove_quotes(3_000).await, ["w1"]);
    assert_eq!(stand.prove_quotes(3_000).await, [""; 0]);
    stand.reopen();
    assert!(stand.pay(256).await.is_empty(), "the mint may show what an old copy doesn't know");
    stand.look().await;
    let owed = stand.pay(256).await;
    let [owed] = owed.as_slice() else { panic!("{owed:?}") };
    assert_eq!((owed.quote_ref.clone(), owed.quote_id.as_str()), (quote.to_string(), "w1"));
    assert_eq!(owed.amount, 2);
    let told = |events: Vec<Event>| {
        let opened = events.into_iter().filter_map(|event| match event {
            Event::MintQuoteOpened(opened) => Some(opened),
            _ => None,
        });
        opened.collect::<Vec<_>>()
    };
    let [opened] = told(stand.events().await).try_into().unwrap();
    assert_eq!((&opened.user_identity[..], opened.quote_id.as_str()), (&b"a"[..], "w1"));
    assert_eq!(opened.quote_request, quote.request());
    let name = quote.to_string();
    assert_eq!(stand.ledger().confirm(name.clone(), 2, 1, 5_000).await, Ok(Reading::Even(1)));
    let books = stand.books("a", Some(key(1))).await;
    assert_eq!((books.confirmed_amount, books.issued_amount), (2, 1));
    assert_eq!((books.quote_requests, books.quote_ids), (vec![quote.request()], vec!["w1".into()]));
    // The next goes there, too, and is told of once.
    stand.earn(4, "a", key(1), quote).await;
    assert_eq!(stand.pay(256).await.len(), 1);
    assert_eq!(told(stand.events().await).len(), 1);
    stand.assert_sound().await;
    // A payment that nobody here made stops all, as on every quote.
    let extra = stand.ledger().confirm(name, 9, 1, 6_000).await.unwrap();
    assert_eq!(extra, Reading::Surplus { extra: 6 });
    stand.earn(6, "a", key(1), quote).await;
    stand.ledger().assign(256, 7_000).await.unwrap();
    assert!(stand.ledger().due_credits(7_000, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_names_a_strangers_quote_pays_the_stranger_and_moves_nothing() {
    let mut stand = Stand::new();
    let alices = stand.wallet_quote(1, key(1), 1_000).await;
    // Locked to her key, too, but her wallet doesn't know it.
    let planted = stand.wallet_quote(2, key(1), 1_000).await;
    let mut paid = Vec::new();
    for round in 0..4 {
        let n = 100 * round;
        // Under his name on her quote, and under her name and key on his.
        stand.earn(n + 10, "mallory", key(1), alices).await;
        stand.earn(n + 20, "alice", key(1), planted).await;
        stand.earn(n + 30, "alice", key(1), alices).await;
        stand.prove_quotes(3_000).await;
        paid.extend(stand.pay(4).await);
    }
    let on = |quote: QuoteRef| paid.iter().filter(move |owed| owed.quote_ref == quote.to_string());
    // Each rounds for itself: 4 * 15 in units of 10, as if the others weren't there.
    assert_eq!(on(planted).map(|owed| owed.amount).sum::<u64>(), 6);
    assert_eq!(on(alices).map(|owed| owed.amount).sum::<u64>(), 6 + 6);
    assert_eq!(paid.len(), 12, "his payments don't count as hers");
    assert!(stand.missing().await.is_empty());
    let books = stand.books("alice", Some(key(1))).await;
    assert_eq!((books.pending_amount, books.accrued), (12, Work::ZERO));
    // Hers is what was paid for her.
    let name = alices.to_string();
    assert_eq!(stand.ledger().confirm(name, 12, 12, 5_000).await, Ok(Reading::Even(8)));
    for name in ["alice", "mallory"] {
        assert_eq!(stand.books(name, Some(key(1))).await.issued_amount, 6);
    }
    stand.assert_sound().await;
}

#[tokio::test]
async fn goes_on_with_quotes_of_the_pools_when_the_wallets_is_full() {
    let mut stand = Stand::new();
    let quote = stand.wallet_quote(1, key(1), 1_000).await;
    stand.earn(1, "a", key(1), quote).await;
    stand.prove_quotes(3_000).await;
    for n in 1..5 {
        stand.earn(10 * n, "a", key(1), quote).await;
    }
    // 1.5 each and 0.5 carried: 1, 2, 1, 2, 1.
    assert_eq!(stand.pay(2).await.len(), 2);
    assert_eq!(stand.pay(2).await.len(), 0, "it waits for another quote");
    let [account] = stand.missing().await.try_into().unwrap();
    let rest = stand.send(account, "q").await;
    assert_eq!(rest.iter().map(|owed| owed.amount).collect::<Vec<_>>(), [1, 2, 1]);
    // What was carried for it goes on in the account's next.
    stand.earn(60, "a", key(1), quote).await;
    assert_eq!(stand.pay(256).await[0].amount, 2);
    let books = stand.books("a", Some(key(1))).await;
    assert_eq!((books.pending_amount, books.accrued), (9, Work::ZERO));
    assert_eq!(books.quote_ids.len(), 2);
    stand.assert_sound().await;
}

#[tokio::test]
async fn a_quote_is_full_when_many_accounts_have_filled_it() {
    let mut stand = Stand::new();
    let quote = stand.wallet_quote(1, key(1), 1_000).await;
    for n in 0..20 {
        stand.earn(10 * n, &format!("rig{n}"), key(1), quote).await;
    }
    stand.prove_quotes(3_000).await;
    assert_eq!(stand.pay(1).await.len(), 16);
    assert_eq!(stand.missing().await.len(), 4);
    stand.assert_sound().await;
}

#[tokio::test]
async fn takes_nothing_after_its_life() {
    let mut stand = Stand::new();
    let (early, late) = (stand.wallet_quote(1, key(1), 0).await, UNUSED_MS);
    let other = stand.wallet_quote(2, key(1), late).await;
    stand.earn(1, "a", key(1), early).await;
    stand.earn(3, "b", key(1), other).await;
    // Both are needed at the same time, and one was made long before.
    stand.prove_quotes(2 * late).await;
    assert_eq!(stand.ledger().rotate(256, late).await, Ok(1));
    let owed = stand.pay(256).await;
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].quote_ref, other.to_string());
    let account = stand.books("a", Some(key(1))).await.id;
    assert_eq!(stand.missing().await, [account]);
    assert_eq!(stand.ledger().rotate(256, 2 * late).await, Ok(1));
    // What was sent is confirmed all the same.
    let read = stand.ledger().confirm(other.to_string(), 1, 1, 9_000).await;
    assert_eq!(read, Ok(Reading::Even(1)));
    let settled = stand.ledger().quote(other.to_string()).await.unwrap().unwrap();
    assert_eq!(settled.state, QuoteState::Settled);
    stand.assert_sound().await;
}

#[tokio::test]
async fn lost_quotes_credits_go_to_a_quote_of_the_pools_as_the_same_payments() {
    let mut stand = Stand::new();
    let quote = stand.wallet_quote(1, key(1), 1_000).await;
    stand.earn(1, "a", key(1), quote).await;
    stand.prove_quotes(3_000).await;
    let sent = stand.pay(256).await;
    stand.earn(3, "a", key(1), quote).await;
    let name = quote.to_string();
    assert_eq!(stand.ledger().quote_lost(name, "gone".into(), 5_000).await, Ok(1));
    assert_eq!(stand.missing().await.len(), 1, "what was not sent goes on by itself");
    stand.ledger().requeue(sent[0].credit_id).await.unwrap();
    let account = stand.books("a", Some(key(1))).await.id;
    let again = stand.send(account, "q").await;
    assert_eq!(again.len(), 2);
    assert_eq!(again[0].payment_id, sent[0].payment_id);
    // Who still names it is paid by the pool's quotes.
    stand.earn(5, "a", key(1), quote).await;
    assert_eq!(stand.pay(256).await[0].quote_id, "id-q");
    stand.assert_sound().await;
}

#[tokio::test]
async fn survives_a_quote_that_the_mint_never_made() {
    let mut stand = Stand::new();
    let quote = stand.wallet_quote(1, key(1), 1_000).await;
    stand.earn(1, "a", key(1), quote).await;
    let name = quote.to_string();
    assert_eq!(stand.ledger().quote_lost(name, "never made".into(), 5_000).await, Ok(0));
    let account = stand.books("a", Some(key(1))).await.id;
    assert_eq!(stand.missing().await, [account]);
    assert_eq!(stand.send(account, "q").await.len(), 1);
    stand.assert_sound().await;
}

#[tokio::test]
async fn forgets_what_nobody_used_and_nothing_else() {
    let mut stand = Stand::new();
    for n in 1..=6 {
        stand.wallet_quote(n, key(1), 1_000 * i64::try_from(n).unwrap()).await;
    }
    let quote = |n: u64| QuoteRef::from_number(n.into());
    stand.record(naming(1, "a", key(1), quote(1))).await;
    let ledger = stand.ledger().clone();
    let known = async |n| ledger.wallet_quote(quote(n)).await.unwrap().is_some();
    assert_eq!(ledger.forget_quotes(3_000, 100, 1).await, Ok(1));
    assert_eq!(ledger.forget_quotes(3_000, 100, 10).await, Ok(1));
    assert_eq!([known(1).await, known(2).await, known(3).await], [true, false, false]);
    assert_eq!(ledger.forget_quotes(0, 2, 10).await, Ok(1));
    assert_eq!([known(4).await, known(5).await, known(6).await], [false, true, true]);
    // The shares of a channel that named one before it was forgotten are the key's all the same.
    stand.earn(2, "b", key(1), quote(2)).await;
    let account = stand.books("b", Some(key(1))).await.id;
    assert_eq!(stand.missing().await, [account]);
    assert_eq!(stand.send(account, "q").await.len(), 1);
    stand.assert_sound().await;
}

#[tokio::test]
async fn rejects_names_and_ids_that_another_quote_has() {
    let mut stand = Stand::new();
    let first = stand.wallet_quote(1, key(1), 1_000).await;
    let before = stand.rows();
    let again = QuoteRef::from_number(2);
    for (quote, id) in [(first, "other"), (again, "w1"), (again, ""), (again, &"i".repeat(129))] {
        let made = stand.ledger().new_wallet_quote(quote, key(1), id.to_owned(), 2_000).await;
        assert!(matches!(made, Err(LedgerError::Refused(_))), "{quote} {id}");
    }
    assert_eq!(stand.rows(), before);
    // A quote of another key takes nothing, whoever says so; nor one that the pool made.
    stand.earn(1, "a", key(2), first).await;
    let account = stand.books("a", Some(key(2))).await.id;
    assert_eq!(stand.missing().await, [account]);
    let pools = QuoteRef::from_number(9);
    stand.open_quote(account, &pools.to_string()).await;
    assert_eq!(stand.ledger().wallet_quote(pools).await, Ok(None));
    assert_eq!(stand.pay(256).await.len(), 1);
    stand.assert_sound().await;
}
