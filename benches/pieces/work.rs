//! Work: one job written for a channel, and all that a connection does at a new tip.

use std::collections::VecDeque;
use std::sync::Arc;

use criterion::Criterion;
use gopool_sv2::backend::Event;
use gopool_sv2::frame::{encrypted_len, ENCRYPTED_HEADER_LEN};
use gopool_sv2::job::{merkle_root, JobTable, Shape};
use gopool_sv2::obs::Clients;
use gopool_sv2::session::Outbound;
use gopool_sv2::types::{ConnId, Job, Kind};
use gopool_sv2_pieces::{job, Ends, Message, Mining, Piece, Scratch, EXTRANONCE, PREFIX};
use mining_sv2::{
    NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH,
    MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, MESSAGE_TYPE_NEW_MINING_JOB,
};

use crate::{measure, GROUP};

/// Connections that hear of a tip one after the other.
const MANY: u64 = 1_000;

pub(crate) fn measure_all(c: &mut Criterion) {
    for kind in [Kind::Extended, Kind::Standard] {
        let name = format!("job/announce and write, {}", kind.as_str());
        measure(c, &name, Writing::new(kind), 1, GROUP);
    }
    for kind in [Kind::Extended, Kind::Standard] {
        let name = format!("new tip/step of one connection, {}", kind.as_str());
        measure(c, &name, Spreading::new(kind, 1), 1, GROUP);
    }
    for kind in [Kind::Extended, Kind::Standard] {
        let name = format!("new tip/step of each of {MANY} connections, {}", kind.as_str());
        measure(c, &name, Spreading::new(kind, MANY), 1, MANY);
    }
}

/// What a job and its prev-hash are on the wire.
fn wire_len(kind: Kind, job: &Job) -> usize {
    let body = match kind {
        Kind::Standard => 4 + 4 + 1 + 4 + 32,
        // A future job has no min_ntime.
        Kind::Extended => job.message_len() - 4,
    };
    2 * ENCRYPTED_HEADER_LEN + encrypted_len(body) + encrypted_len(4 + 4 + 32 + 4 + 4)
}

/// Asserts that these are the job and its prev-hash, under the miner's name `id`.
fn check(kind: Kind, heard: &mut [Message], id: u32, job: &Job) {
    let [(of_job, work), (of_tip, tip)] = heard else { panic!("{heard:?}") };
    match kind {
        Kind::Extended => {
            assert_eq!(*of_job, MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB);
            let work: NewExtendedMiningJob<'_> = binary_sv2::from_bytes(work).unwrap();
            assert_eq!((work.channel_id, work.job_id, work.version), (1, id, job.version));
            let path = job.merkle_path.iter().map(|hash| hash.0.as_slice());
            assert!(work.merkle_path.iter_bytes().eq(path), "the path to the root");
            assert_eq!(work.coinbase_tx_prefix.as_bytes(), &job.coinbase_prefix[..]);
            assert_eq!(work.coinbase_tx_suffix.as_bytes(), &job.coinbase_suffix[..]);
        }
        Kind::Standard => {
            assert_eq!(*of_job, MESSAGE_TYPE_NEW_MINING_JOB);
            let work: NewMiningJob<'_> = binary_sv2::from_bytes(work).unwrap();
            assert_eq!((work.channel_id, work.job_id, work.version), (1, id, job.version));
            assert_eq!(work.merkle_root.to_array(), merkle_root(job, &PREFIX, &[]).0);
        }
    }
    assert_eq!(*of_tip, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH);
    let tip: SetNewPrevHash<'_> = binary_sv2::from_bytes(tip).unwrap();
    assert_eq!((tip.channel_id, tip.job_id, tip.nbits), (1, id, job.nbits));
    assert_eq!(tip.prev_hash.to_array(), job.prev_hash.0);
}

/// A job on a new tip into the table of a channel, and its two messages into frames. The writing
/// alone is not public: encryption is part of it.
struct Writing {
    ends: Ends,
    kind: Kind,
    table: JobTable,
    /// By turns: each is on another tip than the one before.
    jobs: [Arc<Job>; 2],
    id: u32,
    len: usize,
}

