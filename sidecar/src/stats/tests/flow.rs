//! From events to answers.

use super::*;

#[test]
fn shows_what_a_sidecar_tells() {
    let place = Place::new("shows");
    let served = Served::new(&place.config(), T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        assert_eq!(sidecar.have, 0);
        sidecar.tell(T0, vec![connected(5), started(50, 5, b"alice.rig1")]).await;
        served.at(T0 + 10_000);
        let news = vec![shares(50, b"", 10, 1, T0), shares(50, b"w2", 5, 0, T0), snapshot(1, T0)];
        sidecar.tell(T0 + 10_000, news).await;
        let block = v1::BlockFound {
            channel_id: 50,
            block_hash: Bytes::from((0..32).collect::<Vec<u8>>()),
            height: 800_000,
            accepted: None,
            detail: String::new(),
            worker: Bytes::from_static(b"w2"),
        };
        let taken = v1::BlockFound { accepted: Some(true), ..block.clone() };
        sidecar.tell(T0 + 10_000, vec![What::BlockFound(block), What::BlockFound(taken)]).await;

        let summary = served.json("/api/v1/summary");
        assert_eq!(summary["connections"], 1);
        assert_eq!(summary["channels"]["extended"], 1);
        assert_eq!(summary["workers"], serde_json::json!({"online": 2, "known": 2}));
        assert_eq!(summary["shares"]["accepted"], 15);
        assert_eq!(summary["shares"]["rejected"], 1);
        assert_eq!(summary["shares"]["work"], 15_000.0);
        assert_eq!(summary["last_day"]["work"], 15_000.0);
        assert_eq!(summary["hashrate_hs"]["m1"], 1_500.0 * 2.0_f64.powi(32));
        assert_eq!(summary["best"]["difficulty"], 70.5);
        assert_eq!(summary["best"]["identity"], "alice.rig1");
        assert_eq!(summary["blocks"]["accepted"], 1);
        assert_eq!(summary["ack_ms"]["p50"], 1.0);
        assert_eq!(summary["ack_ms"]["p99"], 50.0);
        assert_eq!(summary["mint"]["confirmed"], 500);
        assert_eq!(summary["health"][0]["state"], "up");
        assert_eq!(summary["sidecars"][0]["connected"], true);
        assert_eq!(summary["stale_since_ms"], Value::Null);

        let workers = served.json("/api/v1/workers?sort=accepted");
        assert_eq!(workers["total"], 2);
        assert_eq!(workers["items"][0]["worker"], "");
        assert_eq!(workers["items"][1]["worker"], "w2");
        assert_eq!(workers["items"][1]["accepted"], 5);
        assert_eq!(workers["items"][1]["online"], 1);
        assert_eq!(workers["items"][0]["connection"], "sv2 extended");
        assert_eq!(workers["items"][0]["vendor"], "Acme");

        let id = workers["items"][1]["id"].as_i64().unwrap();
        let account = served.json(&format!("/api/v1/accounts/{id}"));
        assert_eq!(account["sessions"][0]["accepted"], 5);
        assert_eq!(account["sessions"][0]["address"], "192.0.2.7:5");
        assert_eq!(account["sessions"][0]["extensions"][0], 2);
        let id = workers["items"][0]["id"].as_i64().unwrap();
        let account = served.json(&format!("/api/v1/accounts/{id}"));
        assert_eq!(account["sessions"][0]["accepted"], 15);
        assert_eq!(account["sessions"][0]["ended_ms"], Value::Null);

        let blocks = served.json("/api/v1/blocks");
        assert_eq!(blocks["items"].as_array().unwrap().len(), 1);
        assert!(blocks["items"][0]["hash"].as_str().unwrap().starts_with("1f1e1d"));
        assert_eq!(blocks["items"][0]["worker"], "w2");
        let rejects = served.json(&format!("/api/v1/rejects?from={T0}&to={}", T0 + HOUR));
        assert_eq!(rejects["items"][0]["reason"], "stale-share");
        assert_eq!(rejects["total"], 1);
        assert_eq!(served.json("/api/v1/connections")["items"][0]["channels"], 1);
        assert_eq!(served.json("/api/v1/channels")["items"][0]["identity"], "alice.rig1");
        assert_eq!(served.json("/api/v1/mint")["items"][0]["sidecar"], "one");
    });
}

