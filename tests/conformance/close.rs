//! GC, CL, XN, CJ: groups, ends, prefixes, and jobs that we don't take (SV2 spec 5.1.2, 5.2.3,
//! 5.3.9, 5.3.10, 5.3.18 to 5.3.20).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::jobs::renewed;
use crate::message::Message;
use crate::miner::{Channel, Miner, Wish, NO_CHANNEL};
use crate::rig::rig;

fn both(miner: &mut Miner) -> [Channel; 2] {
    [miner.open(&Wish::extended()), miner.open(&Wish::standard())]
}

#[test]
fn gc_1_group_ids_are_no_channel_ids() {
    let mut miner = Miner::new();
    let channels: Vec<_> = (0..10).flat_map(|_| both(&mut miner)).collect();
    let ids: BTreeSet<_> = channels.iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), channels.len());
    assert!(channels.iter().all(|c| !ids.contains(&c.group)));
}

/// Closes the group of a channel; those in it are gone, those outside stay.
fn closes_its_group(first: Channel, others: &[Channel], miner: &mut Miner) {
    miner.close(first.group);
    miner.fence();
    let from = miner.heard.len();
    for channel in others.iter().chain([&first]) {
        let verdict = miner.judge(&channel.share(9));
        if channel.group == first.group {
            assert_eq!(verdict, Err("invalid-channel-id".into()));
        } else {
            assert_eq!(verdict, Ok(()));
        }
    }
    let jobs = |m: &&Message| matches!(m, Message::Job(job) if job.channel == first.id);
    assert_eq!(miner.heard[from..].iter().find(jobs), None);
}

#[test]
fn gc_4_closing_a_group_closes_its_channels() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let [a, b] = both(&mut miner);
    closes_its_group(a, &[b], &mut miner);
}

#[test]
fn cl_2_closing_the_group_of_a_standard_channel_closes_it() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let [a, b] = both(&mut miner);
    closes_its_group(b, &[a], &mut miner);
}

#[test]
fn gc_7_miners_that_know_no_groups_are_served() {
    let mut miner = Miner::new();
    let ids = both(&mut miner).map(|channel| {
        let _ = renewed(&mut miner, &channel);
        channel.id
    });
    for message in &miner.heard {
        assert!(!matches!(message, Message::Group { .. }));
        assert!(message.channel().is_none_or(|id| ids.contains(&id)), "{message:?}");
    }
}

#[test]
fn cl_1_nothing_is_sent_for_a_channel_that_the_miner_closed() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        miner.submit(&channel.share(1));
        miner.close(channel.id);
        miner.fence();
        let from = miner.heard.len();
        miner.listen(Duration::from_millis(300));
        let late = miner.heard[from..].iter().find(|m| m.channel() == Some(channel.id));
        assert_eq!(late, None);
        assert_eq!(miner.judge(&channel.share(2)), Err("invalid-channel-id".into()));
    }
}

#[test]
fn cl_4_no_control_character_of_the_miner_comes_back() {
    let mut miner = Miner::new();
    for name in [&b"\n\r\t"[..], b"\x1b[31m", b"a\0b", b"\xff\xfe"] {
        let _ = miner.answer(&Wish { user: Some(name.to_vec()), ..Wish::standard() });
    }
    miner.update(NO_CHANNEL, 0.0, &[1; 32]);
    miner.fence();
    let codes: Vec<_> = miner.heard.iter().filter_map(Message::code).collect();
    assert!(!codes.is_empty() && codes.concat().iter().all(|b| (0x20..0x7f).contains(b)));
}

#[test]
fn cl_7_closing_what_is_not_open_has_no_effect() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let [open, closed] = both(&mut miner);
    miner.close(closed.id);
    for id in [closed.id, closed.group, NO_CHANNEL, 0, open.id + 1000] {
        miner.close(id);
        assert_eq!(miner.fence(), [], "{id}");
    }
    assert_eq!(miner.judge(&open.share(1)), Ok(()));
}

/// The prefix of the open holds for all jobs: none is ever changed.
fn keeps_its_prefix(wish: &Wish) {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let first = miner.open(wish);
    let Some(second) = renewed(&mut miner, &first) else { return };
    for channel in [&second, &first] {
        assert_eq!(miner.judge(&channel.share(1)), Ok(()));
    }
    assert!(!miner.heard.iter().any(|m| matches!(m, Message::Prefix { .. })));
}

#[test]
fn xn_1_shares_on_each_job_count_under_the_prefix_it_was_sent_with() {
    keeps_its_prefix(&Wish::extended());
}

#[test]
fn xn_2_no_group_is_told_a_prefix() {
    keeps_its_prefix(&Wish::standard());
}

#[test]
fn xn_3_the_size_of_the_extranonce_stays_whatever_is_opened_besides() {
    let mut miner = Miner::new();
    let sizes: BTreeSet<_> = (0..4)
        .flat_map(|_| both(&mut miner))
        .map(|c| (c.extended, c.prefix.len(), c.size))
        .collect();
    assert_eq!(sizes.len(), 2, "one for each kind: {sizes:?}");
    assert!(!miner
        .heard
        .iter()
        .any(|m| matches!(m, Message::Prefix { .. } | Message::Group { .. })));
}

#[test]
fn xn_4_a_prefix_given_back_is_not_given_out_at_once() {
    let mut prefixes = BTreeSet::new();
    for _ in 0..10 {
        let mut miner = Miner::new();
        for wish in [Wish::extended(), Wish::standard()] {
            let opened = miner.answer(&wish).unwrap();
            let given = prefixes.insert(opened.prefix.clone());
            assert!(given, "{:?} may still be mined on", opened.prefix);
            miner.close(opened.channel);
        }
    }
}

#[test]
fn cj_4_custom_jobs_are_refused_and_nothing_else_happens() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    for (request, id) in [(0, channel.id), (u32::MAX, channel.group), (9, NO_CHANNEL)] {
        miner.say(0x22, &crate::setup::custom_job(id, request));
        let code = miner.until("refusal", |message| match message {
            Message::CustomError { channel: c, request: r, code } if (*c, *r) == (id, request) => {
                Some(code.clone())
            }
            _ => None,
        });
        assert_eq!(code, b"jd-not-supported");
    }
    assert_eq!(miner.judge(&channel.share(1)), Ok(()));
}
