//! OC: opening channels (SV2 spec 5.1 to 5.3.6).

use std::collections::BTreeSet;

use crate::message::Message;
use crate::miner::{Miner, Wish, EASIEST};
use crate::rig::rig;
use crate::work::{at_most, half};

fn both() -> [Wish; 2] {
    [Wish::extended(), Wish::standard()]
}

#[test]
fn oc_1_the_request_id_is_echoed_and_means_nothing() {
    let mut miner = Miner::new();
    for request in [0, 1, u32::MAX, 0xdead_beef, 1, 1] {
        for wish in both() {
            // Nothing but an answer with this id is waited for.
            miner.answer(&Wish { request, ..wish }).unwrap();
        }
    }
    assert!(miner.answer(&Wish { request: 5, rate: f32::NAN, ..Wish::standard() }).is_err());
}

#[test]
fn oc_2_ids_of_channels_and_groups_are_never_used_twice() {
    let mut miner = Miner::new();
    let (mut channels, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..10 {
        for wish in both() {
            let channel = miner.open(&wish);
            assert!(channels.insert(channel.id), "{round}");
            groups.insert(channel.group);
            miner.close(channel.id);
        }
    }
    assert!(channels.is_disjoint(&groups), "{channels:?} {groups:?}");
}

#[test]
fn oc_3_the_target_is_never_easier_than_asked_for() {
    let mut miner = Miner::new();
    let floor = miner.open(&Wish::extended()).target;
    for wish in both() {
        let mut max_target = floor;
        for step in 0..200 {
            max_target = half(&max_target);
            if step % 50 == 0 {
                // A server may bound how often one connection asks.
                miner = Miner::new();
            }
            let asked = Wish { max_target, ..wish.clone() };
            match miner.answer(&asked) {
                Ok(opened) => {
                    assert!(at_most(&opened.target, &max_target), "{max_target:?}");
                    miner.close(opened.channel);
                }
                Err(code) => assert_eq!(code, "max-target-out-of-range"),
            }
        }
        let none = Wish { max_target: [0; 32], ..wish };
        assert_eq!(miner.answer(&none), Err("max-target-out-of-range".into()));
    }
}

#[test]
fn oc_4_a_hash_rate_of_0_is_legal_and_gets_a_target_all_the_same() {
    let mut miner = Miner::new();
    for wish in both() {
        let opened = miner.answer(&Wish { rate: 0.0, ..wish }).unwrap();
        assert!(at_most(&opened.target, &half(&EASIEST)), "not every hash is a share");
        if rig().ours() {
            // 2^208 * 0xffff * 2^28: the pool's easiest, to the last bit.
            let mut floor = [0; 32];
            floor[29..].copy_from_slice(&[0xf0, 0xff, 0x0f]);
            assert_eq!(opened.target, floor);
        }
    }
}

#[test]
fn oc_5_hash_rates_that_are_none_are_refused() {
    let mut miner = Miner::new();
    for wish in both() {
        for rate in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, f32::MIN] {
            let refusal = miner.answer(&Wish { rate, ..wish.clone() });
            assert_eq!(refusal, Err("invalid-nominal-hashrate".into()), "{rate}");
        }
        for rate in [-0.0, f32::MIN_POSITIVE, 1.0e-45] {
            assert!(miner.answer(&Wish { rate, ..wish.clone() }).is_ok(), "{rate}");
        }
        // No device, but a number: granted or refused, and the connection lives.
        let _ = miner.answer(&Wish { rate: f32::MAX, ..wish });
    }
}

#[test]
fn oc_6_any_bytes_are_an_identity() {
    let mut miner = Miner::new();
    let names = [
        vec![],
        vec![0; 255],
        vec![0xff; 255],
        (0..=254).collect(),
        b"a\nb\r{\"event\":1}\x1b[2J".to_vec(),
        b"'; DROP TABLE shares; --".to_vec(),
        [rig().user.as_bytes(), b".\0\n\"\xff"].concat(),
    ];
    for name in names {
        for wish in both() {
            let _ = miner.answer(&Wish { user: Some(name.clone()), ..wish });
        }
    }
    // Some of them may have been granted, and got work; the connection is as good as before.
    miner.fence();
    miner.open(&Wish::extended());
}

