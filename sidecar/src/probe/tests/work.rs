//! Servers that grant a channel, with and without work on it.

use binary_sv2::{Seq0255Owned, Str0255Owned, Sv2OptionOwned};
use common_messages_sv2::ReconnectOwned;
use mining_sv2::{
    CloseChannelOwned, NewExtendedMiningJobOwned, NewMiningJobOwned,
    OpenExtendedMiningChannelSuccessOwned, OpenStandardMiningChannelSuccessOwned,
    SetNewPrevHashOwned,
};
use parsers_sv2::{CommonMessagesOwned, MiningOwned};

use super::*;
use crate::client::peer::PeerConnection;
use crate::client::{unix_now, FLAG_REQUIRES_STANDARD_JOBS};

const CHANNEL: u32 = 5;
const GROUP: u32 = 6;

/// Accepts a connection and grants its channel at difficulty 1.
async fn grant(peer: &Peer) -> (PeerConnection, Kind) {
    let mut server = peer.accept().await;
    let flags = server.setup().await;
    let (channel_id, group_channel_id) = (CHANNEL, GROUP);
    let mut target = [0; 32];
    target[26..28].fill(0xff);
    let message = match server.recv_mining().await {
        Some(MiningOwned::OpenStandardMiningChannel(m)) => {
            assert_eq!(flags, FLAG_REQUIRES_STANDARD_JOBS);
            MiningOwned::OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccessOwned {
                request_id: m.request_id,
                channel_id,
                target: target.into(),
                extranonce_prefix: vec![7; 8].try_into().expect("prefix"),
                group_channel_id,
            })
        }
        Some(MiningOwned::OpenExtendedMiningChannel(m)) => {
            assert_eq!(flags, 0, "an extended channel requires nothing");
            MiningOwned::OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccessOwned {
                request_id: m.request_id,
                channel_id,
                target: target.into(),
                extranonce_size: 8,
                extranonce_prefix: vec![9; 4].try_into().expect("prefix"),
                group_channel_id,
            })
        }
        other => panic!("expected an opening, got {other:?}"),
    };
    server.send(message).await;
    let standard = flags == FLAG_REQUIRES_STANDARD_JOBS;
    (server, if standard { Kind::Standard } else { Kind::Extended })
}

fn job(kind: Kind, job_id: u32, min_ntime: Option<u32>) -> MiningOwned {
    let (channel_id, version) = (CHANNEL, 0x2000_0000);
    let min_ntime = Sv2OptionOwned::new(min_ntime);
    let merkle_root = [3; 32].into();
    match kind {
        Kind::Standard => MiningOwned::NewMiningJob(NewMiningJobOwned {
            channel_id,
            job_id,
            min_ntime,
            version,
            merkle_root,
        }),
        Kind::Extended => MiningOwned::NewExtendedMiningJob(NewExtendedMiningJobOwned {
            channel_id,
            job_id,
            min_ntime,
            version,
            version_rolling_allowed: true,
            merkle_path: Seq0255Owned::new(vec![[2; 32].into()]).expect("path"),
            coinbase_tx_prefix: vec![1; 50].try_into().expect("prefix"),
            coinbase_tx_suffix: vec![2; 60].try_into().expect("suffix"),
        }),
    }
}

fn tip(job_id: u32, prev: u8, min_ntime: u32) -> MiningOwned {
    MiningOwned::SetNewPrevHash(SetNewPrevHashOwned {
        channel_id: GROUP,
        job_id,
        prev_hash: [prev; 32].into(),
        min_ntime,
        nbits: 0x1d00_ffff,
    })
}

/// Reads until the probe leaves; whether it closed its channel first.
async fn left(mut server: PeerConnection) -> bool {
    match server.recv_mining().await {
        Some(MiningOwned::CloseChannel(m)) => {
            assert_eq!(m.channel_id, CHANNEL);
            assert!(server.recv().await.is_none());
            true
        }
        None => false,
        other => panic!("expected CloseChannel, got {other:?}"),
    }
}

#[tokio::test]
async fn walks_the_whole_way_for_both_kinds() {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    options.kinds = vec![Kind::Standard, Kind::Extended];
    let serve = async {
        for want in [Kind::Standard, Kind::Extended] {
            let (mut server, kind) = grant(&peer).await;
            assert_eq!(kind, want);
            server.send(job(kind, 1, None)).await;
            server.send(tip(1, 0xab, unix_now())).await;
            assert!(left(server).await, "the channel is closed in good order");
        }
    };
    let ((steps, outcome), ()) = tokio::join!(probe(&options), serve);
    assert_eq!(outcome, Ok(()));
    let way = [Stage::Connect, Stage::Handshake, Stage::Certificate, Stage::Setup]
        .into_iter()
        .chain([Stage::Open, Stage::Job]);
    let kinds = [Kind::Standard, Kind::Extended].map(Some);
    let each = kinds.into_iter().flat_map(|kind| way.clone().map(move |stage| (stage, kind)));
    let want: Vec<_> = std::iter::once((Stage::Resolve, None)).chain(each).collect();
    let got: Vec<_> = steps.iter().map(|step| (step.stage, step.channel)).collect();
    assert_eq!(got, want);
    assert!(steps.iter().all(|step| step.notes.is_empty()), "{steps:?}");

    assert_eq!(*fact(&steps[3], "verified"), Fact::Flag(true));
    assert_eq!(*fact(&steps[4], "flags_asked"), Fact::Number(1));
    assert_eq!(*fact(&steps[5], "channel_id"), Fact::Number(CHANNEL.into()));
    let Fact::Fraction(difficulty) = fact(&steps[5], "difficulty") else { panic!("a number") };
    assert!((difficulty - 1.0).abs() < 1e-9);
    assert_eq!(*fact(&steps[6], "prev_hash"), Fact::Text("ab".repeat(32)));
    assert_eq!(*fact(&steps[11], "extranonce_prefix"), Fact::Text("09090909".into()));
    assert_eq!(*fact(&steps[11], "extranonce_size"), Fact::Number(8));
    assert_eq!(*fact(&steps[12], "coinbase_prefix_size"), Fact::Number(50));
    assert_eq!(*fact(&steps[12], "future"), Fact::Flag(true));
}

