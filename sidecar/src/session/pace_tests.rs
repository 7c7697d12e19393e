//! Promises of how often one connection may do what.

use super::tests::{asked, judged, opened, received, setup, share, tokens, told};
use super::*;
use crate::backend::Event;
use crate::config::Limits;
use crate::types::{Kind, RefuseReason, Target, TargetLimits};

pub(super) fn session(limits: &Limits) -> Session {
    let bounds = Bounds { channels: 8, in_flight: 5_000, rates: Rates::new(limits) };
    let targets = TargetLimits { easiest: Target::EASIEST, hardest: Target::ZERO };
    let mut session = Session::new(ConnId(7), "127.0.0.1:9".into(), 0, bounds, Some(targets));
    received(&mut session, setup(0, (2, 2), 0));
    session
}

/// One with an open channel.
pub(super) fn mining(limits: &Limits) -> (Session, ChannelKey) {
    let mut session = session(limits);
    let key = asked(&received(&mut session, super::tests::open(Kind::Extended)));
    told(&mut session, vec![opened(key, Kind::Extended, 1)]);
    (session, key)
}

pub(super) fn at(session: &mut Session, secs: u64) {
    session.set_elapsed(Duration::from_secs(secs));
}

#[test]
fn ex_7_closes_what_asks_for_all_extensions_again_and_again() {
    let mut session = session(&Limits::default());
    let ask = |session: &mut Session, count: u16| {
        let requested = (0..count).collect();
        let fx = received(session, Inbound::RequestExtensions { request_id: 1, requested });
        assert_eq!(fx.out.len(), 1, "answered in any case");
        fx.close
    };
    // All that there are, and once more; then what a miner asks for, for a minute.
    assert_eq!((ask(&mut session, u16::MAX), ask(&mut session, u16::MAX)), (None, None));
    at(&mut session, 60);
    for _ in 0..1_000 {
        assert_eq!(ask(&mut session, 8), None);
    }
    assert_eq!(ask(&mut session, u16::MAX), Some(Cause::MessageRate));
}

/// A share for a job that never was: refused without the pool.
fn bad(session: &mut Session, sequence: u32) -> Option<Cause> {
    received(session, share(Kind::Extended, sequence, 999, sequence)).close
}

const UPDATE: Inbound<'static> =
    Inbound::Update { channel_id: 1, nominal_hash_rate: 1e12, max_target: Target::EASIEST };

