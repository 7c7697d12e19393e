//! A sink gets every event once in order, whatever breaks in between.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::mpsc;

use super::*;
use crate::obs::counts::State;

/// Events in memory, some of which are gone.
#[derive(Debug, Default)]
struct Book {
    newest: watch::Sender<u64>,
    gone: u64,
    acks: Mutex<Vec<u64>>,
    /// What it remembers of a sink that had more.
    overtaken: Mutex<Option<Overtaken>>,
}

impl Book {
    fn new(newest: u64, gone: u64) -> Arc<Self> {
        Arc::new(Self { newest: watch::Sender::new(newest), gone, ..Self::default() })
    }
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
        Ok(self.gone + 1)
    }
    async fn read(&self, after: u64, max: usize) -> Result<Vec<v1::Event>, SourceError> {
        assert!(after >= self.gone, "{after} was asked for");
        let last = (after + max as u64).min(*self.newest.borrow());
        Ok((after + 1..=last).map(|seq| v1::Event { seq, ..v1::Event::default() }).collect())
    }
    async fn overtaken(&self, _: &str, have: u64) -> Result<Option<Overtaken>, SourceError> {
        let newest = *self.newest.borrow();
        let mut known = self.overtaken.lock().unwrap();
        *known = known.or((have > newest).then_some(Overtaken { have, newest }));
        Ok(*known)
    }
    async fn acked_by(&self, sink: &str) -> Result<u64, SourceError> {
        assert_eq!(sink, "pool");
        Ok(self.acks.lock().unwrap().last().copied().unwrap_or(0))
    }
    async fn acked(&self, sink: &str, seq: u64) -> Result<(), SourceError> {
        assert_eq!(sink, "pool");
        self.acks.lock().unwrap().push(seq);
        Ok(())
    }
}

/// What the sink has, and how many messages each of its streams takes before it breaks.
#[derive(Debug, Default)]
struct Sink {
    kept: Vec<u64>,
    streams: VecDeque<usize>,
    /// What it says it has, when that is not what it has.
    lies: Option<u64>,
    wants_none: bool,
    /// It begins streams, and then ends them instead of keeping anything.
    is_full: bool,
    begun: u32,
}

const NO_EVENTS: &str = "it takes no events";

#[derive(Debug, Clone, Default)]
struct Door(Arc<Mutex<Sink>>);

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("door")
    }
}

struct Open {
    door: Door,
    left: usize,
    answers: (mpsc::Sender<FromSink>, mpsc::Receiver<FromSink>),
}

impl Way for Door {
    type Stream = Open;
    type Error = &'static str;

    async fn begin(&self, start: v1::PublishStart) -> Result<Open, &'static str> {
        assert_eq!((&start.source_id[..], start.durable), (&[5; 16][..], true));
        let mut sink = self.0.lock().unwrap();
        sink.begun += 1;
        let left = sink.streams.pop_front().unwrap_or(usize::MAX);
        if left == 0 {
            return Err(if sink.wants_none { NO_EVENTS } else { "nobody there" });
        }
        let have = sink.kept.last().copied().unwrap_or(0);
        let have_seq = sink.lies.unwrap_or(have);
        let answers = mpsc::channel(64);
        let ready = v1::PublishReady { protocol: 1, have_seq, software: String::new() };
        answers.0.try_send(FromSink::Ready(ready)).unwrap();
        Ok(Open { door: self.clone(), left, answers })
    }

    fn takes_none(&self, error: &&'static str) -> bool {
        *error == NO_EVENTS
    }
}

impl Stream for Open {
    async fn send(&mut self, message: v1::PublishRequest) -> bool {
        self.left -= 1;
        let Some(ToSink::Batch(batch)) = message.message else { panic!("no batch") };
        assert!((1..=MAX_BATCH).contains(&batch.events.len()));
        let mut sink = self.door.0.lock().unwrap();
        if sink.is_full {
            return false;
        }
        sink.kept.extend(batch.events.iter().map(|event| event.seq));
        let seq = batch.events.last().unwrap().seq;
        // The last one is kept, and its ack is lost.
        self.left > 0 && self.answers.0.try_send(FromSink::Ack(v1::EventAck { seq })).is_ok()
    }

    async fn receive(&mut self) -> Result<Option<v1::PublishResponse>, String> {
        let message = self.answers.1.recv().await;
        Ok(Some(v1::PublishResponse { message }))
    }
}

