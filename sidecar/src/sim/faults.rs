//! What breaks, and for how long.

use gopool_sv2_proto::v1;

use super::host::LEVELS;
use super::pool::Entry;
use super::stage::Event;
use super::wire::ToSidecar;
use super::world::World;

/// What is turned for a while and then back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Knob {
    /// Prefixes of before can't be had.
    Grants,
    /// Channels can't be opened for now.
    Work,
    /// Verdicts take long.
    Verdicts,
    /// Messages take long.
    Delays,
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let soon = self.stage.between(50, 2_200);
        self.stage.after(soon, Event::Fault);
        let which = self.stage.between(0, 99);
        self.stage.trace(format_args!("fault {which}"), &[]);
        match which {
            0..=24 => self.break_streams(),
            25..=34 => self.pool_crashes(),
            35..=39 => self.drain(),
            40..=47 => self.part(),
            48..=57 => self.turn(Knob::Grants, 4_000),
            58..=65 => self.turn(Knob::Work, 9_000),
            66..=71 => self.turn(Knob::Verdicts, 3_000),
            72..=76 => self.turn(Knob::Delays, 3_000),
            77..=83 => self.kick(),
            84..=90 => self.retarget(),
            91..=93 => self.deafen(),
            _ => {
                // A miner sees two tips in one step, or more than it has room for.
                if self.stage.chance(50) {
                    self.deafen();
                }
                for _ in 0..self.stage.between(2, 70) {
                    self.pool.tip += 1;
                    self.pool_gives_work();
                }
            }
        }
    }

    /// A miner doesn't read for a while.
    fn deafen(&mut self) {
        let most = if self.stage.chance(70) { 3_000 } else { 8_000 };
        let until = self.stage.now + self.stage.between(100, most);
        let at = self.stage.one_of(self.doors.len().max(1));
        if let Some(door) = self.doors.values_mut().nth(at) {
            door.deaf_until = until;
        }
    }

    fn break_streams(&mut self) {
        for stream in self.wire.open_streams() {
            self.wire.break_stream(&mut self.stage, stream);
        }
    }

    /// Nothing arrives for a while; beyond the patience of the transport, streams break.
    fn part(&mut self) {
        let long = if self.stage.chance(50) { 800 } else { 14_000 };
        let long = self.stage.between(20, long);
        self.wire.parted_until = self.stage.now + long;
        if long > 2_000 {
            for stream in self.wire.open_streams() {
                self.wire.lose_stream(&mut self.stage, stream);
            }
        }
    }

    fn turn(&mut self, knob: Knob, long: u64) {
        match knob {
            Knob::Grants => self.pool.grantable = false,
            Knob::Work => self.pool.has_work = false,
            Knob::Verdicts => self.pool.slowest_verdict = 5_000,
            Knob::Delays => self.wire.slowest = 400,
        }
        let long = self.stage.between(100, long);
        self.stage.after(long, Event::Heal(knob));
    }

    pub(super) fn heal(&mut self, knob: Knob) {
        match knob {
            Knob::Grants => self.pool.grantable = true,
            Knob::Work => self.pool.has_work = true,
            Knob::Verdicts => self.pool.slowest_verdict = 60,
            Knob::Delays => self.wire.slowest = 12,
        }
    }

    /// The pool says that it is about to stop, and does.
    fn drain(&mut self) {
        if self.pool.host.is_none() || self.pool.draining {
            return;
        }
        self.pool.draining = true;
        let drain = v1::Drain { grace_ms: 500, reason: "restart".into() };
        self.pool_says(Entry::message(ToSidecar::Drain(drain)));
        let soon = self.stage.between(100, 1_500);
        self.stage.after(soon, Event::Crash);
    }

    fn any_pool_channel(&mut self) -> Option<u64> {
        let count = self.pool.session.as_ref().map_or(0, |s| s.channels.len());
        let at = self.stage.one_of(count.max(1));
        self.pool.session.as_ref()?.channels.keys().nth(at).copied()
    }

    fn kick(&mut self) {
        let Some(id) = self.any_pool_channel() else { return };
        let action = match self.stage.between(0, 3) {
            0 => v1::KickAction::CloseConnection,
            1 => v1::KickAction::Reconnect,
            _ => v1::KickAction::CloseChannel,
        };
        self.pool_kicks(id, action);
    }

    fn retarget(&mut self) {
        for _ in 0..self.stage.between(1, 4) {
            let Some(id) = self.any_pool_channel() else { return };
            let level = self.stage.between(0, LEVELS.into()) as u8;
            self.pool_targets(id, level);
        }
    }

    /// Nothing breaks any more.
    pub(super) fn calms(&mut self) {
        self.stage.trace(format_args!("calm"), &[]);
        self.calm = true;
        self.wire.parted_until = 0;
        for knob in [Knob::Grants, Knob::Work, Knob::Verdicts, Knob::Delays] {
            self.heal(knob);
        }
        for door in self.doors.values_mut() {
            door.deaf_until = 0;
        }
        self.pool_boots();
    }
}
