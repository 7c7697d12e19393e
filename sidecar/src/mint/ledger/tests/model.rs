//! Any sequence of calls, with the file closed and opened in between, against plain sums.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// One call of the ledger.
#[derive(Debug, Clone)]
enum Step {
    /// Shares by number, each for one of the names with one of the keys, or none, and one of the
    /// latest quotes of wallets, or none.
    Record(Vec<(u64, u8, u8, u8)>, bool),
    /// A wallet makes a quote for one of the keys.
    Wallet(u8),
    /// Quotes are forgotten that nobody used.
    Forget,
    SetPayout(u8, u8, bool),
    Close(i64),
    Seal(u64),
    Quotes,
    Send,
    /// How much of what was sent the mint shows, in percent.
    Read(u64),
    Rotate(u64),
    Lose(u8),
    Requeue,
    /// The mint is asked for quotes that it did not know, and has them back or not.
    Ask(bool),
    Freeze(u64, bool),
    Prune,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let shares = prop::collection::vec((0_u64..400, 0_u8..3, 0_u8..3, 0_u8..4), 1..40);
    prop_oneof![
        6 => (shares, any::<bool>()).prop_map(|(shares, v1)| Step::Record(shares, v1)),
        2 => (1_u8..3).prop_map(Step::Wallet),
        1 => Just(Step::Forget),
        1 => (0_u8..3, 0_u8..3, any::<bool>()).prop_map(|(n, k, c)| Step::SetPayout(n, k, c)),
        2 => (0_i64..100_000_000).prop_map(Step::Close),
        3 => (0_u64..4).prop_map(Step::Seal),
        3 => Just(Step::Quotes),
        3 => Just(Step::Send),
        3 => prop_oneof![Just(100_u64), 0_u64..100].prop_map(Step::Read),
        1 => (1_u64..4).prop_map(Step::Rotate),
        1 => any::<u8>().prop_map(Step::Lose),
        1 => Just(Step::Requeue),
        2 => any::<bool>().prop_map(Step::Ask),
        1 => (1_u64..20, any::<bool>()).prop_map(|(credit, on)| Step::Freeze(credit, on)),
        1 => Just(Step::Prune),
        2 => Just(Step::Reopen),
    ]
}

/// What should be in the ledger, by account.
#[derive(Default)]
struct Model {
    at_ms: i64,
    shares: HashMap<u64, (u8, u8)>,
    work: HashMap<(u8, u8), u128>,
    payouts: HashMap<u8, u8>,
    quotes: u32,
    /// Quotes that wallets made, and their keys.
    wallets: Vec<(QuoteRef, u8)>,
    /// What the mint has booked, by payment.
    mint: HashMap<String, u64>,
}

const NAMES: [&str; 3] = ["", "alice", "bob"];

fn keyed(n: u8) -> Option<PayoutKey> {
    (n > 0).then(|| key(n.into()))
}

/// Shares differ in what they are worth.
fn varied(n: u64, name: u8, key: u8, v1: bool, at_ms: i64) -> LedgerShare {
    let mut made = share(n, NAMES[usize::from(name)], keyed(key));
    made.credit =
        Difficulty { whole: n * n % 97, fraction: (n as u32).wrapping_mul(2_654_435_761) };
    made.at_ms = at_ms;
    if v1 {
        made.source = Source::V1;
    }
    made
}

