//! What a new tip does to jobs and shares (SV2 spec 5.3.17). Only where one can be brought about.

use crate::message::{Body, Message};
use crate::miner::{Channel, Miner, Wish};
use crate::rig::{rig, Tips};
use crate::work::Share;

/// Has a block mined and waits until the channel knows.
fn moved(miner: &mut Miner, tips: &Tips<'_>, channel: &Channel) -> Channel {
    tips.next();
    let job = miner.job(channel.id);
    let tip = miner.tip(channel.id);
    assert_eq!(tip.job, job.id);
    Channel { job, tip, ..channel.clone() }
}

#[test]
fn oc_15_who_comes_late_gets_the_newest_job() {
    let Some(tips) = rig().tips("oc_15") else { return };
    let mut early = Miner::new();
    let channel = early.open(&Wish::extended());
    let newer = moved(&mut early, &tips, &channel);
    for wish in [Wish::extended(), Wish::standard()] {
        let late = Miner::new().open(&wish);
        assert_eq!(late.tip.prev_hash, newer.tip.prev_hash);
        assert!(late.tip.min_ntime >= newer.tip.min_ntime);
    }
}

#[test]
fn jb_3_a_new_tip_names_a_future_job_of_the_channel() {
    let Some(tips) = rig().tips("jb_3") else { return };
    let mut miner = Miner::with_flags(1);
    let channels = [miner.open(&Wish::standard()), miner.open(&Wish::standard())];
    moved(&mut miner, &tips, &channels[1]);
    miner.listen(std::time::Duration::from_millis(300));
    let mut named = 0;
    for (index, message) in miner.heard.iter().enumerate() {
        let Message::Tip(tip) = message else { continue };
        let sent = miner.heard[..index].iter().any(|earlier| match earlier {
            Message::Job(job) => {
                assert!(matches!(job.body, Body::Standard { .. }));
                (job.channel, job.id, job.min_ntime) == (tip.channel, tip.job, None)
            }
            _ => false,
        });
        assert!(sent, "{message:?}");
        named += 1;
    }
    assert_eq!(named, 4, "two channels, two tips");
}

#[test]
fn jb_4_after_a_new_tip_only_its_job_is_valid() {
    let Some(tips) = rig().tips("jb_4") else { return };
    let mut miner = Miner::new();
    for wish in [Wish::extended(), Wish::standard()] {
        let old = miner.open(&wish);
        let Some(newer) = crate::jobs::renewed(&mut miner, &old) else { return };
        let new = moved(&mut miner, &tips, &newer);
        for dead in [&old, &newer] {
            assert!(miner.judge(&dead.share(1)).is_err());
        }
        assert_eq!(miner.judge(&new.share(2)), Ok(()));
    }
}

#[test]
fn sh_12_a_late_share_is_called_stale() {
    let Some(tips) = rig().tips("sh_12") else { return };
    let mut miner = Miner::new();
    for wish in [Wish::extended(), Wish::standard()] {
        let old = miner.open(&wish);
        let new = moved(&mut miner, &tips, &old);
        assert_eq!(miner.judge(&old.share(1)), Err("stale-share".into()));
        // Some old work is good for the new job by luck.
        let mut forged = (3..).map(|sequence| Share { job: new.job.id, ..old.share(sequence) });
        let forged = forged.find(|share| !new.is_met_by(share)).unwrap();
        assert!(miner.judge(&forged).is_err(), "old work under the new job");
        assert_eq!(miner.judge(&new.share(2)), Ok(()));
    }
}

#[test]
fn cl_1_a_closed_channel_hears_of_no_tip() {
    let Some(tips) = rig().tips("cl_1") else { return };
    let mut miner = Miner::new();
    let [closed, open] = [miner.open(&Wish::extended()), miner.open(&Wish::standard())];
    miner.submit(&closed.share(1));
    miner.update(closed.id, 0.0, &crate::work::half(&closed.target));
    miner.close(closed.id);
    // What was sent before it was heard may still come.
    miner.fence();
    let from = miner.heard.len();
    moved(&mut miner, &tips, &open);
    miner.listen(std::time::Duration::from_millis(300));
    let for_closed = |m: &&Message| m.channel() == Some(closed.id);
    assert_eq!(miner.heard[from..].iter().find(for_closed), None);
    assert_eq!(miner.judge(&closed.share(2)), Err("invalid-channel-id".into()));
}
