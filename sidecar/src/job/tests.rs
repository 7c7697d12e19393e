//! Promises of the job table.

use bytes::Bytes;

use super::*;
use crate::types::vectors;

/// Share vector: extended channel, prefix 4 bytes, 16 rolled.
fn vector() -> (Job, Vec<u8>, Vec<u8>) {
    let vectors::Share { job, mut channels, .. } = vectors::share();
    let job = Job {
        id: 9,
        seq: 1,
        prev_hash: job.prev_hash.hash(),
        nbits: job.nbits.word(),
        version: job.version,
        version_mask: job.version_mask,
        min_ntime: job.min_ntime,
        max_ntime: None,
        merkle_path: job.merkle_path.iter().map(|hash| hash.hash()).collect(),
        coinbase_prefix: Bytes::from(job.coinbase_prefix.0),
        coinbase_suffix: Bytes::from(job.coinbase_suffix.0),
        stale_rule: StaleRule::Strict,
        height: 0,
    };
    let extended = channels.remove(0);
    assert_eq!(extended.kind, "extended");
    (job, extended.extranonce_prefix.0, extended.extranonce.0)
}

const NOW: u32 = 0x6955_b900;

fn share(job_id: u32, extranonce: &[u8]) -> Fields<'_> {
    Fields { job_id, nonce: 0x4df1, ntime: NOW, version: 0x2000_2020, extranonce }
}

fn shape(prefix: &[u8]) -> Shape<'_> {
    Shape { kind: Kind::Extended, prefix, extranonce_size: 16 }
}

#[test]
fn hashes_the_share_vector() {
    let want = vectors::share();
    let (job, prefix, extranonce) = vector();
    let submit = &want.submit;
    let fields = Fields {
        job_id: submit.job_id,
        nonce: submit.nonce,
        ntime: submit.ntime,
        version: submit.version,
        extranonce: &extranonce,
    };
    assert_eq!(fields, share(1, &extranonce), "what the other tests submit");
    let bare = Job { merkle_path: vec![], ..job.clone() };
    assert_eq!(merkle_root(&bare, &prefix, &extranonce), want.coinbase_txid.hash());
    let parts: [&[u8]; 4] = [&job.coinbase_prefix, &prefix, &extranonce, &job.coinbase_suffix];
    assert_eq!(parts.concat(), want.coinbase.0);
    for channel in &want.channels {
        let root = merkle_root(&job, &channel.extranonce_prefix.0, &channel.extranonce.0);
        assert_eq!(root, want.merkle_root.hash(), "{}", channel.kind);
        let hash = header_hash(&job, &root, &fields);
        assert_eq!(hash, want.hash.hash());
        assert_eq!(hash, crate::types::sha256d(&[&want.header.0]));
        for verdict in &want.verdicts {
            let accepted = verdict.reason == "accepted";
            assert_eq!(hash.meets(&verdict.target.target()), accepted, "{verdict:?}");
        }
    }
}

#[test]
fn agrees_with_the_vectors_on_policy() {
    let cases = vectors::share().policy;
    assert!(cases.len() > 20);
    for case in cases {
        let (mut job, prefix, extranonce) = vector();
        let change = case.change;
        let extranonce = change.extranonce.map_or(extranonce, |hex| hex.0);
        let mut share = share(change.job_id.unwrap_or(1), &extranonce);
        share.ntime = change.ntime.unwrap_or(share.ntime);
        share.version = change.version.unwrap_or(share.version);
        job.version_mask = change.version_mask.unwrap_or(job.version_mask);
        job.max_ntime = change.max_ntime;
        let mut table = JobTable::default();
        table.add(1, Arc::new(job), shape(&prefix));
        let got = match table.check(&share, shape(&prefix), None, case.now) {
            Check::Forward { would_refuse, .. } => would_refuse.map_or("accepted", |r| r.as_str()),
            Check::Refuse(reason) => reason.as_str(),
            Check::LostBlock(_) => "lost",
        };
        assert_eq!(got, case.reason, "{}", case.name);
    }
}

