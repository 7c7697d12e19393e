//! Target 5: a connection under any messages of a miner, any events of a pool, and any time,
//! against the model in `pool.rs`.

use std::time::Duration;

use gopool_sv2::backend::Event;
use gopool_sv2::frame::Frame;
use gopool_sv2::job::Fields;
use gopool_sv2::session::{decode, Bounds, Effects, Inbound, Open, Rates, Session, Setup};
use gopool_sv2::types::{ConnId, Kick, KickAction, Kind, Rate, RefuseReason, Target, TargetLimits};

use super::input::Input;
use super::pool::{Model, NOW};

const CONN: ConnId = ConnId(7);

fn target(input: &mut Input<'_>) -> Target {
    let mut bytes = [0; 32];
    match input.u8() {
        0 => return Target::ZERO,
        1 => return Target::EASIEST,
        2 => bytes = input.array(),
        high => {
            bytes[31 - usize::from(high % 16)] = input.u8() | 1;
        }
    }
    Target(bytes)
}

fn limits(input: &mut Input<'_>) -> TargetLimits {
    let easiest = Some(target(input)).filter(|t| *t != Target::ZERO).unwrap_or(Target::EASIEST);
    let hardest = if input.bool() { target(input).min(easiest) } else { Target::ZERO };
    TargetLimits { easiest, hardest }
}

fn rates(input: &mut Input<'_>) -> Rates {
    if !input.bool() {
        return Rates::UNLIMITED;
    }
    let mut rate = || {
        let (count, burst) = (input.u8().into(), input.u8().into());
        Rate::new(count, Duration::from_secs(60), burst)
    };
    let [opens, updates, bad_shares, messages] = [rate(), rate(), rate(), rate()];
    let mut time = |seconds| input.bool().then_some(Duration::from_secs(seconds));
    let (first_open, idle, silence) = (time(30), time(200), time(60));
    Rates { first_open, idle, silence, opens, updates, bad_shares, messages }
}

fn hash_rate(input: &mut Input<'_>) -> f32 {
    match input.u8() {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => -1.0,
        3 => -0.0,
        _ => f32::from(input.u8()) * 1e10,
    }
}

/// A message of the miner; `None`: its bytes don't parse, which ends a connection.
fn said<'a, 'i: 'a>(
    input: &mut Input<'i>,
    model: &Model,
    raw: &'a mut Vec<u8>,
) -> Option<Inbound<'a>> {
    let channel_id = model.some_id(input);
    Some(match input.below(16) {
        0 | 1 => {
            let kind = if input.bool() { Kind::Extended } else { Kind::Standard };
            Inbound::Open(Open {
                kind,
                request_id: input.u8().into(),
                user_identity: input.bytes(20).to_vec(),
                nominal_hash_rate: hash_rate(input),
                max_target: target(input),
                min_extranonce_size: if kind == Kind::Extended { input.u8().into() } else { 0 },
            })
        }
        2..=7 => {
            let (kind, size) = model.shape(channel_id);
            let wrong = input.u8();
            let other = if kind == Kind::Extended { Kind::Standard } else { Kind::Extended };
            let size = if wrong == 1 { input.below(33) } else { size };
            Inbound::Submit {
                kind: if wrong == 2 { other } else { kind },
                channel_id,
                sequence: if wrong == 3 { input.u32() } else { model.next_sequence() },
                share: Fields {
                    job_id: model.some_job(input),
                    nonce: input.u8().into(),
                    ntime: NOW + input.pick(&[0, 0, 0, 1, 7000, 7141, 7300])
                        - input.pick(&[0, 0, 0, 1]),
                    version: 0x2000_0000
                        ^ input.pick(&[0, 0, 0, 0x20, 0x1000_0000, 1, 0x2000_0000]),
                    extranonce: &[0x5a; 32][..if kind == Kind::Extended { size } else { 0 }],
                },
                tlvs: input.bytes(12),
            }
        }
        8 | 9 => {
            let (nominal_hash_rate, max_target) = (hash_rate(input), target(input));
            Inbound::Update { channel_id, nominal_hash_rate, max_target }
        }
        10 => Inbound::Close { channel_id },
        11 => {
            let requested = (0..input.below(4)).map(|_| input.u8() as u16 % 4).collect();
            Inbound::RequestExtensions { request_id: input.u8().into(), requested }
        }
        12 => Inbound::CustomJob { channel_id, request_id: input.u8().into() },
        13 => setup(input),
        _ => {
            let (extension_type, message_type) = (input.u16() % 3, input.u8());
            raw.extend_from_slice(input.bytes(64));
            return decode(Frame { extension_type, message_type, payload: raw }).ok();
        }
    })
}

