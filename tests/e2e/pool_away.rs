//! The pool dies, isn't there, or can't be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use gopool_sv2::miner::{self, ChannelKind};
use gopool_sv2_tests::{Books, Line, LineOptions};

use crate::block_on;
use crate::drain::hears_reconnect;
use crate::peer::Peer;

fn fast() -> LineOptions {
    LineOptions { minipool: vec!["-share-seconds".into(), "0.05".into()], ..LineOptions::default() }
}

/// How many shares the miner's journal says were accepted so far.
fn heard(line: &Line, name: &str) -> u64 {
    line.books(name).map(|books| books.accepted()).unwrap_or_default()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within a minute");
}

/// Sequence numbers of the shares that a miner heard were accepted: a Success is about all that
/// were sent up to its last one and had no answer before.
fn heard_accepted(miner: &Books) -> BTreeSet<u64> {
    let (mut open, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for line in miner.all() {
        match line.name() {
            "submit" => assert!(open.insert(line.number("seq")), "{line:?}"),
            "rejected" => assert!(open.remove(&line.number("seq")), "{line:?}"),
            "accepted" => {
                let later = open.split_off(&(line.number("last_seq") + 1));
                assert_eq!(open.len() as u64, line.number("count"), "{line:?}");
                heard.append(&mut open);
                open = later;
            }
            _ => {}
        }
    }
    heard
}

#[test]
fn survives_the_death_of_the_pool_behind_the_miners_back() {
    let mut line = Line::start(fast()).unwrap();
    let mut options = line.miner("miner").unwrap();
    options.kind = ChannelKind::Extended;
    options.status_interval = Duration::from_millis(200);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let summary = block_on(async {
        let mining = tokio::spawn(miner::run(options, async {
            let _ = stopped.await;
        }));
        for _ in 0..3 {
            let before = heard(&line, "miner");
            until("shares accepted", || heard(&line, "miner") >= before + 10).await;
            line.pool.take().unwrap().kill().unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            line.start_pool().unwrap();
        }
        let before = heard(&line, "miner");
        until("mining goes on", || heard(&line, "miner") >= before + 10).await;
        stop.send(()).unwrap();
        mining.await.unwrap().unwrap()
    });
    assert_eq!(summary.connects, 1, "the miner notices nothing: {summary}");
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    let miner = stopped.books("miner").unwrap();
    // Submit ids start anew with each pool: a share is known by the miner's sequence number, and
    // by its hash.
    let heard = heard_accepted(&miner);
    let told = sidecar.of("answer").filter(|answer| answer.is("accepted"));
    let told: BTreeSet<u64> = told.map(|answer| answer.number("seq")).collect();
    assert!(heard.is_subset(&told), "a Success the sidecar never sent");
    let hashes: BTreeMap<u64, &str> =
        miner.of("submit").map(|line| (line.number("seq"), line.text("hash"))).collect();
    let withdrawn: BTreeSet<&str> = pool.of("withdrawn").map(|line| line.text("hash")).collect();
    let booked = pool.of("verdict").filter(|verdict| verdict.is("accepted"));
    let booked: BTreeSet<&str> = booked.map(|verdict| verdict.text("hash")).collect();
    for seq in &told {
        let hash = hashes[seq];
        assert!(booked.contains(hash), "a Success for share {seq}, which nobody judged");
        assert!(!withdrawn.contains(hash), "a Success for share {seq}, which was taken back");
    }
    let submitted: BTreeSet<&str> = hashes.into_values().collect();
    assert!(booked.is_subset(&submitted), "the pool credits only what was submitted");
    assert_eq!(heard.len() as u64, summary.accepted, "{summary}");
}

#[test]
fn keeps_miners_for_as_long_as_told_and_then_sends_them_away() {
    let pool = "grace_ms = 500\nlost_ms = 4000".into();
    let mut line = Line::start(LineOptions { pool, ..fast() }).unwrap();
    let mut options = line.miner("miner").unwrap();
    options.kind = ChannelKind::Extended;
    options.status_interval = Duration::from_millis(200);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    block_on(async {
        let (mut idle, _) = Peer::mining(&line, "idle").await.unwrap();
        let mining = tokio::spawn(miner::run(options, async {
            let _ = stopped.await;
        }));
        until("shares accepted", || heard(&line, "miner") >= 5).await;
        line.pool.take().unwrap().kill().unwrap();
        line.sidecar.wait_for("backend-unavailable from now on").unwrap();
        // New channels are refused at once by now, and miners stay.
        let error = Peer::mining(&line, "late").await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("backend-unavailable"), "{error}");
        assert!(!line.sidecar.log().contains("pool-lost"));
        let told = hears_reconnect(&mut idle).await;
        assert_eq!((told.new_host.as_bytes().len(), told.new_port), (0, 0));
        stop.send(()).unwrap();
        mining.await.unwrap().unwrap();
    });
    line.sidecar.wait_for("pool-lost").unwrap();
    line.start_pool().unwrap();
    line.sidecar.wait_for_nth("link to the pool is up", 2).unwrap();
    block_on(Peer::mining(&line, "back")).unwrap();
    let stopped = line.stop().unwrap();
    let rejected = stopped.books("sidecar").unwrap().rejected();
    assert!(rejected.contains_key("backend-unavailable"), "{rejected:?}");
}

#[test]
fn tells_miners_and_the_operator_while_the_pool_is_away() {
    let mut line = Line::start(LineOptions { with_pool: false, ..fast() }).unwrap();
    line.sidecar.wait_for("no socket at").unwrap();
    let error = block_on(Peer::mining(&line, "w")).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("backend-unavailable"), "{error}");

    // The path is there, but nobody listens.
    drop(UnixListener::bind(line.path("pool.sock")).unwrap());
    line.sidecar.wait_for("nobody listens on").unwrap();
    fs::remove_file(line.path("pool.sock")).unwrap();

    // Something else listens: it closes at once.
    let other = UnixListener::bind(line.path("pool.sock")).unwrap();
    let (closer, done) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        while done.try_recv().is_err() {
            drop(other.accept());
        }
    });
    line.sidecar.wait_for("closed the connection on").unwrap();
    closer.send(()).unwrap();
    // Wakes the accept that is waiting; the sidecar's next try may have done so already.
    let _ = std::os::unix::net::UnixStream::connect(line.path("pool.sock"));
    fs::remove_file(line.path("pool.sock")).unwrap();

    // It keeps trying: the pool comes, and miners can mine.
    line.start_pool().unwrap();
    line.sidecar.wait_for("link to the pool is up").unwrap();
    let (_, channel) = block_on(Peer::mining(&line, "w")).unwrap();
    assert_eq!(channel.extranonce_size, 8);
    line.stop().unwrap();
}
