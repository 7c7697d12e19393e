//! What goes to the pool: shares in plain memory, everything else as messages of the contract.

use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;

use crate::event::reject_to_wire;
use crate::types::{ChannelKey, Short, Submit};

/// `gopool.sv2.v1.Submit`, field by field: a batch of them is one piece of memory, used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Names the submit on its stream.
    pub id: u64,
    /// Its channel.
    pub channel_id: u64,
    /// Its job.
    pub job_id: u64,
    /// Header nonce.
    pub nonce: u32,
    /// Header time, Unix seconds.
    pub ntime: u32,
    /// The full header version.
    pub version: u32,
    /// `gopool.sv2.v1.RejectReason`; 0: none.
    pub would_refuse: u32,
    /// What the miner rolled.
    pub extranonce: Short,
    /// Worker of SV2 extension 0x0002; empty: credit the channel's user identity.
    pub worker: Short,
}

impl Share {
    /// A submit under its number.
    pub(crate) fn new(id: u64, channel: ChannelKey, submit: &Submit) -> Self {
        let reason = submit.would_refuse.map_or(v1::RejectReason::Unspecified, reject_to_wire);
        Self {
            id,
            channel_id: channel.to_wire(),
            job_id: submit.job_id,
            nonce: submit.nonce,
            ntime: submit.ntime,
            version: submit.version,
            would_refuse: i32::from(reason).unsigned_abs(),
            extranonce: submit.extranonce,
            worker: submit.worker,
        }
    }
}

/// One message's worth.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "moved twice, and few wait at a time")]
pub(crate) enum Parcel {
    /// Shares, as many as fit into a message at most.
    Shares(Vec<Share>),
    /// A message that is not about shares.
    Message(ToPool),
}

impl From<ToPool> for Parcel {
    fn from(message: ToPool) -> Self {
        Self::Message(message)
    }
}

#[cfg(test)]
impl From<Parcel> for ToPool {
    fn from(parcel: Parcel) -> Self {
        match parcel {
            Parcel::Shares(shares) => Self::SubmitBatch(submit_batch(&shares)),
            Parcel::Message(message) => message,
        }
    }
}

/// Shares as a message. All bytes of a batch lie in one piece.
#[cfg(test)]
pub(crate) fn submit_batch(shares: &[Share]) -> v1::SubmitBatch {
    let size = shares.iter().map(|share| share.extranonce.len() + share.worker.len()).sum();
    let mut bytes = bytes::BytesMut::with_capacity(size);
    for share in shares {
        bytes.extend_from_slice(&share.extranonce);
        bytes.extend_from_slice(&share.worker);
    }
    let mut bytes = bytes.freeze();
    let submits = shares.iter().map(|share| v1::Submit {
        id: share.id,
        channel_id: share.channel_id,
        job_id: share.job_id,
        nonce: share.nonce,
        ntime: share.ntime,
        version: share.version,
        extranonce: bytes.split_to(share.extranonce.len()),
        worker: bytes.split_to(share.worker.len()),
        would_refuse: i32::try_from(share.would_refuse).unwrap_or_default(),
    });
    v1::SubmitBatch { submits: submits.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ConnId, RejectReason};

    #[test]
    fn a_batch_says_of_each_share_what_it_is() {
        let channel = ChannelKey::new(ConnId(3), 4).unwrap();
        let submit = |n: u8, would_refuse| Submit {
            job_id: n.into(),
            nonce: 10 + u32::from(n),
            ntime: 20,
            version: 30,
            extranonce: Short::new(&[n; 8]),
            worker: Short::new(&vec![b'w'; n.into()]),
            would_refuse,
        };
        let submits = [submit(0, None), submit(1, Some(RejectReason::Stale)), submit(2, None)];
        let shares = submits.iter().enumerate();
        let shares: Vec<_> = shares.map(|(at, s)| Share::new(at as u64 + 1, channel, s)).collect();
        let ToPool::SubmitBatch(batch) = Parcel::Shares(shares).into() else { panic!("shares") };
        for (at, (wire, submit)) in batch.submits.iter().zip(&submits).enumerate() {
            let reason = [0, v1::RejectReason::StaleShare.into(), 0][at];
            let want = v1::Submit {
                id: at as u64 + 1,
                channel_id: channel.to_wire(),
                job_id: submit.job_id,
                nonce: submit.nonce,
                ntime: submit.ntime,
                version: submit.version,
                extranonce: submit.extranonce.to_bytes(),
                worker: submit.worker.to_bytes(),
                would_refuse: reason,
            };
            assert_eq!(*wire, want);
        }
    }
}
