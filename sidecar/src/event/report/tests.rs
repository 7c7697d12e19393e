//! Promises of the reports.

use bytes::Bytes;

use super::*;
use crate::event::Source as _;
use crate::obs::clients::{ChannelFacts, OpenChannel};
use crate::obs::witness::Witness;
use crate::obs::Presence;
use crate::types::{ChannelKey, ConnId, Connection, Difficulty, Target};

/// A sidecar on which nothing has happened.
struct Scene {
    recent: Arc<Recent>,
    clients: Clients,
    counts: Counts,
    reporter: Reporter,
    read: u64,
}

fn scene(max: usize) -> Scene {
    let counts = Counts::default();
    let recent = Arc::new(Recent::new(max, Arc::clone(&counts.sinks.stats_dropped)));
    counts.tell(Arc::clone(&recent) as Arc<dyn Witness>);
    let clients = Clients::new(counts.clone());
    let every = Duration::from_secs(10);
    let (book, list, kept) = (counts.clone(), clients.clone(), Arc::clone(&recent));
    let reporter = Reporter::new(kept, list, book, 60_000, every);
    Scene { recent, clients, counts, reporter, read: 0 }
}

impl Scene {
    /// What came since the last time; the sink has it then when it `takes` it.
    async fn heard(&mut self, takes: bool) -> Vec<Event> {
        let events = self.recent.read(self.read, usize::MAX).await.unwrap();
        self.read = events.last().map_or(self.read, |event| event.seq);
        if takes {
            self.recent.acked("stats", self.read).await.unwrap();
        }
        events.into_iter().filter_map(|event| event.event).collect()
    }

    /// A whole round, at once.
    async fn round(&mut self) {
        self.reporter.due = Instant::now();
        self.reporter.turn().await;
    }
}

fn enter(clients: &Clients, id: u64) -> Presence {
    let presence = clients.enter(ConnId(id), String::new(), 1);
    presence.set_up(Arc::new(Connection {
        id: ConnId(id),
        remote_address: "192.0.2.1:1".into(),
        vendor: Bytes::from_static(b"maker"),
        hardware_version: Bytes::new(),
        firmware: Bytes::new(),
        device_id: Bytes::new(),
        setup_flags: 4,
        extensions: vec![2],
        connected_ms: 1,
    }));
    presence
}

fn open(of: &Presence, ordinal: u32) -> OpenChannel {
    of.open(ChannelFacts {
        key: ChannelKey::new(ConnId(of.client().id), ordinal).unwrap(),
        id: ordinal,
        kind: Kind::Extended,
        user_identity: Bytes::from_static(b"me"),
        prefix: Bytes::from_static(&[1]),
        extranonce_size: 6,
        nominal_hash_rate: 1e12,
        target: Target::EASIEST,
        max_target: Target::EASIEST,
    })
}

fn work(whole: u64) -> Difficulty {
    Difficulty { whole, fraction: 0 }
}

fn totals(events: &[Event]) -> Vec<&v1::ShareTotals> {
    let found = events.iter().filter_map(|event| match event {
        Event::ShareTotals(totals) => Some(totals),
        _ => None,
    });
    found.collect()
}

