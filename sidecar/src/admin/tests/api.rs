//! What is answered, and in which shape.

use serde_json::{json, Value};

use super::schema::{faults, of, openapi};
use super::{enter, open, serve, view, HOSTILE};
use crate::types::{Difficulty, Hash, Kind, RejectReason};

#[test]
fn every_route_answers_as_it_is_described() {
    let view = view();
    view.counts.ledger.enabled.set(1);
    view.counts.pool.standing.up();
    view.counts.mint.standing.down("it is away");
    let one = enter(&view, 7);
    let (standard, extended) =
        (open(&one, 1, Kind::Standard, HOSTILE), open(&one, 3, Kind::Extended, b"bc1q.rig"));
    extended.accepted(2, Difficulty { whole: 9, fraction: 1 }, 4);
    extended.judged(&Hash([0; 32]), true, &bytes::Bytes::new());
    standard.rejected(RejectReason::Stale, true);
    let unsaid = view.clients.enter(crate::types::ConnId(8), "192.0.2.8:1".into(), 5);
    let (served, root) = (serve(&view, None), openapi());
    for (path, methods) in root["paths"].as_object().unwrap() {
        if ["/metrics", "/api-docs/openapi.json"].contains(&path.as_str()) {
            continue;
        }
        assert!(methods["get"].is_object());
        let got = served.get(&path.replace("{client_id}", "7"));
        let schema = of(&root, path, "get", got.status);
        let wanted = if path.ends_with("log-filter") { 501 } else { 200 };
        assert_eq!(got.status, wanted, "{path}: {}", got.body);
        let found = faults(&root, schema, &got.json(), path);
        assert!(found.is_empty(), "{found:#?}");
        assert!(got.head.contains("application/json") && got.head.contains("no-store"));
    }
    assert_eq!(served.get("/api-docs/openapi.json").json(), root);
    drop(unsaid);
}

#[test]
fn answers_what_the_channels_did() {
    let view = view();
    let one = enter(&view, 7);
    let channel = open(&one, 1, Kind::Standard, b"bc1qexampleexampleexample.rig 1");
    channel.accepted(3, Difficulty { whole: 4, fraction: 1 << 31 }, 12);
    channel.rejected(RejectReason::Stale, true);
    channel.rejected(RejectReason::BackendUnavailable, false);
    let served = serve(&view, None);
    let got = served.get("/api/v1/clients/7/channels").json();
    let got = &got["standard_channels"][0];
    assert_eq!((&got["shares_accepted"], &got["shares_rejected"]), (&json!(3), &json!(2)));
    let reasons = json!({ "stale-share": 1, "backend-unavailable": 1 });
    assert_eq!(got["shares_rejected_by_reason"], reasons);
    assert_eq!(
        (&got["share_work_sum"], &got["last_share_sequence_number"]),
        (&json!(4.5), &json!(12))
    );
    assert!(got["target_hex"].as_str().unwrap().starts_with("00000000"));
    let status = served.get("/api/v1/status").json();
    assert_eq!(status["shares"]["rejected"], json!({ "stale-share": 1 }));
    assert_eq!(status["shares"]["unjudged"], json!({ "backend-unavailable": 1 }));
    assert_eq!(status["channels"]["standard"], 1);
    let scrape = served.get("/metrics");
    assert!(scrape.head.contains("application/openmetrics-text; version=1.0.0"));
    assert!(scrape.body.contains("gopool_sv2_credited_difficulty_total 4.5\n"), "{}", scrape.body);
}

#[test]
fn addresses_are_hidden_unless_they_are_to_be_shown() {
    let mut view = view();
    view.show_addresses = false;
    let one = enter(&view, 7);
    let _channel = open(&one, 1, Kind::Standard, b"bc1qexampleexampleexamplexyz9.rig 1");
    let served = serve(&view, None);
    assert_eq!(served.get("/api/v1/clients/7").json()["address"], Value::Null);
    let got = served.get("/api/v1/clients/7/channels");
    assert_eq!(got.json()["standard_channels"][0]["user_identity"], "bc1qex...xyz9.rig 1");
    for path in ["/api/v1/clients", "/api/v1/status", "/metrics"] {
        let got = served.get(path).body;
        assert!(!got.contains("192.0.2.1") && !got.contains("exampleexample"), "{path}");
    }
}

#[test]
fn pages_are_bounded_and_go_through_all() {
    let view = view();
    let all: Vec<_> = (1..=250).map(|id| enter(&view, id)).collect();
    let served = serve(&view, None);
    let got = served.get("/api/v1/clients?limit=1000000").json();
    assert_eq!((&got["limit"], &got["total"]), (&json!(100), &json!(250)));
    assert_eq!(served.get("/api/v1/clients").json()["items"].as_array().unwrap().len(), 25);
    let mut seen = Vec::new();
    for offset in [0, 100, 200, 300] {
        let got = served.get(&format!("/api/v1/clients?offset={offset}&limit=100&_=1")).json();
        let items = got["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["client_id"].as_u64().unwrap()));
    }
    assert_eq!(seen, (1..=250).collect::<Vec<_>>());
    drop(all);
    assert_eq!(served.get("/api/v1/clients").json()["total"], 0);
}

#[test]
fn ten_thousand_connections_fit_into_one_scrape_and_one_page() {
    let view = view();
    let all: Vec<_> = (1..=10_000)
        .map(|id| {
            let one = enter(&view, id);
            (open(&one, 1, Kind::Extended, b"bc1qexample.rig"), one)
        })
        .collect();
    let served = serve(&view, None);
    for path in
        ["/metrics", "/api/v1/clients?offset=9900&limit=100", "/api/v1/global", "/api/v1/status"]
    {
        let got = served.get(path);
        assert_eq!(got.status, 200);
        assert!(got.body.len() < 100_000, "{path}: {}", got.body.len());
    }
    let global = served.get("/api/v1/global").json();
    assert_eq!(global["sv2_clients"]["extended_channels"], 10_000);
    drop(all);
}