#[test]
fn keeps_everything_over_a_restart_and_counts_nothing_twice() {
    let place = Place::new("restart");
    let config = place.config();
    let mut served = Served::new(&config, T0 + 10_000);
    let runtime = runtime();
    let batch = |seqs: std::ops::RangeInclusive<u64>| -> Vec<v1::Event> {
        seqs.map(|seq| {
            let event = match seq {
                1 => connected(1),
                2 => started(9, 1, b"bob"),
                _ => shares(9, b"", 1, 0, T0),
            };
            v1::Event { seq, at_ms: T0 + 5_000, event: Some(event) }
        })
        .collect()
    };
    runtime.block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        assert_eq!(sidecar.send(batch(1..=10)).await, Ok(10));
        // The same again, and some more with it.
        assert_eq!(sidecar.send(batch(5..=12)).await, Ok(12));
    });
    assert!(served.stop());
    let served = Served::new(&config, T0 + 20_000);
    runtime.block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        assert_eq!(sidecar.have, 12);
        assert_eq!(sidecar.send(batch(1..=12)).await, Ok(12));
        assert_eq!(sidecar.send(batch(13..=13)).await, Ok(13));
    });
    assert_eq!(served.json("/api/v1/summary")["shares"]["accepted"], 11);
    let workers = served.json("/api/v1/workers");
    assert_eq!(workers["items"][0]["accepted"], 11);
    let id = workers["items"][0]["id"].as_i64().unwrap();
    let account = served.json(&format!("/api/v1/accounts/{id}"));
    assert_eq!(account["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(account["sessions"][0]["accepted"], 11);
}

#[test]
fn ends_what_a_sidecar_had_when_it_is_started_anew() {
    let place = Place::new("anew");
    let served = Served::new(&place.config(), T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let news = vec![connected(1), started(9, 1, b"bob"), shares(9, b"", 3, 0, T0 - 10_000)];
        sidecar.tell(T0, news).await;
        drop(sidecar);
        let mut other = Sidecar::begin(&served, "two", 7).await;
        other.tell(T0, vec![connected(1), started(9, 1, b"bob")]).await;
        assert_eq!(served.json("/api/v1/channels")["total"], 2);
        // Another process of the first one: the channel has the same number and is another.
        let mut sidecar = Sidecar::begin(&served, "one", 2).await;
        assert_eq!(sidecar.have, 0);
        assert_eq!(served.json("/api/v1/channels")["total"], 1);
        let news = vec![connected(1), started(9, 1, b"bob"), shares(9, b"", 4, 0, T0 - 10_000)];
        sidecar.tell(T0, news).await;
    });
    let worker = served.json("/api/v1/workers")["items"][0].clone();
    assert_eq!((&worker["accepted"], &worker["online"]), (&7.into(), &2.into()));
    let account = served.json(&format!("/api/v1/accounts/{}", worker["id"]));
    let sessions = account["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3);
    let ended: Vec<&Value> = sessions.iter().filter(|of| !of["ended_ms"].is_null()).collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["accepted"], 3);
    assert_eq!(ended[0]["reason"], "the sidecar was started anew");
}

#[test]
fn a_session_has_what_was_agreed_on_behind_the_setup() {
    let place = Place::new("agreed");
    let served = Served::new(&place.config(), T0);
    runtime().block_on(async {
        let mut sidecar = Sidecar::begin(&served, "one", 1).await;
        let What::ConnectionOpened(mut bare) = connected(5) else { panic!("a connection") };
        bare.connection.as_mut().unwrap().extensions.clear();
        // Told at the setup, and again when extensions were negotiated.
        let told = vec![What::ConnectionOpened(bare), connected(5), started(9, 5, b"alice.rig1")];
        sidecar.tell(T0, told).await;
        let workers = served.json("/api/v1/workers");
        let id = workers["items"][0]["id"].as_i64().unwrap();
        let account = served.json(&format!("/api/v1/accounts/{id}"));
        assert_eq!(account["sessions"][0]["extensions"], serde_json::json!([2]));
        assert_eq!(served.json("/api/v1/connections")["items"].as_array().unwrap().len(), 1);
    });
}
