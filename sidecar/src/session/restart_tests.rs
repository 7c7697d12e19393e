//! What a connection makes of a pool that was restarted behind its back, or is away for too long.

use super::tests::{
    asked, fresh, job, judged, mining, open, opened, received, setup, share, target, tokens, told,
    NOW,
};
use super::*;
use crate::backend::{Event, Judged};
use crate::channel::Answer;
use crate::job::Fields;
use crate::types::*;

fn reopened(channel: ChannelKey, generation: u64, seq: u64, tip: u8) -> Event {
    Event::Reopened { channel, generation, target: target(0x01), job: job(seq, tip) }
}

fn submitted(session: &mut Session, sequence: u32, job_id: u32) -> Effects {
    received(session, share(Kind::Extended, sequence, job_id, sequence))
}

#[test]
fn a_restart_costs_a_miner_nothing_but_the_work_of_before() {
    let (mut session, key) = mining(Kind::Extended);
    told(&mut session, vec![Event::Job { channel: key, job: job(2, 1) }]);
    let waits = submitted(&mut session, 1, 1);
    let Some(Command::Submit { generation: 0, token, submit, .. }) = waits.commands.first() else {
        panic!("forwarded: {:?}", waits.commands)
    };
    // The same tip, and a lower seq than before: the pool counts anew.
    let stale = Verdict::Rejected(RejectReason::Stale);
    let lost = Judged { channel: key, token: *token, submit_id: 1, verdict: stale };
    let events = vec![Event::Unjudged(vec![(lost, *submit)]), reopened(key, 1, 1, 1)];
    let fx = told(&mut session, events);
    assert_eq!(fx.close, None);
    let [Outbound::Answer { answer, .. }, Outbound::Job { announcement, .. }] = &fx.out[..] else {
        panic!("{:?}", fx.out)
    };
    assert_eq!(*answer, Answer::Error { sequence: 1, reason: RejectReason::Stale });
    assert_eq!(announcement.job_id, 3, "job ids go on");
    assert!(announcement.new_tip.is_some(), "nobody shall go on with the jobs of before");

    let late = submitted(&mut session, 2, 2);
    let [Outbound::Answer { answer: Answer::Error { reason, .. }, .. }] = late.out.as_slice()
    else {
        panic!("{:?}", late.out)
    };
    assert_eq!((*reason, late.commands.len()), (RejectReason::Stale, 0));
    let good = submitted(&mut session, 3, 3);
    assert!(matches!(good.commands.as_slice(), [Command::Submit { generation: 1, .. }]));
    let token = tokens(&good)[0];
    let fx = told(&mut session, vec![Event::Verdict(judged(key, token, true))]);
    let [Outbound::Answer { answer: Answer::Success { last_sequence: 3, .. }, .. }] = &fx.out[..]
    else {
        panic!("{:?}", fx.out)
    };
}

#[test]
fn a_restarted_pool_may_want_another_target() {
    let (mut session, key) = mining(Kind::Extended);
    let event =
        Event::Reopened { channel: key, generation: 1, target: target(0x02), job: job(1, 1) };
    let fx = told(&mut session, vec![event]);
    let [Outbound::Target { channel_id: 1, target: told }, Outbound::Job { .. }] = &fx.out[..]
    else {
        panic!("{:?}", fx.out)
    };
    assert_eq!(*told, target(0x02));
}

#[test]
fn of_a_restart_and_newer_work_in_one_step_only_the_newest_is_announced() {
    let (mut session, key) = mining(Kind::Extended);
    // The first was sent in the life before and overtaken by its end.
    let events = vec![
        Event::Job { channel: key, job: job(9, 1) },
        reopened(key, 1, 1, 1),
        Event::Job { channel: key, job: job(2, 2) },
    ];
    let fx = told(&mut session, events);
    let [Outbound::Job { announcement, .. }] = &fx.out[..] else { panic!("{:?}", fx.out) };
    assert_eq!(announcement.job_seq, 2);
    assert_eq!(announcement.new_tip.map(|tip| tip.prev_hash), Some(Hash([2; 32])));
}

