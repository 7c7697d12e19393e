//! Promises of the whole miner, over loopback TCP against the pool of [`super::pool`].

use std::collections::BTreeMap;
use std::future::{pending, Future};
use std::time::Duration;

use binary_sv2::Str0255Owned;
use common_messages_sv2::ReconnectOwned;
use mining_sv2::{CloseChannelOwned, OpenMiningChannelErrorOwned};
use parsers_sv2::{CommonMessagesOwned, MiningOwned};
use tokio::sync::oneshot;

use super::pool::{Pool, CHANNEL};
use super::session::MAX_PENDING;
use super::target::{display_order, Target};
use super::*;
use crate::client::peer::{short, Peer};

fn options(peer: &Peer, kind: ChannelKind) -> MinerOptions {
    MinerOptions {
        kind,
        threads: 2,
        nominal_hash_rate: Some(1e6),
        status_interval: Duration::from_millis(20),
        reconnect: false,
        ..MinerOptions::new(peer.url(), "worker")
    }
}

/// Runs the miner beside the pool's script.
async fn beside<T>(
    options: MinerOptions,
    script: impl Future<Output = T>,
) -> (Result<Summary, MinerError>, T) {
    in_time(async { tokio::join!(run(options, pending()), script) }).await
}

/// The same, until the script drops what it is given or ends.
async fn until_stopped<T, F: Future<Output = T>>(
    options: MinerOptions,
    script: impl FnOnce(oneshot::Sender<()>) -> F,
) -> (Result<Summary, MinerError>, T) {
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { drop(stopped.await) };
    in_time(async { tokio::join!(run(options, shutdown), script(stop)) }).await
}

/// Turns a test that hangs into one that fails.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("the test hangs")
}

fn adds_up(summary: &Summary) {
    let rejected: u64 = summary.rejected.values().sum();
    assert_eq!(summary.submitted, summary.accepted + rejected + summary.unanswered, "{summary}");
}

