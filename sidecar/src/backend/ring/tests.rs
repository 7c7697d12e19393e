//! Promises of the ring: streams don't mix, memory has bounds, nobody waits without being woken.

use std::io::{ErrorKind, Read as _, Write as _};

use bytes::Bytes;
use tokio::time::{timeout, Duration};
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::carrier::{RingError, RingIncoming, RingOutgoing};
use super::*;
use crate::backend::carrier::{Carrier as _, Incoming as _, Outgoing as _, Received, Stream};
use crate::backend::link::Greeting;
use crate::types::RejectReason;

pub(super) const IN_FLIGHT: usize = 8;
/// Longer than anything here waits for; the clock is a played one.
const SOON: Duration = Duration::from_millis(50);

pub(super) fn ring() -> (Host, RingCarrier) {
    new(&Pool::default(), IN_FLIGHT).unwrap()
}

pub(super) fn welcome(resumed: bool) -> FromPool {
    FromPool::Welcome(v1::Welcome {
        protocol: 1,
        epoch: Bytes::from_static(&[7; 16]),
        resumed,
        easiest_target: Bytes::from_static(&[0xff; 32]),
        verdict_ring: IN_FLIGHT as u32,
        ..v1::Welcome::default()
    })
}

pub(super) fn encoded(message: FromPool) -> Vec<u8> {
    v1::SessionResponse { message: Some(message) }.encode_to_vec()
}

pub(super) fn polled(host: &Host) -> Vec<Event> {
    let mut events = Vec::new();
    host.poll(usize::MAX, |event| events.push(*event));
    events
}

fn bytes(host: &Host, record: Record) -> Vec<u8> {
    let mut buffer = vec![0; record.length];
    assert_eq!(host.take(record.id, &mut buffer), Ok(record.length));
    buffer
}

pub(super) fn taken(host: &Host, record: Record) -> ToPool {
    v1::SessionRequest::decode(&bytes(host, record)[..]).unwrap().message.unwrap()
}

pub(super) fn text(host: &Host, record: Record) -> String {
    String::from_utf8(bytes(host, record)).unwrap()
}

/// Polls what must be a Hello and nothing else, and gives its stream.
fn hello(host: &Host) -> (u32, v1::Hello) {
    let events = polled(host);
    let [Event { stream, what: What::Message(record) }] = events[..] else {
        panic!("a Hello alone: {events:?}");
    };
    match taken(host, record) {
        ToPool::Hello(hello) => (stream, hello),
        other => panic!("a Hello: {other:?}"),
    }
}

/// Opens a stream, with a pool that answers at once.
pub(super) async fn open(
    host: &Host,
    carrier: &RingCarrier,
) -> (u32, Stream<RingOutgoing, RingIncoming>) {
    let pool = async {
        let (stream, _) = hello(host);
        host.control(stream, &encoded(welcome(false))).unwrap();
        stream
    };
    let (dialled, stream) = tokio::join!(carrier.dial(Greeting::default()), pool);
    (stream, dialled.unwrap())
}

pub(super) fn ping(id: u64) -> ToPool {
    ToPool::Ping(v1::Ping { id, sent_us: 0 })
}

pub(super) fn pool_ping(id: u64) -> Vec<u8> {
    encoded(FromPool::Ping(v1::Ping { id, sent_us: 0 }))
}

pub(super) fn rejected(id: u64) -> (u64, Verdict) {
    (id, Verdict::Rejected(RejectReason::Stale))
}

/// Whether there is room at once.
async fn has_room(outgoing: &mut RingOutgoing) -> bool {
    timeout(SOON, outgoing.ready()).await == Ok(true)
}

