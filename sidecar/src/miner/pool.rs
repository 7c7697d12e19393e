//! A small pool for tests, made of the reference responder, which judges every share by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use binary_sv2::{Seq0255Owned, Str0255Owned, Sv2OptionOwned};
use mining_sv2::{
    NewExtendedMiningJobOwned, NewMiningJobOwned, OpenExtendedMiningChannelSuccessOwned,
    OpenStandardMiningChannelSuccessOwned, SetNewPrevHashOwned, SubmitSharesErrorOwned,
    SubmitSharesSuccess,
};
use parsers_sv2::MiningOwned;
use tokio::io::AsyncWriteExt;

use super::header::{sha256d, Header};
use super::target::{display_order, Target};
use super::work::VERSION_MASK;
use super::ChannelKind;
use crate::client::peer::{Peer, PeerConnection};

pub(super) const CHANNEL: u32 = 2;
const NTIME: u32 = 1_700_000_000;
const PREFIX: [u8; 4] = [1, 0, 0, 9];

/// About one hash in 256 meets it.
fn easy() -> Target {
    let mut bytes = [0xff; 32];
    bytes[31] = 0;
    Target::from_le_bytes(bytes)
}

/// A submit as the pool sees it.
pub(super) struct Share {
    pub(super) seq: u32,
    pub(super) job: u32,
    pub(super) hash: [u8; 32],
}

/// The pool's side of one channel.
pub(super) struct Pool {
    pub(super) peer: PeerConnection,
    pub(super) kind: ChannelKind,
    target: Target,
    /// Previous block of each job.
    tips: BTreeMap<u32, u8>,
}

impl Pool {
    /// Accepts a connection, opens its channel with a share in about 256 hashes and activates
    /// job 1.
    pub(super) async fn open(peer: &Peer) -> Self {
        Self::open_with(peer, easy(), 1).await
    }

    /// The same with that target and first job.
    pub(super) async fn open_with(peer: &Peer, target: Target, job_id: u32) -> Self {
        let mut peer = peer.accept().await;
        peer.setup().await;
        let extranonce_prefix = || PREFIX.to_vec().try_into().expect("prefix");
        let (kind, mut bytes) = match peer.recv_mining().await {
            Some(MiningOwned::OpenStandardMiningChannel(m)) => {
                let success = OpenStandardMiningChannelSuccessOwned {
                    request_id: m.request_id,
                    channel_id: CHANNEL,
                    target: target.to_le_bytes().into(),
                    extranonce_prefix: extranonce_prefix(),
                    group_channel_id: 1,
                };
                let message = MiningOwned::OpenStandardMiningChannelSuccess(success);
                (ChannelKind::Standard, peer.encode(message))
            }
            Some(MiningOwned::OpenExtendedMiningChannel(m)) => {
                let success = OpenExtendedMiningChannelSuccessOwned {
                    request_id: m.request_id,
                    channel_id: CHANNEL,
                    target: target.to_le_bytes().into(),
                    extranonce_size: 8,
                    extranonce_prefix: extranonce_prefix(),
                    group_channel_id: 1,
                };
                let message = MiningOwned::OpenExtendedMiningChannelSuccess(success);
                (ChannelKind::Extended, peer.encode(message))
            }
            other => panic!("expected an opening, got {other:?}"),
        };
        let mut pool = Self { peer, kind, target, tips: BTreeMap::new() };
        // In one write: work may be there before the miner has looked at anything else.
        bytes.extend(pool.tip_bytes(job_id, 0xaa));
        pool.peer.stream.write_all(&bytes).await.expect("write");
        pool
    }

    /// Sends a future job and the tip that activates it.
    pub(super) async fn tip(&mut self, job_id: u32, prev: u8) {
        let bytes = self.tip_bytes(job_id, prev);
        self.peer.stream.write_all(&bytes).await.expect("write");
    }

