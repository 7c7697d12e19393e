//! EX: extensions 0x0001 and 0x0002 (SV2 spec 3.4, extensions).

use crate::message::Message;
use crate::miner::{Channel, Miner, Wish};
use crate::rig::rig;

/// Worker of each share.
const WORKERS: u16 = 2;

/// Asks for extensions and returns the answer to it.
fn request(miner: &mut Miner, id: u16, wanted: &[u16]) -> Message {
    let mut payload = [id.to_le_bytes(), (wanted.len() as u16).to_le_bytes()].concat();
    payload.extend(wanted.iter().flat_map(|extension| extension.to_le_bytes()));
    miner.peer.send(1, 0, &payload);
    miner.until("answer to RequestExtensions", |message| match message {
        Message::ExtensionsSuccess { request, .. } | Message::ExtensionsError { request, .. }
            if *request == id =>
        {
            Some(message.clone())
        }
        _ => None,
    })
}

/// A channel of a connection on which workers are named; `None`, and said so: the server knows no
/// workers.
fn named(test: &str) -> Option<(Miner, Channel)> {
    let mut miner = Miner::new();
    if !matches!(request(&mut miner, 1, &[WORKERS]), Message::ExtensionsSuccess { .. }) {
        assert!(!rig().is_ours(test, "a server with extension 0x0002"));
        return None;
    }
    let channel = miner.open(&Wish::extended());
    Some((miner, channel))
}

/// Sends good shares with these bytes behind them. All are accepted, and count for these workers
/// (as a journal has them), as far as the server lets us look.
fn count_for(miner: &mut Miner, channel: &Channel, shares: &[(&[u8], &str)]) {
    for (tlv, worker) in shares {
        let share = channel.share(miner.heard.len() as u32);
        miner.say(0x1b, &[&share.payload()[..], tlv].concat());
        assert_eq!(miner.verdict(share.sequence), Ok(()), "{tlv:?}");
        let Some(books) = rig().pool_books() else { continue };
        let hash = channel.hash(&share);
        let mut lines = books.of("verdict").filter(|line| line.text("hash") == hash);
        let line = lines.next().expect("the pool's line about the share");
        assert_eq!((line.is("accepted"), line.text("worker")), (true, *worker), "{tlv:?}");
    }
}

/// A worker's name as it should be sent.
fn worker(name: &[u8]) -> Vec<u8> {
    [&[2, 0, 1, name.len() as u8, 0], name].concat()
}

#[test]
fn ex_1_extensions_are_agreed_on_first_and_only_when_asked_for() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    assert!(miner.listen(std::time::Duration::from_millis(200)).is_empty());
    let answer = request(&mut miner, 0, &[WORKERS]);
    assert!(matches!(answer, Message::ExtensionsSuccess { .. }), "{answer:?}");
    let channel = miner.open(&Wish::extended());
    assert_eq!(miner.judge(&channel.share(1)), Ok(()));
}

#[test]
fn ex_3_the_supported_of_the_requested_are_granted_under_the_same_id() {
    let lists: [&[u16]; 4] = [&[WORKERS], &[0x4abc, WORKERS], &[WORKERS, 0xfffe], &[2, 2]];
    for (id, wanted) in [0, 1, 0x8000, u16::MAX].into_iter().zip(lists) {
        let mut miner = Miner::new();
        match request(&mut miner, id, wanted) {
            Message::ExtensionsSuccess { supported, .. } => {
                assert!(!supported.is_empty() && supported.iter().all(|e| *e == WORKERS));
            }
            other => panic!("{wanted:?}: {other:?}"),
        }
    }
}

#[test]
fn ex_7_a_late_request_changes_nothing() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    request(&mut miner, 3, &[WORKERS]);
    // In force, a name of 33 bytes would cost the share.
    let long = worker(&[b'w'; 33]);
    count_for(&mut miner, &channel, &[(&long, ""), (&worker(b"late"), "")]);
}

#[test]
fn ex_8_workers_are_read_in_both_byte_orders() {
    let _tip = rig().same_tip();
    let Some((mut miner, channel)) = named("ex_8") else { return };
    let written = r"\xff".repeat(32);
    let shares: [(&[u8], &str); 5] = [
        (&worker(b"Worker_001"), "Worker_001"),
        (&worker(b""), ""),
        (&worker(&[0xff; 32]), &written),
        (b"\x00\x02\x01\x00\x0aWorker_002", "Worker_002"),
        (b"\x00\x02\x01\x00\x00", ""),
    ];
    count_for(&mut miner, &channel, &shares);
}

#[test]
fn ex_9_a_worker_that_is_too_long_rejects_the_message() {
    let _tip = rig().same_tip();
    let Some((mut miner, channel)) = named("ex_9") else { return };
    for len in [33, 34, 200] {
        let share = channel.share(len as u32);
        miner.say(0x1b, &[share.payload(), worker(&vec![b'w'; len])].concat());
        assert!(miner.verdict(share.sequence).is_err(), "{len}");
    }
    assert_eq!(miner.judge(&channel.share(9)), Ok(()), "the connection lives");
}

#[test]
fn ex_11_other_tlvs_and_broken_ones_cost_no_share() {
    let _tip = rig().same_tip();
    let Some((mut miner, channel)) = named("ex_11") else { return };
    let other = [&[0xbc, 0x4a, 7, 2, 0, 1, 1][..], &worker(b"rig")].concat();
    let tlvs: [&[u8]; 4] = [&other, &[2], &[2, 0, 1, 9, 0, b'a'], &[0xbc, 0x4a, 7, 0xff, 0xff]];
    let workers = ["rig", "", "", ""];
    let shares: Vec<_> = tlvs.into_iter().zip(workers).collect();
    count_for(&mut miner, &channel, &shares);
}

#[test]
fn ex_12_a_share_without_its_worker_counts_for_the_channel() {
    let _tip = rig().same_tip();
    let Some((mut miner, channel)) = named("ex_12") else { return };
    // Nor is it the worker's who was named last.
    count_for(&mut miner, &channel, &[(b"", ""), (&worker(b"before"), "before"), (b"", "")]);
}

#[test]
fn ex_2_what_nobody_supports_is_refused_and_an_empty_list_too() {
    let _tip = rig().same_tip();
    for wanted in [&[][..], &[0x4abc], &[0xfffe, 0x4abc]] {
        let mut miner = Miner::new();
        let id = 0x1234;
        match request(&mut miner, id, wanted) {
            Message::ExtensionsError { unsupported, required, .. } => {
                assert_eq!(unsupported, wanted);
                assert!(required.is_empty());
            }
            other => panic!("{wanted:?}: {other:?}"),
        }
        let channel = miner.open(&Wish::extended());
        assert_eq!(miner.judge(&channel.share(1)), Ok(()), "a refusal is not the end");
    }
}

#[test]
fn ex_10_a_worker_without_the_extension_is_ignored() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    // Whole, in the other byte order, too long, cut short.
    let long = [&[2, 0, 1, 40, 0][..], &[b'w'; 40]].concat();
    let tlvs = [b"\x02\x00\x01\x03\x00rig", b"\x00\x02\x01\x00\x03rig", &long[..], b"\x02\x00\x01"];
    count_for(&mut miner, &channel, &tlvs.map(|tlv| (tlv, "")));
}
