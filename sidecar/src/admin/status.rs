//! Everything that `gopool-sv2 status` shows, in one answer.

use serde_json::{json, Map, Value};

use super::clients;
use super::health::{read, to_json};
use super::View;
use crate::obs::bounds::Place;
use crate::obs::counts::{Tally, Times, CREDITS};
use crate::sys::unix_millis;

fn times(times: &Times) -> Value {
    let ms = |percent| times.quantile_us(percent).map(|us| us as f64 / 1000.0);
    json!({ "count": times.count(), "p50_ms": ms(50), "p99_ms": ms(99) })
}

fn tally(tally: &Tally) -> Value {
    let counted = tally.read().filter(|(_, count)| *count > 0);
    Value::Object(counted.map(|(name, count)| (name.to_owned(), count.into())).collect())
}

/// How everything stands.
pub(super) fn status(view: &View) -> Value {
    let counts = &view.counts;
    let (readiness, sums, now) = (to_json(&read(view)), clients::all(view), unix_millis());
    let reasons = |read: &mut dyn Iterator<Item = (&'static str, u64)>| -> Map<String, Value> {
        let counted = read.filter(|(_, count)| *count > 0);
        counted.map(|(reason, count)| (reason.to_owned(), count.into())).collect()
    };
    let rejected = reasons(&mut counts.shares.rejected.read().map(|(r, n)| (r.as_str(), n)));
    let unjudged = reasons(&mut counts.shares.unjudged.read().map(|(r, n)| (r.as_str(), n)));
    let refused = reasons(&mut counts.channels.refusals().map(|(r, n)| (r.as_str(), n)));
    let queues: Map<String, Value> = Place::ALL
        .into_iter()
        .map(|place| {
            let read = counts.bounds.read(place);
            let value = json!({ "depth": read.depth, "peak": read.peak, "full": read.full });
            (place.as_str().to_owned(), value)
        })
        .collect();
    let credits: Map<String, Value> = CREDITS
        .iter()
        .zip(&counts.mint.credits)
        .map(|(state, of)| {
            let value = json!({ "count": of.count.get(), "amount": of.amount.get() });
            ((*state).to_owned(), value)
        })
        .collect();
    let work = counts.shares.work.get();
    let has_ledger = counts.ledger.enabled.get() > 0;
    let ledger = json!({
        "commit": times(&counts.ledger.commit.read()),
        "failures": counts.ledger.failures.get(),
        "shares": tally(&counts.ledger.shares),
        "not_kept": tally(&counts.ledger.not_kept),
        "unsealed_shares": counts.ledger.unsealed_shares.get(),
    });
    let mint = json!({
        "calls": tally(&counts.mint.calls),
        "credits": credits,
        "confirmed": counts.mint.confirmed.get(),
        "surplus": counts.mint.surplus.get(),
        "oldest_unconfirmed_ms": Some(counts.mint.oldest_unconfirmed_ms.get()).filter(|at| *at > 0),
        "sending_stopped": counts.mint.sending_stopped.get() > 0,
        "events_unacked": counts.sinks.pool.unacked(),
    });
    json!({
        "state": readiness["state"],
        "dependencies": readiness["dependencies"],
        "version": env!("CARGO_PKG_VERSION"),
        "now_ms": now,
        "started_ms": counts.started_ms,
        "connections": {
            "open": sums.clients,
            "set_up": counts.connections.set_up.get(),
            "accepted": counts.connections.accepted.get(),
            "refused": tally(&counts.connections.refused),
            "handshakes": tally(&counts.connections.handshakes),
            "closed": tally(&counts.connections.closed),
        },
        "channels": {
            "standard": sums.standard,
            "extended": sums.extended,
            "nominal_hashrate": sums.hash_rate,
            "refused": refused,
        },
        "shares": {
            "accepted": counts.shares.accepted.get(),
            "rejected": rejected,
            "unjudged": unjudged,
            "credited_difficulty": work.whole as f64 + f64::from(work.fraction) / 2.0_f64.powi(32),
            "ack": times(&counts.shares.ack.read()),
            "block_candidates": counts.shares.block_candidates.get(),
        },
        "pool": {
            "verdict": times(&counts.pool.verdict.read()),
            "links": counts.pool.ups.get(),
            "failures": counts.pool.failures.get(),
            "jobs": counts.pool.jobs.get(),
            "tips": counts.pool.tips.get(),
            "newest_job_ms": Some(counts.pool.job_ms.get()).filter(|at| *at > 0),
            "blocks": tally(&counts.pool.blocks),
        },
        "queues": queues,
        "ledger": has_ledger.then_some(ledger),
        "mint": has_ledger.then_some(mint),
    })
}
