//! What goes wrong, and when: a schedule that is the same for the same seed.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What passes between sidecar and pool takes longer.
    Delay,
    /// Little passes at a time.
    Throttle,
    /// The connection is closed.
    Cut,
    /// Nothing passes on the connection any more, though it stays; others can be made.
    HalfOpen,
    /// Nothing passes for a while, in either direction.
    Stall,
    /// Nothing passes for a while from the sidecar to the pool.
    StallUp,
    /// Nothing passes for a while from the pool to the sidecar.
    StallDown,
    /// The socket that the sidecar dials is deleted and its connection cut; it is made again later.
    NoSocket,
    /// The pool is killed, and started again later.
    KillPool,
    /// The pool stands still for a while.
    StopPool,
    /// The sidecar is killed, and started again later.
    KillSidecar,
    /// The sidecar stands still for a while.
    StopSidecar,
    /// The sidecar gets no new descriptors for a while, and its connection to the pool is cut.
    NoDescriptors,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Delay,
        Self::Throttle,
        Self::Cut,
        Self::HalfOpen,
        Self::Stall,
        Self::StallUp,
        Self::StallDown,
        Self::NoSocket,
        Self::KillPool,
        Self::StopPool,
        Self::KillSidecar,
        Self::StopSidecar,
        Self::NoDescriptors,
    ];

    /// Those that kill nobody.
    pub const BLOODLESS: [Self; 11] = [
        Self::Delay,
        Self::Throttle,
        Self::Cut,
        Self::HalfOpen,
        Self::Stall,
        Self::StallUp,
        Self::StallDown,
        Self::NoSocket,
        Self::StopPool,
        Self::StopSidecar,
        Self::NoDescriptors,
    ];

    /// Longest time it lasts, in milliseconds.
    const fn longest_ms(self) -> u64 {
        match self {
            Self::Cut | Self::HalfOpen => 0,
            // Beyond the grace now and then.
            Self::NoSocket | Self::StopPool | Self::StallDown => 3_500,
            Self::KillPool | Self::KillSidecar => 1_000,
            _ => 2_500,
        }
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// When, from the beginning.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
    /// How bad, from 0 to 1.
    pub grade: f64,
}

/// A fault each `every`, for `length`: each kind in turn, in an order drawn anew each
/// round.
pub fn schedule(seed: u64, kinds: &[Kind], every: Duration, length: Duration) -> Vec<Fault> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut faults, mut round) = (Vec::new(), Vec::new());
    let mut at = every;
    while at < length {
        if round.is_empty() {
            round = kinds.to_vec();
            round.shuffle(&mut rng);
        }
        let Some(kind) = round.pop() else { break };
        let longest = kind.longest_ms();
        let lasts = Duration::from_millis(rng.gen_range(longest / 10..=longest));
        faults.push(Fault { kind, at, lasts, grade: rng.gen() });
        at += every;
    }
    faults
}

/// A fault as it came about.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// What.
    pub kind: Kind,
    /// Just before it began.
    pub begun: Instant,
    /// Just after all of it was put right; of a killed process: when it was there again.
    pub ended: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults_and_every_kind_its_turn() {
        let (every, length) = (Duration::from_secs(2), Duration::from_secs(300));
        let faults = schedule(7, &Kind::ALL, every, length);
        assert_eq!(faults, schedule(7, &Kind::ALL, every, length));
        assert_ne!(faults, schedule(8, &Kind::ALL, every, length));
        assert_eq!(faults.len(), 149);
        for kind in Kind::ALL {
            assert!(faults.iter().filter(|fault| fault.kind == kind).count() >= 11, "{kind:?}");
        }
        let kills = |kind: &Kind| matches!(kind, Kind::KillPool | Kind::KillSidecar);
        assert!(!Kind::BLOODLESS.iter().any(kills));
    }
}
