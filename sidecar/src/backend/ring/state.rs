//! What both ends of the ring share, behind one lock that is held for moments.

mod publish;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gopool_sv2_proto::v1;
use prost::Message as _;
use tokio::sync::Notify;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::{Event, Record, Refused, TakeError, What};
use crate::backend::carrier::Received;
use crate::backend::{Parcel, Share};
use crate::types::Verdict;
use publish::Publishing;

/// Events and unfetched records beyond which nothing more is taken from the miners.
const EVENTS_MAX: usize = 4096;
/// The same in bytes of records.
const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages of the pool that may wait for the listener.
const MESSAGES_MAX: usize = 4096;
/// The same in bytes.
const MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// Lines of the log that may wait, to be polled or to be taken.
const LOGS_MAX: usize = 1024;

/// Events of no stream.
const NO_STREAM: u32 = 0;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Somebody may send, or the stream is over.
    pub(super) room: Notify,
    /// Something has come, or the stream is over.
    pub(super) came: Notify,
    /// A message of events was taken or answered, or their stream is over.
    pub(super) published: Notify,
    pub(super) readable: UnixStream,
    pub(super) signal: UnixStream,
    verdicts_max: usize,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    records: BTreeMap<u64, (u32, Vec<u8>)>,
    record_bytes: usize,
    /// Records of no stream: lines of the log, and a last word.
    lines: BTreeMap<u64, Vec<u8>>,
    last_record: u64,
    /// Lines of the log among the events.
    logs: usize,
    logs_dropped: u64,
    /// The last number of a stream that was given.
    last_stream: u32,
    /// The newest stream of work; open: neither side has ended it. said_all: the listener has no
    /// more to say on it, and the pool was told.
    stream: u32,
    open: bool,
    said_all: bool,
    /// The pool has polled an event of the newest stream.
    seen: bool,
    /// The last event was queued.
    over: bool,
    arrived: VecDeque<Arrived>,
    /// Messages among what has arrived, and their bytes.
    messages: usize,
    bytes: usize,
    /// Those of all that has arrived, in order.
    verdicts: VecDeque<(u64, Verdict)>,
    wants_room: bool,
    publishing: Publishing,
    /// A byte waits in `readable`.
    signalled: bool,
}

/// What the pool has handed over.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once, and few wait at a time")]
enum Arrived {
    /// So many verdicts.
    Verdicts(usize),
    /// A message, and the length that it came with.
    Message(FromPool, usize),
}

