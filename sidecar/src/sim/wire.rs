//! The streams between sidecar and pool. Messages arrive in order, or the stream breaks; of what
//! was under way then, all is lost from some point on.

use std::collections::{BTreeMap, VecDeque};

use gopool_sv2_proto::v1::{session_request, session_response};

use super::stage::{Event, Stage};

pub(super) type ToPool = session_request::Message;
pub(super) type ToSidecar = session_response::Message;

/// What comes out of a stream.
#[derive(Debug)]
pub(super) enum Item<M> {
    Message(M),
    /// It is over.
    End,
}

/// One direction of a stream.
#[derive(Debug)]
struct Pipe<M> {
    queue: VecDeque<(u64, Item<M>)>,
    /// When the newest arrives.
    last: u64,
    /// Nothing goes in any more.
    broken: bool,
}

impl<M> Pipe<M> {
    fn new() -> Self {
        Self { queue: VecDeque::new(), last: 0, broken: false }
    }

    fn put(&mut self, when: u64, item: Item<M>) -> u64 {
        self.last = self.last.max(when);
        self.queue.push_back((self.last, item));
        self.last
    }

    fn cut(&mut self, keep: usize) {
        self.queue.truncate(keep);
        self.broken = true;
    }
}

struct Stream {
    to_pool: Pipe<ToPool>,
    to_sidecar: Pipe<ToSidecar>,
}

/// All streams.
#[derive(Default)]
pub(super) struct Wire {
    streams: BTreeMap<u64, Stream>,
    made: u64,
    /// Nothing arrives before.
    pub(super) parted_until: u64,
    /// Most milliseconds a message takes.
    pub(super) slowest: u64,
}

impl Wire {
    pub(super) fn open(&mut self) -> u64 {
        self.made += 1;
        self.streams.insert(self.made, Stream { to_pool: Pipe::new(), to_sidecar: Pipe::new() });
        self.made
    }

    pub(super) fn open_streams(&self) -> Vec<u64> {
        self.streams.keys().copied().collect()
    }

    fn arrival(&self, stage: &mut Stage) -> u64 {
        let most = self.slowest.max(1);
        stage.now + stage.between(0, most)
    }

    pub(super) fn send_to_pool(&mut self, stage: &mut Stage, stream: u64, message: ToPool) {
        let when = self.arrival(stage);
        let Some(pipe) = self.streams.get_mut(&stream).map(|s| &mut s.to_pool) else { return };
        if !pipe.broken {
            let when = pipe.put(when, Item::Message(message));
            stage.at(when, Event::ToPool(stream));
        }
    }

    pub(super) fn send_to_sidecar(&mut self, stage: &mut Stage, stream: u64, message: ToSidecar) {
        let when = self.arrival(stage);
        let Some(pipe) = self.streams.get_mut(&stream).map(|s| &mut s.to_sidecar) else { return };
        if !pipe.broken {
            let when = pipe.put(when, Item::Message(message));
            stage.at(when, Event::ToSidecar(stream));
        }
    }

    /// What arrives now; `None` when the event was for what is lost, or nothing arrives at all.
    pub(super) fn at_pool(&mut self, stage: &mut Stage, stream: u64) -> Option<Item<ToPool>> {
        let parted_until = self.parted_until;
        let pipe = &mut self.streams.get_mut(&stream)?.to_pool;
        pop(pipe, stage, parted_until, Event::ToPool(stream))
    }

    /// As [`Wire::at_pool`].
    pub(super) fn at_sidecar(&mut self, stage: &mut Stage, stream: u64) -> Option<Item<ToSidecar>> {
        let parted_until = self.parted_until;
        let pipe = &mut self.streams.get_mut(&stream)?.to_sidecar;
        pop(pipe, stage, parted_until, Event::ToSidecar(stream))
    }

    /// The stream breaks; each end learns of it in its own time.
    pub(super) fn break_stream(&mut self, stage: &mut Stage, stream: u64) {
        self.end_to_pool(stage, stream);
        self.end_to_sidecar(stage, stream);
    }

    /// Nothing gets through until both transports notice.
    pub(super) fn lose_stream(&mut self, stage: &mut Stage, stream: u64) {
        let noticed = (stage.between(900, 1_900), stage.between(900, 1_900));
        let Some(Stream { to_pool, to_sidecar }) = self.streams.get_mut(&stream) else { return };
        if !to_pool.broken {
            to_pool.cut(0);
            let when = to_pool.put(stage.now + noticed.0, Item::End);
            stage.at(when, Event::ToPool(stream));
        }
        if !to_sidecar.broken {
            to_sidecar.cut(0);
            let when = to_sidecar.put(stage.now + noticed.1, Item::End);
            stage.at(when, Event::ToSidecar(stream));
        }
    }

    /// The sidecar leaves a stream: it hears nothing more of it.
    pub(super) fn leave_sidecar(&mut self, stage: &mut Stage, stream: u64) {
        if let Some(streams) = self.streams.get_mut(&stream) {
            streams.to_sidecar.cut(0);
        }
        self.end_to_pool(stage, stream);
    }

    /// The pool leaves a stream. What had arrived by then, of the messages under way.
    pub(super) fn leave_pool(&mut self, stage: &mut Stage, stream: u64) -> Vec<ToPool> {
        self.end_to_sidecar(stage, stream);
        let Some(pipe) = self.streams.get_mut(&stream).map(|s| &mut s.to_pool) else {
            return Vec::new();
        };
        let here = stage.between(0, pipe.queue.len() as u64) as usize;
        let arrived = pipe.queue.drain(..).take(here);
        let arrived = arrived.filter_map(|(_, item)| match item {
            Item::Message(message) => Some(message),
            Item::End => None,
        });
        let arrived = arrived.collect();
        pipe.cut(0);
        arrived
    }

    fn end_to_pool(&mut self, stage: &mut Stage, stream: u64) {
        let Some(pipe) = self.streams.get_mut(&stream).map(|s| &mut s.to_pool) else { return };
        if end(pipe, stage) {
            stage.at(pipe.last, Event::ToPool(stream));
        }
    }

    fn end_to_sidecar(&mut self, stage: &mut Stage, stream: u64) {
        let Some(pipe) = self.streams.get_mut(&stream).map(|s| &mut s.to_sidecar) else { return };
        if end(pipe, stage) {
            stage.at(pipe.last, Event::ToSidecar(stream));
        }
    }

    /// Forgets streams that are over on both ends.
    pub(super) fn tidy(&mut self) {
        self.streams.retain(|_, s| {
            let over = |broken: bool, left: usize| broken && left == 0;
            !over(s.to_pool.broken, s.to_pool.queue.len())
                || !over(s.to_sidecar.broken, s.to_sidecar.queue.len())
        });
    }
}

fn end<M>(pipe: &mut Pipe<M>, stage: &mut Stage) -> bool {
    if pipe.broken {
        return false;
    }
    let keep = stage.between(0, pipe.queue.len() as u64) as usize;
    pipe.cut(keep);
    let noticed = if stage.chance(70) { stage.between(0, 20) } else { stage.between(0, 1_500) };
    pipe.put(stage.now + noticed, Item::End);
    true
}

fn pop<M>(
    pipe: &mut Pipe<M>,
    stage: &mut Stage,
    parted_until: u64,
    again: Event,
) -> Option<Item<M>> {
    let (when, _) = pipe.queue.front()?;
    if *when > stage.now {
        return None;
    }
    if parted_until > stage.now && matches!(pipe.queue.front(), Some((_, Item::Message(_)))) {
        stage.at(parted_until, again);
        return None;
    }
    pipe.queue.pop_front().map(|(_, item)| item)
}
