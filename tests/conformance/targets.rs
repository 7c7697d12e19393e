//! TG: targets and updates (SV2 spec 5.3.7, 5.3.8, 5.3.21).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::jobs::renewed;
use crate::message::Message;
use crate::miner::{Channel, Miner, Wish, EASIEST};
use crate::rig::rig;
use crate::work::{at_most, half};

#[test]
fn tg_1_a_target_holds_for_the_jobs_after_it_and_leaves_those_before_alone() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for wish in [Wish::extended(), Wish::standard()] {
        let before = miner.open(&wish);
        let Some(after) = renewed(&mut miner, &before) else { return };
        assert!(at_most(&after.target, &half(&before.target)));
        // Good enough for the older target only.
        let late = before.between(before.draft(1), &after.target, &before.target);
        assert_eq!(miner.judge(&late), Ok(()), "in flight when the target came");
        let weak = after.between(after.draft(2), &after.target, &before.target);
        assert_eq!(miner.judge(&weak), Err("difficulty-too-low".into()));
        assert_eq!(miner.judge(&after.share(3)), Ok(()));
    }
}

/// Has the server ease the target by a lower hash rate: the channel with the easier target and the
/// job under it. `None`: it doesn't.
fn eased(miner: &mut Miner, channel: &Channel, rate: f32) -> Option<Channel> {
    miner.update(channel.id, rate, &EASIEST);
    let heard = miner.listen(Duration::from_secs(1));
    let easier = heard.iter().find_map(|message| match message {
        Message::Target { channel: c, target } if *c == channel.id => Some(*target),
        _ => None,
    });
    let target = easier.filter(|target| !at_most(target, &channel.target))?;
    let job = heard.iter().find_map(|message| match message {
        Message::Job(job) if job.channel == channel.id => Some(job.clone()),
        _ => None,
    })?;
    Some(Channel { target, job, ..channel.clone() })
}

#[test]
fn tg_1_an_easier_target_counts_for_a_future_job_before_it_and_for_no_other() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for wish in [Wish::extended(), Wish::standard()] {
        // A share takes some 8,000, 500 and 30 hashes at 20 shares a minute.
        let future = miner.open(&Wish { rate: 2_800.0, ..wish });
        let active = eased(&mut miner, &future, 170.0);
        let newest = active.as_ref().and_then(|active| eased(&mut miner, active, 10.0));
        let (Some(active), Some(newest)) = (active, newest) else {
            assert!(!rig().is_ours("tg_1", "a target that gets easier with the hash rate"));
            return;
        };
        assert!(active.job.min_ntime.is_some(), "sent for the present tip");
        let late = future.between(future.draft(1), &future.target, &newest.target);
        assert_eq!(miner.judge(&late), Ok(()), "the future job's target was replaced");
        let weak = future.between(future.draft(2), &newest.target, &EASIEST);
        assert_eq!(miner.judge(&weak), Err("difficulty-too-low".into()));
        let weak = active.between(active.draft(3), &active.target, &newest.target);
        assert_eq!(miner.judge(&weak), Err("difficulty-too-low".into()), "not that of another");
        for channel in [&future, &active, &newest] {
            assert_eq!(miner.judge(&channel.share(4)), Ok(()));
        }
    }
}

#[test]
fn tg_2_a_harder_maximum_is_obeyed() {
    let mut miner = Miner::new();
    for wish in [Wish::extended(), Wish::standard()] {
        let channel = miner.open(&wish);
        let mut max_target = channel.target;
        for _ in 0..8 {
            max_target = half(&max_target);
            miner.update(channel.id, 0.0, &max_target);
            assert!(at_most(&miner.target(channel.id), &max_target));
        }
    }
}

#[test]
fn tg_3_an_update_that_changes_nothing_has_no_answer() {
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    for _ in 0..3 {
        miner.update(channel.id, 0.0, &EASIEST);
        let heard = miner.listen(Duration::from_millis(300));
        let errors = heard.iter().filter(|m| matches!(m, Message::UpdateError { .. })).count();
        assert_eq!(errors, 0, "{heard:?}");
        let changes = heard.iter().filter(|m| matches!(m, Message::Target { .. })).count();
        assert_eq!(changes, 0, "{heard:?}");
    }
}

#[test]
fn tg_4_an_update_at_fault_changes_nothing_but_is_told_so() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for wish in [Wish::extended(), Wish::standard()] {
        let channel = miner.open(&wish);
        let (id, from) = (channel.id, miner.heard.len());
        miner.update(id, f32::NAN, &half(&channel.target));
        miner.update(id, 0.0, &[0; 32]);
        miner.update(channel.group, 0.0, &EASIEST);
        for id in [id, id, channel.group] {
            miner.until("error", |message| match message {
                Message::UpdateError { channel, .. } if *channel == id => Some(()),
                _ => None,
            });
        }
        miner.listen(Duration::from_millis(200));
        let heard = &miner.heard[from..];
        assert_eq!(heard.len(), 3, "an Error for each, and nothing else: {heard:?}");
        let codes: Vec<_> = heard.iter().filter_map(Message::code).collect();
        let expected =
            ["invalid-nominal-hashrate", "max-target-out-of-range", "invalid-channel-id"];
        assert_eq!(codes, expected.map(str::as_bytes));
        let weak = channel.between(channel.draft(1), &half(&channel.target), &channel.target);
        assert_eq!(miner.judge(&weak), Ok(()), "the target is as before");
    }
}

#[test]
fn tg_5_no_target_is_easier_than_the_miners_maximum() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let floor = miner.open(&Wish::extended()).target;
    let max_target = half(&half(&floor));
    let channel = miner.open(&Wish { max_target, ..Wish::extended() });
    assert!(at_most(&channel.target, &max_target), "{channel:?}");
    // Rates for which the pool would like an easier one, and shares too few for this one.
    for rate in [0.0, 1.0, 1e3, 0.0] {
        miner.update(channel.id, rate, &max_target);
        miner.listen(Duration::from_millis(200));
    }
    // And a target that is told for sure, by a maximum that is harder still.
    let harder = half(&max_target);
    miner.update(channel.id, 0.0, &harder);
    assert!(at_most(&miner.target(channel.id), &harder));
    for message in &miner.heard {
        if let Message::Target { channel: c, target } = message {
            assert!(*c != channel.id || at_most(target, &max_target), "{message:?}");
        }
    }
}

#[test]
fn tg_6_targets_are_for_single_channels() {
    let mut miner = Miner::new();
    let channels = [miner.open(&Wish::extended()), miner.open(&Wish::standard())];
    for channel in &channels {
        // Waits for the target.
        let _ = renewed(&mut miner, channel);
    }
    miner.listen(Duration::from_millis(200));
    let told = miner.heard.iter().filter(|message| matches!(message, Message::Target { .. }));
    let told: BTreeSet<_> = told.filter_map(Message::channel).collect();
    let ids = BTreeSet::from(channels.map(|channel| channel.id));
    assert_eq!(told, ids, "each channel its own, and nothing for a group");
}

#[test]
fn tg_7_hash_rates_and_targets_that_are_none_are_refused() {
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::standard());
    for rate in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0] {
        miner.update(channel.id, rate, &EASIEST);
    }
    miner.update(channel.id, 0.0, &[0; 32]);
    let errors = miner.fence();
    assert_eq!(errors.iter().filter_map(Message::code).count(), 5, "{errors:?}");
}
