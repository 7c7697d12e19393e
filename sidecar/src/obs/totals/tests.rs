//! Promises of portions.

use proptest::prelude::*;

use super::*;

const NAMES: [&[u8]; 4] = [b"", b"a", b"b", b"c"];

fn name(index: usize) -> Bytes {
    Bytes::from_static(NAMES[index])
}

/// What happens to a channel.
#[derive(Debug, Clone)]
enum Act {
    Accept {
        worker: usize,
        credit: Difficulty,
        difficulty: f64,
    },
    Reject {
        worker: usize,
        reason: usize,
    },
    Take,
    /// What is read of the credit is short of a carry.
    TakeTorn,
}

fn act() -> impl Strategy<Value = Act> {
    let credit = (0_u64..5, any::<u32>());
    prop_oneof![
        4 => (0..NAMES.len(), credit, 1.0..1e6_f64).prop_map(|(worker, credit, difficulty)| {
            let (whole, fraction) = credit;
            Act::Accept { worker, credit: Difficulty { whole, fraction }, difficulty }
        }),
        2 => (0..NAMES.len(), 0..REASONS)
            .prop_map(|(worker, reason)| Act::Reject { worker, reason }),
        1 => Just(Act::Take),
        1 => Just(Act::TakeTorn),
    ]
}

/// Everything that was told, by worker.
#[derive(Debug, Default, Clone, PartialEq)]
struct Told {
    sums: BTreeMap<Bytes, (Sum, f64)>,
}

impl Told {
    fn add(&mut self, totals: &Totals) {
        let (sum, best) = self.sums.entry(totals.worker.clone()).or_default();
        sum.accepted += totals.accepted;
        sum.credit = sum.credit.saturating_add(totals.credit);
        for (reason, count) in &totals.rejected {
            sum.rejected[*reason as usize] += count;
        }
        *best = best.max(totals.best);
    }
}

fn short_of_a_carry(mut sum: Sum) -> Sum {
    sum.credit.whole = sum.credit.whole.saturating_sub(1);
    sum
}

proptest! {
    #[test]
    fn each_share_is_in_exactly_one_portion(
        acts in prop::collection::vec(act(), 0..200),
        places in 1_usize..5,
    ) {
        let (untold, seats) = (Untold::new(5), Seats::new(places));
        let (mut all, mut best, mut told) = (Sum::default(), 0.0_f64, Told::default());
        let mut by_worker: BTreeMap<Bytes, Sum> = BTreeMap::new();
        let (mut now, mut since) = (5, 5);
        for act in acts {
            match act {
                Act::Accept { worker, credit, difficulty } => {
                    let worker = name(worker);
                    untold.judged(&worker, difficulty, &seats);
                    best = best.max(difficulty);
                    all.add(Ok(credit));
                    by_worker.entry(worker.clone()).or_default().add(Ok(credit));
                    untold.named(&[(Short::new(&worker), Ok(credit))]);
                }
                Act::Reject { worker, reason } => {
                    let (worker, reason) = (name(worker), RejectReason::ALL[reason]);
                    all.add(Err(reason));
                    by_worker.entry(worker.clone()).or_default().add(Err(reason));
                    untold.named(&[(Short::new(&worker), Err(reason))]);
                }
                Act::Take | Act::TakeTorn => {
                    let torn = matches!(act, Act::TakeTorn);
                    let read = || if torn { short_of_a_carry(all) } else { all };
                    now += 10;
                    untold.take(now, read, |totals| {
                        assert_eq!(totals.since_ms, since);
                        told.add(&totals);
                    }, None::<fn()>);
                    since = now;
                }
            }
        }
        let mut over = false;
        untold.take(now, || all, |totals| told.add(&totals), Some(|| over = true));
        prop_assert!(over);
        let mut sum = Sum::default();
        let mut highest = 0.0_f64;
        for (worker, (part, best)) in &told.sums {
            sum.accepted += part.accepted;
            sum.credit = sum.credit.saturating_add(part.credit);
            for (count, more) in sum.rejected.iter_mut().zip(part.rejected) {
                *count += more;
            }
            highest = highest.max(*best);
            if !worker.is_empty() {
                // What is without a place is in the rest, and before the first accepted share.
                let whole = by_worker.get(worker).copied().unwrap_or_default();
                prop_assert_eq!((part.accepted, part.credit), (whole.accepted, whole.credit));
            }
        }
        prop_assert_eq!(sum, all);
        prop_assert_eq!(highest, best);
        prop_assert!(told.sums.keys().filter(|worker| !worker.is_empty()).count() <= places);
    }
}

#[test]
fn nothing_follows_the_last_portion() {
    let untold = Untold::new(0);
    let one = Sum { accepted: 1, ..Sum::default() };
    let mut told = Vec::new();
    untold.take(1, || one, |totals| told.push(totals.accepted), Some(|| ()));
    let two = Sum { accepted: 2, ..Sum::default() };
    untold.take(2, || two, |totals| told.push(totals.accepted), Some(|| panic!("once")));
    untold.unless_over(|| panic!("it is over"));
    assert_eq!(told, [1]);
}

#[test]
fn a_channel_on_which_nothing_happened_tells_nothing_and_moves_on() {
    let untold = Untold::new(0);
    let mut told = Vec::new();
    untold.take(1_000, Sum::default, |totals| told.push(totals), None::<fn()>);
    assert!(told.is_empty());
    let one = Sum { accepted: 1, ..Sum::default() };
    untold.take(2_000, || one, |totals| told.push(totals), None::<fn()>);
    // It was looked at then, and there was nothing.
    assert_eq!((told.len(), told[0].since_ms), (1, 1_000));
}

#[test]
fn workers_beyond_the_room_are_in_the_rest() {
    let (untold, seats) = (Untold::new(0), Seats::default());
    let mut all = Sum::default();
    for number in 0..=WORKERS_MAX {
        let worker = Bytes::from(number.to_string());
        untold.judged(&worker, 1.0, &seats);
        all.add(Ok(Difficulty { whole: 1, fraction: 0 }));
        untold.named(&[(Short::new(&worker), Ok(Difficulty { whole: 1, fraction: 0 }))]);
    }
    let mut told = Told::default();
    untold.take(1, || all, |totals| told.add(&totals), None::<fn()>);
    assert_eq!(told.sums.len(), WORKERS_MAX + 1);
    assert_eq!(told.sums[&Bytes::new()].0.accepted, 1);
    assert_eq!(seats.taken(), WORKERS_MAX);
    drop(untold);
    assert_eq!(seats.taken(), 0);
}
