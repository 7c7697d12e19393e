//! The mint bridge inside: its events over the ring, its calls, and its ledger when it is cut off.

use std::time::Duration;

use gopool_sv2_ffi::*;
use gopool_sv2_proto::v1;
use prost::Message as _;
use v1::publish_request::Message as ToSink;
use v1::publish_response::Message as FromSink;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use crate::rig::{last_error, make, Listener, Scratch, Seen, TOML};

/// The generator of secp256k1 (SEC 2).
const KEY: [u8; 33] = [
    0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b,
    0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17,
    0x98,
];

/// A bridge whose mint is not there: nobody serves on port 1.
fn bridge() -> String {
    format!(
        "{TOML}[mint]\nledger_file = \"ledger.db\"\nurl = \"http://127.0.0.1:1\"\n\
         seal_interval_sec = 1\n[mint.processor]\nlisten = \"127.0.0.1:0\"\nallow_plain = true\n"
    )
}

/// A listener with a bridge, started. The folder outlives it.
fn started(scratch: &Scratch) -> Listener {
    let (code, handle) = make(&scratch.file(), Some(&bridge()));
    assert_eq!(code, GSV2_OK, "{}", last_error());
    let listener = Listener::of(handle);
    assert_eq!(gsv2_runtime_start(handle), GSV2_OK, "{}", last_error());
    listener
}

/// What a host does with both kinds of streams.
struct Pool<'a> {
    listener: &'a Listener,
    seen: Seen<'a>,
    events: Vec<v1::Event>,
    answers: Vec<ToPool>,
    work: u32,
    history: u32,
    start: Option<v1::PublishStart>,
    /// What it says to have.
    have: u64,
}

impl<'a> Pool<'a> {
    fn new(listener: &'a Listener, have: u64) -> Self {
        Self {
            listener,
            seen: Seen::new(listener),
            events: Vec::new(),
            answers: Vec::new(),
            work: 0,
            history: 0,
            start: None,
            have,
        }
    }

    /// Follows one event.
    fn turn(&mut self) {
        let event = self.seen.next();
        match event.kind {
            GSV2_EVENT_MESSAGE => {
                let request = v1::SessionRequest::decode(&self.listener.take(&event)[..]).unwrap();
                match request.message.unwrap() {
                    ToPool::Hello(hello) => {
                        self.work = event.stream;
                        let welcome = v1::Welcome {
                            protocol: hello.protocol,
                            epoch: vec![7; 16].into(),
                            easiest_target: vec![0xff; 32].into(),
                            verdict_ring: hello.max_in_flight,
                            ..v1::Welcome::default()
                        };
                        let code = self.listener.control(self.work, FromPool::Welcome(welcome));
                        assert_eq!(code, GSV2_OK, "{}", last_error());
                    }
                    answer => self.answers.push(answer),
                }
            }
            GSV2_EVENT_PUBLISH => {
                let request = v1::PublishRequest::decode(&self.listener.take(&event)[..]).unwrap();
                match request.message.unwrap() {
                    ToSink::Start(start) => {
                        self.history = event.stream;
                        let ready = v1::PublishReady {
                            protocol: start.protocol,
                            have_seq: self.have,
                            software: String::new(),
                        };
                        self.start = Some(start);
                        assert_eq!(self.acknowledge(FromSink::Ready(ready)), GSV2_OK);
                    }
                    ToSink::Batch(batch) => {
                        assert_eq!(event.stream, self.history);
                        self.events.extend(batch.events);
                    }
                }
            }
            other => {
                // The listener says why, if not at once.
                while self.listener.is_readable(Duration::from_secs(1)) {
                    self.seen.wait();
                }
                let streams = (self.work, self.history);
                panic!("event {other} of {} {streams:?}: {:?}", event.stream, self.seen.lines)
            }
        }
    }

    fn acknowledge(&self, message: FromSink) -> gsv2_result {
        let bytes = v1::PublishResponse { message: Some(message) }.encode_to_vec();
        let handle = self.listener.handle;
        unsafe { gsv2_runtime_acknowledge(handle, self.history, bytes.as_ptr(), bytes.len()) }
    }

    /// Makes a call of the mint bridge, and waits for its answer.
    fn call(&mut self, message: FromPool) -> ToPool {
        while self.work == 0 {
            self.turn();
        }
        assert_eq!(self.listener.control(self.work, message), GSV2_OK, "{}", last_error());
        while !self.answers.iter().any(|answer| !matches!(answer, ToPool::Ping(_))) {
            self.turn();
        }
        self.answers.pop().unwrap()
    }

