//! A listener without miners, for tests of what stands at the pool's end of the ring, and for
//! measuring it. It has no thread, clock or socket: what it says, it says when it is given a turn.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::state::Shared;
use super::Host;
use crate::backend::carrier::{Introduction, Received};
use crate::backend::link::Greeting;
use crate::backend::{convert, Parcel, Share};
use crate::types::{Difficulty, Short, Verdict};

/// The one channel of a stream.
const CHANNEL: u64 = 1;
/// Submits in a batch.
const BATCH: u64 = 256;
/// Verdicts that are told back in words.
const NEWEST: usize = 16;
/// gRPC's code for what is not there.
const UNIMPLEMENTED: u32 = 12;

/// What the pool has said of the submits of a stream.
#[derive(Debug, Default)]
struct Books {
    accepted: u64,
    rejected: u64,
    block_candidates: u64,
    credit: Difficulty,
    newest: VecDeque<(u64, Verdict)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Made,
    Runs,
    Drains,
    Over,
}

/// One conversation, from its Hello.
#[derive(Debug)]
struct Talk {
    stream: u32,
    introduction: Introduction,
    greeted: bool,
    /// Submits that are still to be sent, and the Pong behind them.
    asked: Option<(u64, v1::Pong)>,
    last_submit: u64,
    waiting: BTreeSet<u64>,
    /// ChannelOpened has come.
    opened: bool,
    job: u64,
    extranonce_size: usize,
    books: Books,
}

/// A listener that plays miners: a Hello, a channel, and as many submits as a Ping asks for.
///
/// Each turn does what can be done then, and no more than the ring has room for. The pool's calls
/// must be followed by a turn.
#[derive(Debug)]
pub struct Echo {
    shared: Arc<Shared>,
    max_in_flight: usize,
    life: Life,
    talk: Option<Talk>,
}

/// Makes a ring with an echo at the listener's end. `max_in_flight`: most submits that wait for a
/// verdict at a time.
///
/// # Errors
/// The system grants no descriptors.
pub fn echo(max_in_flight: usize) -> io::Result<(Host, Echo)> {
    let shared = Arc::new(Shared::new(max_in_flight)?);
    let host = Host { shared: shared.clone() };
    Ok((host, Echo { shared, max_in_flight, life: Life::Made, talk: None }))
}

impl Echo {
    /// Begins the first stream; false: it was started before.
    pub fn start(&mut self) -> bool {
        let fresh = self.life == Life::Made;
        if fresh {
            self.life = Life::Runs;
            self.turn();
        }
        fresh
    }

    /// Whether it was started, be it over or not.
    #[must_use]
    pub fn was_started(&self) -> bool {
        self.life != Life::Made
    }

    /// Says its last word, behind which the pool hangs up; false: it was never started.
    pub fn drain(&mut self) -> bool {
        if self.life == Life::Runs {
            self.life = Life::Drains;
            if let Some(talk) = &mut self.talk {
                if talk.greeted {
                    let farewell = v1::Drain { grace_ms: 0, reason: "the echo stops".into() };
                    self.shared.send(talk.stream, ToPool::Drain(farewell).into());
                    self.shared.say_no_more(talk.stream);
                } else {
                    self.shared.finish(talk.stream);
                }
            }
            self.turn();
        }
        self.was_started()
    }

    /// Does what can be done now.
    pub fn turn(&mut self) {
        while matches!(self.life, Life::Runs | Life::Drains) && self.step() {}
    }

    /// One step; false: there is nothing to do until the pool makes another call.
    fn step(&mut self) -> bool {
        let Some(talk) = &mut self.talk else {
            self.begin();
            return true;
        };
        match self.shared.has_room(talk.stream) {
            None if self.life == Life::Drains => {
                self.shared.drained();
                self.life = Life::Over;
                false
            }
            None => {
                self.begin();
                true
            }
            Some(false) => false,
            Some(true) => {
                // Listening first: who only sends would let verdicts wait until all is sent.
                let submits = self.life == Life::Runs;
                talk.receive(&self.shared)
                    || submits && talk.submit(&self.shared, self.max_in_flight)
            }
        }
    }

    fn begin(&mut self) {
        let introduction = Introduction::new("echo", self.max_in_flight);
        let hello = introduction.hello(Greeting { dial: 1, ..Greeting::default() });
        self.talk = Some(Talk {
            stream: self.shared.begin(hello),
            introduction,
            greeted: false,
            asked: None,
            last_submit: 0,
            waiting: BTreeSet::new(),
            opened: false,
            job: 0,
            extranonce_size: 8,
            books: Books::default(),
        });
    }
}

impl Talk {
    /// Sends a batch that was asked for, or the Pong behind the last; false: neither.
    fn submit(&mut self, shared: &Shared, max_in_flight: usize) -> bool {
        let Some((left, pong)) = &mut self.asked else { return false };
        if *left == 0 {
            shared.send(self.stream, ToPool::Pong(*pong).into());
            self.asked = None;
            return true;
        }
        let free = max_in_flight.saturating_sub(self.waiting.len());
        let count = BATCH.min(*left).min(u64::try_from(free).unwrap_or(BATCH));
        *left -= count;
        let ids = self.last_submit + 1..=self.last_submit + count;
        self.last_submit += count;
        let (job_id, size) = (self.job, self.extranonce_size);
        let shares: Vec<_> = ids.clone().map(|id| share(id, job_id, size)).collect();
        self.waiting.extend(ids);
        if count > 0 {
            shared.send(self.stream, Parcel::Shares(shares));
        }
        count > 0
    }

