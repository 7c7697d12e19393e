//! Every promise, over many seeds; and that a broken one is seen.

use super::stage::{Counts, Promise};
use super::world::{Played, World};
use crate::types::planted::{plant, Bug};

/// Seeds played when nobody says otherwise.
const SEEDS: u64 = 100;
/// Lines of the trace that a report shows; all, when one seed is asked for.
const TAIL: usize = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Plays a seed that must keep every promise.
fn kept(seed: u64, tail: usize) -> Counts {
    let Played { counts, broken, tail, .. } = World::play(seed, tail);
    if let Some(broken) = broken {
        panic!(
            "SIM_SEED={seed} breaks {:?}: {}\n{tail}SIM_SEED={seed} breaks {:?}: {}",
            broken.promise, broken.text, broken.promise, broken.text
        );
    }
    counts
}

/// Adds up what the interesting states were, by their names.
macro_rules! sums {
    ($all:expr, $($field:ident),+ $(,)?) => {
        [$((stringify!($field), $all.iter().map(|counts: &Counts| counts.$field).sum::<u64>())),+]
    };
}

#[test]
#[allow(clippy::print_stdout, reason = "figures, for who asks with --nocapture")]
fn a_hundred_seeds_keep_every_promise() {
    if let Some(seed) = number("SIM_SEED") {
        kept(seed, usize::MAX);
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let begun = std::time::Instant::now();
    let all: Vec<_> = (0..seeds).map(|seed| kept(seed, TAIL)).collect();
    let seconds = begun.elapsed().as_secs_f32();
    let sums = sums!(
        all,
        submits,
        successes,
        resumes,
        restarts,
        sessions_expired,
        fenced,
        late_hellos,
        given_up,
        lost,
        silent,
        drained,
        reopened,
        reopens_refused,
        opens_late,
        reopens_late,
        unrestored,
        withdrawn,
        sent_again,
        known_again,
        stale_across,
        kicks,
        mailboxes_full,
        two_tips_in_a_step,
        verdicts_out_of_order,
        ntime_refused,
    );
    println!("{seeds} seeds in {seconds:.1} s: {sums:?}");
    for (name, sum) in sums {
        assert!(seeds < SEEDS || sum > 0, "no seed has any {name}: {sums:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3] {
        let (first, second) = (World::play(seed, TAIL), World::play(seed, TAIL));
        assert_eq!((first.hash, first.counts), (second.hash, second.counts), "seed {seed}");
    }
    assert_ne!(World::play(1, TAIL).hash, World::play(2, TAIL).hash);
}

/// Plays a few seeds with a bug and says which promises were seen to be broken.
fn broken_by(bug: Bug) -> Vec<Promise> {
    plant(Some(bug));
    let broken =
        (0..10).filter_map(|seed| World::play(seed, TAIL).broken).map(|b| b.promise).collect();
    plant(None);
    broken
}

#[test]
fn catches_a_lost_verdict() {
    let broken = broken_by(Bug::LostVerdict);
    assert!(broken.len() >= 5, "{broken:?}");
    let seen = [Promise::Converges, Promise::OneAnswer, Promise::Withdrawn];
    assert!(broken.iter().all(|promise| seen.contains(promise)), "{broken:?}");
}

#[test]
fn catches_a_double_resend() {
    let broken = broken_by(Bug::DoubleResend);
    assert!(broken.len() >= 5, "{broken:?}");
    assert!(broken.iter().all(|promise| *promise == Promise::NoSecondCredit), "{broken:?}");
}

#[test]
fn catches_a_share_accepted_on_the_wrong_tip() {
    let broken = broken_by(Bug::WrongTip);
    // Or it is held against the harder target of a job that its miner did not work on.
    let seen = [Promise::RightTip, Promise::ToldTarget];
    assert!(broken.iter().all(|promise| seen.contains(promise)), "{broken:?}");
    let caught = broken.iter().filter(|promise| **promise == Promise::RightTip);
    assert!(caught.count() >= 5, "{broken:?}");
}
