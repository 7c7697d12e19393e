//! SC: SetupConnection (SV2 spec 3.6, 5.3.1).

use std::time::Duration;

use gopool_sv2_tests::{Heard, Line, LineOptions, CHANNEL_BIT};

use crate::message::{Body, Message};
use crate::miner::{setup_payload, Miner, Wish};
use crate::rig::{rig, Rig};

/// Requires standard jobs, custom work, version rolling.
const STANDARD_JOBS: u32 = 1;
const WORK_SELECTION: u32 = 2;
const VERSION_ROLLING: u32 = 4;

/// Asks, expects an Error and the end, and returns (flags, code).
fn refused(payload: &[u8]) -> (u32, String) {
    let mut miner = Miner::fresh(rig());
    miner.say(0x00, payload);
    match miner.closes().1.as_slice() {
        [Message::SetupError { flags, code }] => (*flags, String::from_utf8(code.clone()).unwrap()),
        other => panic!("an Error and nothing else: {other:?}"),
    }
}

fn refused_flags(flags: u32) -> u32 {
    let (unsupported, code) = refused(&setup_payload(0, 2, 2, flags));
    assert_eq!(code, "unsupported-feature-flags", "{flags:#x}");
    if rig().ours() {
        assert_eq!(unsupported, !(STANDARD_JOBS | VERSION_ROLLING), "{flags:#x}");
    }
    unsupported
}

#[test]
fn sc_1_anything_but_a_setup_first_closes_without_a_word() {
    for message_type in [0x10, 0x13, 0x16, 0x1a, 0x1b, 0x18] {
        let mut miner = Miner::fresh(rig());
        miner.say(message_type, &[1; 60]);
        assert_eq!(miner.closes().1, [], "{message_type:#x}");
    }
}

#[test]
fn sc_2_every_setup_is_answered() {
    for protocol in [3, 4, 127, 255] {
        refused(&setup_payload(protocol, 2, 2, 0));
    }
    // A text that says it is longer than the message.
    refused(&setup_payload(0, 2, 2, 0)[..20]);
    let mut miner = Miner::fresh(rig());
    miner.peer.send(CHANNEL_BIT, 0x00, &setup_payload(0, 2, 2, 0));
    assert!(matches!(miner.next(), Message::SetupSuccess { .. }), "whatever the channel bit");
}

#[test]
fn sc_3_other_protocols_are_refused_on_a_mining_port() {
    for protocol in [1, 2] {
        let (_, code) = refused(&setup_payload(protocol, 2, 2, 0));
        assert_eq!(code, "unsupported-protocol", "{protocol}");
    }
}

#[test]
fn sc_4_version_2_is_used_where_it_is_offered() {
    for (min, max) in [(2, 2), (0, 65_535), (1, 3), (2, 65_535), (0, 2)] {
        let mut miner = Miner::fresh(rig());
        miner.say(0x00, &setup_payload(0, min, max, 0));
        assert_eq!(miner.next(), Message::SetupSuccess { version: 2, flags: 0 }, "{min}..{max}");
    }
    for (min, max) in [(3, 3), (1, 1), (0, 1), (3, 2), (65_535, 0)] {
        let (_, code) = refused(&setup_payload(0, min, max, 0));
        assert_eq!(code, "protocol-version-mismatch", "{min}..{max}");
    }
}

#[test]
fn sc_5_unsupported_flags_come_back_whole() {
    let whole = refused_flags(u32::MAX);
    for bit in 3..32 {
        assert_ne!(whole & 1 << bit, 0, "bit {bit} means nothing yet");
    }
    assert_eq!(refused_flags(1 << 31), whole);
}

#[test]
fn sc_6_the_unsupported_set_is_the_same_in_each_error() {
    let whole = refused_flags(u32::MAX);
    for bit in (0..32).filter(|bit| whole & 1 << bit != 0) {
        assert_eq!(refused_flags(1 << bit), whole, "bit {bit}");
        assert_eq!(refused_flags(1 << bit | VERSION_ROLLING & !whole), whole, "bit {bit}");
    }
    for bit in (0..32).filter(|bit| whole & 1 << bit == 0) {
        Miner::with_flags(1 << bit);
    }
}

#[test]
fn sc_7_an_error_for_another_cause_has_no_flags() {
    for payload in [setup_payload(1, 2, 2, 0), setup_payload(2, 2, 2, 5), setup_payload(0, 3, 3, 0)]
    {
        assert_eq!(refused(&payload).0, 0);
    }
}

#[test]
fn sc_8_the_error_arrives_before_an_orderly_close() {
    for _ in 0..10 {
        let mut miner = Miner::fresh(rig());
        miner.say(0x00, &setup_payload(1, 2, 2, 0));
        // More on its way: a careless close would reset the connection and take the Error with it.
        miner.say(0x13, &[0; 60]);
        let (orderly, heard) = miner.closes();
        assert!(orderly && matches!(heard[..], [Message::SetupError { .. }]), "{heard:?}");
    }
}

#[test]
fn sc_9_success_never_fixes_the_version_for_who_rolls_it() {
    let mut miner = Miner::fresh(rig());
    miner.say(0x00, &setup_payload(0, 2, 2, VERSION_ROLLING));
    let Message::SetupSuccess { flags, .. } = miner.next() else { panic!("refused") };
    assert_eq!(flags & 1, 0);
}

