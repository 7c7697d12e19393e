//! The in-flight table never keeps what nobody waits for, and an outage loses nothing.

use std::sync::Arc;

use bytes::Bytes;
use v1::session_response::Message as FromPool;

use super::*;
use crate::backend::Mailbox;
use crate::types::{ConnId, Connection, Grant, Kind, OpenRequest, Short};

pub(super) fn key(conn: u64, ordinal: u32) -> ChannelKey {
    ChannelKey::new(ConnId(conn), ordinal).unwrap()
}

pub(super) fn submit(channel: ChannelKey, token: u64) -> Command {
    let submit = Submit {
        job_id: 1,
        nonce: 0,
        ntime: 0,
        version: 0,
        extranonce: Short::default(),
        worker: Short::default(),
        would_refuse: None,
    };
    Command::Submit { channel, token, generation: 0, submit }
}

/// A wish for a channel.
pub(super) fn wish(channel: ChannelKey) -> Command {
    let connection = Connection {
        id: channel.conn(),
        remote_address: "127.0.0.1:1".into(),
        vendor: Bytes::new(),
        hardware_version: Bytes::new(),
        firmware: Bytes::new(),
        device_id: Bytes::new(),
        setup_flags: 0,
        extensions: Vec::new(),
        connected_ms: 0,
    };
    let request = OpenRequest {
        kind: Kind::Extended,
        user_identity: Bytes::from_static(b"user"),
        payout_key: None,
        quote: None,
        nominal_hash_rate: 1.0,
        max_target: Target::EASIEST,
        min_extranonce_size: 4,
    };
    Command::Open { channel, connection: Arc::new(connection), request }
}

/// A channel that the pool has opened, without its message.
pub(super) fn hold(link: &mut Link, channel: ChannelKey) {
    link.send([wish(channel)].into_iter(), &mut Vec::new());
    let prefix = Bytes::from_static(&[1, 2, 3, 4]);
    let grant = Grant { prefix, extranonce_size: 8, target: Target([9; 32]) };
    link.channels.granted(channel, &grant);
}

fn full(channels: &[ChannelKey]) -> (Link, Directory) {
    let directory = Directory::default();
    let mut link = Link::new(channels.len(), directory.clone(), Journal::off());
    for channel in channels {
        hold(&mut link, *channel);
    }
    let submits = channels.iter().zip(0..).map(|(channel, token)| submit(*channel, token));
    link.send(submits, &mut Vec::new());
    assert_eq!(link.room(), 0);
    (link, directory)
}

fn kick(channel: ChannelKey, action: v1::KickAction) -> FromPool {
    FromPool::Kick(v1::Kick {
        channel_id: channel.to_wire(),
        action: action.into(),
        ..v1::Kick::default()
    })
}

#[tokio::test]
async fn a_closed_channel_gives_its_room_back_and_its_late_verdicts_harm_nobody() {
    let (mut link, directory) = full(&[key(1, 1), key(1, 1), key(2, 1)]);
    let (mut events, ..) = directory.attach(ConnId(2), 8);
    let mut out = Vec::new();
    let close = Command::Close { channel: key(1, 1), reason: "closed by the miner" };
    link.send([close].into_iter(), &mut out);
    assert!(matches!(out.as_slice(), [Parcel::Message(ToPool::CloseChannel(_))]));
    assert_eq!(link.room(), 2);
    let rejected = |submit_id| v1::Verdict {
        submit_id,
        reason: v1::RejectReason::StaleShare.into(),
        ..v1::Verdict::default()
    };
    let verdicts = vec![rejected(1), rejected(3), rejected(77)];
    link.receive(FromPool::VerdictBatch(v1::VerdictBatch { verdicts }), &mut out);
    assert_eq!(link.room(), 3);
    let Some(Event::Verdict(judged)) = events.recv().await else { panic!("one verdict") };
    assert_eq!(judged.token, 2);
    assert!(!events.has_some());
}

#[test]
fn a_kick_gives_back_the_room_of_what_it_closes() {
    for (action, room) in [
        (v1::KickAction::CloseChannel, 1),
        (v1::KickAction::CloseConnection, 2),
        (v1::KickAction::Reconnect, 2),
    ] {
        let (mut link, _) = full(&[key(1, 1), key(1, 2), key(2, 1)]);
        link.receive(kick(key(1, 1), action), &mut Vec::new());
        assert_eq!(link.room(), room, "{action:?}");
    }
}

