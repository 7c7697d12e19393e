//! The link's task: what [`crate::backend::carrier`] does around the link, without a transport.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::stage::{Event, Promise};
use super::wire::{Item, ToPool, ToSidecar};
use super::world::{Limits, World};
use crate::backend::carrier::outage::{Outage, Patience};
use crate::backend::carrier::pump::{PENDING_MAX, RETRY};
use crate::backend::carrier::watchdog::Watchdog;
use crate::backend::link::{Greeting, Life, Link, LATE, MAX_BATCH};
use crate::backend::{AtOnce, Backend, Command, Directory, Parcel};
use crate::obs::Journal;
use crate::types::{Target, TargetLimits};

/// How long a dial may take.
const CONNECT_TIMEOUT: u64 = 1_500;
/// Pauses between tries, shortest and longest.
const BACKOFF: (u64, u64) = (50, 1_000);

enum State {
    Pausing,
    Dialing { stream: u64, given_up: bool, left: Greeting },
    Up(Up),
}

struct Up {
    stream: u64,
    pending: VecDeque<ToPool>,
    begun: u64,
    watchdog: Watchdog,
    written: u64,
    writes: bool,
    /// The pool has said that it is about to stop.
    drains: bool,
}

/// The sidecar's side of the link.
pub(super) struct Carrier {
    pub(super) link: Link,
    pub(super) commands: mpsc::Receiver<Command>,
    directory: Directory,
    outage: Outage,
    /// What waited longest when the stream began.
    oldest: Option<u64>,
    patience: Patience,
    state: State,
    /// Tells one try, and one outage, from the next.
    tries: u64,
    outages: u64,
    wait: u64,
    verdict_timeout: u64,
    /// A turn is on the agenda.
    pub(super) has_turn: bool,
    /// The beginning, as the outage's clock has it.
    start: Instant,
}

impl Carrier {
    pub(super) fn new(limits: &Limits) -> (Backend, Self) {
        let (backend, commands, directory) = Backend::new(limits.queue);
        let start = Instant::now();
        let carrier = Self {
            link: Link::new(limits.in_flight, directory.clone(), Journal::off())
                .asking(AtOnce { opens: 1 + limits.queue % 4, reopens: 1 + limits.queue % 3 }),
            commands,
            directory,
            outage: Outage::of_a_start(start),
            oldest: None,
            patience: Patience {
                grace: Duration::from_millis(limits.grace),
                lost: Duration::from_millis(limits.lost),
            },
            state: State::Pausing,
            tries: 0,
            outages: 0,
            wait: BACKOFF.0,
            verdict_timeout: limits.verdict_timeout,
            has_turn: false,
            start,
        };
        (backend, carrier)
    }

    /// Whether a turn would bring about anything.
    pub(super) fn wants_turn(&self) -> bool {
        !self.commands.is_empty()
            && match &self.state {
                State::Up(up) => up.pending.is_empty() && self.link.room() > 0,
                _ => self.outage.has_given_up(),
            }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }
}

impl World {
    pub(super) fn link_dials(&mut self, tries: u64) {
        if tries != self.carrier.tries || !matches!(self.carrier.state, State::Pausing) {
            return;
        }
        self.dial();
    }

    fn dial(&mut self) {
        let stream = self.wire.open();
        let left = self.carrier.link.greeting();
        let hello = v1::Hello {
            protocol: 1,
            sidecar_id: "edge".into(),
            boot_id: Bytes::from_static(&[1; 16]),
            session_id: Bytes::from_static(&[2; 16]),
            last_epoch: left.last_epoch.clone(),
            max_in_flight: self.limits.in_flight as u32,
            cancelled_submit_ids: left.withdrawn.clone(),
            open_channel_ids: left.open.clone(),
            software: String::new(),
            dial: left.dial,
        };
        let given_up = self.carrier.outage.has_given_up();
        self.carrier.state = State::Dialing { stream, given_up, left };
        self.link_says(stream, ToPool::Hello(hello));
        self.stage.after(CONNECT_TIMEOUT, Event::DialTimeout(stream));
    }

    pub(super) fn dial_timeout(&mut self, late: u64) {
        if matches!(self.carrier.state, State::Dialing { stream, .. } if stream == late) {
            self.wire.leave_sidecar(&mut self.stage, late);
            self.pause();
        }
    }

    fn pause(&mut self) {
        let wait = self.carrier.wait;
        self.carrier.state = State::Pausing;
        self.carrier.tries += 1;
        let jittered = self.stage.between(wait / 2, wait);
        self.stage.after(jittered, Event::Dial(self.carrier.tries));
        self.carrier.wait = (wait * 2).min(BACKOFF.1);
    }

    fn link_says(&mut self, stream: u64, message: ToPool) {
        let bytes = v1::SessionRequest { message: Some(message.clone()) }.encode_to_vec();
        self.stage.trace(format_args!("{stream} -> {}", Brief(&message)), &bytes);
        self.wire.send_to_pool(&mut self.stage, stream, message);
    }

