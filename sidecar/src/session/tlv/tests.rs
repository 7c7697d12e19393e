//! Promises about TLVs, as a parser and on the way of a share.

use proptest::prelude::*;

use super::super::tests::{asked, fresh, judged, open, opened, received, setup, tokens, told, NOW};
use super::super::{decode, Effects, Inbound, Outbound, Session};
use super::*;
use crate::backend::{Command, Event};
use crate::channel::Answer;
use crate::frame::Frame;
use crate::obs::Line;
use crate::types::{vectors, ChannelKey, Kind, RejectReason, Submit};

/// The two forms of "Worker_001": as peers send it, and as the specification prints it.
const LITTLE: &[u8] = b"\x02\x00\x01\x0a\x00Worker_001";
const BIG: &[u8] = b"\x00\x02\x01\x00\x0aWorker_001";

/// A TLV in little-endian order.
fn tlv(extension: u16, field: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = extension.to_le_bytes().to_vec();
    bytes.push(field);
    bytes.extend((value.len() as u16).to_le_bytes());
    bytes.extend(value);
    bytes
}

fn named(worker: &[u8]) -> Result<Named<'_>, TooLong> {
    Ok(Named { worker, swapped: false })
}

/// A connection on which `extensions` are in force, with one channel of each kind.
fn agreed(extensions: &[u16]) -> (Session, [ChannelKey; 2]) {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 0));
    let requested = extensions.to_vec();
    received(&mut session, Inbound::RequestExtensions { request_id: 1, requested });
    let keys = [Kind::Extended, Kind::Standard].map(|kind| {
        let key = asked(&received(&mut session, open(kind)));
        told(&mut session, vec![opened(key, kind, 1)]);
        key
    });
    (session, keys)
}