impl Model {
    async fn run(&mut self, stand: &mut Stand, step: &Step) {
        self.at_ms += 1_000_000;
        let at_ms = self.at_ms;
        match step {
            Step::Record(shares, v1) => {
                // What was pruned is too old for the pool to take it again.
                let file = Books::open(&stand.settings.path).unwrap();
                let here = |n: &u64| file.credit_of(&share(*n, "", None).hash).unwrap().is_some();
                let shares: Vec<(u64, u8, u8, u8)> = shares
                    .iter()
                    .filter(|(n, ..)| !self.shares.contains_key(n) || here(n))
                    .copied()
                    .collect();
                let made: Vec<LedgerShare> = shares
                    .iter()
                    .map(|(n, name, key, wish)| {
                        let made = varied(*n, *name, *key, *v1, at_ms);
                        let wallet = self.wallets.iter().rev().nth(usize::from(*wish));
                        // Whose key it is was looked up when the channel was opened.
                        let quote = wallet.filter(|wallet| wallet.1 == *key).map(|w| w.0);
                        LedgerShare { quote, ..made }
                    })
                    .collect();
                let outcomes = match v1 {
                    true => stand.ledger().record_many(made.clone(), at_ms).await.unwrap(),
                    false => stand.record_all(made.clone()).await,
                };
                for ((share, (n, name, key, _)), outcome) in made.iter().zip(&shares).zip(outcomes)
                {
                    let key = match key {
                        0 => self.payouts.get(name).copied().unwrap_or(0),
                        key => *key,
                    };
                    let known = self.shares.contains_key(n);
                    assert_eq!(outcome == Outcome::Recorded, !known, "share {n}: {outcome:?}");
                    if !known {
                        self.shares.insert(*n, (*name, key));
                        *self.work.entry((*name, key)).or_default() += Work::from(share.credit).0;
                    }
                }
            }
            Step::Wallet(key) => {
                let n = self.wallets.len() as u64;
                let locked = keyed(*key).unwrap();
                self.wallets.push((stand.wallet_quote(n, locked, at_ms).await, *key));
            }
            Step::Forget => {
                stand.ledger().forget_quotes(at_ms - 9_000_000, 3, 2).await.unwrap();
            }
            Step::SetPayout(name, key, claim) => {
                let identity = Bytes::from_static(NAMES[usize::from(*name)].as_bytes());
                let claim = *claim && *key > 0;
                let set = stand.ledger().set_payout(identity, keyed(*key), claim, at_ms).await;
                let open = self.shares.values().filter(|owner| **owner == (*name, 0)).count();
                assert_eq!(set.unwrap(), if claim { open as u64 } else { 0 });
                match key {
                    0 => drop(self.payouts.remove(name)),
                    key => drop(self.payouts.insert(*name, *key)),
                }
                if claim {
                    let moved = self.work.remove(&(*name, 0)).unwrap_or(0);
                    *self.work.entry((*name, *key)).or_default() += moved;
                    self.shares.values_mut().for_each(|owner| {
                        if *owner == (*name, 0) {
                            owner.1 = *key;
                        }
                    });
                }
            }
            Step::Close(by) => {
                let due = Due { opened_by_ms: *by, work_from: Work(500 << 32) };
                stand.ledger().close_due(due, at_ms).await.unwrap();
            }
            Step::Seal(min_amount) => {
                let terms = Terms { min_amount: *min_amount, ..TERMS };
                stand.ledger().seal(terms, 5, at_ms).await.unwrap();
            }
            Step::Quotes => self.quotes(stand, at_ms).await,
            Step::Send => {
                stand.ledger().assign(3, at_ms).await.unwrap();
                let due = stand.ledger().due_credits(at_ms, 4).await.unwrap();
                let ids = due.iter().map(|owed| owed.credit_id).collect();
                stand.ledger().mark_sent(ids, at_ms).await.unwrap();
            }
            Step::Read(percent) => self.read(stand, *percent, at_ms).await,
            Step::Rotate(payments) => drop(stand.ledger().rotate(*payments, 0).await.unwrap()),
            Step::Lose(which) => {
                let quotes = stand.ledger().unread_quotes(i64::MAX, 100).await.unwrap();
                if let Some(quote) = quotes.get(usize::from(*which) % quotes.len().max(1)) {
                    let quote = quote.quote_ref.clone();
                    stand.ledger().quote_lost(quote, "gone".into(), at_ms).await.unwrap();
                }
            }
            Step::Requeue => {
                let books = Books::open(&stand.settings.path).unwrap();
                for stuck in books.stuck(i64::MAX, 1_000).unwrap() {
                    if stuck.credit.state == CreditState::Lost {
                        stand.ledger().requeue(stuck.credit.id).await.unwrap();
                    }
                }
            }
            Step::Ask(back) => {
                for lost in stand.ledger().lost_quotes(i64::MAX, i64::MAX, 100).await.unwrap() {
                    let quote = lost.quote.quote_ref.clone();
                    match back {
                        true => drop(stand.ledger().quote_back(quote, at_ms).await.unwrap()),
                        false => stand.ledger().quote_gone(lost, at_ms).await.unwrap(),
                    }
                }
            }
            // It may be in a state that can't be held back.
            Step::Freeze(credit, true) => drop(stand.ledger().freeze_credit(*credit).await),
            Step::Freeze(credit, false) => drop(stand.ledger().unfreeze_credit(*credit).await),
            Step::Prune => drop(stand.ledger().prune(at_ms - 5_000_000, at_ms, 7).await.unwrap()),
            Step::Reopen => stand.reopen(),
        }
    }