#[tokio::test]
async fn a_hello_comes_first_and_a_welcome_opens_the_stream() {
    let (host, carrier) = ring();
    let left = Greeting {
        dial: 3,
        last_epoch: Bytes::from_static(&[7; 16]),
        withdrawn: vec![5],
        open: vec![9],
    };
    let pool = async {
        let (stream, hello) = hello(&host);
        assert_eq!((stream, hello.dial, hello.max_in_flight), (1, 3, IN_FLIGHT as u32));
        assert_eq!((hello.cancelled_submit_ids, hello.open_channel_ids), (vec![5], vec![9]));
        host.control(stream, &encoded(welcome(true))).unwrap();
    };
    let (dialled, ()) = tokio::join!(carrier.dial(left), pool);
    let mut stream = dialled.unwrap();
    assert!(stream.life.resumed);
    assert_eq!(stream.life.epoch, [7; 16][..]);
    assert!(stream.outgoing.ready().await);
    stream.outgoing.send(ping(4).into());
    let events = polled(&host);
    let [Event { stream: 1, what: What::Message(record) }] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(taken(&host, record), ping(4));
}

#[tokio::test]
async fn rejects_a_first_message_that_is_no_fitting_welcome() {
    let FromPool::Welcome(good) = welcome(false) else { panic!("a Welcome") };
    let old = FromPool::Welcome(v1::Welcome { protocol: 9, ..good.clone() });
    let small = FromPool::Welcome(v1::Welcome { verdict_ring: 7, ..good });
    for (message, want) in [
        (FromPool::Ping(v1::Ping::default()), "not a Welcome"),
        (old, "version 9"),
        (small, "max_in_flight"),
    ] {
        let (host, carrier) = ring();
        let pool = async {
            let (stream, _) = hello(&host);
            host.control(stream, &encoded(message)).unwrap();
        };
        let (dialled, ()) = tokio::join!(carrier.dial(Greeting::default()), pool);
        let error = dialled.unwrap_err().to_string();
        assert!(error.contains(want), "{error:?} lacks {want:?}");
        assert_eq!(polled(&host), [Event { stream: 1, what: What::StreamEnded }]);
    }
}

