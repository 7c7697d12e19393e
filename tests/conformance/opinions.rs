//! Random shares on the real line, and the vectors, under the reference's channels: one verdict.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use channels_sv2::target::hash_rate_to_target;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::jobs::renewed;
use crate::message::{Body, Job, Tip, U256};
use crate::miner::{Channel, Miner, Wish, EASIEST};
use crate::oracle::{same, Oracle};
use crate::rig::rig;
use crate::work::Share;

/// What is done to a share; each has one fault at most.
const CHANGES: [&str; 14] = [
    "none",
    "none",
    "none",
    "extranonce",
    "rolled",
    "later",
    "again",
    "weak",
    "bit",
    "early",
    "late",
    "size",
    "job",
    "old",
];

/// A share on one of the jobs that were given, newest last.
fn changed(
    change: &str,
    given: &[Channel],
    sequence: u32,
    good: &[Share],
    random: &mut StdRng,
) -> Share {
    let newest = given.last().unwrap();
    let on = if change == "old" { &given[0] } else { newest };
    let mut draft = on.draft(sequence);
    draft.nonce = random.gen();
    match change {
        "extranonce" => random.fill(draft.extranonce.as_mut().unwrap().as_mut_slice()),
        "rolled" => draft.version ^= random.gen::<u32>() & 0x1fff_ffe0,
        "later" => draft.ntime += random.gen_range(0..6000),
        "again" if !good.is_empty() => return good[random.gen_range(0..good.len())].clone(),
        "weak" => return on.between(draft, &on.target, &EASIEST),
        "bit" => draft.version ^= 1 << [0, 1, 2, 3, 4, 29, 30, 31][random.gen_range(0..8)],
        "early" => draft.ntime -= random.gen_range(1..100_000),
        "late" => draft.ntime += random.gen_range(9_000..1_000_000),
        "size" => {
            draft.extranonce = Some(vec![1; (usize::from(on.size) + random.gen_range(1..20)) % 33])
        }
        "job" => draft.job = draft.job.wrapping_add(random.gen_range(1000..u32::MAX - 1000)),
        _ => {}
    }
    on.worked(draft)
}

#[test]
fn sh_7_the_reference_judges_random_shares_as_the_line_does() {
    let Some(tips) = rig().tips("sh_7: a second opinion") else { return };
    let mut random = StdRng::seed_from_u64(2026);
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    // Two rounds on each channel: with more, the pool would make the target harder.
    for turn in 0..3 {
        let mut miner = Miner::new();
        let channel = miner.open(&Wish::extended());
        let (id, size) = (channel.id, Some(channel.size));
        let mut oracle = Oracle::new(id, &channel.prefix, size, &channel.target);
        let (mut given, mut good, mut heard, mut sequence) = (vec![channel], Vec::new(), 0, 0);
        for round in 0..2 {
            for change in CHANGES {
                sequence += 1;
                let share = changed(change, &given, sequence, &good, &mut random);
                let ours = miner.judge(&share);
                for message in &miner.heard[heard..] {
                    oracle.hears(message);
                }
                heard = miner.heard.len();
                let theirs = oracle.verdict(&share);
                assert!(same(&ours, &theirs), "{change}: {ours:?}, but {theirs:?} for {share:?}");
                if ours.is_ok() {
                    good.push(share);
                }
                let verdict = ours.err().unwrap_or_else(|| "accepted".into());
                *verdicts.entry(verdict).or_default() += 1;
            }
            let last = given[0].clone();
            match (round, turn % 2) {
                (0, 0) => given.extend(renewed(&mut miner, &last)),
                (0, _) => {
                    tips.next();
                    let (job, tip) = (miner.job(id), miner.tip(id));
                    given.push(Channel { job, tip, ..last });
                }
                _ => {}
            }
        }
    }
    let reasons = [
        "accepted",
        "difficulty-too-low",
        "duplicate-share",
        "invalid-non-rollable-version-bit",
        "ntime-too-old",
        "ntime-too-new",
        "bad-extranonce-size",
        "invalid-job-id",
        "stale-share",
    ];
    for reason in reasons {
        assert!(verdicts.contains_key(reason), "no share was ever {reason}: {verdicts:?}");
    }
}

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn u256(value: &Value) -> U256 {
    bytes(value).try_into().unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

/// The job and the share of the vectors on one of their channels, and what the reference says at a
/// target.
fn judged(v: &Value, channel: &Value, change: &Value, target: &U256) -> Result<(), &'static str> {
    let (job, submit) = (&v["job"], &v["submit"]);
    let of = |from: &Value, field: &str| number(change.get(field).unwrap_or(&from[field]));
    let extended = channel["kind"] == "extended";
    let extranonce = bytes(change.get("extranonce").unwrap_or(&channel["extranonce"]));
    let size = extended.then(|| u16::try_from(bytes(&channel["extranonce"]).len()).unwrap());
    let mut oracle = Oracle::new(2, &bytes(&channel["extranonce_prefix"]), size, target);
    oracle.job(&Job {
        channel: 2,
        id: 1,
        min_ntime: None,
        version: number(&job["version"]),
        body: Body::Extended {
            rolling: of(job, "version_mask") != 0,
            path: job["merkle_path"].as_array().unwrap().iter().map(u256).collect(),
            prefix: bytes(&job["coinbase_prefix"]),
            suffix: bytes(&job["coinbase_suffix"]),
        },
    });
    oracle.tip(&Tip {
        channel: 2,
        job: 1,
        prev_hash: u256(&job["prev_hash"]),
        min_ntime: number(&job["min_ntime"]),
        nbits: u32::from_str_radix(job["nbits"].as_str().unwrap(), 16).unwrap(),
    });
    oracle.verdict(&Share {
        channel: 2,
        sequence: 1,
        job: of(submit, "job_id"),
        nonce: number(&submit["nonce"]),
        ntime: of(submit, "ntime"),
        version: of(submit, "version"),
        extranonce: extended.then_some(extranonce),
    })
}