#[test]
fn oc_16_opens_beyond_the_rate_are_refused_and_come_again() {
    let limits = Limits { opens_per_min: 3, max_channels_per_connection: 2, ..Limits::default() };
    let mut session = session(&limits);
    let mut asks = |secs| {
        at(&mut session, secs);
        let mut fx = received(&mut session, super::tests::open(Kind::Extended));
        assert_eq!(fx.close, None);
        match (fx.commands.len(), fx.out.pop()) {
            (1, None) => true,
            (0, Some(Outbound::OpenError { reason: RefuseReason::RateLimited, .. })) => false,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        [0, 0, 0, 0, 19, 21, 21].map(&mut asks),
        [true, true, true, false, false, true, false]
    );
}

#[test]
fn tg_7_updates_beyond_one_a_second_are_refused() {
    let (mut session, _) = mining(&Limits::default());
    let mut updates = |secs, count| {
        at(&mut session, secs);
        let mut taken = 0;
        for _ in 0..count {
            let mut fx = received(&mut session, UPDATE);
            match (fx.commands.pop(), fx.out.pop()) {
                (Some(Command::Update { channel, request, .. }), None) => {
                    taken += 1;
                    let refused = None;
                    told(&mut session, vec![Event::Updated { channel, request, refused }]);
                }
                (None, Some(Outbound::UpdateError { channel_id: 1, reason })) => {
                    assert_eq!(reason, RefuseReason::RateLimited);
                }
                other => panic!("{other:?}"),
            }
        }
        taken
    };
    assert_eq!([updates(1, 50), updates(2, 5), updates(6, 50)], [10, 1, 4]);
}

#[test]
fn sh_18_closes_on_refused_shares_without_one_accepted() {
    let limits = Limits { bad_shares_per_min: 60, ..Limits::default() };
    let (mut session, _) = mining(&limits);
    assert!((0..60).all(|sequence| bad(&mut session, sequence).is_none()));
    assert_eq!(bad(&mut session, 60), Some(Cause::BadShares));

    // Shares for channels that never were count too, and each is answered.
    let (mut session, _) = mining(&limits);
    received(&mut session, Inbound::Close { channel_id: 1 });
    assert!((0..60).all(|sequence| bad(&mut session, sequence).is_none()));
    let last = received(&mut session, share(Kind::Extended, 60, 1, 1));
    assert_eq!((last.out.len(), last.close), (1, Some(Cause::BadShares)));

    let off = Limits { bad_shares_per_min: 0, ..limits };
    let (mut session, _) = mining(&off);
    assert!((0..5_000).all(|sequence| bad(&mut session, sequence).is_none()));
}

#[test]
fn sh_18_spares_devices_that_mine() {
    let limits = Limits { bad_shares_per_min: 60, ..Limits::default() };
    let (mut session, key) = mining(&limits);
    let mut sequence = 0;
    for round in 0..20 {
        for _ in 0..60 {
            sequence += 1;
            assert_eq!(bad(&mut session, sequence), None, "round {round}");
        }
        sequence += 1;
        let fx = received(&mut session, share(Kind::Extended, sequence, 1, sequence));
        let verdict = Event::Verdict(judged(key, tokens(&fx)[0], true));
        assert_eq!(told(&mut session, vec![verdict]).close, None);
    }
    // One a second for an hour is a poor device, not an attack.
    let (mut session, _) = mining(&limits);
    for secs in 0..3_600 {
        at(&mut session, secs);
        assert_eq!(bad(&mut session, secs as u32), None, "second {secs}");
    }
}

#[test]
fn sh_18_shares_that_nobody_could_judge_do_not_count() {
    let limits = Limits { bad_shares_per_min: 2, ..Limits::default() };
    let (mut session, _) = mining(&limits);
    for sequence in 0..10 {
        assert_eq!(
            received(&mut session, share(Kind::Extended, sequence, 1, sequence)).close,
            None
        );
    }
    let fx = told(&mut session, vec![Event::LinkLost]);
    assert_eq!((fx.lines.len(), fx.close), (10, Some(Cause::PoolLost)));
}

#[test]
fn closes_on_messages_beyond_twice_the_usual_and_counts_early_shares_half() {
    let limits = Limits { messages_per_min: 50, bad_shares_per_min: 0, ..Limits::default() };
    let until_closed = |secs: u64, shares: bool| {
        let (mut session, _) = mining(&limits);
        at(&mut session, secs);
        let ignored = Inbound::Ignored { extension_type: 0, message_type: 0xff };
        (1..1_000_u32).find(|sequence| {
            let closed = match shares {
                true => bad(&mut session, *sequence),
                false => received(&mut session, ignored.clone()).close,
            };
            assert!(closed.is_none() || closed == Some(Cause::MessageRate));
            closed.is_some()
        })
    };
    // The setup and the open are two of the first minute.
    assert_eq!(until_closed(0, false), Some(99));
    assert_eq!(until_closed(0, true), Some(197));
    assert_eq!(until_closed(239, true), Some(201));
    assert_eq!(until_closed(240, true), Some(101));
}

#[test]
fn the_share_that_breaks_a_limit_is_judged_all_the_same() {
    let limits = Limits { messages_per_min: 1, ..Limits::default() };
    let (mut session, _) = mining(&limits);
    at(&mut session, 300);
    let closed = (1..9).find_map(|sequence| {
        let fx = received(&mut session, share(Kind::Extended, sequence, 1, sequence));
        assert_eq!(tokens(&fx).len(), 1, "it may be a block");
        fx.close
    });
    assert_eq!(closed, Some(Cause::MessageRate));
}