#[tokio::test]
async fn rejects_what_is_said_on_an_old_stream_and_keeps_it_from_the_next() {
    let (host, carrier) = ring();
    let (first, mut old) = open(&host, &carrier).await;
    let pool = async {
        let events = polled(&host);
        let [Event { stream: 1, what: What::StreamEnded }, Event { stream, .. }] = events[..]
        else {
            panic!("{events:?}")
        };
        host.control(stream, &encoded(welcome(false))).unwrap();
        stream
    };
    let (dialled, second) = tokio::join!(carrier.dial(Greeting::default()), pool);
    let mut new = dialled.unwrap();
    for stream in [0, first, second + 1, u32::MAX] {
        assert_eq!(host.control(stream, &pool_ping(1)), Err(Refused::StreamOver));
        assert_eq!(host.control(stream, &[]), Err(Refused::StreamOver));
        assert_eq!(host.complete(stream, vec![rejected(1)]), Err(Refused::StreamOver));
        assert_eq!(host.complete(stream, Vec::new()), Err(Refused::StreamOver));
        assert_eq!(host.hang_up(stream), Err(Refused::StreamOver));
    }
    // Nor does the listener's old end reach the pool, or end the new stream when it goes.
    old.outgoing.send(ping(1).into());
    assert!(!old.outgoing.ready().await);
    assert!(old.incoming.receive().await.unwrap().is_none());
    drop(old);
    assert_eq!(polled(&host), []);
    host.control(second, &pool_ping(2)).unwrap();
    let Ok(Some(Received::Message(FromPool::Ping(got)))) = new.incoming.receive().await else {
        panic!("the Ping")
    };
    assert_eq!(got.id, 2, "the first thing that comes on the new stream");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_answers_no_hello_ends_each_try_and_nothing_piles_up() {
    let (host, carrier) = ring();
    host.log(tracing::Level::WARN, "first".into());
    for _ in 0..100 {
        let error = carrier.dial(Greeting::default()).await.unwrap_err();
        assert!(matches!(error, RingError::NoWelcome(_)), "{error}");
    }
    let events = polled(&host);
    let [Event { stream: 0, what: What::Log { level: tracing::Level::WARN, record } }] = events[..]
    else {
        panic!("the line of the log alone: {events:?}");
    };
    assert_eq!(text(&host, record), "first");
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_was_polled_and_not_taken_is_gone_with_its_stream() {
    let (host, carrier) = ring();
    let pool = async {
        let events = polled(&host);
        let [Event { what: What::Message(record), .. }] = events[..] else { panic!("{events:?}") };
        record
    };
    let (dialled, record) = tokio::join!(carrier.dial(Greeting::default()), pool);
    assert!(matches!(dialled, Err(RingError::NoWelcome(_))));
    assert_eq!(host.take(record.id, &mut vec![0; record.length]), Err(TakeError::NoRecord));
    assert_eq!(polled(&host), [Event { stream: 1, what: What::StreamEnded }]);
}

#[tokio::test]
async fn a_record_outlives_a_buffer_that_is_too_short_and_is_taken_once() {
    let (host, _carrier) = ring();
    host.log(tracing::Level::INFO, "seven b".into());
    let events = polled(&host);
    let [Event { what: What::Log { record, .. }, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!(host.take(record.id, &mut [0; 6]), Err(TakeError::TooShort(7)));
    assert_eq!(host.take(record.id, &mut []), Err(TakeError::TooShort(7)));
    let mut buffer = [0; 9];
    assert_eq!(host.take(record.id, &mut buffer), Ok(7));
    assert_eq!(&buffer, b"seven b\0\0");
    assert_eq!(host.take(record.id, &mut buffer), Err(TakeError::NoRecord));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_reaches_the_pool_before_the_end_and_the_pool_hangs_up() {
    let (host, carrier) = ring();
    let (number, Stream { mut outgoing, mut incoming, .. }) = open(&host, &carrier).await;
    let farewell = ToPool::Drain(v1::Drain { grace_ms: 0, reason: "bye".into() });
    assert!(outgoing.ready().await);
    outgoing.send(farewell.clone().into());
    drop(outgoing);
    assert!(timeout(SOON, incoming.receive()).await.is_err(), "the pool has not hung up");
    let events = polled(&host);
    let [Event { what: What::Message(record), .. }, Event { what: What::StreamEnded, .. }] =
        events[..]
    else {
        panic!("a farewell, then the end: {events:?}");
    };
    assert_eq!(taken(&host, record), farewell);
    host.control(number, &pool_ping(1)).unwrap();
    let last = incoming.receive().await.unwrap();
    assert!(matches!(last, Some(Received::Message(FromPool::Ping(_)))), "still heard");
    host.hang_up(number).unwrap();
    assert!(incoming.receive().await.unwrap().is_none());
    drop(incoming);
    assert_eq!(polled(&host), [], "the end is told once");
}

#[tokio::test]
async fn without_a_farewell_the_stream_ends_with_either_half() {
    for sending in [true, false] {
        let (host, carrier) = ring();
        let (number, Stream { mut outgoing, mut incoming, .. }) = open(&host, &carrier).await;
        outgoing.send(ping(1).into());
        host.control(number, &pool_ping(1)).unwrap();
        if sending {
            drop(outgoing);
            assert!(incoming.receive().await.unwrap().is_none());
        } else {
            drop(incoming);
            assert!(!outgoing.ready().await);
        }
        assert_eq!(polled(&host), [Event { stream: number, what: What::StreamEnded }]);
        assert_eq!(host.hang_up(number), Err(Refused::StreamOver));
    }
}

#[tokio::test]
async fn hanging_up_wakes_who_waits_on_either_half() {
    let (host, carrier) = ring();
    let (number, Stream { mut outgoing, mut incoming, .. }) = open(&host, &carrier).await;
    while has_room(&mut outgoing).await {
        outgoing.send(ping(1).into());
    }
    let (room, received, ()) = tokio::join!(outgoing.ready(), incoming.receive(), async {
        host.hang_up(number).unwrap();
    });
    assert!(!room);
    assert!(received.unwrap().is_none());
    assert_eq!(polled(&host), [Event { stream: number, what: What::StreamEnded }]);
}

/// Whether the descriptor is readable: one byte, which is put back.
fn is_readable(host: &Host) -> bool {
    match (&host.shared.readable).read(&mut [0; 2]) {
        Ok(count) => {
            assert_eq!(count, 1, "one byte at a time");
            (&host.shared.signal).write_all(&[1]).unwrap();
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

#[tokio::test]
async fn the_descriptor_is_readable_exactly_while_events_wait() {
    let (host, carrier) = ring();
    assert!(!is_readable(&host));
    for _ in 0..3 {
        host.log(tracing::Level::INFO, "a line".into());
        assert!(is_readable(&host));
    }
    assert_eq!(host.poll(2, |_| {}), 2);
    assert!(is_readable(&host));
    assert_eq!(host.poll(2, |_| {}), 1);
    assert!(!is_readable(&host));
    let (number, Stream { mut outgoing, incoming, .. }) = open(&host, &carrier).await;
    assert!(!is_readable(&host));
    outgoing.send(ping(1).into());
    assert!(is_readable(&host));
    // What nobody has polled of it goes with the stream; its end is told.
    host.hang_up(number).unwrap();
    assert!(is_readable(&host));
    assert_eq!(polled(&host).len(), 1);
    drop((outgoing, incoming));
    assert!(!is_readable(&host));
    host.drained();
    assert!(is_readable(&host));
}

#[test]
fn nothing_comes_after_the_last_event() {
    let (host, _carrier) = ring();
    host.log(tracing::Level::INFO, "before".into());
    host.fatal("it broke");
    host.log(tracing::Level::INFO, "after".into());
    host.drained();
    host.fatal("again");
    host.shared.begin(v1::Hello::default());
    let events = polled(&host);
    let [Event { what: What::Log { .. }, .. }, Event { what: What::Fatal(record), .. }] =
        events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(text(&host, record), "it broke");
    assert_eq!(host.control(1, &pool_ping(1)), Err(Refused::StreamOver));
}

#[tokio::test]
async fn rejects_what_is_no_message_and_takes_what_a_newer_pool_says() {
    let (host, carrier) = ring();
    let (number, _stream) = open(&host, &carrier).await;
    for garbage in [&[0xff; 9][..], &[0x0a, 0x7f], &[0x07]] {
        let refused = host.control(number, garbage);
        assert!(matches!(refused, Err(Refused::Undecodable(..))), "{garbage:?}: {refused:?}");
    }
    let long = vec![0; MESSAGE_BYTES_MAX + 1];
    let too_long = Refused::TooLong(MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX);
    assert_eq!(host.control(number, &long), Err(too_long));
    // Field 1000, which this contract doesn't have.
    assert_eq!(host.control(number, &[0xc2, 0x3e, 0x00]), Ok(()));
}

#[test]
fn rejects_a_verdict_that_makes_no_sense() {
    let judged = |accepted, reason| {
        verdict(accepted, reason, [3; 32], Difficulty { whole: 1, fraction: 2 }, true)
    };
    let credit = Difficulty { whole: 1, fraction: 2 };
    let good = Verdict::Accepted { hash: Hash([3; 32]), credit, block_candidate: true };
    assert_eq!(judged(true, 0), Some(good));
    let stale = u32::try_from(i32::from(v1::RejectReason::StaleShare)).unwrap();
    assert_eq!(judged(false, stale), Some(Verdict::Rejected(RejectReason::Stale)));
    assert_eq!(judged(true, stale), None);
    for reason in [999, i32::MAX as u32, 1 << 31, u32::MAX] {
        assert_eq!(judged(false, reason), None, "{reason}");
        assert_eq!(judged(true, reason), None, "{reason}");
    }
}
