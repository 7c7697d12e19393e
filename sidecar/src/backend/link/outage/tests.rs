//! What happens while a Hello is under way, and what the pool may know that the miner doesn't.

use std::sync::Arc;

use gopool_sv2_proto::v1;
use v1::session_response::Message as FromPool;

use super::super::tests::{key, life, opened, submit, up, wish};
use super::*;
use crate::backend::{Command, InFlight, Mailbox};
use crate::types::Target;

#[tokio::test]
async fn what_is_closed_while_a_hello_is_under_way_is_closed_at_the_pool() {
    let (mut link, _events, mut out) = up(&[key(1, 1), key(1, 2)]);
    link.cut();
    link.give_up();
    assert_eq!(link.greeting().open, [key(1, 1).to_wire(), key(1, 2).to_wire()]);
    link.refuse(Command::Close { channel: key(1, 1), reason: "closed by the miner" });
    link.welcomed(&life(1, true), &mut out);
    let [Parcel::Message(ToPool::CloseChannel(close))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(close.channel_id, key(1, 1).to_wire());
    // Once: the next Hello doesn't tell it as open.
    out.clear();
    link.cut();
    assert_eq!(link.greeting().open, [key(1, 2).to_wire()]);
    link.welcomed(&life(1, true), &mut out);
    assert_eq!(out, []);
}

#[test]
fn each_hello_has_a_higher_number_whatever_came_of_the_one_before() {
    let (mut link, _events, mut out) = up(&[key(1, 1)]);
    let first = link.greeting().dial;
    let given_up = link.greeting().dial;
    link.welcomed(&life(1, true), &mut out);
    link.cut();
    let later = link.greeting().dial;
    link.welcomed(&life(2, false), &mut out);
    let dials = [first, given_up, later, link.greeting().dial];
    assert!(first > 0 && dials.is_sorted_by(|a, b| a < b), "{dials:?}");
}

#[tokio::test]
async fn an_update_that_was_refused_in_an_outage_holds_at_the_pool_neither() {
    let (mut link, mut events, mut out) = up(&[key(1, 1)]);
    let update = |request, byte| Command::Update {
        channel: key(1, 1),
        request,
        nominal_hash_rate: f32::from(byte),
        max_target: Target([byte; 32]),
    };
    let updated = |request_id, refused: v1::RefuseReason| {
        let channel_id = key(1, 1).to_wire();
        let refused = refused.into();
        FromPool::ChannelUpdated(v1::ChannelUpdated {
            channel_id,
            request_id,
            refused,
            ..Default::default()
        })
    };
    link.send([update(1, 7)].into_iter(), &mut out);
    link.receive(updated(1, v1::RefuseReason::Unspecified), &mut out);
    // The pool may take this one; its word doesn't arrive.
    link.send([update(2, 8)].into_iter(), &mut out);
    link.cut();
    link.give_up();
    for _ in 0..2 {
        out.clear();
        link.welcomed(&life(1, true), &mut out);
        let [Parcel::Message(ToPool::UpdateChannel(revert))] = &out[..] else { panic!("{out:?}") };
        assert_eq!(revert.max_target[..], [7; 32], "what the miner knows to hold");
        // Not heard: it is said again, and nobody else is told.
        link.cut();
        link.give_up();
    }
    link.welcomed(&life(1, true), &mut out);
    while events.try_recv().is_ok() {}
    link.receive(updated(0, v1::RefuseReason::RateLimited), &mut out);
    assert!(events.try_recv().is_err(), "no miner asked for it");
    out.clear();
    link.cut();
    link.welcomed(&life(1, true), &mut out);
    assert_eq!(out, []);
}

fn ids(message: &Parcel) -> Option<(u64, Vec<u64>)> {
    match message {
        Parcel::Message(ToPool::CloseChannel(close)) => {
            Some((close.channel_id, close.cancelled_submit_ids.clone()))
        }
        _ => None,
    }
}

/// Connection 1 has two channels, of which the pool has one again with three submits in flight, and
/// the other not. Then it is connection 2's turn to mine.
fn unrestored() -> (Link, Mailbox, Vec<Parcel>) {
    let (mut link, mut events, mut out) = up(&[key(1, 1), key(1, 2)]);
    link.cut();
    link.greeting();
    link.welcomed(&life(2, false), &mut out);
    link.receive(opened(key(1, 1), 7), &mut out);
    let submits = (0..3).map(|token| share(key(1, 1), token));
    out.clear();
    link.send(submits, &mut out);
    assert!(matches!(events.try_recv(), Ok(Event::Reopened { .. })));
    out.clear();
    link.receive(opened(key(1, 2), 8), &mut out);
    (link, events, out)
}

fn share(channel: ChannelKey, token: u64) -> Command {
    match submit(channel, token) {
        Command::Submit { channel, token, submit, .. } => {
            Command::Submit { channel, token, generation: 1, submit }
        }
        other => other,
    }
}

#[tokio::test]
async fn what_waits_beside_a_channel_that_is_not_restored_is_answered_and_cancelled() {
    let (mut link, mut events, mut out) = unrestored();
    let closes: Vec<_> = out.iter().filter_map(ids).collect();
    let (kept, lost) = (key(1, 1).to_wire(), key(1, 2).to_wire());
    assert_eq!(closes, [(lost, vec![]), (kept, vec![1, 2, 3])]);
    let Ok(Event::Unjudged(waited)) = events.try_recv() else { panic!("their answers") };
    let unavailable = Verdict::Rejected(RejectReason::BackendUnavailable);
    assert!(waited.len() == 3 && waited.iter().all(|(judged, _)| judged.verdict == unavailable));
    assert!(matches!(events.try_recv(), Ok(Event::Unrestored { .. })));
    // A verdict that crosses is for nobody, and what the connection sends before it hears finds no
    // channel at the pool.
    let verdicts = vec![v1::Verdict { submit_id: 1, accepted: true, ..v1::Verdict::default() }];
    link.receive(FromPool::VerdictBatch(v1::VerdictBatch { verdicts }), &mut out);
    assert!(events.try_recv().is_err());
    out.clear();
    let close = Command::Close { channel: key(1, 1), reason: "connection closed" };
    link.send([share(key(1, 1), 3), close].into_iter(), &mut out);
    assert_eq!(out, []);
}

#[tokio::test]
async fn a_cancel_that_the_pool_may_not_have_heard_goes_out_again() {
    for heard in [false, true] {
        let (mut link, _events, out) = unrestored();
        let Some(Parcel::Message(ToPool::Ping(ping))) = out.last() else { panic!("{out:?}") };
        assert_eq!(link.in_flight.len(), 0);
        let before = link.room();
        if heard {
            let pong = v1::Pong { id: ping.id, sent_us: ping.sent_us };
            link.receive(FromPool::Pong(pong), &mut Vec::new());
        }
        link.cut();
        let withdrawn = link.greeting().withdrawn;
        assert_eq!(withdrawn, if heard { vec![] } else { vec![1, 2, 3] });
        assert_eq!(before, super::super::MAX_BATCH, "this table is larger than a batch");
        // Said once more, it is heard.
        link.welcomed(&life(2, true), &mut Vec::new());
        link.cut();
        assert_eq!(link.greeting().withdrawn, [0; 0]);
    }
}

#[tokio::test]
async fn what_is_cancelled_keeps_its_place_until_the_pool_has_heard() {
    let (mut link, _events, out) = unrestored();
    link.in_flight = InFlight::new(5);
    assert_eq!(link.room(), 2);
    let Some(Parcel::Message(ToPool::Ping(ping))) = out.last() else { panic!("{out:?}") };
    link.receive(FromPool::Pong(v1::Pong { id: ping.id, sent_us: 0 }), &mut Vec::new());
    assert_eq!(link.room(), 5);
}

#[tokio::test]
async fn nothing_of_a_connection_that_was_told_to_go_reaches_a_pool_that_is_back() {
    let (mut link, mut events, mut out) = up(&[key(1, 1)]);
    link.cut();
    link.give_up();
    link.greeting();
    link.lost();
    assert!(matches!(events.try_recv(), Ok(Event::LinkLost)));
    link.welcomed(&life(1, true), &mut out);
    let [Parcel::Message(ToPool::CloseChannel(close))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(close.channel_id, key(1, 1).to_wire());
    out.clear();
    // It was in the queue all the time; the connection has answered it when it heard.
    link.send([submit(key(1, 1), 0)].into_iter(), &mut out);
    assert_eq!(out, []);
}

#[test]
fn a_report_on_an_older_target_is_no_answer_to_a_newer_one() {
    let (mut link, _events, mut out) = up(&[key(1, 1)]);
    let target = |byte| Target([byte; 32]);
    let report = |wanted, told| Command::TargetInEffect {
        channel: key(1, 1),
        wanted: target(wanted),
        target: target(told),
    };
    let set = |byte| {
        let target = Bytes::copy_from_slice(&[byte; 32]);
        FromPool::SetTarget(v1::SetTarget { channel_id: key(1, 1).to_wire(), target })
    };
    let told = |out: &[Parcel]| -> Vec<(u8, u8)> {
        let reports = out.iter().filter_map(|message| match message {
            Parcel::Message(ToPool::TargetInEffect(told)) => {
                Some((told.wanted_target[0], told.target[0]))
            }
            _ => None,
        });
        reports.collect()
    };
    link.send([report(9, 3)].into_iter(), &mut out);
    assert_eq!(told(&out), [(9, 3)]);
    link.receive(set(8), &mut out);
    out.clear();
    // The connection had not heard of it yet.
    link.send([report(9, 4)].into_iter(), &mut out);
    assert_eq!(out, []);
    link.send([report(8, 5)].into_iter(), &mut out);
    link.cut();
    link.refuse(report(9, 6));
    link.welcomed(&life(1, true), &mut out);
    assert_eq!(told(&out), [(8, 5), (8, 5)], "and once more on the next stream");
}

#[tokio::test]
async fn what_waits_for_a_miner_that_the_newest_job_is_of_no_use_to_is_cancelled() {
    for (flags, closes) in [(0, 0), (1 << 2, 1)] {
        let (mut link, mut events, mut out) = up(&[]);
        let Command::Open { channel, connection, request } = wish(key(1, 1)) else { panic!() };
        let mut rolls = (*connection).clone();
        rolls.setup_flags = flags;
        let open = Command::Open { channel, connection: Arc::new(rolls), request };
        link.send([open].into_iter(), &mut out);
        let mut grant = opened(key(1, 1), 7);
        let FromPool::ChannelOpened(message) = &mut grant else { panic!() };
        let job = message.job.as_mut().unwrap();
        job.version_mask = crate::types::VERSION_ROLLING_MASK;
        let channel_ids = vec![key(1, 1).to_wire()];
        let narrow = v1::Job { id: 2, seq: 2, version_mask: 0, channel_ids, ..job.clone() };
        link.receive(grant, &mut out);
        assert!(matches!(events.try_recv(), Ok(Event::Opened { .. })));
        link.send([submit(key(1, 1), 0)].into_iter(), &mut out);
        out.clear();
        link.receive(FromPool::Job(narrow), &mut out);
        let cancelled: Vec<_> = out.iter().filter_map(ids).collect();
        assert_eq!(cancelled, vec![(key(1, 1).to_wire(), vec![1]); closes]);
        if closes > 0 {
            assert!(matches!(events.try_recv(), Ok(Event::Unjudged(_))));
        }
        assert!(matches!(events.try_recv(), Ok(Event::Job { .. })));
    }
}
