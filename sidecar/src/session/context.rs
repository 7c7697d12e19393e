//! What a connection is given.

use std::sync::{Arc, Weak};

use super::Passage;
use crate::backend::ledger::ShareLedger;
use crate::backend::Backend;
use crate::config::Limits;
use crate::noise::Acceptor;
use crate::obs::{Clients, Counts, Hush, Journal};
use crate::types::{ConnId, Seats};

/// Who has connected.
#[derive(Debug)]
pub struct Peer {
    /// Its number here.
    pub conn: ConnId,
    /// Where it comes from.
    pub address: String,
    /// Places for channels, shared with other connections from there.
    pub channels: Seats,
}

/// What every connection shares. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// Answers handshakes.
    pub acceptor: Acceptor,
    /// The way to the pool.
    pub backend: Backend,
    /// The operator's limits.
    pub limits: Limits,
    /// Extensions without which nobody may mine.
    pub required_extensions: Arc<[u16]>,
    /// Who keeps shares, and knows quotes; `None`: no credit goes to payout keys here. It ends with
    /// the link, whatever connections there are still.
    pub ledger: Option<Weak<dyn ShareLedger>>,
    /// The journal of answers.
    pub journal: Journal,
    /// The connections, for those who look.
    pub clients: Clients,
    /// Where everything is counted.
    pub counts: Counts,
    /// What strangers do is not told without end.
    pub strangers: Arc<Hush>,
    /// Where connections without a channel wait before they are answered.
    pub coming: Passage,
    /// Where connections wait that end.
    pub going: Passage,
}
