//! The ring: the carrier for a pool in this process.
//!
//! Two queues and a descriptor between the listener's threads and the pool's. Nothing here calls
//! the pool: it learns from the descriptor that events wait, polls them in batches, and hands
//! verdicts and messages over; each call returns at once. The messages are those of the contract,
//! submits and verdicts in a form of their own. Events for who keeps history go the same way, on
//! streams of their own. Streams come and go as over a socket, numbered, so that what is said on
//! an old one never reaches a newer one.

#[cfg(test)]
mod bound_tests;
mod carrier;
mod echo;
#[cfg(test)]
mod echo_tests;
#[cfg(test)]
mod event_tests;
mod events;
#[cfg(test)]
mod link_tests;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use gopool_sv2_proto::v1;
use prost::Message as _;

pub use carrier::RingCarrier;
pub use echo::{echo, Echo};
pub use events::{RingEvents, RingPublishing};
use state::Shared;

pub use crate::backend::Share;

use crate::backend::convert;
use crate::config::Pool;
use crate::types::{Difficulty, Hash, Verdict};

/// Longest message that the pool may hand over, in bytes: a full batch of the largest jobs.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest answer to events, in bytes. An honest one has less than 100.
pub const ANSWER_BYTES_MAX: usize = 4096;

/// What the pool is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// The stream that it is of, from 1; 0 for what belongs to none.
    pub stream: u32,
    /// What it is.
    pub what: What,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// A share, to be answered with a verdict.
    Submit(Share),
    /// A message, `gopool.sv2.v1.SessionRequest`, to be fetched with [`Host::take`]. The first one
    /// of a stream is its Hello, which wants a Welcome.
    Message(Record),
    /// What happened, `gopool.sv2.v1.PublishRequest`, to be fetched with [`Host::take`] and
    /// answered with [`Host::acknowledge`]. The first one of a stream, which has a number of its
    /// own, is its PublishStart, which wants a PublishReady. The next comes when this one was
    /// fetched.
    Publish(Record),
    /// The stream is over: nothing more comes on it, nor is anything taken. A stream that was over
    /// before any of it was polled is not told of.
    StreamEnded,
    /// What was refused as [`Refused::Full`] has room now.
    Room,
    /// A line of the log, to be fetched with [`Host::take`]: UTF-8 text.
    Log {
        /// How bad it is.
        level: tracing::Level,
        /// The text.
        record: Record,
    },
    /// The listener stopped, as it was told.
    Drained,
    /// The listener failed and is no more. The record says why, as UTF-8 text.
    Fatal(Record),
}

/// Bytes that wait to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its name, never used twice.
    pub id: u64,
    /// Its length in bytes.
    pub length: usize,
}

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another stream has begun, or none is open, or it is not of the kind that takes this.
    #[error("that stream is over")]
    StreamOver,
    /// Too much waits to be read by the listener: [`What::Room`] comes.
    #[error("too much waits: try again after the event that there is room")]
    Full,
    /// Not the message of the contract that was wanted.
    #[error("not a gopool.sv2.v1.{0}: {1}")]
    Undecodable(&'static str, String),
    /// Longer than [`MESSAGE_BYTES_MAX`] or [`ANSWER_BYTES_MAX`], whichever it is.
    #[error("{0} bytes; such a message has {1} at most")]
    TooLong(usize, usize),
}

/// Why a record was not fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// There is none of this name: it was fetched, or its stream is over.
    #[error("no such record: it was taken before, or its stream is over")]
    NoRecord,
    /// The buffer is too short; the record stays.
    #[error("the record has {0} bytes")]
    TooShort(usize),
}

/// The pool's end of the ring. Cheap to clone; any thread.
#[derive(Debug, Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

/// Makes a ring. `max_in_flight`: most submits that wait for a verdict at a time.
///
/// # Errors
/// The system grants no descriptors.
pub fn new(pool: &Pool, max_in_flight: usize) -> io::Result<(Host, RingCarrier)> {
    let shared = Arc::new(Shared::new(max_in_flight)?);
    let host = Host { shared: shared.clone() };
    Ok((host, RingCarrier::new(shared, pool, max_in_flight)))
}

