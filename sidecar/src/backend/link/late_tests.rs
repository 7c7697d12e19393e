//! A pool that does not answer an open in time, or is about to stop, holds up nobody for ever.

use std::collections::BTreeSet;

use v1::session_response::Message as FromPool;

use super::open_tests::{asked, many};
use super::tests::{hold, key, life, opened, refused, wish};
use super::*;
use crate::backend::channels::{OPENS_AT_ONCE, REOPENS_AT_ONCE, UNDER_WAY};
use crate::backend::Mailbox;

/// A link in its first life, and the mailbox of each channel's connection.
fn link(channels: &[ChannelKey]) -> (Link, Vec<Mailbox>) {
    let directory = Directory::default();
    let mailboxes = channels.iter().map(|channel| directory.attach(channel.conn(), 8).0).collect();
    let mut link = Link::new(8, directory, Journal::off());
    link.welcomed(&life(1, false), &mut Vec::new());
    (link, mailboxes)
}

/// Takes the closes out of what goes to the pool.
fn closed(out: &mut Vec<Parcel>) -> Vec<ChannelKey> {
    let mut closed = Vec::new();
    out.retain(|parcel| match parcel {
        Parcel::Message(ToPool::CloseChannel(close)) => {
            closed.push(ChannelKey::from_wire(close.channel_id));
            false
        }
        _ => true,
    });
    closed
}

fn drain() -> FromPool {
    FromPool::Drain(v1::Drain { grace_ms: 60_000, reason: "restart".into() })
}

fn is_unavailable(event: &Event) -> bool {
    matches!(event, Event::Refused { reason: RefuseReason::BackendUnavailable, .. })
}

#[test]
fn rejects_an_open_that_the_pool_does_not_answer_in_time_and_closes_it_there() {
    let channels = many();
    let (mut link, mut mailboxes) = link(&channels);
    let (mut out, mut ever) = (Vec::new(), BTreeSet::new());
    link.send(channels.iter().copied().map(wish), &mut out);
    for wave in channels.chunks(UNDER_WAY) {
        let fresh = asked(&mut out);
        assert!(fresh.iter().all(|channel| ever.insert(*channel)), "an id is used once");
        for _ in 0..2 {
            link.look_at_opens(&mut out);
            assert!(out.is_empty(), "the pool may have come to it just now: {out:?}");
        }
        link.look_at_opens(&mut out);
        assert_eq!(closed(&mut out), wave);
    }
    assert!(out.is_empty() && ever.len() == channels.len());
    for events in &mut mailboxes {
        assert!(events.try_recv().is_ok_and(|event| is_unavailable(&event)));
    }
    // What crosses the closes is for nobody.
    link.receive(opened(channels[0], 7), &mut out);
    assert_eq!(closed(&mut out), channels[..1]);
    link.receive(refused(channels[1], v1::RefuseReason::NoWork), &mut out);
    assert!(out.is_empty() && mailboxes.iter_mut().all(|events| events.try_recv().is_err()));
    link.cut();
    link.welcomed(&life(1, true), &mut out);
    assert!(out.is_empty(), "they were answered: {out:?}");
}

#[test]
fn opens_behind_those_that_hang_are_not_late_with_them() {
    let channels = many();
    let (mut link, mut mailboxes) = link(&channels);
    let mut out = Vec::new();
    let (stuck, behind) = channels[..OPENS_AT_ONCE].split_at(UNDER_WAY);
    link.send(stuck.iter().chain(behind).copied().map(wish), &mut out);
    assert_eq!(asked(&mut out).len(), OPENS_AT_ONCE);
    for _ in 0..3 {
        link.look_at_opens(&mut out);
    }
    assert_eq!(closed(&mut out), stuck);
    for _ in 0..2 {
        link.look_at_opens(&mut out);
        assert!(out.is_empty(), "the pool has come to them just now: {out:?}");
    }
    for channel in behind {
        link.receive(opened(*channel, 7), &mut out);
    }
    for _ in 0..4 {
        link.look_at_opens(&mut out);
    }
    assert!(out.is_empty(), "{out:?}");
    for events in &mut mailboxes[UNDER_WAY..OPENS_AT_ONCE] {
        assert!(events.try_recv().is_ok_and(|event| matches!(event, Event::Opened { .. })));
    }
}

