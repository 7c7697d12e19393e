//! What the pool tells again is counted once, and old work does not look new because a channel
//! opens.

use v1::session_response::Message as FromPool;

use super::tests::{hold, key, life, opened, submit, up, wish};
use super::*;
use crate::obs::clients::ChannelBook;
use crate::obs::totals::Totals;
use crate::obs::witness::{Block, Closed, Witness};
use crate::types::{ConnId, Connection, Difficulty, Hash, Short};

/// Work of a template, under a name of one channel.
fn job(channel: ChannelKey, id: u64, tip: u8, transactions: u8, time: u32) -> v1::Job {
    let FromPool::ChannelOpened(opened) = opened(channel, 7) else { panic!("an open") };
    v1::Job {
        id,
        seq: id,
        channel_ids: vec![channel.to_wire()],
        prev_hash: vec![tip; 32].into(),
        merkle_path: vec![vec![transactions; 32].into(); usize::from(transactions > 0)],
        min_ntime: time,
        ..opened.job.unwrap()
    }
}

/// How often new work came, and how often on a new tip.
fn work(link: &Link) -> (u64, u64) {
    (link.counts.pool.jobs.get(), link.counts.pool.tips.get())
}

#[tokio::test]
async fn channels_that_open_do_not_make_old_work_new() {
    let (mut link, mut events, mut out) = up(&[]);
    let open = |link: &mut Link, channel: ChannelKey, job: v1::Job| {
        link.send([wish(channel)].into_iter(), &mut Vec::new());
        let FromPool::ChannelOpened(opened) = opened(channel, 7) else { panic!("an open") };
        let job = Some(v1::Job { channel_ids: Vec::new(), ..job });
        link.receive(FromPool::ChannelOpened(v1::ChannelOpened { job, ..opened }), &mut Vec::new());
    };
    let first = key(1, 1);
    open(&mut link, first, job(first, 1, 1, 5, 100));
    assert_eq!(work(&link), (1, 1));
    link.counts.pool.job_ms.set(1);
    // Each has a job of its own, made when it came.
    for ordinal in 2..7 {
        let id = u64::from(ordinal);
        open(&mut link, key(1, ordinal), job(key(1, ordinal), id, 1, 5, 100 + ordinal));
    }
    // A new target, and what a stream begins with that goes on for another.
    link.receive(FromPool::Job(job(first, 7, 1, 5, 110)), &mut out);
    link.cut();
    link.welcomed(&life(1, true), &mut out);
    link.receive(FromPool::Job(job(first, 7, 1, 5, 110)), &mut out);
    assert_eq!((work(&link), link.counts.pool.job_ms.get()), ((1, 1), 1));
    // All the same every channel got its job.
    let mut jobs = 0;
    while let Ok(event) = events.try_recv() {
        jobs += u64::from(matches!(event, Event::Opened { .. } | Event::Job { .. }));
    }
    assert_eq!(jobs, 8);
    link.receive(FromPool::Job(job(first, 8, 1, 6, 110)), &mut out);
    assert!(work(&link) == (2, 1) && link.counts.pool.job_ms.get() > 1);
    // One that was made before that, and arrives behind it.
    open(&mut link, key(1, 9), job(key(1, 9), 9, 1, 5, 110));
    link.receive(FromPool::Job(job(first, 10, 2, 0, 120)), &mut out);
    // Without transactions the time is all that is new.
    link.receive(FromPool::Job(job(first, 11, 2, 0, 150)), &mut out);
    assert_eq!(work(&link), (4, 2));
}

#[tokio::test]
async fn a_block_result_that_comes_again_after_a_break_is_one() {
    let (mut link, mut events, mut out) = up(&[key(1, 1)]);
    let result = |accepted| {
        FromPool::BlockResult(v1::BlockResult {
            channel_id: key(1, 1).to_wire(),
            block_hash: vec![7; 32].into(),
            accepted,
            ..v1::BlockResult::default()
        })
    };
    link.receive(result(Some(true)), &mut out);
    link.cut();
    link.welcomed(&life(1, true), &mut out);
    link.receive(result(Some(true)), &mut out);
    let count = |link: &Link| link.counts.pool.blocks.read().collect::<Vec<_>>();
    assert_eq!(count(&link), [("accepted", 1), ("refused", 0), ("unknown", 0)]);
    // Something else that became of it is news.
    link.receive(result(None), &mut out);
    assert_eq!(count(&link), [("accepted", 1), ("refused", 0), ("unknown", 1)]);
    let mut told = 0;
    while let Ok(Event::BlockResult { .. }) = events.try_recv() {
        told += 1;
    }
    assert_eq!(told, 2, "the miner's log has each once");
}

/// Keeps what is told of blocks: channel, first byte of the hash, worker.
#[derive(Debug, Default)]
struct Ear(std::sync::Mutex<Vec<(ChannelKey, u8, Bytes)>>);

impl Witness for Ear {
    fn connection_opened(&self, _: &Connection) {}
    fn connection_closed(&self, _: Closed<'_>) {}
    fn channel_started(&self, _: &ChannelBook) {}
    fn totals(&self, _: &ChannelBook, _: Totals) {}
    fn channel_ended(&self, _: ChannelKey, _: &str) {}
    fn block(&self, block: Block<'_>) {
        self.0.lock().unwrap().push((block.channel, block.hash.0[0], block.worker.clone()));
    }
}

#[test]
fn a_block_candidate_counts_and_is_told_though_its_miner_has_gone() {
    let mut link = Link::new(8, Directory::default(), Journal::off());
    let ear = Arc::new(Ear::default());
    link.counts.tell(Arc::clone(&ear) as Arc<dyn Witness>);
    hold(&mut link, key(1, 1));
    let named = |token| match submit(key(1, 1), token) {
        Command::Submit { channel, token, generation, submit } => {
            let submit = Submit { worker: Short::new(b"rig"), ..submit };
            Command::Submit { channel, token, generation, submit }
        }
        other => other,
    };
    link.send((0..2).map(named), &mut Vec::new());
    let candidate = |hash| Verdict::Accepted {
        hash: Hash([hash; 32]),
        credit: Difficulty { whole: 1, fraction: 0 },
        block_candidate: true,
    };
    let count = |link: &Link| link.counts.shares.block_candidates.get();
    link.judged([(1, candidate(1))]);
    assert_eq!(count(&link), 1);
    let close = Command::Close { channel: key(1, 1), reason: "closed by the miner" };
    link.send([close].into_iter(), &mut Vec::new());
    for _ in 0..2 {
        link.judged([(1, candidate(1)), (2, candidate(2))]);
        assert_eq!(count(&link), 2, "verdicts may come again");
    }
    link.judged([(3, candidate(3))]);
    assert_eq!(count(&link), 2, "there was no such submit");
    let rig = Bytes::from_static(b"rig");
    let told = [(key(1, 1), 1, rig.clone()), (key(1, 1), 2, rig)];
    assert_eq!(*ear.0.lock().unwrap(), told, "each once, and whose");
    assert_eq!(link.in_flight.forget_connection(ConnId(1)), 0);
}
