//! Work in bytes: NewMiningJob, NewExtendedMiningJob and SetNewPrevHash (SV2 spec 5.3.15 to
//! 5.3.17).
//!
//! By hand, since a new tip is written once for each channel there is, at once: the crate's
//! messages make a list of their fields first. They are the oracle in the tests.

use mining_sv2::{
    CHANNEL_BIT_MINING_SET_NEW_PREV_HASH, CHANNEL_BIT_NEW_EXTENDED_MINING_JOB,
    CHANNEL_BIT_NEW_MINING_JOB, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH,
    MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, MESSAGE_TYPE_NEW_MINING_JOB,
};

use crate::frame::{FrameError, Writer};
use crate::job::{Announcement, Body, NewTip};
use crate::types::{Hash, Job};

/// channel_id and job_id.
const IDS_LEN: usize = 8;
/// SetNewPrevHash: ids, prev_hash, min_ntime, nbits.
const NEW_TIP_LEN: usize = IDS_LEN + 32 + 4 + 4;

/// The rest of a payload, filled from its start.
struct Payload<'a>(&'a mut [u8]);

impl Payload<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let rest = std::mem::take(&mut self.0);
        let (here, rest) = rest.split_at_mut_checked(bytes.len()).ok_or(FrameError::Encode)?;
        here.copy_from_slice(bytes);
        self.0 = rest;
        Ok(())
    }

    fn put_u32(&mut self, value: u32) -> Result<(), FrameError> {
        self.put(&value.to_le_bytes())
    }

    /// channel_id and job_id.
    fn put_ids(&mut self, [channel_id, job_id]: [u32; 2]) -> Result<(), FrameError> {
        self.put_u32(channel_id)?;
        self.put_u32(job_id)
    }

    /// OPTION\[u32\].
    fn put_option(&mut self, value: Option<u32>) -> Result<(), FrameError> {
        self.put(&[u8::from(value.is_some())])?;
        value.map_or(Ok(()), |value| self.put_u32(value))
    }

    /// B0_64K.
    fn put_long(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let len = u16::try_from(bytes.len()).map_err(|_| FrameError::Encode)?;
        self.put(&len.to_le_bytes())?;
        self.put(bytes)
    }

    /// SEQ0_255\[U256\].
    fn put_path(&mut self, path: &[Hash]) -> Result<(), FrameError> {
        self.put(&[u8::try_from(path.len()).map_err(|_| FrameError::Encode)?])?;
        path.iter().try_for_each(|hash| self.put(&hash.0))
    }

    /// All of it must be filled: a length that is not that of the fields is our fault.
    fn end(self) -> Result<(), FrameError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Encode)
        }
    }
}

const fn option_len(value: Option<u32>) -> usize {
    if value.is_some() {
        5
    } else {
        1
    }
}

/// Encrypts an announcement behind what waits in `w`: one message, or two when the tip is new.
///
/// # Errors
/// [`FrameError::Encode`] for a job that is too long for its fields (our fault).
pub(super) fn write(
    channel_id: u32,
    announced: &Announcement,
    w: &mut Writer,
) -> Result<(), FrameError> {
    let (job_id, version, min_ntime) = (announced.job_id, announced.version, announced.min_ntime);
    match &announced.body {
        Body::Standard { merkle_root } => {
            let len = IDS_LEN + option_len(min_ntime) + 4 + 32;
            let bit = CHANNEL_BIT_NEW_MINING_JOB;
            w.push_with(len, 0, MESSAGE_TYPE_NEW_MINING_JOB, bit, |payload| {
                standard([channel_id, job_id], min_ntime, version, merkle_root, Payload(payload))
            })?;
        }
        Body::Extended(job) => {
            let bit = CHANNEL_BIT_NEW_EXTENDED_MINING_JOB;
            let len = extended_len(job, min_ntime);
            w.push_with(len, 0, MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, bit, |payload| {
                extended([channel_id, job_id], min_ntime, job, Payload(payload))
            })?;
        }
    }
    let Some(tip) = announced.new_tip else { return Ok(()) };
    let bit = CHANNEL_BIT_MINING_SET_NEW_PREV_HASH;
    w.push_with(NEW_TIP_LEN, 0, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, bit, |payload| {
        new_tip([channel_id, job_id], &tip, Payload(payload))
    })
}

fn new_tip(ids: [u32; 2], tip: &NewTip, mut payload: Payload<'_>) -> Result<(), FrameError> {
    payload.put_ids(ids)?;
    payload.put(&tip.prev_hash.0)?;
    payload.put_u32(tip.min_ntime)?;
    payload.put_u32(tip.nbits)?;
    payload.end()
}

fn standard(
    ids: [u32; 2],
    min_ntime: Option<u32>,
    version: u32,
    merkle_root: &Hash,
    mut payload: Payload<'_>,
) -> Result<(), FrameError> {
    payload.put_ids(ids)?;
    payload.put_option(min_ntime)?;
    payload.put_u32(version)?;
    payload.put(&merkle_root.0)?;
    payload.end()
}

/// Length of NewExtendedMiningJob.
fn extended_len(job: &Job, min_ntime: Option<u32>) -> usize {
    let coinbase = 2 + job.coinbase_prefix.len() + 2 + job.coinbase_suffix.len();
    IDS_LEN + option_len(min_ntime) + 4 + 1 + 1 + 32 * job.merkle_path.len() + coinbase
}

fn extended(
    ids: [u32; 2],
    min_ntime: Option<u32>,
    job: &Job,
    mut payload: Payload<'_>,
) -> Result<(), FrameError> {
    payload.put_ids(ids)?;
    payload.put_option(min_ntime)?;
    payload.put_u32(job.version)?;
    payload.put(&[u8::from(job.version_mask != 0)])?;
    payload.put_path(&job.merkle_path)?;
    payload.put_long(&job.coinbase_prefix)?;
    payload.put_long(&job.coinbase_suffix)?;
    payload.end()
}

#[cfg(test)]
mod tests;
