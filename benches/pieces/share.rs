//! A share: from encrypted bytes to a message, from there to the link, and from the verdict to an
//! encrypted Success.

use std::collections::VecDeque;
use std::hint::black_box;

use criterion::Criterion;
use gopool_sv2::backend::{Command, Event};
use gopool_sv2::frame::{encrypted_len, ENCRYPTED_HEADER_LEN};
use gopool_sv2::obs::Clients;
use gopool_sv2::session::{decode, Inbound};
use gopool_sv2::types::{ConnId, Kind};
use gopool_sv2_pieces::{accepted, Ends, Mining, Piece, Scratch, EXTRANONCE, NOW};
use mining_sv2::{
    SubmitSharesExtended, SubmitSharesSuccess, CHANNEL_BIT_SUBMIT_SHARES_EXTENDED,
    MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS,
};

use crate::{measure, GROUP};

/// Bytes of a SubmitSharesExtended on the wire.
const SUBMIT_LEN: usize = ENCRYPTED_HEADER_LEN + encrypted_len(6 * 4 + 1 + EXTRANONCE);
/// Bytes of a SubmitShares.Success on the wire.
const SUCCESS_LEN: usize = ENCRYPTED_HEADER_LEN + encrypted_len(3 * 4 + 8);
/// Memory that a read gets, as the driver lends it.
const READ: usize = 16 * 1024;

pub(crate) fn measure_all(c: &mut Criterion) {
    for per_read in [1, 32] {
        let name = format!("share/decrypt and decode, {per_read} a read");
        measure(c, &name, Reading::new(per_read), per_read, GROUP);
    }
    measure(c, "share/submit to link", Submitting::new(), 1, GROUP);
    for in_one in [1, 32] {
        let name = format!("share/verdict to Success, {in_one} in one");
        // Few that wait at a time, as in a session.
        measure(c, &name, Judging::new(in_one), in_one, if in_one == 1 { GROUP } else { 8 });
    }
}

/// Reads of the socket, each with so many SubmitSharesExtended: decrypted in place, decoded.
struct Reading {
    ends: Ends,
    per_read: u64,
    /// The bytes of the reads to come, one behind the other.
    wire: Vec<u8>,
    at: usize,
    /// Lent to the reader for a read.
    memory: Vec<u8>,
    /// Of the last share sent, and of the last read.
    sequence: u32,
    read: u32,
}

impl Reading {
    fn new(per_read: u64) -> Self {
        let (ends, memory) = (Ends::new(), Vec::with_capacity(READ));
        let mut new =
            Self { ends, per_read, wire: Vec::new(), at: 0, memory, sequence: 0, read: 0 };
        new.prepare(2);
        assert_eq!(new.wire.len(), 2 * new.read_len());
        for read in 1..=2 {
            assert_eq!(new.run(), new.per_read as usize);
            assert_eq!(u64::from(new.read), read * per_read, "the last sequence number");
        }
        new
    }

    const fn read_len(&self) -> usize {
        self.per_read as usize * SUBMIT_LEN
    }
}

impl Piece for Reading {
    fn prepare(&mut self, count: u64) {
        assert_eq!((self.at, self.read), (self.wire.len(), self.sequence), "something is left");
        let to_listener = &mut self.ends.to_listener;
        for _ in 0..count * self.per_read {
            self.sequence = self.sequence.wrapping_add(1);
            let message = SubmitSharesExtended {
                channel_id: 1,
                sequence_number: self.sequence,
                job_id: 1,
                nonce: self.sequence,
                ntime: NOW,
                version: 0x2000_0000,
                extranonce: [0x11; EXTRANONCE].as_slice().try_into().unwrap(),
            };
            let kind = MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED;
            to_listener.push(message, 0, kind, CHANNEL_BIT_SUBMIT_SHARES_EXTENDED).unwrap();
        }
        self.wire.clear();
        self.wire.extend_from_slice(to_listener.pending());
        self.at = 0;
        to_listener.advance(self.wire.len());
    }

