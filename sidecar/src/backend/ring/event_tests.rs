//! Promises of the ring's streams of events: in order, never more than one message held, and
//! whatever the pool does with them, work goes on beside them.

use std::sync::Mutex;

use tokio::sync::watch;
use tokio::time::{timeout, Duration};
use v1::publish_request::Message as ToSink;
use v1::publish_response::Message as FromSink;

use super::tests::{open, ping, polled, ring, taken};
use super::*;
use crate::backend::carrier::Outgoing as _;
use crate::event::{Publisher, Source, SourceError};

/// Events that are made when they are read.
#[derive(Debug)]
struct Book {
    newest: watch::Sender<u64>,
    acked: Mutex<u64>,
    reads: Mutex<u64>,
}

impl Source for Book {
    fn id(&self) -> [u8; 16] {
        [5; 16]
    }
    fn is_durable(&self) -> bool {
        true
    }
    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
    async fn oldest(&self) -> Result<u64, SourceError> {
        Ok(*self.acked.lock().unwrap() + 1)
    }
    async fn read(&self, after: u64, max: usize) -> Result<Vec<v1::Event>, SourceError> {
        *self.reads.lock().unwrap() += 1;
        let last = (after + max as u64).min(*self.newest.borrow());
        Ok((after + 1..=last).map(event).collect())
    }
    async fn acked(&self, sink: &str, seq: u64) -> Result<(), SourceError> {
        assert_eq!(sink, "pool");
        let mut acked = self.acked.lock().unwrap();
        assert!(seq >= *acked, "{seq} after {acked}");
        *acked = seq;
        Ok(())
    }
}

fn event(seq: u64) -> v1::Event {
    let accrued = v1::MintAccrued { shares: seq, ..v1::MintAccrued::default() };
    v1::Event { seq, at_ms: 7, event: Some(v1::event::Event::MintAccrued(accrued)) }
}

/// A source with so many events, sent over a ring until the value is dropped.
struct Sending {
    book: Arc<Book>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Sending {
    fn new(ring: &RingCarrier, newest: u64) -> Self {
        let newest = watch::Sender::new(newest);
        let book = Arc::new(Book { newest, acked: Mutex::default(), reads: Mutex::default() });
        let (stop, stops) = watch::channel(false);
        let publisher = Publisher::new(book.clone(), ring.events(), "pool", "here".into());
        Self { book, stop, task: tokio::spawn(publisher.run(stops)) }
    }

    fn acked(&self) -> u64 {
        *self.book.acked.lock().unwrap()
    }
}

/// The pool's side of one stream.
struct Sink<'a> {
    host: &'a Host,
    stream: u32,
}

impl<'a> Sink<'a> {
    /// Waits for a stream to begin, and says what it has.
    async fn begin(host: &'a Host, have_seq: u64) -> (Sink<'a>, v1::PublishStart) {
        let Event { stream, what } = next(host).await;
        let ToSink::Start(start) = request(host, what) else { panic!("a start") };
        let sink = Sink { host, stream };
        let ready = v1::PublishReady { protocol: 1, have_seq, software: "pool/1".into() };
        assert_eq!(sink.say(FromSink::Ready(ready)), Ok(()));
        (sink, start)
    }

    fn say(&self, message: FromSink) -> Result<(), Refused> {
        let answer = v1::PublishResponse { message: Some(message) }.encode_to_vec();
        self.host.acknowledge(self.stream, &answer)
    }

    fn ack(&self, seq: u64) {
        assert_eq!(self.say(FromSink::Ack(v1::EventAck { seq })), Ok(()));
    }

    /// Waits for the next batch, and gives its events.
    async fn batch(&self) -> Vec<v1::Event> {
        let event = next(self.host).await;
        assert_eq!(event.stream, self.stream);
        match request(self.host, event.what) {
            ToSink::Batch(batch) => batch.events,
            other => panic!("a batch: {other:?}"),
        }
    }
}

fn request(host: &Host, what: What) -> ToSink {
    let What::Publish(record) = what else { panic!("a message of events: {what:?}") };
    let mut bytes = vec![0; record.length];
    assert_eq!(host.take(record.id, &mut bytes), Ok(record.length));
    v1::PublishRequest::decode(&bytes[..]).unwrap().message.unwrap()
}