#[tokio::test]
async fn mines_valid_shares_on_both_kinds_and_keeps_books() {
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        let name = format!("miner-books-{}-{kind:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let peer = Peer::bind().await;
        let options = MinerOptions {
            share_limit: Some(25),
            journal: Some(path.clone()),
            ..options(&peer, kind)
        };
        let (result, hashes) = beside(options, async {
            let mut pool = Pool::open(&peer).await;
            assert_eq!(pool.kind, kind);
            let mut hashes = Vec::new();
            while let Some(share) = pool.share().await {
                pool.accept(share.seq, 1).await;
                hashes.push(display_order(&share.hash));
            }
            hashes
        })
        .await;
        let summary = result.expect("run");
        adds_up(&summary);
        assert_eq!((summary.submitted, summary.accepted, summary.connects), (25, 25, 1));
        assert_eq!(summary.blocks, 25, "each of these shares meets the regtest target");
        assert_eq!(summary.ended, Ended::ShareLimit);
        assert!(summary.hash_rate > 0.0);

        let text = std::fs::read_to_string(&path).expect("journal");
        std::fs::remove_file(&path).expect("remove");
        let count = |event: &str| {
            let start = format!(r#"{{"event":"{event}""#);
            text.lines().filter(|line| line.starts_with(&start)).count()
        };
        assert_eq!(["connected", "opened", "submit"].map(count), [1, 1, 25]);
        assert_eq!(["accepted", "rejected", "disconnected"].map(count), [25, 0, 1]);
        assert!(hashes.iter().all(|hash| text.contains(hash)));
        let unique: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(unique.len(), 25, "no share twice");
    }
}

#[tokio::test]
async fn counts_batches_once_and_rejects_by_reason() {
    let peer = Peer::bind().await;
    let options = MinerOptions { share_limit: Some(12), ..options(&peer, ChannelKind::Extended) };
    let (result, ()) = beside(options, async {
        let mut pool = Pool::open(&peer).await;
        let mut last = 0;
        for n in 1..=12 {
            let share = pool.share().await.expect("share");
            assert_eq!(share.seq, n);
            match n {
                3 | 9 => pool.reject(share.seq, "stale-share").await,
                4 => pool.reject(share.seq, "duplicate-share\u{7}").await,
                _ => last = share.seq,
            }
            // 1 2 | 5 6 7 8 | 10 11 12
            match n {
                4 => pool.accept(last, 2).await,
                8 => pool.accept(last, 4).await,
                12 => pool.accept(last, 3).await,
                _ => {}
            }
        }
        assert!(pool.share().await.is_none());
    })
    .await;
    let summary = result.expect("run");
    adds_up(&summary);
    assert_eq!((summary.accepted, summary.unanswered), (9, 0));
    let want = [(r"duplicate-share\x07".to_owned(), 1), ("stale-share".to_owned(), 2)];
    assert_eq!(summary.rejected, BTreeMap::from(want));
}

#[tokio::test]
async fn a_server_that_closes_in_mid_batch_leaves_submits_unanswered() {
    let peer = Peer::bind().await;
    let (result, ()) = beside(options(&peer, ChannelKind::Standard), async {
        let mut pool = Pool::open(&peer).await;
        for n in 1..=5 {
            let share = pool.share().await.expect("share");
            if n == 2 {
                pool.accept(share.seq, 2).await;
            }
        }
    })
    .await;
    let summary = result.expect("run");
    adds_up(&summary);
    assert_eq!(summary.accepted, 2);
    assert!(summary.unanswered >= 3, "{summary}");
    assert!(matches!(summary.ended, Ended::Disconnected(_)), "{summary}");
}

#[tokio::test]
async fn reconnects_and_goes_on_counting() {
    let peer = Peer::bind().await;
    let options = MinerOptions { reconnect: true, ..options(&peer, ChannelKind::Extended) };
    let (result, seqs) = until_stopped(options, |stop| async {
        let mut pool = Pool::open(&peer).await;
        let first = pool.share().await.expect("share").seq;
        pool.accept(first, 1).await;
        drop(pool);
        let mut pool = Pool::open(&peer).await;
        let second = pool.share().await.expect("share").seq;
        pool.accept(second, 1).await;
        drop(stop);
        (first, second, pool.accept_all().await)
    })
    .await;
    let summary = result.expect("run");
    adds_up(&summary);
    assert_eq!(summary.connects, 2);
    assert_eq!(seqs.0, 1);
    assert!(seqs.1 > seqs.0, "sequence numbers go on: {seqs:?}");
    // The first Success may be lost with its connection, the others may not.
    assert!((seqs.2 + 1..=seqs.2 + 2).contains(&summary.accepted), "{summary}");
}

#[tokio::test]
async fn follows_a_new_tip() {
    let peer = Peer::bind().await;
    let options = options(&peer, ChannelKind::Standard);
    let (result, ()) = until_stopped(options, |stop| async {
        let mut pool = Pool::open(&peer).await;
        let share = pool.share().await.expect("share");
        assert_eq!(share.job, 1);
        pool.accept(share.seq, 1).await;
        pool.tip(2, 0xbb).await;
        loop {
            let share = pool.share().await.expect("share");
            if share.job == 2 {
                pool.accept(share.seq, 1).await;
                break;
            }
            pool.reject(share.seq, "stale-share").await;
        }
        // From the first share of the new job on, none of the old one comes.
        for _ in 0..300 {
            let share = pool.share().await.expect("share");
            assert_eq!(share.job, 2);
            pool.accept(share.seq, 1).await;
        }
        drop(stop);
        pool.accept_all().await;
    })
    .await;
    let summary = result.expect("run");
    adds_up(&summary);
    assert_eq!((summary.unanswered, summary.ended), (0, Ended::Shutdown));
    assert!(summary.accepted >= 302);
}

#[tokio::test]
async fn never_submits_what_was_found_for_an_older_tip_or_connection() {
    let peer = Peer::bind().await;
    let options = MinerOptions { reconnect: true, ..options(&peer, ChannelKind::Standard) };
    // With every hash a share and no answers the miner gets full: what it finds piles up.
    let fill = |mut pool: Pool, job: u32| async move {
        let mut last = 0;
        for _ in 0..MAX_PENDING {
            let share = pool.share().await.expect("share");
            assert_eq!(share.job, job);
            last = share.seq;
        }
        (pool, last)
    };
    let (result, ()) = until_stopped(options, |stop| async {
        drop(fill(Pool::open_with(&peer, Target::EASIEST, 1).await, 1).await);
        let pool = Pool::open_with(&peer, Target::EASIEST, 11).await;
        let (mut pool, last) = fill(pool, 11).await;
        pool.tip(12, 0xbb).await;
        pool.accept(last, MAX_PENDING as u32).await;
        let (mut pool, last) = fill(pool, 12).await;
        drop(stop);
        pool.accept(last, MAX_PENDING as u32).await;
        while pool.share().await.is_some() {}
    })
    .await;
    let summary = result.expect("run");
    adds_up(&summary);
    assert!(summary.accepted >= MAX_PENDING as u64, "{summary}");
}

#[tokio::test]
async fn waits_at_the_end_for_answers_but_not_for_ever() {
    for answers in [true, false] {
        let peer = Peer::bind().await;
        let mut options = options(&peer, ChannelKind::Extended);
        options.drain_timeout = Duration::from_millis(if answers { 60_000 } else { 100 });
        let (result, last) = until_stopped(options, |stop| async {
            let mut pool = Pool::open(&peer).await;
            let mut last = pool.share().await.expect("share").seq;
            drop(stop);
            if answers {
                return pool.accept_when_silent(last).await;
            }
            while let Some(share) = pool.share().await {
                last = share.seq;
            }
            last
        })
        .await;
        let summary = result.expect("run");
        adds_up(&summary);
        assert_eq!((summary.submitted, summary.ended.clone()), (last.into(), Ended::Shutdown));
        let want = if answers { (last.into(), 0) } else { (0, last.into()) };
        assert_eq!((summary.accepted, summary.unanswered), want, "{summary}");
    }
}

#[tokio::test]
async fn a_refused_channel_or_certificate_ends_the_run_even_when_reconnecting() {
    let peer = Peer::bind().await;
    let reconnecting = || MinerOptions { reconnect: true, ..options(&peer, ChannelKind::Standard) };
    let (result, ()) = beside(reconnecting(), async {
        let mut server = peer.accept().await;
        server.setup().await;
        let Some(MiningOwned::OpenStandardMiningChannel(m)) = server.recv_mining().await else {
            panic!("expected an opening");
        };
        let error_code = Str0255Owned::try_from(b"unknown-user".to_vec()).expect("code");
        let error = OpenMiningChannelErrorOwned { request_id: m.request_id, error_code };
        server.send(MiningOwned::OpenMiningChannelError(error)).await;
    })
    .await;
    let error = result.expect_err("refused");
    assert!(error.to_string().contains("unknown-user"), "{error}");

    let (result, _) = beside(reconnecting(), peer.accept_as([0x55; 32], 0)).await;
    assert!(matches!(result, Err(MinerError::Client(ClientError::Certificate(_)))));
}

#[tokio::test]
async fn follows_the_server_to_another_address_and_survives_a_closed_channel() {
    let (first, second) = (Peer::bind().await, Peer::bind().await);
    let options = MinerOptions { reconnect: true, ..options(&first, ChannelKind::Extended) };
    let (result, unanswered) = until_stopped(options, |stop| async {
        let mut pool = Pool::open(&first).await;
        let last = pool.share().await.expect("share").seq;
        let new_host = Str0255Owned::try_from(Vec::new()).expect("host");
        let reconnect = ReconnectOwned { new_host, new_port: second.port() };
        pool.peer.send(CommonMessagesOwned::Reconnect(reconnect)).await;
        let last = pool.accept_when_silent(last).await;

        let mut pool = Pool::open(&second).await;
        let share = pool.share().await.expect("share");
        assert_eq!(share.seq, last + 1, "what was open was answered before leaving");
        let reason_code = Str0255Owned::try_from(b"rest".to_vec()).expect("reason");
        let close = CloseChannelOwned { channel_id: CHANNEL, reason_code };
        pool.peer.send(MiningOwned::CloseChannel(close)).await;
        let mut unanswered = 1;
        while pool.share().await.is_some() {
            unanswered += 1;
        }
        // The other address was for once: from here on it is the configured one again.
        let mut pool = Pool::open(&first).await;
        let share = pool.share().await.expect("share");
        pool.accept(share.seq, 1).await;
        drop(stop);
        pool.accept_all().await;
        unanswered
    })
    .await;
    let summary = result.expect("run");
    adds_up(&summary);
    assert_eq!(summary.connects, 3);
    // Those still unsent when the channel closed never reached the pool.
    assert!(summary.unanswered >= unanswered, "{summary}");
}

#[tokio::test]
async fn an_unreachable_pool_is_an_error_or_a_reason_to_wait() {
    let gone = Peer::bind().await;
    let mut options = options(&gone, ChannelKind::Standard);
    drop(gone);
    options.connect = short(1000);
    let result = run(options.clone(), pending()).await;
    assert!(matches!(result, Err(MinerError::Client(ClientError::Connect { .. }))));
    options.reconnect = true;
    options.nominal_hash_rate = None;
    options.time_limit = Some(Duration::from_millis(1500));
    let summary = run(options, pending()).await.expect("run");
    assert_eq!((summary.connects, summary.ended), (0, Ended::TimeLimit));
}

#[tokio::test]
async fn a_shutdown_while_measuring_ends_the_run() {
    let peer = Peer::bind().await;
    let options = MinerOptions { nominal_hash_rate: None, ..options(&peer, ChannelKind::Standard) };
    let summary = run(options, std::future::ready(())).await.expect("run");
    assert_eq!((summary.connects, summary.ended), (0, Ended::Shutdown));
}

#[tokio::test]
async fn rejects_options_that_make_no_sense() {
    let peer = Peer::bind().await;
    let good = || options(&peer, ChannelKind::Standard);
    let faults: [MinerOptions; 7] = [
        MinerOptions { threads: 0, ..good() },
        MinerOptions { threads: 100_000, ..good() },
        MinerOptions { user: "x".repeat(256), ..good() },
        MinerOptions { nominal_hash_rate: Some(f32::NAN), ..good() },
        MinerOptions { share_limit: Some(0), ..good() },
        MinerOptions { min_extranonce_size: 33, ..good() },
        MinerOptions { status_interval: Duration::ZERO, ..good() },
    ];
    for options in faults {
        let result = run(options, pending()).await;
        assert!(matches!(result, Err(MinerError::Options(_))), "{result:?}");
    }
    let journal = Some(std::env::temp_dir());
    let result = run(MinerOptions { journal, ..good() }, pending()).await;
    assert!(matches!(result, Err(MinerError::Journal { .. })), "{result:?}");
}