fn setup(input: &mut Input<'_>) -> Inbound<'static> {
    let version = u16::from(input.pick(&[2_u8, 2, 2, 2, 1, 3]));
    Inbound::Setup(Setup {
        protocol: input.pick(&[0, 0, 0, 0, 1, 3]),
        min_version: 2,
        max_version: version,
        flags: input.pick(&[0, 0, 1, 4, 5, 2, u32::MAX]),
        vendor: b"",
        hardware_version: b"",
        firmware: b"",
        device_id: b"",
    })
}

/// What a pool says: answers to what it was asked, in any order, and things nobody asked for.
fn event(input: &mut Input<'_>, model: &mut Model) -> Option<Vec<Event>> {
    let refuse = input.pick(RefuseReason::ALL);
    Some(vec![match input.below(16) {
        0..=2 => model.opened(input, target)?,
        3 => Event::Refused { channel: model.asked(input)?, reason: refuse, detail: "no".into() },
        4..=7 => return model.verdicts(input),
        8 => {
            let (channel, request) = model.update(input)?;
            let refused = input.bool().then_some(refuse);
            Event::Updated { channel, request, refused }
        }
        9 | 10 => Event::Job { channel: model.some_key(input)?, job: model.job(input) },
        11 | 12 => {
            let target = Some(target(input)).filter(|target| *target != Target::ZERO)?;
            Event::Target { channel: model.some_key(input)?, target }
        }
        13 => {
            let action = input.pick(&[
                KickAction::CloseChannel,
                KickAction::CloseChannel,
                KickAction::CloseChannel,
                KickAction::CloseConnection,
                KickAction::Reconnect,
            ]);
            let kick = Kick { action, reason: "banned".into(), host: String::new(), port: 0 };
            Event::Kick { channel: model.some_key(input)?, kick }
        }
        14 => match input.u8() {
            0..=7 => Event::LinkLost,
            8..=15 => Event::Unrestored { channel: model.some_key(input)? },
            16..=99 => {
                let target = Some(target(input)).filter(|target| *target != Target::ZERO)?;
                model.reopened(input, target)?
            }
            _ => Event::LinkUp(limits(input)),
        },
        _ => model.stray(input),
    }])
}

/// Steps until the input or the connection ends; the model looks at each, and at the end.
pub fn state_machine(data: &[u8]) {
    let mut input = Input::new(data);
    let known = input.u8().ne(&1).then(|| limits(&mut input));
    let bounds = Bounds {
        channels: 1 + input.below(4),
        in_flight: 1 + input.below(12),
        rates: rates(&mut input),
    };
    let mut session = Session::new(CONN, "127.0.0.1:9".into(), 0, bounds, known);
    let mut model = Model::new(CONN, bounds, known);
    let mut elapsed = Duration::ZERO;
    let first = input.u8();
    if first != 1 {
        let mut fx = Effects::default();
        let flags = input.pick(&[0, 0, 4, 1]);
        let Inbound::Setup(setup) = setup(&mut Input::new(&[])) else { unreachable!() };
        let message = Inbound::Setup(Setup { flags, ..setup });
        model.hears(&message);
        session.receive(message, NOW, &mut fx);
        model.saw(&session, fx);
    }
    for _ in 0..400 {
        if input.is_empty() || model.is_over() {
            break;
        }
        let mut fx = Effects::default();
        match input.below(8) {
            0..=3 if session.takes_more() => {
                let mut raw = Vec::new();
                let Some(mut message) = said(&mut input, &model, &mut raw) else { break };
                if let Inbound::Open(open) = &mut message {
                    open.request_id = model.next_request();
                }
                model.hears(&message);
                session.receive(message, NOW, &mut fx);
            }
            4..=6 => {
                let mut events = Vec::new();
                for _ in 0..1 + input.below(3) {
                    let Some(next) = event(&mut input, &mut model) else { break };
                    // The model follows only these in one breath: they don't depend on what is
                    // before them. Work that can't be used closes a channel.
                    let alone = next.iter().any(|event| match event {
                        Event::Verdict(_) | Event::Unjudged(_) => false,
                        Event::Job { job, .. } => job.version_mask == 0,
                        _ => true,
                    });
                    if alone && !events.is_empty() {
                        break;
                    }
                    next.iter().for_each(|event| model.told(event));
                    events.extend(next);
                    if alone {
                        break;
                    }
                }
                session.events(events, 0, &mut fx);
            }
            _ => {
                elapsed += Duration::from_millis(input.u16().into());
                session.set_elapsed(elapsed);
                if input.u8() < 4 {
                    session.setup_deadline(&mut fx);
                }
                if session.due().is_some_and(|due| due <= elapsed) {
                    session.tick(&mut fx);
                }
                if input.u8() == 1 {
                    model.stops();
                    session.stop(&mut fx);
                }
            }
        }
        model.saw(&session, fx);
    }
    let mut fx = Effects::default();
    session.end(&mut fx);
    model.ended(fx);
    assert_eq!(session.waiting(), 0);
    // Nothing wakes it up again.
    let mut fx = Effects::default();
    session.receive(Inbound::Close { channel_id: 1 }, NOW, &mut fx);
    session.setup_deadline(&mut fx);
    session.tick(&mut fx);
    session.stop(&mut fx);
    assert!(fx.out.is_empty() && fx.commands.is_empty() && fx.close.is_none());
}
