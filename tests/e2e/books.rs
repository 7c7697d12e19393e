//! Shares on both kinds of channel, blocks, and books that agree.

use std::future::pending;

use gopool_sv2::miner::{self, ChannelKind, Summary};
use gopool_sv2_tests::{Line, LineOptions};

use crate::block_on;

async fn mine(line: &Line, name: &str, kind: ChannelKind, shares: u64) -> Summary {
    let mut options = line.miner(name).unwrap();
    options.kind = kind;
    options.share_limit = Some(shares);
    miner::run(options, pending()).await.expect(name)
}

#[test]
fn both_kinds_mine_blocks_and_all_books_agree_to_the_share() {
    let line = Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.05".into()],
        ..LineOptions::default()
    })
    .unwrap();
    let (standard, extended) = block_on(async {
        tokio::join!(
            mine(&line, "standard", ChannelKind::Standard, 80),
            mine(&line, "extended", ChannelKind::Extended, 80),
        )
    });
    for summary in [&standard, &extended] {
        assert!(summary.accepted >= 40, "{summary}");
        assert_eq!(summary.unanswered, 0, "{summary}");
    }
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    let miners = [stopped.books("standard").unwrap(), stopped.books("extended").unwrap()];
    let heard: u64 = miners.iter().map(|books| books.accepted()).sum();
    assert_eq!(heard, standard.accepted + extended.accepted);
    assert_eq!(sidecar.accepted(), heard, "sidecar and miners");
    assert_eq!(pool.accepted(), heard, "pool and miners");
    let (mut told, mut booked) = (sidecar.accepted_ids(), pool.accepted_ids());
    told.sort_unstable();
    booked.sort_unstable();
    assert_eq!(told, booked, "the same submits");
    assert_eq!(sidecar.of("closed").map(|e| e.number("dropped")).collect::<Vec<_>>(), [0]);

    let blocks: Vec<_> = pool.of("block").collect();
    assert!(!blocks.is_empty(), "no block in {heard} shares");
    // Two miners may find a block each at the same moment: only such a race loses one.
    let lost = blocks.iter().filter(|block| !block.is("accepted"));
    assert!(blocks.iter().any(|block| block.is("accepted")));
    for block in lost {
        assert!(block.text("detail").contains("stale"), "{block:?}");
    }
}

/// 2^32 hashes, some minutes of two cores.
#[test]
#[ignore = "long: make test-full runs it"]
fn sh_9_eight_shares_of_an_eighth_of_difficulty_1_are_1() {
    let flags = ["-min-difficulty", "0.125", "-max-difficulty", "0.125"];
    let line = Line::start(LineOptions {
        network_bits: "1b00ffff",
        minipool: flags.map(Into::into).to_vec(),
        ..LineOptions::default()
    })
    .unwrap();
    let mut options = line.miner("miner").unwrap();
    options.threads = 2;
    options.share_limit = Some(8);
    let summary = block_on(miner::run(options, pending())).unwrap();
    assert_eq!((summary.accepted, summary.unanswered), (8, 0), "{summary}");
    let books = line.stop().unwrap().books("miner").unwrap();
    let (mut shares, mut sum) = (0, 0);
    for success in books.of("accepted") {
        shares += success.number("count");
        sum += success.number("sum");
        assert_eq!(sum, shares / 8, "{success:?}");
    }
    assert_eq!((shares, sum), (8, 1));
}

#[test]
fn many_channels_on_many_connections_share_no_work() {
    let line = Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.05".into()],
        ..LineOptions::default()
    })
    .unwrap();
    // Same address, same jobs: only the extranonce prefix keeps them apart.
    let summaries = block_on(async {
        tokio::join!(
            mine(&line, "a", ChannelKind::Extended, 30),
            mine(&line, "b", ChannelKind::Extended, 30),
            mine(&line, "c", ChannelKind::Standard, 30),
            mine(&line, "d", ChannelKind::Standard, 30),
        )
    });
    for summary in [summaries.0, summaries.1, summaries.2, summaries.3] {
        assert_eq!(summary.rejected.get("duplicate-share"), None, "{summary}");
        assert!(summary.accepted > 0, "{summary}");
    }
    let pool = line.stop().unwrap().books("minipool").unwrap();
    let mut hashes: Vec<_> =
        pool.of("verdict").filter(|v| v.is("accepted")).map(|v| v.text("hash")).collect();
    let all = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), all, "a header was credited twice");
}
