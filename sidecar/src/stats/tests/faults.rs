//! Who breaks the contract, a disk that is full, a file that is damaged.

use super::*;
use crate::stats::{file, OpenError, StartError};

#[test]
fn begins_anew_beside_a_damaged_database() {
    let place = Place::new("damaged");
    let config = place.config();
    let mut served = Served::new(&config, T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let news: Vec<What> =
            (0..500).flat_map(|id| [connected(id), started(id, id, b"alice")]).collect();
        sidecar.tell(T0, news).await;
    });
    assert!(served.stop());
    // Pages in the middle of the file are gone.
    let mut bytes = std::fs::read(place.database()).unwrap();
    assert!(bytes.len() > 40_960);
    bytes[8_192..32_768].fill(0x5a);
    std::fs::write(place.database(), &bytes).unwrap();
    let aside = |now: i64| place.0.join(format!("stats.db.damaged-{now}"));
    let mut served = Served::new(&config, T0 + 1);
    assert_eq!(std::fs::read(aside(T0 + 1)).unwrap(), bytes);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        assert_eq!(sidecar.have, 0);
        sidecar.tell(T0, vec![connected(1)]).await;
    });
    assert_eq!(served.json("/api/v1/connections")["total"], 1);
    assert!(served.stop());
    // No database at all.
    std::fs::write(place.database(), "something else altogether, and long enough".repeat(40))
        .unwrap();
    drop(Served::new(&config, T0 + 2));
    assert!(aside(T0 + 2).exists());
    // One that was found damaged while it was used.
    file::mark_damaged(&place.database());
    drop(Served::new(&config, T0 + 3));
    assert!(aside(T0 + 3).exists());
    drop(Served::new(&config, T0 + 4));
    assert!(!aside(T0 + 4).exists());
}

#[test]
fn ends_when_a_question_finds_damage_and_begins_anew() {
    let place = Place::new("torn");
    let config = place.config();
    let mut served = Served::new(&config, T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let news = (0..500).flat_map(|id| [connected(id), started(id, id, b"alice")]);
        sidecar.tell(T0, news.collect()).await;
    });
    assert!(served.stop());
    let mut served = Served::new(&config, T0 + 1);
    // Nothing was written since the start, and nothing is: only who asks can come across it.
    let size = std::fs::metadata(place.database()).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(place.database()).unwrap();
    let torn = vec![0x5a; usize::try_from(size - 4_096).unwrap()];
    std::os::unix::fs::FileExt::write_all_at(&file, &torn, 4_096).unwrap();
    for _ in 0..600 {
        if served.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            break;
        }
        // It may be gone between any two.
        let Ok(mut stream) = TcpStream::connect(served.http) else { break };
        let question = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let _ = stream.write_all(question.as_bytes());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!served.stop(), "it ended by itself, to be started anew");
    drop(Served::new(&config, T0 + 2));
    assert!(place.0.join(format!("stats.db.damaged-{}", T0 + 2)).exists());
}

#[test]
fn rejects_files_that_are_not_its_own() {
    let place = Place::new("foreign");
    let conn = rusqlite::Connection::open(place.database()).unwrap();
    conn.execute_batch("CREATE TABLE precious(x); INSERT INTO precious VALUES (1)").unwrap();
    drop(conn);
    let look = || {
        let mode = std::fs::metadata(place.database()).unwrap().permissions();
        (std::fs::read(place.database()).unwrap(), mode)
    };
    let before = look();
    let runtime = runtime();
    let _inside = runtime.enter();
    let start = || Stats::start_with(&place.config(), Arc::new(|| T0), None);
    let refused = start().unwrap_err();
    assert!(matches!(refused, StartError::Database(OpenError::Foreign(_))), "{refused}");
    assert!(refused.to_string().contains("[stats].database"));
    assert!(look() == before);
    std::fs::remove_file(place.database()).unwrap();
    let first = start().unwrap();
    let config = StatsService { events: EventsAddress::Unix(place.0.join("b")), ..place.config() };
    let second = Stats::start_with(&config, Arc::new(|| T0), None).unwrap_err();
    assert!(matches!(second, StartError::Database(OpenError::InUse(_))), "{second}");
    drop(first);
}

#[test]
fn survives_a_full_disk_and_loses_no_event() {
    let place = Place::new("full");
    let config = place.config();
    let mut served = Served::with(&config, T0, Some(64));
    let batch = |first: u64| -> Vec<v1::Event> {
        let event = |seq| match seq % 2 {
            1 => started(seq, 1, HOSTILE),
            _ => shares(seq - 1, b"", 1, 0, T0 - 1),
        };
        (first..first + 100)
            .map(|seq| v1::Event { seq, at_ms: T0, event: Some(event(seq)) })
            .collect()
    };
    let mut kept = 0;
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let refused = loop {
            match sidecar.send(batch(kept + 1)).await {
                Ok(seq) => kept = seq,
                Err(refused) => break refused,
            }
        };
        assert!(refused.contains("full") && refused.contains("free some space"), "{refused}");
        assert!(kept > 0);
        // It says the same to who comes again, answers what it has, and is not ready.
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        assert_eq!(sidecar.have, kept);
        assert!(sidecar.send(batch(kept + 1)).await.is_err());
    });
    assert_eq!(served.get("/readyz").status, 503);
    assert_eq!(served.json("/api/v1/summary")["shares"]["accepted"], kept / 2);
    assert!(served.stop());
    // There is room again.
    let served = Served::new(&config, T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        assert_eq!(sidecar.have, kept);
        assert_eq!(sidecar.send(batch(kept + 1)).await, Ok(kept + 100));
    });
    assert_eq!(served.json("/api/v1/summary")["shares"]["accepted"], (kept + 100) / 2);
    assert_eq!(served.get("/readyz").status, 200);
}

