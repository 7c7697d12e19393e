//! Pool and sidecar go and come back.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use gopool_sv2_tests::attacker::Attacker;
use gopool_sv2_tests::fake_mint::Database;
use gopool_sv2_tests::peer::{Event, Kind, Peer};
use gopool_sv2_tests::supply::Supply;
use gopool_sv2_tests::{Line, LineOptions};

use crate::block_on;
use crate::miners::{enter, mine_all, place, submit};
use crate::rig::{until, Options, Rig, KEYS};

#[test]
fn row_pool_restarts_and_mq_13_each_event_arrives_once_however_often_its_way_breaks() {
    let mut rig = Rig::start(Options::default());
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        for round in 0..6 {
            mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
            // Sometimes in the middle of the events, sometimes long after them.
            let sealed = 20 * round;
            until("some are paid", || mint.database().paid() >= sealed).await;
            rig.line.pool.take().unwrap().kill().unwrap();
            rig.line.start_pool().unwrap();
        }
        rig.settled(&mint).await;
        assert_eq!((mint.database().paid(), mint.seen().streams), (120, 1));
        // `events` counts them.
        let newest = || rig.books().event_range().unwrap().0;
        until("the pool has all", || rig.events().len() as u64 == newest()).await;
        assert_eq!(rig.told("mint_confirmed", "amount"), 120);
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_sidecar_restarts_and_what_was_open_is_sealed_and_what_was_sent_is_sent_again() {
    let mut rig = Rig::start(Options::default());
    block_on(async {
        // Sent, and not confirmed: all events are dropped, and no reading comes through.
        let mint = rig.start_mint(Database::default()).await;
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        rig.settled(&mint).await;
        mint.faults().drop_events = u64::MAX;
        mint.faults().slow = std::time::Duration::from_secs(3);
        let before = mint.heard().len();
        mine_all(&rig.line, "a", Some(KEYS[0]), 20).await;
        mint.until(|seen| seen.dropped > 0).await;
        let lost = mint.heard().split_off(before);
        // Not sealed yet.
        mine_all(&rig.line, "b", Some(KEYS[1]), 20).await;
        let before = mint.heard().len();
        rig.line.start_sidecar().unwrap();
        // Under the same names, on the stream: not only found out by a reading.
        until("what was lost comes again", || {
            let again = mint.heard().split_off(before);
            lost.iter().all(|payment| again.contains(payment))
        })
        .await;
        *mint.faults() = Default::default();
        rig.settled(&mint).await;
        assert_eq!(mint.database().paid(), 60);
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_mint_and_jdc_connect_at_once_and_neither_holds_up_the_other() {
    let rig = Rig::start(Options::default());
    block_on(async {
        let (_, processor) = rig.addresses();
        // Handshakes that don't go on, at both doors, stay open until the end.
        let mut stalled = Vec::new();
        for door in [processor.to_string(), format!("127.0.0.1:{}", rig.line.port())] {
            for _ in 0..8 {
                let mut socket = TcpStream::connect(&door).unwrap();
                socket.write_all(b"PRI * HTTP/2").unwrap();
                stalled.push(socket);
            }
        }
        let jdc = || {
            // SetupConnection with protocol 1, Job Declaration, its texts empty.
            let setup = [vec![1, 2, 0, 2, 0], vec![0; 11]].concat();
            let mut jdc = Attacker::new(&rig.line);
            jdc.send(0, 0, &setup).until_closed()
        };
        let (mint, refused, told) = tokio::join!(
            rig.start_mint(Database::default()),
            async { tokio::task::block_in_place(jdc) },
            mine_all(&rig.line, "a", Some(KEYS[0]), 20),
        );
        assert!(matches!(&refused[..], [(2, text)] if text.ends_with(b"unsupported-protocol")));
        assert_eq!(told.accepted.len(), 20);
        rig.settled(&mint).await;
    });
    rig.line.stop().unwrap();
}

#[test]
fn mq_11_quotes_are_rotated_and_old_ones_answered_for() {
    let mint = "quote_payments = 2\n";
    let rig = Rig::start(Options { mint, ..Options::default() });
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        for _ in 0..5 {
            mine_all(&rig.line, "a", Some(KEYS[0]), 10).await;
            rig.settled(&mint).await;
        }
        let ids = mint.database().quote_ids();
        let mut counts: Vec<_> = ids
            .iter()
            .map(|id| mint.database().quote(id).map(|quote| quote.payments.len()))
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [Some(1), Some(2), Some(2)]);
        // A mint that has lost a payment on the first of them is told of it again.
        mint.forget_payments();
        assert_eq!(mint.database().paid(), 0);
        mint.pass_ten_seconds();
        for id in &ids {
            mint.get_quote(id).await.unwrap();
        }
        assert_eq!(mint.database().paid(), 50);
    });
    rig.line.stop().unwrap();
}

#[test]
fn mq_16_without_the_bridge_the_pool_works_the_same_and_keys_are_refused() {
    let flags = ["-share-seconds", "0.05", "-events", "events"];
    let minipool = flags.map(Into::into).to_vec();
    let network_bits = "1c00ffff";
    let line = Line::start(LineOptions { network_bits, minipool, ..LineOptions::default() });
    let line = line.unwrap();
    block_on(async {
        let mut options = line.miner("a").unwrap();
        options.share_limit = Some(20);
        let summary = gopool_sv2::miner::run(options, std::future::pending()).await.unwrap();
        assert_eq!((summary.accepted, summary.unanswered), (20, 0), "{summary}");
        let place = place(&line, "a", Some(KEYS[0]));
        let mut peer = Peer::connect(&place, Kind::Extended).await.unwrap();
        let refused = peer.open(&place).await.unwrap_err().to_string();
        assert!(refused.contains("payout-key-not-supported"), "{refused}");
    });
    let kept = fs::read_dir(line.path("")).unwrap().map(|file| file.unwrap().file_name());
    assert!(kept.into_iter().all(|name| !name.to_string_lossy().contains(".db")), "a ledger");
    assert_eq!(fs::read_dir(line.path("events")).unwrap().count(), 0, "nobody tells anything");
    line.stop().unwrap();
}

#[test]
fn row_block_shares_are_credited_like_others() {
    // Many a share is a block.
    let line = LineOptions { network_bits: "1f00ffff", ..LineOptions::default() };
    let rig = Rig::start(Options { searched: true, line, ..Options::default() });
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        let mut options = rig.line.miner("a").unwrap();
        options.user = format!("{}~ehash={}", options.user, KEYS[0]);
        options.share_limit = Some(80);
        let told = gopool_sv2::miner::run(options, std::future::pending()).await.unwrap();
        let blocks = rig.booked().iter().filter(|line| line["block"] == true).count();
        assert!(blocks > 0, "no block: {told}");
        // What came too late for its tip is told so, and nobody owes anything for it.
        assert_eq!((rig.booked().len() as u64, told.unanswered), (told.accepted, 0), "{told}");
        rig.settled(&mint).await;
        assert_eq!(rig.verify(), told.accepted);
    });
    rig.line.stop().unwrap();
}

