//! Promises of the negotiation, as a machine and on a connection.

use proptest::prelude::*;

use super::super::tests::{asked, fresh, open, opened, received, setup, share, told};
use super::super::Inbound;
use super::*;
use crate::types::{Kind, RefuseReason, Target};

const REQUIRED: [u16; 1] = [2];

fn requiring(required: &[u16]) -> Session {
    let mut session = fresh().requiring(required.into());
    received(&mut session, setup(0, (2, 2), 0));
    session
}

fn request(request_id: u16, requested: &[u16]) -> Inbound<'static> {
    Inbound::RequestExtensions { request_id, requested: requested.to_vec() }
}

fn success(request_id: u16, supported: &[u16]) -> Outbound {
    Outbound::ExtensionsSuccess { request_id, supported: supported.to_vec() }
}

fn error(request_id: u16, unsupported: &[u16], required: &[u16]) -> Outbound {
    let (unsupported, required) = (unsupported.to_vec(), required.to_vec());
    Outbound::ExtensionsError { request_id, unsupported, required }
}

/// The only answer to a message; the connection lives on.
fn answer(session: &mut Session, message: Inbound<'_>) -> Outbound {
    let mut fx = received(session, message);
    assert!(fx.commands.is_empty() && fx.close.is_none(), "{fx:?}");
    assert_eq!(fx.out.len(), 1, "{fx:?}");
    fx.out.remove(0)
}

/// The extensions the pool is told of with an open.
fn carried(session: &mut Session) -> Vec<u16> {
    let fx = received(session, open(Kind::Extended));
    match fx.commands.as_slice() {
        [crate::backend::Command::Open { connection, .. }] => connection.extensions.clone(),
        other => panic!("an open expected: {other:?}"),
    }
}

#[test]
fn ex_1_extensions_are_agreed_on_between_setup_and_the_first_open() {
    let mut before = fresh();
    let fx = received(&mut before, request(1, &[2]));
    assert_eq!((fx.close, fx.out), (Some(Cause::NoSetup), vec![]), "not before the setup");
    let mut session = requiring(&[]);
    assert_eq!(answer(&mut session, request(1, &[2])), success(1, &[2]));
    assert_eq!(carried(&mut session), [2], "the pool knows what is in force");
    assert!(carried(&mut requiring(&[])).is_empty(), "and that nothing is when nobody asked");
}

#[test]
fn ex_2_a_request_of_nothing_that_is_supported_is_refused_and_an_empty_one_too() {
    let mut session = requiring(&[]);
    assert_eq!(answer(&mut session, request(7, &[])), error(7, &[], &[]));
    let asked = [9, 0, 9, u16::MAX, 3];
    assert_eq!(answer(&mut session, request(8, &asked)), error(8, &[9, 0, u16::MAX, 3], &[]));
    let all: Vec<u16> = (3..=32_700).collect();
    assert_eq!(answer(&mut session, request(9, &all)), error(9, &all, &[]));
    assert!(carried(&mut session).is_empty());
}

#[test]
fn ex_3_the_supported_subset_is_granted_once_each_under_the_same_request_id() {
    for (id, asked) in [(0, vec![2]), (u16::MAX, vec![9, 2, 2, 9]), (5, vec![1, 3, 2])] {
        let mut session = requiring(&[]);
        assert_eq!(answer(&mut session, request(id, &asked)), success(id, &[2]));
        assert_eq!(carried(&mut session), [2]);
    }
}

#[test]
fn ex_4_a_missing_required_extension_is_refused_with_an_error_that_names_it() {
    for (asked, unsupported) in [(vec![], vec![]), (vec![1, 9], vec![1, 9])] {
        let mut session = requiring(&REQUIRED);
        assert_eq!(answer(&mut session, request(3, &asked)), error(3, &unsupported, &REQUIRED));
    }
    let mut session = requiring(&REQUIRED);
    assert_eq!(answer(&mut session, request(3, &[9, 2])), success(3, &[2]));
}

#[test]
fn ex_4_supported_extensions_are_not_in_force_while_a_required_one_is_missing() {
    // The machine alone, with one required that nobody could have.
    let mut extensions = Extensions::default();
    extensions.require([2, 40].into());
    let reply = Reply::Error { unsupported: vec![], required: vec![40] };
    assert_eq!(extensions.request(&[2]), reply);
    assert!(!extensions.has(2));
}

#[test]
fn ex_5_a_client_may_retry_with_the_required_extension() {
    let mut session = requiring(&REQUIRED);
    assert_eq!(answer(&mut session, request(1, &[])), error(1, &[], &REQUIRED));
    assert_eq!(answer(&mut session, request(2, &[2])), success(2, &[2]));
    let key = asked(&received(&mut session, open(Kind::Extended)));
    let fx = told(&mut session, vec![opened(key, Kind::Extended, 1)]);
    assert!(matches!(fx.out.first(), Some(Outbound::Opened(_))));
}

#[test]
fn ex_5_a_client_that_never_gets_it_right_is_told_so_and_closed() {
    let mut session = requiring(&REQUIRED);
    for id in 1..u16::from(REFUSALS_MAX) {
        assert_eq!(answer(&mut session, request(id, &[9])), error(id, &[9], &REQUIRED));
    }
    let fx = received(&mut session, request(77, &[9]));
    assert_eq!(fx.out, [error(77, &[9], &REQUIRED)], "the last one has its answer too");
    assert_eq!(fx.close, Some(Cause::RequiredExtension));
    let fx = received(&mut session, request(78, &[2]));
    assert!(fx.out.is_empty(), "nothing is taken after that");
}