#[test]
fn rejects_streams_that_break_the_contract() {
    let place = Place::new("contract");
    let served = Served::new(&place.config(), T0);
    let event = |seq| v1::Event { seq, at_ms: T0, event: Some(connected(seq)) };
    runtime().block_on(async {
        for name in ["", "two words", "x\n", &"x".repeat(65)] {
            let begun = Sidecar::try_begin(&served.socket, name, 1, 1).await;
            assert!(begun.is_err(), "{name:?}");
        }
        assert!(Sidecar::try_begin(&served.socket, "one", 1, 0).await.is_err());
        for batch in [
            vec![],
            vec![event(0)],
            vec![event(2), event(2)],
            vec![event(3), event(1)],
            vec![event(u64::MAX)],
            (1..=1_025).map(event).collect(),
        ] {
            let mut sidecar = Sidecar::begin(&served, "one", 1).await;
            assert!(sidecar.send(batch).await.is_err());
        }
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        assert_eq!(sidecar.have, 0);
        // What it does not know it counts and skips.
        let unknown = v1::Event { seq: 1, at_ms: T0, event: None };
        assert_eq!(sidecar.send(vec![unknown, event(2)]).await, Ok(2));
    });
    assert_eq!(served.json("/api/v1/connections")["total"], 1);
}

#[test]
fn says_that_events_were_lost_and_takes_what_is_said_again() {
    let place = Place::new("lost");
    let served = Served::new(&place.config(), T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let news = vec![connected(1), connected(2), started(1, 1, b"a"), started(2, 2, b"b")];
        sidecar.tell(T0, news).await;
        drop(sidecar);
        // The sidecar's oldest event is the tenth now.
        let mut sidecar = Sidecar::try_begin(&served.socket, "one", 1, 10).await.unwrap();
        assert_eq!(sidecar.have, 4);
        assert_eq!(served.json("/api/v1/channels")["total"], 0);
        sidecar.have = 9;
        let news = vec![connected(2), started(2, 2, b"b"), shares(2, b"", 4, 0, T0 - 1)];
        sidecar.tell(T0, news).await;
    });
    let channels = served.json("/api/v1/channels");
    assert_eq!(channels["total"], 1);
    assert_eq!(channels["items"][0]["accepted"], 4);
    assert_eq!(served.json("/api/v1/connections")["total"], 1);
    let events = served.json("/api/v1/events");
    let lost = events["items"].as_array().unwrap().iter().find(|of| of["kind"] == "events-lost");
    assert!(lost.unwrap()["text"].as_str().unwrap().starts_with("5 events were lost"));
}

#[test]
fn a_sum_is_its_miners_though_nothing_was_heard_of_the_channel() {
    let place = Place::new("unheard");
    let served = Served::new(&place.config(), T0);
    runtime().block_on(async {
        // This database is new; the sidecar and what waits in it are not.
        let mut sidecar = Sidecar::try_begin(&served.socket, "one", 1, 100).await.unwrap();
        sidecar.have = 99;
        let of = |channel_id, worker, accepted| match shares(channel_id, worker, accepted, 0, T0) {
            What::ShareTotals(totals) => {
                let user_identity = Bytes::from_static(b"alice");
                What::ShareTotals(v1::ShareTotals { user_identity, ..totals })
            }
            _ => unreachable!(),
        };
        let ended = v1::ChannelEnded { channel_id: 8, reason: "gone".to_owned() };
        let waits = vec![of(7, b"", 5), of(7, b"rig", 3), of(8, b"", 2), What::ChannelEnded(ended)];
        sidecar.tell(T0, waits).await;
        // Then it says what is open.
        sidecar.tell(T0, vec![connected(1), started(7, 1, b"alice"), of(7, b"", 1)]).await;
    });
    let workers = served.json("/api/v1/workers?sort=accepted");
    let items = workers["items"].as_array().unwrap();
    let rows: Vec<_> =
        items.iter().map(|of| (&of["identity"], &of["worker"], &of["accepted"])).collect();
    let alice = &Value::from("alice");
    let (none, rig, eight, three) = ("".into(), "rig".into(), 8.into(), 3.into());
    assert_eq!(rows, [(alice, &none, &eight), (alice, &rig, &three)]);
    let channels = served.json("/api/v1/channels");
    assert_eq!(channels["total"], 1);
    assert_eq!((&channels["items"][0]["accepted"], &channels["items"][0]["vendor"]), {
        (&9.into(), &"Acme".into())
    });
}
