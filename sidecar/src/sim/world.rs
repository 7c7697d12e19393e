//! Everything together, and the loop.

use std::collections::BTreeMap;

use super::carrier::Carrier;
use super::door::Door;
use super::faults::Knob;
use super::miner::Miner;
use super::pool::Pool;
use super::stage::{Broken, Counts, Event, Promise, Stage};
use super::truth::Truth;
use super::wire::Wire;
use crate::backend::Backend;
use crate::types::ConnId;

/// When nothing breaks any more, in milliseconds: not before, and not later.
const CALM: (u64, u64) = (5_000, 24_000);
/// After that: when miners submit nothing any more, and the end.
const REST: u64 = 17_000;
const END: u64 = 6_000;

/// Bounds of a play, each its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) in_flight: usize,
    pub(super) in_flight_per_connection: usize,
    pub(super) channels: usize,
    pub(super) mailbox: usize,
    pub(super) queue: usize,
    pub(super) grace: u64,
    pub(super) lost: u64,
    pub(super) window: u64,
    pub(super) verdict_timeout: u64,
    /// When nothing breaks any more.
    pub(super) calm: u64,
}

impl Limits {
    fn new(stage: &mut Stage) -> Self {
        Self {
            in_flight: stage.between(4, 40) as usize,
            in_flight_per_connection: stage.between(2, 16) as usize,
            channels: 4,
            mailbox: stage.between(4, 32) as usize,
            queue: stage.between(3, 64) as usize,
            grace: stage.between(300, 2_500),
            lost: stage.between(4_000, 12_000),
            window: stage.between(3_000, 12_000),
            verdict_timeout: stage.between(1_500, 4_000),
            calm: stage.between(CALM.0, CALM.1),
        }
    }
}

/// How a play went.
#[derive(Debug, Clone)]
pub(super) struct Played {
    pub(super) counts: Counts,
    pub(super) hash: [u8; 32],
    pub(super) broken: Option<Broken>,
    /// The last lines of the trace.
    pub(super) tail: String,
}

/// See the module.
pub(super) struct World {
    pub(super) stage: Stage,
    pub(super) truth: Truth,
    pub(super) wire: Wire,
    pub(super) pool: Pool,
    pub(super) carrier: Carrier,
    pub(super) backend: Backend,
    pub(super) doors: BTreeMap<ConnId, Door>,
    pub(super) miners: Vec<Miner>,
    pub(super) conns: u64,
    pub(super) limits: Limits,
    /// Seconds that the sidecar's clock is off.
    pub(super) sidecar_skew: i64,
    pub(super) calm: bool,
    pub(super) rests: bool,
}

impl World {
    /// Plays what a seed decides. `tail`: lines of the trace to give with it.
    pub(super) fn play(seed: u64, tail: usize) -> Played {
        let mut stage = Stage::new(seed, tail);
        let limits = Limits::new(&mut stage);
        let (backend, carrier) = Carrier::new(&limits);
        let sidecar_skew = stage.between(0, 240) as i64 - 120;
        let mut world = Self {
            truth: Truth::default(),
            wire: Wire::default(),
            pool: Pool::new(&mut stage),
            carrier,
            backend,
            doors: BTreeMap::new(),
            miners: Vec::new(),
            conns: 0,
            limits,
            sidecar_skew,
            calm: false,
            rests: false,
            stage,
        };
        world.begin();
        while world.stage.broken.is_none() {
            let Some(event) = world.stage.next(limits.calm + REST + END) else {
                world.settles();
                break;
            };
            world.happens(event);
            world.wakes();
        }
        let Stage { counts, .. } = world.stage;
        let (hash, tail) = (world.stage.digest(), world.stage.tail());
        Played { counts, hash, broken: world.stage.broken, tail }
    }

