//! What target 5 knows of a connection: the naive model of its channels, and the pool behind it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gopool_sv2::backend::{Command, Event, Judged};
use gopool_sv2::channel::Answer;
use gopool_sv2::job::{Announcement, Body};
use gopool_sv2::session::{Bounds, Effects, Inbound, Opened, Outbound, Session};
use gopool_sv2::types::{
    ChannelKey, ConnId, Difficulty, Grant, Hash, Job, KickAction, Kind, RejectReason, StaleRule,
    Submit, Target, TargetLimits, Verdict, VERSION_ROLLING_MASK,
};

mod look;

use super::input::Input;
use super::messages;

/// The clock of the miner and of the listener, unix seconds.
pub const NOW: u32 = 1_790_000_000;

/// What runs have met, so that a test can tell whether the model is put to use.
pub static MET: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

fn meet(what: &'static str) {
    *MET.lock().expect("not poisoned").entry(what).or_default() += 1;
}

/// How a submit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Accepted(Difficulty),
    Refused,
}

/// A channel as the miner knows it.
#[derive(Debug)]
struct Chan {
    key: ChannelKey,
    generation: u64,
    group: u32,
    kind: Kind,
    size: usize,
    limits: TargetLimits,
    wanted: Target,
    most: Target,
    /// What the miner and the pool were told.
    told: Target,
    pool_knows: Target,
    tip: Option<Hash>,
    submits: VecDeque<(u32, State)>,
    credited: Difficulty,
    summed: u64,
}

impl Chan {
    fn bound(&self) -> Target {
        self.wanted.min(self.limits.easiest).min(self.most)
    }
}

/// A submit at the pool.
#[derive(Debug)]
struct Waiting {
    key: ChannelKey,
    token: u64,
    sequence: u32,
    submit: Submit,
}

#[derive(Debug, Clone)]
struct Asked {
    request_id: u32,
    kind: Kind,
    most: Target,
    min_size: u16,
}

/// The model.
pub struct Model {
    conn: ConnId,
    bounds: Bounds,
    limits: Option<TargetLimits>,
    set_up: bool,
    over: bool,
    chans: BTreeMap<u32, Chan>,
    asked: BTreeMap<ChannelKey, Asked>,
    /// What the pool grants in this step.
    granted: Option<(ChannelKey, u64, Grant)>,
    /// Channels that the pool holds something for.
    held: BTreeSet<ChannelKey>,
    used: BTreeSet<ChannelKey>,
    waiting: Vec<Waiting>,
    updates: Vec<(ChannelKey, u32, Target)>,
    requests: u32,
    sequence: u32,
    life: u64,
    job_seq: u64,
    tip: u8,
    next_id: u32,
    last_job: u32,
    /// The message of the miner that this step is about.
    heard: Option<Heard>,
    /// Something of this step refuses submits that wait: a kick, a lost link, work that can't be
    /// used.
    sweeps: bool,
}

#[derive(Debug, Clone, Copy)]
enum Heard {
    Open { request_id: u32, kind: Kind, most: Target, min_size: u16 },
    Submit { channel: u32, sequence: u32, known: bool },
    Update { channel: u32, most: Target },
    Close { id: u32 },
    Other,
}

impl Model {
    pub fn new(conn: ConnId, bounds: Bounds, limits: Option<TargetLimits>) -> Self {
        Self {
            conn,
            bounds,
            limits,
            set_up: false,
            over: false,
            chans: BTreeMap::new(),
            asked: BTreeMap::new(),
            granted: None,
            held: BTreeSet::new(),
            used: BTreeSet::new(),
            waiting: Vec::new(),
            updates: Vec::new(),
            requests: 0,
            sequence: 0,
            life: 1,
            job_seq: 0,
            tip: 0,
            next_id: 1,
            last_job: 0,
            heard: None,
            sweeps: false,
        }
    }

    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// A channel or group id, known as a rule.
    pub fn some_id(&self, input: &mut Input<'_>) -> u32 {
        match input.u8() {
            0 => input.u8().into(),
            pick => {
                let at = usize::from(pick) % self.chans.len().max(1);
                let chan = self.chans.iter().nth(at);
                chan.map_or(1, |(id, chan)| if pick > 250 { chan.group } else { *id })
            }
        }
    }

    /// Kind and extranonce size of a channel; anything for others.
    pub fn shape(&self, id: u32) -> (Kind, usize) {
        self.chans.get(&id).map_or((Kind::Extended, 8), |chan| (chan.kind, chan.size))
    }

    pub fn next_sequence(&self) -> u32 {
        self.sequence + 1
    }

    /// A number of an open that no other one has.
    pub fn next_request(&mut self) -> u32 {
        self.requests += 1;
        self.requests
    }

    pub fn some_job(&self, input: &mut Input<'_>) -> u32 {
        self.last_job.saturating_sub(input.pick(&[0, 0, 0, 1, 2, 3, 30]))
    }

    pub fn some_key(&self, input: &mut Input<'_>) -> Option<ChannelKey> {
        let at = input.below(self.held.len().max(1));
        self.held.iter().nth(at).copied()
    }

