//! The pool, as the sidecar sees it: commands out, events back. Invents no verdict.
//!
//! A connection attaches to a [`Backend`] and gets a [`Port`]: a bounded queue of [`Command`]s that
//! all connections share, and a bounded mailbox of [`Event`]s of its own. Carriers ([`grpc`]) fill
//! and empty them; sessions don't know which carrier runs.

pub(crate) mod carrier;
mod channels;
mod convert;
mod directory;
#[cfg(feature = "grpc")]
pub mod grpc;
mod in_flight;
pub mod ledger;
pub(crate) mod link;
mod mailbox;
mod news;
mod parcel;
pub mod ring;

use std::sync::Arc;

use tokio::sync::mpsc;

#[cfg(test)]
pub(crate) use channels::AtOnce;
#[cfg(test)]
pub(crate) use channels::REVERT;
pub use directory::Directory;
pub use in_flight::{InFlight, Sent};
pub use mailbox::Mailbox;
pub(crate) use news::Accounts;
pub use news::MintNews;
pub(crate) use parcel::Parcel;
pub use parcel::Share;

use self::ledger::{QuoteAnswer, QuoteUnknown};
use crate::types::{
    ChannelKey, ConnId, Connection, Grant, Hash, Job, Kick, OpenRequest, PayoutKey, RefuseReason,
    Submit, Target, TargetLimits, Verdict,
};

/// From a session to the pool. Order is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A miner wants a channel; answered by [`Event::Opened`] or [`Event::Refused`].
    Open {
        /// Our name of the channel.
        channel: ChannelKey,
        /// Who asks.
        connection: Arc<Connection>,
        /// What for.
        request: OpenRequest,
    },
    /// UpdateChannel; answered by [`Event::Updated`].
    Update {
        /// The channel.
        channel: ChannelKey,
        /// Names the update on its channel.
        request: u32,
        /// In H/s.
        nominal_hash_rate: f32,
        /// Easiest target the miner takes.
        max_target: Target,
    },
    /// The channel, or the wish for it, is gone.
    Close {
        /// The channel.
        channel: ChannelKey,
        /// Why, for the pool's logs.
        reason: &'static str,
    },
    /// The miner was told a harder target than the pool wants.
    TargetInEffect {
        /// The channel.
        channel: ChannelKey,
        /// What the pool wanted, as far as the connection had heard.
        wanted: Target,
        /// What it was told.
        target: Target,
    },
    /// A share; answered by [`Event::Verdict`].
    Submit {
        /// The channel.
        channel: ChannelKey,
        /// Comes back with the verdict.
        token: u64,
        /// The life of the pool that the share's job is of; see [`Event::Opened`].
        generation: u64,
        /// The share.
        submit: Submit,
    },
}

/// One verdict on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// The channel.
    pub channel: ChannelKey,
    /// [`Command::Submit`]'s token.
    pub token: u64,
    /// The link's name of the submit.
    pub submit_id: u64,
    /// What the pool says.
    pub verdict: Verdict,
}