async fn reaches(book: &Book, seq: u64) {
    while book.acks.lock().unwrap().last() != Some(&seq) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_in_order_over_streams_that_break() {
    let (book, door) = (Book::new(5_000, 0), Door::default());
    door.0.lock().unwrap().streams = [0, 2, 0, 1, 1].into();
    let (stop, stops) = watch::channel(false);
    let publisher = Publisher::new(Arc::clone(&book), door.clone(), "pool", "sidecar".into());
    let task = tokio::spawn(publisher.run(stops));
    reaches(&book, 5_000).await;
    book.newest.send_replace(12_345);
    reaches(&book, 12_345).await;
    // What comes when we stop already gets there, too.
    book.newest.send_replace(12_346);
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(door.0.lock().unwrap().kept, (1..=12_346).collect::<Vec<_>>());
    assert!(book.acks.lock().unwrap().is_sorted());
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_begins_with_what_is_still_there() {
    let (book, door) = (Book::new(30, 20), Door::default());
    let (stop, stops) = watch::channel(false);
    let publisher = Publisher::new(Arc::clone(&book), door.clone(), "pool", "sidecar".into());
    let task = tokio::spawn(publisher.run(stops));
    reaches(&book, 30).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert_eq!(door.0.lock().unwrap().kept, (21..=30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_knows_more_than_the_source_gets_nothing() {
    let (book, door) = (Book::new(30, 0), Door::default());
    door.0.lock().unwrap().lies = Some(31);
    let (stop, stops) = watch::channel(false);
    let publisher = Publisher::new(Arc::clone(&book), door.clone(), "pool", "sidecar".into());
    let counts = Counts::default();
    let task = tokio::spawn(publisher.counted(counts.clone()).run(stops));
    sleep(Duration::from_secs(100)).await;
    // It has more than the sink by now, and other things: nothing flows until somebody has looked.
    book.newest.send_replace(40);
    sleep(Duration::from_secs(100)).await;
    door.0.lock().unwrap().lies = Some(0);
    sleep(Duration::from_secs(100)).await;
    stop.send_replace(true);
    task.await.unwrap();
    assert!(door.0.lock().unwrap().kept.is_empty() && book.acks.lock().unwrap().is_empty());
    // Health says what to do.
    let detail = counts.sinks.of("pool").standing.read().detail;
    assert!(detail.contains("event 31, and 30 was the newest"), "{detail}");
    assert!(detail.contains("`gopool-sv2 ledger resume`"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_begins_and_keeps_nothing_is_down_and_asked_ever_less_often() {
    let (book, door, counts) = (Book::new(100, 0), Door::default(), Counts::default());
    door.0.lock().unwrap().is_full = true;
    let (_stop, stops) = watch::channel(false);
    let publisher = Publisher::new(Arc::clone(&book), door.clone(), "pool", "sidecar".into());
    tokio::spawn(publisher.counted(counts.clone()).run(stops));
    let state = || counts.sinks.pool.standing.read().state;
    for _ in 0..100 {
        sleep(Duration::from_secs(3)).await;
        assert_eq!(state(), State::Down);
    }
    let begun = door.0.lock().unwrap().begun;
    assert!((5..40).contains(&begun), "{begun} times in five minutes");
    door.0.lock().unwrap().is_full = false;
    reaches(&book, 100).await;
    assert_eq!(state(), State::Up);
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_had_in_an_earlier_life_does_not_wait_for_it() {
    let (book, door, counts) = (Book::new(100, 0), Door::default(), Counts::default());
    book.acks.lock().unwrap().push(70);
    // Nobody is there, for as long as this lasts.
    door.0.lock().unwrap().streams = [0; 1000].into();
    let (_stop, stops) = watch::channel(false);
    let publisher = Publisher::new(book, door.clone(), "pool", "sidecar".into());
    tokio::spawn(publisher.counted(counts.clone()).run(stops));
    let state = || counts.sinks.pool.standing.read().state;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((counts.sinks.pool.unacked(), state()), (30, State::Down));
    // It is there again, and wants none.
    door.0.lock().unwrap().wants_none = true;
    sleep(Duration::from_secs(60)).await;
    assert_eq!((counts.sinks.pool.unacked(), state()), (0, State::Off));
    // It wants some after all.
    door.0.lock().unwrap().streams.clear();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((counts.sinks.pool.unacked(), state()), (0, State::Up));
    assert_eq!(door.0.lock().unwrap().kept.last(), Some(&100));
}