impl Writing {
    fn new(kind: Kind) -> Self {
        let (jobs, table) = ([job(1), job(2)], JobTable::default());
        let len = wire_len(kind, &jobs[0]);
        let mut new = Self { ends: Ends::new(), kind, table, jobs, id: 0, len };
        for id in 1..=2_u32 {
            new.write();
            let job = Arc::clone(&new.jobs[id as usize % 2]);
            check(kind, &mut new.ends.heard(), id, &job);
        }
        new
    }

    fn write(&mut self) {
        self.id = self.id.wrapping_add(1);
        let job = Arc::clone(&self.jobs[self.id as usize % 2]);
        let extranonce_size = if self.kind == Kind::Extended { EXTRANONCE } else { 0 };
        let shape = Shape { kind: self.kind, prefix: &PREFIX, extranonce_size };
        let announcement = self.table.add(self.id, job, shape);
        Outbound::Job { channel_id: 1, announcement }.write(&mut self.ends.to_miner).unwrap();
    }
}

impl Piece for Writing {
    /// Room for the frames: what a connection has is lent by its thread.
    fn prepare(&mut self, _count: u64) {
        self.ends.to_miner.lend(|| Vec::with_capacity(4 * self.len));
    }

    fn run(&mut self) -> usize {
        self.write();
        let sent = self.ends.to_miner.pending().len();
        self.ends.to_miner.advance(sent);
        assert!(sent == self.len, "job and prev-hash");
        sent
    }
}

/// The whole step of a connection at a new tip: from the event in its mailbox to encrypted frames.
/// With many connections by turns each finds its memory as others have left the caches.
struct Spreading {
    connections: Vec<Mining>,
    scratch: Scratch,
    /// What the mailboxes of the next connections will hold.
    mailboxes: VecDeque<Vec<Event>>,
    /// Memory of mailboxes.
    emptied: Vec<Vec<Event>>,
    /// Whose turn is next.
    turn: usize,
    seq: u64,
    len: usize,
}

impl Spreading {
    fn new(kind: Kind, connections: u64) -> Self {
        let clients = Clients::default();
        let mut new = Self {
            connections: (1..=connections)
                .map(|conn| Mining::new(ConnId(conn), kind, &clients))
                .collect(),
            scratch: Scratch::default(),
            mailboxes: VecDeque::new(),
            emptied: Vec::new(),
            turn: 0,
            seq: 1,
            len: wire_len(kind, &job(0)),
        };
        new.prepare(connections);
        for at in 0..new.connections.len() {
            let events = new.mailboxes.pop_front().unwrap();
            let [Event::Job { job, .. }] = &events[..] else { panic!("{events:?}") };
            let job = Arc::clone(job);
            let connection = &mut new.connections[at];
            connection.step(events, &mut new.scratch);
            check(kind, &mut connection.ends.heard(), 2, &job);
        }
        new
    }
}

impl Piece for Spreading {
    /// Each channel gets a job of its own, as from a pool whose coinbases differ.
    fn prepare(&mut self, count: u64) {
        assert!(self.mailboxes.is_empty(), "something is left");
        for ahead in 0..count as usize {
            let connection = &self.connections[(self.turn + ahead) % self.connections.len()];
            self.seq += 1;
            let mut events = self.emptied.pop().unwrap_or_default();
            events.push(Event::Job { channel: connection.channel(), job: job(self.seq) });
            self.mailboxes.push_back(events);
        }
    }

    fn run(&mut self) -> usize {
        let turn = self.turn;
        self.turn = if turn + 1 == self.connections.len() { 0 } else { turn + 1 };
        let connection = &mut self.connections[turn];
        let events = self.mailboxes.pop_front().unwrap();
        self.emptied.push(connection.step(events, &mut self.scratch));
        let sent = connection.send(&mut self.scratch);
        assert!(sent == self.len, "job and prev-hash");
        sent
    }
}
