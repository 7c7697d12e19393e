//! Who is connected and what each channel has done, for whoever looks from outside.
//!
//! Each connection writes into its own entry, with atomics; the list of entries is locked when one
//! comes or goes, and by who reads it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::counts::{ByReject, Count, Counts, Level, WorkSum};
use crate::sys::unix_millis;
use crate::types::{ChannelKey, ConnId, Connection, Difficulty, Hash, Kind, RejectReason, Target};

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
        let before = lock(&self.0.client.setup).replace(connection);
        if before.is_none() {
            self.counts().connections.set_up.up();
        }
    }

    /// A channel is open, until what is returned is dropped.
    #[must_use]
    pub fn open(&self, facts: ChannelFacts) -> OpenChannel {
        let ChannelFacts { key, id, kind, user_identity, prefix, extranonce_size, .. } = facts;
        let book = Arc::new(ChannelBook {
            key,
            id,
            kind,
            user_identity,
            prefix,
            extranonce_size,
            opened_ms: unix_millis(),
            nominal_hash_rate: AtomicU32::new(facts.nominal_hash_rate.to_bits()),
            targets: Mutex::new((facts.target, facts.max_target)),
            accepted: Count::default(),
            rejected: ByReject::default(),
            work: WorkSum::default(),
            last_sequence: Level::default(),
            last_batch: Level::default(),
            last_batch_work: Level::default(),
            last_share_ms: Level::default(),
            best: AtomicU64::new(0),
            blocks: Count::default(),
        });
        let channels = &self.counts().channels;
        channels.open.of(kind).up();
        channels.opened.of(kind).one();
        lock(&self.0.client.channels).push(Arc::clone(&book));
        OpenChannel { book, of: self.clone() }
    }
}

/// What a channel is when it is opened.
#[derive(Debug, Clone)]
pub struct ChannelFacts {
    /// The link's name of it.
    pub key: ChannelKey,
    /// The miner's name of it.
    pub id: u32,
    /// Standard or extended.
    pub kind: Kind,
    /// Opaque bytes of the miner, less a payout key.
    pub user_identity: Bytes,
    /// Extranonce prefix.
    pub prefix: Bytes,
    /// Bytes the miner rolls.
    pub extranonce_size: u8,
    /// In H/s.
    pub nominal_hash_rate: f32,
    /// The target that the miner was told.
    pub target: Target,
    /// The easiest target that the miner takes.
    pub max_target: Target,
}

/// What is known of an open channel. Its own connection writes, anybody reads.
#[derive(Debug)]
pub struct ChannelBook {
    /// The link's name of it.
    pub key: ChannelKey,
    /// The miner's name of it.
    pub id: u32,
    /// Standard or extended.
    pub kind: Kind,
    /// Opaque bytes of the miner, less a payout key.
    pub user_identity: Bytes,
    /// Extranonce prefix.
    pub prefix: Bytes,
    /// Bytes the miner rolls.
    pub extranonce_size: u8,
    /// When it was opened, milliseconds since the epoch.
    pub opened_ms: i64,
    nominal_hash_rate: AtomicU32,
    targets: Mutex<(Target, Target)>,
    /// Accepted shares.
    pub accepted: Count,
    /// Shares that were not credited.
    pub rejected: ByReject,
    /// What was credited.
    pub work: WorkSum,
    /// Sequence number of the last share that was accepted.
    pub last_sequence: Level,
    /// Shares of the last Success.
    pub last_batch: Level,
    /// Sum of the last Success.
    pub last_batch_work: Level,
    /// When the last share was accepted, milliseconds since the epoch; 0: none was.
    pub last_share_ms: Level,
    best: AtomicU64,
    /// Block candidates that the pool accepted.
    pub blocks: Count,
}

impl ChannelBook {
    /// In H/s, as the miner says.
    #[must_use]
    pub fn nominal_hash_rate(&self) -> f32 {
        f32::from_bits(self.nominal_hash_rate.load(Ordering::Relaxed))
    }

    /// The target that the miner was told, and the easiest that it takes.
    #[must_use]
    pub fn targets(&self) -> (Target, Target) {
        *lock(&self.targets)
    }

    /// The difficulty of the best accepted share; 0: there is none.
    #[must_use]
    pub fn best(&self) -> f64 {
        f64::from_bits(self.best.load(Ordering::Relaxed))
    }
}

/// An open channel's hold on its entry.
#[derive(Debug)]
pub struct OpenChannel {
    book: Arc<ChannelBook>,
    of: Presence,
}

impl OpenChannel {
    /// The entry.
    #[must_use]
    pub fn book(&self) -> &ChannelBook {
        &self.book
    }

    /// Its targets and its hash rate are these now.
    pub fn retarget(&self, target: Target, max_target: Target, nominal_hash_rate: f32) {
        *lock(&self.book.targets) = (target, max_target);
        self.book.nominal_hash_rate.store(nominal_hash_rate.to_bits(), Ordering::Relaxed);
    }

    /// The pool accepted a share.
    pub fn judged(&self, hash: &Hash, block_candidate: bool) {
        let difficulty = difficulty_of(hash);
        // Bits of positive floats are in the order of their values.
        self.book.best.fetch_max(difficulty.to_bits(), Ordering::Relaxed);
        if block_candidate {
            self.book.blocks.one();
            self.of.counts().shares.block_candidates.one();
        }
    }

