//! JB: jobs as they look from outside (SV2 spec 3.7.1, 5.1, 5.3.15 to 5.3.17, 7.1).

use std::collections::BTreeSet;
use std::time::Duration;

use gopool_sv2_tests::{Line, LineOptions};

use crate::message::{Body, Job, Message, U256};
use crate::miner::{Channel, Miner, Wish};
use crate::rig::{rig, Rig, FLOOR};
use crate::work::{at_most, coinbase, half, header, network_target, search};

/// Makes the server send a job on the same tip: by a harder maximum target. The channel as it is
/// then; `None`, and said so: another server, which need not.
pub fn renewed(miner: &mut Miner, channel: &Channel) -> Option<Channel> {
    miner.update(channel.id, 0.0, &half(&channel.target));
    let target = miner.target(channel.id);
    // Ours does so; no server has to.
    let is_ours = rig().is_ours("what follows", "a new job with each new target");
    is_ours.then(|| Channel { target, job: miner.job(channel.id), ..channel.clone() })
}

fn both(miner: &mut Miner) -> [Channel; 2] {
    [miner.open(&Wish::extended()), miner.open(&Wish::standard())]
}

#[test]
fn jb_1_each_kind_of_channel_gets_its_kind_of_job() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        let _ = renewed(&mut miner, &channel);
        for message in &miner.heard {
            let Message::Job(job) = message else { continue };
            if job.channel == channel.id {
                assert_eq!(matches!(job.body, Body::Extended { .. }), channel.extended);
            }
        }
    }
}

#[test]
fn jb_2_job_ids_are_unique_on_a_connection() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channels = [both(&mut miner), both(&mut miner)].concat();
    for _ in 0..5 {
        for channel in &channels {
            let hardest = miner.heard.iter().rev().find_map(|message| match message {
                Message::Target { channel: c, target } if *c == channel.id => Some(*target),
                _ => None,
            });
            let target = hardest.unwrap_or(channel.target);
            let channel = Channel { target, ..channel.clone() };
            let Some(_) = renewed(&mut miner, &channel) else { return };
        }
    }
    let mut ids = BTreeSet::new();
    for message in &miner.heard {
        if let Message::Job(job) = message {
            assert!(ids.insert(job.id), "{message:?}");
        }
    }
    assert_eq!(ids.len(), 4 + 5 * 4);
}

#[test]
fn jb_5_a_job_with_a_min_ntime_is_active_from_that_time_on_the_present_tip() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    for channel in both(&mut miner) {
        let Some(newer) = renewed(&mut miner, &channel) else { return };
        let min_ntime = newer.job.min_ntime.expect("an active job");
        assert!(min_ntime >= channel.tip.min_ntime);
        let mut share = newer.draft(1);
        share.ntime = min_ntime;
        assert_eq!(miner.judge(&newer.worked(share)), Ok(()));
    }
}

/// Reads a compact size.
fn size(bytes: &mut &[u8]) -> usize {
    let wide = |bytes: &mut &[u8], n: usize| {
        let value = bytes[..n].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        *bytes = &bytes[n..];
        value
    };
    match wide(bytes, 1) {
        0xfd => wide(bytes, 2),
        0xfe => wide(bytes, 4),
        small => small,
    }
}

/// The length of a coinbase's only input script. The whole must be one transaction without witness.
fn script_len(coinbase: &[u8]) -> usize {
    let mut rest = &coinbase[4..];
    assert_eq!(size(&mut rest), 1, "one input, and no marker in its place");
    assert_eq!(rest[..36], [vec![0; 32], vec![0xff; 4]].concat(), "of no transaction");
    rest = &rest[36..];
    let len = size(&mut rest);
    rest = &rest[len + 4..];
    for _ in 0..size(&mut rest) {
        rest = &rest[8..];
        let script = size(&mut rest);
        rest = &rest[script..];
    }
    assert_eq!(rest.len(), 4, "the lock time, and no witness before it");
    len
}

/// The merkle path of an extended job.
fn path(job: &Job) -> &[U256] {
    let Body::Extended { path, .. } = &job.body else { panic!("a standard job") };
    path
}

#[test]
fn jb_6_the_coinbase_comes_without_its_witness() {
    let mut miner = Miner::new();
    let channel = miner.open(&Wish::extended());
    script_len(&coinbase(&channel.job, &channel.prefix, &vec![7; channel.size.into()]));
}

