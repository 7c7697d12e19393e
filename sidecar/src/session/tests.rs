//! Promises of one connection, as steps without I/O.

use bytes::Bytes;

use super::*;
use crate::backend::{Event, Judged};
use crate::channel::Answer;
use crate::job::Fields;
use crate::types::*;

pub(super) const NOW: u32 = 1_790_000_000;

pub(super) fn target(top: u8) -> Target {
    let mut bytes = [0xff; 32];
    bytes[31] = top;
    Target(bytes)
}

fn limits() -> TargetLimits {
    TargetLimits { easiest: target(0x7f), hardest: Target::ZERO }
}

pub(super) fn fresh() -> Session {
    let bounds = Bounds { channels: 4, in_flight: 8, rates: Rates::UNLIMITED };
    Session::new(ConnId(7), "127.0.0.1:9".into(), 0, bounds, Some(limits()))
}

pub(super) const fn setup(protocol: u8, versions: (u16, u16), flags: u32) -> Inbound<'static> {
    let (min_version, max_version) = versions;
    let none = b"".as_slice();
    Inbound::Setup(Setup {
        protocol,
        min_version,
        max_version,
        flags,
        vendor: none,
        hardware_version: none,
        firmware: none,
        device_id: none,
    })
}

pub(super) fn received(session: &mut Session, message: Inbound<'_>) -> Effects {
    let mut fx = Effects::default();
    session.receive(message, NOW, &mut fx);
    fx
}

pub(super) fn told(session: &mut Session, events: Vec<Event>) -> Effects {
    let mut fx = Effects::default();
    session.events(events, 0, &mut fx);
    fx
}

pub(super) fn open(kind: Kind) -> Inbound<'static> {
    Inbound::Open(Open {
        kind,
        request_id: 40,
        user_identity: b"w\n\0\"".to_vec(),
        nominal_hash_rate: 1e12,
        max_target: Target::EASIEST,
        min_extranonce_size: if kind == Kind::Extended { 4 } else { 0 },
    })
}

pub(super) fn job(seq: u64, tip: u8) -> Arc<Job> {
    Arc::new(Job {
        id: 1000 + seq,
        seq,
        prev_hash: Hash([tip; 32]),
        nbits: 0x1d00_ffff,
        version: 0x2000_0000,
        version_mask: VERSION_ROLLING_MASK,
        min_ntime: NOW,
        max_ntime: None,
        merkle_path: vec![Hash([3; 32])],
        coinbase_prefix: Bytes::from_static(&[1]),
        coinbase_suffix: Bytes::from_static(&[2]),
        stale_rule: StaleRule::Strict,
        height: 5,
    })
}

pub(super) fn opened(channel: ChannelKey, kind: Kind, seq: u64) -> Event {
    let extranonce_size = if kind == Kind::Extended { 8 } else { 0 };
    let grant =
        Grant { prefix: Bytes::from_static(&[9, 9, 9, 9]), extranonce_size, target: target(0x01) };
    Event::Opened { channel, generation: 0, grant, job: job(seq, 1) }
}

pub(super) fn asked(fx: &Effects) -> ChannelKey {
    match fx.commands.as_slice() {
        [Command::Open { channel, .. }] => *channel,
        other => panic!("one open expected: {other:?}"),
    }
}

/// A connection with one open channel (id 1, group 2), and its key.
pub(super) fn mining(kind: Kind) -> (Session, ChannelKey) {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let key = asked(&received(&mut session, open(kind)));
    told(&mut session, vec![opened(key, kind, 1)]);
    (session, key)
}

pub(super) fn share(kind: Kind, sequence: u32, job_id: u32, nonce: u32) -> Inbound<'static> {
    let extranonce: &[u8] = if kind == Kind::Extended { &[0; 8] } else { &[] };
    let share = Fields { job_id, nonce, ntime: NOW, version: 0x2000_0000, extranonce };
    Inbound::Submit { kind, channel_id: 1, sequence, share, tlvs: &[] }
}

pub(super) fn tokens(fx: &Effects) -> Vec<u64> {
    let token = |c: &Command| match c {
        Command::Submit { token, .. } => Some(*token),
        _ => None,
    };
    fx.commands.iter().filter_map(token).collect()
}