fn verdict(reason: &Value) -> Result<(), String> {
    match reason.as_str().unwrap() {
        "accepted" => Ok(()),
        reason => Err(reason.to_owned()),
    }
}

#[test]
fn sh_7_the_reference_judges_the_vectors_as_they_say() {
    let v = vectors("share.json");
    let none = Value::Null;
    for channel in v["channels"].as_array().unwrap() {
        for at in v["verdicts"].as_array().unwrap() {
            let theirs = judged(&v, channel, &none, &u256(&at["target"]));
            assert!(same(&verdict(&at["reason"]), &theirs), "{at}: {theirs:?}");
        }
    }
    let mut compared = 0;
    for case in v["policy"].as_array().unwrap() {
        // It has no clock, and a job has no limit of its own: only times it can know.
        let clock =
            case["now"] != v["submit"]["ntime"] || case["change"].get("max_ntime").is_some();
        let near = case["change"].get("ntime").is_some_and(|time| {
            (1..=60).contains(
                &time
                    .as_u64()
                    .unwrap()
                    .saturating_sub(v["submit"]["ntime"].as_u64().unwrap() + 7140),
            )
        });
        if !clock && !near {
            let theirs = judged(&v, &v["channels"][0], &case["change"], &EASIEST);
            assert!(same(&verdict(&case["reason"]), &theirs), "{case}: {theirs:?}");
            compared += 1;
        }
    }
    assert!(compared > 20, "only {compared} cases");
}

#[test]
fn tg_5_the_reference_has_the_same_targets() {
    let v = vectors("targets.json");
    let rates = v["hash_rates"].as_array().unwrap();
    assert!(rates.len() > 5);
    for rate in rates {
        let per_minute = rate["shares_per_minute"].as_f64().unwrap();
        let target = hash_rate_to_target(rate["hash_rate"].as_f64().unwrap(), per_minute).unwrap();
        assert_eq!(target.to_le_bytes(), u256(&rate["target"]), "{rate}");
    }
    for entry in v["nbits"].as_array().unwrap().iter().filter(|entry| entry["target"].is_string()) {
        let nbits = u32::from_str_radix(entry["nbits"].as_str().unwrap(), 16).unwrap();
        let target = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(nbits));
        assert_eq!(target.to_le_bytes(), u256(&entry["target"]), "{entry}");
    }
}