    /// Takes what has come; false: nothing.
    fn receive(&mut self, shared: &Shared) -> bool {
        let Ok(Some(received)) = shared.receive(self.stream, &mut Vec::new()) else { return false };
        match received {
            Received::Verdicts(verdicts) => {
                for (id, verdict) in verdicts {
                    self.judged(shared, id, verdict);
                }
            }
            Received::Message(message) if !self.greeted => self.greet(shared, message),
            Received::Message(message) => self.message(shared, message),
        }
        true
    }

    fn greet(&mut self, shared: &Shared, message: FromPool) {
        if let Err(breach) = self.introduction.welcomed(&[], Some(message)) {
            shared.log(tracing::Level::WARN, format!("the Welcome can't be taken: {breach:?}"));
            shared.finish(self.stream);
            return;
        }
        self.greeted = true;
        let open = v1::OpenChannel {
            channel_id: CHANNEL,
            connection: Some(v1::Connection {
                id: 1,
                remote_address: "127.0.0.1:1".into(),
                ..v1::Connection::default()
            }),
            kind: v1::ChannelKind::Extended.into(),
            user_identity: Bytes::from_static(b"echo"),
            nominal_hash_rate: 1e12,
            max_target: Bytes::from_static(&[0xff; 32]),
            min_extranonce_size: 8,
            ..v1::OpenChannel::default()
        };
        shared.send(self.stream, ToPool::OpenChannel(open).into());
    }

    fn message(&mut self, shared: &Shared, message: FromPool) {
        match message {
            FromPool::ChannelOpened(opened) => {
                self.opened = true;
                self.job = opened.job.map_or(0, |job| job.id);
                let size = usize::try_from(opened.extranonce_size).unwrap_or(usize::MAX);
                self.extranonce_size = size.min(32);
            }
            FromPool::Job(job) => self.job = job.id,
            FromPool::VerdictBatch(batch) => {
                for wire in &batch.verdicts {
                    self.judged(shared, wire.submit_id, convert::verdict(wire));
                }
            }
            FromPool::Ping(ping) => {
                let pong = v1::Pong { id: ping.id, sent_us: ping.sent_us };
                match self.asked {
                    None => self.asked = Some((ping.id, pong)),
                    Some(_) => drop(shared.send(self.stream, ToPool::Pong(pong).into())),
                }
            }
            FromPool::GetAccount(get) => {
                let account = ToPool::Account(self.account(get.call_id));
                shared.send(self.stream, account.into());
            }
            FromPool::SetPayout(v1::SetPayout { call_id, .. })
            | FromPool::RecordShares(v1::RecordShares { call_id, .. }) => {
                let detail = "an echo has no mint bridge".into();
                let failed = v1::CallFailed { call_id, code: UNIMPLEMENTED, detail };
                shared.send(self.stream, ToPool::CallFailed(failed).into());
            }
            _ => {}
        }
    }

    fn judged(&mut self, shared: &Shared, id: u64, verdict: Verdict) {
        if !self.waiting.remove(&id) {
            let text = format!("a verdict on submit {id}, which waits for none");
            return shared.log(tracing::Level::WARN, text);
        }
        let books = &mut self.books;
        match verdict {
            Verdict::Accepted { credit, block_candidate, .. } => {
                books.accepted += 1;
                books.block_candidates += u64::from(block_candidate);
                books.credit = books.credit.saturating_add(credit);
            }
            Verdict::Rejected(_) => books.rejected += 1,
        }
        books.newest.truncate(NEWEST - 1);
        books.newest.push_front((id, verdict));
    }

    fn account(&self, call_id: u64) -> v1::Account {
        let Books { accepted, rejected, block_candidates, credit, newest } = &self.books;
        v1::Account {
            call_id,
            accrued: Some(v1::Difficulty { whole: credit.whole, fraction: credit.fraction }),
            shares: *accepted,
            pending_amount: u64::try_from(self.waiting.len()).unwrap_or(u64::MAX),
            confirmed_amount: *rejected,
            issued_amount: *block_candidates,
            unit: "echo".into(),
            quote_requests: newest.iter().map(in_words).collect(),
            frozen: !self.opened,
            quote_ids: Vec::new(),
        }
    }
}

fn in_words((id, verdict): &(u64, Verdict)) -> String {
    match verdict {
        Verdict::Accepted { hash, credit, block_candidate } => {
            let block = if *block_candidate { " block" } else { "" };
            format!("{id} accepted {}+{} {hash}{block}", credit.whole, credit.fraction)
        }
        Verdict::Rejected(reason) => format!("{id} rejected {}", reason.as_str()),
    }
}

/// The submit of an id: every fourth names a worker.
fn share(id: u64, job_id: u64, extranonce_size: usize) -> Share {
    let [.., a, b, c, d] = id.to_be_bytes();
    let extranonce: Vec<u8> = id.to_le_bytes().into_iter().cycle().take(extranonce_size).collect();
    Share {
        id,
        channel_id: CHANNEL,
        job_id,
        nonce: u32::from_be_bytes([a, b, c, d]),
        ntime: 1_700_000_000,
        version: 0x2000_0000,
        would_refuse: 0,
        extranonce: Short::new(&extranonce),
        worker: Short::new(if id.is_multiple_of(4) { b"echo" } else { b"" }),
    }
}
