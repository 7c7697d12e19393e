//! Promises of the ring's bounds: a pool that is slow, or asleep, slows the listener, and costs it
//! no more memory than the ring holds.

use tokio::time::{timeout, Duration};
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::carrier::RingOutgoing;
use super::tests::{encoded, open, ping, polled, pool_ping, rejected, ring, text, IN_FLIGHT};
use super::*;
use crate::backend::carrier::{Incoming as _, Outgoing as _, Received, Stream};
use crate::backend::Parcel;

/// Events, and records, that a pool may leave unread.
const EVENTS: usize = 4096;
/// Submits in a message.
const BATCH: usize = 256;
/// Longer than anything here waits for; the clock is a played one.
const SOON: Duration = Duration::from_millis(50);

async fn has_room(outgoing: &mut RingOutgoing) -> bool {
    timeout(SOON, outgoing.ready()).await == Ok(true)
}

/// A batch of submits with ids from `first`.
fn batch(first: u64) -> Parcel {
    let ids = first..first + BATCH as u64;
    Parcel::Shares(ids.map(|id| Share { id, ..Share::default() }).collect())
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_does_not_poll_fills_the_ring_and_no_more() {
    let (host, carrier) = ring();
    let (_, Stream { mut outgoing, incoming: _incoming, .. }) = open(&host, &carrier).await;
    let mut sent = 0;
    while has_room(&mut outgoing).await {
        outgoing.send(batch(sent));
        sent += BATCH as u64;
        assert!(sent <= 2 * EVENTS as u64, "no bound");
    }
    assert_eq!(sent, EVENTS as u64);
    // Polling makes room, and wakes who waits for it.
    let mut ids = Vec::new();
    let take = |event: &Event| match event.what {
        What::Submit(submit) => ids.push(submit.id),
        other => panic!("{other:?}"),
    };
    let (room, count) = tokio::join!(outgoing.ready(), async { host.poll(1, take) });
    assert!(room);
    assert_eq!((count, ids), (1, vec![0]));
    outgoing.send(batch(sent));
    assert!(!has_room(&mut outgoing).await);
    let rest = polled(&host).into_iter().map(|event| match event.what {
        What::Submit(submit) => submit.id,
        other => panic!("{other:?}"),
    });
    assert!(rest.eq(1..sent + BATCH as u64), "all of them, in order");
    assert!(has_room(&mut outgoing).await);
}

#[tokio::test(start_paused = true)]
async fn records_that_are_polled_and_never_taken_count_as_full() {
    let (host, carrier) = ring();
    let (_, Stream { mut outgoing, incoming: _incoming, .. }) = open(&host, &carrier).await;
    let mut records = Vec::new();
    while has_room(&mut outgoing).await {
        outgoing.send(ping(records.len() as u64).into());
        let events = polled(&host);
        let [Event { what: What::Message(record), .. }] = events[..] else { panic!("{events:?}") };
        records.push(record);
        assert!(records.len() <= EVENTS, "no bound");
    }
    assert_eq!(records.len(), EVENTS);
    let take = async { host.take(records[7].id, &mut vec![0; records[7].length]) };
    let (room, taken) = tokio::join!(outgoing.ready(), take);
    assert!(room);
    assert_eq!(taken, Ok(records[7].length));
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_records_have_a_bound_of_their_own() {
    let (host, carrier) = ring();
    let (number, Stream { mut outgoing, incoming: _incoming, .. }) = open(&host, &carrier).await;
    let mut sent = 0;
    while has_room(&mut outgoing).await {
        let reason = "x".repeat(1 << 20);
        let drain = v1::Drain { grace_ms: 0, reason };
        outgoing.send(ToPool::Drain(drain).into());
        sent += 1;
        assert!(sent <= 8, "no bound");
    }
    assert_eq!(sent, 4, "of a megabyte each");
    host.hang_up(number).unwrap();
    let (_, Stream { mut outgoing, incoming: _incoming, .. }) =
        open_behind_an_end(&host, &carrier).await;
    assert!(has_room(&mut outgoing).await, "the room of a stream comes back with its end");
}

/// As [`open`], where the end of the stream before is still to be polled.
async fn open_behind_an_end(
    host: &Host,
    carrier: &RingCarrier,
) -> (u32, Stream<RingOutgoing, super::carrier::RingIncoming>) {
    let events = polled(host);
    assert!(matches!(events[..], [Event { what: What::StreamEnded, .. }]), "{events:?}");
    open(host, carrier).await
}

#[tokio::test(start_paused = true)]
async fn messages_beyond_the_bound_are_refused_and_room_is_told_once() {
    let (host, carrier) = ring();
    let (number, Stream { mut incoming, outgoing: _outgoing, .. }) = open(&host, &carrier).await;
    let mut said = 0;
    while host.control(number, &pool_ping(said)).is_ok() {
        said += 1;
        assert!(said <= 8192, "no bound");
    }
    assert_eq!(said, 4096);
    assert_eq!(host.control(number, &pool_ping(said)), Err(Refused::Full));
    assert_eq!(polled(&host), []);
    let mut told = Vec::new();
    for id in 0..said {
        let received = incoming.receive().await.unwrap();
        let Some(Received::Message(FromPool::Ping(ping))) = received else {
            panic!("{received:?}")
        };
        assert_eq!(ping.id, id, "in order");
        told.extend(polled(&host).into_iter().map(|event| (id, event)));
    }
    let room = Event { stream: number, what: What::Room };
    assert_eq!(told, [(said / 2 - 1, room)], "once, when half is read");
    assert_eq!(host.control(number, &pool_ping(0)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_messages_have_a_bound_of_their_own() {
    let (host, carrier) = ring();
    let (number, Stream { mut incoming, outgoing: _outgoing, .. }) = open(&host, &carrier).await;
    let reason = "x".repeat(MESSAGE_BYTES_MAX - 64);
    let long = encoded(FromPool::Drain(v1::Drain { grace_ms: 0, reason }));
    assert_eq!(host.control(number, &long), Ok(()));
    assert_eq!(host.control(number, &long), Ok(()));
    assert_eq!(host.control(number, &long), Err(Refused::Full));
    assert!(incoming.receive().await.unwrap().is_some());
    assert_eq!(polled(&host), [Event { stream: number, what: What::Room }]);
    assert_eq!(host.control(number, &long), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn verdicts_beyond_the_bound_are_refused_whole_and_room_is_told_once() {
    let (host, carrier) = ring();
    let (number, Stream { mut incoming, outgoing: _outgoing, .. }) = open(&host, &carrier).await;
    let verdicts = |count: usize| (0..count as u64).map(rejected).collect::<Vec<_>>();
    // Who has nothing waiting may hand over any number.
    let complete = |count| host.complete(number, verdicts(count));
    complete(5 * IN_FLIGHT).unwrap();
    assert_eq!(complete(1), Err(Refused::Full));
    assert_eq!(complete(0), Ok(()), "nothing takes no room");
    let received = incoming.receive().await.unwrap();
    let Some(Received::Verdicts(got)) = received else { panic!("{received:?}") };
    assert_eq!(got, verdicts(5 * IN_FLIGHT));
    assert_eq!(polled(&host), [Event { stream: number, what: What::Room }]);
    complete(IN_FLIGHT).unwrap();
    // A message between them keeps its place.
    host.control(number, &pool_ping(1)).unwrap();
    complete(IN_FLIGHT).unwrap();
    assert_eq!(complete(1), Err(Refused::Full));
    for (told, verdicts) in [(1, IN_FLIGHT), (0, 0), (0, IN_FLIGHT)] {
        let received = incoming.receive().await.unwrap();
        let got = match received.unwrap() {
            Received::Verdicts(got) => got.len(),
            Received::Message(_) => 0,
        };
        assert_eq!((got, polled(&host).len()), (verdicts, told));
    }
    assert!(timeout(SOON, incoming.receive()).await.is_err(), "what was refused never comes");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_forgets_that_it_was_full() {
    let (host, carrier) = ring();
    let (number, stream) = open(&host, &carrier).await;
    while host.control(number, &pool_ping(1)).is_ok() {}
    drop(stream);
    let (number, Stream { mut incoming, outgoing: _outgoing, .. }) =
        open_behind_an_end(&host, &carrier).await;
    assert_eq!(host.control(number, &pool_ping(2)), Ok(()));
    assert!(incoming.receive().await.unwrap().is_some());
    assert_eq!(polled(&host), [], "nobody was refused on this one");
}

/// The texts of lines that wait.
fn lines(host: &Host) -> Vec<String> {
    let lines = polled(host).into_iter().map(|event| match event.what {
        What::Log { record, .. } => text(host, record),
        other => panic!("{other:?}"),
    });
    lines.collect()
}

#[tokio::test(start_paused = true)]
async fn lines_of_the_log_beyond_the_bound_are_dropped_and_counted() {
    let (host, carrier) = ring();
    let (_, Stream { mut outgoing, incoming: _incoming, .. }) = open(&host, &carrier).await;
    for line in 0..1030 {
        host.log(tracing::Level::INFO, format!("line {line}"));
    }
    // They take nothing from the streams.
    let mut sent = 0;
    while has_room(&mut outgoing).await {
        outgoing.send(batch(0));
        sent += BATCH;
    }
    assert_eq!(sent, EVENTS);
    drop(outgoing);
    let mut events = polled(&host);
    assert_eq!(events.pop().map(|event| event.what), Some(What::StreamEnded));
    assert_eq!(events.len(), 1024);
    for (index, event) in events.into_iter().enumerate() {
        let What::Log { record, .. } = event.what else { panic!("{event:?}") };
        assert_eq!(text(&host, record), format!("line {index}"));
    }
    host.log(tracing::Level::INFO, "next".into());
    host.log(tracing::Level::INFO, "last".into());
    assert_eq!(lines(&host), ["next (6 lines before this were dropped)", "last"]);
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_polled_and_never_taken_do_not_pile_up() {
    let (host, carrier) = ring();
    let (_, Stream { mut outgoing, incoming: _incoming, .. }) = open(&host, &carrier).await;
    let mut told = Vec::new();
    for line in 0..5000 {
        host.log(tracing::Level::INFO, format!("line {line}"));
        told.extend(polled(&host));
    }
    assert_eq!(told.len(), 1024);
    assert!(has_room(&mut outgoing).await, "the streams go on");
    for event in told {
        let What::Log { record, .. } = event.what else { panic!("{event:?}") };
        text(&host, record);
    }
    host.log(tracing::Level::INFO, "next".into());
    assert_eq!(lines(&host), ["next (3976 lines before this were dropped)"]);
}