#[tokio::test]
async fn walks_the_whole_way_without_a_key_and_says_so() {
    let peer = Peer::bind().await;
    let options = options(&format!("stratum2+tcp://localhost:{}", peer.port()));
    let serve = async {
        let (mut server, kind) = grant(&peer).await;
        // An active job, behind a tip that names no job of this channel.
        server.send(tip(77, 0xab, unix_now())).await;
        server.send(job(kind, 1, Some(unix_now() - 10_000))).await;
        left(server).await
    };
    let ((steps, outcome), closed) = tokio::join!(probe(&options), serve);
    assert_eq!(outcome, Ok(()));
    assert!(closed);
    let certificate = &steps[3];
    assert_eq!(*fact(certificate, "verified"), Fact::Flag(false));
    assert!(certificate.text.contains("NOT VERIFIED"), "{certificate:?}");
    assert!(certificate.notes[0].contains("miners type:"), "{certificate:?}");
    let job = &steps[6];
    assert_eq!(*fact(job, "future"), Fact::Flag(false));
    assert!(job.notes[0].contains("behind the clock here"), "{job:?}");
}

async fn names_missing(messages: Vec<MiningOwned>, word: &str) {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    // For the handshake too, which the test computes in a few milliseconds.
    options.timeout = Duration::from_secs(2);
    let serve = async {
        let (mut server, _) = grant(&peer).await;
        for message in messages {
            server.send(message).await;
        }
        left(server).await
    };
    let (failure, _) = tokio::join!(failing(&options, Stage::Job, Cause::NoJob, 16), serve);
    assert!(failure.diagnosis.what.contains(word), "{failure}");
    assert!(failure.diagnosis.why.contains("no block template"), "{failure:?}");
}

#[tokio::test]
async fn names_what_is_missing_when_there_is_no_work() {
    let (future, unfit) = (job(Kind::Extended, 1, None), job(Kind::Standard, 1, None));
    tokio::join!(
        names_missing(vec![], "no job and no SetNewPrevHash came"),
        names_missing(vec![future], "no SetNewPrevHash that starts it"),
        names_missing(vec![unfit, tip(1, 1, 1)], "jobs for standard channels"),
        names_missing(vec![tip(1, 1, 1)], "names job 1, which never came"),
    );
}

#[tokio::test]
async fn names_a_server_that_sends_its_miners_away() {
    let host = || Str0255Owned::try_from(b"other.example".to_vec()).expect("text");
    let reconnect = ReconnectOwned { new_host: host(), new_port: 7 };
    let close = CloseChannelOwned { channel_id: CHANNEL, reason_code: host() };
    let peer = Peer::bind().await;
    let options = options(&url(&peer));
    let fails = |cause| failing(&options, Stage::Job, cause, 16);
    let serve = async {
        let (mut server, _) = grant(&peer).await;
        server.send(CommonMessagesOwned::Reconnect(reconnect)).await;
        left(server).await;
    };
    let (failure, ()) = tokio::join!(fails(Cause::Redirected), serve);
    assert!(failure.diagnosis.what.contains("other.example, port 7"), "{failure}");
    let serve = async {
        let (mut server, _) = grant(&peer).await;
        server.send(MiningOwned::CloseChannel(close)).await;
        left(server).await;
    };
    let (failure, ()) = tokio::join!(fails(Cause::ChannelClosed), serve);
    assert_eq!(failure.diagnosis.code, "other.example");
    let serve = async { drop(grant(&peer).await) };
    tokio::join!(fails(Cause::Closed), serve);
}

#[tokio::test]
async fn waits_for_a_tip_that_is_new() {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    options.wait_tip = Some(LONG);
    let serve = async {
        let (mut server, kind) = grant(&peer).await;
        server.send(job(kind, 1, None)).await;
        server.send(tip(1, 0xab, unix_now())).await;
        // The same block again, and another job on it: not what is waited for.
        server.send(job(kind, 2, Some(unix_now()))).await;
        server.send(job(kind, 3, None)).await;
        server.send(tip(3, 0xab, unix_now())).await;
        server.send(job(kind, 4, None)).await;
        server.send(tip(4, 0xcd, unix_now())).await;
        left(server).await
    };
    let ((steps, outcome), _) = tokio::join!(probe(&options), serve);
    assert_eq!(outcome, Ok(()));
    let last = steps.last().expect("steps");
    assert_eq!(last.stage, Stage::Tip);
    assert_eq!(*fact(last, "job_id"), Fact::Number(4));
    assert_eq!(*fact(last, "prev_hash"), Fact::Text("cd".repeat(32)));
}

#[tokio::test]
async fn names_a_tip_that_does_not_come() {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    options.wait_tip = Some(SHORT);
    let serve = async {
        let (mut server, kind) = grant(&peer).await;
        server.send(job(kind, 1, None)).await;
        server.send(tip(1, 0xab, unix_now())).await;
        left(server).await
    };
    tokio::join!(failing(&options, Stage::Tip, Cause::NoTip, 17), serve);
}
