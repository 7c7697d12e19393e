//! Shares become credit at a mint: miner, sidecar and pool as processes, and a mint that has the
//! faults of stock ones. With GOPOOL_SV2_CARRIER=ffi the sidecar is inside the pool.

mod news;

use std::collections::BTreeMap;
use std::fs;
use std::future::pending;
use std::process::Command;
use std::time::{Duration, Instant};

use gopool_sv2::miner::{self, Summary};
use gopool_sv2_tests::fake_mint::{Database, FakeMint, HeldAddress, Settings};
use gopool_sv2_tests::{binaries, Line, LineOptions};
use serde_json::{json, Value};

use crate::block_on;

/// The generator of secp256k1, its double and its triple (SEC 2).
const KEYS: [&str; 3] = [
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
    "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
];
/// 2^-16 of difficulty 1: a share of the CPU miner makes several units.
const UNIT: u128 = 1 << 16;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// A line with a mint bridge.
struct Rig {
    line: Line,
    mint: HeldAddress,
    processor: HeldAddress,
}

fn rig() -> Rig {
    rig_with(&["-share-seconds", "0.05"])
}

/// A line whose pool gives out shares by these flags.
fn rig_with(shares: &[&str]) -> Rig {
    let [mint, processor] = [0; 2].map(|_| HeldAddress::take().unwrap());
    let sections = format!(
        "[mint]\nledger_file = \"ledger.db\"\nurl = \"http://{mint}\"\nseal_interval_sec = 1\n\
         unit_difficulty = \"0.0000152587890625\"\nrequest_timeout_ms = 2000\n\
         [mint.processor]\nlisten = \"{processor}\"\nallow_plain = true\n"
    );
    let minipool = [shares, &["-events", "events"]].concat();
    let minipool = minipool.into_iter().map(Into::into).collect();
    // No block, hence no stale share.
    let network_bits = "1c00ffff";
    let options = LineOptions { network_bits, minipool, sections, ..LineOptions::default() };
    let line = Line::start(options).unwrap();
    Rig { line, mint, processor }
}

impl Rig {
    async fn start_mint(&self, database: Database) -> FakeMint {
        let settings = Settings { listen: self.mint.get(), ..Settings::new(self.processor.get()) };
        FakeMint::start(settings, database).await.unwrap()
    }

    /// Mines under a name; with a key when there is one.
    async fn mine(&self, name: &str, key: Option<&str>, shares: u64) -> Summary {
        let mut options = self.line.miner(name).unwrap();
        if let Some(key) = key {
            options.user = format!("{}~ehash={key}", options.user);
        }
        options.share_limit = Some(shares);
        let summary = miner::run(options, pending()).await.expect(name);
        assert_eq!((summary.unanswered, summary.accepted), (0, shares), "{summary}");
        summary
    }

    fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.line.path(file)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Whole units in what the pool has booked for shares of which this holds. Each user has an
    /// account, and each account keeps its fraction of a unit.
    fn owed(&self, counts: impl Fn(&Value) -> bool) -> u64 {
        let mut sums: BTreeMap<String, u128> = BTreeMap::new();
        for line in self.lines("minipool.journal") {
            if line["event"] == "verdict" && line["accepted"] == true && counts(&line) {
                let part = |name: &str| u128::from(line["credit"][name].as_u64().unwrap());
                let user = line["user"].as_str().unwrap().to_owned();
                *sums.entry(user).or_default() += (part("whole") << 32) + part("fraction");
            }
        }
        let units = sums.into_values().map(|sum| sum / UNIT).sum::<u128>();
        u64::try_from(units).unwrap()
    }