    fn run(&mut self) -> usize {
        let (reader, memory) = (&mut self.ends.from_miner, &mut self.memory);
        reader.lend(|| std::mem::take(memory));
        let end = self.at + self.per_read as usize * SUBMIT_LEN;
        // What the system does in a read.
        reader.room().extend_from_slice(&self.wire[self.at..end]);
        self.at = end;
        let mut count = 0;
        while let Some(frame) = reader.next_frame().unwrap() {
            let message = black_box(decode(frame).unwrap());
            let Inbound::Submit { sequence, share, .. } = message else { panic!("{message:?}") };
            assert_eq!((sequence, share.nonce), (self.read.wrapping_add(1), sequence));
            self.read = sequence;
            count += 1;
        }
        *memory = reader.give_back().unwrap();
        memory.clear();
        count
    }
}

/// A share that was read, on an open extended channel: what the session makes of it for the link.
struct Submitting {
    mining: Mining,
    scratch: Scratch,
}

impl Submitting {
    fn new() -> Self {
        let mining = Mining::new(ConnId(1), Kind::Extended, &Clients::default());
        let mut new = Self { mining, scratch: Scratch::default() };
        assert_eq!(new.run(), 1);
        let [Command::Submit { channel, submit, .. }] = new.scratch.fx.commands[..] else {
            panic!("{:?}", new.scratch.fx)
        };
        assert_eq!(channel, new.mining.channel());
        assert_eq!((submit.job_id, submit.nonce, submit.would_refuse), (1_001, 1, None));
        new
    }
}

impl Piece for Submitting {
    /// Those before are judged, and answered.
    fn prepare(&mut self, _count: u64) {
        let verdicts = self.scratch.fx.commands.drain(..).map(|c| accepted(&c)).collect();
        self.mining.step(verdicts, &mut self.scratch);
        self.mining.send(&mut self.scratch);
    }

    fn run(&mut self) -> usize {
        let before = self.scratch.fx.commands.len();
        self.mining.submit(&mut self.scratch);
        assert!(self.scratch.fx.commands.len() == before + 1, "a share is kept back");
        before + 1
    }
}

/// So many verdicts in one mailbox, all on shares of one channel: one Success, encrypted.
struct Judging {
    mining: Mining,
    scratch: Scratch,
    in_one: u64,
    /// What the mailbox will hold.
    mailbox: VecDeque<Vec<Event>>,
}

impl Judging {
    fn new(in_one: u64) -> Self {
        let mining = Mining::new(ConnId(1), Kind::Extended, &Clients::default());
        let (scratch, mailbox) = (Scratch::default(), VecDeque::new());
        let mut new = Self { mining, scratch, in_one, mailbox };
        new.prepare(1);
        new.mining.step(new.mailbox.pop_front().unwrap(), &mut new.scratch);
        let mut heard = new.mining.ends.heard();
        let [(kind, payload)] = &mut heard[..] else { panic!("{heard:?}") };
        assert_eq!(*kind, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS);
        let success: SubmitSharesSuccess = binary_sv2::from_bytes(payload).unwrap();
        assert_eq!(success.last_sequence_number, new.mining.sequence());
        assert_eq!(u64::from(success.new_submits_accepted_count), in_one);
        assert_eq!(success.new_shares_sum, 2 * in_one);
        new
    }
}

impl Piece for Judging {
    fn prepare(&mut self, count: u64) {
        assert!(self.mailbox.is_empty(), "something is left");
        for _ in 0..count {
            for _ in 0..self.in_one {
                self.mining.submit(&mut self.scratch);
            }
            let commands = self.scratch.fx.commands.drain(..);
            self.mailbox.push_back(commands.map(|command| accepted(&command)).collect());
        }
    }

    fn run(&mut self) -> usize {
        let events = self.mailbox.pop_front().unwrap();
        self.mining.step(events, &mut self.scratch);
        let sent = self.mining.send(&mut self.scratch);
        assert!(sent == SUCCESS_LEN, "one Success");
        sent
    }
}