impl Shared {
    pub(super) fn new(max_in_flight: usize) -> io::Result<Self> {
        let (readable, signal) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        signal.set_nonblocking(true)?;
        Ok(Self {
            state: Mutex::default(),
            room: Notify::new(),
            came: Notify::new(),
            published: Notify::new(),
            readable,
            signal,
            verdicts_max: 2 * max_in_flight,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the descriptor say what is so.
    fn tell(&self, state: &mut State) {
        if state.events.is_empty() == state.signalled {
            state.signalled = !state.signalled;
            // One byte at a time fits; who reads it without our leave only wakes once too often.
            let _ = match state.signalled {
                true => (&self.signal).write(&[1]),
                false => (&self.readable).read(&mut [0]),
            };
        }
    }

    // The pool's end.

    pub(super) fn poll(&self, most: usize, mut take: impl FnMut(&Event)) -> usize {
        let mut state = self.lock();
        let count = most.min(state.events.len());
        let (mut lines, mut work, mut events) = (0, false, false);
        let (of_work, of_events) = (state.stream, state.publishing.stream());
        for event in state.events.range(..count) {
            lines += usize::from(matches!(event.what, What::Log { .. }));
            work |= event.stream == of_work;
            events |= event.stream == of_events;
            take(event);
        }
        state.events.drain(..count);
        state.logs -= lines;
        state.seen |= work;
        state.publishing.seen |= events;
        self.tell(&mut state);
        let has_room = state.has_room();
        drop(state);
        if has_room {
            self.room.notify_one();
        }
        count
    }

    pub(super) fn take(&self, record: u64, buffer: &mut [u8]) -> Result<usize, TakeError> {
        let mut state = self.lock();
        let of_stream = state.records.get(&record).map(|(_, bytes)| bytes);
        let of_none = state.lines.get(&record).or_else(|| state.publishing.record(record));
        let bytes = of_stream.or(of_none).ok_or(TakeError::NoRecord)?;
        let length = bytes.len();
        buffer.get_mut(..length).ok_or(TakeError::TooShort(length))?.copy_from_slice(bytes);
        state.forget(record);
        let of_events = state.publishing.forget(record);
        let has_room = state.has_room();
        drop(state);
        if of_events {
            self.published.notify_one();
        }
        if has_room {
            self.room.notify_one();
        }
        Ok(length)
    }

    pub(super) fn complete(
        &self,
        stream: u32,
        verdicts: impl ExactSizeIterator<Item = (u64, Verdict)>,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        state.takes(stream)?;
        let count = verdicts.len();
        if count == 0 {
            return Ok(());
        }
        // Who has nothing waiting may hand over any number.
        if !state.verdicts.is_empty() && state.verdicts.len() + count > self.verdicts_max {
            state.wants_room = true;
            return Err(Refused::Full);
        }
        state.verdicts.extend(verdicts);
        match state.arrived.back_mut() {
            Some(Arrived::Verdicts(before)) => *before += count,
            _ => state.arrived.push_back(Arrived::Verdicts(count)),
        }
        drop(state);
        self.came.notify_one();
        Ok(())
    }

    pub(super) fn control(
        &self,
        stream: u32,
        message: FromPool,
        bytes: usize,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        state.takes(stream)?;
        let full = state.messages >= MESSAGES_MAX || state.bytes + bytes > MESSAGE_BYTES;
        if full && !state.arrived.is_empty() {
            state.wants_room = true;
            return Err(Refused::Full);
        }
        (state.messages, state.bytes) = (state.messages + 1, state.bytes + bytes);
        state.arrived.push_back(Arrived::Message(message, bytes));
        drop(state);
        self.came.notify_one();
        Ok(())
    }

    pub(super) fn hang_up(&self, stream: u32) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.publishing.is(stream) {
            self.end_publishing(&mut state);
            return Ok(());
        }
        state.takes(stream)?;
        self.end(&mut state);
        Ok(())
    }

    // The listener's end.

    /// Begins another stream; the one before is over. Its Hello comes first.
    pub(super) fn begin(&self, hello: v1::Hello) -> u32 {
        let mut state = self.lock();
        if state.open {
            self.end(&mut state);
        }
        let stream = state.next_stream();
        state.stream = stream;
        if state.over {
            return stream;
        }
        (state.open, state.said_all, state.seen) = (true, false, false);
        state.message(stream, ToPool::Hello(hello));
        self.tell(&mut state);
        stream
    }

    /// Ends a stream, if it still is.
    pub(super) fn finish(&self, stream: u32) {
        let mut state = self.lock();
        if state.stream == stream && state.open {
            self.end(&mut state);
        }
    }

    /// Says that nothing more comes on a stream, behind what was said: the pool ends it then.
    pub(super) fn say_no_more(&self, stream: u32) {
        let mut state = self.lock();
        if state.takes(stream).is_ok() && !state.said_all {
            state.said_all = true;
            state.events.push_back(Event { stream, what: What::StreamEnded });
            self.tell(&mut state);
        }
    }

    /// Ends the stream that is open. What of it the pool has not polled it will not see; nor the
    /// end of a stream of which it saw nothing: streams that nobody polls must not pile up.
    fn end(&self, state: &mut State) {
        state.open = false;
        let stream = state.stream;
        let (said_all, seen) = (state.said_all, state.seen);
        let farewell = |event: &Event| said_all && seen && event.what == What::StreamEnded;
        state.events.retain(|event| event.stream != stream || farewell(event));
        let records: Vec<u64> =
            state.records.iter().filter(|(_, (of, _))| *of == stream).map(|(id, _)| *id).collect();
        for id in records {
            state.forget(id);
        }
        state.arrived.clear();
        state.verdicts.clear();
        (state.messages, state.bytes, state.wants_room) = (0, 0, false);
        if seen && !said_all {
            state.events.push_back(Event { stream, what: What::StreamEnded });
        }
        self.tell(state);
        self.room.notify_one();
        self.came.notify_one();
    }

    /// Whether there is room for one message; `None`: the stream is over.
    pub(super) fn has_room(&self, stream: u32) -> Option<bool> {
        let state = self.lock();
        (state.stream == stream && state.open).then(|| state.has_room())
    }

    /// Gives back the memory of shares.
    pub(super) fn send(&self, stream: u32, parcel: Parcel) -> Option<Vec<Share>> {
        let mut state = self.lock();
        let takes = state.takes(stream).is_ok();
        let spare = match parcel {
            Parcel::Shares(shares) => {
                if takes {
                    let submits = shares.iter();
                    state.events.extend(submits.map(|s| Event { stream, what: What::Submit(*s) }));
                }
                Some(shares)
            }
            Parcel::Message(message) => {
                if takes {
                    state.message(stream, message);
                }
                None
            }
        };
        if takes {
            self.tell(&mut state);
        }
        spare
    }

    /// What has come; verdicts into the memory of `spare`. The error says that the stream is over.
    pub(super) fn receive(
        &self,
        stream: u32,
        spare: &mut Vec<(u64, Verdict)>,
    ) -> Result<Option<Received>, ()> {
        let mut state = self.lock();
        state.takes(stream).map_err(drop)?;
        let received = match state.arrived.pop_front() {
            Some(Arrived::Verdicts(count)) => {
                let mut verdicts = std::mem::take(spare);
                verdicts.clear();
                let count = count.min(state.verdicts.len());
                verdicts.extend(state.verdicts.drain(..count));
                Some(Received::Verdicts(verdicts))
            }
            Some(Arrived::Message(message, bytes)) => {
                (state.messages, state.bytes) = (state.messages - 1, state.bytes - bytes);
                Some(Received::Message(message))
            }
            None => None,
        };
        let emptier = state.messages <= MESSAGES_MAX / 2
            && state.bytes <= MESSAGE_BYTES / 2
            && state.verdicts.len() <= self.verdicts_max / 2;
        if state.wants_room && emptier {
            state.wants_room = false;
            state.events.push_back(Event { stream, what: What::Room });
            self.tell(&mut state);
        }
        Ok(received)
    }

    pub(super) fn log(&self, level: tracing::Level, mut text: String) {
        let mut state = self.lock();
        if state.over {
            return;
        }
        if state.logs.max(state.lines.len()) >= LOGS_MAX {
            state.logs_dropped += 1;
            return;
        }
        if state.logs_dropped > 0 {
            text.push_str(&format!(" ({} lines before this were dropped)", state.logs_dropped));
            state.logs_dropped = 0;
        }
        state.logs += 1;
        let record = state.line(text);
        state.events.push_back(Event { stream: NO_STREAM, what: What::Log { level, record } });
        self.tell(&mut state);
    }

    /// Ends what stream there is and queues the last event behind it, unless there is one.
    fn last(&self, what: impl FnOnce(&mut State) -> What) {
        let mut state = self.lock();
        if state.over {
            return;
        }
        if state.open {
            self.end(&mut state);
        }
        self.end_publishing(&mut state);
        state.over = true;
        let what = what(&mut state);
        state.events.push_back(Event { stream: NO_STREAM, what });
        self.tell(&mut state);
    }

    pub(super) fn drained(&self) {
        self.last(|_| What::Drained);
    }

    pub(super) fn fatal(&self, text: &str) {
        self.last(|state| What::Fatal(state.line(text.to_owned())));
    }
}

impl State {
    fn takes(&self, stream: u32) -> Result<(), Refused> {
        let takes = self.open && self.stream == stream;
        takes.then_some(()).ok_or(Refused::StreamOver)
    }

    fn has_room(&self) -> bool {
        // Lines of the log have their own bound.
        let events = self.events.len() - self.logs;
        events + self.records.len() < EVENTS_MAX && self.record_bytes < RECORD_BYTES_MAX
    }

    fn message(&mut self, stream: u32, message: ToPool) {
        let bytes = v1::SessionRequest { message: Some(message) }.encode_to_vec();
        let record = self.record(stream, bytes);
        self.events.push_back(Event { stream, what: What::Message(record) });
    }

    fn record(&mut self, stream: u32, bytes: Vec<u8>) -> Record {
        let record = self.next_record(bytes.len());
        self.record_bytes += bytes.len();
        self.records.insert(record.id, (stream, bytes));
        record
    }

    fn line(&mut self, text: String) -> Record {
        let record = self.next_record(text.len());
        self.lines.insert(record.id, text.into_bytes());
        record
    }

    fn next_stream(&mut self) -> u32 {
        self.last_stream += 1;
        self.last_stream
    }

    fn next_record(&mut self, length: usize) -> Record {
        self.last_record += 1;
        Record { id: self.last_record, length }
    }

    fn forget(&mut self, record: u64) {
        self.lines.remove(&record);
        if let Some((_, bytes)) = self.records.remove(&record) {
            self.record_bytes -= bytes.len();
        }
    }
}