    /// What the pool kept of the ledger's events, which must be a sequence.
    fn events(&self) -> Vec<Value> {
        let files = fs::read_dir(self.line.path("events")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        let [file] = files.as_slice() else { panic!("one source: {files:?}") };
        let events = self.lines(&format!("events/{}", file.to_str().unwrap()));
        for (event, seq) in events.iter().zip(1..) {
            let seq: u64 = seq;
            assert_eq!(event["seq"], seq.to_string(), "{event}");
        }
        events
    }

    /// Checks that each credit has the life that it should have, in this order: sealed, sent, shown
    /// by the mint as what was sealed, each once.
    fn check_credits(&self) {
        let mut credits: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        let mut amounts = BTreeMap::new();
        for event in self.events() {
            for kind in ["mint_sealed", "mint_sent", "mint_confirmed"] {
                let Some(id) = event[kind]["credit_id"].as_str() else { continue };
                credits.entry(id.to_owned()).or_default().push(kind);
                let amount = event[kind]["amount"].as_str().map(str::to_owned);
                if let Some(amount) = amount {
                    let sealed = amounts.entry(id.to_owned()).or_insert(amount.clone());
                    assert_eq!(*sealed, amount, "credit {id}");
                }
            }
        }
        assert!(!credits.is_empty());
        for (id, life) in credits {
            assert_eq!(life, ["mint_sealed", "mint_sent", "mint_confirmed"], "credit {id}");
        }
    }

    /// What an operator's command on the ledger says, beside all that runs; checks its exit code.
    fn ledger(&self, arguments: &[&str], code: i32) -> String {
        let mut command = Command::new(&binaries().unwrap().sidecar);
        command.arg("ledger").args(arguments).arg("--config").arg(self.line.path("sidecar.toml"));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    /// Sum of a field over the events of a kind.
    fn told(&self, kind: &str, field: &str) -> u64 {
        let amount = |event: &Value| event[kind][field].as_str().map(|text| text.parse::<u64>());
        self.events().iter().filter_map(amount).map(Result::unwrap).sum()
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn what_a_miner_was_credited_is_at_the_mint_to_the_unit() {
    let rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        rig.mine("rig", Some(KEYS[0]), 60).await;
        let owed = rig.owed(|_| true);
        assert!(owed > 60, "{owed}");
        until("the mint has it all", || mint.database().paid() == owed).await;
        until("the pool knows", || rig.told("mint_confirmed", "amount") == owed).await;
        assert_eq!(rig.told("mint_sealed", "amount"), owed);
        assert_eq!(rig.told("mint_accrued", "shares"), 60);
        rig.check_credits();
        // An operator may look meanwhile, and change nothing.
        assert!(rig.ledger(&["verify"], 0).contains("adds up"));
        let accounts = rig.ledger(&["accounts"], 0);
        assert!(accounts.contains(&format!("{owed} confirmed")), "{accounts}");
        assert!(rig.ledger(&["freeze", "--account", "1", "--yes"], 1).contains("stop it"));
        for id in mint.database().quote_ids() {
            let quote = mint.database();
            assert_eq!(quote.quote(&id).unwrap().pubkey.as_deref(), Some(KEYS[0]));
        }
    });
    rig.line.stop().unwrap();
}

#[test]
fn survives_a_mint_that_is_away_for_as_long_as_it_likes() {
    let rig = rig();
    block_on(async {
        rig.mine("before", Some(KEYS[0]), 30).await;
        until("credits wait", || rig.told("mint_sealed", "amount") > 0).await;
        let mint = rig.start_mint(Database::default()).await;
        let owed = rig.owed(|_| true);
        until("the mint has it all", || mint.database().paid() == owed).await;
        // It goes in the middle of the work, and comes back as it was.
        let database = mint.stop().await;
        rig.mine("meanwhile", Some(KEYS[0]), 30).await;
        let mint = rig.start_mint(database).await;
        let owed = rig.owed(|_| true);
        until("the mint has it all again", || mint.database().paid() == owed).await;
    });
    rig.line.stop().unwrap();
}

#[test]
fn who_mines_under_a_strangers_name_gets_nothing_of_the_strangers() {
    let rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        // One name in the pool's books; they differ by the size of their shares' sums only.
        rig.mine("name", None, 10).await;
        let unassigned = rig.owed(|_| true);
        rig.mine("name", Some(KEYS[1]), 20).await;
        let second = rig.owed(|_| true) - unassigned;
        rig.mine("name", Some(KEYS[2]), 30).await;
        let third = rig.owed(|_| true) - unassigned - second;
        let of = |key: &str| {
            let database = mint.database();
            let quotes = database.quote_ids();
            let quotes = quotes.iter().filter_map(|id| database.quote(id));
            quotes.filter(|q| q.pubkey.as_deref() == Some(key)).map(|q| q.paid()).sum::<u64>()
        };
        // Each account rounds for itself, and so do these differences.
        let near = |paid: u64, owed: u64| paid <= owed + 1 && paid + 2 >= owed;
        until("both are paid", || near(of(KEYS[1]), second) && near(of(KEYS[2]), third)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(near(of(KEYS[1]), second) && near(of(KEYS[2]), third));
        assert_eq!(mint.database().paid(), of(KEYS[1]) + of(KEYS[2]), "unassigned work was paid");
    });
    rig.line.stop().unwrap();
}

#[test]
fn a_wallet_finds_what_was_earned_on_the_quote_that_it_made_itself() {
    let mut rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        let body = json!({ "unit": "hash", "amount": 1, "pubkey": KEYS[0] });
        let made = mint.post_quote(body).await.unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let (id, request) = (text("quote"), text("request"));
        // The sidecar forgets nothing of it.
        rig.line.start_sidecar().unwrap();
        rig.mine("rig", Some(&request), 30).await;
        rig.mine("other", Some(KEYS[1]), 30).await;
        let own = |line: &Value| line["user"].as_str().is_some_and(|user| user.ends_with("rig"));
        let paid = || mint.database().quote(&id).unwrap().paid();
        let owed = rig.owed(own);
        assert!(owed > 30 && owed < rig.owed(|_| true), "{owed}");
        until("the wallet's quote is paid", || paid() == owed).await;
        until("the pool knows", || rig.told("mint_confirmed", "amount") >= owed).await;
        let shown = mint.get_quote(&id).await.unwrap();
        assert_eq!(shown["amount_paid"], owed);
        // The leading mark may be left out. One that nobody knows costs its own channel only.
        rig.mine("rig", request.strip_prefix("ehash:"), 10).await;
        let mut options = rig.line.miner("rig").unwrap();
        options.user = format!("{}~ehash=gp1q:{}", options.user, "a".repeat(26));
        let refused = miner::run(options, pending()).await.unwrap_err().to_string();
        assert!(refused.contains("invalid-user-identity"), "{refused}");
        let owed = rig.owed(own);
        until("the wallet's quote is paid again", || paid() == owed).await;
    });
    rig.line.stop().unwrap();
}

