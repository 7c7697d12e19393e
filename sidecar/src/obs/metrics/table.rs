//! Every metric in one table: its name, type, labels, what it means and where it is read.

use super::{Kind, Metric, Samples};
use crate::obs::bounds::Place;
use crate::obs::counts::{Counts, Standing, State, CREDITS};
use crate::types::Kind as ChannelKind;

/// Milliseconds since the epoch as a metric's seconds.
fn at(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn is_up(standing: &Standing) -> u64 {
    u64::from(standing.read().state == State::Up)
}

const KINDS: [ChannelKind; 2] = [ChannelKind::Standard, ChannelKind::Extended];

macro_rules! metrics {
    ($($name:literal $kind:ident [$($label:literal),*] $help:literal $read:expr;)*) => {
        &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
            read: $read,
        },)*]
    };
}

/// All metrics, in the order in which they are written. Names lack the prefix, and counters their
/// `_total`.
pub(super) const METRICS: &[Metric] = metrics! {
    "build" Gauge ["version"] "Always 1; the label says what runs."
        |_, s| s.put(&[env!("CARGO_PKG_VERSION")], 1);
    "start_time_seconds" Gauge [] "When the sidecar started, seconds since the epoch."
        |c, s| s.real(at(u64::try_from(c.started_ms).unwrap_or_default()));

    "connections_accepted" Counter [] "Connections taken from the system, whatever became of them."
        |c, s| s.put(&[], c.connections.accepted.get());
    "connections_refused" Counter ["reason"]
        "Connections closed as they arrived, by the limit of [listen] that they would exceed."
        |c, s| s.tally(&c.connections.refused);
    "handshakes" Counter ["result"] "Encryption handshakes that ended: ok, or what was wrong."
        |c, s| s.tally(&c.connections.handshakes);
    "connections_set_up" Gauge [] "Connections with a successful SetupConnection."
        |c, s| s.put(&[], c.connections.set_up.get());
    "connections_closed" Counter ["cause"] "Connections that ended, by the cause in the log."
        |c, s| s.tally(&c.connections.closed);

    "channels" Gauge ["kind"] "Open channels."
        |c, s| for kind in KINDS { s.put(&[kind.as_str()], c.channels.open.of(kind).get()) };
    "channels_opened" Counter ["kind"] "Channels that were opened."
        |c, s| for kind in KINDS { s.put(&[kind.as_str()], c.channels.opened.of(kind).get()) };
    "channels_refused" Counter ["reason"] "Opens that were refused, by SV2's error code."
        |c, s| for (reason, n) in c.channels.refusals() { s.put(&[reason.as_str()], n) };

    "shares" Counter ["result", "reason"]
        "Answered shares: accepted; rejected for a reason; unjudged, when nobody could judge them."
        shares;
    "credited_difficulty" Counter []
        "What the pool credited, in shares of difficulty 1: times 2^32 it is hashes."
        |c, s| {
            let work = c.shares.work.get();
            s.real(work.whole as f64 + f64::from(work.fraction) / 2.0_f64.powi(32));
        };
    "share_ack_seconds" Histogram []
        "From the reading of a submit to its answer in the outbox of the connection."
        |c, s| s.times(c.shares.ack.read());
    "block_candidates" Counter [] "Shares that meet the network's target, accepted by the pool."
        |c, s| s.put(&[], c.shares.block_candidates.get());
    "blocks" Counter ["result"] "What became of block candidates, as the pool said."
        |c, s| s.tally(&c.pool.blocks);

    "pool_link_up" Gauge [] "1: the link to the pool is up."
        |c, s| s.put(&[], is_up(&c.pool.standing));
    "pool_links" Counter [] "How often the link to the pool came up."
        |c, s| s.put(&[], c.pool.ups.get());
    "pool_link_failures" Counter [] "How often the link, or a try to make it, failed."
        |c, s| s.put(&[], c.pool.failures.get());
    "pool_verdict_seconds" Histogram []
        "From handing a submit to the link until it and its elders have verdicts; a sample of them."
        |c, s| s.times(c.pool.verdict.read());
    "jobs" Counter []
        "How often new work came from the pool: jobs on another tip, or of other transactions."
        |c, s| s.put(&[], c.pool.jobs.get());
    "tips" Counter [] "New work with another prev-hash than the one before."
        |c, s| s.put(&[], c.pool.tips.get());
    "newest_job_timestamp_seconds" Gauge []
        "When the newest work came, seconds since the epoch; 0: none came yet."
        |c, s| s.real(at(c.pool.job_ms.get()));

    "queue_depth" Gauge ["queue"] "How much waits there; of queues that each connection has, 0."
        |c, s| for place in Place::ALL { s.put(&[place.as_str()], c.bounds.read(place).depth) };
    "queue_depth_peak" Gauge ["queue"] "The most that ever waited there."
        |c, s| for place in Place::ALL { s.put(&[place.as_str()], c.bounds.read(place).peak) };
    "queue_full" Counter ["queue"] "How often there was no room."
        |c, s| for place in Place::ALL { s.put(&[place.as_str()], c.bounds.read(place).full) };

    "ledger_enabled" Gauge [] "1: accepted shares are kept in a ledger."
        |c, s| s.put(&[], c.ledger.enabled.get());
    "ledger_up" Gauge [] "1: the ledger's last transaction was committed."
        |c, s| s.put(&[], is_up(&c.ledger.standing));
    "ledger_commit_seconds" Histogram [] "Transactions of the ledger, with their way to the disk."
        |c, s| s.times(c.ledger.commit.read());
    "ledger_failures" Counter [] "Transactions of the ledger that failed."
        |c, s| s.put(&[], c.ledger.failures.get());
    "ledger_shares" Counter ["outcome"]
        "Shares by what the ledger did: recorded; again, a repeat; duplicate, refused; failed."
        |c, s| s.tally(&c.ledger.shares);
    "ledger_not_kept" Counter ["told"]
        "Shares that the pool accepted and the ledger could not keep, by what their miners were \
         told: accepted, those without a payout key; backend-unavailable, those with one."
        |c, s| s.tally(&c.ledger.not_kept);
    "ledger_unsealed_shares" Gauge [] "Shares in credits that have no amount yet."
        |c, s| s.put(&[], c.ledger.unsealed_shares.get());

    "mint_up" Gauge [] "1: the last call to the mint was answered."
        |c, s| s.put(&[], is_up(&c.mint.standing));
    "mint_calls" Counter ["result"] "Calls to the mint's HTTP API."
        |c, s| s.tally(&c.mint.calls);
    "mint_credits" Gauge ["state"] "Credits that the mint has not paid yet, by their state."
        |c, s| for (state, of) in CREDITS.iter().zip(&c.mint.credits) {
            s.put(&[state], of.count.get());
        };
    "mint_credits_units" Gauge ["state"] "The amounts of those credits, in the mint's unit."
        |c, s| for (state, of) in CREDITS.iter().zip(&c.mint.credits) {
            s.put(&[state], of.amount.get());
        };
    "mint_oldest_unconfirmed_timestamp_seconds" Gauge []
        "When the oldest credit was sent that the mint does not show, seconds since the epoch; \
         0: there is none."
        |c, s| s.real(at(c.mint.oldest_unconfirmed_ms.get()));
    "mint_confirmed_units" Counter [] "What the mint has shown as paid, in its unit; since ever."
        // Before the first reading it would be 0, and then grow by all that was ever paid.
        |c, s| if c.mint.read_ms.get() > 0 { s.put(&[], c.mint.confirmed.get()) };
    "mint_surplus_units" Gauge []
        "What the mint shows as paid beyond what is confirmed here. Not 0 for long: look at \
         `gopool-sv2 ledger reconcile`."
        |c, s| s.put(&[], c.mint.surplus.get());
    "ledger_figures_timestamp_seconds" Gauge []
        "When credits, confirmed, surplus, oldest and stopped were read from the ledger, seconds \
         since the epoch; 0: not yet."
        |c, s| s.real(at(c.mint.read_ms.get()));
    "mint_sending_stopped" Gauge [] "1: nothing is sent to the mint until the operator has looked."
        |c, s| s.put(&[], c.mint.sending_stopped.get());

    "events_up" Gauge ["sink"]
        "1: events flow: those of the ledger to the pool, what happens here to the stats service."
        |c, s| for (name, sink) in c.sinks.read() { s.put(&[name], is_up(&sink.standing)) };
    "events_unacked" Gauge ["sink"]
        "Events that the sink does not have yet; 0 for a pool that takes none."
        |c, s| for (name, sink) in c.sinks.read() { s.put(&[name], sink.unacked()) };
    "stats_events_dropped" Counter []
        "Events that the stats service never gets: too many waited for it ([stats].max_events)."
        |c, s| s.put(&[], c.sinks.stats_dropped.get());
};

fn shares(counts: &Counts, samples: &mut Samples) {
    samples.put(&["accepted", ""], counts.shares.accepted.get());
    for (reason, count) in counts.shares.rejected.read() {
        samples.put(&["rejected", reason.as_str()], count);
    }
    for (reason, count) in counts.shares.unjudged.read() {
        // Most reasons are verdicts.
        if count > 0 {
            samples.put(&["unjudged", reason.as_str()], count);
        }
    }
}