#[test]
fn announces_a_new_tip_as_future_job_and_a_refresh_as_active_one() {
    let (job, prefix, _) = vector();
    let mut table = JobTable::default();
    let first = table.add(1, Arc::new(job.clone()), shape(&prefix));
    assert_eq!(first.min_ntime, None);
    assert_eq!(first.new_tip.unwrap().prev_hash, job.prev_hash);
    let refresh = Job { id: 10, seq: 2, min_ntime: NOW + 5, ..job.clone() };
    let second = table.add(2, Arc::new(refresh), shape(&prefix));
    assert_eq!((second.min_ntime, second.new_tip), (Some(NOW + 5), None));
    let tip = Job { id: 11, seq: 3, prev_hash: Hash([5; 32]), ..job };
    assert!(table.add(3, Arc::new(tip), shape(&prefix)).new_tip.is_some());
    assert_eq!(table.newest().map(|job| job.seq), Some(3));
}

#[test]
fn standard_channel_gets_the_root_of_its_whole_extranonce() {
    let (job, mut prefix, extranonce) = vector();
    prefix.extend(&extranonce);
    let shape = Shape { kind: Kind::Standard, prefix: &prefix, extranonce_size: 0 };
    let mut table = JobTable::default();
    let announced = table.add(1, Arc::new(job.clone()), shape);
    let merkle_root = merkle_root(&job, &prefix[..4], &extranonce);
    assert_eq!(announced.body, Body::Standard { merkle_root });
    let forward = Check::Forward { job_id: 9, would_refuse: None };
    assert_eq!(table.check(&share(1, &[]), shape, None, NOW), forward);
}

fn checked(change: impl FnOnce(&mut Job, &mut Fields<'_>), now: u32) -> Check {
    let (mut job, prefix, extranonce) = vector();
    let mut share = share(1, &extranonce);
    change(&mut job, &mut share);
    let mut table = JobTable::default();
    table.add(1, Arc::new(job), shape(&prefix));
    table.check(&share, shape(&prefix), None, now)
}

#[test]
fn enforces_the_policy_of_the_job() {
    use RejectReason as R;
    let forward = Check::Forward { job_id: 9, would_refuse: None };
    assert_eq!(checked(|_, _| {}, NOW), forward);
    let refuse = |reason| Check::Refuse(reason);
    assert_eq!(checked(|_, s| s.job_id = 2, NOW), refuse(R::InvalidJobId));
    assert_eq!(
        checked(|_, s| s.extranonce = &s.extranonce[1..], NOW),
        refuse(R::BadExtranonceSize)
    );
    for bit in [5, 12, 13, 28] {
        assert_eq!(checked(|_, s| s.version = 0x2000_0000 ^ 1 << bit, NOW), forward, "{bit}");
    }
    for bit in [0, 4, 29, 30, 31] {
        let got = checked(|_, s| s.version = 0x2000_0000 ^ 1 << bit, NOW);
        assert_eq!(got, refuse(R::InvalidVersionBit), "{bit}");
    }
    assert_eq!(checked(|j, _| j.version_mask = 0, NOW), refuse(R::VersionRollingNotAllowed));
    assert_eq!(checked(|_, s| s.ntime -= 1, NOW), refuse(R::NtimeTooOld));
    // By our clock, whatever the age of the tip.
    assert_eq!(checked(|_, s| s.ntime += 9000, NOW + 9000), forward);
    assert_eq!(checked(|_, s| s.ntime += 7140, NOW), forward);
    assert_eq!(checked(|_, s| s.ntime += 7141, NOW), refuse(R::NtimeTooNew));
    assert_eq!(
        checked(|j, s| (j.max_ntime, s.ntime) = (Some(NOW), NOW + 1), NOW),
        refuse(R::NtimeTooNew)
    );
}

#[test]
fn sh_6_where_rolling_is_forbidden_each_bit_must_be_the_jobs() {
    let forbidden = Check::Refuse(RejectReason::VersionRollingNotAllowed);
    for bit in 0..32 {
        let rolled = |job: &mut Job, share: &mut Fields<'_>| {
            job.version_mask = 0;
            share.version ^= 1 << bit;
        };
        assert_eq!(checked(rolled, NOW), forbidden, "{bit}");
    }
    let untouched = Check::Forward { job_id: 9, would_refuse: None };
    assert_eq!(checked(|job, _| job.version_mask = 0, NOW), forbidden, "the vector rolls bits");
    let same = |job: &mut Job, share: &mut Fields<'_>| {
        job.version_mask = 0;
        share.version = job.version;
    };
    assert_eq!(checked(same, NOW), untouched);
}

