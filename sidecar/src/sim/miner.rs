//! Miners: what they hear, and what they do of their own accord.

use std::collections::{BTreeMap, VecDeque};

use super::door::{Door, Submitted, Word};
use super::host::{level, target, LEVELS};
use super::stage::{Event, Promise};
use super::world::World;
use crate::session::{Bounds, Open, Outbound, Rates, Session};
use crate::types::{ConnId, Kind, VERSION_ROLLING_MASK};

/// Jobs that a miner may still send shares for.
const JOBS: usize = 12;
/// What waits in its socket before it stops sending.
const SOCKET: usize = 60;

/// A job as a miner has it.
#[derive(Debug, Clone, Copy)]
struct MinedJob {
    id: u32,
    version: u32,
    tip: u32,
    min_ntime: u32,
    level: u8,
}

/// A channel as its miner sees it.
#[derive(Debug)]
pub(super) struct Mined {
    kind: Kind,
    pub(super) level: u8,
    pub(super) tip: u32,
    pub(super) prefix: Vec<u8>,
    min_ntime: u32,
    jobs: VecDeque<MinedJob>,
    sequence: u32,
}

impl Mined {
    /// The life of the pool that its newest job is of, as far as the job says.
    pub(super) fn life(&self) -> Option<u32> {
        self.jobs.back().map(|job| job.version & 31)
    }
}

/// A miner; it connects again whenever it has to.
#[derive(Debug, Default)]
pub(super) struct Miner {
    pub(super) conn: Option<ConnId>,
    pub(super) channels: BTreeMap<u32, Mined>,
    /// Opens under way.
    pub(super) wishes: BTreeMap<u32, Kind>,
    next_request: u32,
    /// Seconds that its clock is off.
    pub(super) skew: i64,
    /// Channels it wants to have.
    pub(super) wants: usize,
    /// Milliseconds between what it does, at most.
    pub(super) pause: u64,
    ready: bool,
}

impl Miner {
    pub(super) fn new(skew: i64, wants: usize, pause: u64) -> Self {
        Self { skew, wants, pause, ..Self::default() }
    }
}

impl World {
    pub(super) fn miner_connects(&mut self, index: usize) {
        if self.miners[index].conn.is_some() {
            return;
        }
        self.conns += 1;
        let conn = ConnId(self.conns);
        let bounds = Bounds {
            channels: self.limits.channels,
            in_flight: self.limits.in_flight_per_connection,
            rates: Rates::UNLIMITED,
        };
        let mailbox =
            self.limits.mailbox + self.limits.in_flight_per_connection + 4 * self.limits.channels;
        let port = self.backend.attach(conn, mailbox);
        let session = Session::new(conn, "127.0.0.1:9".into(), 0, bounds, port.limits);
        self.stage.trace(format_args!("{conn:?} is miner {index}"), &[]);
        let mut door = Door::new(index, session, port);
        door.from_miner.push_back(Word::Setup);
        self.doors.insert(conn, door);
        let Miner { skew, wants, pause, .. } = self.miners[index];
        self.miners[index] = Miner { conn: Some(conn), ..Miner::new(skew, wants, pause) };
    }

    pub(super) fn miner_hung_up(&mut self, index: usize, conn: ConnId) {
        let miner = &mut self.miners[index];
        if miner.conn == Some(conn) {
            miner.conn = None;
            miner.channels.clear();
            miner.wishes.clear();
            let soon = self.stage.between(20, 2_500);
            self.stage.after(soon, Event::Connect(index));
        }
    }