#[test]
fn oc_7_a_refused_user_is_told_so_and_may_try_again() {
    let mut miner = Miner::new();
    if miner.answer(&Wish { user: Some(vec![]), ..Wish::extended() }).is_ok() {
        return assert!(!rig().is_ours("oc_7", "a server that refuses an empty identity"));
    }
    for wish in both() {
        let refusal = miner.answer(&Wish { user: Some(vec![]), ..wish.clone() });
        assert_eq!(refusal, Err("invalid-user-identity".into()));
        miner.open(&wish);
    }
}

#[test]
fn oc_8_as_many_bytes_to_roll_as_asked_for_or_an_error() {
    let mut miner = Miner::new();
    for min_size in (0..=34).chain([100, 255, 256, u16::MAX]) {
        match miner.answer(&Wish { min_size, ..Wish::extended() }) {
            Ok(opened) => {
                assert!(opened.size >= min_size);
                miner.close(opened.channel);
            }
            Err(code) => {
                assert_eq!(code, "min-extranonce-size-too-large");
                assert!(min_size > 4, "translators ask for {min_size}");
            }
        }
    }
}

#[test]
fn oc_9_prefix_and_extranonce_fit_into_32_bytes() {
    let mut miner = Miner::new();
    for wish in both() {
        let opened = miner.answer(&wish).unwrap();
        assert!(opened.prefix.len() + usize::from(opened.size) <= 32);
        assert!(!opened.prefix.is_empty());
    }
}

#[test]
fn oc_10_no_two_channels_search_the_same_space() {
    let mut miners: Vec<_> = (0..4).map(|_| Miner::new()).collect();
    let mut prefixes = Vec::new();
    for miner in &mut miners {
        for wish in both().into_iter().chain(both()) {
            prefixes.push(miner.answer(&wish).unwrap().prefix);
        }
    }
    for (index, a) in prefixes.iter().enumerate() {
        for (other, b) in prefixes.iter().enumerate() {
            assert!(index == other || !a.starts_with(b), "{a:?} lies in {b:?}");
        }
    }
}

/// Success, then a future job, then the prev-hash that names it, and nothing between.
fn begins_with_a_future_job(wish: &Wish) {
    let mut miner = Miner::new();
    miner.ask(wish);
    let (first, second, third) = (miner.next(), miner.next(), miner.next());
    let (Message::Opened(opened), Message::Job(job), Message::Tip(tip)) = (&first, &second, &third)
    else {
        panic!("{first:?}, {second:?}, {third:?}");
    };
    assert_eq!(opened.extended, wish.extended);
    assert_eq!([job.channel, tip.channel], [opened.channel; 2]);
    assert_eq!((job.min_ntime, tip.job), (None, job.id));
}

#[test]
fn oc_11_a_standard_channel_begins_with_a_future_job() {
    begins_with_a_future_job(&Wish::standard());
}

#[test]
fn oc_12_an_extended_channel_begins_with_a_future_job() {
    begins_with_a_future_job(&Wish::extended());
}

#[test]
fn oc_13_both_successes_name_a_group() {
    let mut miner = Miner::new();
    for wish in both() {
        // The reader takes no Success without it, nor one that goes on behind it.
        let opened = miner.answer(&wish).unwrap();
        assert_ne!(opened.group, opened.channel);
    }
}

#[test]
fn oc_14_no_extended_channel_for_who_takes_standard_jobs_only() {
    let mut miner = Miner::with_flags(1);
    assert_eq!(
        miner.answer(&Wish::extended()),
        Err("extended-channels-not-supported-for-standard-jobs".into())
    );
    miner.open(&Wish::standard());
}

#[test]
fn oc_16_channels_of_a_connection_are_bounded() {
    let mut miner = Miner::new();
    for opened in 0..5000 {
        if let Err(code) = miner.answer(&Wish::standard()) {
            assert!(["channel-capacity-exhausted", "rate-limited"].contains(&code.as_str()));
            assert!(opened >= 8, "a proxy needs more than {opened}");
            return assert_eq!(miner.fence().iter().filter_map(Message::code).count(), 0);
        }
    }
    panic!("5000 channels on one connection");
}

#[test]
fn oc_17_opens_that_are_left_behind_harm_nobody() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    for round in 0..10 {
        drop(rig().socket());
        drop(Miner::fresh(rig()));
        drop(Miner::new());
        let mut gone = Miner::new();
        gone.ask(&Wish::standard());
        gone.ask(&Wish::extended());
        drop(gone);
        assert_eq!(miner.judge(&channel.share(round)), Ok(()));
        assert!(Miner::new().open(&Wish::standard()).job.min_ntime.is_none());
    }
}
