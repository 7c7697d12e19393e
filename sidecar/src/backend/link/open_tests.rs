//! However many channels are wished for at once, the pool is asked for a few at a time: what miners
//! send meanwhile gets through.

use v1::session_response::Message as FromPool;

use super::tests::{hold, key, life, opened, submit, up, wish};
use super::*;
use crate::backend::channels::{OPENS_AT_ONCE, REOPENS_AT_ONCE, WISHES_MAX};
use crate::types::ConnId;

/// Those that a pool was asked for, in order; nothing else is among it.
pub(super) fn asked(out: &mut Vec<Parcel>) -> Vec<ChannelKey> {
    let channel = |parcel: Parcel| match parcel {
        Parcel::Message(ToPool::OpenChannel(open)) => ChannelKey::from_wire(open.channel_id),
        other => panic!("{other:?}"),
    };
    out.drain(..).map(channel).collect()
}

fn close(channel: ChannelKey) -> Command {
    Command::Close { channel, reason: "closed by the miner" }
}

/// One more than twice as many as go out at once, each of a connection of its own.
pub(super) fn many() -> Vec<ChannelKey> {
    (1..=2 * OPENS_AT_ONCE as u64 + 1).map(|conn| key(conn, 1)).collect()
}

#[test]
fn opens_go_out_a_few_at_a_time_and_shares_meanwhile() {
    let (channels, mut out) = (many(), Vec::new());
    let mut link = Link::new(8, Directory::default(), Journal::off());
    let miner = key(9_999, 1);
    hold(&mut link, miner);
    link.send(channels.iter().copied().map(wish), &mut out);
    assert_eq!(asked(&mut out), channels[..OPENS_AT_ONCE], "first come, first");
    link.send([submit(miner, 1)].into_iter(), &mut out);
    assert!(matches!(out.as_slice(), [Parcel::Shares(_)]), "{out:?}");
    out.clear();
    // Each answer makes room for one more; a refusal, too.
    let refused = v1::ChannelRefused {
        channel_id: channels[0].to_wire(),
        reason: v1::RefuseReason::UnknownUser.into(),
        ..v1::ChannelRefused::default()
    };
    link.receive(FromPool::ChannelRefused(refused), &mut out);
    link.ask(&mut out);
    assert_eq!(asked(&mut out), [channels[OPENS_AT_ONCE]]);
}

#[test]
fn one_that_is_closed_while_it_waits_is_never_asked_for_and_one_that_was_makes_room() {
    let (channels, mut out) = (many(), Vec::new());
    let mut link = Link::new(8, Directory::default(), Journal::off());
    link.send(channels.iter().copied().map(wish), &mut out);
    assert_eq!(asked(&mut out).len(), OPENS_AT_ONCE);
    link.send([close(channels[OPENS_AT_ONCE])].into_iter(), &mut out);
    assert!(out.is_empty(), "the pool has not heard of it: {out:?}");
    link.send([close(channels[0])].into_iter(), &mut out);
    let closed = out.remove(0);
    assert!(matches!(closed, Parcel::Message(ToPool::CloseChannel(_))), "{closed:?}");
    assert_eq!(asked(&mut out), [channels[OPENS_AT_ONCE + 1]]);
}

#[test]
fn more_than_may_wait_are_refused_for_now() {
    let directory = Directory::default();
    let mut link = Link::new(8, directory.clone(), Journal::off());
    let all = (1..=(WISHES_MAX + OPENS_AT_ONCE) as u64).map(|conn| key(conn, 1));
    // In batches, as they come: what is asked for at once makes room.
    for channel in all {
        link.send([wish(channel)].into_iter(), &mut Vec::new());
    }
    let late = key(7_777_777, 1);
    let (mut events, ..) = directory.attach(late.conn(), 8);
    link.send([wish(late)].into_iter(), &mut Vec::new());
    let refused = events.try_recv();
    assert!(
        matches!(refused, Ok(Event::Refused { reason: RefuseReason::RateLimited, .. })),
        "{refused:?}"
    );
}