    /// A share is answered, so long after it was read.
    pub fn answered(&self, after: Duration) {
        self.of.counts().shares.ack.observe(after);
    }

    /// Accepted shares are answered with one Success.
    pub fn accepted(&self, count: u32, work: Difficulty, last_sequence: u32) {
        let book = &self.book;
        book.accepted.add(u64::from(count));
        book.work.add(work);
        book.last_sequence.set(u64::from(last_sequence));
        book.last_batch.set(u64::from(count));
        book.last_batch_work.set(work.whole);
        book.last_share_ms.set(u64::try_from(unix_millis()).unwrap_or_default());
        self.of.counts().shares.accept(u64::from(count), work);
    }

    /// A share is answered with an Error; `judged`: somebody could judge it.
    pub fn rejected(&self, reason: RejectReason, judged: bool) {
        self.book.rejected.add(reason, 1);
        let shares = &self.of.counts().shares;
        let counts = if judged { &shares.rejected } else { &shares.unjudged };
        counts.add(reason, 1);
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        lock(&self.of.0.client.channels).retain(|book| !Arc::ptr_eq(book, &self.book));
        self.of.counts().channels.open.of(self.book.kind).down();
    }
}

/// Difficulty 1, less its low bits that are zero: 0xffff · 2^208.
const ONE: (f64, i32) = (65_535.0, 208);

/// The difficulty (pdiff) that a hash has, or a target stands for, about: for people to look at.
#[must_use]
pub fn difficulty_of(hash: &Hash) -> f64 {
    let mut value = 0.0_f64;
    // As a number it reads little-endian.
    for word in hash.0.chunks_exact(8).rev() {
        let word = word.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        value = value * 2.0_f64.powi(64) + word as f64;
    }
    if value == 0.0 {
        return f64::MAX;
    }
    ONE.0 * 2.0_f64.powi(ONE.1) / value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(ordinal: u32, kind: Kind) -> ChannelFacts {
        ChannelFacts {
            key: ChannelKey::new(ConnId(7), ordinal).unwrap(),
            id: ordinal,
            kind,
            user_identity: Bytes::from_static(b"me"),
            prefix: Bytes::from_static(&[1, 2]),
            extranonce_size: 6,
            nominal_hash_rate: 1e12,
            target: Target::EASIEST,
            max_target: Target::EASIEST,
        }
    }

    #[test]
    fn who_leaves_is_no_longer_listed_or_counted() {
        let counts = Counts::default();
        let clients = Clients::new(counts.clone());
        let first = clients.enter(ConnId(7), "192.0.2.1:1".into(), 5);
        let other = clients.clone().enter(ConnId(9), "192.0.2.2:1".into(), 6);
        assert_eq!(clients.page(1, 10)[0].id, 9);
        assert_eq!(clients.after(7, 10)[0].id, 9);
        assert!(clients.page(2, 10).is_empty() && clients.after(9, 1).is_empty());
        let standard = first.open(facts(1, Kind::Standard));
        let extended = first.open(facts(2, Kind::Extended));
        let sums = clients.get(7).unwrap().sums();
        assert_eq!((sums.standard, sums.extended, sums.hash_rate), (1, 1, 2e12_f32.into()));
        assert_eq!(counts.channels.open.of(Kind::Extended).get(), 1);
        drop(extended);
        assert_eq!(counts.channels.open.of(Kind::Extended).get(), 0);
        assert_eq!(counts.channels.opened.of(Kind::Extended).get(), 1);
        assert_eq!(clients.get(7).unwrap().channels()[0].id, 1);
        drop((first, other));
        assert_eq!(clients.len(), 1, "an open channel keeps its connection");
        drop(standard);
        assert!(clients.is_empty());
        assert_eq!(counts.connections.set_up.get(), 0, "it never was");
    }

    #[test]
    fn a_channel_counts_for_itself_and_for_all() {
        let clients = Clients::default();
        let one = clients.enter(ConnId(7), String::new(), 0);
        let (a, b) = (one.open(facts(1, Kind::Standard)), one.open(facts(2, Kind::Standard)));
        a.accepted(3, Difficulty { whole: 5, fraction: 1 << 31 }, 9);
        b.accepted(1, Difficulty { whole: 1, fraction: 1 << 31 }, 2);
        b.rejected(RejectReason::Stale, true);
        b.rejected(RejectReason::BackendUnavailable, false);
        a.judged(&Hash([0; 32]), true);
        assert_eq!((a.book().accepted.get(), a.book().last_sequence.get()), (3, 9));
        assert_eq!((b.book().rejected.sum(), a.book().rejected.sum()), (2, 0));
        assert_eq!((a.book().blocks.get(), a.book().best()), (1, f64::MAX));
        let shares = &one.counts().shares;
        assert_eq!(shares.work.get(), Difficulty { whole: 7, fraction: 0 });
        assert_eq!(
            (shares.accepted.get(), shares.rejected.sum(), shares.unjudged.sum()),
            (4, 1, 1)
        );
    }

    #[test]
    fn difficulties_are_those_of_their_targets() {
        let one = Target::from_nbits(0x1d00_ffff).unwrap();
        assert!((difficulty_of(&Hash(one.0)) - 1.0).abs() < 1e-9);
        let mut hard = [0; 32];
        hard[10] = 1;
        let want = 65_535.0 * 2.0_f64.powi(128);
        assert!((difficulty_of(&Hash(hard)) / want - 1.0).abs() < 1e-9);
    }
}
