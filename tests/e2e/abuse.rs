//! Peers that keep to the letter and still want to do harm, and surroundings that break.

use std::fs::OpenOptions;
use std::future::pending;
use std::io::Write as _;
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gopool_sv2::miner;
use gopool_sv2_tests::attacker::{socket, Attacker};
use gopool_sv2_tests::fake_mint::HeldAddress;
use gopool_sv2_tests::{binaries, Line, LineOptions};
use socket2::SockRef;

use crate::block_on;

/// The clock, in unix seconds.
pub fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}

#[test]
fn a_half_closed_connection_still_gets_its_answers() {
    let line = Line::start(LineOptions::default()).unwrap();
    let mut peer = Attacker::new(&line);
    peer.set_up().open(&line.address);
    for sequence in 1..=50 {
        peer.junk(sequence, now());
    }
    peer.socket.shutdown(Shutdown::Write).unwrap();
    let answers = peer.until_closed();
    let errors: Vec<u32> = answers
        .iter()
        .filter(|(kind, _)| *kind == 0x1d)
        .map(|(_, payload)| u32::from_le_bytes(payload[4..8].try_into().unwrap()))
        .collect();
    // At this difficulty none of 50 nonces is a share but by a miracle.
    assert_eq!(errors, (1..=50).collect::<Vec<_>>());
    line.stop().unwrap();
}

#[test]
fn junk_on_channels_that_close_costs_the_others_nothing() {
    let line = Line::start(LineOptions {
        // Hardly ever a block, so that no share of the honest one is stale.
        network_bits: "1d100000",
        minipool: vec!["-share-seconds".into(), "0.1".into()],
        limits: "max_in_flight = 64\nmax_in_flight_per_connection = 64".into(),
        ..LineOptions::default()
    })
    .unwrap();
    // Far more than fit in flight, and none waits for its verdicts.
    for _ in 0..20 {
        let mut peer = Attacker::new(&line);
        peer.set_up().open(&line.address);
        for sequence in 1..=64 {
            peer.junk(sequence, now());
        }
        // CloseChannel(1, ""): the verdicts have nobody to go to.
        peer.send(0x8000, 0x18, &[1, 0, 0, 0, 0]);
    }
    let mut honest = line.miner("honest").unwrap();
    honest.share_limit = Some(30);
    let summary = block_on(miner::run(honest, pending())).unwrap();
    assert_eq!((summary.accepted, summary.unanswered), (30, 0), "{summary}");
    let log = line.sidecar.log();
    assert!(!log.contains("the link broke"), "{log}");
    line.stop().unwrap();
}

#[test]
fn peers_that_ask_and_never_read_hold_little_memory() {
    const PEERS: u64 = 8;
    const EACH_KIB: u64 = 512;
    let line = Line::start(LineOptions::default()).unwrap();
    // A first one, for what is allocated once.
    Attacker::new(&line).set_up().open(&line.address);
    let before = line.sidecar.resident_kib();
    // UpdateChannel of no channel: each is answered.
    let update = [9; 4 + 4 + 32];
    let ask = || {
        let mut peer = Attacker::new(&line);
        SockRef::from(&peer.socket).set_recv_buffer_size(16 * 1024).unwrap();
        peer.set_up();
        peer.socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut asked = 0;
        loop {
            let frames: Vec<u8> =
                (0..500).flat_map(|_| peer.seal(0x8000, 0x16, &update, update.len())).collect();
            if peer.socket.write_all(&frames).is_err() {
                return (peer, asked);
            }
            asked += 500;
        }
    };
    let peers: Vec<_> = thread::scope(|scope| {
        let peers: Vec<_> = (0..PEERS).map(|_| scope.spawn(ask)).collect();
        peers.into_iter().map(|peer| peer.join().unwrap()).collect()
    });
    let asked: u64 = peers.iter().map(|(_, asked)| asked).sum();
    let grown = line.sidecar.resident_kib().saturating_sub(before);
    assert!(grown < PEERS * EACH_KIB, "{grown} KiB for {PEERS} peers that asked {asked} times");
    drop(peers);
    line.stop().unwrap();
}

#[test]
fn a_frame_that_never_ends_is_closed() {
    let mut line = Line::start(LineOptions {
        limits: "frame_timeout_ms = 1000".into(),
        ..LineOptions::default()
    })
    .unwrap();
    let mut peer = Attacker::new(&line);
    peer.set_up().open(&line.address);
    // Part of a header.
    peer.socket.write_all(&[1; 10]).unwrap();
    peer.until_closed();
    drop(peer);
    line.sidecar.wait_for("frame-deadline").unwrap();
    line.stop().unwrap();
}

#[test]
fn strangers_in_the_handshake_do_not_hold_up_the_stop() {
    let line = Line::start(LineOptions {
        limits: "handshake_timeout_ms = 600000".into(),
        ..LineOptions::default()
    })
    .unwrap();
    let silent = socket(&line);
    // The harness gives up on a process that does not stop.
    line.stop().unwrap();
    drop(silent);
}

#[test]
fn survives_a_log_that_can_not_be_written() {
    let line = Line::start(LineOptions::default()).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let config = line.path("second.toml");
    let text = std::fs::read_to_string(line.path("sidecar.toml")).unwrap();
    let second = line.path("second.journal");
    let held = HeldAddress::take().unwrap();
    let port = held.get().port();
    let text = text
        .replace("sidecar.journal", "second.journal")
        .replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))
        .replace("[pool]\n", "[pool]\nsidecar_id = \"second\"\n");
    std::fs::write(&config, text).unwrap();
    let mut child = Command::new(&binaries().unwrap().sidecar)
        .args(["serve", "--config"])
        .arg(&config)
        .stderr(Stdio::from(full))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut options = line.miner("unlogged").unwrap();
    let url = line.url.replacen(
        &format!(":{}/", line.pool_url().unwrap().port()),
        &format!(":{port}/"),
        1,
    );
    options.url = url.parse().unwrap();
    options.share_limit = Some(3);
    let summary = block_on(miner::run(options, pending())).unwrap();
    assert_eq!(summary.accepted, 3, "{summary}");
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(std::fs::read_to_string(second).unwrap().contains("\"closed\""));
    line.stop().unwrap();
}
