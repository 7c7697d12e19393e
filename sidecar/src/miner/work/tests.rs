//! Promises of the work state machine.

use std::time::Duration;

use binary_sv2::{B032Owned, Seq0255Owned, Seq064KOwned, Sv2OptionOwned};
use mining_sv2::{SetExtranoncePrefixOwned, SetGroupChannelOwned, SetTargetOwned};

use super::*;

const CHANNEL: u32 = 7;
const GROUP: u32 = 100;

fn target(top: u8) -> Target {
    let mut bytes = [0; 32];
    bytes[31] = top;
    Target::from_le_bytes(bytes)
}

fn work(extranonce_size: Option<u16>) -> Work {
    let channel = Channel {
        id: CHANNEL,
        group: GROUP,
        target: target(9),
        extranonce_prefix: vec![0xe1, 0xe2],
        extranonce_size,
        fixed_version: false,
    };
    Work::new(channel, 1)
}

fn standard(job_id: u32, min_ntime: Option<u32>) -> MiningOwned {
    MiningOwned::NewMiningJob(NewMiningJobOwned {
        channel_id: CHANNEL,
        job_id,
        min_ntime: Sv2OptionOwned::new(min_ntime),
        version: 0x2000_0000,
        merkle_root: [job_id as u8; 32].into(),
    })
}

fn extended(channel_id: u32, job_id: u32, min_ntime: Option<u32>, rolling: bool) -> MiningOwned {
    MiningOwned::NewExtendedMiningJob(NewExtendedMiningJobOwned {
        channel_id,
        job_id,
        min_ntime: Sv2OptionOwned::new(min_ntime),
        version: 0x2000_0000,
        version_rolling_allowed: rolling,
        merkle_path: Seq0255Owned::new(vec![[0x11; 32].into()]).expect("path"),
        coinbase_tx_prefix: vec![1, 2].try_into().expect("prefix"),
        coinbase_tx_suffix: vec![3].try_into().expect("suffix"),
    })
}

fn tip(channel_id: u32, job_id: u32, hash: u8) -> MiningOwned {
    MiningOwned::SetNewPrevHash(SetNewPrevHashOwned {
        channel_id,
        job_id,
        prev_hash: [hash; 32].into(),
        min_ntime: 1000,
        nbits: 0x207f_ffff,
    })
}

fn set_target(channel_id: u32, top: u8) -> MiningOwned {
    let maximum_target = target(top).to_le_bytes().into();
    MiningOwned::SetTarget(SetTargetOwned { channel_id, maximum_target })
}

/// Feeds messages and returns what the last one did.
fn feed(work: &mut Work, messages: &[MiningOwned]) -> Step {
    let now = Instant::now();
    let mut step = Step::Unchanged;
    for message in messages {
        step = work.on_message(message, now);
    }
    step
}

fn task(work: &Work) -> Arc<Task> {
    work.task().expect("active work")
}

#[test]
fn a_prev_hash_activates_exactly_the_named_job_and_drops_the_others() {
    let mut work = work(None);
    feed(&mut work, &[standard(1, None), standard(2, None), standard(3, None)]);
    assert!(work.task().is_none());
    assert_eq!(feed(&mut work, &[tip(CHANNEL, 2, 0xaa)]), Step::NewTask);
    let first = task(&work);
    assert_eq!((first.job_id, first.prev_hash, first.min_ntime), (2, [0xaa; 32], 1000));
    assert_eq!(first.base, Base::Root([2; 32]));
    assert_eq!(first.network, Target::from_compact(0x207f_ffff).expect("regtest"));
    // 1 and 3 are gone, and so is 2 itself: a tip needs a job of its own.
    for dead in [1, 2, 3] {
        assert!(matches!(feed(&mut work, &[tip(CHANNEL, dead, 0xbb)]), Step::Ignored(_)));
    }
    let after = task(&work);
    assert_eq!((after.job_id, after.prev_hash, after.epoch), (2, [0xaa; 32], first.epoch));
}

