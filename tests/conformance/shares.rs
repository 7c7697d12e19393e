//! SH: shares (SV2 spec 5.3.11 to 5.3.14, 10.2).

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::message::Message;
use crate::miner::{Channel, Miner, Wish, EASIEST, NO_CHANNEL};
use crate::rig::rig;
use crate::work::{difficulty, half, Share};

type Verdict = Result<(), String>;

fn refused(code: &str) -> Verdict {
    Err(code.into())
}

fn both(miner: &mut Miner) -> [Channel; 2] {
    // Not every hash is a share, whatever the server thinks of a hash rate of 0.
    let max_target = half(&EASIEST);
    [Wish::extended(), Wish::standard()].map(|wish| miner.open(&Wish { max_target, ..wish }))
}

fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

/// A share whose hash is above the target.
fn junk(channel: &Channel, sequence: u32) -> Share {
    channel.between(channel.draft(sequence), &channel.target, &EASIEST)
}

#[test]
fn sh_1_each_bad_share_has_an_error_of_its_own() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        for sequence in 1..=20 {
            miner.submit(&junk(&channel, sequence));
        }
        assert_eq!(miner.verdict(20), refused("difficulty-too-low"));
        let heard = miner.heard.iter().filter_map(|message| match message {
            Message::Rejected { channel: c, sequence, .. } if *c == channel.id => Some(*sequence),
            _ => None,
        });
        assert_eq!(heard.collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    }
}

#[test]
fn sh_2_the_extranonce_has_the_length_that_was_granted() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    let size = usize::from(channel.size);
    for len in (0..=32).filter(|len| *len != size) {
        let mut draft = channel.draft(1);
        draft.extranonce = Some(vec![0; len]);
        assert_eq!(miner.judge(&channel.worked(draft)), refused("bad-extranonce-size"), "{len}");
    }
    assert_eq!(miner.judge(&channel.share(1)), Ok(()));
}

#[test]
fn sh_3_no_time_before_the_jobs_own() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        for back in [1, 600, channel.tip.min_ntime] {
            let mut draft = channel.draft(1);
            draft.ntime -= back;
            let verdict = miner.judge(&channel.worked(draft));
            let codes = ["ntime-too-old", "invalid-share"].map(refused);
            assert!(codes.contains(&verdict), "{back}: {verdict:?}");
        }
        assert_eq!(miner.judge(&channel.share(2)), Ok(()));
    }
}

#[test]
fn sh_4_the_time_may_be_rolled_as_far_as_consensus_goes() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        let start = channel.tip.min_ntime;
        let times = [start, start + 1, start + 60, now(), now() + 3600, now() + 7000];
        // Each once: the tip may be of this very second.
        for ntime in times.map(|time| time.max(start)).into_iter().collect::<BTreeSet<_>>() {
            let mut draft = channel.draft(1);
            draft.ntime = ntime;
            assert_eq!(miner.judge(&channel.worked(draft)), Ok(()), "{ntime}");
        }
        let mut draft = channel.draft(9);
        draft.ntime = now() + 7300;
        assert!(miner.judge(&channel.worked(draft)).is_err(), "no node takes that");
    }
}

#[test]
fn sh_5_version_bits_5_to_28_are_the_miners_and_no_others() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for kind in [Wish::extended(), Wish::standard()] {
        // Two channels: too many shares in one burst would move the target.
        for bits in [0..16, 16..32] {
            let channel = miner.open(&kind);
            for bit in bits {
                let mut draft = channel.draft(bit);
                draft.version ^= 1 << bit;
                let verdict = miner.judge(&channel.worked(draft));
                if (5..=28).contains(&bit) {
                    assert_eq!(verdict, Ok(()), "{bit}");
                } else {
                    assert_eq!(verdict, refused("invalid-non-rollable-version-bit"), "{bit}");
                }
            }
        }
    }
}

#[test]
fn sh_7_a_share_counts_up_to_the_target_and_not_above() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        let mut low = channel.target;
        // A sixteenth less and a sixteenth more than the target.
        let top = low.iter().rposition(|byte| *byte != 0).unwrap();
        low[top] -= (low[top] >> 4).max(1);
        let mut high = channel.target;
        high[top] = high[top].saturating_add((high[top] >> 4).max(1));
        let below = channel.between(channel.draft(1), &low, &channel.target);
        let above = channel.between(channel.draft(2), &channel.target, &high);
        assert_eq!(miner.judge(&below), Ok(()));
        assert_eq!(miner.judge(&above), refused("difficulty-too-low"));
    }
}

/// Success messages of a channel from `from` on, as (last, count, sum).
fn successes(miner: &Miner, channel: u32) -> Vec<(u32, u32, u64)> {
    let of = |message: &Message| match message {
        Message::Accepted { channel: c, last, count, sum } if *c == channel => {
            Some((*last, *count, *sum))
        }
        _ => None,
    };
    miner.heard.iter().filter_map(of).collect()
}

