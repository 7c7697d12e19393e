//! Promises of the client, over loopback TCP against the reference responder.

use std::time::Duration;

use binary_sv2::{Seq0255Owned, Str0255Owned, Sv2OptionOwned};
use common_messages_sv2::{SetupConnectionErrorOwned, SetupConnectionSuccess};
use mining_sv2::{
    NewExtendedMiningJobOwned, OpenExtendedMiningChannelSuccessOwned, OpenMiningChannelErrorOwned,
    OpenStandardMiningChannelSuccessOwned, SetTargetOwned,
};
use parsers_sv2::{CommonMessagesOwned, MiningOwned};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::peer::{short, Peer, PeerConnection};
use super::*;

fn request() -> SetupRequest {
    SetupRequest {
        flags: FLAG_REQUIRES_STANDARD_JOBS,
        endpoint_host: "127.0.0.1".into(),
        endpoint_port: 1,
        vendor: "test".into(),
        hardware_version: String::new(),
        firmware: String::new(),
        device_id: String::new(),
    }
}

fn open_request() -> OpenRequest {
    OpenRequest { user: "worker".into(), nominal_hash_rate: 1e6, max_target: [0xff; 32] }
}

fn set_target(channel_id: u32, byte: u8) -> MiningOwned {
    MiningOwned::SetTarget(SetTargetOwned { channel_id, maximum_target: [byte; 32].into() })
}

/// A connected pair after SetupConnection.
async fn pair() -> (Connection, PeerConnection) {
    let peer = Peer::bind().await;
    let (url, options) = (peer.url(), ConnectOptions::default());
    let client = async {
        let mut connection = Connection::connect(&url, &options).await.expect("connect");
        let accepted = connection.setup(&request()).await.expect("setup");
        assert_eq!(accepted, SetupAccepted { version: 2, flags: 0 });
        connection
    };
    let server = async {
        let mut server = peer.accept().await;
        assert_eq!(server.setup().await, FLAG_REQUIRES_STANDARD_JOBS);
        server
    };
    tokio::join!(client, server)
}

async fn next_target(reader: &mut Reader) -> u8 {
    match reader.next().await.expect("message") {
        Incoming::Mining(MiningOwned::SetTarget(m)) => m.maximum_target.as_bytes()[0],
        other => panic!("expected SetTarget, got {other:?}"),
    }
}

async fn grant_extended(server: &mut PeerConnection, extranonce_size: u16) {
    match server.recv_mining().await {
        Some(MiningOwned::OpenExtendedMiningChannel(m)) => {
            let success = OpenExtendedMiningChannelSuccessOwned {
                request_id: m.request_id,
                channel_id: 3,
                target: [2; 32].into(),
                extranonce_size,
                extranonce_prefix: vec![9; 4].try_into().expect("prefix"),
                group_channel_id: 1,
            };
            server.send(MiningOwned::OpenExtendedMiningChannelSuccess(success)).await;
        }
        other => panic!("expected OpenExtendedMiningChannel, got {other:?}"),
    }
}

