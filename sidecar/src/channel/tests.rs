//! Promises of one channel.

use proptest::prelude::*;

use super::*;
use crate::types::{vectors, ConnId, Hash, StaleRule, VERSION_ROLLING_MASK};

fn target(top: u8) -> Target {
    let mut bytes = [0xff; 32];
    bytes[31] = top;
    Target(bytes)
}

fn limits() -> TargetLimits {
    TargetLimits { easiest: target(0x7f), hardest: target(0) }
}

fn channel(max_target: Target, wanted: Target) -> Channel {
    opened(max_target, wanted, limits())
}

fn opened(max_target: Target, wanted: Target, limits: TargetLimits) -> Channel {
    let request = OpenRequest {
        kind: Kind::Extended,
        user_identity: Bytes::from_static(b"worker"),
        payout_key: None,
        quote: None,
        nominal_hash_rate: 0.0,
        max_target,
        min_extranonce_size: 4,
    };
    let grant = Grant { prefix: Bytes::from_static(&[1, 2]), extranonce_size: 4, target: wanted };
    let key = ChannelKey::new(ConnId(1), 1).unwrap();
    Channel::new((key, 0), (1, 2), &request, grant, limits)
}

fn job(seq: u64) -> Arc<Job> {
    Arc::new(Job {
        id: seq + 100,
        seq,
        prev_hash: Hash([1; 32]),
        nbits: 0x1d00_ffff,
        version: 0x2000_0000,
        version_mask: VERSION_ROLLING_MASK,
        min_ntime: 1000,
        max_ntime: None,
        merkle_path: vec![],
        coinbase_prefix: Bytes::from_static(&[1]),
        coinbase_suffix: Bytes::from_static(&[2]),
        stale_rule: StaleRule::Strict,
        height: 0,
    })
}

fn share(job_id: u32) -> Fields<'static> {
    Fields { job_id, nonce: 1, ntime: 1000, version: 0x2000_0000, extranonce: &[0; 4] }
}

#[test]
fn target_is_the_hardest_of_three_upper_bounds() {
    assert_eq!(channel(Target::EASIEST, target(0xf0)).target(), target(0x7f), "pool minimum");
    assert_eq!(channel(target(0x10), target(0xf0)).target(), target(0x10), "miner's bound");
    assert_eq!(channel(target(0x10), target(0x08)).target(), target(0x08), "wanted");
    assert_eq!(channel(target(0x10), target(0x08)).target_to_report(), None);
    let reported = channel(target(0x10), target(0x20)).target_to_report();
    assert_eq!(reported, Some(target(0x10)));
}

#[test]
fn tg_5_the_target_is_that_of_the_vectors() {
    let bounds = vectors::targets().bounds;
    assert!(bounds.len() > 5);
    for bound in bounds {
        let [wanted, pool, miner] = [bound.wanted, bound.pool, bound.miner].map(|hex| hex.target());
        let limits = TargetLimits { easiest: pool, hardest: Target::ZERO };
        assert_eq!(opened(miner, wanted, limits).target(), bound.target.target(), "{}", bound.name);
    }
}

#[test]
fn update_obeys_a_harder_bound_and_tells_the_miner_once() {
    let mut channel = channel(Target::EASIEST, target(0x40));
    let request = channel.update(1e12, target(0x20)).unwrap();
    assert_eq!(channel.target(), target(0x40), "not before the pool agrees");
    assert_eq!(channel.updated(request, true), Some(target(0x20)));
    assert_eq!(channel.updated(request, true), None);
    let easier = channel.update(1e12, Target::EASIEST).unwrap();
    assert_eq!(channel.updated(easier, true), Some(target(0x40)));
}

#[test]
fn rejects_bad_updates_and_stays_as_it_was() {
    let mut channel = channel(Target::EASIEST, target(0x40));
    use RefuseReason as R;
    for rate in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
        assert_eq!(channel.update(rate, Target::EASIEST), Err(R::InvalidNominalHashrate));
    }
    assert_eq!(channel.update(1.0, Target::ZERO), Err(R::MaxTargetOutOfRange));
    let mut too_hard = target(0).0;
    too_hard[30] = 1;
    assert_eq!(channel.update(1.0, Target(too_hard)), Err(R::MaxTargetOutOfRange));
    let refused = channel.update(-0.0, target(0x10)).unwrap();
    assert_eq!(channel.updated(refused, false), None);
    assert_eq!(channel.target(), target(0x40));
    for _ in 0..MAX_UPDATES_WAITING {
        channel.update(1.0, target(0x10)).unwrap();
    }
    assert_eq!(channel.update(1.0, target(0x10)), Err(R::RateLimited));
}

#[test]
fn nothing_is_accepted_while_the_pool_is_away() {
    let mut channel = channel(Target::EASIEST, target(0x40));
    channel.add_job(1, job(1));
    let Taken::Forward(token, _) = channel.submit(7, &share(1), Ok(Short::default()), 1000) else {
        panic!("a valid share is forwarded");
    };
    channel.settle_all(RejectReason::BackendUnavailable);
    assert!(!channel.settle(token, 1, Outcome::Accepted(Default::default())), "too late");
    let mut answers = Vec::new();
    channel.drain_answers(|a| answers.push(a), |_| {});
    let reason = RejectReason::BackendUnavailable;
    assert_eq!(answers, [Answer::Error { sequence: 7, reason }]);
}

proptest! {
    /// No series of wishes and updates yields a target above any of the three bounds, or none.
    #[test]
    fn targets_never_exceed_any_bound(
        steps in prop::collection::vec((any::<bool>(), any::<[u8; 32]>()), 1..40),
    ) {
        let mut channel = channel(Target::EASIEST, target(0x40));
        let (mut max, mut wanted) = (Target::EASIEST, target(0x40));
        for (by_miner, bytes) in steps {
            if by_miner {
                if let Ok(request) = channel.update(1.0, Target(bytes)) {
                    max = Target(bytes);
                    channel.updated(request, true);
                }
            } else {
                wanted = Target(bytes);
                channel.want_target(wanted);
            }
            prop_assert_eq!(channel.target(), wanted.min(max).min(limits().easiest));
        }
    }
}
