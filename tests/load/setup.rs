//! How fast miners get in: handshakes, and the opening of channels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use gopool_sv2_tests::peer::{Kind, Peer, Place};
use gopool_sv2_tests::Result;
use serde_json::{json, Value};
use tokio::task::JoinSet;

use crate::args::{Handshakes, Open};
use crate::stats::Latencies;
use crate::watch::{Clock, Watched};

/// Connections that are under way at once when that is not what is measured.
pub const AT_ONCE: usize = 32;

/// Connects `count` times, `at_once` at a time. Returns the connections and how long each took.
///
/// # Errors
/// One of them fails.
pub async fn connect(
    place: &Place,
    kind: Kind,
    count: usize,
    at_once: usize,
) -> Result<(Vec<Peer>, Latencies)> {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..at_once.min(count) {
        let (place, begun) = (place.clone(), Arc::clone(&begun));
        workers.spawn(async move {
            let (mut peers, mut latencies) = (Vec::new(), Latencies::default());
            while begun.fetch_add(1, Ordering::Relaxed) < count {
                let start = Instant::now();
                peers.push(Peer::connect(&place, kind).await?);
                latencies.push(start.elapsed());
            }
            Ok::<_, gopool_sv2_tests::Fault>((peers, latencies))
        });
    }
    let (mut peers, mut latencies) = (Vec::with_capacity(count), Latencies::with_room(count));
    while let Some(done) = workers.join_next().await {
        let (some, times) = done??;
        peers.extend(some);
        latencies.merge(times);
    }
    Ok((peers, latencies))
}

/// `count` connections, each with a channel that has work.
///
/// # Errors
/// One of them fails.
pub async fn miners(place: &Place, kind: Kind, count: usize) -> Result<Vec<Peer>> {
    let mut waiting = connect(place, kind, count, AT_ONCE).await?.0;
    let (mut peers, mut workers) = (Vec::with_capacity(count), JoinSet::new());
    loop {
        while workers.len() < AT_ONCE {
            let Some(mut peer) = waiting.pop() else { break };
            let place = place.clone();
            workers.spawn(async move {
                peer.open(&place).await?;
                peer.first_job().await?;
                Ok::<_, gopool_sv2_tests::Fault>(peer)
            });
        }
        match workers.join_next().await {
            Some(done) => peers.push(done??),
            None => return Ok(peers),
        }
    }
}

/// One run of `handshakes`. The connections stay until all are there: closing is not measured.
///
/// # Errors
/// A connection fails.
pub async fn handshakes(place: &Place, plan: &Handshakes, watched: &[Watched]) -> Result<Value> {
    let clock = Clock::read(watched)?;
    let start = Instant::now();
    let (peers, latencies) = connect(place, Kind::Extended, plan.count, plan.at_once).await?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = clock.since(peers.len())?;
    Ok(json!({
        "measure": "handshakes",
        "connections": peers.len(),
        "at_once": plan.at_once,
        "seconds": seconds,
        "rate": peers.len() as f64 / seconds,
        "latency_us": latencies.summary().map(crate::stats::Summary::to_json),
        "cpu_us": cpu,
    }))
}

/// One run of `open`: to Success, and on to the first work.
///
/// # Errors
/// A channel is refused, or a connection fails.
pub async fn open(place: &Place, plan: &Open, watched: &[Watched]) -> Result<Value> {
    let (mut peers, _) = connect(place, plan.kind, plan.count, AT_ONCE).await?;
    let (mut opened, mut ready) = (Latencies::default(), Latencies::default());
    let clock = Clock::read(watched)?;
    let begin = Instant::now();
    for peer in &mut peers {
        let start = Instant::now();
        peer.open(place).await?;
        opened.push(start.elapsed());
        peer.first_job().await?;
        ready.push(start.elapsed());
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(json!({
        "measure": "open",
        "kind": plan.kind.name(),
        "channels": peers.len(),
        "rate": peers.len() as f64 / seconds,
        "latency_us": opened.summary().map(crate::stats::Summary::to_json),
        "ready_us": ready.summary().map(crate::stats::Summary::to_json),
        "cpu_us": clock.since(peers.len())?,
    }))
}
