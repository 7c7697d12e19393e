//! Who is connected and what each channel has done, for whoever looks from outside.
//!
//! Each connection writes into its own entry, with atomics; the list of entries is locked when one
//! comes or goes, and by who reads it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counts::{Count, Counts};
use super::witness::{Closed, Witness};
use crate::sys::unix_millis;
use crate::types::{ConnId, Connection, Kind};

mod book;

pub use book::{difficulty_of, ChannelBook, ChannelFacts, OpenChannel};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections whose handshake is done. Cheap to clone; clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    list: Arc<Mutex<BTreeMap<u64, Arc<Client>>>>,
    counts: Counts,
}

impl Clients {
    /// An empty list. `counts`: where what its connections do is counted, too.
    #[must_use]
    pub fn new(counts: Counts) -> Self {
        Self { list: Arc::default(), counts }
    }

    /// Takes a connection in until what is returned is dropped. `address`: "address:port" of the
    /// peer; `connected_ms`: milliseconds since the epoch.
    #[must_use]
    pub fn enter(&self, conn: ConnId, address: String, connected_ms: i64) -> Presence {
        let client = Arc::new(Client {
            id: conn.0,
            address,
            connected_ms,
            active_ms: AtomicI64::new(connected_ms),
            bytes_in: Count::default(),
            bytes_out: Count::default(),
            setup: Mutex::default(),
            closed: AtomicBool::new(false),
            channels: Mutex::default(),
        });
        lock(&self.list).insert(conn.0, Arc::clone(&client));
        Presence(Arc::new(Entered { client, clients: self.clone() }))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.list).len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        lock(&self.list).is_empty()
    }

    /// At most `limit` of them in the order in which they came, after the first `offset`.
    #[must_use]
    pub fn page(&self, offset: usize, limit: usize) -> Vec<Arc<Client>> {
        lock(&self.list).values().skip(offset).take(limit).map(Arc::clone).collect()
    }

    /// At most `limit` of them that came after the one with this number.
    #[must_use]
    pub fn after(&self, id: u64, limit: usize) -> Vec<Arc<Client>> {
        let list = lock(&self.list);
        let later = list.range((Bound::Excluded(id), Bound::Unbounded));
        later.take(limit).map(|(_, client)| Arc::clone(client)).collect()
    }

    /// The connection with this number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        lock(&self.list).get(&id).map(Arc::clone)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// Its number: unique in the life of the process, from 1.
    pub id: u64,
    /// "address:port" of the peer.
    pub address: String,
    /// When it came, milliseconds since the epoch.
    pub connected_ms: i64,
    active_ms: AtomicI64,
    /// Bytes read from it behind the handshake, encrypted.
    pub bytes_in: Count,
    /// Bytes written to it behind the handshake, encrypted.
    pub bytes_out: Count,
    setup: Mutex<Option<Arc<Connection>>>,
    /// Its end was told. Written and read with the setup locked.
    closed: AtomicBool,
    channels: Mutex<Vec<Arc<ChannelBook>>>,
}

impl Client {
    /// When its last message came, milliseconds since the epoch.
    #[must_use]
    pub fn active_ms(&self) -> i64 {
        self.active_ms.load(Ordering::Relaxed)
    }

    /// What it said of itself; `None` before its SetupConnection.
    #[must_use]
    pub fn setup(&self) -> Option<Arc<Connection>> {
        lock(&self.setup).clone()
    }

    /// Tells that it is there, unless it never said who it is, or its end was told.
    pub fn tell(&self, witness: &dyn Witness) {
        let setup = lock(&self.setup);
        if let Some(connection) = setup.as_deref().filter(|_| !self.closed.load(Ordering::Relaxed))
        {
            witness.connection_opened(connection);
        }
    }

    /// Its open channels, in the order in which they were opened.
    #[must_use]
    pub fn channels(&self) -> Vec<Arc<ChannelBook>> {
        lock(&self.channels).clone()
    }

    /// How many standard and extended channels it has, and the sum of their nominal hash rates in
    /// H/s.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let mut sums = Sums { clients: 1, ..Sums::default() };
        for channel in lock(&self.channels).iter() {
            match channel.kind {
                Kind::Standard => sums.standard += 1,
                Kind::Extended => sums.extended += 1,
            }
            sums.hash_rate += f64::from(channel.nominal_hash_rate());
        }
        sums
    }
}

/// What connections have together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// Connections.
    pub clients: usize,
    /// Their standard channels.
    pub standard: usize,
    /// Their extended channels.
    pub extended: usize,
    /// What their channels say they do, in H/s.
    pub hash_rate: f64,
}

impl Sums {
    /// With those of others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            clients: self.clients + other.clients,
            standard: self.standard + other.standard,
            extended: self.extended + other.extended,
            hash_rate: self.hash_rate + other.hash_rate,
        }
    }
}

#[derive(Debug)]
struct Entered {
    client: Arc<Client>,
    clients: Clients,
}

impl Drop for Entered {
    fn drop(&mut self) {
        lock(&self.clients.list).remove(&self.client.id);
        if lock(&self.client.setup).is_some() {
            self.clients.counts.connections.set_up.down();
        }
    }
}

/// A connection's hold on its place in the list: it is there until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Presence(Arc<Entered>);

impl Presence {
    /// The entry.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Where everything is counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.clients.counts
    }

    /// A message of it came now.
    pub fn active(&self) {
        self.0.client.active_ms.store(unix_millis(), Ordering::Relaxed);
    }

    /// What it said of itself, once its SetupConnection succeeded, and when it changes.
    pub fn set_up(&self, connection: Arc<Connection>) {
        let mut setup = lock(&self.0.client.setup);
        if let Some(witness) = self.counts().witness() {
            witness.connection_opened(&connection);
        }
        if setup.replace(connection).is_none() {
            self.counts().connections.set_up.up();
        }
    }

    /// It ends, its channels are gone. `cause`: from [`super::counts::CAUSES`].
    pub fn closed(&self, cause: &str) {
        let Some(witness) = self.counts().witness() else { return };
        let Client { id, bytes_in, bytes_out, setup, closed, .. } = self.client();
        let setup = lock(setup);
        if setup.is_some() && !closed.swap(true, Ordering::Relaxed) {
            let (bytes_in, bytes_out) = (bytes_in.get(), bytes_out.get());
            witness.connection_closed(Closed { id: *id, cause, bytes_in, bytes_out });
        }
    }

    /// A channel is open, until what is returned is dropped.
    #[must_use]
    pub fn open(&self, facts: ChannelFacts) -> OpenChannel {
        OpenChannel::new(facts, self.clone())
    }
}

#[cfg(test)]
mod tests;
