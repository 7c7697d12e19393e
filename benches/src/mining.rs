//! A connection with an open channel, and its steps as the driver of a session takes them.

use std::time::Instant;

use bytes::Bytes;
use gopool_sv2::backend::{Command, Event, Judged};
use gopool_sv2::config::Limits;
use gopool_sv2::frame::Writer;
use gopool_sv2::job::Fields;
use gopool_sv2::obs::Clients;
use gopool_sv2::session::{Bounds, Effects, Inbound, Open, Rates, Session, Setup};
use gopool_sv2::types::{
    ChannelKey, ConnId, Difficulty, Grant, Hash, Kind, Target, TargetLimits, Verdict,
};

use crate::{job, Ends, EXTRANONCE, NOW, PREFIX};

/// Memory that the connections of a thread use by turns, as they do under the driver.
#[derive(Debug, Default)]
pub struct Scratch {
    /// What a step brings about.
    pub fx: Effects,
    /// Frames on their way out.
    outgoing: Vec<u8>,
}

/// A connection that is set up and has one channel, whose id is 1. Its first job is 1.
#[derive(Debug)]
pub struct Mining {
    /// Its keys.
    pub ends: Ends,
    session: Session,
    channel: ChannelKey,
    begun: Instant,
    sequence: u32,
}

fn target(top: u8) -> Target {
    let mut bytes = [0xff; 32];
    bytes[31] = top;
    Target(bytes)
}

fn limits() -> TargetLimits {
    TargetLimits { easiest: target(0x7f), hardest: Target::ZERO }
}

fn setup() -> Inbound<'static> {
    Inbound::Setup(Setup {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags: 0,
        vendor: b"pieces",
        hardware_version: b"",
        firmware: b"",
        device_id: b"",
    })
}

fn open(kind: Kind) -> Inbound<'static> {
    Inbound::Open(Open {
        kind,
        request_id: 1,
        user_identity: b"pieces.1".to_vec(),
        nominal_hash_rate: 1e14,
        max_target: Target::EASIEST,
        min_extranonce_size: 0,
    })
}

impl Mining {
    /// Sets up a connection and opens its channel. `clients`: where it counts, as every connection
    /// does.
    #[must_use]
    pub fn new(conn: ConnId, kind: Kind, clients: &Clients) -> Self {
        let address = "127.0.0.1:9".to_owned();
        let presence = clients.enter(conn, address.clone(), 0);
        let Limits { max_channels_per_connection, max_in_flight_per_connection, .. } =
            Limits::default();
        let bounds = Bounds {
            channels: max_channels_per_connection,
            in_flight: max_in_flight_per_connection,
            // A benchmark sends more than any miner may.
            rates: Rates::UNLIMITED,
        };
        let mut session = Session::new(conn, address, 0, bounds, Some(limits())).counted(presence);
        let mut fx = Effects::default();
        session.receive(setup(), NOW, &mut fx);
        session.receive(open(kind), NOW, &mut fx);
        let [Command::Open { channel, .. }] = fx.commands[..] else { panic!("{fx:?}") };
        let size = if kind == Kind::Extended { EXTRANONCE } else { 0 };
        let grant = Grant {
            prefix: Bytes::from_static(&PREFIX),
            extranonce_size: u8::try_from(size).unwrap(),
            target: target(0x01),
        };
        let opened = Event::Opened { channel, generation: 0, grant, job: job(1) };
        session.events(vec![opened], 1, &mut fx);
        let mut ends = Ends::new();
        write(&fx, &mut ends.to_miner);
        let heard = ends.heard();
        assert_eq!(heard.len(), 4, "setup, channel, job, prev-hash: {heard:?}");
        Self { ends, session, channel, begun: Instant::now(), sequence: 0 }
    }

    /// The pool's name of the channel.
    #[must_use]
    pub const fn channel(&self) -> ChannelKey {
        self.channel
    }

    /// Sequence number of the last share.
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// A share for the first job comes, read already; only for extended channels. What goes to the
    /// link is behind the commands in `scratch`.
    pub fn submit(&mut self, scratch: &mut Scratch) {
        self.sequence = self.sequence.wrapping_add(1);
        let share = Fields {
            job_id: 1,
            nonce: self.sequence,
            ntime: NOW,
            version: 0x2000_0000,
            extranonce: &[0x11; EXTRANONCE],
        };
        let (kind, sequence) = (Kind::Extended, self.sequence);
        let message = Inbound::Submit { kind, channel_id: 1, sequence, share, tlvs: &[] };
        self.session.receive(message, NOW, &mut scratch.fx);
    }

    /// The driver's step over what a mailbox held, less its queues and the socket: what it brings
    /// about for the miner is encrypted and waits in [`Ends::to_miner`]. Gives back the memory of
    /// the events.
    pub fn step(&mut self, events: Vec<Event>, scratch: &mut Scratch) -> Vec<Event> {
        let Scratch { fx, outgoing } = scratch;
        self.session.set_elapsed(self.begun.elapsed());
        let memory = self.session.events(events, 0, fx);
        self.ends.to_miner.lend(|| std::mem::take(outgoing));
        write(fx, &mut self.ends.to_miner);
        fx.out.clear();
        fx.lines.clear();
        memory
    }

    /// The socket takes all that waits. Says how many bytes that is.
    pub fn send(&mut self, scratch: &mut Scratch) -> usize {
        let to_miner = &mut self.ends.to_miner;
        let sent = to_miner.pending().len();
        to_miner.advance(sent);
        if let Some(memory) = to_miner.give_back() {
            scratch.outgoing = memory;
        }
        sent
    }
}

/// The pool accepts a share.
#[must_use]
pub fn accepted(command: &Command) -> Event {
    let Command::Submit { channel, token, .. } = *command else { panic!("{command:?}") };
    let credit = Difficulty { whole: 2, fraction: 0 };
    let verdict = Verdict::Accepted { hash: Hash([1; 32]), credit, block_candidate: false };
    Event::Verdict(Judged { channel, token, submit_id: token + 1, verdict })
}

fn write(fx: &Effects, to_miner: &mut Writer) {
    assert!(fx.close.is_none(), "{:?}", fx.close);
    for message in &fx.out {
        message.write(to_miner).unwrap();
    }
}
