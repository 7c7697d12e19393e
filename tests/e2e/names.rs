//! Names are what strangers say: each has its own history, and is nothing but text wherever it
//! appears.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use gopool_sv2::client::{ConnectOptions, Connection};
use gopool_sv2::obs::printable;
use gopool_sv2_tests::peer::{Event, Kind, Peer, Place};
use gopool_sv2_tests::supply::Supply;
use gopool_sv2_tests::{Line, LineOptions, Result};

use crate::block_on;
use crate::history::{Service, PATIENCE};
use crate::peer::setup;

/// Means something to whoever repeats it carelessly: a page, a database, a spreadsheet, a log, a
/// terminal. As long as the worker of a share may be.
const HOSTILE: &str = "=<img src=x>';DROP--\"\\\r\n\x1b[2J\0é";

/// Workers of one proxy, and how many shares each has.
const WORKERS: [(&str, u64); 4] = [("rig-1", 3), ("rig-2", 1), (HOSTILE, 2), ("", 2)];

/// What is mined for: an address, and all the bytes that there may be behind it.
fn identity(line: &Line) -> String {
    let worker = HOSTILE.repeat(9);
    let mut identity = format!("{}.{worker}", line.address);
    let mut end = 255;
    while !identity.is_char_boundary(end) {
        end -= 1;
    }
    identity.truncate(end);
    identity
}

/// Mines as a proxy that names the workers of its shares.
async fn mine(line: &Line, identity: &str) -> Result<()> {
    let (url, user) = (line.pool_url()?, identity.to_owned());
    let place = Place { url, user, hash_rate: 1e3, sources: None, numbers: None };
    let mut peer = Peer::connect(&place, Kind::Extended).await?;
    peer.name_workers().await?;
    peer.open(&place).await?;
    peer.first_job().await?;
    let mut supply = Supply::new(peer.task().ok_or("no work")?, 7);
    let workers = WORKERS.iter().flat_map(|(name, count)| (0..*count).map(move |_| *name));
    for (sequence, worker) in (1..).zip(workers) {
        peer.submit(sequence, &supply.share()?, worker)?;
        peer.flush().await?;
        loop {
            match peer.event().await? {
                Event::Accepted { last, .. } if last == sequence => break,
                Event::Rejected { code, .. } => return Err(code.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// A device that calls itself names.
async fn device(line: &Line) -> Connection {
    let name = || HOSTILE.repeat(8);
    let mut says = setup();
    (says.vendor, says.hardware_version) = (name(), name());
    (says.firmware, says.device_id) = (name(), name());
    let url = line.pool_url().unwrap();
    let mut connection = Connection::connect(&url, &ConnectOptions::default()).await.unwrap();
    connection.setup(&says).await.unwrap();
    connection
}

/// The body of an answer of the sidecar's admin address.
fn admin(line: &Line, path: &str) -> String {
    let mut stream = UnixStream::connect(line.path("admin.sock")).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Nothing in it moves a cursor, rings a bell or begins a line that was not meant.
fn is_plain(what: &str, text: &str) {
    let odd =
        text.chars().find(|c| *c != '\n' && (c.is_control() || *c == '\u{fffd}' || *c == 'é'));
    assert_eq!(odd, None, "{what}: {text}");
}

#[test]
fn workers_that_shares_name_have_a_history_each_and_hostile_ones_are_text_everywhere() {
    let line = Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.1".into()],
        sections: "[stats]\nsink = \"unix:stats.sock\"\nevery_sec = 1\n\
                   [admin]\nlisten = \"unix:admin.sock\"\nshow_addresses = true\n"
            .into(),
        ..LineOptions::default()
    })
    .unwrap();
    let service = Service::start(&line, 1);
    let identity = identity(&line);
    let (device, mined) = block_on(async { (device(&line).await, mine(&line, &identity).await) });
    mined.unwrap();
    let clients = admin(&line, "/api/v1/clients");
    is_plain("clients", &clients);
    assert!(clients.contains(r"=<img src=x>\\x27;DROP"), "{clients}");

    let wanted: BTreeMap<_, _> =
        WORKERS.iter().map(|(name, count)| (printable(name.as_bytes()), *count)).collect();
    let begun = Instant::now();
    let workers = loop {
        let workers = service.json("/api/v1/workers?sort=identity");
        let items = workers["items"].as_array().unwrap();
        let found: BTreeMap<_, _> = items
            .iter()
            .map(|of| (of["worker"].as_str().unwrap().to_owned(), of["accepted"].as_u64().unwrap()))
            .collect();
        if found == wanted {
            break workers;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?} instead of {wanted:?}");
        sleep(Duration::from_millis(100));
    };
    for of in workers["items"].as_array().unwrap() {
        assert_eq!(of["identity"], printable(identity.as_bytes()), "{of:#}");
    }
    let accounts: Vec<_> =
        workers["items"].as_array().unwrap().iter().map(|of| &of["id"]).collect();
    let pages = ["summary", "workers", "workers.csv", "channels", "connections", "events"];
    let pages = pages.iter().map(|page| format!("/api/v1/{page}"));
    let accounts = accounts.iter().map(|id| format!("/api/v1/accounts/{id}"));
    for path in pages.chain(accounts).chain(["/metrics".to_owned()]) {
        is_plain(&path, &service.get(&path).unwrap().replace("\r\n", "\n"));
    }
    // A name that begins like a formula is a text in a spreadsheet.
    let csv = service.get("/api/v1/workers.csv").unwrap();
    assert!(csv.contains(",\"'=<img src=x>\\x27;DROP--\\x22\\x5c\\x0d"), "{csv}");
    let rows = csv.lines().filter(|row| row.starts_with(&format!("\"{}", line.address)));
    assert_eq!(rows.count(), WORKERS.len(), "{csv}");
    is_plain("metrics of the sidecar", &admin(&line, "/metrics"));

    drop(device);
    is_plain("log of the service", &service.process.log());
    assert!(service.process.stop().unwrap().success());
    let log = line.sidecar.log();
    is_plain("log of the sidecar", &log);
    assert!(log.contains(r"=<img src=x>\\x27;DROP"), "{log}");
    let stopped = line.stop().unwrap();
    // And the pool has each worker's shares in its books.
    let mut booked: BTreeMap<String, u64> = BTreeMap::new();
    for verdict in stopped.books("minipool").unwrap().of("verdict") {
        assert!(verdict.is("accepted"));
        *booked.entry(verdict.text("worker").to_owned()).or_default() += 1;
    }
    assert_eq!(booked.len(), WORKERS.len(), "{booked:?}");
    assert_eq!(booked.get("rig-1"), Some(&3));
}