#[test]
fn a_pool_that_stops_is_left_once_it_owes_nothing() {
    let (mut link, _) = full(&[key(1, 1)]);
    let drain = v1::Drain { grace_ms: 5_000, reason: "restart".into() };
    link.receive(FromPool::Drain(drain), &mut Vec::new());
    assert!(!link.is_drained(), "a verdict is owed");
    let verdicts = vec![v1::Verdict { submit_id: 1, ..v1::Verdict::default() }];
    link.receive(FromPool::VerdictBatch(v1::VerdictBatch { verdicts }), &mut Vec::new());
    assert!(link.is_drained());
    link.cut();
    assert!(!link.is_drained(), "the next link begins anew");
}

#[test]
fn a_mask_that_sv2_can_not_tell_forbids_rolling() {
    for (mask, rolls) in
        [(0, false), (0x1fff_e000, false), (0x1fff_ffe0, true), (0xffff_ffff, true)]
    {
        let job = v1::Job {
            prev_hash: Bytes::from_static(&[1; 32]),
            nbits: 0x1d00_ffff,
            version: 0x2000_0000,
            version_mask: mask,
            coinbase_prefix: Bytes::from_static(&[1]),
            coinbase_suffix: Bytes::from_static(&[1]),
            id: 1,
            seq: 1,
            ..v1::Job::default()
        };
        let got = convert::job(job).unwrap().version_mask;
        assert_eq!(got, if rolls { crate::types::VERSION_ROLLING_MASK } else { 0 }, "{mask:08x}");
    }
}

#[tokio::test]
async fn sc_16_the_pools_own_words_reach_a_miner_in_printable_ascii_only() {
    let (mut link, directory) = full(&[key(1, 1)]);
    let (mut events, ..) = directory.attach(ConnId(1), 8);
    let all: String = ('\0'..='\u{2030}').collect();
    for words in ["", "\n\0", "banned: \u{1b}[31m", &all, &"long ".repeat(100)] {
        link.receive(
            FromPool::Kick(v1::Kick {
                channel_id: key(1, 1).to_wire(),
                action: v1::KickAction::Reconnect.into(),
                reason: words.into(),
                host: words.into(),
                ..v1::Kick::default()
            }),
            &mut Vec::new(),
        );
        let Some(Event::Kick { kick, .. }) = events.recv().await else { panic!("a kick") };
        for text in [&kick.reason, &kick.host] {
            assert!(text.len() <= 255 && text.bytes().all(|b| matches!(b, b' '..=b'~')), "{text}");
        }
        assert!(!kick.reason.is_empty());
    }
}

pub(super) fn life(epoch: u8, resumed: bool) -> Life {
    Life { epoch: Bytes::copy_from_slice(&[epoch; 16]), resumed }
}

pub(super) fn opened(channel: ChannelKey, prefix: u8) -> FromPool {
    FromPool::ChannelOpened(v1::ChannelOpened {
        channel_id: channel.to_wire(),
        extranonce_prefix: Bytes::copy_from_slice(&[prefix; 4]),
        extranonce_size: 8,
        target: Bytes::from_static(&[9; 32]),
        job: Some(v1::Job {
            prev_hash: Bytes::from_static(&[1; 32]),
            nbits: 0x1d00_ffff,
            version: 0x2000_0000,
            coinbase_prefix: Bytes::from_static(&[1]),
            coinbase_suffix: Bytes::from_static(&[1]),
            id: 1,
            seq: 1,
            ..v1::Job::default()
        }),
    })
}

#[tokio::test]
async fn later_jobs_stay_the_higher_ones_when_a_stream_counts_anew() {
    let (mut link, directory) = full(&[key(1, 1)]);
    let (mut events, ..) = directory.attach(ConnId(1), 8);
    let job = |id, seq| {
        let FromPool::ChannelOpened(opened) = opened(key(1, 1), 1) else { panic!() };
        let channel_ids = vec![key(1, 1).to_wire()];
        FromPool::Job(v1::Job { id, seq, channel_ids, ..opened.job.unwrap() })
    };
    link.welcomed(&life(1, false), &mut Vec::new());
    let mut last = 0;
    for (id, seq, resumes) in [(1, 1, false), (2, 900, false), (2, 1, true), (3, 2, false)] {
        if resumes {
            link.cut();
            link.welcomed(&life(1, true), &mut Vec::new());
        }
        link.receive(job(id, seq), &mut Vec::new());
        let Some(Event::Job { job, .. }) = events.recv().await else { panic!("a job") };
        assert!(job.id == id && job.seq > last, "{job:?} after {last}");
        last = job.seq;
    }
}

pub(super) fn refused(channel: ChannelKey, reason: v1::RefuseReason) -> FromPool {
    FromPool::ChannelRefused(v1::ChannelRefused {
        channel_id: channel.to_wire(),
        reason: reason.into(),
        detail: String::new(),
    })
}

