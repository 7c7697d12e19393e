//! A pool that repeats itself, or says things late or in the wrong order, harms no channel.

use super::tests::{
    asked, fresh, job, judged, mining, open, opened, received, setup, share, target, tokens, told,
};
use super::*;
use crate::backend::Event;
use crate::channel::Answer;
use crate::types::{Kick, KickAction, Kind, RefuseReason, RejectReason, Target};

fn kick(action: KickAction) -> Kick {
    Kick { action, reason: "banned".into(), host: String::new(), port: 0 }
}

fn reports(fx: &Effects) -> Vec<Target> {
    let target = |c: &Command| match c {
        Command::TargetInEffect { target, .. } => Some(*target),
        _ => None,
    };
    fx.commands.iter().filter_map(target).collect()
}

#[test]
fn a_kick_of_the_connection_holds_though_its_channel_is_gone() {
    for action in [KickAction::CloseConnection, KickAction::Reconnect] {
        let (mut session, first) = mining(Kind::Extended);
        let second = asked(&received(&mut session, open(Kind::Standard)));
        told(&mut session, vec![opened(second, Kind::Standard, 2)]);
        received(&mut session, Inbound::Close { channel_id: 1 });
        let third = asked(&received(&mut session, open(Kind::Standard)));
        let fx = told(&mut session, vec![Event::Kick { channel: first, kick: kick(action) }]);
        assert_eq!(fx.close, Some(Cause::Kicked));
        let refused = |m: &Outbound| matches!(m, Outbound::OpenError { request_id: 40, .. });
        assert!(fx.out.iter().any(refused), "the open of {third:?} is answered");
        assert_eq!(session.channels.len() + session.opening.len(), 0);
    }
}

#[test]
fn a_kick_answers_the_open_it_names() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let channel = asked(&received(&mut session, open(Kind::Extended)));
    let kick = kick(KickAction::CloseChannel);
    let fx = told(&mut session, vec![Event::Kick { channel, kick }]);
    let reason = RefuseReason::Unauthorized;
    assert_eq!(fx.out, [Outbound::OpenError { request_id: 40, reason }]);
    assert_eq!(fx.close, None);
    // The wish may be on its way to the pool still.
    assert!(
        matches!(fx.commands.as_slice(), [Command::Close { channel: key, .. }] if *key == channel)
    );
}

#[test]
fn a_wish_that_is_on_its_way_when_the_pool_is_lost_leaves_no_channel_behind() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let channel = asked(&received(&mut session, open(Kind::Extended)));
    let fx = told(&mut session, vec![Event::LinkLost]);
    let reason = RefuseReason::BackendUnavailable;
    assert_eq!(fx.out, [Outbound::OpenError { request_id: 40, reason }]);
    let [Command::Close { channel: closed, .. }] = &fx.commands[..] else {
        panic!("{:?}", fx.commands)
    };
    assert_eq!(*closed, channel);
}

#[test]
fn an_older_job_after_a_newer_one_changes_nothing() {
    let (mut session, channel) = mining(Kind::Extended);
    told(&mut session, vec![Event::Job { channel, job: job(9, 2) }]);
    for seq in [9, 3] {
        let fx = told(&mut session, vec![Event::Job { channel, job: job(seq, 1) }]);
        assert!(fx.out.is_empty(), "{:?}", fx.out);
    }
    let fx = told(&mut session, vec![Event::Job { channel, job: job(10, 3) }]);
    assert_eq!(fx.out.len(), 1);
}

#[test]
fn a_job_ahead_of_its_opening_does_not_cost_the_first_job() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let channel = asked(&received(&mut session, open(Kind::Extended)));
    let early = Event::Job { channel, job: job(5, 1) };
    let fx = told(&mut session, vec![early, opened(channel, Kind::Extended, 2)]);
    assert!(fx.out.iter().any(|m| matches!(m, Outbound::Job { .. })), "{:?}", fx.out);
}

#[test]
fn a_second_opening_leaves_the_channel_as_it_is() {
    let (mut session, channel) = mining(Kind::Extended);
    let fx = told(&mut session, vec![opened(channel, Kind::Extended, 7)]);
    assert!(fx.commands.is_empty(), "{:?}", fx.commands);
    let fx = received(&mut session, share(Kind::Extended, 1, 1, 1));
    assert_eq!(tokens(&fx).len(), 1);
}