    fn begin(&mut self) {
        self.heal(Knob::Delays);
        let stage = &mut self.stage;
        let boot = stage.between(0, 500);
        stage.after(boot, Event::Boot);
        stage.after(0, Event::Dial(0));
        stage.after(1_000, Event::Fault);
        stage.after(self.limits.calm, Event::Calm);
        stage.after(self.limits.calm + REST, Event::Rest);
        for index in 0..stage.between(2, 4) as usize {
            let skew = match stage.chance(20) {
                true => stage.between(0, 16_000) as i64 - 8_000,
                false => 0,
            };
            let (wants, pause) = (stage.between(1, 3) as usize, stage.between(80, 400));
            self.miners.push(Miner::new(skew, wants, pause));
            let soon = stage.between(0, 2_000);
            stage.after(soon, Event::Connect(index));
            stage.after(soon, Event::Act(index));
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::LinkTurn => self.link_turn(),
            Event::LinkWrite(stream) => self.link_writes(stream),
            Event::Dial(tries) => self.link_dials(tries),
            Event::DialTimeout(stream) => self.dial_timeout(stream),
            Event::OutageDue(outage) => self.outage_due(outage),
            Event::Look(stream) => self.link_looks(stream),
            Event::Retry(stream) => self.link_retries(stream),
            Event::ToPool(stream) => self.pool_hears(stream),
            Event::ToSidecar(stream) => self.link_hears(stream),
            Event::Flush(stream) => self.pool_flushes(stream),
            Event::Verdict(life, channel, verdict) => self.pool_judges(life, channel, verdict),
            Event::OpenDone(life, id, order) => self.pool_opened(life, id, order),
            Event::Free(epoch, prefix) => self.pool_frees(epoch, prefix),
            Event::Window(breaks) => self.pool_window(breaks),
            Event::Boot => self.pool_boots(),
            Event::Crash => self.pool_crashes(),
            Event::Work(epoch) => self.pool_works(epoch),
            Event::Turn(conn) => self.door_turn(conn),
            Event::Write(conn) => self.door_writes(conn),
            Event::Act(index) => self.miner_acts(index),
            Event::Connect(index) => self.miner_connects(index),
            Event::Fault => self.fault(),
            Event::Heal(knob) => self.heal(knob),
            Event::Calm => self.calms(),
            Event::Rest => self.rests = true,
        }
    }

    /// Puts on the agenda who has something to do now.
    fn wakes(&mut self) {
        let now = self.stage.now;
        for (conn, door) in &mut self.doors {
            if !door.has_turn && door.wants_turn(now) {
                door.has_turn = true;
                // A busy machine lets a task wait, now and then.
                let most = if !self.calm && self.stage.chance(2) { 1_500 } else { 10 };
                let soon = self.stage.between(0, most);
                self.stage.after(soon, Event::Turn(*conn));
            }
            if !door.writes && !door.outbox.is_empty() {
                door.writes = true;
                let soon = self.stage.between(0, 10);
                self.stage.after(soon, Event::Write(*conn));
            }
        }
        if !self.carrier.has_turn && self.carrier.wants_turn() {
            self.carrier.has_turn = true;
            let soon = self.stage.between(0, 4);
            self.stage.after(soon, Event::LinkTurn);
        }
    }

    /// A clock that is off by some seconds, in unix seconds.
    pub(super) fn unix_now(&self, skew: i64) -> u32 {
        (1_790_000_000 + (self.stage.now / 1_000) as i64 + skew) as u32
    }

    /// The last look at everything.
    fn settles(&mut self) {
        self.truth.settle(&mut self.stage, self.pool.life());
        for index in 0..self.miners.len() {
            self.miner_settles(index);
        }
        let held: usize = self.miners.iter().map(|miner| miner.channels.len()).sum();
        let open = self.pool.session.as_ref().map_or(0, |session| session.channels.len());
        if held != open {
            let text = format!("the pool has {open} channels, the miners {held}");
            self.stage.breaks(Promise::Converges, text);
        }
        let easiest = self.pool.host.as_ref().map_or(0, |host| host.easiest);
        for (id, channel) in self.pool.session.iter().flat_map(|session| &session.channels) {
            let (known, told) = channel.in_effect(easiest);
            if known != told {
                let text = format!("{id:x}: the pool knows of {known}, the miner of {told}");
                self.stage.breaks(Promise::Converges, text);
            }
        }
        let (oldest, _) = self.carrier.link.waiting_since();
        if let Some(oldest) = oldest {
            let text = format!("submit {oldest} waits in the link");
            self.stage.breaks(Promise::Converges, text);
        }
    }
}