#[test]
fn a_channel_that_is_opened_and_had_again_in_one_step_has_work() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let key = asked(&received(&mut session, open(Kind::Extended)));
    let events = vec![opened(key, Kind::Extended, 9), reopened(key, 1, 1, 1)];
    let fx = told(&mut session, events);
    let [Outbound::Opened(_), Outbound::Job { announcement, .. }] = &fx.out[..] else {
        panic!("{:?}", fx.out)
    };
    assert_eq!(announcement.job_seq, 1);
    assert_eq!(submitted(&mut session, 1, announcement.job_id).commands.len(), 1);
}

#[test]
fn a_job_that_is_told_twice_is_announced_once() {
    let (mut session, key) = mining(Kind::Extended);
    let again = told(&mut session, vec![Event::Job { channel: key, job: job(1, 1) }]);
    assert_eq!(again.out, []);
    // Its place among those of a later stream is another.
    let mut later = (*job(1, 1)).clone();
    later.seq = 7;
    let again = told(&mut session, vec![Event::Job { channel: key, job: Arc::new(later) }]);
    assert_eq!(again.out, []);
    let next = told(&mut session, vec![Event::Job { channel: key, job: job(8, 1) }]);
    assert_eq!(next.out.len(), 1);
}

#[test]
fn a_channel_that_is_not_had_again_as_it_was_sends_its_connection_elsewhere() {
    let (mut session, key) = mining(Kind::Extended);
    submitted(&mut session, 1, 1);
    let fx = told(&mut session, vec![Event::Unrestored { channel: key }]);
    let [Outbound::Answer { answer, .. }, Outbound::Reconnect { host, port: 0 }] = &fx.out[..]
    else {
        panic!("{:?}", fx.out)
    };
    assert!(matches!(answer, Answer::Error { sequence: 1, .. }));
    assert_eq!((host.as_str(), fx.close), ("", Some(Cause::Unrestored)));
    let other = ChannelKey::new(ConnId(7), 9).unwrap();
    let (mut session, _) = mining(Kind::Extended);
    let fx = told(&mut session, vec![Event::Unrestored { channel: other }]);
    assert_eq!(fx.close, Some(Cause::Unrestored), "the pool has none of the connection any more");
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let fx = told(&mut session, vec![Event::Unrestored { channel: other }]);
    assert_eq!((fx.out.len(), fx.close), (0, None), "it was closed by its miner meanwhile");
}

#[test]
fn a_block_for_work_that_the_pool_forgot_is_seen() {
    let easy = |seq| {
        let mut easy = (*job(seq, 1)).clone();
        easy.nbits = 0x207f_ffff;
        Arc::new(easy)
    };
    let (mut session, key) = mining(Kind::Extended);
    told(&mut session, vec![Event::Job { channel: key, job: easy(2) }]);
    let channel = session.channels.get(&1).unwrap();
    let blocks = (0..64).filter(|nonce| {
        let submit = Submit {
            job_id: 1002,
            nonce: *nonce,
            ntime: NOW,
            version: 0x2000_0000,
            extranonce: Short::new(&[0; 8]),
            worker: Short::default(),
            would_refuse: None,
        };
        let root = crate::job::merkle_root(&easy(2), &[9; 4], &[0; 8]);
        let fields = Fields {
            job_id: 2,
            nonce: *nonce,
            ntime: NOW,
            version: 0x2000_0000,
            extranonce: &[0; 8],
        };
        let is_block = crate::job::header_hash(&easy(2), &root, &fields)
            .meets(&Target::from_nbits(0x207f_ffff).unwrap());
        let seen = channel.lost_block(&submit);
        assert_eq!(seen.is_some(), is_block);
        if let Some(header) = seen {
            assert_eq!(header, crate::job::header(&easy(2), &root, &fields));
        }
        is_block
    });
    assert!((8..56).contains(&blocks.count()), "half of all hashes are blocks");
}

