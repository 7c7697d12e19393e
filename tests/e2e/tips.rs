//! Opening while the tip changes: the moment in which the reference pool stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gopool_sv2_tests::{Books, Line, LineOptions};
use parsers_sv2::MiningOwned;
use tokio::task::JoinSet;

use crate::block_on;
use crate::peer::Peer;

const CLIENTS: usize = 200;
const ROUNDS: usize = 50;

/// Connects, opens, and reads up to the SetNewPrevHash that activates the first job.
async fn first_job(line: &Line, name: &str) -> Result<(), String> {
    let (mut peer, channel) = Peer::mining(line, name).await.map_err(|e| e.to_string())?;
    let next = peer.next_mining().await.map_err(|e| e.to_string())?;
    let MiningOwned::NewExtendedMiningJob(job) = next else {
        return Err(format!("not a job: {next}"));
    };
    if job.channel_id != channel.channel_id || job.min_ntime.into_inner().is_some() {
        return Err("the first job is not a future job of the channel".into());
    }
    match peer.next_mining().await.map_err(|e| e.to_string())? {
        MiningOwned::SetNewPrevHash(tip) if tip.job_id == job.job_id => Ok(()),
        other => Err(format!("not the prev-hash of the first job: {other}")),
    }
}

#[test]
fn each_of_200_clients_gets_a_job_50_times_while_the_tip_changes_every_100_ms() {
    let line = Arc::new(
        Line::start(LineOptions {
            network_bits: "207fffff",
            minipool: vec!["-test-tip-every".into(), "100ms".into()],
            // All come from one address, as fast as they can.
            listen: "connections_per_sec = 0\nconnections_per_sec_per_address = 0".into(),
            ..LineOptions::default()
        })
        .unwrap(),
    );
    let failures = block_on(async {
        // A task each: on a busy machine one task for all would poll the first of them only.
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let line = Arc::clone(&line);
            clients.spawn(async move {
                let mut failures = Vec::new();
                for round in 0..ROUNDS {
                    if let Err(error) = first_job(&line, &format!("c{client}")).await {
                        failures.push(format!("client {client}, round {round}: {error}"));
                    }
                }
                failures
            });
        }
        clients.join_all().await.concat()
    });
    let mut line = Arc::into_inner(line).expect("all clients have ended");
    assert!(failures.is_empty(), "{} failures: {:?}", failures.len(), &failures[..1]);
    assert!(line.sidecar.is_running());
    assert!(line.pool.as_mut().is_none_or(gopool_sv2_tests::Process::is_running));
    let stopped = line.stop().unwrap();
    let tips = stopped.books("minipool").unwrap().of("tip").count();
    assert!(tips > 20, "only {tips} new tips: the test proves nothing");
    let checked = names_the_newest(&stopped.books("sidecar").unwrap());
    assert!(checked >= CLIENTS * ROUNDS, "only {checked} SetNewPrevHash in the trace");
}

/// Every SetNewPrevHash names the newest job of its channel that had arrived on the link when it
/// was queued. Returns how many there were.
fn names_the_newest(trace: &Books) -> usize {
    let mut arrived: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for event in trace.of("job_arrived") {
        arrived.entry(event.number("channel")).or_default().insert(event.number("job_seq"));
    }
    let mut checked = 0;
    for event in trace.of("set_new_prev_hash") {
        let (channel, named) = (event.number("channel"), event.number("job_seq"));
        let newest = event.number("newest");
        let jobs = &arrived[&channel];
        assert!(jobs.contains(&named), "a job that never arrived: {event:?}");
        let missed = jobs.iter().find(|seq| **seq > named && **seq <= newest);
        assert_eq!(missed, None, "a newer job had arrived: {event:?}");
        checked += 1;
    }
    checked
}
