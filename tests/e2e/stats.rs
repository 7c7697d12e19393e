//! What a stats service hears of the line: all of it, once, whatever becomes of the service.

use std::collections::BTreeMap;
use std::future::pending;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gopool_sv2::miner::{self, ChannelKind};
use gopool_sv2_proto::v1::event::Event;
use gopool_sv2_proto::v1::{BlockFound, RejectReason};
use gopool_sv2_tests::sink::{EventSink, Manner};
use gopool_sv2_tests::{binaries, Books, Event as Booked, Line, LineOptions};
use serde_json::Value;

use crate::block_on;

/// For what takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn line() -> Line {
    Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.02".into()],
        sections: "[stats]\nsink = \"unix:stats.sock\"\nevery_sec = 1\n\
                   [admin]\nlisten = \"unix:admin.sock\"\n"
            .into(),
        ..LineOptions::default()
    })
    .unwrap()
}

async fn mine(line: &Line, name: &str, kind: ChannelKind, shares: u64) -> u64 {
    let mut options = line.miner(name).unwrap();
    options.kind = kind;
    options.share_limit = Some(shares);
    miner::run(options, pending()).await.expect(name).accepted
}

fn awaits(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(50));
    }
}

/// What came in sums, all channels together.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    accepted: u64,
    /// In units of 2^-32.
    credit: u128,
    rejected: BTreeMap<String, u64>,
}

fn sums(events: &[Event]) -> Sums {
    let mut sums = Sums::default();
    for event in events {
        let Event::ShareTotals(totals) = event else { continue };
        assert!(totals.since_ms > 0, "{totals:?}");
        sums.accepted += totals.accepted;
        let credit = totals.credit.unwrap_or_default();
        sums.credit += (u128::from(credit.whole) << 32) + u128::from(credit.fraction);
        for rejected in &totals.rejected {
            let reason = match rejected.reason() {
                RejectReason::StaleShare => "stale-share",
                RejectReason::DifficultyTooLow => "difficulty-too-low",
                RejectReason::DuplicateShare => "duplicate-share",
                other => other.as_str_name(),
            };
            *sums.rejected.entry(reason.to_owned()).or_default() += rejected.count;
        }
    }
    sums
}

fn booked(sidecar: &Books, pool: &Books) -> Sums {
    let mut credit = 0;
    for verdict in pool.of("verdict").filter(|verdict| verdict.is("accepted")) {
        let (whole, fraction) = verdict.credit();
        credit += (u128::from(whole) << 32) + u128::from(fraction);
    }
    Sums { accepted: pool.accepted(), credit, rejected: sidecar.rejected() }
}

fn count(events: &[Event], wanted: fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| wanted(event)).count()
}

fn is_closed(event: &Event) -> bool {
    matches!(event, Event::ConnectionClosed(_))
}

#[test]
fn sums_at_the_sink_equal_all_books_though_it_is_killed_again_and_again() {
    let line = line();
    let mut sink = EventSink::start(&line.path("stats.sock"), Manner::Good).unwrap();
    let heard = std::thread::scope(|scope| {
        let miners = scope.spawn(|| {
            block_on(async {
                let (one, other) = tokio::join!(
                    mine(&line, "standard", ChannelKind::Standard, 400),
                    mine(&line, "extended", ChannelKind::Extended, 400),
                );
                one + other
            })
        });
        for kill in 1..=6 {
            awaits("events come", || sink.kept().streams >= kill && sink.kept().seq > 0);
            sleep(Duration::from_millis(700));
            sink.kill();
            sleep(Duration::from_millis(300));
            sink.start_again().unwrap();
        }
        miners.join().unwrap()
    });
    awaits("both are gone", || count(&sink.events(), is_closed) == 2);
    // The node's word on a late block may come behind the miner's last one.
    sleep(Duration::from_secs(1));
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    let kept = sink.kept();
    assert_eq!(kept.gaps, 0);
    let numbers: Vec<_> = kept.events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=kept.seq).collect::<Vec<_>>(), "each once, without a hole");
    let events = sink.events();
    let sums = sums(&events);
    assert_eq!(sums.accepted, heard, "miners and sink");
    assert_eq!(sums, booked(&sidecar, &pool), "pool, sidecar and sink");
    assert_eq!(count(&events, |event| matches!(event, Event::ConnectionOpened(_))), 2);
    assert_eq!(count(&events, |event| matches!(event, Event::ChannelStarted(_))), 2);
    assert_eq!(count(&events, |event| matches!(event, Event::ChannelEnded(_))), 2);
    // A candidate each, and then what became of it.
    let found = |wanted: fn(&BlockFound) -> bool| {
        let blocks = events.iter().filter_map(|event| match event {
            Event::BlockFound(block) if wanted(block) => Some(block.block_hash.to_vec()),
            _ => None,
        });
        let mut hashes: Vec<_> = blocks.collect();
        hashes.sort_unstable();
        hashes
    };
    let (candidates, results) =
        (found(|block| block.accepted.is_none()), found(|block| block.accepted.is_some()));
    assert!(!results.is_empty(), "no block in {heard} shares");
    // A pool has no way to tell what became of a block once the channel that it came on is closed:
    // each of the two miners may have had one under way when it left.
    let untold = pool.of("block").count() - results.len();
    assert!(untold <= 2, "{untold} results of blocks were not told");
    let candidate = |verdict: &&Booked| verdict.is("accepted") && verdict.is("block");
    assert_eq!(candidates.len(), pool.of("verdict").filter(candidate).count());
    assert!(candidates.iter().filter(|hash| !results.contains(hash)).count() <= untold);
    let Some(Event::Snapshot(last)) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!((last.connections, last.standard_channels, last.extended_channels), (0, 0, 0));
    assert!(count(&events, |event| matches!(event, Event::Snapshot(_))) > 2);
    let answers = events.iter().filter_map(|event| match event {
        Event::Snapshot(snapshot) => {
            Some(snapshot.answers.iter().map(|one| one.count).sum::<u64>())
        }
        _ => None,
    });
    let rejected: u64 = sums.rejected.values().sum();
    assert_eq!(answers.sum::<u64>(), heard + rejected, "each answer was timed once");
}