    /// Something arrives at the sidecar.
    pub(super) fn link_hears(&mut self, stream: u64) {
        let full = matches!(&self.carrier.state, State::Up(up) if up.pending.len() >= PENDING_MAX);
        if full {
            return self.stage.after(1, Event::ToSidecar(stream));
        }
        let Some(item) = self.wire.at_sidecar(&mut self.stage, stream) else { return };
        match (&mut self.carrier.state, item) {
            (State::Dialing { stream: ours, left, .. }, item) if *ours == stream => match item {
                Item::Message(ToSidecar::Welcome(welcome)) => {
                    let left = left.clone();
                    self.welcomed(stream, &left, &welcome);
                }
                item => {
                    self.stage.trace(format_args!("{stream} dial failed"), &[]);
                    drop(item);
                    self.wire.leave_sidecar(&mut self.stage, stream);
                    self.pause();
                }
            },
            (State::Up(up), Item::Message(message)) if up.stream == stream => {
                up.drains |= matches!(message, ToSidecar::Drain(_));
                let mut made = Vec::new();
                self.carrier.link.receive(message, &mut made);
                self.carrier.link.ask(&mut made);
                self.link_makes(made);
                self.link_goes_on();
            }
            (State::Up(up), Item::End) if up.stream == stream => self.link_ends("broken", false),
            _ => {}
        }
    }

    fn welcomed(&mut self, stream: u64, before: &Greeting, welcome: &v1::Welcome) {
        let easiest = Target(welcome.easiest_target[..].try_into().unwrap());
        self.carrier.directory.link_up(TargetLimits { easiest, hardest: Target::ZERO });
        let life = Life { epoch: welcome.epoch.clone(), resumed: welcome.resumed };
        let counts = &mut self.stage.counts;
        if life.resumed {
            counts.resumes += 1;
            counts.withdrawn += before.withdrawn.len() as u64;
        }
        self.stage.trace(format_args!("{stream} up, resumed: {}", life.resumed), &[]);
        let mut made = Vec::new();
        self.carrier.oldest = self.carrier.link.waiting_since().0;
        self.carrier.link.welcomed(&life, &mut made);
        self.carrier.wait = BACKOFF.0;
        let begun = self.stage.now;
        let watchdog = Watchdog::begin(&self.carrier.link, !made.is_empty());
        let pending = made.into_iter().map(ToPool::from).collect();
        let up = Up { stream, pending, begun, watchdog, written: 0, writes: false, drains: false };
        self.carrier.state = State::Up(up);
        self.carrier.outages += 1; // the one there was is over
        self.stage.after(self.carrier.verdict_timeout / 2, Event::Look(stream));
        self.stage.after(0, Event::Retry(stream));
        self.link_goes_on();
    }

    /// Something is to go to the pool.
    fn link_makes(&mut self, made: Vec<Parcel>) {
        let State::Up(up) = &mut self.carrier.state else { return };
        for message in made.into_iter().map(ToPool::from) {
            if up.drains && matches!(message, ToPool::OpenChannel(_)) {
                let text = "a pool that is about to stop is asked for a channel".to_owned();
                self.stage.breaks(Promise::Contract, text);
            }
            up.pending.push_back(message);
        }
    }

    /// The top of the pump's loop.
    fn link_goes_on(&mut self) {
        let State::Up(up) = &mut self.carrier.state else { return };
        if up.pending.is_empty() && self.carrier.link.is_drained() {
            self.stage.counts.drained += 1;
            return self.link_ends("drained", false);
        }
        // What arrives in one step and what it makes.
        if up.pending.len() > PENDING_MAX + 2 * MAX_BATCH {
            let text = format!("{} messages wait for the pool", up.pending.len());
            self.stage.breaks(Promise::Bounds, text);
        }
        if !up.pending.is_empty() && !up.writes {
            up.writes = true;
            let (stream, soon) = (up.stream, self.stage.between(0, 3));
            self.stage.after(soon, Event::LinkWrite(stream));
        }
    }

    pub(super) fn link_writes(&mut self, stream: u64) {
        let some = self.stage.between(1, 6);
        let State::Up(up) = &mut self.carrier.state else { return };
        if up.stream != stream {
            return;
        }
        up.writes = false;
        let taken = up.pending.len().min(some as usize);
        let messages: Vec<_> = up.pending.drain(..taken).collect();
        up.written += taken as u64;
        for message in messages {
            self.link_says(stream, message);
        }
        self.link_goes_on();
    }