#[test]
fn survives_kills_of_the_sidecar_at_any_moment() {
    let mut rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        let mut heard = 0;
        for round in 0..8_u64 {
            let mut options = rig.line.miner(&format!("rig{round}")).unwrap();
            options.user = format!("{}~ehash={}", options.user, KEYS[0]);
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let mining = tokio::spawn(miner::run(options, async {
                let _ = stopped.await;
            }));
            tokio::time::sleep(Duration::from_millis(700 + 370 * round)).await;
            rig.line.start_sidecar().unwrap();
            // Its port is the same: the miner is back, and may have had some shares meanwhile.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _ = stop.send(());
            heard += mining.await.unwrap().unwrap().accepted;
        }
        assert!(heard > 20, "{heard}");
        // What a miner heard of is in the ledger, and what is in the ledger gets to the mint; the
        // pool may have booked a few that nobody heard of.
        until("the ledger's last credit is confirmed", || {
            let sealed = rig.told("mint_sealed", "amount");
            sealed > 0
                && rig.told("mint_accrued", "shares") >= heard
                && mint.database().paid() == sealed
                && rig.told("mint_confirmed", "amount") == sealed
        })
        .await;
        assert!(mint.database().paid() <= rig.owed(|_| true), "more than the pool booked");
        rig.check_credits();
    });
    rig.line.stop().unwrap();
}

#[test]
fn a_payment_that_nobody_here_made_stops_all_sending() {
    let mut rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        rig.mine("rig", Some(KEYS[0]), 20).await;
        let owed = rig.owed(|_| true);
        until("the mint has it all", || mint.database().paid() == owed).await;
        until("the pool knows", || rig.told("mint_confirmed", "amount") == owed).await;
        let quote = mint.database().quote_ids().pop().unwrap();
        assert!(mint.pay(&quote, "foreign", 5));
        rig.mine("rig", Some(KEYS[0]), 20).await;
        rig.line.sidecar.wait_for("the mint shows more on a quote than was ever sent").unwrap();
        rig.mine("rig", Some(KEYS[0]), 20).await;
        let sent = rig.told("mint_confirmed", "amount");
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(rig.told("mint_confirmed", "amount"), sent);
    });
    rig.line.stop().unwrap();
}