/// From the pool to one connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The link to the pool is up.
    LinkUp(TargetLimits),
    /// The pool has been away for too long: nothing that waits will be answered.
    LinkLost,
    /// The channel is open.
    Opened {
        /// The channel.
        channel: ChannelKey,
        /// The life of the pool, to be given with the shares for its jobs: what the pool forgot
        /// when it was restarted can't be judged.
        generation: u64,
        /// What was granted.
        grant: Grant,
        /// The first job.
        job: Arc<Job>,
    },
    /// The channel was not opened.
    Refused {
        /// The channel.
        channel: ChannelKey,
        /// Why.
        reason: RefuseReason,
        /// For logs.
        detail: String,
    },
    /// The pool was restarted, and has the channel again with the same extranonce prefix. Jobs from
    /// before count for nothing.
    Reopened {
        /// The channel.
        channel: ChannelKey,
        /// As in [`Event::Opened`].
        generation: u64,
        /// The target the pool wants.
        target: Target,
        /// The first job.
        job: Arc<Job>,
    },
    /// The pool was restarted and doesn't have the channel again as it was. It is closed there, as
    /// all of its connection are: the miner has to connect anew. Submits that waited are
    /// [`Event::Unjudged`] before.
    Unrestored {
        /// The channel.
        channel: ChannelKey,
    },
    /// Answer to an update.
    Updated {
        /// The channel.
        channel: ChannelKey,
        /// Which update.
        request: u32,
        /// `None`: taken.
        refused: Option<RefuseReason>,
    },
    /// New work.
    Job {
        /// The channel.
        channel: ChannelKey,
        /// The job, shared by the channels it is for.
        job: Arc<Job>,
    },
    /// The pool wants another target.
    Target {
        /// The channel.
        channel: ChannelKey,
        /// The target.
        target: Target,
    },
    /// The verdict on a submit of this connection.
    Verdict(Judged),
    /// Submits that the pool will not judge, each answered as it says.
    Unjudged(Vec<(Judged, Submit)>),
    /// What the node made of a block candidate.
    BlockResult {
        /// The channel.
        channel: ChannelKey,
        /// The block.
        hash: Hash,
        /// 0 when unknown.
        height: u32,
        /// Whether it became part of the node's chain; `None`: nobody knows.
        accepted: Option<bool>,
        /// When it did not, or nobody knows: why.
        detail: String,
    },
    /// The pool sends the miner away; it has closed the channel already.
    Kick {
        /// A channel of the connection.
        channel: ChannelKey,
        /// How.
        kick: Kick,
    },
    /// The answer to whose the quote is that was named with the wish for a channel.
    QuoteFound {
        /// The channel, which the pool does not know yet.
        channel: ChannelKey,
        /// The key that the quote is locked to, or why that is not known.
        found: Result<PayoutKey, QuoteUnknown>,
    },
    /// What a mint made of credit of an account. May be missing: who must know asks the mint.
    MintCredit {
        /// The connection's open channels of the account, at least one.
        channels: Vec<ChannelKey>,
        /// What.
        news: Arc<MintNews>,
    },
}

/// A connection's end of the line to the pool. Dropping it detaches the connection.
#[derive(Debug)]
pub struct Port {
    /// To the pool. Shared by all connections and bounded: when it is full, stop reading from the
    /// miner.
    pub commands: mpsc::Sender<Command>,
    /// From the pool. Ends when the connection was too slow to empty it.
    pub events: Mailbox,
    /// The pool's limits, when the link is up.
    pub limits: Option<TargetLimits>,
    conn: ConnId,
    directory: Directory,
}

impl Port {
    /// Where the answer to whose a quote is goes that the wish for this channel names.
    #[must_use]
    pub fn quote_answer(&self, channel: ChannelKey) -> QuoteAnswer {
        QuoteAnswer::new(channel, self.directory.clone())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.directory.detach(self.conn);
    }
}

/// The way to the pool, whatever carries it. Cheap to clone; any thread.
#[derive(Debug, Clone)]
pub struct Backend {
    commands: mpsc::Sender<Command>,
    directory: Directory,
}

impl Backend {
    /// The way to a pool, and the ends for who carries it: what comes from the connections, and
    /// where events for them go. `queue`: commands that may wait, all connections together.
    pub(crate) fn new(queue: usize) -> (Self, mpsc::Receiver<Command>, Directory) {
        let (commands, receiver) = mpsc::channel(queue);
        let directory = Directory::default();
        (Self { commands, directory: directory.clone() }, receiver, directory)
    }

    /// Attaches a connection. `mailbox`: events that may wait for it; beyond that it is cut off.
    #[must_use]
    pub fn attach(&self, conn: ConnId, mailbox: usize) -> Port {
        let (events, limits) = self.directory.attach(conn, mailbox);
        Port {
            commands: self.commands.clone(),
            events,
            limits,
            conn,
            directory: self.directory.clone(),
        }
    }

    /// Whether the link is up now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.directory.limits().is_some()
    }
}