pub(super) fn judged(channel: ChannelKey, token: u64, accept: bool) -> Judged {
    let verdict = if accept {
        let credit = Difficulty { whole: 2, fraction: 0 };
        Verdict::Accepted { hash: Hash([1; 32]), credit, block_candidate: false }
    } else {
        Verdict::Rejected(RejectReason::LowDifficulty)
    };
    Judged { channel, token, submit_id: token + 1, verdict }
}

#[test]
fn opening_gives_success_then_future_job_then_its_prev_hash() {
    for kind in [Kind::Standard, Kind::Extended] {
        let mut session = fresh();
        received(&mut session, setup(0, (2, 2), 0));
        let key = asked(&received(&mut session, open(kind)));
        let fx = told(&mut session, vec![opened(key, kind, 1)]);
        let [Outbound::Opened(opened), Outbound::Job { channel_id, announcement }] =
            fx.out.as_slice()
        else {
            panic!("{:?}", fx.out)
        };
        assert_eq!((opened.request_id, opened.channel_id, opened.group_id), (40, 1, 2));
        assert_eq!((opened.kind, opened.target), (kind, target(0x01)));
        assert_eq!((*channel_id, announcement.min_ntime), (1, None));
        assert_eq!(announcement.new_tip.map(|tip| tip.prev_hash), Some(Hash([1; 32])));
    }
}

#[test]
fn a_job_that_overtakes_the_open_is_the_first_and_only_one() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let key = asked(&received(&mut session, open(Kind::Extended)));
    let events = vec![
        opened(key, Kind::Extended, 1),
        Event::Job { channel: key, job: job(2, 2) },
        Event::Target { channel: key, target: target(0x02) },
        Event::Job { channel: key, job: job(3, 2) },
    ];
    let out = told(&mut session, events).out;
    let [Outbound::Opened(_), Outbound::Target { .. }, Outbound::Job { announcement, .. }] =
        out.as_slice()
    else {
        panic!("{out:?}")
    };
    assert_eq!(announcement.job_seq, 3);
    assert_eq!(announcement.new_tip.map(|tip| tip.prev_hash), Some(Hash([2; 32])));
}

#[test]
fn opens_are_refused_with_the_reason() {
    let refused = |mut session: Session, message| {
        let fx = received(&mut session, message);
        assert!(fx.commands.is_empty() && fx.close.is_none());
        match fx.out.as_slice() {
            [Outbound::OpenError { request_id: 40, reason }] => *reason,
            other => panic!("{other:?}"),
        }
    };
    let set_up = |flags| {
        let mut session = fresh();
        received(&mut session, setup(0, (2, 2), flags));
        session
    };
    use RefuseReason as R;
    assert_eq!(refused(set_up(1), open(Kind::Extended)), R::ExtendedNotSupported);
    for rate in [f32::NAN, f32::INFINITY, -1.0] {
        let Inbound::Open(open) = open(Kind::Standard) else { unreachable!() };
        let bad = Inbound::Open(Open { nominal_hash_rate: rate, ..open });
        assert_eq!(refused(set_up(0), bad), R::InvalidNominalHashrate);
    }
    let Inbound::Open(zero) = open(Kind::Standard) else { unreachable!() };
    let zero = Inbound::Open(Open { max_target: Target::ZERO, ..zero });
    assert_eq!(refused(set_up(0), zero), R::MaxTargetOutOfRange);
    let mut full = set_up(0);
    for _ in 0..4 {
        received(&mut full, open(Kind::Standard));
    }
    assert_eq!(refused(full, open(Kind::Standard)), R::ChannelCapacityExhausted);
    let mut away = set_up(0);
    told(&mut away, vec![Event::LinkLost]);
    assert_eq!(refused(away, open(Kind::Standard)), R::BackendUnavailable);
}

