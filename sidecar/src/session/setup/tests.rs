//! Promises of SetupConnection, by the numbers of the requirements.

use proptest::prelude::*;

use super::super::tests::{asked, fresh, job, mining, open, opened, received, setup, share, told};
use super::super::{decode, Inbound};
use super::*;
use crate::backend::{Command, Event};
use crate::channel::Answer;
use crate::frame::Frame;
use crate::job::Body;
use crate::types::{Job, Kind, RefuseReason, RejectReason, Target};

/// What a setup is answered: flags and error string, or flags and nothing.
fn answer(message: Inbound<'_>) -> (u32, Option<&'static str>) {
    let Effects { out, close, commands, .. } = received(&mut fresh(), message);
    assert!(commands.is_empty());
    match out.as_slice() {
        [Outbound::SetupSuccess { version: 2, flags }] if close.is_none() => (*flags, None),
        [Outbound::SetupError { flags, code }] => {
            assert_eq!(close, Some(Cause::SetupRefused));
            (*flags, Some(code))
        }
        other => panic!("{other:?}"),
    }
}

const UNSUPPORTED_SET: u32 = 0xffff_fffa;

/// What a miner can say instead of SetupConnection.
fn others() -> Vec<Inbound<'static>> {
    vec![
        open(Kind::Standard),
        open(Kind::Extended),
        share(Kind::Extended, 1, 1, 1),
        Inbound::Update { channel_id: 1, nominal_hash_rate: 1.0, max_target: Target::EASIEST },
        Inbound::Close { channel_id: 1 },
        Inbound::CustomJob { channel_id: 1, request_id: 1 },
        Inbound::RequestExtensions { request_id: 1, requested: vec![2] },
        Inbound::Ignored { extension_type: 0x4abc, message_type: 1 },
    ]
}

#[test]
fn sc_1_anything_before_setup_closes() {
    for message in others() {
        let fx = received(&mut fresh(), message);
        assert_eq!((fx.close, fx.out, fx.commands), (Some(Cause::NoSetup), vec![], vec![]));
    }
}

fn read(payload: &mut [u8]) -> Inbound<'_> {
    decode(Frame { extension_type: 0, message_type: 0, payload }).unwrap()
}

#[test]
fn sc_2_truncated_setups_are_answered() {
    let whole = b"\0\x02\0\x02\0\0\0\0\0\x01h\x01\0\x01v\0\0\x02id";
    assert_eq!(answer(read(&mut whole.to_vec())), (0, None));
    for cut in 0..whole.len() {
        assert_eq!(answer(read(&mut whole[..cut].to_vec())), (0, Some(MALFORMED)), "{cut}");
    }
}

proptest! {
    #[test]
    fn sc_2_every_setup_is_answered(
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        zeros in 0_usize..40,
    ) {
        bytes.iter_mut().skip(1).take(zeros).for_each(|byte| *byte = 0);
        answer(read(&mut bytes));
    }

    #[test]
    fn sc_3_to_7_agree_with_the_table(
        protocol in 0_u8..4,
        versions in (0_u16..5, 0_u16..5),
        flags in prop_oneof![0_u32..8, any::<u32>()],
    ) {
        let (min, max) = versions;
        let want = if protocol != 0 {
            (0, Some("unsupported-protocol"))
        } else if min > 2 || max < 2 {
            (0, Some("protocol-version-mismatch"))
        } else if flags & !0b101 != 0 {
            (UNSUPPORTED_SET, Some("unsupported-feature-flags"))
        } else {
            (0, None)
        };
        prop_assert_eq!(answer(setup(protocol, versions, flags)), want);
    }
}

#[test]
fn sc_3_other_protocols_are_refused() {
    for protocol in 1..=255 {
        let got = answer(setup(protocol, (2, 2), 0));
        assert_eq!(got, (0, Some("unsupported-protocol")));
    }
}

#[test]
fn sc_4_version_2_is_used_where_it_is_offered() {
    for versions in [(2, 2), (0, 65535), (1, 2), (2, 9)] {
        assert_eq!(answer(setup(0, versions, 0)), (0, None));
    }
    for versions in [(1, 1), (3, 3), (3, 1), (65535, 0), (2, 1), (3, 2)] {
        assert_eq!(answer(setup(0, versions, 0)), (0, Some("protocol-version-mismatch")));
    }
}

