//! When it is ready, when only degraded, and when not serving.

use super::{enter, open, serve, view, View};
use crate::admin::{health::read, Health};
use crate::types::Kind;

fn state(view: &View) -> (&'static str, bool) {
    let readiness = read(view);
    (readiness.state(), readiness.serving)
}

fn health(view: &View, name: &str) -> Health {
    let readiness = read(view);
    readiness.dependencies.iter().find(|one| one.name == name).unwrap().health
}

#[test]
fn degraded_is_not_dead() {
    let mut view = view();
    assert_eq!(state(&view), ("not-serving", false), "the pool was never there");
    view.counts.pool.standing.up();
    assert_eq!(state(&view), ("ready", true));
    assert_eq!((health(&view, "ledger"), health(&view, "mint")), (Health::Off, Health::Off));
    view.counts.ledger.enabled.set(1);
    view.counts.ledger.standing.up();
    assert_eq!(state(&view), ("ready", true));
    view.counts.mint.standing.down("away");
    assert_eq!(state(&view), ("degraded", true));
    view.counts.mint.standing.up();
    view.counts.mint.sending_stopped.set(1);
    assert_eq!((state(&view), health(&view, "mint")), (("degraded", true), Health::Degraded));
    view.counts.mint.sending_stopped.set(0);
    view.counts.mint.oldest_unconfirmed_ms.set(1);
    assert_eq!(health(&view, "mint"), Health::Degraded, "not confirmed since 1970");
    view.counts.mint.oldest_unconfirmed_ms.set(0);
    view.counts.ledger.committed(std::time::Duration::ZERO, Some("disk full"));
    assert_eq!((state(&view), health(&view, "ledger")), (("degraded", true), Health::Degraded));
    view.counts.ledger.standing.up();
    view.counts.sinks.pool.standing.down("the stream broke");
    assert_eq!((state(&view), health(&view, "sink:pool")), (("degraded", true), Health::Down));
    view.counts.sinks.pool.standing.up();
    let stats = &view.counts.sinks.stats;
    assert_eq!(health(&view, "sink:stats"), Health::Off);
    stats.standing.down("nobody listens");
    assert_eq!((state(&view), health(&view, "sink:stats")), (("degraded", true), Health::Degraded));
    stats.standing.up();
    assert_eq!(state(&view), ("ready", true));
    stats.oldest_ms.set(1);
    assert_eq!(health(&view, "sink:stats"), Health::Degraded, "it takes nothing since 1970");
    stats.oldest_ms.set(0);
    view.counts.pool.standing.down("the stream broke");
    assert_eq!(state(&view), ("degraded", true), "miners are kept");
    view.lost_ms = 0;
    assert_eq!(state(&view), ("not-serving", false), "miners were sent away");
    view.counts.pool.standing.up();
    view.counts.stopping.set(1);
    assert_eq!(state(&view), ("not-serving", false));
}

#[test]
fn sending_that_was_stopped_in_an_earlier_life_is_told() {
    let view = view();
    view.counts.pool.standing.up();
    view.counts.ledger.enabled.set(1);
    view.counts.ledger.standing.up();
    assert_eq!((state(&view), health(&view, "mint")), (("ready", true), Health::Off));
    // Before anything was said to the mint.
    view.counts.mint.sending_stopped.set(1);
    assert_eq!((state(&view), health(&view, "mint")), (("degraded", true), Health::Degraded));
    view.counts.mint.sending_stopped.set(0);
    view.counts.mint.oldest_unconfirmed_ms.set(1);
    assert_eq!(health(&view, "mint"), Health::Degraded);
}

#[test]
fn a_pool_that_wants_no_events_is_no_fault() {
    let view = view();
    view.counts.pool.standing.up();
    let sink = &view.counts.sinks.pool;
    sink.newest.set(20_000);
    sink.standing.off("it takes no events");
    assert_eq!((state(&view), health(&view, "sink:pool")), (("ready", true), Health::Off));
    assert_eq!(sink.unacked(), 0, "they wait for nobody");
    sink.standing.down("the stream broke");
    assert_eq!((health(&view, "sink:pool"), sink.unacked()), (Health::Down, 20_000));
}

#[test]
fn old_work_is_told_only_when_somebody_should_have_new() {
    let view = view();
    view.counts.pool.standing.up();
    view.counts.pool.job_ms.set(1);
    assert_eq!(health(&view, "template"), Health::Off, "nobody is there to send it to");
    let one = enter(&view, 1);
    let channel = open(&one, 1, Kind::Standard, b"a");
    assert_eq!((health(&view, "template"), state(&view)), (Health::Degraded, ("degraded", true)));
    view.counts.pool.job(true);
    assert_eq!((health(&view, "template"), state(&view)), (Health::Up, ("ready", true)));
    drop(channel);
}

#[test]
fn says_what_is_wrong_with_each() {
    let view = view();
    let served = serve(&view, None);
    let got = served.get("/readyz");
    assert_eq!((got.status, &got.json()["state"]), (503, &"not-serving".into()));
    assert!(got.json()["dependencies"][0]["detail"].as_str().unwrap().contains("[pool].address"));
    view.counts.pool.standing.up();
    let got = served.get("/readyz");
    assert_eq!((got.status, &got.json()["state"]), (200, &"ready".into()));
    assert!(got.json()["dependencies"][0]["age_ms"].is_u64());
    assert_eq!(served.get("/api/v1/health").json()["status"], "ok");
    view.counts.sinks.pool.standing.down("the stream broke");
    let got = served.get("/readyz");
    assert_eq!((got.status, &got.json()["state"]), (200, &"degraded".into()));
    assert!(got.body.contains("the stream broke"));
    assert_eq!(served.get("/livez").status, 200);
}
