//! What the sidecar counts. `docs/metrics.md` says what each number means; the program serves them
//! as text and as JSON.
//!
//! Nothing here waits, allocates or looks up a label on the way of a share.

mod standing;
mod value;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use standing::{Stand, Standing, State};
pub use value::{Count, Histogram, Level, Tally, Times, WorkSum, BUCKETS, BUCKET_ENDS_US, OTHER};

use super::bounds::Bounds;
use super::witness::Witness;
use crate::sys::unix_millis;
use crate::types::{Difficulty, Kind, RefuseReason, RejectReason, Seats};

/// How a handshake can end.
pub const HANDSHAKES: &[&str] =
    &["ok", "deadline", "closed", "socket", "crypto", "stopping", "proxy-header"];

/// Why a connection is closed as it arrives.
pub const REFUSALS: &[&str] = &["full", "address-full", "rate", "address-rate"];

/// Why a connection that was taken ends.
pub const CAUSES: &[&str] = &[
    "handshake-failed",
    "peer-closed",
    "socket-error",
    "setup-deadline",
    "required-extension",
    "setup-refused",
    "no-setup-connection",
    "bad-frame",
    "frame-deadline",
    "bad-message",
    "encode-failed",
    "no-channel",
    "idle",
    "bad-shares",
    "message-rate",
    "slow-reader",
    "mailbox-full",
    "pool-lost",
    "unrestored",
    "kicked",
    "stopping",
];

/// What can become of a block candidate.
pub const BLOCKS: &[&str] = &["accepted", "refused", "unknown"];

/// What the ledger can do with a share.
pub const LEDGER_OUTCOMES: &[&str] = &["recorded", "again", "duplicate", "failed"];

/// What a miner is told of a share that the pool accepted and the ledger could not keep: a share
/// without a payout key counts for it all the same.
pub const NOT_KEPT_TAKEN: &str = "accepted";
/// The same of a share with a payout key: nobody would ever pay it.
pub const NOT_KEPT_REFUSED: &str = "backend-unavailable";

/// The ways a call to the mint can end.
pub const MINT_CALLS: &[&str] = &["answered", "refused", "failed"];

/// States of credits that wait, as the ledger names them.
pub const CREDITS: &[&str] = &["open", "closed", "sealed", "assigned", "sent", "frozen", "lost"];

/// Workers that have sums of their own, of all channels: about 20 MiB.
const WORKERS_MAX: usize = 65_536;

/// All counts of a sidecar. Cheap to clone; clones count together; any thread.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<All>);

impl Deref for Counts {
    type Target = All;

    fn deref(&self) -> &All {
        &self.0
    }
}

impl Counts {
    /// From now on it is told what happens. Once, before anything does: a second one is not heard.
    pub fn tell(&self, witness: Arc<dyn Witness>) {
        // The first one stays.
        let _ = self.witness.set(witness);
    }

    /// Who is told what happens; `None`: nobody.
    #[must_use]
    pub fn witness(&self) -> Option<&dyn Witness> {
        self.witness.get().map(Arc::as_ref)
    }
}

/// What [`Counts`] holds.
#[derive(Debug)]
pub struct All {
    /// When this was made, milliseconds since the epoch.
    pub started_ms: i64,
    /// Where something waits.
    pub bounds: Bounds,
    /// Connections of miners.
    pub connections: Connections,
    /// Channels.
    pub channels: Channels,
    /// Shares.
    pub shares: Shares,
    /// The link to the pool.
    pub pool: PoolLink,
    /// The ledger of accepted shares.
    pub ledger: Ledger,
    /// The mint.
    pub mint: Mint,
    /// The sinks of events.
    pub sinks: Sinks,
    /// Places for workers that have sums of their own, of all channels.
    pub workers: Seats,
    witness: OnceLock<Arc<dyn Witness>>,
    /// The listener takes no more connections.
    pub stopping: Level,
}

impl Default for All {
    fn default() -> Self {
        Self {
            started_ms: unix_millis(),
            bounds: Bounds::default(),
            connections: Connections::default(),
            channels: Channels::default(),
            shares: Shares::default(),
            pool: PoolLink::default(),
            ledger: Ledger::default(),
            mint: Mint::default(),
            sinks: Sinks::default(),
            workers: Seats::new(WORKERS_MAX),
            witness: OnceLock::new(),
            stopping: Level::default(),
        }
    }
}

