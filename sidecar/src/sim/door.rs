//! A connection's task: what [`crate::session::run`] does around the step function, without a
//! socket. Messages of the miner come one by one; those for it wait in an outbox.

use std::collections::VecDeque;

use super::newest::Newest;
use super::stage::{Event, Promise};
use super::world::World;
use crate::backend::{Command, Event as FromLink, Port};
use crate::job::Fields;
use crate::session::{Cause, Effects, Inbound, Open, Outbound, Session, Setup};
use crate::types::{ConnId, Kind, Target};

/// Messages that may wait for a miner before nothing more is taken from either side.
const OUTBOX: usize = 12;

/// What a miner sends.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Setup,
    Open(Open),
    Update {
        channel: u32,
        max_target: Target,
    },
    Close {
        channel: u32,
    },
    Submit(Submitted),
    /// It hangs up; true: only its own direction.
    Bye(bool),
}

#[derive(Debug, Clone)]
pub(super) struct Submitted {
    pub(super) kind: Kind,
    pub(super) channel: u32,
    pub(super) sequence: u32,
    pub(super) job_id: u32,
    pub(super) nonce: u32,
    pub(super) ntime: u32,
    pub(super) version: u32,
    pub(super) extranonce: [u8; 8],
}

/// One connection.
pub(super) struct Door {
    pub(super) miner: usize,
    pub(super) session: Session,
    pub(super) port: Port,
    /// Commands the link's queue had no room for yet.
    pub(super) commands: VecDeque<Command>,
    pub(super) from_miner: VecDeque<Word>,
    pub(super) outbox: VecDeque<Outbound>,
    newest: Newest,
    /// The miner reads nothing before.
    pub(super) deaf_until: u64,
    /// A turn is on the agenda.
    pub(super) has_turn: bool,
    pub(super) writes: bool,
    /// Why nothing more is read, and until when the last answers are awaited.
    drain: Option<(Cause, u64)>,
    /// It is over; what is left are commands.
    pub(super) ended: Option<Cause>,
}

impl Door {
    pub(super) fn new(miner: usize, session: Session, port: Port) -> Self {
        Self {
            miner,
            session,
            port,
            commands: VecDeque::new(),
            from_miner: VecDeque::new(),
            outbox: VecDeque::new(),
            newest: Newest::default(),
            deaf_until: 0,
            has_turn: false,
            writes: false,
            drain: None,
            ended: None,
        }
    }

    fn has_outbox(&self) -> bool {
        self.outbox.len() <= OUTBOX
    }

    fn takes_more(&self) -> bool {
        self.drain.is_none() && self.commands.is_empty() && self.session.takes_more()
    }

    /// Whether a turn would bring about anything.
    pub(super) fn wants_turn(&self, now: u64) -> bool {
        if self.ended.is_some() {
            return true;
        }
        let hears = self.has_outbox() && (self.port.events.has_some() || self.is_cut_off());
        let reads = self.has_outbox() && self.takes_more() && !self.from_miner.is_empty();
        let drained = self.drain.as_ref().is_some_and(|(_, until)| {
            *until <= now || (self.session.waiting() == 0 && self.commands.is_empty())
        });
        hears || reads || drained || !self.commands.is_empty()
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.port.events.has_ended()
    }

    fn push_commands(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            if let Err(refused) = self.port.commands.try_send(command) {
                return self.commands.push_front(refused.into_inner());
            }
        }
    }
}

impl World {
    /// One turn of a connection's task.
    pub(super) fn door_turn(&mut self, conn: ConnId) {
        let Some(mut door) = self.doors.remove(&conn) else { return };
        door.has_turn = false;
        if door.ended.is_none() {
            let cause = self.until_closed(conn, &mut door);
            if let Some(cause) = cause {
                self.end(conn, &mut door, cause);
            }
        }
        if door.ended.is_some() {
            door.push_commands();
            if door.commands.is_empty() {
                return; // the port goes with it
            }
        }
        self.doors.insert(conn, door);
    }

    fn until_closed(&mut self, conn: ConnId, door: &mut Door) -> Option<Cause> {
        let cause = self.step_frames(conn, door);
        door.push_commands();
        if cause.is_some() {
            return cause;
        }
        if let Some((cause, until)) = &door.drain {
            let done = door.session.waiting() == 0 && door.commands.is_empty();
            if done || *until <= self.stage.now {
                return Some(cause.clone());
            }
        }
        if !door.has_outbox() {
            return None;
        }
        let (events, arrived) = door.port.events.take();
        if events.is_empty() {
            return door.is_cut_off().then_some(Cause::MailboxFull);
        }
        self.look_at(&events);
        door.newest.due(&events);
        let mut fx = Effects::default();
        door.session.events(events, arrived, &mut fx);
        let cause = self.apply(conn, door, fx);
        if let (None, Some((id, job))) = (&cause, door.newest.missing()) {
            let text = format!("{conn:?} {id} is not told of job {job}");
            self.stage.breaks(Promise::NewestWork, text);
        }
        door.push_commands();
        cause
    }