#[test]
fn an_open_that_is_answered_between_looks_is_not_late() {
    let channels = many();
    let (mut link, _mailboxes) = link(&channels);
    let mut out = Vec::new();
    link.send(channels[..1].iter().copied().map(wish), &mut out);
    link.look_at_opens(&mut out);
    link.look_at_opens(&mut out);
    link.receive(opened(channels[0], 7), &mut out);
    out.clear();
    for _ in 0..4 {
        link.look_at_opens(&mut out);
    }
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn reopens_that_the_pool_never_answers_hold_up_no_others() {
    let count = REOPENS_AT_ONCE as u64 + 10;
    let channels: Vec<_> = (1..=count).map(|conn| key(conn, 1)).collect();
    let (mut link, mut mailboxes) = link(&channels);
    channels.iter().for_each(|channel| hold(&mut link, *channel));
    let mut out = Vec::new();
    link.cut();
    link.welcomed(&life(2, false), &mut out);
    let (begun, others) = channels.split_at(REOPENS_AT_ONCE);
    let stuck = &channels[..UNDER_WAY];
    assert_eq!(asked(&mut out), begun);
    for _ in 0..2 {
        link.look_at_opens(&mut out);
        assert!(out.is_empty(), "{out:?}");
    }
    link.look_at_opens(&mut out);
    assert_eq!(closed(&mut out), stuck);
    assert_eq!(asked(&mut out), others);
    let (told, waiting) = mailboxes.split_at_mut(UNDER_WAY);
    assert!(told.iter_mut().all(|m| matches!(m.try_recv(), Ok(Event::Unrestored { .. }))));
    assert!(waiting.iter_mut().all(|events| events.try_recv().is_err()));
}

#[test]
fn opens_that_streams_break_on_are_not_asked_for_without_end() {
    let channels = many();
    let (mut link, mut mailboxes) = link(&channels);
    let mut out = Vec::new();
    link.send(channels.iter().copied().map(wish), &mut out);
    // Whether the pool goes on in the same life or in another, and however soon it breaks.
    for (epoch, resumed) in [(1, true), (2, false)] {
        assert_eq!(asked(&mut out), channels[..OPENS_AT_ONCE]);
        link.cut();
        link.welcomed(&life(epoch, resumed), &mut out);
    }
    link.cut();
    assert!(mailboxes.iter_mut().all(|events| events.try_recv().is_err()));
    out.clear();
    link.welcomed(&life(2, true), &mut out);
    let others = &channels[UNDER_WAY..];
    assert_eq!(asked(&mut out), others[..OPENS_AT_ONCE], "those it had not come to have time");
    let (told, waiting) = mailboxes.split_at_mut(UNDER_WAY);
    for events in told {
        assert!(events.try_recv().is_ok_and(|event| is_unavailable(&event)));
    }
    assert!(waiting.iter_mut().all(|events| events.try_recv().is_err()));
    // A break and two looks are as much as three breaks.
    link.cut();
    link.welcomed(&life(2, true), &mut out);
    out.clear();
    link.look_at_opens(&mut out);
    assert!(out.is_empty(), "{out:?}");
    link.look_at_opens(&mut out);
    assert_eq!(closed(&mut out), others[..UNDER_WAY]);
}

#[test]
fn reopens_that_streams_break_on_are_not_asked_for_without_end() {
    let channel = key(1, 1);
    let (mut link, mut mailboxes) = link(&[channel]);
    hold(&mut link, channel);
    let mut out = Vec::new();
    for epoch in 2..5 {
        link.cut();
        link.welcomed(&life(epoch, false), &mut out);
        assert_eq!(asked(&mut out), [channel]);
        assert!(mailboxes[0].try_recv().is_err());
    }
    // One answer, and all is forgiven.
    link.receive(refused(channel, v1::RefuseReason::NoWork), &mut out);
    link.retry(false, &mut out);
    for epoch in 5..8 {
        assert_eq!(asked(&mut out), [channel]);
        assert!(mailboxes[0].try_recv().is_err());
        link.cut();
        link.welcomed(&life(epoch, false), &mut out);
    }
    assert!(out.is_empty(), "{out:?}");
    assert!(matches!(mailboxes[0].try_recv(), Ok(Event::Unrestored { .. })));
}

#[test]
fn a_pool_that_is_about_to_stop_is_asked_for_no_channel_and_its_next_life_for_all() {
    let channels: Vec<_> = (1..=200).map(|conn| key(conn, 1)).collect();
    let lost = key(1_000, 1);
    let (mut link, mut mailboxes) = link(&channels);
    let mut out = Vec::new();
    hold(&mut link, lost);
    link.cut();
    link.welcomed(&life(2, false), &mut out);
    assert_eq!(asked(&mut out), [lost]);
    link.receive(refused(lost, v1::RefuseReason::NoWork), &mut out);
    let (early, late) = channels.split_at(100);
    link.send(early.iter().copied().map(wish), &mut out);
    assert_eq!(asked(&mut out), early[..OPENS_AT_ONCE]);
    link.receive(drain(), &mut out);
    link.send(late.iter().copied().map(wish), &mut out);
    // Asked before the pool said so, and refused for that.
    for channel in &early[..10] {
        link.receive(refused(*channel, v1::RefuseReason::NoWork), &mut out);
        link.ask(&mut out);
    }
    link.look_at_opens(&mut out);
    link.retry(false, &mut out);
    assert!(out.is_empty(), "{out:?}");
    assert!(mailboxes.iter_mut().all(|events| events.try_recv().is_err()), "they wait");
    link.cut();
    link.welcomed(&life(3, false), &mut out);
    let mut all = Vec::new();
    while !out.is_empty() {
        let wave = asked(&mut out);
        wave.iter().for_each(|channel| link.receive(opened(*channel, 7), &mut Vec::new()));
        all.extend(wave);
        link.ask(&mut out);
    }
    all.sort_unstable();
    let expected: Vec<_> = channels.iter().copied().chain([lost]).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_pool_that_stops_in_order_again_and_again_costs_no_open_its_patience() {
    let channel = key(1, 1);
    let (mut link, mut mailboxes) = link(&[channel]);
    let mut out = Vec::new();
    link.send([wish(channel)].into_iter(), &mut out);
    for epoch in 2..9 {
        assert_eq!(asked(&mut out), [channel]);
        link.receive(drain(), &mut out);
        link.receive(refused(channel, v1::RefuseReason::NoWork), &mut out);
        link.look_at_opens(&mut out);
        link.look_at_opens(&mut out);
        assert!(out.is_empty(), "{out:?}");
        link.cut();
        link.welcomed(&life(epoch, false), &mut out);
    }
    assert!(mailboxes[0].try_recv().is_err(), "it waits");
}

#[test]
fn newcomers_do_not_wait_for_ever_for_a_pool_that_is_about_to_stop() {
    let channels = many();
    let (mut link, mut mailboxes) = link(&channels);
    let mut out = Vec::new();
    link.receive(drain(), &mut out);
    link.send(channels.iter().copied().map(wish), &mut out);
    for _ in 0..2 {
        link.look_at_opens(&mut out);
        assert!(mailboxes.iter_mut().all(|events| events.try_recv().is_err()));
    }
    link.look_at_opens(&mut out);
    assert!(out.is_empty(), "the pool has never heard of them: {out:?}");
    for events in &mut mailboxes {
        assert!(events.try_recv().is_ok_and(|event| is_unavailable(&event)));
    }
    // The next stream begins its own patience.
    link.cut();
    link.welcomed(&life(2, false), &mut out);
    link.send([wish(key(9_999, 1))].into_iter(), &mut out);
    link.look_at_opens(&mut out);
    assert_eq!(asked(&mut out), [key(9_999, 1)]);
}
