//! Channels over the pool's lives.

use bytes::Bytes;

use super::*;
use crate::types::{Kind, Target};

fn key(conn: u64, ordinal: u32) -> ChannelKey {
    ChannelKey::new(ConnId(conn), ordinal).unwrap()
}

fn wish(channels: &mut Channels, key: ChannelKey) {
    let connection = Connection {
        id: key.conn(),
        remote_address: String::new(),
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
        user_identity: Bytes::new(),
        payout_key: None,
        quote: None,
        nominal_hash_rate: 1.0,
        max_target: Target::EASIEST,
        min_extranonce_size: 4,
    };
    channels.open(key, Arc::new(connection), request);
}

fn grant(byte: u8) -> Grant {
    Grant {
        prefix: Bytes::copy_from_slice(&[byte; 4]),
        extranonce_size: 8,
        target: Target([byte; 32]),
    }
}

fn open(count: u32) -> Channels {
    let mut channels = Channels::default();
    for ordinal in 1..=count {
        wish(&mut channels, key(1, ordinal));
        channels.granted(key(1, ordinal), &grant(1));
    }
    channels
}

fn reopen_order(channels: &mut Channels) -> Vec<ChannelKey> {
    std::iter::from_fn(|| channels.next_reopen().map(|(key, _)| key)).collect()
}

#[test]
fn who_mined_last_is_reopened_first() {
    let mut channels = open(3);
    for ordinal in [2, 1, 2, 3, 1] {
        assert_eq!(channels.takes_share(key(1, ordinal), 0), Some(true));
    }
    wish(&mut channels, key(1, 4));
    channels.suspend();
    assert_eq!(reopen_order(&mut channels), [key(1, 1), key(1, 3), key(1, 2)]);
    assert_eq!(channels.suspended(), 3);
    assert_eq!(channels.takes_share(key(1, 1), 0), Some(false), "not open yet");
    channels.granted(key(1, 1), &grant(1));
    assert_eq!(channels.takes_share(key(1, 1), 0), Some(false), "a job of the life before");
    assert_eq!(channels.takes_share(key(1, 1), 1), Some(true));
    assert_eq!(channels.takes_share(key(9, 9), 1), None);
    assert_eq!(channels.suspended(), 2);
}

#[test]
fn reopens_come_a_few_at_a_time_and_none_is_forgotten() {
    let count = 3 * u32::try_from(REOPENS_AT_ONCE).unwrap();
    let mut channels = open(count);
    channels.suspend();
    let first = reopen_order(&mut channels);
    assert_eq!(first.len(), REOPENS_AT_ONCE);
    // One opens, one is refused for now, one is closed by its miner: three more may be asked for.
    channels.granted(first[0], &grant(1));
    channels.postpone(first[1]);
    channels.remove(first[2]);
    let second = reopen_order(&mut channels);
    assert_eq!(second.len(), 3);
    // The stream breaks: all of them come again, and the postponed one.
    channels.cut(false);
    let mut seen = Vec::new();
    loop {
        let some = reopen_order(&mut channels);
        if some.is_empty() {
            break;
        }
        some.iter().for_each(|key| channels.granted(*key, &grant(1)));
        seen.extend(some);
    }
    seen.sort_unstable();
    let expected: Vec<_> =
        (1..=count).map(|o| key(1, o)).filter(|k| *k != first[0] && *k != first[2]).collect();
    assert_eq!(seen, expected);
    assert_eq!((channels.suspended(), channels.reopening.len()), (0, 0));
}

#[test]
fn a_second_restart_while_reopening_begins_anew() {
    let mut channels = open(2);
    channels.suspend();
    assert_eq!(reopen_order(&mut channels).len(), 2);
    channels.granted(key(1, 1), &grant(1));
    channels.cut(false);
    channels.suspend();
    assert_eq!(reopen_order(&mut channels).len(), 2);
    assert_eq!(channels.generation(), 2);
    channels.remove_connection(ConnId(1));
    assert_eq!((channels.suspended(), channels.reopening.len()), (0, 0));
}

#[test]
fn a_taken_update_holds_for_the_reopen_and_a_refused_one_does_not() {
    let mut channels = open(1);
    let held = channels.get_mut(key(1, 1)).unwrap();
    let update = |request, byte| Update {
        request,
        nominal_hash_rate: f32::from(byte),
        max_target: Target([byte; 32]),
    };
    held.update(update(1, 7));
    held.update(update(2, 8));
    held.updated(1, true);
    held.updated(2, false);
    held.updated(3, true);
    assert!(held.updates().is_empty());
    assert_eq!(held.request.max_target, Target([7; 32]));
    let (before, told, wanted) = (held.target(), Target([5; 32]), Target([6; 32]));
    assert!(held.tell(before, told) && held.target() == told);
    assert_eq!(held.told(), Some((before, told)));
    held.want(wanted);
    assert!(!held.tell(before, told), "no answer to the newer one");
    assert_eq!((held.target(), held.told()), (wanted, None));
    assert!(held.is_as_before(&grant(1)) && !held.is_as_before(&grant(2)));
}
