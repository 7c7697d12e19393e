//! What miners are told of the ledger's events.

use super::*;
use crate::backend::ledger::Returns;
use crate::backend::{Accounts, Directory, Event, Mailbox, MintNews};
use crate::mint::herald::Herald;
use crate::types::{ChannelKey, ConnId};

/// A miner that hears news of the accounts of its channels.
struct Listener {
    herald: Herald,
    mailbox: Mailbox,
}

fn listener(stand: &Stand, accounts: &[(&'static str, PayoutKey)]) -> Listener {
    let (directory, books) = (Directory::default(), Accounts::default());
    let conn = ConnId(1);
    for ((identity, key), ordinal) in accounts.iter().zip(1..) {
        let identity = Bytes::from_static(identity.as_bytes());
        books.insert((identity, *key), ChannelKey::new(conn, ordinal).unwrap());
    }
    let mailbox = directory.attach(conn, 64).0;
    let returns = Returns::new(directory, books);
    let herald = Herald::new(stand.ledger().clone(), returns, "https://mint.example");
    Listener { herald, mailbox }
}

impl Listener {
    /// What it hears of the events behind `after`.
    async fn hears(&mut self, stand: &Stand, after: u64) -> Vec<MintNews> {
        let (last, _) = stand.ledger().event_range().await.unwrap();
        self.herald.tell(after, last).await.unwrap();
        let mut all = Vec::new();
        while let Ok(event) = self.mailbox.try_recv() {
            let Event::MintCredit { news, .. } = event else { panic!("{event:?}") };
            all.push(MintNews::clone(&news));
        }
        all
    }
}

/// The account of the credit, as the ledger numbers it.
async fn account_of(stand: &Stand, credit: u64) -> i64 {
    stand.credit(credit).await.account_id
}

#[tokio::test]
async fn a_confirmed_credit_is_told_to_its_account_with_what_the_mint_shows() {
    let mut stand = Stand::new();
    stand.record_all((1..=4).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    stand.record_all((5..=8).map(|n| share(n, "b", Some(key(2)))).collect()).await;
    stand.seal(2_000).await;
    let (mine, other) = (account_of(&stand, 1).await, account_of(&stand, 2).await);
    stand.open_quote(other, "q2").await;
    stand.send(mine, "q1").await;
    let mut listener = listener(&stand, &[("a", key(1))]);
    let (before, _) = stand.ledger().event_range().await.unwrap();
    assert_eq!(listener.hears(&stand, 0).await, [], "sealed and sent is not yet confirmed");
    for quote in ["q2", "q1"] {
        stand.ledger().confirm(quote.into(), 3, 0, 4_000).await.unwrap();
    }
    let news = MintNews::Credited {
        credit_seq: 1,
        quote_id: "id-q1".into(),
        amount: 3,
        amount_paid: 3,
        mint_url: "https://mint.example".into(),
    };
    assert_eq!(listener.hears(&stand, before).await, [news], "once, and not the other account's");
    // A second credit on the same quote: the sum is the quote's.
    stand.record_all((11..=14).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    stand.seal(5_000).await;
    stand.ledger().assign(256, 3).await.unwrap();
    let due = stand.ledger().due_credits(5_000, 10).await.unwrap();
    let ids: Vec<_> = due.iter().map(|owed| owed.credit_id).collect();
    stand.ledger().mark_sent(ids, 5_000).await.unwrap();
    let (before, _) = stand.ledger().event_range().await.unwrap();
    stand.ledger().confirm("q1".into(), 6, 3, 6_000).await.unwrap();
    let heard = listener.hears(&stand, before).await;
    let [MintNews::Credited { credit_seq: 3, amount: 3, amount_paid: 6, .. }] = heard.as_slice()
    else {
        panic!("{heard:?}")
    };
}

#[tokio::test]
async fn of_a_row_of_failures_the_first_is_told_and_a_lost_quote_always() {
    let mut stand = Stand::new();
    stand.record_all((1..=4).map(|n| share(n, "a", Some(key(1)))).collect()).await;
    stand.seal(2_000).await;
    let account = account_of(&stand, 1).await;
    let ledger = stand.ledger();
    ledger.new_quote(account, "q".into(), "ehash:q".into(), 1).await.unwrap();
    for attempt in 0..3 {
        ledger.quote_creating("q".into()).await.unwrap();
        ledger.quote_again("q".into(), 9_000, "down".into(), attempt).await.unwrap();
    }
    let mut mine = listener(&stand, &[("a", key(1))]);
    let failed = |code: &str| MintNews::Failed { error_code: code.to_owned() };
    assert_eq!(mine.hears(&stand, 0).await, [failed("mint-unavailable")]);
    let (before, _) = ledger.event_range().await.unwrap();
    ledger.quote_creating("q".into()).await.unwrap();
    ledger.quote_opened("q".into(), "id".into(), 0, 2).await.unwrap();
    ledger.quote_lost("q".into(), "the mint's own words".into(), 3).await.unwrap();
    assert_eq!(mine.hears(&stand, before).await, [failed("quote-failed")]);
    let mut stranger = listener(&stand, &[("a", key(2)), ("b", key(1))]);
    assert_eq!(stranger.hears(&stand, 0).await, [], "a name or a key alone is no account");
}