    /// An open that waits.
    pub fn asked(&self, input: &mut Input<'_>) -> Option<ChannelKey> {
        let at = input.below(self.asked.len().max(1));
        self.asked.keys().nth(at).copied()
    }

    /// The pool's answer to an open that waits; now and then one that doesn't fit it.
    pub fn opened(
        &mut self,
        input: &mut Input<'_>,
        target: fn(&mut Input<'_>) -> Target,
    ) -> Option<Event> {
        let channel = self.asked(input)?;
        let target = Some(target(input)).filter(|target| *target != Target::ZERO)?;
        let extranonce_size = match self.asked[&channel].kind {
            Kind::Standard => u8::from(input.u8() == 1),
            Kind::Extended => input.pick(&[8, 8, 4, 16]),
        };
        let prefix = Bytes::copy_from_slice(&channel.to_wire().to_le_bytes());
        let grant = Grant { prefix, extranonce_size, target };
        Some(Event::Opened { channel, generation: self.life, grant, job: self.job(input) })
    }

    /// The pool was restarted, and has a channel again.
    pub fn reopened(&mut self, input: &mut Input<'_>, target: Target) -> Option<Event> {
        let channel = self.some_key(input)?;
        self.life += 1;
        Some(Event::Reopened { channel, generation: self.life, target, job: self.job(input) })
    }

    /// Verdicts on some of the submits that wait, in any order.
    pub fn verdicts(&mut self, input: &mut Input<'_>) -> Option<Vec<Event>> {
        let mut judged = Vec::new();
        // Or the pool says that it will not judge them.
        let lost = input.u8() < 20;
        for _ in 0..1 + input.below(4) {
            if self.waiting.is_empty() {
                break;
            }
            let at = input.below(self.waiting.len());
            let Waiting { key: channel, token, submit, .. } = &self.waiting[at];
            let (channel, token) = (*channel, *token);
            let verdict = if input.bool() && !lost {
                let credit = Difficulty { whole: input.u16().into(), fraction: input.u32() };
                Verdict::Accepted { hash: Hash([1; 32]), credit, block_candidate: false }
            } else {
                Verdict::Rejected(input.pick(RejectReason::ALL))
            };
            if judged.iter().all(|(j, _): &(Judged, _)| (j.channel, j.token) != (channel, token)) {
                let one = Judged { channel, token, submit_id: token + 1, verdict };
                judged.push((one, *submit));
            }
        }
        if judged.is_empty() {
            return None;
        }
        if lost {
            return Some(vec![Event::Unjudged(judged)]);
        }
        Some(judged.into_iter().map(|(judged, _)| Event::Verdict(judged)).collect())
    }

    pub fn update(&self, input: &mut Input<'_>) -> Option<(ChannelKey, u32)> {
        let at = input.below(self.updates.len().max(1));
        self.updates.get(at).map(|(channel, request, _)| (*channel, *request))
    }

    /// New work, on the newest tip or a new one.
    pub fn job(&mut self, input: &mut Input<'_>) -> Arc<Job> {
        self.job_seq += 1;
        if input.u8() < 60 {
            self.tip = self.tip.wrapping_add(1);
        }
        Arc::new(Job {
            id: 1000 + self.job_seq,
            seq: self.job_seq,
            prev_hash: Hash([self.tip; 32]),
            // Half of all hashes are blocks, or hardly any.
            nbits: input.pick(&[0x1d00_ffff, 0x207f_ffff]),
            version: 0x2000_0000,
            version_mask: if input.u8() == 1 { 0 } else { VERSION_ROLLING_MASK },
            min_ntime: NOW,
            max_ntime: input.bool().then_some(NOW + 7200),
            merkle_path: vec![Hash([3; 32]); input.below(3)],
            coinbase_prefix: Bytes::from_static(&[1]),
            coinbase_suffix: Bytes::from_static(&[2]),
            stale_rule: if input.bool() { StaleRule::Strict } else { StaleRule::Host },
            height: 5,
        })
    }

    /// What no pool in its right mind says: it changes nothing.
    pub fn stray(&mut self, input: &mut Input<'_>) -> Event {
        let nobody = ChannelKey::from_wire(self.conn.0 << 24 | 0xff_0000 | u64::from(input.u8()));
        let verdict = Verdict::Rejected(RejectReason::LowDifficulty);
        match input.below(5) {
            0 => Event::Verdict(Judged { channel: nobody, token: 0, submit_id: 1, verdict }),
            1 => Event::Updated { channel: nobody, request: 1, refused: None },
            2 => Event::Target { channel: nobody, target: Target::EASIEST },
            3 => Event::Job { channel: nobody, job: self.job(input) },
            _ => match self.some_key(input) {
                // Judged before, or never submitted.
                Some(channel) => {
                    let token = 1 << 40 | u64::from(input.u8());
                    Event::Verdict(Judged { channel, token, submit_id: 1, verdict })
                }
                None => Event::Updated { channel: nobody, request: 2, refused: None },
            },
        }
    }

    fn chan(&mut self, key: ChannelKey) -> Option<&mut Chan> {
        self.chans.values_mut().find(|chan| chan.key == key)
    }
}