#[tokio::test]
async fn opens_both_kinds_and_keeps_what_comes_before_the_answer() {
    let (mut client, mut server) = pair().await;
    let serve = async {
        match server.recv_mining().await {
            Some(MiningOwned::OpenStandardMiningChannel(m)) => {
                assert_eq!(m.user_identity.as_bytes(), b"worker");
                server.send(set_target(8, 1)).await;
                server.send(set_target(8, 2)).await;
                let success = OpenStandardMiningChannelSuccessOwned {
                    request_id: m.request_id,
                    channel_id: 2,
                    target: [1; 32].into(),
                    extranonce_prefix: vec![7; 8].try_into().expect("prefix"),
                    group_channel_id: 1,
                };
                server.send(MiningOwned::OpenStandardMiningChannelSuccess(success)).await;
            }
            other => panic!("expected OpenStandardMiningChannel, got {other:?}"),
        }
        grant_extended(&mut server, 8).await;
        server.send(set_target(8, 3)).await;
    };
    let ask = async {
        let standard = client.open_standard(&open_request()).await.expect("standard");
        assert_eq!((standard.channel_id, standard.target), (2, [1; 32]));
        assert_eq!(standard.extranonce_prefix, [7; 8]);
        let extended = client.open_extended(&open_request(), 6).await.expect("extended");
        assert_eq!((extended.channel_id, extended.extranonce_size), (3, 8));
        let (mut reader, _writer) = client.split();
        for want in 1..=3 {
            assert_eq!(next_target(&mut reader).await, want);
        }
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn connects_from_the_address_it_is_given() {
    let peer = Peer::bind().await;
    let source = [127, 0, 1, 7].into();
    let options = ConnectOptions { source: Some(source), ..ConnectOptions::default() };
    let url = peer.url();
    let (client, server) = tokio::join!(Connection::connect(&url, &options), peer.accept());
    client.expect("connect");
    assert_eq!(server.stream.peer_addr().expect("address").ip(), source);
}

#[tokio::test]
async fn rejects_a_source_that_is_not_of_this_machine_or_of_another_family() {
    let peer = Peer::bind().await;
    for (source, told) in [("192.0.2.1", "address"), ("::1", "no IPv6 address")] {
        let source = Some(source.parse().expect("address"));
        let options = ConnectOptions { source, ..ConnectOptions::default() };
        let error = Connection::connect(&peer.url(), &options).await.expect_err("no such source");
        let ClientError::Connect { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains(told), "{source}");
    }
}

#[tokio::test]
async fn rejects_a_server_of_another_authority() {
    let peer = Peer::bind().await;
    let (url, options) = (peer.url(), ConnectOptions::default());
    let (result, _) =
        tokio::join!(Connection::connect(&url, &options), peer.accept_as([0x55; 32], 0));
    let error = result.expect_err("another authority");
    assert!(matches!(error, ClientError::Certificate(CertificateFault::WrongAuthority)), "{error}");
}

#[tokio::test]
async fn rejects_certificates_outside_their_time() {
    let peer = Peer::bind().await;
    let (url, options) = (peer.url(), ConnectOptions::default());
    for (age, expired) in [(7200, true), (-3600, false)] {
        let (result, _) =
            tokio::join!(Connection::connect(&url, &options), peer.accept_as(peer::SECRET, age));
        match result.expect_err("out of time") {
            ClientError::Certificate(CertificateFault::Expired { not_valid_after, now }) => {
                assert!(expired && not_valid_after < now);
            }
            ClientError::Certificate(CertificateFault::NotYetValid { valid_from, now }) => {
                assert!(!expired && valid_from > now);
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn rejects_an_answer_that_is_no_handshake() {
    let peer = Peer::bind().await;
    let (url, options) = (peer.url(), ConnectOptions::default());
    let serve = async {
        let mut stream = peer.accept_raw().await;
        stream.write_all(&[0x5a; 234]).await.expect("write");
        stream
    };
    let (result, _stream) = tokio::join!(Connection::connect(&url, &options), serve);
    assert!(matches!(result, Err(ClientError::Handshake(_))), "{result:?}");
}

#[tokio::test]
async fn a_silent_or_dripping_server_hits_the_total_deadline() {
    for drip in [false, true] {
        let peer = Peer::bind().await;
        let (url, options) = (peer.url(), short(200));
        let serve = async {
            let mut stream = peer.accept_raw().await;
            while stream.write_all(&[1][..usize::from(drip)]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let result = tokio::select! {
            result = Connection::connect(&url, &options) => result,
            () = serve => panic!("the server never ends first"),
        };
        let stage = Stage::Handshake;
        assert!(
            matches!(result, Err(ClientError::Timeout { stage: s, .. }) if s == stage),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn names_the_stage_in_which_a_server_goes_silent_or_away() {
    let peer = Peer::bind().await;
    let url = peer.url();
    let options = short(5000);
    let (client, server) = tokio::join!(Connection::connect(&url, &options), peer.accept());
    let mut client = client.expect("connect");
    client.options = short(50);
    let error = client.setup(&request()).await.expect_err("silence");
    assert!(matches!(error, ClientError::Timeout { stage: Stage::Setup, .. }), "{error}");
    drop(server);
    let error = client.open_standard(&open_request()).await.expect_err("gone");
    assert!(matches!(error, ClientError::Closed { stage: Stage::Open, .. }), "{error}");

    let port = Peer::bind().await.port();
    let nowhere = url.redirected("", port).expect("url");
    let error = Connection::connect(&nowhere, &options).await.expect_err("nobody listens");
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn hands_on_the_code_of_a_refusal() {
    let peer = Peer::bind().await;
    let (url, options) = (peer.url(), ConnectOptions::default());
    let code = |text: &[u8]| Str0255Owned::try_from(text.to_vec()).expect("code");
    let serve = async {
        let mut server = peer.accept().await;
        server.recv().await;
        let error_code = code(b"unsupported-feature-flags");
        let refusal = SetupConnectionErrorOwned { flags: 6, error_code };
        server.send(CommonMessagesOwned::SetupConnectionError(refusal)).await;
        server
    };
    let (client, _server) = tokio::join!(
        async {
            let mut client = Connection::connect(&url, &options).await.expect("connect");
            client.setup(&request()).await
        },
        serve
    );
    let error = client.expect_err("refused");
    assert!(matches!(&error, ClientError::Refused { code, flags: 6, .. }
        if code == "unsupported-feature-flags"));
    assert!(error.to_string().contains("0x6"), "{error}");

    let (mut client, mut server) = pair().await;
    let serve = async {
        let Some(MiningOwned::OpenStandardMiningChannel(m)) = server.recv_mining().await else {
            panic!("expected OpenStandardMiningChannel");
        };
        let (request_id, error_code) = (m.request_id, code(b"unknown-user\n\x1b[31m"));
        let refusal = OpenMiningChannelErrorOwned { request_id, error_code };
        server.send(MiningOwned::OpenMiningChannelError(refusal)).await;
    };
    let open = open_request();
    let (result, ()) = tokio::join!(client.open_standard(&open), serve);
    let error = result.expect_err("refused");
    assert!(matches!(&error, ClientError::Refused { code, flags: 0, .. }
        if code == "unknown-user\\x0a\\x1b[31m"));
}

#[tokio::test]
async fn rejects_too_few_or_too_many_extranonce_bytes_and_other_versions() {
    for granted in [3, 29] {
        let (mut client, mut server) = pair().await;
        let open = open_request();
        let (result, ()) =
            tokio::join!(client.open_extended(&open, 4), grant_extended(&mut server, granted));
        assert!(matches!(result, Err(ClientError::Protocol(_))), "{result:?}");
    }
    let peer = Peer::bind().await;
    let (url, options) = (peer.url(), ConnectOptions::default());
    let (client, server) = tokio::join!(Connection::connect(&url, &options), peer.accept());
    let (mut client, mut server) = (client.expect("connect"), server);
    let success = SetupConnectionSuccess { used_version: 3, flags: 0 };
    server.send(CommonMessagesOwned::SetupConnectionSuccess(success)).await;
    let error = client.setup(&request()).await.expect_err("version 3");
    assert!(matches!(error, ClientError::Protocol(_)), "{error}");
}

#[tokio::test]
async fn survives_unknown_messages_and_frames_of_many_chunks() {
    let (client, mut server) = pair().await;
    let (mut reader, writer) = client.split();
    let job = MiningOwned::NewExtendedMiningJob(NewExtendedMiningJobOwned {
        channel_id: 3,
        job_id: 1,
        min_ntime: Sv2OptionOwned::new(None),
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0255Owned::new(vec![[1; 32].into()]).expect("path"),
        coinbase_tx_prefix: vec![1; 65_535].try_into().expect("prefix"),
        coinbase_tx_suffix: vec![2; 65_535].try_into().expect("suffix"),
    });
    let unknown = [(0x26, 0, true), (0x71, 0, false), (0x00, 0x4abc, true), (0x15, 1, false)];
    for (kind, extension, bit) in unknown {
        let bytes = server.encode_as(set_target(1, 1), kind, extension, bit);
        server.stream.write_all(&bytes).await.expect("write");
    }
    // The writer runs beside the reader: the job is larger than what sockets buffer.
    let serve = async {
        server.send(job).await;
        server.send(set_target(1, 5)).await;
    };
    let read = async {
        for (kind, extension, _) in unknown {
            match reader.next().await.expect("message") {
                Incoming::Other { extension_type, message_type } => {
                    assert_eq!((message_type, extension_type), (kind, extension));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        match reader.next().await.expect("job") {
            Incoming::Mining(MiningOwned::NewExtendedMiningJob(m)) => {
                assert_eq!(m.coinbase_tx_suffix.as_bytes(), vec![2; 65_535]);
            }
            other => panic!("unexpected {other:?}"),
        }
        assert_eq!(next_target(&mut reader).await, 5);
    };
    tokio::join!(serve, read);
    writer.close().await.expect("close");
    assert!(server.recv().await.is_none());
}

#[tokio::test]
async fn rejects_a_malformed_message_and_a_corrupted_frame() {
    let (client, mut server) = pair().await;
    let (mut reader, _writer) = client.split();
    // SetTarget's payload is too short for NewExtendedMiningJob.
    let bytes = server.encode_as(set_target(1, 1), 0x1f, 0, true);
    server.stream.write_all(&bytes).await.expect("write");
    let error = reader.next().await.expect_err("malformed");
    assert!(matches!(error, ClientError::Protocol(_)), "{error}");

    let mut bytes = server.encode(set_target(1, 1));
    bytes[30] ^= 1;
    server.stream.write_all(&bytes).await.expect("write");
    for _ in 0..2 {
        let error = reader.next().await.expect_err("corrupted");
        assert!(matches!(error, ClientError::Protocol(_)), "{error}");
        // Nothing after a failed decryption is believed.
        let good = server.encode(set_target(1, 2));
        server.stream.write_all(&good).await.expect("write");
    }
}

#[tokio::test]
async fn reading_survives_being_cancelled_in_the_middle_of_a_frame() {
    let (client, mut server) = pair().await;
    let (mut reader, _writer) = client.split();
    let bytes: Vec<u8> = (1..=5).flat_map(|byte| server.encode(set_target(1, byte))).collect();
    let serve = async {
        for piece in bytes.chunks(7) {
            server.stream.write_all(piece).await.expect("write");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let mut cancelled = 0;
    let read = async {
        for want in 1..=5 {
            let got = loop {
                match timeout(Duration::from_millis(1), next_target(&mut reader)).await {
                    Ok(got) => break got,
                    Err(_) => cancelled += 1,
                }
            };
            assert_eq!(got, want);
        }
    };
    tokio::join!(serve, read);
    assert!(cancelled > 0, "nothing was cancelled, so nothing was tried");
}
