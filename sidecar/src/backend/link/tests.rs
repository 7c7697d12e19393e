//! The in-flight table never keeps what nobody waits for.

use bytes::Bytes;

use super::*;
use crate::types::Submit;

fn key(conn: u64, ordinal: u32) -> ChannelKey {
    ChannelKey::new(ConnId(conn), ordinal).unwrap()
}

fn submit(channel: ChannelKey, token: u64) -> Command {
    let submit = Submit {
        job_id: 1,
        nonce: 0,
        ntime: 0,
        version: 0,
        extranonce: Bytes::new(),
        worker: Bytes::new(),
        would_refuse: None,
    };
    Command::Submit { channel, token, submit }
}

fn full(channels: &[ChannelKey]) -> (Link, Directory) {
    let directory = Directory::default();
    let mut link = Link::new(channels.len(), directory.clone(), Journal::off());
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
    assert!(matches!(out.as_slice(), [ToPool::CloseChannel(_)]));
    assert_eq!(link.room(), 2);
    let rejected = |submit_id| v1::Verdict {
        submit_id,
        reason: v1::RejectReason::StaleShare.into(),
        ..v1::Verdict::default()
    };
    let verdicts = vec![rejected(1), rejected(3), rejected(77)];
    link.receive(FromPool::VerdictBatch(v1::VerdictBatch { verdicts }), &mut out);
    assert_eq!(link.room(), 3);
    let Some(Event::Verdicts(judged)) = events.recv().await else { panic!("one verdict") };
    assert_eq!(judged.iter().map(|j| j.token).collect::<Vec<_>>(), [2]);
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
    link.lost();
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

/// A job whose message to an extended channel has this many bytes.
fn job_of(bytes: usize) -> v1::Job {
    let hash = || Bytes::from_static(&[1; 32]);
    // 23 bytes of fields, 14 hashes of path, a coinbase.
    let suffix = vec![2; bytes - 23 - 14 * 32 - 60];
    v1::Job {
        channel_ids: vec![key(1, 1).to_wire()],
        id: 1,
        seq: 1,
        prev_hash: hash(),
        nbits: 0x1d00_ffff,
        version: 0x2000_0000,
        version_mask: crate::types::VERSION_ROLLING_MASK,
        min_ntime: 1,
        merkle_path: (0..14).map(|_| hash()).collect(),
        coinbase_prefix: Bytes::from_static(&[1; 60]),
        coinbase_suffix: suffix.into(),
        stale_rule: v1::StaleRule::Strict.into(),
        ..v1::Job::default()
    }
}

#[test]
fn jobs_too_long_for_small_devices_are_complained_of_once_a_link() {
    let mut link = Link::new(1, Directory::default(), Journal::off());
    link.receive(FromPool::Job(job_of(DEVICE_PAYLOAD)), &mut Vec::new());
    assert!(!link.warned_of_size, "just short enough");
    link.receive(FromPool::Job(job_of(DEVICE_PAYLOAD + 1)), &mut Vec::new());
    assert!(link.warned_of_size);
    link.lost();
    assert!(!link.warned_of_size, "the next pool may be another one");
    let opened = v1::ChannelOpened {
        channel_id: key(1, 1).to_wire(),
        extranonce_prefix: Bytes::from_static(&[1; 4]),
        extranonce_size: 8,
        target: Bytes::from_static(&[0xff; 32]),
        job: Some(v1::Job { channel_ids: Vec::new(), ..job_of(DEVICE_PAYLOAD + 1) }),
    };
    link.receive(FromPool::ChannelOpened(opened), &mut Vec::new());
    assert!(link.warned_of_size, "a first job is one, too");
}