#[test]
fn sc_5_each_unsupported_flag_is_refused_with_the_full_set() {
    for bit in (0..32).filter(|bit| ![0, 2].contains(bit)) {
        for flags in [1 << bit, 1 << bit | 1, 1 << bit | 5] {
            let got = answer(setup(0, (2, 2), flags));
            assert_eq!(got, (UNSUPPORTED_SET, Some("unsupported-feature-flags")), "{bit}");
        }
    }
    for flags in [0, 1, 4, 5] {
        assert_eq!(answer(setup(0, (2, 2), flags)), (0, None));
    }
}

#[test]
fn sc_6_the_set_is_the_same_whatever_was_asked_for() {
    // Constant: nothing of a connection or of the configuration is in it.
    assert_eq!(UNSUPPORTED, UNSUPPORTED_SET);
    let sets = [2, 8, 0x8000_0000, u32::MAX].map(|flags| answer(setup(0, (2, 2), flags)).0);
    assert_eq!(sets, [UNSUPPORTED_SET; 4]);
}

#[test]
fn sc_7_flags_are_0_for_any_other_cause() {
    for message in [setup(1, (2, 2), u32::MAX), setup(0, (3, 3), u32::MAX), Inbound::MalformedSetup]
    {
        assert_eq!(answer(message).0, 0);
    }
}

#[test]
fn sc_9_success_demands_nothing_so_that_rolling_is_never_forbidden() {
    for flags in [0, 1, 4, 5] {
        assert_eq!(answer(setup(0, (2, 2), flags)), (0, None));
    }
}

fn rigid(seq: u64) -> std::sync::Arc<Job> {
    Arc::new(Job { version_mask: 0, ..(*job(seq, 1)).clone() })
}

#[test]
fn sc_10_a_job_that_forbids_rolling_refuses_a_channel_that_requires_it() {
    for (flags, kind) in [(4, Kind::Extended), (4, Kind::Standard), (5, Kind::Standard)] {
        let mut session = fresh();
        received(&mut session, setup(0, (2, 2), flags));
        let channel = asked(&received(&mut session, open(kind)));
        let Event::Opened { grant, .. } = opened(channel, kind, 1) else { unreachable!() };
        let fx = told(
            &mut session,
            vec![Event::Opened { channel, generation: 0, grant, job: rigid(1) }],
        );
        let reason = RefuseReason::VersionRollingNotAllowed;
        assert_eq!(fx.out, [Outbound::OpenError { request_id: 40, reason }]);
        assert!(
            matches!(fx.commands.as_slice(), [Command::Close { channel: c, .. }] if *c == channel)
        );
        assert_eq!(fx.close, None);
    }
}

#[test]
fn sc_10_a_later_job_that_forbids_rolling_closes_the_channel_and_answers_its_shares() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 4));
    let channel = asked(&received(&mut session, open(Kind::Extended)));
    told(&mut session, vec![opened(channel, Kind::Extended, 1)]);
    received(&mut session, share(Kind::Extended, 6, 1, 1));
    let fx = told(&mut session, vec![Event::Job { channel, job: rigid(2) }]);
    let reason = RejectReason::BackendUnavailable;
    let close = Outbound::Close { channel_id: 1, reason: "version-rolling-not-allowed".into() };
    let refused = Answer::Error { sequence: 6, reason };
    assert_eq!(fx.out, [Outbound::Answer { channel_id: 1, answer: refused }, close]);
    assert!(matches!(fx.commands.as_slice(), [Command::Close { .. }]));
    // Where rolling isn't required, the same job is work.
    let (mut session, channel) = mining(Kind::Extended);
    let fx = told(&mut session, vec![Event::Job { channel, job: rigid(2) }]);
    assert!(matches!(fx.out.as_slice(), [Outbound::Job { .. }]));
}

