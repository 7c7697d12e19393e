//! What the machine can do wrong: a clock that jumps, and a disk without room.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use gopool_sv2_tests::fake_mint::Database;
use gopool_sv2_tests::{binaries, LineOptions};
use rustix::process::{getrlimit, prlimit, Pid, Resource, Rlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::block_on;
use crate::miners::{mine, mine_all, place, Miner};
use crate::rig::{until, Options, Rig, KEYS};

const DAY: i64 = 86_400;

/// Builds the clock that jumps, and gives its path.
fn wrong_clock(directory: &TempDir) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mint/clock.c");
    let library = directory.path().join("clock.so");
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    let built = cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(built.success());
    library
}

#[test]
fn row_clock_jump_holds_no_credit_back_and_keeps_their_order() {
    let directory = TempDir::new().unwrap();
    let clock = wrong_clock(&directory);
    let set = directory.path().join("set");
    let jump = |seconds: i64| {
        // In one step: the sidecar reads it at any moment.
        let new = directory.path().join("new");
        fs::write(&new, seconds.to_string()).unwrap();
        fs::rename(new, &set).unwrap();
    };
    jump(0);
    let sidecar_by = vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", clock.display()),
        format!("TEST_CLOCK={}", set.display()),
    ];
    let line = LineOptions { sidecar_by, ..LineOptions::default() };
    let mut rig = Rig::start(Options { line, ..Options::default() });
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        // Connected before: a miner does not take the certificate of a clock that is wrong.
        let miner = Miner::start(place(&rig.line, "a", Some(KEYS[0])), Duration::from_millis(20));
        until("it is at work", || mint.database().paid() > 0).await;
        // Forth, and back by a month. Time before the right one would make its shares too new.
        for seconds in [DAY, 30 * DAY, 0] {
            jump(seconds);
            let enough = mint.database().paid() + 20;
            until("it pays on", || mint.database().paid() >= enough).await;
        }
        let told = miner.stop().await;
        rig.settled(&mint).await;
        // What was accepted later is in no credit before.
        let credits = rig.credits_of_shares();
        let credits: Vec<_> = told.accepted.iter().map(|hash| credits[hash]).collect();
        assert!(credits.is_sorted(), "{credits:?}");
        // A life that begins with a clock a month ahead, which is put right while nobody runs. What
        // waits for a time of that clock waits no longer.
        let database = mint.stop().await;
        mine_all(&rig.line, "b", Some(KEYS[1]), 20).await;
        let away = "the mint can't be used; credits wait in the ledger";
        rig.line.sidecar.wait_for(away).unwrap();
        jump(30 * DAY);
        rig.line.start_sidecar().unwrap();
        rig.line.sidecar.wait_for_nth(away, 2).unwrap();
        jump(0);
        rig.line.start_sidecar().unwrap();
        let mint = rig.start_mint(database).await;
        rig.settled(&mint).await;
        assert_eq!(mint.database().paid(), told.accepted.len() as u64 + 20);
        let counts = rig.confirmed_in_order().await;
        assert!(counts.len() == 2 && counts.iter().any(|count| *count > 3), "{counts:?}");
    });
    rig.line.stop().unwrap();
}

/// How large the sidecar's files may be from now on.
fn limit_files(rig: &Rig, bytes: Option<u64>) {
    let process = Pid::from_raw(i32::try_from(rig.line.sidecar.id()).unwrap()).unwrap();
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    prlimit(Some(process), Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

/// Shares that the sidecar says the ledger could not keep: told as accepted, and as refused.
fn not_kept(rig: &Rig) -> (u64, u64) {
    let mut command = Command::new(&binaries().unwrap().sidecar);
    command.args(["status", "--json", "--config"]).arg(rig.line.path("sidecar.toml"));
    let output = command.output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = |as_what| status["ledger"]["not_kept"][as_what].as_u64().unwrap_or_default();
    (told("accepted"), told("backend-unavailable"))
}

#[test]
fn row_disk_full_acknowledges_nothing_that_is_not_kept_and_goes_on_with_room() {
    // A file that may not grow is a disk without room, to the process that writes it.
    let sidecar_by = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"].map(Into::into).to_vec();
    let sections = "[admin]\nlisten = \"unix:admin.sock\"\n".into();
    let log = "warn,gopool_sv2=info";
    let line = LineOptions { sidecar_by, sections, log, ..LineOptions::default() };
    let mut rig = Rig::start(Options { line, ..Options::default() });
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        let before = mine_all(&rig.line, "a", Some(KEYS[0]), 100).await;
        rig.settled(&mint).await;
        let log = fs::metadata(rig.line.path("ledger.db-wal")).unwrap().len();
        for other in ["sidecar.log", "sidecar.journal"] {
            let len = fs::metadata(rig.line.path(other)).unwrap().len();
            assert!(len < log / 2, "{other} has no room, too: {len} of {log}");
        }
        limit_files(&rig, Some(log));
        let keyed = mine(&rig.line, "a", Some(KEYS[0]), 40).await;
        assert!(keyed.rejected_for("backend-unavailable") > 0, "{keyed:?}");
        // Nobody is owed for these: they are told as accepted.
        let unkeyed = mine_all(&rig.line, "a", None, 40).await;
        rig.line.sidecar.wait_for("the ledger can't be written").unwrap();
        limit_files(&rig, getrlimit(Resource::Fsize).current);
        let miner = Miner::start(place(&rig.line, "a", Some(KEYS[0])), Duration::from_millis(5));
        let log = || fs::read_to_string(rig.line.path("sidecar.log")).unwrap();
        until("it goes on by itself", || log().contains("the ledger can be written again")).await;
        let kept = rig.ledger_hashes().len();
        until("more is kept", || rig.ledger_hashes().len() > kept + 20).await;
        let after = miner.stop().await;
        assert!(!after.accepted.is_empty(), "{after:?}");
        let kept = rig.ledger_hashes();
        for told in [&before, &keyed, &after] {
            assert!(told.accepted.iter().all(|hash| kept.contains(hash)), "not kept: {told:?}");
        }
        // Between the pool's books and the ledger there is what is counted as not kept, no more and
        // no less. Nobody has left before the answers.
        let reason = "backend-unavailable";
        let refused: u64 = [&keyed, &after].iter().map(|told| told.rejected_for(reason)).sum();
        let missing = unkeyed.accepted.iter().filter(|hash| !kept.contains(*hash)).count() as u64;
        assert!(missing > 0, "the ledger was never without room");
        assert_eq!((after.cut, not_kept(&rig)), (0, (missing, refused)));
        let booked = rig.booked_hashes();
        assert!(kept.is_subset(&booked));
        assert_eq!(booked.len() as u64, kept.len() as u64 + missing + refused);
        until("all that is kept for a key is paid", || {
            mint.pass_ten_seconds();
            let accounts = rig.books().accounts(0, 10).unwrap();
            let keyed = accounts.iter().find(|account| account.payout_key.is_some()).unwrap();
            keyed.confirmed_amount == keyed.shares && mint.database().paid() == keyed.shares
        })
        .await;
        rig.verify();
    });
    rig.line.stop().unwrap();
}