/// Connections of miners.
#[derive(Debug)]
pub struct Connections {
    /// Taken from the system, whatever became of them.
    pub accepted: Count,
    /// Closed as they arrived, by [`REFUSALS`].
    pub refused: Tally,
    /// Handshakes, by [`HANDSHAKES`].
    pub handshakes: Tally,
    /// Open, with a successful SetupConnection.
    pub set_up: Level,
    /// Ended, by [`CAUSES`].
    pub closed: Tally,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            accepted: Count::default(),
            refused: Tally::new(REFUSALS),
            handshakes: Tally::new(HANDSHAKES),
            set_up: Level::default(),
            closed: Tally::new(CAUSES),
        }
    }
}

/// Something of each kind of channel.
#[derive(Debug, Default)]
pub struct ByKind<T>([T; 2]);

impl<T> ByKind<T> {
    /// That of standard channels, or of extended ones.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Standard => &self.0[0],
            Kind::Extended => &self.0[1],
        }
    }
}

/// Channels.
#[derive(Debug, Default)]
pub struct Channels {
    /// Open now.
    pub open: ByKind<Level>,
    /// Opened so far.
    pub opened: ByKind<Count>,
    refused: [Count; RefuseReason::ALL.len()],
}

impl Channels {
    /// An open was refused.
    pub fn refused(&self, reason: RefuseReason) {
        if let Some(count) = self.refused.get(reason as usize) {
            count.one();
        }
    }

    /// How many opens were refused, for each reason.
    pub fn refusals(&self) -> impl Iterator<Item = (RefuseReason, u64)> + '_ {
        RefuseReason::ALL.iter().copied().zip(self.refused.iter().map(Count::get))
    }
}

/// Something for each reason for which a share is not credited.
#[derive(Debug, Default)]
pub struct ByReject([Count; RejectReason::ALL.len()]);

impl ByReject {
    /// So many more.
    pub fn add(&self, reason: RejectReason, more: u64) {
        if let Some(count) = self.0.get(reason as usize) {
            count.add(more);
        }
    }

    /// Each reason with its count.
    pub fn read(&self) -> impl Iterator<Item = (RejectReason, u64)> + '_ {
        RejectReason::ALL.iter().copied().zip(self.0.iter().map(Count::get))
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Count::get).sum()
    }
}

/// Shares that were answered.
#[derive(Debug, Default)]
pub struct Shares {
    /// Credited.
    pub accepted: Count,
    /// Refused, by the pool or here.
    pub rejected: ByReject,
    /// Refused because nobody could judge them: no fault of the miner's.
    pub unjudged: ByReject,
    /// What was credited, as difficulty.
    pub work: WorkSum,
    /// From the reading of a submit to its answer in the outbox.
    pub ack: Histogram,
    /// Shares whose hash meets nbits, accepted by the pool.
    pub block_candidates: Count,
}

impl Shares {
    /// Accepted shares were answered.
    pub fn accept(&self, count: u64, work: Difficulty) {
        self.accepted.add(count);
        self.work.add(work);
    }
}

/// The link to the pool.
#[derive(Debug)]
pub struct PoolLink {
    /// Whether it is up.
    pub standing: Standing,
    /// How often it came up.
    pub ups: Count,
    /// How often a try to make it, or the link itself, failed.
    pub failures: Count,
    /// From handing a submit to the link until it and its elders have their verdicts. A sample: of
    /// those on the way together one is looked at.
    pub verdict: Histogram,
    /// When the newest work came, milliseconds since the epoch; 0: none came yet.
    pub job_ms: Level,
    /// New work that came. Jobs of the same template for other channels are not.
    pub jobs: Count,
    /// Tips: new work on another prev-hash than the one before.
    pub tips: Count,
    /// Block candidates by what became of them ([`BLOCKS`]).
    pub blocks: Tally,
}

impl Default for PoolLink {
    fn default() -> Self {
        Self {
            standing: Standing::default(),
            ups: Count::default(),
            failures: Count::default(),
            verdict: Histogram::default(),
            job_ms: Level::default(),
            jobs: Count::default(),
            tips: Count::default(),
            blocks: Tally::new(BLOCKS),
        }
    }
}

impl PoolLink {
    /// New work came; `tip`: on another prev-hash than the one before.
    pub fn job(&self, tip: bool) {
        self.jobs.one();
        self.job_ms.set(u64::try_from(unix_millis()).unwrap_or_default());
        if tip {
            self.tips.one();
        }
    }
}