#[test]
fn rejects_a_second_wish_of_a_connection_when_half_of_the_line_is_taken() {
    let directory = Directory::default();
    let mut link = Link::new(8, directory.clone(), Journal::off());
    let [greedy, other] = [1, 2].map(ConnId);
    let [mut to_greedy, mut to_other] = [greedy, other].map(|conn| directory.attach(conn, 8).0);
    let half = u32::try_from(WISHES_MAX / 2 + OPENS_AT_ONCE).unwrap();
    for ordinal in 1..=half {
        link.send([wish(key(greedy.0, ordinal))].into_iter(), &mut Vec::new());
    }
    assert!(to_greedy.try_recv().is_err(), "there was room for all of these");
    let limited =
        |event| matches!(event, Ok(Event::Refused { reason: RefuseReason::RateLimited, .. }));
    link.send([wish(key(greedy.0, half + 1))].into_iter(), &mut Vec::new());
    assert!(limited(to_greedy.try_recv()));
    link.send([wish(key(other.0, 1))].into_iter(), &mut Vec::new());
    assert!(to_other.try_recv().is_err(), "it waits for none yet");
    link.send([wish(key(other.0, 2))].into_iter(), &mut Vec::new());
    assert!(limited(to_other.try_recv()));
}

#[test]
fn those_that_are_given_up_while_the_pool_says_nothing_take_no_memory() {
    let mut link = Link::new(8, Directory::default(), Journal::off());
    let mut out = Vec::new();
    link.send(many().into_iter().map(wish), &mut out);
    let waiting = link.channels.waiting();
    for ordinal in 1..10_000 {
        let channel = key(77_777, ordinal);
        link.send([wish(channel), close(channel)].into_iter(), &mut out);
    }
    assert!(link.channels.waiting() < waiting + 4 * OPENS_AT_ONCE);
    assert_eq!(asked(&mut out).len(), OPENS_AT_ONCE);
}

#[test]
fn all_that_was_not_opened_is_asked_for_again_on_the_next_stream_in_the_same_order() {
    let (mut channels, mut out) = (many(), Vec::new());
    // Who came first is not who has the lower number.
    channels.reverse();
    let mut link = Link::new(8, Directory::default(), Journal::off());
    link.welcomed(&life(1, false), &mut out);
    link.send(channels.iter().copied().map(wish), &mut out);
    out.clear();
    link.cut();
    link.welcomed(&life(1, true), &mut out);
    assert_eq!(asked(&mut out), channels[..OPENS_AT_ONCE]);
    let mut answered = 0;
    while let Some(channel) = channels.get(answered) {
        link.receive(opened(*channel, 7), &mut out);
        // Nobody is attached: the pool is told so. What comes behind that is asked for.
        out.retain(|parcel| !matches!(parcel, Parcel::Message(ToPool::CloseChannel(_))));
        link.ask(&mut out);
        answered += 1;
        assert_eq!(
            asked(&mut out),
            channels.get(OPENS_AT_ONCE + answered - 1).map(|k| vec![*k]).unwrap_or_default()
        );
    }
}

#[test]
fn a_pool_that_is_away_for_too_long_has_all_refused_that_wait_for_a_channel() {
    let (channels, directory) = (many(), Directory::default());
    let mut link = Link::new(8, directory.clone(), Journal::off());
    let mut ports: Vec<_> =
        channels.iter().map(|channel| directory.attach(channel.conn(), 8).0).collect();
    link.send(channels.iter().copied().map(wish), &mut Vec::new());
    link.cut();
    link.give_up();
    for events in &mut ports {
        let mut refused = 0;
        while let Ok(event) = events.try_recv() {
            refused += usize::from(matches!(event, Event::Refused { .. }));
        }
        assert_eq!(refused, 1);
    }
    let mut out = Vec::new();
    link.welcomed(&life(2, false), &mut out);
    assert!(out.is_empty(), "they were refused: {out:?}");
}

#[test]
fn reopens_go_out_a_few_at_a_time() {
    let count = u32::try_from(REOPENS_AT_ONCE).unwrap() + 10;
    let channels: Vec<_> = (1..=count).map(|ordinal| key(1, ordinal)).collect();
    let (mut link, _events, mut out) = up(&channels);
    link.cut();
    link.welcomed(&life(2, false), &mut out);
    assert_eq!(asked(&mut out).len(), REOPENS_AT_ONCE);
    // One is closed by its miner meanwhile: another has its place, and the pool's answer to it is
    // not wanted.
    let first = channels[0];
    link.send([close(first)].into_iter(), &mut out);
    let closed = out.remove(0);
    assert!(matches!(closed, Parcel::Message(ToPool::CloseChannel(_))), "{closed:?}");
    assert_eq!(asked(&mut out).len(), 1);
    link.receive(opened(first, 7), &mut out);
    assert!(matches!(out.as_slice(), [Parcel::Message(ToPool::CloseChannel(_))]), "{out:?}");
}