#[test]
fn ex_5_refusals_of_what_is_not_required_never_close() {
    let mut session = requiring(&[]);
    for id in 0..100 {
        assert_eq!(answer(&mut session, request(id, &[9])), error(id, &[9], &[]));
    }
    assert_eq!(answer(&mut session, request(100, &[2])), success(100, &[2]));
}

#[test]
fn ex_6_nobody_mines_until_a_required_extension_is_agreed_on() {
    for tries in 0..2 {
        for kind in [Kind::Standard, Kind::Extended] {
            let mut session = requiring(&REQUIRED);
            for id in 0..tries {
                answer(&mut session, request(id, &[9]));
            }
            let fx = received(&mut session, open(kind));
            let reason = RefuseReason::RequiredExtension;
            assert_eq!(fx.out, [Outbound::OpenError { request_id: 40, reason }]);
            assert!(fx.commands.is_empty(), "the pool never hears of it");
            assert_eq!(fx.close, Some(Cause::RequiredExtension));
        }
    }
}

/// Every message that begins work, or would.
fn others() -> [Inbound<'static>; 5] {
    let max_target = Target::EASIEST;
    [
        open(Kind::Extended),
        share(Kind::Extended, 1, 1, 1),
        Inbound::Update { channel_id: 1, nominal_hash_rate: 1.0, max_target },
        Inbound::Close { channel_id: 1 },
        Inbound::CustomJob { channel_id: 1, request_id: 1 },
    ]
}

#[test]
fn ex_6_any_other_message_ends_the_grace() {
    for message in others() {
        let fx = received(&mut requiring(&REQUIRED), message.clone());
        assert_eq!(fx.close, Some(Cause::RequiredExtension), "{message:?}");
        assert!(fx.commands.is_empty());
        assert_eq!(received(&mut requiring(&[]), message).close, None, "where none is required");
    }
}

#[test]
fn ex_7_requests_after_other_messages_change_nothing() {
    for message in others() {
        let mut session = requiring(&[]);
        received(&mut session, message);
        assert_eq!(answer(&mut session, request(1, &[2])), error(1, &[2], &[]));
        assert!(carried(&mut session).is_empty());
    }
    let mut session = requiring(&REQUIRED);
    assert_eq!(answer(&mut session, request(1, &[2])), success(1, &[2]));
    received(&mut session, open(Kind::Extended));
    for requested in [vec![], vec![9], vec![2], vec![2, 9]] {
        let reply = answer(&mut session, request(4, &requested));
        let granted = requested.contains(&2);
        assert_eq!(matches!(reply, Outbound::ExtensionsSuccess { .. }), granted, "{reply:?}");
    }
    assert_eq!(carried(&mut session), [2]);
}

#[test]
fn ex_7_what_is_ignored_does_not_end_the_time_for_requests() {
    let mut session = requiring(&REQUIRED);
    let ignored = Inbound::Ignored { extension_type: 0x4abc, message_type: 0 };
    for message in [ignored, setup(0, (2, 2), 0)] {
        let fx = received(&mut session, message);
        assert!(fx.out.is_empty() && fx.close.is_none());
    }
    assert_eq!(answer(&mut session, request(1, &[2])), success(1, &[2]));
}

#[derive(Debug, Clone)]
enum Step {
    Request(Vec<u16>),
    Other,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0_u16..5, 0..6).prop_map(Step::Request),
        1 => Just(Step::Other),
    ]
}

proptest! {
    /// The model keeps the whole history and reads the rules off it anew at each step.
    #[test]
    fn ex_1_to_7_agree_with_a_naive_model(
        is_required in any::<bool>(),
        steps in prop::collection::vec(step(), 1..12),
    ) {
        let required: &[u16] = if is_required { &REQUIRED } else { &[] };
        let mut session = requiring(required);
        let mut history: Vec<Step> = Vec::new();
        for (id, step) in (0_u16..).zip(steps) {
            let fx = match &step {
                Step::Request(requested) => received(&mut session, request(id, requested)),
                Step::Other => received(&mut session, Inbound::CustomJob {
                    channel_id: 0, request_id: 0,
                }),
            };
            // 2 is in force when a request before any other message asked for it.
            let early = history.iter().take_while(|step| matches!(step, Step::Request(_)));
            let asks = |step: &Step| matches!(step, Step::Request(list) if list.contains(&2));
            let in_force = early.clone().any(asks);
            let late = early.count() < history.len();
            history.push(step.clone());
            match step {
                Step::Request(list) => {
                    let grants = list.contains(&2) && (in_force || !late);
                    let mut unsupported = Vec::new();
                    for extension in list {
                        let refused = extension != 2 || !grants;
                        if refused && !unsupported.contains(&extension) {
                            unsupported.push(extension);
                        }
                    }
                    let lacks = if grants || in_force { &[] } else { required };
                    let want =
                        if grants { success(id, &[2]) } else { error(id, &unsupported, lacks) };
                    prop_assert_eq!(fx.out, [want]);
                    let refusals = history.len() >= usize::from(REFUSALS_MAX);
                    let closes = is_required && !in_force && !grants && refusals;
                    prop_assert_eq!(fx.close.is_some(), closes);
                    if closes { break; }
                }
                Step::Other => {
                    let closes = is_required && !in_force;
                    prop_assert_eq!(fx.close.is_some(), closes);
                    if closes { break; }
                }
            }
        }
    }
}