    /// Counts steps in which a channel gets two tips.
    fn look_at(&mut self, events: &[FromLink]) {
        let tips: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                FromLink::Job { channel, job } => Some((channel, job.prev_hash)),
                _ => None,
            })
            .collect();
        let two = |(channel, tip): &(_, _)| tips.iter().any(|(c, t)| c == channel && t != tip);
        self.stage.counts.two_tips_in_a_step += u64::from(tips.iter().any(two));
    }

    fn step_frames(&mut self, conn: ConnId, door: &mut Door) -> Option<Cause> {
        if !door.has_outbox() {
            return None;
        }
        let mut fx = Effects::default();
        while door.takes_more() && fx.close.is_none() {
            let Some(word) = door.from_miner.pop_front() else { break };
            if let Some(cause) = self.take(conn, door, &word, &mut fx) {
                let closed = self.apply(conn, door, fx);
                return closed.or(Some(cause));
            }
        }
        self.apply(conn, door, fx)
    }

    fn take(
        &mut self,
        conn: ConnId,
        door: &mut Door,
        word: &Word,
        fx: &mut Effects,
    ) -> Option<Cause> {
        let none = b"".as_slice();
        let message = match word {
            Word::Setup => Inbound::Setup(Setup {
                protocol: 0,
                min_version: 2,
                max_version: 2,
                flags: 0,
                vendor: none,
                hardware_version: none,
                firmware: none,
                device_id: none,
            }),
            Word::Open(open) => Inbound::Open(open.clone()),
            Word::Update { channel, max_target } => Inbound::Update {
                channel_id: *channel,
                nominal_hash_rate: 1e12,
                max_target: *max_target,
            },
            Word::Close { channel } => {
                // What was answered before it counts.
                self.says(conn, door, fx);
                door.newest.closed(*channel);
                self.truth.closed_by_miner(conn, *channel);
                Inbound::Close { channel_id: *channel }
            }
            Word::Submit(submit) => {
                self.truth.taken(submit.nonce);
                let rolls = submit.kind == Kind::Extended;
                Inbound::Submit {
                    kind: submit.kind,
                    channel_id: submit.channel,
                    sequence: submit.sequence,
                    share: Fields {
                        job_id: submit.job_id,
                        nonce: submit.nonce,
                        ntime: submit.ntime,
                        version: submit.version,
                        extranonce: if rolls { &submit.extranonce } else { &[] },
                    },
                    tlvs: &[],
                }
            }
            Word::Bye(false) => return Some(Cause::PeerClosed),
            Word::Bye(true) => {
                let until = self.stage.now + 2_000;
                door.drain = Some((Cause::PeerClosed, until));
                self.stage.at(until, Event::Turn(conn));
                return None;
            }
        };
        let now = self.unix_now(self.sidecar_skew);
        door.session.receive(message, now, fx);
        None
    }

    /// Carries out what a step brought about; why the connection is to be closed, if it is.
    fn apply(&mut self, conn: ConnId, door: &mut Door, mut fx: Effects) -> Option<Cause> {
        self.says(conn, door, &mut fx);
        door.commands.extend(fx.commands);
        let waiting = door.session.waiting();
        if waiting > self.limits.in_flight_per_connection || waiting != self.truth.owed_to(conn) {
            let owed = self.truth.owed_to(conn);
            let text = format!("{conn:?}: {waiting} submits wait, {owed} are owed");
            self.stage.breaks(Promise::Bounds, text);
        }
        fx.close
    }

    fn says(&mut self, conn: ConnId, door: &mut Door, fx: &mut Effects) {
        let life = self.pool.life();
        for message in fx.out.drain(..) {
            self.stage.trace(format_args!("{conn:?} <- {}", Short(&message)), &[]);
            self.truth.sent(&mut self.stage, conn, &message, life);
            door.newest.told(&message);
            door.outbox.push_back(message);
        }
    }

    fn end(&mut self, conn: ConnId, door: &mut Door, cause: Cause) {
        self.stage.trace(format_args!("{conn:?} ends: {cause}"), &[]);
        self.truth.ended(&mut self.stage, conn, &cause);
        let counts = &mut self.stage.counts;
        counts.mailboxes_full += u64::from(cause == Cause::MailboxFull);
        counts.unrestored += u64::from(cause == Cause::Unrestored);
        counts.lost += u64::from(cause == Cause::PoolLost);
        let mut fx = Effects::default();
        door.session.end(&mut fx);
        door.commands.extend(fx.commands);
        door.from_miner.clear();
        // The farewell: what waits is heard, then the end of the stream.
        let last = std::mem::take(&mut door.outbox);
        self.miner_hears(door.miner, conn, last);
        self.miner_hung_up(door.miner, conn);
        door.ended = Some(cause);
    }

    /// A connection's socket takes some of what waits.
    pub(super) fn door_writes(&mut self, conn: ConnId) {
        let some = self.stage.between(1, 8) as usize;
        let now = self.stage.now;
        let Some(door) = self.doors.get_mut(&conn) else { return };
        door.writes = false;
        if door.deaf_until > now {
            door.writes = true;
            let until = door.deaf_until;
            return self.stage.at(until, Event::Write(conn));
        }
        let taken = some.min(door.outbox.len());
        let heard = door.outbox.drain(..taken).collect();
        let miner = door.miner;
        self.miner_hears(miner, conn, heard);
    }
}

/// A message for a miner in a few words.
struct Short<'a>(&'a Outbound);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Outbound::Job { channel_id, announcement: job } => {
                let tip = job.new_tip.map(|tip| tip.prev_hash.0[0]);
                write!(f, "Job {channel_id} {} v{:x} {tip:?}", job.job_id, job.version & 31)
            }
            Outbound::Target { channel_id, target } => {
                write!(f, "Target {channel_id} {:02x}", target.0[31])
            }
            Outbound::Opened(o) => {
                let (target, prefix) = (o.target.0[31], &o.prefix);
                write!(f, "Opened {} {} {target:02x} {prefix:02x?}", o.channel_id, o.kind.as_str())
            }
            other => write!(f, "{other:?}"),
        }
    }
}