#[test]
fn sh_8_success_counts_its_own_batch_and_names_its_last_share() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        for sequence in 1..=8 {
            miner.submit(&channel.share(sequence));
        }
        assert_eq!(miner.verdict(8), Ok(()));
        miner.submit(&channel.share(9));
        assert_eq!(miner.verdict(9), Ok(()));
        let heard = successes(&miner, channel.id);
        assert_eq!(heard.iter().map(|(_, count, _)| count).sum::<u32>(), 9, "{heard:?}");
        let mut told = 0;
        for (last, count, _) in heard {
            told += count;
            assert_eq!(last, told, "all shares up to this one");
        }
    }
}

#[test]
fn sh_9_the_sum_is_the_difficulty_of_the_shares() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        for sequence in 1..=10 {
            miner.submit(&channel.share(sequence));
        }
        assert_eq!(miner.verdict(10), Ok(()));
        let sum: u64 = successes(&miner, channel.id).iter().map(|(_, _, sum)| sum).sum();
        // No CPU comes near 1 in a test: what can be seen is that a sum counts neither shares nor
        // hashes. Difficulties that are summed up: `e2e::books`, with minutes to hash.
        let expected = (10.0 * difficulty(&channel.target)).floor();
        let tolerance = if rig().ours() { 0.0 } else { 1.0 };
        assert!((sum as f64 - expected).abs() <= tolerance, "{sum}, {expected}");
    }
}

#[test]
fn sh_10_sequence_numbers_are_the_miners_business() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    for (nonce, sequence) in [5, 5, 4, 0, u32::MAX, 0, 7].into_iter().enumerate() {
        let share = Share { sequence, ..channel.share(1 + nonce as u32) };
        miner.submit(&share);
        assert_eq!(miner.verdict(sequence), Ok(()));
    }
    let shares: u32 = successes(&miner, channel.id).iter().map(|(_, count, _)| count).sum();
    assert_eq!(shares, 7);
}

#[test]
fn sh_11_the_same_work_counts_once() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        let share = channel.share(1);
        assert_eq!(miner.judge(&share), Ok(()));
        for _ in 0..3 {
            assert_eq!(miner.judge(&share), refused("duplicate-share"));
        }
        let Some(newer) = crate::jobs::renewed(&mut miner, &channel) else { return };
        assert_eq!(miner.judge(&share), refused("duplicate-share"), "under a newer job, too");
        let other = Share { job: newer.job.id, ..share };
        // By luck it is good work for that one.
        let lucky = newer.is_met_by(&other);
        assert_eq!(miner.judge(&other).is_ok(), lucky, "nor as another job's");
    }
}

#[test]
fn sh_14_shares_for_no_channel_of_that_kind_are_refused() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let [extended, standard] = both(&mut miner);
    // Other connections have channels 1 to 9, too; these are nobody's here.
    let mut others = Miner::new();
    let foreign = (0..9).map(|_| others.open(&Wish::standard()).id).max().unwrap();
    for channel in [extended.group, standard.group, foreign, 0, NO_CHANNEL] {
        for share in [extended.share(1), standard.share(1)] {
            let share = Share { channel, ..share };
            assert_eq!(miner.judge(&share), refused("invalid-channel-id"), "{channel}");
        }
    }
    let swapped = [
        Share { channel: standard.id, ..extended.share(1) },
        Share { channel: extended.id, ..standard.share(1) },
    ];
    for share in swapped {
        assert_eq!(miner.judge(&share), refused("invalid-channel-id"));
    }
    for channel in [&extended, &standard] {
        assert_eq!(miner.judge(&channel.share(1)), Ok(()), "nothing of it had an effect");
    }
}

#[test]
fn sh_15_shares_for_no_job_of_the_channel_are_refused() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let [extended, standard] = both(&mut miner);
    for (channel, other) in [(&extended, &standard), (&standard, &extended)] {
        // Job ids are a channel's own: two channels may use the same.
        let other = if other.job.id == channel.job.id { 0 } else { other.job.id };
        for job in [0, u32::MAX, other, channel.job.id + 1000] {
            let share = Share { job, ..channel.share(1) };
            assert_eq!(miner.judge(&share), refused("invalid-job-id"), "{job}");
        }
    }
}

#[test]
fn sh_16_a_single_share_is_answered_without_others_to_follow() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        assert_eq!(miner.judge(&channel.share(1)), Ok(()));
    }
}

#[test]
fn sh_17_refused_shares_move_no_target() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        for sequence in 1..=200 {
            miner.submit(&junk(&channel, sequence));
        }
        assert_eq!(miner.verdict(200), refused("difficulty-too-low"));
    }
    miner.listen(Duration::from_millis(2500));
    let targets = miner.heard.iter().filter(|m| matches!(m, Message::Target { .. })).count();
    assert_eq!(targets, 0);
}