/// A link in its first life with open channels, the mailbox of connection 1, and what it sends.
pub(super) fn up(channels: &[ChannelKey]) -> (Link, Mailbox, Vec<Parcel>) {
    let directory = Directory::default();
    let (mut events, ..) = directory.attach(ConnId(1), 1024);
    let mut link = Link::new(1024, directory, Journal::off());
    let mut out = Vec::new();
    link.welcomed(&life(1, false), &mut out);
    for channel in channels {
        link.send([wish(*channel)].into_iter(), &mut out);
        link.receive(opened(*channel, 7), &mut out);
        assert!(matches!(events.try_recv(), Ok(Event::Opened { generation: 0, .. })));
    }
    out.clear();
    (link, events, out)
}

fn submit_ids(out: &[Parcel]) -> Vec<u64> {
    let ids = |message: &Parcel| match message {
        Parcel::Shares(shares) => shares.iter().map(|s| s.id).collect(),
        _ => Vec::new(),
    };
    out.iter().flat_map(ids).collect()
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_was() {
    let (mut link, mut events, mut out) = up(&[key(1, 1), key(1, 2)]);
    let update = Command::Update {
        channel: key(1, 2),
        request: 5,
        nominal_hash_rate: 2.0,
        max_target: Target::EASIEST,
    };
    let (wanted, target) = (Target([9; 32]), Target([3; 32]));
    let told = Command::TargetInEffect { channel: key(1, 1), wanted, target };
    let sent = [submit(key(1, 1), 0), submit(key(1, 2), 0), submit(key(1, 1), 1)];
    link.send(sent.into_iter().chain([update, told, wish(key(1, 3))]), &mut out);
    let close = Command::Close { channel: key(1, 2), reason: "closed by the miner" };
    let verdict = v1::Verdict {
        submit_id: 1,
        reason: v1::RejectReason::StaleShare.into(),
        ..v1::Verdict::default()
    };
    link.receive(FromPool::VerdictBatch(v1::VerdictBatch { verdicts: vec![verdict] }), &mut out);
    link.cut();
    assert!(matches!(events.try_recv(), Ok(Event::Verdict(_))));
    assert!(events.try_recv().is_err(), "the miner notices nothing");

    let mut greeting = link.greeting();
    greeting.open.sort_unstable();
    assert_eq!(greeting.open, [key(1, 1).to_wire(), key(1, 2).to_wire()]);
    assert_eq!((greeting.last_epoch, greeting.withdrawn), (life(1, true).epoch, vec![]));

    let mut again = Vec::new();
    link.welcomed(&life(1, true), &mut again);
    assert_eq!(submit_ids(&again), [2, 3], "not the one that was judged");
    assert!(matches!(again[0], Parcel::Shares(_)), "before all else");
    let count = |wanted: fn(&Parcel) -> bool| again.iter().filter(|m| wanted(m)).count();
    assert_eq!(
        count(|m| matches!(m, Parcel::Message(ToPool::UpdateChannel(u)) if u.request_id == 5)),
        1
    );
    assert_eq!(
        count(
            |m| matches!(m, Parcel::Message(ToPool::TargetInEffect(t)) if t.target[..] == [3; 32])
        ),
        1
    );
    assert_eq!(count(|m| matches!(m, Parcel::Message(ToPool::OpenChannel(o)) if !o.reopen)), 1);
    assert_eq!(again.len(), 4);

    // What is closed while the stream is down is not told as open on the next.
    link.cut();
    link.refuse(close);
    assert_eq!(link.greeting().open, [key(1, 1).to_wire()]);
    let mut again = Vec::new();
    link.welcomed(&life(1, true), &mut again);
    assert_eq!(submit_ids(&again), [3]);
}

#[tokio::test]
async fn a_restarted_pool_judges_nothing_of_before_and_has_the_channels_again() {
    let (mut link, mut events, mut out) = up(&[key(1, 1), key(1, 2)]);
    link.send([submit(key(1, 2), 0)].into_iter(), &mut out);
    link.cut();
    out.clear();
    link.welcomed(&life(2, false), &mut out);
    let Ok(Event::Unjudged(lost)) = events.try_recv() else { panic!("the submit's answer") };
    let verdicts: Vec<_> = lost.iter().map(|(judged, _)| judged.verdict).collect();
    assert_eq!(verdicts, [Verdict::Rejected(RejectReason::Stale)]);
    let wishes: Vec<_> = out
        .iter()
        .map(|message| match message {
            Parcel::Message(ToPool::OpenChannel(open)) => open,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        wishes.iter().map(|o| o.channel_id).collect::<Vec<_>>(),
        [key(1, 2).to_wire(), key(1, 1).to_wire()]
    );
    for wish in wishes {
        assert!(wish.reopen);
        assert_eq!(wish.wanted_extranonce_prefix[..], [7; 4]);
        assert_eq!(wish.last_target[..], [9; 32]);
    }
    // A share of the life before, after the channel is there again, is stale all the same.
    link.receive(opened(key(1, 2), 7), &mut Vec::new());
    let Ok(Event::Reopened { generation: 1, .. }) = events.try_recv() else { panic!("reopened") };
    out.clear();
    link.send([submit(key(1, 2), 1)].into_iter(), &mut out);
    assert!(matches!(events.try_recv(), Ok(Event::Unjudged(_))) && out.is_empty());
    // The other one can't have its prefix: its connection is told, the pool closes it.
    link.receive(opened(key(1, 1), 8), &mut out);
    // With all of it.
    assert!(matches!(events.try_recv(), Ok(Event::Unrestored { .. })));
    assert!(matches!(
        out.as_slice(),
        [Parcel::Message(ToPool::CloseChannel(_)), Parcel::Message(ToPool::CloseChannel(_))]
    ));
    assert!(!link.is_reopening());
}

#[tokio::test]
async fn what_waits_too_long_is_answered_and_withdrawn() {
    let (mut link, mut events, mut out) = up(&[key(1, 1)]);
    let update = Command::Update {
        channel: key(1, 1),
        request: 5,
        nominal_hash_rate: 2.0,
        max_target: Target::EASIEST,
    };
    let sent = [submit(key(1, 1), 0), submit(key(1, 1), 1), wish(key(1, 2)), update];
    link.send(sent.into_iter(), &mut out);
    link.cut();
    link.give_up();
    let Ok(Event::Unjudged(lost)) = events.try_recv() else { panic!("the submits' answers") };
    let unavailable = Verdict::Rejected(RejectReason::BackendUnavailable);
    assert_eq!(
        lost.iter().map(|(j, _)| (j.submit_id, j.verdict)).collect::<Vec<_>>(),
        [(1, unavailable), (2, unavailable)]
    );
    assert!(matches!(events.try_recv(), Ok(Event::Refused { .. })));
    assert!(matches!(events.try_recv(), Ok(Event::Updated { request: 5, refused: Some(_), .. })));
    link.refuse(submit(key(1, 1), 2));
    assert!(matches!(events.try_recv(), Ok(Event::Unjudged(_))));
    assert_eq!(link.greeting().withdrawn, [1, 2]);
    assert_eq!(link.greeting().open, [key(1, 1).to_wire()]);
    let mut again = Vec::new();
    link.welcomed(&life(1, true), &mut again);
    let [Parcel::Message(ToPool::UpdateChannel(update))] = &again[..] else { panic!("{again:?}") };
    assert_eq!(update.request_id, 0, "nothing is left to say but that the update does not hold");
    assert_eq!(link.greeting().withdrawn, [0; 0]);
}

#[tokio::test]
async fn a_pool_without_work_is_asked_again_until_patience_ends() {
    let channels: Vec<_> = (1..=3).map(|ordinal| key(1, ordinal)).collect();
    let (mut link, mut events, mut out) = up(&channels);
    link.cut();
    link.welcomed(&life(2, false), &mut out);
    assert_eq!(out.len(), 3);
    out.clear();
    for channel in &channels[..2] {
        link.receive(refused(*channel, v1::RefuseReason::NoWork), &mut out);
    }
    link.receive(refused(channels[2], v1::RefuseReason::UnknownUser), &mut out);
    let Ok(Event::Kick { kick, .. }) = events.try_recv() else { panic!("not wanted any more") };
    assert_eq!(
        (kick.action, kick.reason.as_str()),
        (crate::types::KickAction::CloseChannel, "unknown-user")
    );
    assert!(out.is_empty() && events.try_recv().is_err());
    link.retry(false, &mut out);
    assert_eq!(out.len(), 2, "asked again");
    out.clear();
    link.receive(opened(channels[0], 7), &mut out);
    assert!(matches!(events.try_recv(), Ok(Event::Reopened { .. })));
    link.retry(true, &mut out);
    assert!(
        matches!(events.try_recv(), Ok(Event::Unrestored { channel }) if channel == channels[1])
    );
    // That one, and the other of its connection.
    assert!(
        matches!(
            out.as_slice(),
            [Parcel::Message(ToPool::CloseChannel(_)), Parcel::Message(ToPool::CloseChannel(_))]
        ),
        "{out:?}"
    );
    assert!(!link.is_reopening() && events.try_recv().is_err());
}
