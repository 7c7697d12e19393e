//! Peers that break the rules: closed or answered, and nobody else notices.

use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use binary_sv2::{Str0255Owned, U256Owned};
use gopool_sv2::client::{ConnectOptions, Connection};
use gopool_sv2::miner::{self, ChannelKind};
use gopool_sv2_tests::attacker::{socket, Attacker};
use gopool_sv2_tests::{Line, LineOptions};
use mining_sv2::OpenExtendedMiningChannelOwned;
use parsers_sv2::MiningOwned;

use crate::block_on;
use crate::peer::setup;

fn closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

/// Everything that ends a connection, one after the other.
fn attack(line: &Line) {
    // Before the handshake.
    let half = socket(line);
    half.shutdown(Shutdown::Write).unwrap();
    closed(half);
    let mut short = socket(line);
    short.write_all(&[0xff; 63]).unwrap();
    short.shutdown(Shutdown::Write).unwrap();
    closed(short);
    // 64 bytes of anything are a key: it shows with the first frame.
    let mut garbage = socket(line);
    garbage.write_all(&[0xaa; 64]).unwrap();
    garbage.read_exact(&mut [0; 234]).unwrap();
    garbage.write_all(&[0x55; 4096]).unwrap();
    closed(garbage);
    let mut http = socket(line);
    http.write_all(
        format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "x".repeat(90)).as_bytes(),
    )
    .unwrap();
    closed(http);

    // Wrong MAC behind a good handshake.
    let mut forged = Attacker::new(line);
    forged.socket.write_all(&[0; 22]).unwrap();
    assert!(forged.until_closed().is_empty());
    // Not a SetupConnection first.
    assert!(Attacker::new(line).send(0, 0x13, &[0; 60]).until_closed().is_empty());
    // Longer than any SetupConnection.
    assert!(Attacker::new(line).send(0, 0, &[0; 4000]).until_closed().is_empty());
    // Truncated SetupConnection: a length that says more than there is.
    let refused = Attacker::new(line).send(0, 0, &[0, 2, 0, 2, 0, 0, 0, 0, 0, 255]).until_closed();
    assert_eq!(refused[0].0, 0x02);
    assert!(refused[0].1.ends_with(b"invalid-setup-connection"));
    // Unknown protocol, unsupported flags: the Error arrives before the close.
    let refused = Attacker::new(line)
        .send(0, 0, &[9, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .until_closed();
    assert_eq!(refused[0].0, 0x02);
    assert!(refused[0].1.ends_with(b"unsupported-protocol"));
    let refused = Attacker::new(line)
        .send(0, 0, &[0, 2, 0, 2, 0, 2, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0])
        .until_closed();
    assert_eq!(refused[0].1[..4], 0xffff_fffa_u32.to_le_bytes());
    // Known messages that don't parse, after a good setup.
    for (extension, kind) in [(0x8000, 0x1b), (0x8000, 0x1a), (0, 0x13), (0x8000, 0x16), (1, 0)] {
        let frames = Attacker::new(line).set_up().send(extension, kind, &[1, 2]).until_closed();
        assert_eq!(frames.len(), 1, "only SetupConnection.Success: {frames:?}");
    }
    // A frame longer than any message of a miner.
    let frames = Attacker::new(line).set_up().send(0, 0x13, &vec![0; 100_000]).until_closed();
    assert_eq!(frames.len(), 1);
}

#[test]
fn hostile_peers_end_alone() {
    let mut line = Line::start(LineOptions {
        minipool: vec!["-share-seconds".into(), "0.1".into()],
        ..LineOptions::default()
    })
    .unwrap();
    // A miner that notices nothing of what goes on beside it.
    let mut bystander = line.miner("bystander").unwrap();
    bystander.kind = ChannelKind::Standard;
    bystander.reconnect = false;
    bystander.share_limit = Some(60);
    let summary = block_on(async {
        let mining = tokio::spawn(miner::run(bystander, pending()));
        let line = &line;
        tokio::task::block_in_place(|| {
            for _ in 0..3 {
                attack(line);
            }
        });
        mining.await.unwrap().expect("the bystander mines on one connection")
    });
    assert_eq!((summary.connects, summary.unanswered), (1, 0), "{summary}");
    assert!(summary.accepted > 0, "{summary}");
    assert!(line.sidecar.is_running());
    let log = line.sidecar.log();
    assert!(!log.contains("panicked"), "{log}");
    line.stop().unwrap();
}

#[test]
fn unknown_messages_are_ignored() {
    let line = Line::start(LineOptions::default()).unwrap();
    let mut peer = Attacker::new(&line);
    peer.set_up();
    for (extension, kind) in
        [(0, 0x1e), (0, 0x26), (0, 0xff), (0, 0x50), (0, 0x70), (0x4abc, 1), (0xcabc, 1), (1, 0x7f)]
    {
        peer.send(extension, kind, &[0; 40]);
    }
    // Still there: extensions are refused by the book (request 7: none of 3 and 4 is supported).
    peer.send(1, 0, &[7, 0, 2, 0, 3, 0, 4, 0]);
    peer.socket.shutdown(Shutdown::Write).unwrap();
    let frames = peer.until_closed();
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!(frames[1], (2, vec![7, 0, 2, 0, 3, 0, 4, 0, 0, 0]));
    line.stop().unwrap();
}

#[test]
fn hostile_user_identities_are_opaque_and_harmless() {
    let line = Line::start(LineOptions::default()).unwrap();
    let good = line.address.clone();
    let mut names: Vec<Vec<u8>> = vec![
        vec![],
        b"\n{\"event\":\"verdict\"}".to_vec(),
        b"\0\0\0".to_vec(),
        b"'\"; DROP TABLE shares; --".to_vec(),
        vec![0xff; 255],
        (0..=254).collect(),
    ];
    // A good address with a hostile worker name: opened, and carried as it is.
    names.push([good.as_bytes(), b".\n\0\"\\\xff"].concat());
    let opened = block_on(async {
        let url = line.pool_url().unwrap();
        let mut opened = 0;
        for (index, name) in names.iter().enumerate() {
            let mut connection =
                Connection::connect(&url, &ConnectOptions::default()).await.unwrap();
            connection.setup(&setup()).await.unwrap();
            let (mut reader, mut writer) = connection.split();
            let open = OpenExtendedMiningChannelOwned {
                request_id: 1,
                user_identity: Str0255Owned::new(name.clone()).unwrap(),
                nominal_hash_rate: 1.0,
                max_target: U256Owned::from([0xff; 32]),
                min_extranonce_size: 4,
            };
            writer.send(MiningOwned::OpenExtendedMiningChannel(open)).await.unwrap();
            match reader.next().await.unwrap() {
                gopool_sv2::client::Incoming::Mining(
                    MiningOwned::OpenExtendedMiningChannelSuccess(_),
                ) => opened += 1,
                gopool_sv2::client::Incoming::Mining(MiningOwned::OpenMiningChannelError(e)) => {
                    let code = String::from_utf8_lossy(e.error_code.as_bytes()).into_owned();
                    let known = ["unknown-user", "invalid-user-identity"];
                    assert!(known.contains(&code.as_str()), "{code}");
                    assert!(index + 1 < names.len(), "the good address is refused: {code}");
                }
                other => panic!("{other:?}"),
            }
        }
        opened
    });
    assert_eq!(opened, 1, "only the good address");
    for log in [line.sidecar.log(), line.pool_process().log()] {
        assert!(!log.contains('\0'), "raw bytes in a log");
        assert!(!log.lines().any(|l| l.starts_with("{\"event\":\"verdict\"}")), "a forged line");
    }
    let stopped = line.stop().unwrap();
    stopped.books("sidecar").unwrap();
    stopped.books("minipool").unwrap();
}

#[test]
fn memory_stays_bounded_under_half_open_connections() {
    let mut line = Line::start(LineOptions {
        limits: "handshake_timeout_ms = 3000\nsetup_timeout_ms = 3000".into(),
        ..LineOptions::default()
    })
    .unwrap();
    let before = line.sidecar.resident_kib();
    let silent: Vec<_> = (0..300).map(|_| socket(&line)).collect();
    let idle: Vec<_> = (0..100).map(|_| Attacker::new(&line)).collect();
    let during = line.sidecar.resident_kib();
    assert!(during < before + 64 * 1024, "{before} KiB, then {during} KiB");
    // Both deadlines close them without a word.
    silent.into_iter().for_each(closed);
    for mut attacker in idle {
        assert!(attacker.until_closed().is_empty());
    }
    assert!(line.sidecar.is_running());
    line.stop().unwrap();
}
