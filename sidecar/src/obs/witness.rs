//! Who is told what happens, so that somebody can keep history.

use std::fmt;

use bytes::Bytes;

use super::clients::ChannelBook;
use super::totals::Totals;
use crate::types::{ChannelKey, Connection, Hash};

/// Is told what happens, by the tasks of the connections and of the link. It must not wait. Never
/// told of single shares, unless they are blocks.
pub trait Witness: fmt::Debug + Send + Sync {
    /// A miner finished SetupConnection; again with the extensions that it agreed on since, and
    /// when all that is open is told anew.
    fn connection_opened(&self, connection: &Connection);

    /// A connection ended that had finished SetupConnection, after all of its channels.
    fn connection_closed(&self, closed: Closed<'_>);

    /// A channel is open. Told again when all that is open is told anew.
    fn channel_started(&self, book: &ChannelBook);

    /// What a channel, or a worker on it, did since the last time.
    fn totals(&self, book: &ChannelBook, totals: Totals);

    /// A channel is gone, after its last totals. `reason`: printable ASCII.
    fn channel_ended(&self, channel: ChannelKey, reason: &str);

    /// A share was a block candidate, or what became of one.
    fn block(&self, block: Block<'_>);
}

/// A connection that ended.
#[derive(Debug, Clone, Copy)]
pub struct Closed<'a> {
    /// Its number.
    pub id: u64,
    /// Why, from [`super::counts::CAUSES`].
    pub cause: &'a str,
    /// Bytes read from it behind the handshake, encrypted.
    pub bytes_in: u64,
    /// Bytes written to it behind the handshake, encrypted.
    pub bytes_out: u64,
}

/// A block candidate, or what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The channel that found it.
    pub channel: ChannelKey,
    /// The block.
    pub hash: Hash,
    /// 0 when unknown.
    pub height: u32,
    /// What the node said; `None`: nothing yet, or nobody knows.
    pub accepted: Option<bool>,
    /// The node's words, or why nobody knows.
    pub detail: &'a str,
    /// The worker that the share named; empty: none, or unknown here.
    pub worker: &'a Bytes,
}