#[test]
fn jb_7_the_merkle_root_is_folded_from_the_raw_path() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let [extended, standard] = both(&mut miner);
    if path(&extended.job).len() < 2 {
        // With one node no order shows, with none nothing at all.
        return assert!(!rig().is_ours("jb_7", "templates with some transactions"));
    }
    for round in 0..8 {
        let mut draft = extended.draft(round);
        let extranonce = draft.extranonce.as_mut().unwrap();
        extranonce.fill(round as u8);
        assert_eq!(miner.judge(&extended.worked(draft)), Ok(()), "{round}");
    }
    // There the server has folded it.
    assert_eq!(miner.judge(&standard.share(1)), Ok(()));
}

#[test]
fn jb_8_the_script_of_the_coinbase_has_room_for_the_whole_extranonce() {
    let mut miner = Miner::new();
    for min_size in [0, 4, 8] {
        let channel = miner.open(&Wish { min_size, ..Wish::extended() });
        let whole = coinbase(&channel.job, &channel.prefix, &vec![7; channel.size.into()]);
        assert!((2..=100).contains(&script_len(&whole)));
    }
}

#[test]
fn jb_9_transactions_are_not_shuffled_to_make_work() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let mut paths = BTreeSet::new();
    for _ in 0..4 {
        let channel = miner.open(&Wish::extended());
        let Some(newer) = renewed(&mut miner, &channel) else { return };
        for job in [channel.job, newer.job] {
            paths.insert(path(&job).to_vec());
        }
    }
    assert_eq!(paths.len(), 1, "one template, one order");
    assert!(paths.iter().all(|path| path.len() > 1), "of transactions that could be shuffled");
}

#[test]
fn jb_10_each_job_is_new_work() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let mut channel = miner.open(&Wish::standard());
    let mut roots = BTreeSet::new();
    for _ in 0..6 {
        let Body::Standard { root } = channel.job.body else { panic!("an extended job") };
        assert!(roots.insert(root), "the same search space again");
        let Some(newer) = renewed(&mut miner, &channel) else { return };
        channel = newer;
    }
    // 56 bits a second of nonce and version: no device is that fast. An extended channel has
    // bytes to roll besides.
    assert!(miner.open(&Wish::extended()).size >= 2);
}

#[test]
fn jb_12_nothing_is_addressed_to_a_group() {
    let _tip = rig().same_tip();
    let mut miner = Miner::new();
    let channels = both(&mut miner);
    for channel in &channels {
        let Some(_) = renewed(&mut miner, channel) else { return };
    }
    let ids = channels.map(|channel| channel.id);
    let addressed: Vec<_> = miner.heard.iter().filter_map(Message::channel).collect();
    assert!(addressed.len() >= 8 && addressed.iter().all(|id| ids.contains(id)), "{addressed:?}");
}

#[test]
fn jb_13_work_is_renewed_though_the_tip_stays() {
    if !rig().is_ours("jb_13", "a pool that renews its work within the test") {
        return;
    }
    let options = LineOptions {
        network_bits: "1d100000",
        minipool: ["-template-seconds", "1"].map(Into::into).to_vec(),
        ..LineOptions::default()
    };
    let own = Rig::of(Line::start(options).unwrap());
    let mut miner = Miner::at(&own, 0);
    for channel in both(&mut miner) {
        let renewed = miner.job(channel.id);
        assert!(renewed.min_ntime.is_some_and(|time| time >= channel.tip.min_ntime));
    }
}

#[test]
fn jb_14_a_share_that_is_a_block_becomes_one_whatever_else_is_wrong_with_it() {
    if !rig().is_ours("jb_14", "a chain on which the test can find a block") {
        return;
    }
    let flags = ["-min-difficulty", FLOOR, "-template-seconds", "600"];
    let options = LineOptions {
        network_bits: "2000ffff",
        minipool: flags.map(Into::into).to_vec(),
        ..LineOptions::default()
    };
    let own = Rig::of(Line::start(options).unwrap());
    let mut miner = Miner::at(&own, 0);
    let mut channel = miner.open(&Wish::extended());
    for (round, late) in [0, 7170].into_iter().enumerate() {
        let mut share = channel.draft(1 + round as u32);
        // The second one is too new to be a share, but the chain takes it.
        share.ntime += late;
        let network = network_target(channel.tip.nbits);
        let header = header(&channel.job, &channel.tip, &channel.prefix, &share);
        let block = search(&header, &mut share, |hash| at_most(hash, &network));
        miner.submit(&share);
        let job = miner.job(channel.id);
        let tip = miner.tip(channel.id);
        assert_eq!(tip.prev_hash, block, "the next job is built on the block");
        channel = Channel { job, tip, ..channel };
        miner.listen(Duration::from_millis(50));
    }
}