    fn tip_bytes(&mut self, job_id: u32, prev: u8) -> Vec<u8> {
        self.tips.insert(job_id, prev);
        let (channel_id, version) = (CHANNEL, 0x2000_0000);
        let min_ntime = Sv2OptionOwned::new(None);
        let job = match self.kind {
            ChannelKind::Standard => MiningOwned::NewMiningJob(NewMiningJobOwned {
                channel_id,
                job_id,
                min_ntime,
                version,
                merkle_root: [0x33; 32].into(),
            }),
            ChannelKind::Extended => MiningOwned::NewExtendedMiningJob(NewExtendedMiningJobOwned {
                channel_id,
                job_id,
                min_ntime,
                version,
                version_rolling_allowed: true,
                merkle_path: Seq0255Owned::new(vec![[0x22; 32].into()]).expect("path"),
                coinbase_tx_prefix: vec![1; 50].try_into().expect("prefix"),
                coinbase_tx_suffix: vec![2; 60].try_into().expect("suffix"),
            }),
        };
        let prev_hash = [prev; 32].into();
        let (min_ntime, nbits) = (NTIME, 0x207f_ffff);
        let tip = SetNewPrevHashOwned { channel_id, job_id, prev_hash, min_ntime, nbits };
        let mut bytes = self.peer.encode(job);
        bytes.extend(self.peer.encode(MiningOwned::SetNewPrevHash(tip)));
        bytes
    }

    /// The next submit, judged; `None` once the miner has closed its channel.
    pub(super) async fn share(&mut self) -> Option<Share> {
        let (seq, job, version, ntime, nonce, root) = match self.peer.recv_mining().await? {
            MiningOwned::SubmitSharesStandard(m) => {
                assert_eq!(m.channel_id, CHANNEL);
                (m.sequence_number, m.job_id, m.version, m.ntime, m.nonce, [0x33; 32])
            }
            MiningOwned::SubmitSharesExtended(m) => {
                assert_eq!((m.channel_id, m.extranonce.len()), (CHANNEL, 8));
                let coinbase = [&[1; 50][..], &PREFIX, m.extranonce.as_bytes(), &[2; 60]].concat();
                let root = sha256d(&[sha256d(&coinbase), [0x22; 32]].concat());
                (m.sequence_number, m.job_id, m.version, m.ntime, m.nonce, root)
            }
            MiningOwned::CloseChannel(m) => {
                assert_eq!(m.channel_id, CHANNEL);
                return None;
            }
            other => panic!("expected a submit, got {other:?}"),
        };
        let prev_hash = [*self.tips.get(&job).expect("a job of this pool"); 32];
        let nbits = 0x207f_ffff;
        let hash = Header { version, prev_hash, merkle_root: root, ntime, nbits, nonce }.hash();
        assert!(self.target.is_met_by(&hash), "{}", display_order(&hash));
        assert_eq!((version ^ 0x2000_0000) & !VERSION_MASK, 0);
        assert!((NTIME..NTIME + 60).contains(&ntime));
        Some(Share { seq, job, hash })
    }

    pub(super) async fn accept(&mut self, last_sequence_number: u32, count: u32) {
        let success = SubmitSharesSuccess {
            channel_id: CHANNEL,
            last_sequence_number,
            new_submits_accepted_count: count,
            new_shares_sum: u64::from(count),
        };
        self.peer.send(MiningOwned::SubmitSharesSuccess(success)).await;
    }

    pub(super) async fn reject(&mut self, sequence_number: u32, reason: &str) {
        let error_code = Str0255Owned::try_from(reason.as_bytes().to_vec()).expect("reason");
        let error = SubmitSharesErrorOwned { channel_id: CHANNEL, sequence_number, error_code };
        self.peer.send(MiningOwned::SubmitSharesError(error)).await;
    }

    /// Answers only when the miner has been silent for a while, until it leaves; `last` is the
    /// newest submit so far, the first not answered yet. Returns the newest.
    pub(super) async fn accept_when_silent(&mut self, mut last: u32) -> u32 {
        let mut answered = last - 1;
        loop {
            match tokio::time::timeout(Duration::from_millis(300), self.share()).await {
                Ok(Some(share)) => last = share.seq,
                Ok(None) => return last,
                Err(_) if last > answered => {
                    self.accept(last, last - answered).await;
                    answered = last;
                }
                Err(_) => {}
            }
        }
    }

    /// Accepts share by share until the miner leaves; returns how many.
    pub(super) async fn accept_all(&mut self) -> u64 {
        let mut count = 0;
        while let Some(share) = self.share().await {
            self.accept(share.seq, 1).await;
            count += 1;
        }
        count
    }
}
