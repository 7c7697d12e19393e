//! What happened, on its way to who keeps history: numbered events go to sinks, each of which says
//! what it has. At least once, in order, never on the share path.

mod publish;
mod recent;
mod report;
mod wire;

use std::fmt;
use std::future::Future;

use gopool_sv2_proto::v1;
use tokio::sync::watch;

pub use publish::Publisher;
pub use recent::Recent;
pub use report::Reporter;
pub(crate) use wire::{connection_to_wire, kind_to_wire, reject_to_wire};

/// Where events come from: one sequence, numbered from 1 without a gap.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Names the sequence, 16 bytes.
    fn id(&self) -> [u8; 16];

    /// Whether it outlives the process.
    fn is_durable(&self) -> bool;

    /// The number of the newest event; 0: there is none.
    fn newest(&self) -> watch::Receiver<u64>;

    /// The lowest number that can still be read; one more than the newest, when there is none.
    fn oldest(&self) -> impl Future<Output = Result<u64, SourceError>> + Send;

    /// Events behind `after`, in order, at most `max`.
    fn read(
        &self,
        after: u64,
        max: usize,
    ) -> impl Future<Output = Result<Vec<v1::Event>, SourceError>> + Send;

    /// A sink says that it has everything up to `have`, before anything is sent to it. What it
    /// had, now or at an earlier time, when that is more than it can have from here: then nothing
    /// may be sent to it. `None`: events may flow.
    fn overtaken(
        &self,
        _sink: &str,
        have: u64,
    ) -> impl Future<Output = Result<Option<Overtaken>, SourceError>> + Send {
        let newest = *self.newest().borrow();
        async move { Ok((have > newest).then_some(Overtaken { have, newest })) }
    }

    /// A stream to that sink begins, which has everything up to `have`.
    fn begun(&self, _sink: &str, _have: u64) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Up to where that sink is known to have kept everything; 0: nothing is known.
    fn acked_by(&self, _sink: &str) -> impl Future<Output = Result<u64, SourceError>> + Send {
        async { Ok(0) }
    }

    /// That sink has kept everything up to `seq`.
    fn acked(&self, sink: &str, seq: u64) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// A sink has more events than it can have from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overtaken {
    /// The number of its newest, when that was first seen.
    pub have: u64,
    /// The number of the newest here, then.
    pub newest: u64,
}

impl fmt::Display for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { have, newest } = self;
        write!(f, "it has event {have}, and {newest} was the newest here")
    }
}

/// Events can't be read, or what a sink has can't be noted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A way to a sink.
pub trait Way: fmt::Display + Send + Sync + 'static {
    /// An open stream.
    type Stream: Stream;
    /// Why there is none; its text says what to do.
    type Error: fmt::Display + Send;

    /// One try to begin a stream. May be dropped half-way.
    fn begin(
        &self,
        start: v1::PublishStart,
    ) -> impl Future<Output = Result<Self::Stream, Self::Error>> + Send;

    /// Whether that says that nobody there wants events, which is no fault.
    fn takes_none(&self, _error: &Self::Error) -> bool {
        false
    }
}

/// An open stream to a sink.
pub trait Stream: Send {
    /// Hands over a message; false: the stream is over.
    fn send(&mut self, message: v1::PublishRequest) -> impl Future<Output = bool> + Send;

    /// Waits for the next answer; `None`: the sink ended the stream. Cancel-safe.
    fn receive(
        &mut self,
    ) -> impl Future<Output = Result<Option<v1::PublishResponse>, String>> + Send;

    /// Whether the end of the stream said that nobody there wants events, which is no fault.
    fn takes_none(&self) -> bool {
        false
    }
}