    /// Waits for an event of this kind.
    fn event(&mut self, is: impl Fn(&v1::event::Event) -> bool) {
        while !self.events.iter().any(|event| event.event.as_ref().is_some_and(&is)) {
            self.turn();
        }
    }
}

fn record(n: u8) -> FromPool {
    let share = v1::RecordedShare {
        share_hash: vec![n; 32].into(),
        user_identity: b"sv1 miner".to_vec().into(),
        payout_key: KEY.to_vec().into(),
        credit: Some(v1::Difficulty { whole: 5, fraction: 0 }),
        height: 1,
        accepted_ms: 1_000,
        ..v1::RecordedShare::default()
    };
    FromPool::RecordShares(v1::RecordShares { call_id: n.into(), shares: vec![share] })
}

fn sealed(event: &v1::event::Event) -> bool {
    matches!(event, v1::event::Event::MintSealed(sealed) if sealed.amount == 5)
}

#[test]
fn events_of_the_mint_bridge_come_again_until_they_are_acknowledged_and_then_never() {
    let scratch = Scratch::new();
    let (events, source) = {
        let listener = started(&scratch);
        let mut pool = Pool::new(&listener, 0);
        let ToPool::RecordSharesResult(result) = pool.call(record(1)) else { panic!("recorded") };
        assert_eq!(result.recorded, [true]);
        pool.event(sealed);
        let start = pool.start.unwrap();
        assert_eq!((start.protocol, start.durable, start.first_seq), (1, true, 1));
        (pool.events, start.source_id)
        // Cut off, in the midst of it: nothing was acknowledged.
    };
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!(event.seq, seq, "{events:?}");
    }
    {
        let listener = started(&scratch);
        let mut pool = Pool::new(&listener, 0);
        // The same share again is no second credit.
        let ToPool::RecordSharesResult(result) = pool.call(record(1)) else { panic!("recorded") };
        assert_eq!(result.recorded, [false]);
        pool.event(sealed);
        assert_eq!(pool.events[..events.len()], events, "after a restart");
        assert_eq!(pool.start.as_ref().unwrap().source_id, source);
        let (first, last) = (pool.events[0].seq, pool.events.last().unwrap().seq);
        let ahead = FromSink::Ack(v1::EventAck { seq: last });
        assert_eq!((first, pool.acknowledge(ahead)), (1, GSV2_OK));
        // In order: the ledger has noted it when the listener has stopped.
        assert_eq!(gsv2_runtime_drain(listener.handle), GSV2_OK);
        loop {
            let event = pool.seen.next();
            match event.kind {
                GSV2_EVENT_STREAM_ENDED if event.stream == pool.work => {
                    gsv2_runtime_hang_up(listener.handle, event.stream);
                }
                GSV2_EVENT_DRAINED => break,
                _ => {}
            }
        }
        assert_eq!(pool.acknowledge(FromSink::Ack(v1::EventAck { seq: last })), GSV2_STREAM_OVER);
    }
    let listener = started(&scratch);
    let last = events.last().unwrap().seq;
    let mut pool = Pool::new(&listener, last);
    pool.call(record(2));
    pool.event(sealed);
    assert!(pool.events[0].seq > last, "{:?}", pool.events);
}

#[test]
fn the_books_of_an_account_are_to_be_had_and_set_by_calls() {
    let scratch = Scratch::new();
    let listener = started(&scratch);
    let mut pool = Pool::new(&listener, 0);
    pool.call(record(1));
    let identity: Vec<u8> = b"sv1 miner".to_vec();
    let get = v1::GetAccount {
        call_id: 2,
        user_identity: identity.clone().into(),
        payout_key: KEY.to_vec().into(),
    };
    let ToPool::Account(account) = pool.call(FromPool::GetAccount(get)) else { panic!("books") };
    assert_eq!((account.shares, &account.unit[..], account.frozen), (1, "hash", false));
    let set = v1::SetPayout {
        call_id: 3,
        user_identity: identity.into(),
        payout_key: KEY.to_vec().into(),
        claim_unassigned: true,
    };
    let set = pool.call(FromPool::SetPayout(set));
    assert!(matches!(set, ToPool::SetPayoutResult(_)), "{set:?}");
}

#[test]
fn a_ledger_is_one_listeners_and_free_when_that_is_cut_off() {
    let scratch = Scratch::new();
    for _ in 0..5 {
        let listener = started(&scratch);
        let (code, second) = make(&scratch.file(), Some(&bridge()));
        assert_eq!(code, GSV2_OK, "{}", last_error());
        assert_eq!(gsv2_runtime_start(second), GSV2_START);
        assert!(last_error().contains("[mint].ledger_file"), "{}", last_error());
        assert_eq!(gsv2_runtime_free(second), GSV2_OK);
        drop(listener);
    }
}