#[test]
fn sc_11_standard_only_connections_get_standard_jobs_and_nothing_of_groups() {
    let mut session = fresh();
    received(&mut session, setup(0, (2, 2), 1));
    let fx = received(&mut session, open(Kind::Extended));
    let reason = RefuseReason::ExtendedNotSupported;
    assert_eq!(fx.out, [Outbound::OpenError { request_id: 40, reason }]);
    let channel = asked(&received(&mut session, open(Kind::Standard)));
    let mut out = told(&mut session, vec![opened(channel, Kind::Standard, 1)]).out;
    for (seq, tip) in [(2, 1), (3, 2)] {
        out.extend(told(&mut session, vec![Event::Job { channel, job: job(seq, tip) }]).out);
    }
    let jobs = out.iter().filter(|message| match message {
        Outbound::Job { channel_id, announcement } => {
            assert_eq!(*channel_id, 1, "the channel, not its group");
            assert!(matches!(announcement.body, Body::Standard { .. }));
            true
        }
        Outbound::Opened(opened) => {
            assert_eq!(opened.kind, Kind::Standard);
            false
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(jobs.count(), 3);
}

#[test]
fn sc_12_custom_jobs_are_refused_as_work_selection_is() {
    let (mut session, _) = mining(Kind::Extended);
    let fx = received(&mut session, Inbound::CustomJob { channel_id: 1, request_id: 8 });
    assert_eq!(fx.out, [Outbound::CustomJobError { channel_id: 1, request_id: 8 }]);
    assert!(fx.commands.is_empty() && fx.close.is_none());
}

#[test]
fn sc_13_standard_jobs_and_work_selection_together_are_refused_at_once() {
    let got = answer(setup(0, (2, 2), 0b11));
    assert_eq!(got, (UNSUPPORTED_SET, Some("unsupported-feature-flags")));
}

#[test]
fn sc_14_both_kinds_of_channel_are_opened() {
    for kind in [Kind::Standard, Kind::Extended] {
        for flags in [0, 4] {
            let mut session = fresh();
            received(&mut session, setup(0, (2, 2), flags));
            let key = asked(&received(&mut session, open(kind)));
            let out = told(&mut session, vec![opened(key, kind, 1)]).out;
            assert!(matches!(out.first(), Some(Outbound::Opened(opened)) if opened.kind == kind));
        }
    }
}

#[test]
fn sc_16_error_strings_are_printable() {
    let setup = [MALFORMED, UNSUPPORTED_PROTOCOL, UNSUPPORTED_FLAGS, VERSION_MISMATCH];
    let reject = RejectReason::ALL.iter().map(|reason| reason.as_str());
    let refuse = RefuseReason::ALL.iter().map(|reason| reason.as_str());
    for code in reject.chain(refuse).chain(setup) {
        assert!((1..=255).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_graphic()));
    }
}

#[test]
fn sc_17_a_second_setup_changes_nothing() {
    for second in [setup(0, (2, 2), u32::MAX), setup(0, (2, 2), 1), Inbound::MalformedSetup] {
        let (mut session, _) = mining(Kind::Extended);
        let fx = received(&mut session, second);
        assert!(fx.out.is_empty() && fx.commands.is_empty() && fx.close.is_none());
        let fx = received(&mut session, open(Kind::Extended));
        match fx.commands.as_slice() {
            [Command::Open { connection, .. }] => assert_eq!(connection.setup_flags, 0),
            other => panic!("the first setup holds: {other:?}"),
        }
    }
}

#[test]
fn sc_18_nothing_is_sent_before_the_answer_to_the_setup() {
    let mut session = fresh();
    let (_, channel) = mining(Kind::Extended);
    let limits = crate::types::TargetLimits { easiest: Target::EASIEST, hardest: Target::ZERO };
    let events = vec![
        Event::LinkLost,
        Event::LinkUp(limits),
        Event::Job { channel, job: job(1, 1) },
        Event::Target { channel, target: Target::EASIEST },
        opened(channel, Kind::Extended, 2),
    ];
    let fx = told(&mut session, events);
    assert!(fx.out.is_empty() && fx.close.is_none(), "{fx:?}");
    let fx = received(&mut session, setup(0, (2, 2), 0));
    assert!(matches!(fx.out.as_slice(), [Outbound::SetupSuccess { .. }]));
}