/// A submit with these bytes behind it, through the reader. Channels and jobs have the ids that
/// [`agreed`] gives them.
fn submitted(session: &mut Session, kind: Kind, sequence: u32, tlvs: &[u8]) -> Effects {
    let (channel, job) = if kind == Kind::Extended { (1, 1) } else { (3, 2) };
    let words = [channel, sequence, job, sequence, NOW, 0x2000_0000_u32];
    let mut payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if kind == Kind::Extended {
        payload.extend([8, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    payload.extend(tlvs);
    let message_type = if kind == Kind::Extended { 0x1b } else { 0x1a };
    let frame = Frame { extension_type: 0, message_type, payload: &mut payload };
    received(session, decode(frame).unwrap())
}

fn forwarded(fx: &Effects) -> &Submit {
    match fx.commands.as_slice() {
        [Command::Submit { submit, .. }] if fx.out.is_empty() => submit,
        _ => panic!("a submit for the pool expected: {fx:?}"),
    }
}

/// The worker that reaches the pool.
fn worker_of(extensions: &[u16], kind: Kind, tlvs: &[u8]) -> Vec<u8> {
    let (mut session, _) = agreed(extensions);
    let fx = submitted(&mut session, kind, 1, tlvs);
    assert_eq!(forwarded(&fx).would_refuse, None);
    forwarded(&fx).worker.to_vec()
}

#[test]
fn ex_8_to_11_agree_with_the_vectors() {
    let cases = vectors::tlvs().worker;
    let first: Vec<_> = cases.iter().take(2).map(|case| &case.bytes.0[..]).collect();
    assert_eq!(first, [LITTLE, BIG], "what the other tests use");
    for case in &cases {
        let want = match (&case.worker, case.too_long) {
            (Some(name), None) => Ok(Named { worker: &name.0, swapped: case.swapped }),
            (None, Some(len)) => Err(TooLong(len)),
            _ => panic!("{case:?}"),
        };
        assert_eq!(worker(&case.bytes.0), want, "{}", case.name);
    }
}

#[test]
fn ex_8_names_are_read_in_both_byte_orders() {
    for kind in [Kind::Standard, Kind::Extended] {
        for vector in [LITTLE, BIG] {
            assert_eq!(worker_of(&[2], kind, vector), b"Worker_001");
        }
    }
    assert_eq!(tlv(2, 1, b"Worker_001"), LITTLE);
}

#[test]
fn ex_8_any_bytes_are_a_worker_up_to_32_of_them() {
    let every: Vec<u8> = (0..=255).collect();
    for value in every.chunks(WORKER_MAX) {
        assert_eq!(worker_of(&[2], Kind::Extended, &tlv(2, 1, value)), value);
    }
    assert_eq!(worker(&tlv(2, 1, b"")), named(b""));
}

#[test]
fn ex_8_the_worker_is_in_the_journal_with_the_answer() {
    let (mut session, [key, _]) = agreed(&[2]);
    let fx = submitted(&mut session, Kind::Extended, 5, &tlv(2, 1, b"rig\xff"));
    let verdict = Event::Verdict(judged(key, tokens(&fx)[0], true));
    let lines = told(&mut session, vec![verdict]).lines;
    match lines.as_slice() {
        [Line::Answer { seq: 5, accepted: true, worker, .. }] => {
            assert_eq!(worker[..], *b"rig\xff")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ex_9_a_worker_that_is_too_long_rejects_the_share_with_an_error() {
    let long = [b'x'; WORKER_MAX + 1];
    let mut swapped = b"\x00\x02\x01\x00\x21".to_vec();
    swapped.extend(long);
    let alone = tlv(2, 1, &long);
    let first_good = [LITTLE, &alone].concat();
    for tlvs in [alone, swapped, first_good] {
        assert_eq!(worker(&tlvs), Err(TooLong(33)));
        for kind in [Kind::Standard, Kind::Extended] {
            let (mut session, _) = agreed(&[2]);
            let fx = submitted(&mut session, kind, 9, &tlvs);
            let reason = RejectReason::InvalidShare;
            let channel_id = if kind == Kind::Extended { 1 } else { 3 };
            let answer = Answer::Error { sequence: 9, reason };
            assert_eq!(fx.out, [Outbound::Answer { channel_id, answer }]);
            assert!(fx.commands.is_empty() && fx.close.is_none());
            let fx = submitted(&mut session, kind, 10, LITTLE);
            assert_eq!(forwarded(&fx).worker[..], *b"Worker_001", "the channel works on");
        }
    }
}

#[test]
fn ex_10_workers_are_ignored_unless_agreed_on() {
    let long = tlv(2, 1, &[b'x'; 200]);
    for tlvs in [LITTLE, BIG, &long] {
        for kind in [Kind::Standard, Kind::Extended] {
            assert_eq!(worker_of(&[], kind, tlvs), b"");
            assert_eq!(worker_of(&[9], kind, tlvs), b"");
        }
    }
}

#[test]
fn ex_11_other_tlvs_are_skipped_wherever_they_stand() {
    let others = [tlv(2, 2, b"field"), tlv(7, 1, &[0; 300]), tlv(0x4abc, 1, b""), tlv(0, 0, b"?")];
    let others = others.concat();
    for tlvs in [[&others, LITTLE].concat(), [LITTLE, &others].concat()] {
        assert_eq!(worker_of(&[2], Kind::Extended, &tlvs), b"Worker_001");
    }
    assert_eq!(worker_of(&[2], Kind::Extended, &others), b"");
    let twice = [LITTLE, &tlv(2, 1, b"second")].concat();
    assert_eq!(worker_of(&[2], Kind::Extended, &twice), b"Worker_001", "the first counts");
}

#[test]
fn ex_11_truncated_tlvs_cost_their_worker_and_never_the_share() {
    for vector in [LITTLE, BIG] {
        for cut in 0..vector.len() {
            assert_eq!(worker_of(&[2], Kind::Extended, &vector[..cut]), b"", "{cut}");
        }
    }
    for cut in 1..LITTLE.len() {
        let tlvs = [LITTLE, &tlv(7, 1, b"0123456789")[..cut]].concat();
        assert_eq!(worker_of(&[2], Kind::Extended, &tlvs), b"Worker_001", "whole before {cut}");
    }
    let claims_more = b"\x02\x00\x01\xff\xffxyz";
    assert_eq!(worker_of(&[2], Kind::Extended, claims_more), b"");
}

#[test]
fn ex_12_a_share_without_a_worker_is_forwarded_without_one() {
    // The pool then credits the identity the channel was opened with.
    for kind in [Kind::Standard, Kind::Extended] {
        assert_eq!(worker_of(&[2], kind, b""), b"");
    }
}

/// The TLVs of the bytes in one order, and whether nothing is left over. Naive: by index.
fn naive(bytes: &[u8], word: fn([u8; 2]) -> u16) -> (Vec<(u16, u8, Vec<u8>)>, bool) {
    let (mut all, mut at) = (Vec::new(), 0);
    while at + 5 <= bytes.len() {
        let end = at + 5 + usize::from(word([bytes[at + 3], bytes[at + 4]]));
        if end > bytes.len() {
            break;
        }
        let extension = word([bytes[at], bytes[at + 1]]);
        all.push((extension, bytes[at + 2], bytes[at + 5..end].to_vec()));
        at = end;
    }
    (all, at == bytes.len())
}

/// Bytes that are TLVs now and then: whole ones in either order, and noise.
fn tlvs() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        3 => (1_u16..4, 0_u8..3, prop::collection::vec(any::<u8>(), 0..40), any::<bool>())
            .prop_map(|(extension, field, value, big)| {
                let mut bytes = tlv(extension, field, &value);
                if big {
                    bytes[..2].reverse();
                    bytes[3..5].reverse();
                }
                bytes
            }),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => prop::collection::vec(0_u8..3, 0..12),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn ex_8_to_12_agree_with_a_naive_reader_and_lose_no_share(bytes in tlvs()) {
        let workers = |order| {
            let (all, whole) = naive(&bytes, order);
            let workers: Vec<_> = all.into_iter().filter(|t| (t.0, t.1) == (2, 1)).collect();
            (workers, whole)
        };
        let (little, whole) = workers(u16::from_le_bytes);
        let (big, big_whole) = workers(u16::from_be_bytes);
        let swapped = !whole && big_whole && !big.is_empty();
        let found = if swapped { big } else { little };
        let too_long = found.iter().any(|t| t.2.len() > 32);
        let first = found.first().map_or(Vec::new(), |t| t.2.clone());
        match worker(&bytes) {
            Ok(got) => {
                prop_assert!(!too_long);
                prop_assert_eq!(got, Named { worker: &first, swapped });
            }
            Err(TooLong(len)) => prop_assert!(too_long && len > 32),
        }
        for extensions in [&[][..], &[2]] {
            let (mut session, _) = agreed(extensions);
            let fx = submitted(&mut session, Kind::Extended, 1, &bytes);
            // Forwarded, or answered: never silently lost.
            prop_assert_eq!(fx.commands.len() + fx.out.len(), 1);
            prop_assert_eq!(fx.out.len(), usize::from(too_long && !extensions.is_empty()));
            prop_assert!(fx.close.is_none());
        }
    }

    #[test]
    fn ex_11_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(Named { worker, .. }) = worker(&bytes) {
            prop_assert!(worker.len() <= 32);
        }
    }
}
