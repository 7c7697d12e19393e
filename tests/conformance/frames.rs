//! FR: frames (SV2 spec 3.1, 3.2, 3.4.1, 4.6).

use std::time::Duration;

use gopool_sv2_tests::{Heard, CHANNEL_BIT};

use crate::message::Message;
use crate::miner::{setup_payload, Miner, Wish, EASIEST};
use crate::rig::rig;
use crate::work::half;

/// No extension of anybody's.
const UNKNOWN: u16 = 0x4abc;

#[test]
fn fr_1_headers_are_little_endian_and_count_the_plaintext() {
    let mut miner = Miner::fresh(rig());
    miner.say(0x00, &setup_payload(0, 2, 2, 0));
    let Heard::Frame(frame) = miner.peer.hear(crate::miner::PATIENCE) else { panic!("no answer") };
    assert_eq!(frame.payload, [2, 0, 0, 0, 0, 0]);
    assert_eq!(miner.peer.received, 6 + 16 + 6 + 16, "header and payload, each with its tag");
}

#[test]
fn fr_2_payloads_of_any_length_keep_the_frames_in_step() {
    let mut miner = Miner::new();
    for len in [0, 1, 65_518, 65_519, 65_520, 65_536] {
        miner.peer.send(UNKNOWN, 1, &vec![7; len]);
        assert_eq!(miner.fence(), [], "{len}");
    }
    // The longest message there is, and an answer as long: five pieces.
    let asked: Vec<u16> = (3..=u16::MAX).collect();
    let mut request = vec![6, 0];
    request.extend((asked.len() as u16).to_le_bytes());
    request.extend(asked.iter().flat_map(|extension| extension.to_le_bytes()));
    miner.peer.send(1, 0, &request);
    match miner.next() {
        Message::ExtensionsError { request: 6, unsupported, .. } => {
            assert!(unsupported == asked, "{} of {}", unsupported.len(), asked.len());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(miner.fence(), []);
}

#[test]
fn fr_3_messages_carry_the_number_of_their_own_extension() {
    let mut miner = Miner::new();
    miner.peer.send(1, 0, &[9, 0, 1, 0, 0xfe, 0xff]);
    // What is read as such was sent as extension 1 without the channel bit, or the reader panics.
    miner.until("answer of extension 1", |message| match message {
        Message::ExtensionsError { request: 9, .. } => Some(()),
        _ => None,
    });
    miner.open(&Wish::extended());
}

#[test]
fn fr_4_the_channel_bit_is_no_part_of_the_extension() {
    let mut miner = Miner::new();
    miner.peer.send(0xcabc, 0x13, &[0; 60]);
    miner.peer.send(1 | CHANNEL_BIT, 0, &[10, 0, 1, 0, 0xfe, 0xff]);
    miner.until("answer of extension 1", |message| match message {
        Message::ExtensionsError { request: 10, .. } => Some(()),
        _ => None,
    });
    assert_eq!(miner.fence(), []);
}

#[test]
fn fr_5_each_message_has_its_channel_bit() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    // The reader takes none with the wrong bit; here is one of each kind.
    let channels = [miner.open(&Wish::extended()), miner.open(&Wish::standard())];
    for channel in &channels {
        assert_eq!(miner.judge(&channel.share(1)), Ok(()));
        miner.update(channel.id, 0.0, &half(&channel.target));
        miner.target(channel.id);
    }
    miner.update(channels[0].id, f32::NAN, &EASIEST);
    miner.say(0x22, &crate::setup::custom_job(channels[0].id, 1));
    let _ = miner.answer(&Wish { rate: -1.0, request: 8, ..Wish::standard() });
    miner.fence();
    miner.listen(Duration::from_millis(200));
    let has = |pick: fn(&Message) -> bool| assert!(miner.heard.iter().any(pick));
    has(|m| matches!(m, Message::UpdateError { .. }));
    has(|m| matches!(m, Message::CustomError { .. }));
    has(|m| matches!(m, Message::OpenError { .. }));
    has(|m| matches!(m, Message::Accepted { .. }));
}

#[test]
fn fr_6_either_channel_bit_is_taken() {
    let _tip = rig().same_tip();
    let mut miner = Miner::fresh(rig());
    miner.peer.send(CHANNEL_BIT, 0x00, &setup_payload(0, 2, 2, 0));
    assert!(matches!(miner.next(), Message::SetupSuccess { .. }));
    let mut open = [1, 0, 0, 0, rig().user.len() as u8].to_vec();
    open.extend(rig().user.as_bytes());
    open.extend([0; 4]);
    open.extend(EASIEST);
    miner.peer.send(CHANNEL_BIT, 0x10, &open);
    let id = miner.until("channel", |message| match message {
        Message::Opened(opened) => Some(opened.channel),
        _ => None,
    });
    miner.tip(id);
    let share = [id, 5, u32::MAX, 1, 1, 1].into_iter().flat_map(u32::to_le_bytes);
    miner.peer.send(0, 0x1a, &share.collect::<Vec<_>>());
    assert_eq!(miner.verdict(5), Err("invalid-job-id".into()));
}

#[test]
fn fr_7_unknown_extensions_are_ignored() {
    let mut miner = Miner::new();
    for extension in [2, 3, UNKNOWN, 0x7fff, 0x8003, 0xffff] {
        for message_type in [0, 1, 0x13, 0x1e, 0xff] {
            miner.peer.send(extension, message_type, &[0xee; 40]);
        }
        assert_eq!(miner.fence(), [], "{extension:#x}");
    }
}

#[test]
fn fr_8_unknown_and_misdirected_messages_are_ignored() {
    let mut miner = Miner::new();
    for bit in [0, CHANNEL_BIT] {
        // Reserved, unknown, of job declaration and template distribution, and a server's own.
        for message_type in [0x1e, 0x26, 0x7f, 0xff, 0x50, 0x57, 0x60, 0x70, 0x76]
            .into_iter()
            .chain([0x01, 0x03, 0x04, 0x11, 0x15, 0x1c, 0x1f, 0x20, 0x21, 0x23, 0x25])
        {
            miner.peer.send(bit, message_type, &[1, 2, 3]);
            assert_eq!(miner.fence(), [], "{message_type:#x}");
        }
        miner.peer.send(bit | 1, 0x77, &[1, 2, 3]);
        assert_eq!(miner.fence(), []);
    }
}

#[test]
fn fr_9_more_than_32_bytes_are_no_extranonce() {
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    let mut share = channel.draft(1);
    share.extranonce = Some(vec![0; 33]);
    miner.submit(&share);
    match miner.peer.hear(crate::miner::PATIENCE) {
        Heard::Closed { .. } => {}
        Heard::Frame(frame) => assert_eq!(frame.message_type, 0x1d, "{frame:?}"),
        Heard::Silence => panic!("neither an answer nor the end"),
    }
}

#[test]
fn fr_10_what_cannot_be_read_ends_its_own_connection_only() {
    let _tip = rig().same_tip();
    let mut bystander = Miner::new();
    let channel = bystander.open(&Wish::extended());
    for message_type in [0x10, 0x13, 0x16, 0x18, 0x1a, 0x1b, 0x22] {
        let mut miner = Miner::new();
        miner.say(message_type, &[1, 2, 3]);
        miner.closes();
    }
    // A text that says it is longer than the message.
    let mut miner = Miner::new();
    miner.say(0x13, &[1, 0, 0, 0, 255, b'a']);
    miner.closes();
    assert_eq!(bystander.judge(&channel.share(1)), Ok(()));
}

#[test]
fn fr_11_bytes_behind_the_last_field_are_ignored() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for (channel, kind) in
        [(miner.open(&Wish::extended()), 0x1b), (miner.open(&Wish::standard()), 0x1a)]
    {
        let share = channel.share(5);
        miner.say(kind, &[share.payload(), vec![0x02, 0, 1, 3, 0, b'r', b'i', b'g', 9]].concat());
        assert_eq!(miner.verdict(5), Ok(()));
    }
}

#[test]
fn fr_12_a_declared_length_above_all_messages_closes_before_it_is_there() {
    for set_up in [false, true] {
        let mut miner = if set_up { Miner::new() } else { Miner::fresh(rig()) };
        let sealed = miner.peer.seal(0, if set_up { 0x13 } else { 0x00 }, &[], (1 << 24) - 1);
        miner.peer.write(&sealed);
        miner.closes();
    }
}
