//! Promises of the statistics service, kept over its real addresses.

#[cfg(test)]
mod api;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod keep;
#[cfg(test)]
mod model;
#[cfg(test)]
mod week;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use serde_json::Value;
use tokio::sync::watch;
use v1::event::Event as What;
use v1::publish_request::Message as ToSink;
use v1::publish_response::Message as FromSink;

use super::Stats;
use crate::backend::grpc::Dialer;
use crate::config::{AdminAddress, EventsAddress, Pool, PoolAddress, StatsService};
use crate::event::{Stream, Way};

/// A name that means something to everybody who repeats it carelessly.
const HOSTILE: &[u8] = b"=<script>alert(1)</script>'; DROP TABLE worker;--\"\\\r\n\x1b[2J\xff\0";

/// A moment to count from: a whole hour.
const T0: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A directory of one test, gone at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("gopool-sv2-stats-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn database(&self) -> PathBuf {
        self.0.join("stats.db")
    }

    fn config(&self) -> StatsService {
        StatsService {
            events: EventsAddress::Unix(self.0.join("stats.sock")),
            http: AdminAddress::Tcp("127.0.0.1:0".parse().unwrap()),
            database: self.database(),
            ..StatsService::default()
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running service whose clock is a number.
struct Served {
    http: SocketAddr,
    socket: PathBuf,
    clock: Arc<AtomicI64>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<bool>>,
}

impl Served {
    fn new(config: &StatsService, now: i64) -> Self {
        Self::with(config, now, None)
    }

    fn with(config: &StatsService, now: i64, pages_max: Option<u32>) -> Self {
        let clock = Arc::new(AtomicI64::new(now));
        let told = Arc::clone(&clock);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stats = {
            let _inside = runtime.enter();
            Stats::start_with(config, Arc::new(move || told.load(Relaxed)), pages_max).unwrap()
        };
        let http = stats.http_address().parse().unwrap();
        let EventsAddress::Unix(socket) = config.events.clone() else { panic!("a Unix socket") };
        let (stop, stops) = watch::channel(false);
        let thread = thread::spawn(move || runtime.block_on(stats.run(stops)));
        Self { http, socket, clock, stop, thread: Some(thread) }
    }

    /// Stops it; whether it ended well.
    fn stop(&mut self) -> bool {
        self.stop.send_replace(true);
        self.thread.take().is_none_or(|thread| thread.join().unwrap())
    }

    fn at(&self, now: i64) {
        self.clock.store(now, Relaxed);
    }

    fn get(&self, path: &str) -> Got {
        self.ask(path, "")
    }

    fn ask(&self, path: &str, more: &str) -> Got {
        let mut stream = TcpStream::connect(self.http).unwrap();
        // A server that hangs fails the test instead of holding it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let host = self.http;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { joined(body) } else { body.to_owned() };
        Got { status, head: head.to_owned(), body }
    }

    fn json(&self, path: &str) -> Value {
        let got = self.get(path);
        assert_eq!(got.status, 200, "{path}: {}", got.body);
        got.json()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The chunks of a body without what separates them.
fn joined(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        out.push_str(&rest[..size]);
        body = &rest[size + 2..];
        if size == 0 {
            break;
        }
    }
    out
}

/// An answer: status, head, body.
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// A sidecar that publishes, over the same wire as the real one.
struct Sidecar {
    stream: <Dialer as Way>::Stream,
    have: u64,
}

impl Sidecar {
    async fn try_begin(
        socket: &Path,
        name: &str,
        source: u8,
        first_seq: u64,
    ) -> Result<Self, String> {
        let pool = Pool { address: PoolAddress::Unix(socket.to_owned()), ..Pool::default() };
        let start = v1::PublishStart {
            protocol: 1,
            sidecar_id: name.to_owned(),
            source_id: Bytes::from(vec![source; 16]),
            durable: false,
            first_seq,
        };
        let begun = Dialer::new(&pool, 1).begin(start).await;
        let mut stream = begun.map_err(|error| error.to_string())?;
        match stream.receive().await?.and_then(|answer| answer.message) {
            Some(FromSink::Ready(ready)) => Ok(Self { stream, have: ready.have_seq }),
            other => Err(format!("{other:?}")),
        }
    }

    async fn begin(served: &Served, name: &str, source: u8) -> Self {
        Self::try_begin(&served.socket, name, source, 1).await.unwrap()
    }

    /// Sends a batch and waits until it is kept.
    async fn send(&mut self, events: Vec<v1::Event>) -> Result<u64, String> {
        let message = Some(ToSink::Batch(v1::EventBatch { events }));
        self.stream.send(v1::PublishRequest { message }).await;
        match self.stream.receive().await?.and_then(|answer| answer.message) {
            Some(FromSink::Ack(ack)) => Ok(ack.seq),
            other => Err(format!("{other:?}")),
        }
    }

    /// Sends things that happened, numbered on from what is there.
    async fn tell(&mut self, at_ms: i64, what: Vec<What>) {
        let first = self.have + 1;
        let events = (first..).zip(what);
        let events: Vec<v1::Event> =
            events.map(|(seq, what)| v1::Event { seq, at_ms, event: Some(what) }).collect();
        let last = events.last().unwrap().seq;
        assert_eq!(self.send(events).await, Ok(last));
        self.have = last;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn connected(id: u64) -> What {
    What::ConnectionOpened(v1::ConnectionOpened {
        connection: Some(v1::Connection {
            id,
            remote_address: format!("192.0.2.7:{id}"),
            vendor: Bytes::from_static(b"Acme"),
            hardware_version: Bytes::from_static(b"S21"),
            firmware: Bytes::from_static(b"2.1"),
            device_id: Bytes::new(),
            setup_flags: 4,
            extensions: vec![2],
            connected_ms: T0 - 1_000,
        }),
    })
}

fn started(channel_id: u64, connection_id: u64, identity: &'static [u8]) -> What {
    What::ChannelStarted(v1::ChannelStarted {
        channel_id,
        connection_id,
        kind: v1::ChannelKind::Extended.into(),
        user_identity: Bytes::from_static(identity),
        nominal_hash_rate: 1e14,
        target: Bytes::from_static(&[0xff; 32]),
    })
}

fn difficulty(whole: u64) -> Option<v1::Difficulty> {
    Some(v1::Difficulty { whole, fraction: 1 << 31 })
}

fn shares(channel_id: u64, worker: &'static [u8], accepted: u64, stale: u64, since: i64) -> What {
    let stale = v1::RejectCount { reason: v1::RejectReason::StaleShare.into(), count: stale };
    What::ShareTotals(v1::ShareTotals {
        channel_id,
        worker: Bytes::from_static(worker),
        accepted,
        credit: Some(v1::Difficulty { whole: accepted * 1_000, fraction: 0 }),
        rejected: vec![stale],
        best: difficulty(accepted * 7),
        since_ms: since,
        user_identity: Bytes::new(),
    })
}

fn snapshot(connections: u64, since_ms: i64) -> What {
    What::Snapshot(v1::Snapshot {
        since_ms,
        connections,
        standard_channels: 0,
        extended_channels: connections,
        answers: vec![
            v1::LatencyCount { upto_us: 1_000, count: 98 },
            v1::LatencyCount { upto_us: 50_000, count: 2 },
        ],
        handshakes_failed: 1,
        connections_refused: 0,
        dependencies: vec![v1::Dependency {
            name: "pool".to_owned(),
            state: "up".to_owned(),
            age_ms: Some(12),
            detail: String::new(),
        }],
        mint: Some(v1::MintStanding {
            credits: vec![v1::CreditCount { state: "sealed".to_owned(), count: 2, amount: 30 }],
            oldest_unconfirmed_ms: 0,
            confirmed: 500,
            surplus: 0,
            sending_stopped: false,
        }),
    })
}