impl Host {
    /// Readable while events wait. Only to be waited for: [`Host::poll`] makes it unreadable.
    #[must_use]
    pub fn readable(&self) -> BorrowedFd<'_> {
        self.shared.readable.as_fd()
    }

    /// Hands over events, at most `most`, in order, and returns how many. Never waits. Events are
    /// lost to who polls from two threads at a time in the sense that their order is.
    pub fn poll(&self, most: usize, take: impl FnMut(&Event)) -> usize {
        self.shared.poll(most, take)
    }

    /// Fetches a record, which is then gone, and returns its length.
    ///
    /// # Errors
    /// See [`TakeError`].
    pub fn take(&self, record: u64, buffer: &mut [u8]) -> Result<usize, TakeError> {
        self.shared.take(record, buffer)
    }

    /// Hands over verdicts by the ids of their submits: all or, with an error, none. Never waits. A
    /// verdict on what is not in flight is logged and changes nothing.
    ///
    /// # Errors
    /// [`Refused::StreamOver`] or [`Refused::Full`].
    pub fn complete(
        &self,
        stream: u32,
        verdicts: impl IntoIterator<Item = (u64, Verdict), IntoIter: ExactSizeIterator>,
    ) -> Result<(), Refused> {
        self.shared.complete(stream, verdicts.into_iter())
    }

    /// Hands over one encoded `gopool.sv2.v1.SessionResponse`. Never waits.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn control(&self, stream: u32, message: &[u8]) -> Result<(), Refused> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Refused::TooLong(message.len(), MESSAGE_BYTES_MAX));
        }
        let decoded = v1::SessionResponse::decode(message)
            .map_err(|error| Refused::Undecodable("SessionResponse", error.to_string()))?;
        match decoded.message {
            Some(decoded) => self.shared.control(stream, decoded, message.len()),
            // What a newer pool says and this one doesn't know.
            None => self.shared.has_room(stream).map(drop).ok_or(Refused::StreamOver),
        }
    }

    /// Hands over one encoded `gopool.sv2.v1.PublishResponse`, on a stream of events. Never waits.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn acknowledge(&self, stream: u32, message: &[u8]) -> Result<(), Refused> {
        if message.len() > ANSWER_BYTES_MAX {
            return Err(Refused::TooLong(message.len(), ANSWER_BYTES_MAX));
        }
        let decoded = v1::PublishResponse::decode(message)
            .map_err(|error| Refused::Undecodable("PublishResponse", error.to_string()))?;
        match decoded.message {
            Some(answer) => self.shared.acknowledge(stream, answer),
            // What a newer pool says and this one doesn't know.
            None => self.shared.can_publish(stream).map(drop).ok_or(Refused::StreamOver),
        }
    }

    /// Ends a stream from the pool's side: the listener begins another.
    ///
    /// # Errors
    /// [`Refused::StreamOver`].
    pub fn hang_up(&self, stream: u32) -> Result<(), Refused> {
        self.shared.hang_up(stream)
    }

    /// Queues a line of the log. When many wait it is dropped, and counted in a later one; after
    /// the last event it is dropped.
    pub fn log(&self, level: tracing::Level, text: String) {
        self.shared.log(level, text);
    }

    /// Queues the last event of a listener that has stopped, unless it has failed before.
    pub fn drained(&self) {
        self.shared.drained();
    }

    /// Queues the last event of a listener that has failed, unless it has stopped before.
    pub fn fatal(&self, text: &str) {
        self.shared.fatal(text);
    }
}

/// The verdict that a pool states with the contract's fields (`gopool.sv2.v1.Verdict`); `None` when
/// `reason` is none of `gopool.sv2.v1.RejectReason`, or there is one and the share is `accepted`.
#[must_use]
pub fn verdict(
    accepted: bool,
    reason: u32,
    hash: [u8; 32],
    credit: Difficulty,
    block_candidate: bool,
) -> Option<Verdict> {
    let reason = v1::RejectReason::try_from(i32::try_from(reason).ok()?).ok()?;
    match (accepted, reason) {
        (true, v1::RejectReason::Unspecified) => {
            Some(Verdict::Accepted { hash: Hash(hash), credit, block_candidate })
        }
        (true, _) => None,
        (false, reason) => Some(Verdict::Rejected(convert::reject_reason(reason))),
    }
}