#[test]
fn a_second_verdict_for_a_share_is_ignored() {
    let (mut session, channel) = mining(Kind::Extended);
    let token = tokens(&received(&mut session, share(Kind::Extended, 1, 1, 1)))[0];
    let verdict = |accept| Event::Verdict(judged(channel, token, accept));
    let fx = told(&mut session, vec![verdict(false), verdict(true)]);
    let reason = RejectReason::LowDifficulty;
    let answer = Answer::Error { sequence: 1, reason };
    assert_eq!(fx.out, [Outbound::Answer { channel_id: 1, answer }]);
}

#[test]
fn the_pool_is_told_whenever_its_wish_is_not_what_holds() {
    let (mut session, channel) = mining(Kind::Extended);
    let update = |session: &mut Session, max_target| {
        let update = Inbound::Update { channel_id: 1, nominal_hash_rate: 1e9, max_target };
        let request = match received(session, update).commands.as_slice() {
            [Command::Update { request, .. }] => *request,
            other => panic!("an update expected: {other:?}"),
        };
        told(session, vec![Event::Updated { channel, request, refused: None }])
    };
    let (granted, bound) = (target(0x01), target(0x00));
    let fx = update(&mut session, bound);
    assert_eq!(reports(&fx), [bound], "the miner's bound is harder than the grant");
    let wish =
        |session: &mut Session, target| told(session, vec![Event::Target { channel, target }]);
    let fx = wish(&mut session, target(0x05));
    assert!(fx.out.is_empty(), "nothing changes for the miner: {:?}", fx.out);
    assert_eq!(reports(&fx), [bound], "but the pool believes its wish holds");
    assert!(reports(&wish(&mut session, bound)).is_empty(), "now it is what holds");
    wish(&mut session, granted);
    let fx = update(&mut session, Target::EASIEST);
    assert_eq!(reports(&fx), [granted], "the bound is gone: the wish holds again");
}

/// A verdict and what follows it in the same step: the Success leaves first.
#[test]
fn sh_16_a_success_leaves_before_the_target_or_the_end_that_came_with_it() {
    let success = Outbound::Answer {
        channel_id: 1,
        answer: Answer::Success { last_sequence: 1, count: 1, sum: 2 },
    };
    let target = target(0x00);
    let close = Outbound::Close { channel_id: 1, reason: "banned".into() };
    let reconnect = Outbound::Reconnect { host: String::new(), port: 0 };
    for (action, message) in [
        (None, Outbound::Target { channel_id: 1, target }),
        (Some(KickAction::CloseChannel), close.clone()),
        (Some(KickAction::CloseConnection), close),
        (Some(KickAction::Reconnect), reconnect),
    ] {
        let (mut session, channel) = mining(Kind::Extended);
        let follows = match action {
            Some(action) => Event::Kick { channel, kick: kick(action) },
            None => Event::Target { channel, target },
        };
        let token = tokens(&received(&mut session, share(Kind::Extended, 1, 1, 1)))[0];
        let verdict = Event::Verdict(judged(channel, token, true));
        let fx = told(&mut session, vec![verdict, follows]);
        assert_eq!(fx.out, [success.clone(), message]);
    }
    // The target that an update brings.
    let (mut session, channel) = mining(Kind::Extended);
    let token = tokens(&received(&mut session, share(Kind::Extended, 1, 1, 1)))[0];
    let update = Inbound::Update { channel_id: 1, nominal_hash_rate: 1e9, max_target: target };
    received(&mut session, update);
    let verdict = Event::Verdict(judged(channel, token, true));
    let updated = Event::Updated { channel, request: 1, refused: None };
    let fx = told(&mut session, vec![verdict, updated]);
    assert_eq!(fx.out, [success, Outbound::Target { channel_id: 1, target }]);
}

#[test]
fn cl_3_a_kick_closes_channels_with_the_reason_and_one_alone_leaves_the_others() {
    for (action, closed, cause) in [
        (KickAction::CloseChannel, vec![1], None),
        (KickAction::CloseConnection, vec![1, 3], Some(Cause::Kicked)),
    ] {
        let (mut session, channel) = mining(Kind::Extended);
        let second = asked(&received(&mut session, open(Kind::Standard)));
        told(&mut session, vec![opened(second, Kind::Standard, 2)]);
        let fx = told(&mut session, vec![Event::Kick { channel, kick: kick(action) }]);
        let close = |channel_id| Outbound::Close { channel_id, reason: "banned".into() };
        assert_eq!((fx.out, fx.close), (closed.into_iter().map(close).collect(), cause));
        assert_eq!(session.channels.len(), usize::from(action == KickAction::CloseChannel));
    }
}