#[test]
fn ignores_a_prev_hash_for_a_job_it_never_got() {
    let mut work = work(None);
    assert!(matches!(feed(&mut work, &[tip(CHANNEL, 5, 0xaa)]), Step::Ignored(_)));
    assert!(work.task().is_none());
    // A job that started at once was never a future one.
    feed(&mut work, &[standard(1, None), tip(CHANNEL, 1, 0xaa), standard(2, Some(1001))]);
    assert!(matches!(feed(&mut work, &[tip(CHANNEL, 2, 0xbb)]), Step::Ignored(_)));
    assert_eq!(task(&work).prev_hash, [0xaa; 32]);
}

#[test]
fn a_job_with_a_time_replaces_the_active_one_on_the_same_tip() {
    let mut work = work(None);
    assert!(matches!(feed(&mut work, &[standard(1, Some(50))]), Step::Ignored(_)));
    feed(&mut work, &[standard(1, None), tip(CHANNEL, 1, 0xaa)]);
    let epoch = task(&work).epoch;
    assert_eq!(feed(&mut work, &[standard(2, Some(1234))]), Step::NewTask);
    let now = task(&work);
    assert_eq!((now.job_id, now.min_ntime, now.prev_hash), (2, 1234, [0xaa; 32]));
    assert_eq!(now.epoch, epoch, "the tip is the same, so older shares are not stale");
    // A future job changes nothing until its tip comes; then the epoch grows.
    assert_eq!(feed(&mut work, &[standard(3, None)]), Step::Unchanged);
    assert_eq!(task(&work).job_id, 2);
    feed(&mut work, &[tip(CHANNEL, 3, 0xbb)]);
    assert_eq!(task(&work).epoch, epoch + 1);
}

#[test]
fn a_job_with_a_time_keeps_its_target() {
    let mut work = work(None);
    feed(&mut work, &[standard(1, None), tip(CHANNEL, 1, 0xaa), standard(2, Some(1001))]);
    assert_eq!(feed(&mut work, &[set_target(CHANNEL, 4)]), Step::Unchanged);
    assert_eq!(task(&work).target, target(9));
    feed(&mut work, &[standard(3, Some(1002))]);
    assert_eq!(task(&work).target, target(4));
    feed(&mut work, &[set_target(CHANNEL, 20)]);
    assert_eq!(task(&work).target, target(4));
}

#[test]
fn a_future_job_is_mined_at_the_harder_of_its_targets() {
    let mut work = work(None);
    feed(&mut work, &[standard(1, None), tip(CHANNEL, 1, 0xaa)]);
    assert_eq!(task(&work).target, target(9));
    assert_eq!(feed(&mut work, &[set_target(CHANNEL, 4)]), Step::NewTask);
    assert_eq!(task(&work).target, target(4));
    feed(&mut work, &[set_target(CHANNEL, 20)]);
    assert_eq!(task(&work).target, target(9), "never easier than when it was activated");
    // Hardened between sending and activation: servers that freeze at activation use 3.
    feed(&mut work, &[standard(2, None), set_target(CHANNEL, 3), tip(CHANNEL, 2, 0xbb)]);
    feed(&mut work, &[set_target(CHANNEL, 20)]);
    assert_eq!(task(&work).target, target(3));
}

#[test]
fn extended_jobs_carry_the_prefix_of_their_time() {
    let mut work = work(Some(4));
    let new_prefix = MiningOwned::SetExtranoncePrefix(SetExtranoncePrefixOwned {
        channel_id: CHANNEL,
        extranonce_prefix: B032Owned::try_from(vec![0xf1]).expect("prefix"),
    });
    feed(&mut work, &[extended(CHANNEL, 1, None, true), new_prefix, tip(CHANNEL, 1, 0xaa)]);
    let head_of = |work: &Work| match &task(work).base {
        Base::Coinbase { head, tail, path, extranonce_size } => {
            assert_eq!((tail, path, *extranonce_size), (&vec![3], &vec![[0x11; 32]], 4));
            head.clone()
        }
        Base::Root(_) => panic!("an extended job has a coinbase"),
    };
    assert_eq!(head_of(&work), [1, 2, 0xe1, 0xe2]);
    feed(&mut work, &[extended(CHANNEL, 2, Some(1001), false)]);
    assert_eq!(head_of(&work), [1, 2, 0xf1]);
    assert!(!task(&work).rolling);
}