    async fn quotes(&mut self, stand: &Stand, at_ms: i64) {
        for need in stand.ledger().due_quotes(at_ms, 10).await.unwrap() {
            if let QuoteNeed::Missing { account_id, .. } = need {
                self.quotes += 1;
                stand.open_quote(account_id, &format!("q{}", self.quotes)).await;
            }
        }
        stand.prove_quotes(at_ms).await;
    }

    /// The mint books some of what it was told, and is read.
    async fn read(&mut self, stand: &Stand, percent: u64, at_ms: i64) {
        for quote in stand.ledger().unread_quotes(i64::MAX, 100).await.unwrap() {
            let payments = stand.ledger().payments_of(quote.quote_ref.clone()).await.unwrap();
            let mut paid = 0;
            for (index, owed) in payments.iter().enumerate() {
                let booked = self.mint.contains_key(&owed.payment_id);
                if booked || (index as u64 + 1) * 100 <= payments.len() as u64 * percent {
                    let known = self.mint.insert(owed.payment_id.clone(), owed.amount);
                    assert!(known.is_none_or(|known| known == owed.amount), "another amount");
                    paid += owed.amount;
                }
            }
            let reading = stand.ledger().confirm(quote.quote_ref, paid, paid / 2, at_ms).await;
            assert!(!matches!(reading, Ok(Reading::Surplus { .. })), "{reading:?}");
        }
    }

    /// Everything that was earned is somewhere, once, and with its owner.
    async fn compare(&self, stand: &Stand) {
        stand.assert_sound().await;
        stand.events().await;
        let mut payments = HashMap::new();
        for name in 0..3_u8 {
            for key in 0..3_u8 {
                let identity = Bytes::from_static(NAMES[usize::from(name)].as_bytes());
                let books = stand.ledger().account(identity, keyed(key)).await.unwrap();
                let want = self.work.get(&(name, key)).copied().unwrap_or(0);
                let shares = self.shares.values().filter(|owner| **owner == (name, key)).count();
                let Some(books) = books else {
                    assert_eq!((want, shares), (0, 0));
                    continue;
                };
                assert_eq!(books.shares, shares as u64);
                let amounts = u128::from(books.pending_amount) + u128::from(books.confirmed_amount);
                assert_eq!(amounts * TERMS.unit_work.0 + books.accrued.0, want);
            }
        }
        let file = Books::open(&stand.settings.path).unwrap();
        for id in 1.. {
            let Some(credit) = file.credit(id).unwrap() else { break };
            // What was named is where it goes, or nowhere but to a quote of the account's own.
            if let Some(quote) = &credit.quote_ref {
                let wallets = file.quote(quote).unwrap().unwrap().account_id.is_none();
                assert!(!wallets || credit.wish.as_ref() == Some(quote), "{credit:?}");
            }
            if let Some(name) = credit.payment_id {
                assert_eq!(payments.insert(name, id), None, "two payments of one name");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn adds_up_whatever_is_called(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut stand = Stand::new();
            let mut model = Model::default();
            for step in &steps {
                model.run(&mut stand, step).await;
                if matches!(step, Step::Reopen | Step::Read(_)) {
                    model.compare(&stand).await;
                }
            }
            stand.reopen();
            model.compare(&stand).await;
        });
    }
}