#[test]
fn never_loses_a_block_to_policy() {
    // On these bits every second hash is a block.
    let easy = |job: &mut Job| job.nbits = 0x207f_ffff;
    let forward = |reason| Check::Forward { job_id: 9, would_refuse: Some(reason) };
    let bit = checked(
        |j, s| {
            easy(j);
            s.version = 0x2000_0001;
            s.nonce = block_nonce(j, s)
        },
        NOW,
    );
    assert_eq!(bit, forward(RejectReason::InvalidVersionBit));
    let old = checked(
        |j, s| {
            easy(j);
            s.ntime -= 1;
            s.nonce = block_nonce(j, s)
        },
        NOW,
    );
    assert_eq!(old, forward(RejectReason::NtimeTooOld));
    // No node takes that one.
    let new = checked(
        |j, s| {
            easy(j);
            s.ntime += 7201;
            s.nonce = block_nonce(j, s)
        },
        NOW,
    );
    assert_eq!(new, Check::Refuse(RejectReason::NtimeTooNew));
}

#[test]
fn ex_9_a_block_in_a_message_at_fault_is_forwarded_and_other_shares_are_not() {
    let (mut job, prefix, extranonce) = vector();
    let fault = RejectReason::InvalidShare;
    job.nbits = 0x207f_ffff;
    let mut share = share(1, &extranonce);
    share.nonce = block_nonce(&job, &share);
    let check = |job: &Job| {
        let mut table = JobTable::default();
        table.add(1, Arc::new(job.clone()), shape(&prefix));
        table.check(&share, shape(&prefix), Some(fault), NOW)
    };
    assert_eq!(check(&job), Check::Forward { job_id: 9, would_refuse: Some(fault) });
    job.nbits = 0x0300_0001;
    assert_eq!(check(&job), Check::Refuse(fault));
}

/// A nonce whose hash meets the job's nbits.
fn block_nonce(job: &Job, share: &Fields<'_>) -> u32 {
    let target = Target::from_nbits(job.nbits).unwrap();
    let root = merkle_root(job, &[1, 0, 0, 0], share.extranonce);
    (0..)
        .find(|&nonce| header_hash(job, &root, &Fields { nonce, ..*share }).meets(&target))
        .unwrap()
}

#[test]
fn late_shares_are_stale_for_one_tip_and_unknown_after_two() {
    let (job, prefix, extranonce) = vector();
    let tip = |n: u8| Arc::new(Job { prev_hash: Hash([n; 32]), ..job.clone() });
    let mut table = JobTable::default();
    table.add(1, tip(1), shape(&prefix));
    table.add(2, tip(2), shape(&prefix));
    let at = |table: &JobTable, id| table.check(&share(id, &extranonce), shape(&prefix), None, NOW);
    assert_eq!(at(&table, 1), Check::Refuse(RejectReason::Stale));
    assert!(matches!(at(&table, 2), Check::Forward { .. }));
    table.add(3, tip(3), shape(&prefix));
    assert_eq!(at(&table, 1), Check::Refuse(RejectReason::InvalidJobId));
    assert_eq!(at(&table, 2), Check::Refuse(RejectReason::Stale));
}

#[test]
fn host_rule_forwards_late_shares() {
    let (job, prefix, extranonce) = vector();
    let job = Job { stale_rule: StaleRule::Host, ..job };
    let mut table = JobTable::default();
    table.add(1, Arc::new(job.clone()), shape(&prefix));
    table.add(2, Arc::new(Job { prev_hash: Hash([2; 32]), ..job }), shape(&prefix));
    let got = table.check(&share(1, &extranonce), shape(&prefix), None, NOW);
    assert_eq!(got, Check::Forward { job_id: 9, would_refuse: None });
}

#[test]
fn memory_stays_bounded_whatever_the_pool_sends() {
    let (job, prefix, _) = vector();
    let mut table = JobTable::default();
    for id in 1..500_u32 {
        let prev_hash = Hash([(id / 50) as u8; 32]);
        table.add(id, Arc::new(Job { prev_hash, ..job.clone() }), shape(&prefix));
        assert!(table.known.len() <= 1 + MAX_PAST + MAX_STALE);
    }
}