#[test]
fn rolls_versions_only_where_allowed() {
    let mut free = work(Some(4));
    feed(&mut free, &[extended(CHANNEL, 1, None, true), tip(CHANNEL, 1, 0xaa)]);
    assert!(task(&free).rolling);
    for extranonce_size in [None, Some(4)] {
        let mut fixed = work(extranonce_size);
        fixed.channel.fixed_version = true;
        feed(&mut fixed, &[standard(1, None), extended(CHANNEL, 1, None, true)]);
        feed(&mut fixed, &[tip(CHANNEL, 1, 0xaa)]);
        assert!(!task(&fixed).rolling);
    }
}

#[test]
fn follows_its_group_and_ignores_strangers() {
    let mut work = work(Some(4));
    feed(&mut work, &[extended(GROUP, 1, None, true)]);
    assert_eq!(feed(&mut work, &[tip(GROUP, 1, 0xaa)]), Step::NewTask);
    assert_eq!(feed(&mut work, &[set_target(GROUP, 1)]), Step::NewTask);
    assert_eq!(feed(&mut work, &[set_target(555, 2)]), Step::Unchanged);
    let moved = MiningOwned::SetGroupChannel(SetGroupChannelOwned {
        group_channel_id: 200,
        channel_ids: Seq064KOwned::new(vec![3, CHANNEL]).expect("ids"),
    });
    feed(&mut work, &[moved]);
    assert_eq!(feed(&mut work, &[set_target(GROUP, 2)]), Step::Unchanged);
    assert_eq!(feed(&mut work, &[extended(200, 2, Some(1001), true)]), Step::NewTask);
}

#[test]
fn rejects_jobs_of_the_other_kind() {
    let mut plain = work(None);
    assert!(matches!(feed(&mut plain, &[extended(CHANNEL, 1, None, true)]), Step::Ignored(_)));
    let mut wide = work(Some(4));
    assert!(matches!(feed(&mut wide, &[standard(1, None)]), Step::Ignored(_)));
}

#[test]
fn survives_a_flood_of_future_jobs_and_keeps_the_newest() {
    let mut work = work(None);
    for id in 0..200 {
        feed(&mut work, &[standard(id, None)]);
    }
    assert_eq!(work.futures.len(), MAX_FUTURE_JOBS);
    assert!(matches!(feed(&mut work, &[tip(CHANNEL, 0, 0xaa)]), Step::Ignored(_)));
    assert_eq!(feed(&mut work, &[tip(CHANNEL, 199, 0xaa)]), Step::NewTask);
}

#[test]
fn permits_one_second_of_ntime_per_second_since_the_tip() {
    let mut work = work(None);
    let start = Instant::now();
    work.on_message(&standard(1, None), start);
    let tip_at = start + Duration::from_secs(10);
    work.on_message(&tip(CHANNEL, 1, 0xaa), tip_at);
    let first = task(&work);
    assert_eq!(first.ntime_allowance(tip_at), 0);
    assert_eq!(first.ntime_allowance(start), 0);
    assert_eq!(first.ntime_allowance(tip_at + Duration::from_millis(2999)), 2);
    let job_at = tip_at + Duration::from_secs(60);
    work.on_message(&standard(2, Some(1060)), job_at);
    assert_eq!(task(&work).ntime_allowance(job_at + Duration::from_secs(1)), 1);
}

#[test]
fn an_impossible_network_target_is_met_by_nothing() {
    let mut work = work(None);
    let mut message = tip(CHANNEL, 1, 0xaa);
    if let MiningOwned::SetNewPrevHash(m) = &mut message {
        m.nbits = 0xff80_0000;
    }
    feed(&mut work, &[standard(1, None), message]);
    assert_eq!(task(&work).network, Target::NEVER);
}
