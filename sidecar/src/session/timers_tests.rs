//! Promises of what time alone brings about, with a clock that the tests hold.

use super::pace_tests::{at, mining, session};
use super::tests::{asked, job, judged, opened, received, share, target, tokens, told};
use super::*;
use crate::backend::Event;
use crate::channel::Answer;
use crate::config::Limits;
use crate::types::{Kind, RefuseReason};

fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

fn tick(session: &mut Session, now: u64) -> Effects {
    let mut fx = Effects::default();
    at(session, now);
    session.tick(&mut fx);
    fx
}

/// No timer at all.
fn none() -> Limits {
    Limits {
        first_open_timeout_ms: 0,
        idle_timeout_ms: 0,
        channel_silence_ms: 0,
        ..Limits::default()
    }
}

#[test]
fn sc_15_closes_what_never_had_a_channel_and_nothing_else() {
    let limits = Limits { first_open_timeout_ms: 5_000, ..none() };
    let mut idle = session(&limits);
    assert_eq!(idle.due(), secs(5));
    assert_eq!(tick(&mut idle, 4).close, None);
    assert_eq!(tick(&mut idle, 5).close, Some(Cause::NoChannel));

    // One that asks is answered first; a refusal is no channel.
    let mut asking = session(&limits);
    let key = asked(&received(&mut asking, super::tests::open(Kind::Standard)));
    assert_eq!(asking.due(), None);
    assert_eq!(tick(&mut asking, 9).close, None);
    let reason = RefuseReason::UnknownUser;
    told(&mut asking, vec![Event::Refused { channel: key, reason, detail: String::new() }]);
    assert_eq!(asking.due(), secs(5));
    assert_eq!(tick(&mut asking, 9).close, Some(Cause::NoChannel));

    // A proxy without miners stays once it had one.
    let (mut proxy, _) = mining(&limits);
    received(&mut proxy, Inbound::Close { channel_id: 1 });
    assert_eq!(proxy.due(), None);
    assert_eq!(tick(&mut proxy, 1_000_000).close, None);

    assert_eq!(session(&none()).due(), None);
}

#[test]
fn closes_what_says_nothing_for_too_long() {
    let limits = Limits { idle_timeout_ms: 3_600_000, ..none() };
    let (mut session, channel) = mining(&limits);
    assert_eq!(session.due(), secs(3_600));
    at(&mut session, 3_000);
    received(&mut session, Inbound::Ignored { extension_type: 0, message_type: 0xff });
    // What it is told doesn't count.
    at(&mut session, 6_000);
    told(&mut session, vec![Event::Job { channel, job: job(2, 1) }]);
    assert_eq!(session.due(), secs(6_600));
    assert_eq!(tick(&mut session, 6_599).close, None);
    assert_eq!(tick(&mut session, 6_600).close, Some(Cause::Idle));
}

/// The channels that are told their target, which must be the one they have.
fn reminded(fx: &Effects, wanted: crate::types::Target) -> Vec<u32> {
    let channel = |message: &Outbound| match message {
        Outbound::Target { channel_id, target } => {
            assert_eq!(*target, wanted);
            *channel_id
        }
        other => panic!("a SetTarget expected: {other:?}"),
    };
    fx.out.iter().map(channel).collect()
}

#[test]
fn tells_a_silent_channel_its_target_again_each_minute() {
    let (mut session, first) = mining(&Limits { channel_silence_ms: 60_000, ..none() });
    // A second one, half a minute later.
    at(&mut session, 30);
    let second = asked(&received(&mut session, super::tests::open(Kind::Standard)));
    told(&mut session, vec![opened(second, Kind::Standard, 2)]);
    let present = target(0x01);
    assert_eq!(session.due(), secs(60));
    assert_eq!(reminded(&tick(&mut session, 59), present), [0; 0]);
    assert_eq!(reminded(&tick(&mut session, 60), present), [1]);
    assert_eq!(session.due(), secs(90));
    assert_eq!(reminded(&tick(&mut session, 90), present), [3]);
    assert_eq!(session.due(), secs(120));

    // Anything sent for a channel breaks its silence: a job, an answer.
    at(&mut session, 100);
    told(&mut session, vec![Event::Job { channel: first, job: job(3, 1) }]);
    at(&mut session, 110);
    let refused = received(&mut session, share(Kind::Extended, 1, 999, 1));
    assert_eq!(refused.out.len(), 1);
    assert_eq!(reminded(&tick(&mut session, 149), present), [0; 0]);
    assert_eq!(reminded(&tick(&mut session, 150), present), [3]);
    assert_eq!(reminded(&tick(&mut session, 169), present), [0; 0]);
    assert_eq!(reminded(&tick(&mut session, 170), present), [1]);

    // A new target is what is told from then on, and to nobody who has gone.
    told(&mut session, vec![Event::Target { channel: first, target: target(0x00) }]);
    received(&mut session, Inbound::Close { channel_id: 3 });
    assert_eq!(reminded(&tick(&mut session, 230), target(0x00)), [1]);
    received(&mut session, Inbound::Close { channel_id: 1 });
    assert!(tick(&mut session, 290).out.is_empty());
    assert_eq!(session.due(), None);

    let (session, _) = mining(&none());
    assert_eq!(session.due(), None);
}

#[test]
fn sh_16_each_verdict_is_told_at_once_and_waits_for_no_timer() {
    let (mut session, channel) = mining(&none());
    for sequence in 1..=3 {
        let sent = tokens(&received(&mut session, share(Kind::Extended, sequence, 1, sequence)));
        assert_eq!(session.due(), None, "time brings nothing about");
        let fx = told(&mut session, vec![Event::Verdict(judged(channel, sent[0], true))]);
        let answer = Answer::Success { last_sequence: sequence, count: 1, sum: 2 };
        assert_eq!(fx.out, [Outbound::Answer { channel_id: 1, answer }]);
        assert_eq!(session.due(), None, "nothing is kept for later");
    }
}

#[test]
fn who_stops_answers_what_waits_and_sends_the_miner_on() {
    let (mut session, key) = mining(&Limits::default());
    let mut sent = Vec::new();
    for sequence in 1..=2 {
        sent.extend(tokens(&received(&mut session, share(Kind::Extended, sequence, 1, sequence))));
    }
    told(&mut session, vec![Event::Verdict(judged(key, sent[1], true))]);
    let mut fx = Effects::default();
    session.stop(&mut fx);
    let reason = RejectReason::BackendUnavailable;
    let answer = |answer| Outbound::Answer { channel_id: 1, answer };
    assert_eq!(
        fx.out,
        [
            answer(Answer::Error { sequence: 1, reason }),
            answer(Answer::Success { last_sequence: 2, count: 1, sum: 2 }),
            Outbound::Reconnect { host: String::new(), port: 0 },
        ]
    );
    // Nothing behind it.
    assert!(received(&mut session, share(Kind::Extended, 3, 1, 3)).out.is_empty());
    let mut stranger = super::tests::fresh();
    let mut fx = Effects::default();
    stranger.stop(&mut fx);
    assert!(fx.out.is_empty(), "before SetupConnection nothing else is said");
}