#[test]
fn verdicts_out_of_order_are_answered_in_order() {
    let (mut session, key) = mining(Kind::Extended);
    let mut sent = Vec::new();
    for sequence in 1..=3 {
        let fx = received(&mut session, share(Kind::Extended, sequence, 1, sequence));
        sent.extend(tokens(&fx));
        assert!(fx.out.is_empty());
    }
    let late = [judged(key, sent[2], true), judged(key, sent[1], false)].map(Event::Verdict);
    assert!(told(&mut session, late.into()).out.is_empty());
    let out = told(&mut session, vec![Event::Verdict(judged(key, sent[0], true))]).out;
    let answers: Vec<_> = out
        .into_iter()
        .map(|message| match message {
            Outbound::Answer { channel_id: 1, answer } => answer,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        answers,
        [
            Answer::Success { last_sequence: 1, count: 1, sum: 2 },
            Answer::Error { sequence: 2, reason: RejectReason::LowDifficulty },
            Answer::Success { last_sequence: 3, count: 1, sum: 2 },
        ]
    );
}

#[test]
fn shares_for_the_wrong_kind_or_channel_are_refused() {
    let (mut session, _) = mining(Kind::Extended);
    let mut wrong = vec![share(Kind::Standard, 1, 1, 1)];
    for channel_id in [0, 2, 3, u32::MAX] {
        let Inbound::Submit { kind, sequence, share, tlvs, .. } = share(Kind::Extended, 1, 1, 1)
        else {
            unreachable!()
        };
        wrong.push(Inbound::Submit { kind, channel_id, sequence, share, tlvs });
    }
    for message in wrong {
        let fx = received(&mut session, message);
        let [Outbound::Answer { answer, .. }] = fx.out.as_slice() else { panic!("{fx:?}") };
        let reason = RejectReason::InvalidChannelId;
        assert_eq!(*answer, Answer::Error { sequence: 1, reason });
        assert!(fx.commands.is_empty() && fx.close.is_none());
    }
}

#[test]
fn link_lost_answers_everything_and_closes() {
    let (mut session, key) = mining(Kind::Extended);
    let fx = received(&mut session, share(Kind::Extended, 5, 1, 1));
    let fx_lost = told(&mut session, vec![Event::LinkLost]);
    let reason = RejectReason::BackendUnavailable;
    let answer = Answer::Error { sequence: 5, reason };
    let away = Outbound::Reconnect { host: String::new(), port: 0 };
    assert_eq!(fx_lost.out, [Outbound::Answer { channel_id: 1, answer }, away]);
    assert_eq!(fx_lost.close, Some(Cause::PoolLost));
    let late = Event::Verdict(judged(key, tokens(&fx)[0], true));
    assert!(told(&mut session, vec![late]).out.is_empty(), "no Success after that");
}

#[test]
fn closing_a_channel_or_its_group_frees_it_and_ends_its_answers() {
    for id in [1, 2] {
        let (mut session, key) = mining(Kind::Extended);
        let token = tokens(&received(&mut session, share(Kind::Extended, 1, 1, 1)))[0];
        let fx = received(&mut session, Inbound::Close { channel_id: id });
        assert!(
            matches!(fx.commands.as_slice(), [Command::Close { channel, .. }] if *channel == key)
        );
        let late = Event::Verdict(judged(key, token, true));
        assert!(told(&mut session, vec![late]).out.is_empty());
        assert!(received(&mut session, Inbound::Close { channel_id: id }).commands.is_empty());
    }
}

#[test]
fn the_end_of_a_connection_frees_open_and_opening_channels() {
    let (mut session, key) = mining(Kind::Extended);
    let opening = asked(&received(&mut session, open(Kind::Standard)));
    let mut fx = Effects::default();
    session.end(&mut fx);
    let closed: Vec<_> = fx
        .commands
        .iter()
        .map(|c| match c {
            Command::Close { channel, .. } => *channel,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(closed, [key, opening]);
}

#[test]
fn a_grant_that_does_not_fit_is_given_back() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let key = asked(&received(&mut session, open(Kind::Extended)));
    let fx = told(&mut session, vec![opened(key, Kind::Standard, 1)]);
    assert!(matches!(fx.commands.as_slice(), [Command::Close { .. }]));
    let reason = RefuseReason::Internal;
    assert_eq!(fx.out, [Outbound::OpenError { request_id: 40, reason }]);
}

#[test]
fn a_channel_opened_after_its_wish_was_answered_is_given_back() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let key = asked(&received(&mut session, open(Kind::Extended)));
    told(&mut session, vec![Event::LinkLost]);
    let fx = told(&mut session, vec![Event::LinkUp(limits()), opened(key, Kind::Extended, 1)]);
    assert!(matches!(fx.commands.as_slice(), [Command::Close { channel, .. }] if *channel == key));
    assert!(fx.out.is_empty());
}
