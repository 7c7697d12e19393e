//! The crate's messages are the oracle.

use binary_sv2::{to_bytes, Seq0255, Sv2Option, B064K, U256};
use bytes::Bytes;
use mining_sv2::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};
use proptest::prelude::*;

use super::*;
use crate::types::VERSION_ROLLING_MASK;

fn filled(
    len: usize,
    fill: impl FnOnce(Payload<'_>) -> Result<(), FrameError>,
) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0xaa; len];
    fill(Payload(&mut bytes))?;
    Ok(bytes)
}

fn job(path: Vec<[u8; 32]>, prefix: Vec<u8>, suffix: Vec<u8>, rolls: bool) -> Job {
    Job {
        merkle_path: path.into_iter().map(Hash).collect(),
        coinbase_prefix: prefix.into(),
        coinbase_suffix: suffix.into(),
        version_mask: if rolls { VERSION_ROLLING_MASK } else { 0 },
        ..Job::clone(&crate::session::tests::job(1, 1))
    }
}

proptest! {
    #[test]
    fn an_extended_job_is_that_of_the_crate(
        ids: [u32; 2],
        min_ntime: Option<u32>,
        path: Vec<[u8; 32]>,
        prefix: Vec<u8>,
        suffix: Vec<u8>,
        rolls: bool,
    ) {
        let job = job(path, prefix, suffix, rolls);
        let path = job.merkle_path.iter().map(|hash| U256::from(&hash.0)).collect();
        let message = NewExtendedMiningJob {
            channel_id: ids[0],
            job_id: ids[1],
            min_ntime: Sv2Option::new(min_ntime),
            version: job.version,
            version_rolling_allowed: rolls,
            merkle_path: Seq0255::new(path).unwrap(),
            coinbase_tx_prefix: B064K::new(&job.coinbase_prefix).unwrap(),
            coinbase_tx_suffix: B064K::new(&job.coinbase_suffix).unwrap(),
        };
        let len = extended_len(&job, min_ntime);
        let ours = filled(len, |payload| extended(ids, min_ntime, &job, payload)).unwrap();
        prop_assert_eq!(ours, to_bytes(message).unwrap());
        // What warns of jobs that are too long for devices.
        prop_assert_eq!(job.message_len(), extended_len(&job, Some(0)));
    }

    #[test]
    fn a_standard_job_is_that_of_the_crate(
        ids: [u32; 2],
        min_ntime: Option<u32>,
        version: u32,
        root: [u8; 32],
    ) {
        let message = NewMiningJob {
            channel_id: ids[0],
            job_id: ids[1],
            min_ntime: Sv2Option::new(min_ntime),
            version,
            merkle_root: U256::from(&root),
        };
        let len = IDS_LEN + option_len(min_ntime) + 4 + 32;
        let ours = filled(len, |p| standard(ids, min_ntime, version, &Hash(root), p)).unwrap();
        prop_assert_eq!(ours, to_bytes(message).unwrap());
    }

    #[test]
    fn a_new_tip_is_that_of_the_crate(
        ids: [u32; 2],
        hash: [u8; 32],
        min_ntime: u32,
        nbits: u32,
    ) {
        let message = SetNewPrevHash {
            channel_id: ids[0],
            job_id: ids[1],
            prev_hash: U256::from(&hash),
            min_ntime,
            nbits,
        };
        let tip = NewTip { prev_hash: Hash(hash), min_ntime, nbits };
        let ours = filled(NEW_TIP_LEN, |payload| new_tip(ids, &tip, payload)).unwrap();
        prop_assert_eq!(ours, to_bytes(message).unwrap());
    }
}

#[test]
fn refuses_what_does_not_fit_its_fields() {
    let long = Bytes::from(vec![1; 65_536]);
    let mut job = job(vec![[3; 32]; 255], vec![1], vec![2], true);
    let written = |job: &Job| {
        let len = extended_len(job, None);
        filled(len, |payload| extended([1, 2], None, job, payload)).map(|bytes| bytes.len())
    };
    assert_eq!(written(&job), Ok(extended_len(&job, None)));
    job.merkle_path.push(Hash([3; 32]));
    assert_eq!(written(&job), Err(FrameError::Encode));
    job.merkle_path.clear();
    job.coinbase_suffix = long;
    assert_eq!(written(&job), Err(FrameError::Encode));
    // Too little room, or too much: the length is not that of the fields.
    for len in [NEW_TIP_LEN - 1, NEW_TIP_LEN + 1] {
        let tip = NewTip { prev_hash: Hash([1; 32]), min_ntime: 1, nbits: 2 };
        let written = filled(len, |payload| new_tip([1, 2], &tip, payload));
        assert_eq!(written, Err(FrameError::Encode));
    }
}
