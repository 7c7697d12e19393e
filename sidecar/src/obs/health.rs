//! Whether we serve, and how each thing that we depend on stands.
//!
//! Degraded is not dead: a supervisor must not restart a sidecar because the mint is away. We don't
//! serve when no connection is taken any more, or when the pool has been away for as long as miners
//! are kept.

use super::counts::{Counts, Standing, State};
use crate::sys::unix_millis;
use crate::types::Kind;

/// Work that is older than this, while there are channels, is worth a look: pools send new work
/// several times a minute.
const OLD_JOB_MS: i64 = 180_000;
/// A credit that the mint does not show after this.
const OLD_CREDIT_MS: i64 = 900_000;
/// An event that the stats service does not take after this. A commit takes it milliseconds.
const OLD_EVENT_MS: i64 = 20_000;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Up,
    /// It works, but somebody should look.
    Degraded,
    /// It doesn't.
    Down,
    /// It isn't configured, or nothing depends on it now.
    Off,
}

impl Health {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Off => "off",
        }
    }
}

/// Something that we depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// `pool`, `template`, `ledger`, `mint`, `sink:pool` or `sink:stats`.
    pub name: &'static str,
    /// How it stands.
    pub health: Health,
    /// How long ago it gave its last sign of life, in milliseconds; `None`: it never did.
    pub age_ms: Option<i64>,
    /// Since when it stands so, milliseconds since the epoch; `None`: unknown.
    pub since_ms: Option<i64>,
    /// What is wrong, and what to do; empty: nothing.
    pub detail: String,
}

/// Whether we serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Miners can mine here.
    pub serving: bool,
    /// Everything that we depend on.
    pub dependencies: Vec<Dependency>,
}

impl Readiness {
    /// How everything stands now. `lost_ms`: how long miners are kept while the pool is away, in
    /// milliseconds.
    #[must_use]
    pub fn of(counts: &Counts, lost_ms: u64) -> Self {
        let now = unix_millis();
        let pool = pool(counts, lost_ms, now);
        let serving = counts.stopping.get() == 0 && pool.health != Health::Down;
        let dependencies = vec![
            pool,
            template(counts, now),
            ledger(counts, now),
            mint(counts, now),
            sink(counts, now),
            stats(counts, now),
        ];
        Self { serving, dependencies }
    }

    /// `ready`, `degraded` or `not-serving`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        let well = |dependency: &Dependency| matches!(dependency.health, Health::Up | Health::Off);
        match (self.serving, self.dependencies.iter().all(well)) {
            (false, _) => "not-serving",
            (true, true) => "ready",
            (true, false) => "degraded",
        }
    }
}

fn of(name: &'static str, standing: &Standing, now: i64) -> Dependency {
    let stand = standing.read();
    let health = if stand.state == State::Up { Health::Up } else { Health::Down };
    Dependency {
        name,
        health,
        age_ms: standing.heard_ms().map(|heard| (now - heard).max(0)),
        since_ms: Some(stand.since_ms).filter(|since| *since > 0),
        detail: stand.detail,
    }
}

fn off(name: &'static str) -> Dependency {
    Dependency { name, health: Health::Off, age_ms: None, since_ms: None, detail: String::new() }
}

fn pool(counts: &Counts, lost_ms: u64, now: i64) -> Dependency {
    let mut pool = of("pool", &counts.pool.standing, now);
    if pool.health == Health::Down {
        let away = pool.since_ms.map(|since| now - since);
        let lost = i64::try_from(lost_ms).unwrap_or(i64::MAX);
        // Before the first time nobody is kept.
        if pool.age_ms.is_some() && away.is_some_and(|away| away < lost) {
            pool.health = Health::Degraded;
        }
        if pool.detail.is_empty() {
            pool.detail = "not reached yet: is it running, and is [pool].address right?".into();
        }
    }
    pool
}

fn template(counts: &Counts, now: i64) -> Dependency {
    let channels = &counts.channels.open;
    let open = channels.of(Kind::Standard).get() + channels.of(Kind::Extended).get();
    let job_ms = i64::try_from(counts.pool.job_ms.get()).unwrap_or_default();
    // The pool sends work to channels only.
    if open == 0 || job_ms == 0 {
        return off("template");
    }
    let age = (now - job_ms).max(0);
    let old = age > OLD_JOB_MS;
    let detail = "no new work from the pool: look at its log and at its node";
    Dependency {
        name: "template",
        health: if old { Health::Degraded } else { Health::Up },
        age_ms: Some(age),
        since_ms: Some(job_ms),
        detail: if old { detail.into() } else { String::new() },
    }
}

fn ledger(counts: &Counts, now: i64) -> Dependency {
    if counts.ledger.enabled.get() == 0 {
        return off("ledger");
    }
    let mut ledger = of("ledger", &counts.ledger.standing, now);
    // Shares without payout keys are still taken.
    if ledger.health == Health::Down {
        ledger.health = Health::Degraded;
        ledger.detail.push_str(": shares with payout keys are refused until it can be written");
    }
    ledger
}

fn mint(counts: &Counts, now: i64) -> Dependency {
    if counts.ledger.enabled.get() == 0 {
        return off("mint");
    }
    let counts = &counts.mint;
    let mut mint = match counts.standing.read().state {
        // Nothing was to be said to it yet.
        State::Unknown => off("mint"),
        _ => of("mint", &counts.standing, now),
    };
    let well = mint.health != Health::Down;
    let oldest = i64::try_from(counts.oldest_unconfirmed_ms.get()).unwrap_or_default();
    if well && counts.sending_stopped.get() > 0 {
        mint.health = Health::Degraded;
        mint.detail = "sending is stopped: `gopool-sv2 ledger reconcile` says why".into();
    } else if well && oldest > 0 && now - oldest > OLD_CREDIT_MS {
        mint.health = Health::Degraded;
        mint.detail = "a credit is not confirmed for long: `gopool-sv2 ledger stuck`".into();
    }
    mint
}

fn sink(counts: &Counts, now: i64) -> Dependency {
    let standing = &counts.sinks.pool.standing;
    match standing.read().state {
        State::Unknown => off("sink:pool"),
        State::Off => Dependency { health: Health::Off, ..of("sink:pool", standing, now) },
        _ => of("sink:pool", standing, now),
    }
}

fn stats(counts: &Counts, now: i64) -> Dependency {
    let sink = &counts.sinks.stats;
    if sink.standing.read().state == State::Unknown {
        return off("sink:stats");
    }
    let mut stats = of("sink:stats", &sink.standing, now);
    let oldest = i64::try_from(sink.oldest_ms.get()).unwrap_or_default();
    if stats.health == Health::Down {
        // Only history waits for it.
        stats.health = Health::Degraded;
    } else if oldest > 0 && now - oldest > OLD_EVENT_MS {
        stats.health = Health::Degraded;
        stats.detail = "the stats service takes no events: look at its log and at its disk".into();
    }
    stats
}
