//! Stratum V2 servers with something wrong in certificate, setup or the opening of a channel.

use binary_sv2::Str0255Owned;
use common_messages_sv2::{SetupConnectionErrorOwned, SetupConnectionSuccess};
use mining_sv2::{OpenExtendedMiningChannelSuccessOwned, OpenMiningChannelErrorOwned};
use parsers_sv2::{CommonMessagesOwned, MiningOwned};

use super::*;
use crate::client::peer::{PeerConnection, SECRET};
use crate::client::Incoming;
use crate::types::RefuseReason;

/// Another authority than the one in the URL.
const OTHER: [u8; 32] = [0x55; 32];

fn code(text: &str) -> Str0255Owned {
    text.as_bytes().to_vec().try_into().expect("code")
}

/// The next message must be SetupConnection; its flags.
async fn setup_of(server: &mut PeerConnection) -> u32 {
    match server.recv().await {
        Some(Incoming::Common(CommonMessagesOwned::SetupConnection(m))) => m.flags,
        other => panic!("expected SetupConnection, got {other:?}"),
    }
}

/// Without the key.
fn keyless(peer: &Peer) -> String {
    format!("stratum2+tcp://127.0.0.1:{}", peer.port())
}

async fn certificate_fails(
    url: String,
    peer: &Peer,
    by: [u8; 32],
    age: i64,
    cause: Cause,
) -> String {
    let options = options(&url);
    let (failure, _) =
        tokio::join!(failing(&options, Stage::Certificate, cause, 13), peer.accept_as(by, age));
    format!("{:?}", failure.diagnosis)
}

#[tokio::test]
async fn names_a_key_that_did_not_sign_the_certificate() {
    let peer = Peer::bind().await;
    let text = certificate_fails(url(&peer), &peer, OTHER, 0, Cause::WrongAuthority).await;
    assert!(text.contains("not signed by the key in the URL") && !text.contains("out of its time"));
    // The key comes first: the right time would not help.
    let text = certificate_fails(url(&peer), &peer, OTHER, 7200, Cause::WrongAuthority).await;
    assert!(text.contains("out of its time as well"), "{text}");
}

#[tokio::test]
async fn names_a_certificate_out_of_its_time() {
    let peer = Peer::bind().await;
    let text = certificate_fails(url(&peer), &peer, SECRET, 7200, Cause::CertificateExpired).await;
    assert!(text.contains("1 h 0 min ago") && text.contains("the right server"), "{text}");
    let early = Cause::CertificateNotYetValid;
    let text = certificate_fails(url(&peer), &peer, SECRET, -7230, early).await;
    assert!(text.contains("in 2 h 0 min") && text.contains("timedatectl"), "{text}");
    // Without a key the time still counts, and the signature is not said to be good.
    let expired = Cause::CertificateExpired;
    let text = certificate_fails(keyless(&peer), &peer, OTHER, 7200, expired).await;
    assert!(!text.contains("the right server"), "{text}");
}

async fn setup_fails(answer: Option<(&str, u32)>, kind: Kind, cause: Cause) -> Failure {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    options.kinds = vec![kind];
    let serve = async {
        let mut server = peer.accept().await;
        setup_of(&mut server).await;
        if let Some((text, flags)) = answer {
            let error = SetupConnectionErrorOwned { flags, error_code: code(text) };
            server.send(CommonMessagesOwned::SetupConnectionError(error)).await;
        }
    };
    tokio::join!(failing(&options, Stage::Setup, cause, 14), serve).0
}

#[tokio::test]
async fn explains_each_refusal_of_setup() {
    for (text, flags, kind, word) in [
        ("unsupported-feature-flags", 1, Kind::Standard, "--extended"),
        ("unsupported-feature-flags", 1, Kind::Extended, "the server's fault"),
        ("unsupported-protocol", 0, Kind::Standard, "mining port"),
        ("protocol-version-mismatch", 0, Kind::Standard, "version 2"),
        ("closed-on-sundays", 0, Kind::Standard, "the server's own"),
    ] {
        let failure = setup_fails(Some((text, flags)), kind, Cause::SetupRefused).await;
        assert_eq!(failure.diagnosis.code, text);
        assert!(format!("{failure:?}").contains(word), "{failure:?}");
    }
    let failure = setup_fails(None, Kind::Standard, Cause::Closed).await;
    assert!(failure.diagnosis.what.contains("SetupConnection"), "{failure}");
}