/// Waits for an event, one.
async fn next(host: &Host) -> Event {
    loop {
        let mut event = None;
        if host.poll(1, |polled| event = Some(*polled)) == 1 {
            return event.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets everybody else do what they can; the clock is a played one.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[tokio::test(start_paused = true)]
async fn events_come_as_the_source_has_them_and_what_is_acknowledged_is_noted() {
    let (host, carrier) = ring();
    let sending = Sending::new(&carrier, 1500);
    let (sink, start) = Sink::begin(&host, 100).await;
    assert_eq!((&start.source_id[..], &start.sidecar_id[..]), (&[5; 16][..], "here"));
    assert_eq!((start.protocol, start.durable, start.first_seq), (1, true, 1));
    let mut events = sink.batch().await;
    events.extend(sink.batch().await);
    assert_eq!(events, (101..=1500).map(event).collect::<Vec<_>>());
    sink.ack(1000);
    settle().await;
    assert_eq!(sending.acked(), 1000);
    sending.book.newest.send_replace(1501);
    assert_eq!(sink.batch().await, [event(1501)]);
    sink.ack(1501);
    sending.stop.send_replace(true);
    sending.task.await.unwrap();
    assert_eq!(*sending.book.acked.lock().unwrap(), 1501);
    assert_eq!(next(&host).await, Event { stream: sink.stream, what: What::StreamEnded });
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_takes_nothing_holds_up_one_message_and_no_work() {
    let (host, carrier) = ring();
    let sending = Sending::new(&carrier, 1_000_000);
    let (sink, _) = Sink::begin(&host, 0).await;
    settle().await;
    let (_, mut work) = {
        let events = polled(&host);
        let [Event { what: What::Publish(_), .. }] = events[..] else { panic!("{events:?}") };
        open(&host, &carrier).await
    };
    settle().await;
    assert_eq!(*sending.book.reads.lock().unwrap(), 2, "one waits, and the one behind it");
    for id in 0..100 {
        assert!(work.outgoing.ready().await);
        work.outgoing.send(ping(id).into());
    }
    for event in polled(&host) {
        let What::Message(record) = event.what else { panic!("{event:?}") };
        assert_ne!(event.stream, sink.stream);
        taken(&host, record);
    }
    // Nor does it hold up a stop.
    sending.stop.send_replace(true);
    timeout(Duration::from_secs(2), sending.task).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_never_acknowledges_is_sent_a_window_and_no_more() {
    let (host, carrier) = ring();
    let sending = Sending::new(&carrier, 1_000_000);
    let (sink, _) = Sink::begin(&host, 0).await;
    let mut last = 0;
    while let Ok(events) = timeout(Duration::from_secs(600), sink.batch()).await {
        assert_eq!(events[0].seq, last + 1);
        last = events.last().unwrap().seq;
    }
    assert_eq!((last, sending.acked()), (4096, 0));
    sink.ack(1024);
    assert_eq!(sink.batch().await[0].seq, 4097);
}

#[tokio::test(start_paused = true)]
async fn survives_a_pool_that_is_slower_than_events_come() {
    let (host, carrier) = ring();
    let sending = Sending::new(&carrier, 1);
    let (sink, _) = Sink::begin(&host, 0).await;
    for seq in 1..=200 {
        let event = next(&host).await;
        // Whenever one is taken another waits behind it, and a third is there to be read.
        sending.book.newest.send_replace(seq + 1);
        settle().await;
        sending.book.newest.send_replace(seq + 2);
        let ToSink::Batch(batch) = request(&host, event.what) else { panic!("a batch") };
        assert_eq!(batch.events, [self::event(seq)]);
        settle().await;
        sink.ack(seq);
    }
    assert_eq!(sink.batch().await, [event(201)]);
    assert_eq!(sink.batch().await, [event(202)]);
    sink.ack(202);
    settle().await;
    assert_eq!(sending.acked(), 202);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_hangs_up_is_offered_the_same_again_on_another_stream() {
    let (host, carrier) = ring();
    let _sending = Sending::new(&carrier, 10);
    let (first, _) = Sink::begin(&host, 0).await;
    assert_eq!(first.batch().await.len(), 10);
    assert_eq!(host.hang_up(first.stream), Ok(()));
    assert_eq!(host.hang_up(first.stream), Err(Refused::StreamOver));
    let late = first.say(FromSink::Ack(v1::EventAck { seq: 10 }));
    assert_eq!(late, Err(Refused::StreamOver));
    assert_eq!(next(&host).await, Event { stream: first.stream, what: What::StreamEnded });
    let (second, start) = Sink::begin(&host, 4).await;
    assert!(second.stream > first.stream && start.first_seq == 1);
    assert_eq!(second.batch().await, (5..=10).map(event).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn survives_a_pool_that_knows_nothing_of_events() {
    let (host, carrier) = ring();
    let sending = Sending::new(&carrier, 10);
    // It polls, and passes them over: nothing piles up, and nothing is lost.
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(polled(&host).len() <= 2);
    }
    let (_, mut work) = open(&host, &carrier).await;
    assert!(work.outgoing.ready().await);
    assert!(!sending.task.is_finished());
    // One that has events, and no use for them, hangs up.
    loop {
        let event = next(&host).await;
        if let What::Publish(record) = event.what {
            assert_eq!(host.hang_up(event.stream), Ok(()));
            assert_eq!(host.take(record.id, &mut [0; 256]), Err(TakeError::NoRecord));
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_hangs_up_unheard_wants_no_events() {
    let (host, carrier) = ring();
    for takes in [false, true] {
        let way = carrier.events();
        let start = v1::PublishStart::default();
        let mut stream = crate::event::Way::begin(&way, start).await.unwrap();
        let event = next(&host).await;
        if takes {
            request(&host, event.what);
        }
        assert_eq!(host.hang_up(event.stream), Ok(()));
        let error = crate::event::Stream::receive(&mut stream).await.unwrap_err();
        assert_eq!(crate::event::Stream::takes_none(&stream), !takes, "{error}");
        assert_eq!(next(&host).await, Event { stream: event.stream, what: What::StreamEnded });
    }
}

#[tokio::test(start_paused = true)]
async fn answers_beyond_what_may_wait_are_refused_until_there_is_room() {
    let (host, carrier) = ring();
    let events = carrier.events();
    let start = v1::PublishStart::default();
    let mut stream = crate::event::Way::begin(&events, start).await.unwrap();
    let (sink, _) = Sink::begin(&host, 0).await;
    let ack = |seq| sink.say(FromSink::Ack(v1::EventAck { seq }));
    // Acks that go back are not one.
    let taken = (1..=1000).rev().take_while(|seq| ack(*seq) == Ok(())).count();
    assert_eq!((taken, ack(1)), (63, Err(Refused::Full)), "with the Ready");
    assert_eq!(polled(&host), []);
    for _ in 0..32 {
        crate::event::Stream::receive(&mut stream).await.unwrap().unwrap();
    }
    assert_eq!(polled(&host), [Event { stream: sink.stream, what: What::Room }]);
    assert_eq!(ack(1), Ok(()));
    // What is no answer, too long, or not known yet.
    let bad = host.acknowledge(sink.stream, &[0xff]);
    assert!(matches!(bad, Err(Refused::Undecodable("PublishResponse", _))), "{bad:?}");
    let long = host.acknowledge(sink.stream, &[0; ANSWER_BYTES_MAX + 1]);
    assert_eq!(long, Err(Refused::TooLong(ANSWER_BYTES_MAX + 1, ANSWER_BYTES_MAX)));
    assert_eq!(host.acknowledge(sink.stream, &[]), Ok(()));
    assert_eq!(host.acknowledge(sink.stream + 1, &[]), Err(Refused::StreamOver));
    // Neither kind of stream takes what is the other's.
    assert_eq!(host.control(sink.stream, &[]), Err(Refused::StreamOver));
    let (work, _open) = open(&host, &carrier).await;
    assert_eq!(host.acknowledge(work, &[]), Err(Refused::StreamOver));
}

#[tokio::test(start_paused = true)]
async fn the_last_event_ends_a_stream_of_events_too() {
    let (host, carrier) = ring();
    let _sending = Sending::new(&carrier, 10);
    let (sink, _) = Sink::begin(&host, 0).await;
    host.drained();
    let ended = Event { stream: sink.stream, what: What::StreamEnded };
    let last = Event { stream: 0, what: What::Drained };
    assert_eq!(polled(&host), [ended, last]);
    // Nothing begins behind it.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(polled(&host), []);
}