fn snapshots(events: &[Event]) -> Vec<&v1::Snapshot> {
    let found = events.iter().filter_map(|event| match event {
        Event::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    found.collect()
}

#[tokio::test(start_paused = true)]
async fn tells_what_changed_and_how_it_stands() {
    let mut scene = scene(1_000);
    let one = enter(&scene.clients, 1);
    let (quiet, busy) = (open(&one, 1), open(&one, 2));
    busy.accepted(3, work(7), 3);
    busy.rejected(crate::types::RejectReason::Stale, true);
    busy.answered(Duration::from_micros(300));
    scene.counts.connections.handshakes.one("crypto");
    scene.counts.connections.handshakes.one("ok");
    scene.counts.connections.refused.one("full");
    scene.round().await;
    let heard = scene.heard(true).await;
    assert!(matches!(&heard[0], Event::ConnectionOpened(opened)
        if opened.connection.as_ref().unwrap().vendor == "maker"));
    assert!(matches!(&heard[1], Event::ChannelStarted(started)
        if started.connection_id == 1 && started.kind == 2 && started.user_identity == "me"));
    let told = totals(&heard);
    assert_eq!(told.len(), 1, "{heard:#?}");
    assert_eq!((told[0].channel_id, told[0].accepted), (busy.book().key.to_wire(), 3));
    assert_eq!(told[0].credit, Some(v1::Difficulty { whole: 7, fraction: 0 }));
    assert_eq!(told[0].rejected, [v1::RejectCount { reason: 3, count: 1 }]);
    let stands = snapshots(&heard);
    assert_eq!((stands[0].connections, stands[0].extended_channels), (1, 2));
    assert_eq!((stands[0].handshakes_failed, stands[0].connections_refused), (1, 1));
    assert_eq!(stands[0].answers, [v1::LatencyCount { upto_us: 500, count: 1 }]);
    assert_eq!(stands[0].since_ms, scene.counts.started_ms);
    assert!(stands[0].mint.is_none());
    let names: Vec<_> = stands[0].dependencies.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["pool", "template", "ledger", "mint", "sink:pool", "sink:stats"]);
    scene.round().await;
    let heard = scene.heard(true).await;
    assert!(totals(&heard).is_empty(), "nothing happened since: {heard:#?}");
    let again = snapshots(&heard);
    assert_eq!((again[0].handshakes_failed, again[0].answers.len()), (0, 0));
    drop((quiet, busy));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_channel_carries_the_rest() {
    let mut scene = scene(1_000);
    let one = enter(&scene.clients, 1);
    let channel = open(&one, 1);
    channel.accepted(3, work(3), 3);
    scene.round().await;
    channel.accepted(2, work(2), 5);
    drop(channel);
    one.closed("peer-closed");
    let heard = scene.heard(true).await;
    assert_eq!(totals(&heard).iter().map(|told| told.accepted).collect::<Vec<_>>(), [3, 2]);
    let end = &heard[heard.len() - 3..];
    assert!(matches!(&end[0], Event::ShareTotals(_)), "{end:#?}");
    assert!(matches!(&end[1], Event::ChannelEnded(ended) if ended.reason == "connection closed"));
    assert!(matches!(&end[2], Event::ConnectionClosed(closed) if closed.cause == "peer-closed"));
}

#[tokio::test(start_paused = true)]
async fn sums_wait_while_the_sink_is_away_and_none_is_lost() {
    let mut scene = scene(20);
    let one = enter(&scene.clients, 1);
    let channel = open(&one, 1);
    for round in 0..50 {
        channel.accepted(1, work(1), round);
        scene.round().await;
    }
    assert!(scene.recent.is_crowded());
    assert_eq!(scene.counts.sinks.stats_dropped.get(), 0);
    let mut heard = scene.heard(true).await;
    scene.round().await;
    heard.extend(scene.heard(true).await);
    assert_eq!(totals(&heard).iter().map(|told| told.accepted).sum::<u64>(), 50);
    assert!(totals(&heard).len() < 20);
    assert!(snapshots(&heard).len() > 1);
    drop(channel);
}

#[tokio::test(start_paused = true)]
async fn tells_anew_what_is_open_when_the_sink_missed_something() {
    let mut scene = scene(1_000);
    let (one, other) = (enter(&scene.clients, 1), enter(&scene.clients, 2));
    let (first, second) = (open(&one, 1), open(&other, 1));
    scene.round().await;
    scene.heard(true).await;
    drop(second);
    other.closed("peer-closed");
    drop(other);
    scene.heard(true).await;
    scene.recent.begun("stats", 0).await;
    first.accepted(1, work(1), 1);
    scene.round().await;
    let heard = scene.heard(true).await;
    let kinds: Vec<_> = heard
        .iter()
        .map(|event| match event {
            Event::ConnectionOpened(opened) => {
                format!("opened {}", opened.connection.as_ref().unwrap().id)
            }
            Event::ChannelStarted(started) => format!("started {}", started.channel_id),
            Event::ShareTotals(totals) => format!("totals {}", totals.channel_id),
            Event::Snapshot(_) => "snapshot".into(),
            other => format!("{other:?}"),
        })
        .collect();
    let channel = first.book().key.to_wire();
    let want = ["opened 1".into(), format!("started {channel}"), format!("totals {channel}")];
    assert_eq!(kinds[..3], want);
    assert_eq!(kinds[3..], ["snapshot"]);
}

#[tokio::test(start_paused = true)]
async fn tells_anew_in_portions_that_fit() {
    let mut scene = scene(40);
    let connections: Vec<_> = (1..=100).map(|id| enter(&scene.clients, id)).collect();
    scene.recent.acked("stats", 100).await.unwrap();
    let dropped = scene.counts.sinks.stats_dropped.get();
    scene.read = 100;
    scene.recent.begun("stats", 0).await;
    let mut told = Vec::new();
    for _ in 0..20 {
        scene.round().await;
        for event in scene.heard(true).await {
            if let Event::ConnectionOpened(opened) = event {
                told.push(opened.connection.unwrap().id);
            }
        }
    }
    assert_eq!(told, (1..=100).collect::<Vec<_>>());
    assert_eq!(scene.counts.sinks.stats_dropped.get(), dropped);
    drop(connections);
}

#[tokio::test(start_paused = true)]
async fn tells_when_a_dependency_changes() {
    let mut scene = scene(1_000);
    scene.counts.pool.standing.up();
    scene.round().await;
    scene.counts.pool.standing.down("the stream broke");
    scene.round().await;
    scene.round().await;
    let heard = scene.heard(true).await;
    let changes: Vec<_> = heard
        .iter()
        .filter_map(|event| match event {
            Event::Health(health) => {
                Some((health.dependency.as_str(), health.up, health.detail.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(changes, [("pool", true, ""), ("pool", false, "the stream broke")]);
}

#[tokio::test(start_paused = true)]
async fn says_the_rest_when_it_stops() {
    let Scene { recent, clients, counts, reporter, .. } = scene(1_000);
    let one = enter(&clients, 1);
    let channel = open(&one, 1);
    let (stop, stops) = watch::channel(false);
    let task = tokio::spawn(reporter.run(stops));
    yield_now().await;
    channel.accepted(4, work(4), 4);
    stop.send_replace(true);
    task.await.unwrap();
    let events: Vec<_> = recent.read(0, 99).await.unwrap();
    let events: Vec<_> = events.into_iter().filter_map(|event| event.event).collect();
    assert_eq!(totals(&events)[0].accepted, 4);
    assert!(matches!(events.last(), Some(Event::Snapshot(_))));
    drop((channel, counts));
}