    pub(super) fn miner_hears(&mut self, index: usize, conn: ConnId, words: VecDeque<Outbound>) {
        let miner = &mut self.miners[index];
        if miner.conn != Some(conn) {
            return;
        }
        for word in words {
            match word {
                Outbound::SetupSuccess { .. } => miner.ready = true,
                Outbound::Opened(opened) => {
                    miner.wishes.remove(&opened.request_id);
                    let mined = Mined {
                        kind: opened.kind,
                        level: level(&opened.target.0),
                        tip: 0,
                        prefix: opened.prefix.to_vec(),
                        min_ntime: 0,
                        jobs: VecDeque::new(),
                        sequence: 0,
                    };
                    miner.channels.insert(opened.channel_id, mined);
                }
                Outbound::OpenError { request_id, .. } => {
                    miner.wishes.remove(&request_id);
                }
                Outbound::Job { channel_id, announcement: job } => {
                    let Some(mined) = miner.channels.get_mut(&channel_id) else { continue };
                    if let Some(tip) = job.new_tip {
                        let number = tip.prev_hash.0[..4].try_into().unwrap();
                        mined.tip = u32::from_le_bytes(number);
                        mined.min_ntime = tip.min_ntime;
                    }
                    if mined.jobs.len() == JOBS {
                        mined.jobs.pop_front();
                    }
                    mined.jobs.push_back(MinedJob {
                        id: job.job_id,
                        version: job.version,
                        tip: mined.tip,
                        min_ntime: job.min_ntime.unwrap_or(mined.min_ntime),
                        level: mined.level,
                    });
                }
                Outbound::Target { channel_id, target } => {
                    if let Some(mined) = miner.channels.get_mut(&channel_id) {
                        mined.level = level(&target.0);
                    }
                }
                Outbound::Close { channel_id, .. } => {
                    miner.channels.remove(&channel_id);
                }
                _ => {}
            }
        }
    }

    /// One thing that a miner does.
    pub(super) fn miner_acts(&mut self, index: usize) {
        let pause = self.miners[index].pause;
        let soon = self.stage.between(1, pause);
        self.stage.after(soon, Event::Act(index));
        let miner = &self.miners[index];
        let Some(conn) = miner.conn.filter(|_| miner.ready) else { return };
        let Some(door) = self.doors.get(&conn) else { return };
        if door.from_miner.len() >= SOCKET || door.ended.is_some() {
            return;
        }
        if miner.channels.len() + miner.wishes.len() < miner.wants {
            return self.miner_opens(index, conn);
        }
        if miner.channels.is_empty() || self.rests {
            return;
        }
        match self.stage.between(0, 99) {
            0..=3 => self.miner_updates(index, conn),
            4 if !self.calm => {
                let Some(channel) = self.any_channel(index) else { return };
                self.miners[index].channels.remove(&channel);
                self.miner_says(conn, Word::Close { channel });
            }
            5 if !self.calm && self.stage.chance(40) => {
                let half = self.stage.chance(50);
                self.miner_says(conn, Word::Bye(half));
                self.miner_hung_up(index, conn);
            }
            _ => {
                // Several at a time, now and then.
                let count = if self.stage.chance(15) { self.stage.between(2, 12) } else { 1 };
                for _ in 0..count {
                    self.miner_submits(index, conn);
                }
            }
        }
    }

    fn any_channel(&mut self, index: usize) -> Option<u32> {
        let at = self.stage.one_of(self.miners[index].channels.len().max(1));
        self.miners[index].channels.keys().nth(at).copied()
    }

    fn miner_says(&mut self, conn: ConnId, word: Word) {
        if let Some(door) = self.doors.get_mut(&conn) {
            door.from_miner.push_back(word);
        }
    }

    fn miner_opens(&mut self, index: usize, conn: ConnId) {
        if self.stage.chance(60) {
            return; // not in a hurry
        }
        let kind = if self.stage.chance(50) { Kind::Standard } else { Kind::Extended };
        let hardest = self.stage.between(0, 2) as u8;
        let miner = &mut self.miners[index];
        miner.next_request += 1;
        miner.wishes.insert(miner.next_request, kind);
        let open = Open {
            kind,
            request_id: miner.next_request,
            user_identity: b"miner".to_vec(),
            nominal_hash_rate: 1e12,
            max_target: target(hardest),
            min_extranonce_size: if kind == Kind::Extended { 4 } else { 0 },
        };
        self.miner_says(conn, Word::Open(open));
    }