#[test]
fn a_sink_that_lost_everything_hears_anew_what_is_open() {
    let line = line();
    let path = line.path("stats.sock");
    let mut options = line.miner("miner").unwrap();
    options.kind = ChannelKind::Extended;
    let (leave, leaves) = tokio::sync::oneshot::channel::<()>();
    let left = async {
        // Either way it is to leave.
        let _ = leaves.await;
    };
    std::thread::scope(|scope| {
        let miner = scope.spawn(|| block_on(miner::run(options, left)).unwrap());
        let old = EventSink::start(&path, Manner::Good).unwrap();
        awaits("shares come", || sums(&old.events()).accepted > 20);
        drop(old);
        let new = EventSink::start(&path, Manner::Good).unwrap();
        awaits("it is told anew", || {
            let events = new.events();
            let started = events.iter().position(|event| matches!(event, Event::ChannelStarted(_)));
            let later = started.map(|at| &events[at..]).unwrap_or_default();
            count(later, |event| matches!(event, Event::ShareTotals(_))) > 0
        });
        leave.send(()).unwrap();
        miner.join().unwrap();
        awaits("it hears the end", || count(&new.events(), is_closed) == 1);
        let events = new.events();
        assert_eq!(count(&events, |event| matches!(event, Event::ConnectionOpened(_))), 1);
        assert_eq!(count(&events, |event| matches!(event, Event::ChannelStarted(_))), 1);
        assert_eq!(new.kept().gaps, 1);
    });
}

fn status(line: &Line) -> Value {
    let mut command = Command::new(&binaries().unwrap().sidecar);
    let config = line.path("sidecar.toml");
    let output = command.args(["status", "--json", "--config"]).arg(config).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn dependency(status: &Value) -> &Value {
    let all = status["dependencies"].as_array().unwrap();
    all.iter().find(|one| one["name"] == "sink:stats").unwrap()
}

/// Mines with such a sink, and waits until the operator is told of it in these words.
fn mines_on_with(manner: Option<Manner>, words: &str) {
    let line = line();
    let sink = manner.map(|manner| EventSink::start(&line.path("stats.sock"), manner).unwrap());
    let accepted = block_on(mine(&line, "first", ChannelKind::Extended, 40));
    assert!(accepted >= 20, "{accepted}");
    awaits(words, || {
        let status = status(&line);
        let stats = dependency(&status);
        status["state"] == "degraded"
            && stats["state"] == "degraded"
            && stats["detail"].as_str().unwrap().contains(words)
    });
    let accepted = block_on(mine(&line, "second", ChannelKind::Standard, 40));
    assert!(accepted >= 20, "{accepted}");
    let stopped = line.stop().unwrap();
    let (sidecar, pool) = (stopped.books("sidecar").unwrap(), stopped.books("minipool").unwrap());
    assert_eq!(sidecar.accepted(), pool.accepted());
    drop(sink);
}

#[test]
fn mines_on_when_there_is_no_sink_at_all() {
    mines_on_with(None, "gopool-sv2 stats");
}

#[test]
fn mines_on_when_the_sink_keeps_nothing() {
    mines_on_with(Some(Manner::NeverAcks), "takes no events");
}

#[test]
fn mines_on_when_the_sink_lies() {
    mines_on_with(Some(Manner::Lies), "acknowledges what was not sent");
}

#[test]
fn mines_on_when_the_sink_is_something_else() {
    mines_on_with(Some(Manner::Garbage), "no stats service");
}
