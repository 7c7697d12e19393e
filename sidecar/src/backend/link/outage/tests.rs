//! What happens while a Hello is under way, and what the pool may know that the miner doesn't.

use gopool_sv2_proto::v1;
use v1::session_response::Message as FromPool;

use super::super::tests::{key, life, up};
use super::*;
use crate::backend::Command;
use crate::types::Target;

#[tokio::test]
async fn what_is_closed_while_a_hello_is_under_way_is_closed_at_the_pool() {
    let (mut link, _events, mut out) = up(&[key(1, 1), key(1, 2)]);
    link.cut();
    link.give_up();
    assert_eq!(link.greeting().open, [key(1, 1).to_wire(), key(1, 2).to_wire()]);
    link.refuse(Command::Close { channel: key(1, 1), reason: "closed by the miner" });
    link.welcomed(&life(1, true), &mut out);
    let [ToPool::CloseChannel(close)] = &out[..] else { panic!("{out:?}") };
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
        let [ToPool::UpdateChannel(revert)] = &out[..] else { panic!("{out:?}") };
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
