//! Jobs that small devices would drop do not go unnoticed.

use bytes::Bytes;
use v1::session_response::Message as FromPool;

use super::tests::{key, wish};
use super::*;

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
fn jobs_too_long_for_small_devices_are_complained_of_once_a_stream() {
    let mut link = Link::new(1, Directory::default(), Journal::off());
    link.receive(FromPool::Job(job_of(DEVICE_PAYLOAD)), &mut Vec::new());
    assert!(!link.warned_of_size, "just short enough");
    link.receive(FromPool::Job(job_of(DEVICE_PAYLOAD + 1)), &mut Vec::new());
    assert!(link.warned_of_size);
    link.cut();
    assert!(!link.warned_of_size, "the next pool may be another one");
    link.send([wish(key(1, 1))].into_iter(), &mut Vec::new());
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