#[tokio::test]
async fn names_a_server_that_does_not_answer_setup() {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    // For the handshake too, which the test computes in a few milliseconds.
    options.timeout = Duration::from_secs(2);
    let serve = async {
        let mut server = peer.accept().await;
        while server.recv().await.is_some() {}
    };
    tokio::join!(failing(&options, Stage::Setup, Cause::NoAnswer, 14), serve);
}

#[tokio::test]
async fn names_a_version_that_was_not_offered() {
    let peer = Peer::bind().await;
    let options = options(&url(&peer));
    let serve = async {
        let mut server = peer.accept().await;
        setup_of(&mut server).await;
        let success = SetupConnectionSuccess { used_version: 3, flags: 0 };
        server.send(CommonMessagesOwned::SetupConnectionSuccess(success)).await;
        while server.recv().await.is_some() {}
    };
    tokio::join!(failing(&options, Stage::Setup, Cause::ProtocolBroken, 14), serve);
}

async fn open_fails(text: &str, options: &ProbeOptions, peer: &Peer) -> Failure {
    let serve = async {
        let mut server = peer.accept().await;
        server.setup().await;
        let Some(MiningOwned::OpenExtendedMiningChannel(m)) = server.recv_mining().await else {
            panic!("expected an opening")
        };
        assert_eq!(m.user_identity.as_bytes(), options.user.as_bytes());
        let error =
            OpenMiningChannelErrorOwned { request_id: m.request_id, error_code: code(text) };
        server.send(MiningOwned::OpenMiningChannelError(error)).await;
        while server.recv().await.is_some() {}
    };
    tokio::join!(failing(options, Stage::Open, Cause::OpenRefused, 15), serve).0
}

#[tokio::test]
async fn explains_each_refusal_of_a_channel() {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    options.user = "nobody".into();
    for reason in RefuseReason::ALL {
        let failure = open_fails(reason.as_str(), &options, &peer).await;
        assert_eq!(failure.diagnosis.code, reason.as_str());
        assert!(failure.diagnosis.what.contains("\"nobody\""), "{failure}");
    }
    for (text, word) in [
        ("unknown-user", "--user"),
        ("max-target-out-of-range", "difficulty"),
        ("backend-unavailable", "link from it to the pool is down"),
        ("shut\x1b[2J", "shut\\\\x1b[2J"),
    ] {
        let failure = open_fails(text, &options, &peer).await;
        assert!(format!("{failure:?}").contains(word), "{failure:?}");
    }
}

#[tokio::test]
async fn names_the_pool_when_the_opening_is_not_answered() {
    let peer = Peer::bind().await;
    let mut options = options(&url(&peer));
    options.timeout = Duration::from_secs(2);
    let serve = async {
        let mut server = peer.accept().await;
        server.setup().await;
        while server.recv().await.is_some() {}
    };
    let (failure, ()) = tokio::join!(failing(&options, Stage::Open, Cause::NoAnswer, 15), serve);
    assert!(failure.diagnosis.why.contains("the pool does not answer"), "{failure:?}");
    assert!(failure.diagnosis.remedy.contains("link to the pool"), "{failure:?}");
}

#[tokio::test]
async fn names_a_channel_that_is_not_what_was_asked_for() {
    let peer = Peer::bind().await;
    let options = options(&url(&peer));
    let serve = async {
        let mut server = peer.accept().await;
        server.setup().await;
        let Some(MiningOwned::OpenExtendedMiningChannel(m)) = server.recv_mining().await else {
            panic!("expected an opening")
        };
        let success = OpenExtendedMiningChannelSuccessOwned {
            request_id: m.request_id,
            channel_id: 1,
            target: [0xff; 32].into(),
            extranonce_size: m.min_extranonce_size - 1,
            extranonce_prefix: vec![1; 4].try_into().expect("prefix"),
            group_channel_id: 0,
        };
        server.send(MiningOwned::OpenExtendedMiningChannelSuccess(success)).await;
        while server.recv().await.is_some() {}
    };
    let failing = failing(&options, Stage::Open, Cause::ProtocolBroken, 15);
    let (failure, ()) = tokio::join!(failing, serve);
    assert!(failure.diagnosis.what.contains("3 extranonce bytes"), "{failure}");
}
