//! The stream of events to the pool: one message that waits to be taken, and the pool's answers.

use std::collections::VecDeque;

use gopool_sv2_proto::v1;
use prost::Message as _;
use v1::publish_response::Message as FromSink;

use super::{Shared, State};
use crate::backend::ring::{Event, Record, Refused, What};

/// Answers that may wait for the listener. Acks in a row count as one: the newest says it all, and
/// the listener may be waiting for the pool to take a message before it reads the next.
const ANSWERS_MAX: usize = 64;

/// The newest stream of events.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    stream: u32,
    open: bool,
    /// The pool has polled an event of it.
    pub(super) seen: bool,
    /// What waits to be taken: nothing follows before it was.
    message: Option<(u64, Vec<u8>)>,
    answers: VecDeque<FromSink>,
    wants_room: bool,
    /// The stream ended before the pool took its first message.
    unheard: bool,
    taken: bool,
}

impl Publishing {
    pub(super) const fn is(&self, stream: u32) -> bool {
        self.open && self.stream == stream
    }

    pub(super) const fn stream(&self) -> u32 {
        self.stream
    }

    /// The bytes of a record, if it is this stream's.
    pub(super) fn record(&self, id: u64) -> Option<&Vec<u8>> {
        self.message.as_ref().filter(|(of, _)| *of == id).map(|(_, bytes)| bytes)
    }

    /// Forgets a record; whether it was this stream's.
    pub(super) fn forget(&mut self, id: u64) -> bool {
        let taken = self.message.take_if(|(of, _)| *of == id).is_some();
        self.taken |= taken;
        taken
    }
}

impl Shared {
    // The pool's end.

    pub(in crate::backend::ring) fn acknowledge(
        &self,
        stream: u32,
        answer: FromSink,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        let publishing = &mut state.publishing;
        if !publishing.is(stream) {
            return Err(Refused::StreamOver);
        }
        if let (Some(FromSink::Ack(last)), FromSink::Ack(ack)) =
            (publishing.answers.back_mut(), &answer)
        {
            // One that goes back stays, for the listener to see.
            if ack.seq >= last.seq {
                last.seq = ack.seq;
                return Ok(());
            }
        }
        if publishing.answers.len() >= ANSWERS_MAX {
            publishing.wants_room = true;
            return Err(Refused::Full);
        }
        publishing.answers.push_back(answer);
        drop(state);
        self.published.notify_one();
        Ok(())
    }

    // The listener's end.

    /// Begins another stream of events; the one before is over.
    pub(in crate::backend::ring) fn begin_publishing(&self) -> u32 {
        let mut state = self.lock();
        self.end_publishing(&mut state);
        let stream = state.next_stream();
        state.publishing = Publishing { stream, open: !state.over, ..Publishing::default() };
        stream
    }

    /// Whether the last message was taken; `None`: the stream is over.
    pub(in crate::backend::ring) fn can_publish(&self, stream: u32) -> Option<bool> {
        let state = self.lock();
        state.publishing.is(stream).then(|| state.publishing.message.is_none())
    }

    /// Hands over a message, in the place of one that was not taken.
    pub(in crate::backend::ring) fn publish(&self, stream: u32, request: &v1::PublishRequest) {
        let mut state = self.lock();
        if !state.publishing.is(stream) {
            return;
        }
        let bytes = request.encode_to_vec();
        let record: Record = state.next_record(bytes.len());
        state.publishing.message = Some((record.id, bytes));
        state.events.push_back(Event { stream, what: What::Publish(record) });
        self.tell(&mut state);
    }

    /// What the pool has answered; the error says that the stream is over, and whether the pool
    /// ended it without having taken anything.
    pub(in crate::backend::ring) fn answer(&self, stream: u32) -> Result<Option<FromSink>, bool> {
        let mut state = self.lock();
        let publishing = &mut state.publishing;
        if !publishing.is(stream) {
            return Err(publishing.stream == stream && publishing.unheard);
        }
        let answer = publishing.answers.pop_front();
        if publishing.wants_room && publishing.answers.len() <= ANSWERS_MAX / 2 {
            publishing.wants_room = false;
            state.events.push_back(Event { stream, what: What::Room });
            self.tell(&mut state);
        }
        Ok(answer)
    }

    /// Ends a stream of events, if it still is.
    pub(in crate::backend::ring) fn finish_publishing(&self, stream: u32) {
        let mut state = self.lock();
        if state.publishing.is(stream) {
            self.end_publishing(&mut state);
        }
    }

    /// Ends the stream that is open, if one is. What of it the pool has not polled it will not see;
    /// nor the end of a stream of which it saw nothing.
    pub(super) fn end_publishing(&self, state: &mut State) {
        if !std::mem::take(&mut state.publishing.open) {
            return;
        }
        let Publishing { stream, seen, taken, .. } = state.publishing;
        let unheard = seen && !taken;
        state.publishing = Publishing { stream, unheard, ..Publishing::default() };
        state.events.retain(|event| event.stream != stream);
        if seen {
            state.events.push_back(Event { stream, what: What::StreamEnded });
        }
        self.tell(state);
        self.published.notify_one();
    }
}