/// The ledger of accepted shares.
#[derive(Debug)]
pub struct Ledger {
    /// Whether there is one.
    pub enabled: Level,
    /// Whether it can be written.
    pub standing: Standing,
    /// From taking what waited to the end of its transaction.
    pub commit: Histogram,
    /// Transactions that failed.
    pub failures: Count,
    /// Shares by [`LEDGER_OUTCOMES`].
    pub shares: Tally,
    /// Shares that the pool accepted and the ledger could not keep, whatever the cause, by what
    /// their miners were told: [`NOT_KEPT_TAKEN`] or [`NOT_KEPT_REFUSED`].
    pub not_kept: Tally,
    /// Shares in credits that have no amount yet.
    pub unsealed_shares: Level,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            enabled: Level::default(),
            standing: Standing::default(),
            commit: Histogram::default(),
            failures: Count::default(),
            shares: Tally::new(LEDGER_OUTCOMES),
            not_kept: Tally::new(&[NOT_KEPT_TAKEN, NOT_KEPT_REFUSED]),
            unsealed_shares: Level::default(),
        }
    }
}

impl Ledger {
    /// A transaction ended; `error`: why it failed.
    pub fn committed(&self, took: Duration, error: Option<&str>) {
        self.commit.observe(took);
        match error {
            None => self.standing.up(),
            Some(reason) => {
                self.failures.one();
                self.standing.down(reason);
            }
        }
    }
}

/// Credits of one state.
#[derive(Debug, Default)]
pub struct Credits {
    /// How many.
    pub count: Level,
    /// Their amounts, in the mint's unit; credits that take shares have none yet.
    pub amount: Level,
}

/// The mint.
#[derive(Debug)]
pub struct Mint {
    /// Whether it answers.
    pub standing: Standing,
    /// Calls, by [`MINT_CALLS`].
    pub calls: Tally,
    /// Credits that wait, in the order of [`CREDITS`].
    pub credits: [Credits; CREDITS.len()],
    /// When the oldest credit was sent that the mint does not show, milliseconds since the epoch;
    /// 0: there is none.
    pub oldest_unconfirmed_ms: Level,
    /// What the mint has shown as paid, in its unit.
    pub confirmed: Level,
    /// What the mint showed at the last readings beyond what was confirmed here, in its unit.
    pub surplus: Level,
    /// 1: nothing is sent until the operator has looked.
    pub sending_stopped: Level,
    /// When these were read from the ledger, milliseconds since the epoch; 0: not yet.
    pub read_ms: Level,
}

impl Default for Mint {
    fn default() -> Self {
        Self {
            standing: Standing::default(),
            calls: Tally::new(MINT_CALLS),
            credits: Default::default(),
            oldest_unconfirmed_ms: Level::default(),
            confirmed: Level::default(),
            surplus: Level::default(),
            sending_stopped: Level::default(),
            read_ms: Level::default(),
        }
    }
}

/// A sink of events.
#[derive(Debug, Default)]
pub struct Sink {
    /// Whether events flow.
    pub standing: Standing,
    /// The newest event here.
    pub newest: Level,
    /// The newest event that the sink has.
    pub acked: Level,
    /// When the oldest event happened that the sink does not have, milliseconds since the epoch; 0:
    /// it has all, or that is not looked at.
    pub oldest_ms: Level,
}

impl Sink {
    /// How many events it does not have yet; none wait for one that wants none.
    #[must_use]
    pub fn unacked(&self) -> u64 {
        match self.standing.read().state {
            State::Off => 0,
            _ => self.newest.get().saturating_sub(self.acked.get()),
        }
    }
}

/// Where events go.
#[derive(Debug, Default)]
pub struct Sinks {
    /// The pool: events of the ledger.
    pub pool: Sink,
    /// The stats service: what happens here.
    pub stats: Sink,
    /// Events that the stats service never got: too many waited for it.
    pub stats_dropped: Arc<Count>,
}

impl Sinks {
    /// The sink with this name, `pool` or `stats`.
    #[must_use]
    pub fn of(&self, name: &str) -> &Sink {
        match name {
            STATS => &self.stats,
            _ => &self.pool,
        }
    }

    /// Each sink with its name.
    #[must_use]
    pub const fn read(&self) -> [(&'static str, &Sink); 2] {
        [("pool", &self.pool), (STATS, &self.stats)]
    }
}

/// The name of the stats service as a sink.
pub const STATS: &str = "stats";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_apart() {
        for (index, reason) in RejectReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, reason) in RefuseReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let counts = Counts::default();
        counts.clone().shares.rejected.add(RejectReason::Unauthorized, 3);
        let found: Vec<_> = counts.shares.rejected.read().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, [(RejectReason::Unauthorized, 3)]);
        assert_eq!(counts.shares.rejected.sum(), 3);
    }
}