    fn miner_updates(&mut self, index: usize, conn: ConnId) {
        let Some(channel) = self.any_channel(index) else { return };
        let max_target = target(self.stage.between(0, LEVELS.into()) as u8);
        self.miner_says(conn, Word::Update { channel, max_target });
    }

    fn miner_submits(&mut self, index: usize, conn: ConnId) {
        let Some(mut channel) = self.any_channel(index) else { return };
        let lost = self.stage.chance(2);
        let (old, bogus) = (self.stage.chance(8), self.stage.chance(2));
        let lazy = self.stage.chance(6);
        let now = self.unix_now(self.miners[index].skew);
        let Some(mined) = self.miners[index].channels.get_mut(&channel) else { return };
        let back = if old { self.stage.one_of(mined.jobs.len().max(1)) } else { 0 };
        let Some(job) = mined.jobs.iter().rev().nth(back).copied() else { return };
        mined.sequence += 1;
        let (kind, sequence) = (mined.kind, mined.sequence);
        if lost {
            channel = 9_999;
        }
        let on = (conn, channel, sequence);
        let level = if lazy { 0 } else { job.level };
        let honest = level >= job.level;
        let nonce = self.truth.mined(on, (job.version & 31, job.tip), (level, honest));
        let submit = Submitted {
            kind,
            channel,
            sequence,
            job_id: if bogus { 0x00ff_ffff } else { job.id },
            nonce,
            ntime: now.max(job.min_ntime),
            version: job.version ^ ((nonce << 5) & VERSION_ROLLING_MASK),
            extranonce: u64::from(nonce).to_be_bytes(),
        };
        self.stage.counts.submits += 1;
        let text = format_args!("{conn:?} -> {channel} {sequence} job {} nonce {nonce}", job.id);
        self.stage.trace(text, &[]);
        self.miner_says(conn, Word::Submit(submit));
    }

    /// The last look at a miner.
    pub(super) fn miner_settles(&mut self, index: usize) {
        let miner = &self.miners[index];
        let mut faults = Vec::new();
        let ended = |conn| self.doors.get(&conn).is_none_or(|door| door.ended.is_some());
        let Some(conn) = miner.conn.filter(|conn| !ended(*conn)) else {
            let text = format!("miner {index} is not connected");
            return self.stage.breaks(Promise::Converges, text);
        };
        if miner.channels.len() != miner.wants {
            let (has, opening) = (miner.channels.len(), miner.wishes.len());
            faults.push(format!("has {has} channels and {opening} opens under way"));
        }
        let session = self.pool.session.as_ref();
        let easiest = self.pool.host.as_ref().map_or(0, |host| host.easiest);
        for (id, mined) in &miner.channels {
            let mut ours = session.iter().flat_map(|s| s.channels.values());
            let Some(pool) =
                ours.find(|c| c.open && c.prefix.to_be_bytes()[..] == mined.prefix[..])
            else {
                faults.push(format!("channel {id} is not open at the pool"));
                continue;
            };
            let asked = level(&pool.request.max_target);
            let level = pool.wanted.max(easiest).max(asked);
            if mined.level != level {
                faults.push(format!("channel {id} is told level {}, not {level}", mined.level));
            }
            if mined.tip != self.pool.tip {
                let tip = self.pool.tip;
                faults.push(format!("channel {id} mines on {}, not on {tip}", mined.tip));
            }
            if mined.life() != Some(self.pool.life() & 31) {
                let life = self.pool.life() & 31;
                faults.push(format!("channel {id} has work of {:?}, not {life}", mined.life()));
            }
        }
        for fault in faults {
            let text = format!("miner {index}, {conn:?}: {fault}");
            self.stage.breaks(Promise::Converges, text);
        }
    }
}
