//! What a mint can do wrong: be away, be slow, forget, lose answers and events.

use std::net::TcpStream;
use std::time::Duration;

use gopool_sv2_tests::fake_mint::Database;
use gopool_sv2_tests::LineOptions;
use serde_json::Value;

use crate::block_on;
use crate::miners::mine_all;
use crate::rig::{until, Options, Rig, KEYS};

fn rig() -> Rig {
    Rig::start(Options::default())
}

/// Calls may take longer than any fault here lasts.
fn patient_rig(mint: &'static str) -> Rig {
    Rig::start(Options { mint, ..Options::default() })
}

#[test]
fn row_mint_down_at_sidecar_start_credits_pile_up_and_the_processor_listens() {
    let sections = "[admin]\nlisten = \"unix:admin.sock\"\n".into();
    let line = LineOptions { sections, ..LineOptions::default() };
    let mut rig = Rig::start(Options { line, ..Options::default() });
    let stands = |rig: &Rig| {
        let (code, said) = rig.readiness();
        let all = said["dependencies"].as_array().unwrap();
        let health = |name: &str| {
            let one = all.iter().find(|one| one["name"] == name);
            one.unwrap_or(&Value::Null)["state"].as_str().unwrap_or_default().to_owned()
        };
        (code, said["state"].as_str().unwrap().to_owned(), health("mint"), health("ledger"))
    };
    let is = |state: &str, mint: &str| (200, state.to_owned(), mint.to_owned(), "up".to_owned());
    block_on(async {
        for (name, key) in [("a", KEYS[0]), ("b", KEYS[1]), ("c", KEYS[2])] {
            mine_all(&rig.line, name, Some(key), 20).await;
        }
        rig.line.sidecar.wait_for("the mint can't be used; credits wait in the ledger").unwrap();
        until("credits wait", || rig.confirmed_and_pending() == (0, 60)).await;
        // Miners mine: nobody is to restart it for that.
        until("it is told", || stands(&rig) == is("degraded", "down")).await;
        assert!(TcpStream::connect(rig.addresses().1).is_ok(), "the mint could not come");
        let mint = rig.start_mint(Database::default()).await;
        rig.settled(&mint).await;
        until("it is over", || stands(&rig) == is("ready", "up")).await;
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_sidecar_down_at_mint_start_the_mint_comes_up_with_the_sidecar() {
    let mut rig = rig();
    block_on(async {
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.line.sidecar.signal("KILL").unwrap();
        rig.line.sidecar.wait().unwrap();
        let refused = rig.try_mint(Database::default()).await;
        assert!(refused.is_err(), "it starts without its processor");
        rig.line.start_sidecar().unwrap();
        let mint = rig.start_mint(Database::default()).await;
        rig.settled(&mint).await;
        assert_eq!(mint.database().paid(), 20);
    });
    rig.line.stop().unwrap();
}

#[test]
fn mq_5_shares_are_accepted_while_every_call_to_the_mint_hangs() {
    let rig = patient_rig("request_timeout_ms = 60000\n");
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mint.faults().hold_rows = true;
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        mint.until(|seen| seen.creates > 0).await;
        for (name, key) in [("a", KEYS[0]), ("b", KEYS[1]), ("c", KEYS[2])] {
            mine_all(&rig.line, name, Some(key), 50).await;
        }
        assert_eq!((mint.seen().events, mint.database().quote_ids().len()), (0, 0));
        mint.release_rows();
        rig.settled(&mint).await;
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_mint_slow_few_calls_are_made_at_a_time_and_all_is_paid() {
    let rig = patient_rig("requests_at_once = 2\n");
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mint.faults().slow = Duration::from_secs(10);
        for round in 0..2 {
            for (name, key) in [("a", KEYS[0]), ("b", KEYS[1]), ("c", KEYS[2]), ("d", KEYS[0])] {
                mine_all(&rig.line, name, Some(key), 30 + round).await;
            }
            mint.until(|seen| seen.requests > 0).await;
        }
        rig.settled(&mint).await;
        let most = mint.seen().requests_at_once;
        assert!((1..=2).contains(&most), "{most} calls at a time");
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_mint_restarts_mid_send_and_repeats_are_absorbed() {
    let rig = rig();
    block_on(async {
        let mut mint = rig.start_mint(Database::default()).await;
        let work = async || {
            for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
                mine_all(&rig.line, name, Some(KEYS[index % 3]), 10).await;
            }
        };
        work().await;
        rig.settled(&mint).await;
        for round in 2..=3 {
            // The stream is as quick as ever; readings fail, so nothing is confirmed.
            mint.faults().slow = Duration::from_secs(5);
            let before = mint.seen().credited;
            work().await;
            // It goes when the first payments of the round have come, with what it wrote down.
            mint.until(|seen| seen.credited > before).await;
            mint = rig.start_mint(mint.stop().await).await;
            mint.faults().slow = Duration::from_secs(5);
            until("what was not confirmed comes again", || mint.seen().repeated > 0).await;
            mint.faults().slow = Duration::ZERO;
            rig.settled(&mint).await;
            assert_eq!(mint.database().paid(), 50 * round);
        }
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_mint_database_lost_is_paid_again_as_the_same_payment_and_only_when_the_operator_says() {
    let mut rig = rig();
    block_on(async {
        let (before, mint) = lose_database(&mut rig).await;
        assert_eq!(mint.database().paid(), 0, "nobody said so yet");
        rig.while_stopped(|rig| {
            assert!(rig.operator(&["stuck"]).contains("requeue"));
            rig.operator(&["requeue", "--lost", "--yes"]);
        });
        until("what was lost is paid again, and known", || {
            mint.pass_ten_seconds();
            mint.database().paid() == 20 && rig.confirmed_and_pending() == (40, 0)
        })
        .await;
        let after = payments(&mint.database());
        assert!(after.iter().all(|name| payments(&before).contains(name)), "{after:?}");
        rig.verify();
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_mint_database_lost_that_comes_back_refuses_the_second_payment() {
    let mut rig = rig();
    block_on(async {
        let (before, mint) = lose_database(&mut rig).await;
        drop(mint.stop().await);
        rig.while_stopped(|rig| drop(rig.operator(&["requeue", "--lost", "--yes"])));
        let mint = rig.start_mint(before).await;
        // The mint is asked for the old quote before the new one is paid, and has it.
        rig.line.sidecar.wait_for("the mint knows a quote again that it had lost").unwrap();
        rig.settled(&mint).await;
        assert_eq!((mint.database().paid(), mint.seen().dropped), (40, 0), "paid twice");
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.settled(&mint).await;
        assert_eq!(rig.confirmed_and_pending(), (60, 0));
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_mint_database_gone_for_a_while_is_all_there_again_without_a_word_of_the_operator() {
    let mut rig = rig();
    block_on(async {
        let (before, mint) = lose_database(&mut rig).await;
        // What is earned meanwhile is paid there.
        mine_all(&rig.line, "b", Some(KEYS[1]), 20).await;
        until("it is paid", || mint.database().paid() == 20).await;
        drop(mint.stop().await);
        let mint = rig.start_mint(before).await;
        // A new process asks at once.
        rig.while_stopped(|_| ());
        rig.line.sidecar.wait_for("the mint knows a quote again that it had lost").unwrap();
        until("what was lost is known as paid, and only once", || {
            mint.pass_ten_seconds();
            rig.confirmed_and_pending().0 >= 40
        })
        .await;
        assert_eq!(mint.database().paid(), 40, "paid twice");
        rig.verify();
    });
    rig.line.stop().unwrap();
}

fn payments(database: &Database) -> Vec<String> {
    let quotes = database.quote_ids();
    let quotes = quotes.iter().filter_map(|id| database.quote(id));
    quotes.flat_map(|quote| quote.payments.keys().cloned()).collect()
}

/// A mint that has paid 40, of which it was seen to pay 20, when its database goes. It runs on an
/// empty one then, and the sidecar has noticed. What it had.
async fn lose_database(rig: &mut Rig) -> (Database, gopool_sv2_tests::fake_mint::FakeMint) {
    let mint = rig.start_mint(Database::default()).await;
    mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
    rig.settled(&mint).await;
    // The stream is as quick as ever; readings fail.
    mint.faults().slow = Duration::from_secs(5);
    mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
    until("it was paid", || mint.database().paid() == 40).await;
    let before = mint.stop().await;
    assert_eq!(rig.confirmed_and_pending(), (20, 20));
    let mint = rig.start_mint(Database::default()).await;
    rig.line.sidecar.wait_for("the mint does not know the quote any more").unwrap();
    (before, mint)
}

#[test]
fn row_mint_database_restored_from_backup_gets_what_it_lost_and_only_once() {
    let rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.settled(&mint).await;
        let backup = mint.database();
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.settled(&mint).await;
        drop(mint.stop().await);
        let mint = rig.start_mint(backup).await;
        assert_eq!(mint.database().paid(), 20);
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.settled(&mint).await;
        assert_eq!(mint.database().paid(), 60);
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_answer_of_post_lost_makes_one_quote_not_two() {
    let rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mint.faults().lose_answers = 1;
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.settled(&mint).await;
        assert_eq!(mint.faults().lose_answers, 0, "no answer was lost");
        assert_eq!((mint.seen().creates, mint.database().quote_ids().len()), (1, 1));
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_event_before_the_quote_row_exists_is_never_sent() {
    let rig = patient_rig("request_timeout_ms = 60000\n");
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mint.faults().hold_rows = true;
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        mint.until(|seen| seen.creates > 0).await;
        // Several intervals pass, and the mint has asked for the quote but not written it down.
        for _ in 0..3 {
            mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
            let sealed = rig.confirmed_and_pending().1;
            until("more is sealed", || rig.confirmed_and_pending().1 > sealed).await;
        }
        assert_eq!(mint.seen().events, 0);
        mint.release_rows();
        rig.settled(&mint).await;
        assert_eq!((mint.seen().dropped, mint.database().quote_ids().len()), (0, 1));
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_stream_event_dropped_by_the_mint_is_confirmed_by_reading_the_quote() {
    let rig = rig();
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mint.faults().drop_events = u64::MAX;
        for (name, key) in [("a", KEYS[0]), ("b", KEYS[1])] {
            mine_all(&rig.line, name, Some(key), 20).await;
        }
        rig.settled(&mint).await;
        let seen = mint.seen();
        assert!(seen.credited == 0 && seen.dropped >= 2, "{seen:?}");
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_channel_closes_before_the_quotes_answer_and_the_wallet_finds_its_quote() {
    let rig = patient_rig("request_timeout_ms = 60000\n");
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mint.faults().hold_rows = true;
        // The miner is gone when this returns.
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        mint.until(|seen| seen.creates > 0).await;
        mint.release_rows();
        rig.settled(&mint).await;
        // What GetAccount tells: the mint knows the quote under that id, and a wallet mints of it.
        let account = rig.books().accounts(0, 1).unwrap().remove(0);
        assert_eq!(mint.get_quote(&account.quote_ids[0]).await.unwrap()["amount_paid"], 20);
        mint.issue(&account.quote_ids[0], 20).await.unwrap();
    });
    rig.line.stop().unwrap();
}