    fn link_ends(&mut self, why: &str, silent: bool) {
        let State::Up(Up { stream, .. }) = self.carrier.state else { return };
        self.stage.trace(format_args!("{stream} {why}"), &[]);
        self.wire.leave_sidecar(&mut self.stage, stream);
        let now = self.carrier.start + Duration::from_millis(self.stage.now);
        self.carrier.link.cut();
        let oldest = (self.carrier.oldest, self.carrier.link.waiting_since().0);
        self.carrier.outage.begins_unless_it_goes_on(oldest, self.carrier.patience, now);
        self.carrier.outages += 1;
        if silent {
            self.stage.counts.silent += 1;
            self.carrier.outage.give_up(&mut self.carrier.link);
        }
        self.note_deadline();
        self.pause();
    }

    fn note_deadline(&mut self) {
        let Some(deadline) = self.carrier.outage.deadline() else { return };
        let when = deadline.duration_since(self.carrier.start).as_millis() as u64;
        self.stage.at(when, Event::OutageDue(self.carrier.outages));
    }

    /// The outage takes its course.
    pub(super) fn outage_due(&mut self, outage: u64) {
        if outage != self.carrier.outages || self.carrier.is_up() {
            return;
        }
        let was = self.carrier.outage.has_given_up();
        self.carrier.outage.due(&mut self.carrier.link);
        self.stage.trace(format_args!("patience ends, given up before: {was}"), &[]);
        self.stage.counts.given_up += u64::from(!was);
        self.carrier.outages += 1;
        self.note_deadline();
        self.dial_anew();
    }

    /// What is given up while a Hello is under way was not told in it.
    fn dial_anew(&mut self) {
        if let State::Dialing { stream, given_up, .. } = self.carrier.state {
            if given_up != self.carrier.outage.has_given_up() {
                self.wire.leave_sidecar(&mut self.stage, stream);
                self.dial();
            }
        }
    }

    /// The link's task takes commands.
    pub(super) fn link_turn(&mut self) {
        self.carrier.has_turn = false;
        let Carrier { link, commands, state, outage, .. } = &mut self.carrier;
        match state {
            State::Up(up) => {
                let room = if up.pending.is_empty() { link.room() } else { 0 };
                let batch: Vec<_> =
                    std::iter::from_fn(|| commands.try_recv().ok()).take(room).collect();
                let mut made = Vec::new();
                link.send(batch.into_iter(), &mut made);
                self.link_makes(made);
                self.link_goes_on();
            }
            _ if outage.has_given_up() => {
                if let Ok(command) = commands.try_recv() {
                    link.refuse(command);
                }
            }
            _ => {}
        }
    }

    pub(super) fn link_looks(&mut self, stream: u64) {
        let State::Up(up) = &mut self.carrier.state else { return };
        if up.stream != stream {
            return;
        }
        if up.watchdog.bites(&self.carrier.link, !up.pending.is_empty(), up.written) {
            return self.link_ends("silent", true);
        }
        let mut made = Vec::new();
        self.carrier.link.look_at_opens(&mut made);
        for parcel in &made {
            if let Parcel::Message(ToPool::CloseChannel(close)) = parcel {
                let opens = close.reason == LATE;
                self.stage.counts.opens_late += u64::from(opens);
                self.stage.counts.reopens_late += u64::from(!opens);
            }
        }
        self.link_makes(made);
        self.link_goes_on();
        self.stage.after(self.carrier.verdict_timeout / 2, Event::Look(stream));
    }

    pub(super) fn link_retries(&mut self, stream: u64) {
        let State::Up(up) = &mut self.carrier.state else { return };
        if up.stream != stream {
            return;
        }
        if self.carrier.link.is_reopening() {
            let away = Duration::from_millis(self.stage.now - up.begun);
            let mut made = Vec::new();
            self.carrier.link.retry(away >= self.carrier.patience.lost, &mut made);
            self.link_makes(made);
        }
        self.stage.after(RETRY.as_millis() as u64, Event::Retry(stream));
        self.link_goes_on();
    }
}

/// A message for the pool in a few words.
struct Brief<'a>(&'a ToPool);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ToPool::Hello(m) => {
                let (open, gone) = (m.open_channel_ids.len(), &m.cancelled_submit_ids);
                write!(f, "Hello open {open} cancelled {gone:?}")
            }
            ToPool::SubmitBatch(m) => {
                let ids: Vec<_> = m.submits.iter().map(|s| (s.id, s.nonce)).collect();
                write!(f, "Submit {ids:?}")
            }
            ToPool::OpenChannel(m) => write!(f, "Open {:x} again {}", m.channel_id, m.reopen),
            ToPool::CloseChannel(m) => write!(f, "Close {:x} {}", m.channel_id, m.reason),
            ToPool::UpdateChannel(m) => {
                let top = m.max_target.last();
                write!(f, "Update {:x} {} {top:02x?}", m.channel_id, m.request_id)
            }
            ToPool::TargetInEffect(m) => {
                write!(f, "InEffect {:x} {:02x?}", m.channel_id, m.target.last())
            }
            other => write!(f, "{other:?}"),
        }
    }
}