#[test]
fn sh_18_shares_that_a_restart_made_stale_do_not_count() {
    let limits = crate::config::Limits { bad_shares_per_min: 2, ..Default::default() };
    let (mut session, key) = super::pace_tests::mining(&limits);
    let waits: Vec<_> = (1..=9).map(|n| tokens(&submitted(&mut session, n, 1))[0]).collect();
    let stale = |token| {
        let verdict = Verdict::Rejected(RejectReason::Stale);
        (Judged { channel: key, token, submit_id: 1, verdict }, submit_of(token))
    };
    let unjudged = Event::Unjudged(waits.into_iter().map(stale).collect());
    let fx = told(&mut session, vec![unjudged]);
    assert_eq!((fx.out.len(), fx.close), (9, None));
    // Those of a miner that goes on with old work do.
    let life =
        Event::Reopened { channel: key, generation: 1, target: target(0x01), job: job(1, 1) };
    told(&mut session, vec![life]);
    let closes: Vec<_> = (10..13).map(|n| submitted(&mut session, n, 1).close).collect();
    assert_eq!(closes, [None, None, Some(Cause::BadShares)]);
}

/// A submit that was forwarded, as the link hands it back.
fn submit_of(token: u64) -> Submit {
    Submit {
        job_id: 1001,
        nonce: token as u32,
        ntime: NOW,
        version: 0x2000_0000,
        extranonce: Short::new(&[0; 8]),
        worker: Short::default(),
        would_refuse: None,
    }
}

#[test]
fn what_is_sent_until_the_miner_hears_that_we_stop_is_judged() {
    let (mut session, key) = mining(Kind::Extended);
    let mut fx = Effects::default();
    session.dismiss(&mut fx);
    session.dismiss(&mut fx);
    assert!(matches!(fx.out.as_slice(), [Outbound::Reconnect { .. }]), "{:?}", fx.out);
    assert_eq!(fx.close, None);
    let [token] = tokens(&submitted(&mut session, 1, 1))[..] else { panic!("not forwarded") };
    let refused = received(&mut session, open(Kind::Extended));
    let [Outbound::OpenError { reason, .. }] = refused.out.as_slice() else {
        panic!("{:?}", refused.out)
    };
    assert_eq!(*reason, RefuseReason::BackendUnavailable);
    let fx = told(&mut session, vec![Event::Verdict(judged(key, token, true))]);
    assert!(matches!(
        fx.out.as_slice(),
        [Outbound::Answer { answer: Answer::Success { last_sequence: 1, .. }, .. }]
    ));
    let mut fx = Effects::default();
    submitted(&mut session, 2, 1);
    session.stop(&mut fx);
    let [Outbound::Answer { answer, .. }] = fx.out.as_slice() else { panic!("{:?}", fx.out) };
    assert_eq!(
        *answer,
        Answer::Error { sequence: 2, reason: RejectReason::BackendUnavailable },
        "and it is told but once where to go"
    );
    assert_eq!(fx.close, Some(Cause::Stopping));
}

#[test]
fn hs_14_connections_of_one_address_share_its_channels() {
    let places = Seats::new(2);
    let mut sessions = [fresh().seated(places.clone()), fresh().seated(places.clone())];
    for session in &mut sessions {
        received(session, setup(0, (2, 2), 0));
    }
    let [first, second] = &mut sessions;
    let key = asked(&received(first, open(Kind::Standard)));
    let other = asked(&received(second, open(Kind::Standard)));
    told(first, vec![opened(key, Kind::Standard, 1)]);
    let refused = |session: &mut Session| {
        let fx = received(session, open(Kind::Standard));
        match fx.out.as_slice() {
            [] => None,
            [Outbound::OpenError { reason, .. }] => Some(*reason),
            other => panic!("{other:?}"),
        }
    };
    let full = Some(RefuseReason::ChannelCapacityExhausted);
    assert_eq!((refused(first), refused(second)), (full, full));
    // One is refused by the pool, the other closed by the miner, then its connection ends.
    let reason = RefuseReason::UnknownUser;
    told(second, vec![Event::Refused { channel: other, reason, detail: String::new() }]);
    assert_eq!(places.taken(), 1);
    received(first, Inbound::Close { channel_id: 1 });
    assert_eq!(places.taken(), 0);
    assert_eq!((refused(first), refused(second), refused(first)), (None, None, full));
    first.end(&mut Effects::default());
    assert_eq!((places.taken(), refused(second)), (1, None));
    drop(sessions);
    assert_eq!(places.taken(), 0);
}
