//! Targets from end to end of what there is, through a connection: the miner is told the hardest of
//! three upper bounds, and no target or update closes its channel.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::tests::{asked, job, opened, received, setup, told};
use super::*;
use crate::backend::Event;
use crate::types::{Grant, Kind, RefuseReason, Target, TargetLimits};

/// Targets of the difficulties 2^-20 to 2^60, each perhaps one beside it, and the ends.
fn targets() -> impl Strategy<Value = Target> {
    let of_difficulty = |exponent: i32, beside: i8| {
        // 0xffff << (208 - exponent), as bits.
        let mut bytes = [0_u8; 32];
        for bit in 0..16 {
            let place = (208 - exponent + bit) as usize;
            bytes[place / 8] |= 1 << (place % 8);
        }
        match beside {
            1 => bytes[0] |= 1,
            -1 => {
                let lowest = bytes.iter().position(|byte| *byte != 0).unwrap();
                bytes[lowest] -= 1;
                bytes[..lowest].fill(0xff);
            }
            _ => {}
        }
        Target(bytes)
    };
    let ends = [(0, 1), (0, 2), (31, 1), (31, 0x80)].map(|(place, byte)| {
        let mut bytes = [0; 32];
        bytes[place] = byte;
        Target(bytes)
    });
    prop_oneof![
        2 => (-20..=60, -1_i8..=1)
            .prop_map(move |(exponent, beside)| of_difficulty(exponent, beside)),
        1 => prop::sample::select([&ends[..], &[Target::EASIEST]].concat()),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    /// UpdateChannel of the miner.
    Update(f32, Target),
    /// The pool answers the oldest update.
    Answer(bool),
    /// The pool wants a target.
    Want(Target),
    /// New work.
    Job,
    /// The pool answers what nobody asked.
    Stray(u32, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rates = prop_oneof![
        4 => 0.0_f32..f32::MAX,
        1 => prop::sample::select(vec![
            0.0, -0.0, -1.0, f32::MIN_POSITIVE, f32::MAX, f32::NAN, f32::INFINITY,
            f32::NEG_INFINITY,
        ]),
    ];
    let most = prop_oneof![9 => targets(), 1 => Just(Target::ZERO)];
    let step = prop_oneof![
        4 => (rates, most).prop_map(|(rate, most)| Step::Update(rate, most)),
        4 => any::<bool>().prop_map(Step::Answer),
        3 => targets().prop_map(Step::Want),
        1 => Just(Step::Job),
        1 => (0_u32..9, any::<bool>()).prop_map(|(request, taken)| Step::Stray(request, taken)),
    ];
    prop::collection::vec(step, 1..80)
}

/// The smallest as numbers, told by their most significant different byte.
fn least(targets: [Target; 3]) -> Target {
    let [mut least, ..] = targets;
    for other in targets {
        let differs = (0..32).rev().find(|at| other.0[*at] != least.0[*at]);
        if differs.is_some_and(|at| other.0[at] < least.0[at]) {
            least = other;
        }
    }
    least
}

/// What the two sides were told.
#[derive(Default)]
struct Heard {
    /// The miner: the target of its channel.
    target: Option<Target>,
    /// The pool: the target in effect, where it is not what it wanted last.
    reported: Option<Target>,
}

impl Heard {
    fn take(&mut self, fx: Effects) -> Result<(), TestCaseError> {
        prop_assert_eq!(&fx.close, &None);
        for message in &fx.out {
            match message {
                Outbound::Opened(opened) => self.target = Some(opened.target),
                Outbound::Target { target, .. } => {
                    prop_assert_ne!(self.target, Some(*target), "told twice");
                    self.target = Some(*target);
                }
                Outbound::Close { .. } => prop_assert!(false, "closed: {message:?}"),
                _ => {}
            }
        }
        for command in &fx.commands {
            match command {
                Command::TargetInEffect { target, .. } => self.reported = Some(*target),
                Command::Close { .. } => prop_assert!(false, "closed: {command:?}"),
                _ => {}
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn tg_2_and_tg_4_and_tg_5_no_target_closes_a_channel_and_the_hardest_bound_holds(
        easiest in targets(),
        hardest in prop::option::of(targets()),
        first in (targets(), targets()),
        steps in steps(),
    ) {
        let hardest = hardest.map_or(Target::ZERO, |hardest| hardest.min(easiest));
        let limits = TargetLimits { easiest, hardest };
        let bounds = Bounds { channels: 4, in_flight: 8, rates: Rates::UNLIMITED };
        let mut session = Session::new(ConnId(7), "127.0.0.1:9".into(), 0, bounds, Some(limits));
        received(&mut session, setup(0, (2, 2), 0));
        let (mut wanted, mut most) = (first.0, first.1.max(hardest));
        let open = Inbound::Open(Open {
            kind: Kind::Extended,
            request_id: 1,
            user_identity: vec![],
            nominal_hash_rate: 0.0,
            max_target: most,
            min_extranonce_size: 0,
        });
        let channel = asked(&received(&mut session, open));
        let granted = opened(channel, Kind::Extended, 1);
        let Event::Opened { generation, grant, job: work, .. } = granted else {
            unreachable!()
        };
        let grant = Grant { target: wanted, ..grant };
        let granted = Event::Opened { channel, generation, grant, job: work };
        let opening = told(&mut session, vec![granted]);
        let mut heard = Heard::default();
        heard.take(opening)?;
        let mut waiting: VecDeque<(u32, Target)> = VecDeque::new();
        let mut seq = 1;
        for step in steps {
            let fx = match step {
                Step::Update(rate, max_target) => {
                    let update =
                        Inbound::Update { channel_id: 1, nominal_hash_rate: rate, max_target };
                    let fx = received(&mut session, update);
                    let refusal = if !rate.is_finite() || rate < 0.0 {
                        Some(RefuseReason::InvalidNominalHashrate)
                    } else if max_target == Target::ZERO || max_target < hardest {
                        Some(RefuseReason::MaxTargetOutOfRange)
                    } else if waiting.len() == crate::channel::MAX_UPDATES_WAITING {
                        Some(RefuseReason::RateLimited)
                    } else {
                        None
                    };
                    match (refusal, fx.commands.as_slice()) {
                        (None, [Command::Update { request, max_target: sent, .. }]) => {
                            prop_assert_eq!(*sent, max_target);
                            waiting.push_back((*request, max_target));
                        }
                        (Some(reason), []) => {
                            let refused = Outbound::UpdateError { channel_id: 1, reason };
                            prop_assert_eq!(&fx.out, &[refused]);
                        }
                        (expected, sent) => prop_assert!(false, "{expected:?}, but {sent:?}"),
                    }
                    fx
                }
                Step::Answer(taken) => {
                    let Some((request, max_target)) = waiting.pop_front() else { continue };
                    let refused = (!taken).then_some(RefuseReason::Internal);
                    if taken {
                        most = max_target;
                    }
                    told(&mut session, vec![Event::Updated { channel, request, refused }])
                }
                Step::Want(target) => {
                    wanted = target;
                    heard.reported = None;
                    told(&mut session, vec![Event::Target { channel, target }])
                }
                Step::Job => {
                    seq += 1;
                    told(&mut session, vec![Event::Job { channel, job: job(seq, 1) }])
                }
                Step::Stray(request, taken) => {
                    let refused = (!taken).then_some(RefuseReason::Internal);
                    if waiting.iter().any(|(known, _)| *known == request) {
                        continue;
                    }
                    told(&mut session, vec![Event::Updated { channel, request, refused }])
                }
            };
            heard.take(fx)?;
            let want = least([wanted, easiest, most]);
            prop_assert_eq!(heard.target, Some(want), "what the miner was told");
            prop_assert_eq!(heard.reported.unwrap_or(wanted), want, "what the pool takes for it");
        }
    }
}