#[test]
fn row_stale_shares_are_refused_and_not_owed() {
    // A block is found when the test wants it: in a second, and not by a share.
    let line = LineOptions { network_bits: "1e07ffff", ..LineOptions::default() };
    let rig = Rig::start(Options { line, ..Options::default() });
    block_on(async {
        let mint = rig.start_mint(Database::default()).await;
        let mut peer = enter(&place(&rig.line, "a", Some(KEYS[0]))).await.unwrap();
        let mut work = Supply::new(peer.task().unwrap(), 0);
        let (share, before) = work.share_and_hash().unwrap();
        assert_eq!(submit(&mut peer, 0, &share).await.unwrap(), "");
        rig.line.pool_process().signal("USR1").unwrap();
        while peer.event().await.unwrap() != Event::NewTip {}
        // Good work, and too late.
        let (share, late) = work.share_and_hash().unwrap();
        assert_eq!(submit(&mut peer, 1, &share).await.unwrap(), "stale-share");
        let mut work = Supply::new(peer.task().unwrap(), 0);
        let (share, after) = work.share_and_hash().unwrap();
        assert_eq!(submit(&mut peer, 2, &share).await.unwrap(), "");
        rig.settled(&mint).await;
        for kept in [rig.ledger_hashes(), rig.booked_hashes()] {
            assert_eq!(kept, BTreeSet::from([before.clone(), after.clone()]), "not {late}");
        }
        assert_eq!((mint.database().paid(), rig.confirmed_and_pending()), (2, (2, 0)));
    });
    rig.line.stop().unwrap();
}
