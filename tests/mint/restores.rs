//! What an old copy of the ledger does: nothing is paid twice, nobody hears two histories as one,
//! and the operator sees it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use gopool_sv2::mint::ledger::CreditState;
use gopool_sv2_tests::fake_mint::{Database, FakeMint};

use crate::block_on;
use crate::miners::mine_all;
use crate::rig::{until, Options, Rig, KEYS};

/// Copies the ledger of a sidecar that is stopped, and starts that again.
fn keep_copy(rig: &mut Rig) {
    rig.while_stopped(|rig| {
        fs::copy(rig.line.path("ledger.db"), rig.line.path("copy.db")).unwrap();
        assert!(!rig.line.path("ledger.db-wal").exists(), "the copy is not whole");
    });
}

fn restore_copy(rig: &Rig) {
    fs::rename(rig.line.path("copy.db"), rig.line.path("ledger.db")).unwrap();
}

/// The number of the ledger's newest event.
fn newest(rig: &Rig) -> u64 {
    rig.books().event_range().unwrap().0
}

/// Waits until the pool has all events, and gives the number of the newest.
async fn pool_has_all(rig: &Rig) -> u64 {
    until("the pool has all", || {
        rig.histories().iter().any(|seqs| seqs.last() == Some(&newest(rig)))
    })
    .await;
    newest(rig)
}

/// Mines so many shares on one account and has them paid.
async fn earn(rig: &Rig, mint: &FakeMint, shares: usize) {
    mine_all(&rig.line, "a", Some(KEYS[0]), shares).await;
    rig.settled(mint).await;
}

const AHEAD: &str = "was the ledger restored from an old copy?";
const SURPLUS: &str = "the mint shows more on a quote than was ever sent";

#[test]
fn survives_a_ledger_that_was_restored_from_an_old_copy() {
    let mut rig = Rig::start(Options::default());
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        earn(&rig, &mint, 20).await;
        keep_copy(&mut rig);
        for _ in 0..3 {
            earn(&rig, &mint, 20).await;
        }
        let before = pool_has_all(&rig).await;
        rig.while_stopped(restore_copy);
        rig.line.sidecar.wait_for(AHEAD).unwrap();
        // What it forgot shows as a surplus as well, before anything is sent.
        rig.line.sidecar.wait_for(SURPLUS).unwrap();
        mine_all(&rig.line, "a", Some(KEYS[0]), 40).await;
        until("it waits", || rig.confirmed_and_pending().1 == 40).await;
        // Each account is told of.
        for n in 0..12 {
            mine_all(&rig.line, &format!("b{n}"), Some(KEYS[1]), 1).await;
        }
        until("they wait, too", || rig.confirmed_and_pending().1 == 52).await;
        assert!(newest(&rig) > before, "it has more events than the pool");
        assert_eq!(mint.database().paid(), 80, "sending did not stop");
        // Its numbers have passed those of the pool: the first try of the next process is refused.
        rig.while_stopped(|_| ());
        rig.line.sidecar.wait_for_nth(AHEAD, 2).unwrap();
        assert_eq!(rig.histories(), [(1..=before).collect::<Vec<_>>()]);
        for command in ["stuck", "accounts"] {
            let said = rig.operator(&[command]);
            assert!(
                said.contains("events are stopped") && said.contains("ledger resume"),
                "{said}"
            );
        }
        let json = rig.operator(&["stuck", "--json"]);
        assert!(
            json.contains(&format!(
                "\"events_stopped\":\"stopped because of the pool: it has \
                                        event {before}, "
            )),
            "{json}"
        );
        let dry = rig.operator(&["resume"]);
        assert_eq!(dry.matches("would: ").count(), 2, "{dry}");
        rig.while_stopped(|rig| {
            let done = rig.operator(&["resume", "--yes"]);
            assert_eq!(done.matches("done: ").count(), 2, "{done}");
        });
        until("all is paid once", || {
            mint.pass_ten_seconds();
            mint.database().paid() == rig.owed() && rig.confirmed_and_pending().1 == 0
        })
        .await;
        // The pool has two histories, each of its own name, and what it had it has.
        pool_has_all(&rig).await;
        let histories = rig.histories();
        assert_eq!(histories.len(), 2);
        assert!(histories.contains(&(1..=before).collect()), "{histories:?}");
        assert!(histories.contains(&(1..=newest(&rig)).collect()), "{histories:?}");
        assert_eq!((rig.owed(), rig.verify()), (132, 72));
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_ledger_restored_from_before_a_payment_pays_nothing_twice_and_the_operator_sees_it() {
    // Nothing is closed but by a start.
    let mut rig = Rig::start(Options { seal_sec: 3_600, ..Options::default() });
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.while_stopped(|_| ());
        rig.settled(&mint).await;
        // 10 are sealed and told to nobody, because the mint is away; 5 are still open.
        let database = mint.stop().await;
        mine_all(&rig.line, "a", Some(KEYS[0]), 10).await;
        rig.while_stopped(|_| ());
        until("they are sealed", || rig.confirmed_and_pending() == (20, 10)).await;
        mine_all(&rig.line, "a", Some(KEYS[0]), 5).await;
        back_up(&rig);
        // The ledger goes on: the open ones are paid together with later ones.
        mine_all(&rig.line, "a", Some(KEYS[0]), 7).await;
        let mint = rig.start_mint(database).await;
        rig.while_stopped(|_| ());
        rig.settled(&mint).await;
        assert_eq!(mint.database().paid(), 42);
        rig.while_stopped(restore_copy);
        // The 10 have the name that the mint knows. The 5 have another now.
        rig.line.sidecar.wait_for(SURPLUS).unwrap();
        until("they wait", || rig.confirmed_and_pending() == (20, 15)).await;
        let seen = rig.operator(&["stuck", "--minutes", "0"]);
        assert!(seen.contains("sending is stopped"), "{seen}");
        assert_eq!(mint.database().paid(), 42, "paid twice");
        let stuck = rig.books().stuck(i64::MAX, 10).unwrap();
        let paid = stuck.iter().find(|stuck| stuck.credit.shares == 5).unwrap().credit.id;
        // The operator holds back what was paid, and lets the rest go on.
        rig.while_stopped(|rig| {
            rig.operator(&["freeze", "--credit", &paid.to_string(), "--yes"]);
            rig.operator(&["resume", "--yes"]);
        });
        mine_all(&rig.line, "a", Some(KEYS[0]), 8).await;
        rig.while_stopped(|_| ());
        until("what is new is paid, and nothing else", || {
            mint.pass_ten_seconds();
            mint.database().paid() == rig.owed()
        })
        .await;
        let shown = || rig.books().quotes("", 10).unwrap().iter().any(|q| q.paid_seen == 50);
        until("the ledger has seen it", || {
            mint.pass_ten_seconds();
            shown()
        })
        .await;
        // The 10 were taken for somebody else's.
        rig.while_stopped(|rig| drop(rig.operator(&["resume", "--recount", "--yes"])));
        until("the books are even", || {
            mint.pass_ten_seconds();
            rig.confirmed_and_pending() == (38, 5)
        })
        .await;
        assert_eq!((mint.database().paid(), rig.owed()), (50, 50));
        assert_eq!(rig.books().credit(paid).unwrap().unwrap().state, CreditState::Frozen);
        rig.verify();
    });
    rig.line.stop().unwrap();
}

/// Copies the ledger beside the sidecar that runs on it.
fn back_up(rig: &Rig) {
    let copy = rig.line.path("copy.db");
    let file = rusqlite::Connection::open(rig.line.path("ledger.db")).unwrap();
    file.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
}