#[test]
fn sc_10_jobs_allow_rolling_where_it_is_required() {
    let _tip = rig().same_tip();
    let mut miner = Miner::with_flags(VERSION_ROLLING);
    let extended = miner.open(&Wish::extended());
    assert!(matches!(extended.job.body, Body::Extended { rolling: true, .. }));
    let standard = miner.open(&Wish::standard());
    for channel in [extended, standard] {
        let mut share = channel.draft(1);
        share.version ^= 1 << 7;
        assert_eq!(miner.judge(&channel.worked(share)), Ok(()));
    }
}

#[test]
fn sc_11_standard_only_connections_hear_of_standard_jobs_only() {
    let _tip = rig().same_tip();
    let mut miner = Miner::with_flags(STANDARD_JOBS);
    let channels = [miner.open(&Wish::standard()), miner.open(&Wish::standard())];
    for channel in &channels {
        miner.update(channel.id, 0.0, &crate::work::half(&channel.target));
        miner.target(channel.id);
    }
    miner.listen(Duration::from_millis(300));
    let ids: Vec<_> = channels.iter().map(|c| c.id).collect();
    for message in &miner.heard {
        assert!(!matches!(message, Message::Group { .. }), "{message:?}");
        assert!(message.channel().is_none_or(|id| ids.contains(&id)), "{message:?}");
        if let Message::Job(job) = message {
            assert!(matches!(job.body, Body::Standard { .. }), "{message:?}");
        }
    }
}

/// SetCustomMiningJob for a channel, well-formed.
pub fn custom_job(channel: u32, request: u32) -> Vec<u8> {
    let mut payload = [channel.to_le_bytes(), request.to_le_bytes()].concat();
    payload.push(0); // token
    payload.extend(0x2000_0000_u32.to_le_bytes());
    payload.extend([0x11; 32]);
    payload.extend([1_800_000_000_u32, 0x1d00_ffff, 2].into_iter().flat_map(u32::to_le_bytes));
    payload.extend([2, 1, 1]); // coinbase prefix
    payload.extend(u32::MAX.to_le_bytes());
    payload.extend([0, 0]); // outputs
    payload.extend([0; 4]);
    payload.push(0); // path
    payload
}

#[test]
fn sc_12_custom_jobs_need_the_flag() {
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    miner.say(0x22, &custom_job(channel.id, 77));
    let id = channel.id;
    miner.until("refusal of the job", |message| match message {
        Message::CustomError { channel, request: 77, .. } if *channel == id => Some(()),
        _ => None,
    });
}

#[test]
fn sc_13_standard_jobs_and_work_selection_contradict() {
    let unsupported = refused_flags(STANDARD_JOBS | WORK_SELECTION);
    assert_ne!(unsupported & (STANDARD_JOBS | WORK_SELECTION), 0);
}

#[test]
fn sc_14_both_kinds_of_channel_are_served_on_one_connection() {
    let mut miner = Miner::new();
    assert!(miner.open(&Wish::extended()).extended);
    assert!(!miner.open(&Wish::standard()).extended);
}

#[test]
fn sc_15_a_connection_that_opens_nothing_is_closed() {
    if !rig().is_ours("sc_15", "a server with a patience shorter than the test's") {
        return;
    }
    let limits = "setup_timeout_ms = 300\nfirst_open_timeout_ms = 300".into();
    let own = Rig::of(Line::start(LineOptions { limits, ..LineOptions::default() }).unwrap());
    for mut idle in [Miner::fresh(&own), Miner::at(&own, 0)] {
        assert_eq!(idle.closes().1, []);
    }
}

#[test]
fn sc_16_error_strings_are_printable_ascii() {
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    let hostile = b"\n\0\x7f\xff\"".to_vec();
    let _ = miner.answer(&Wish { user: Some(hostile), request: 1, ..Wish::extended() });
    let _ = miner.answer(&Wish { rate: f32::NAN, request: 2, ..Wish::extended() });
    let _ = miner.answer(&Wish { min_size: 99, request: 3, ..Wish::extended() });
    miner.update(channel.id, -1.0, &channel.target);
    miner.say(0x22, &custom_job(channel.id, 5));
    miner.submit(&channel.draft(3));
    miner.fence();
    miner.listen(Duration::from_millis(300));
    let codes: Vec<_> = miner.heard.iter().filter_map(Message::code).collect();
    assert!(codes.len() >= 4, "{codes:?}");
    for code in codes.into_iter().chain([refused(&setup_payload(1, 2, 2, 0)).1.as_bytes()]) {
        assert!(!code.is_empty() && code.iter().all(u8::is_ascii_graphic), "{code:?}");
    }
}

#[test]
fn sc_17_a_second_setup_changes_nothing() {
    let mut miner = Miner::with_flags(VERSION_ROLLING);
    miner.say(0x00, &setup_payload(0, 2, 2, STANDARD_JOBS));
    miner.say(0x00, &setup_payload(1, 9, 9, u32::MAX));
    let heard = miner.fence();
    assert!(!heard.iter().any(|m| matches!(m, Message::SetupSuccess { .. })), "{heard:?}");
    assert!(miner.open(&Wish::extended()).extended, "the flags of the first one hold");
}

#[test]
fn sc_18_nothing_is_sent_before_the_answer_to_the_setup() {
    let mut miner = Miner::fresh(rig());
    assert_eq!(miner.peer.hear(Duration::from_millis(300)), Heard::Silence);
    miner.say(0x00, &setup_payload(0, 2, 2, 0));
    assert!(matches!(miner.next(), Message::SetupSuccess { .. }));
}
