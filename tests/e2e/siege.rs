//! A siege: every cheap way to do harm at once, from many addresses, while honest miners mine.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use gopool_sv2::miner;
use gopool_sv2_tests::{Line, LineOptions};
use socket2::SockRef;
use tokio::sync::watch;

use crate::attacker::{socket_from, Attacker};
use crate::{abuse, block_on};

/// Memory that may still be held when the siege is over, in KiB.
const LEFT_KIB: u64 = 64 * 1024;
/// How long connections that are to be closed are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many of each.
struct Siege {
    miners: u8,
    silent: u16,
    slow: u16,
    holders: u16,
    opens: u32,
    bad_shares: u32,
    deaf: u16,
    /// Round trips measured in peace and in the siege; 0: none.
    samples: u32,
}

/// The `index`-th address of a group of attackers.
const fn address(group: u8, index: u16) -> [u8; 4] {
    let [high, low] = (index + 1).to_be_bytes();
    [127, 2 + high, low, 1 + group]
}

fn attacker(line: &Line, group: u8, index: u16) -> Attacker {
    let socket = socket_from(line, address(group, index));
    // One that is not read from any more is left to its fate.
    socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    Attacker::on(socket)
}

/// Reads and drops what comes until the listener closes.
fn closed(mut socket: &TcpStream) {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = [0; 4096];
    loop {
        match socket.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => assert!(Instant::now() < deadline, "not closed"),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

/// One byte now and then, until the listener closes.
fn drip(mut socket: &TcpStream, byte: u8) {
    let deadline = Instant::now() + PATIENCE;
    while socket.write_all(&[byte]).is_ok() {
        assert!(Instant::now() < deadline, "not closed");
        sleep(Duration::from_millis(200));
    }
}

/// Connections that say nothing, before and after the handshake.
fn silent(line: &Line, siege: &Siege) {
    let sockets: Vec<_> =
        (0..siege.silent).map(|index| socket_from(line, address(0, index))).collect();
    let peers: Vec<_> = (0..siege.slow).map(|index| attacker(line, 1, index)).collect();
    sockets.iter().for_each(closed);
    peers.iter().for_each(|peer| closed(&peer.socket));
}

/// A byte at a time: in the handshake, in SetupConnection, and in a frame after it.
fn slow(line: &Line, siege: &Siege) {
    thread::scope(|scope| {
        for index in 0..siege.slow {
            let bare = move || drip(&socket_from(line, address(2, index)), 0x55);
            scope.spawn(bare);
            scope.spawn(move || {
                let peer = attacker(line, 3, index);
                // Fewer bytes than a header has, or it would fail before its time.
                (&peer.socket).write_all(&[1; 10]).unwrap();
                closed(&peer.socket);
            });
            scope.spawn(move || {
                let mut peer = attacker(line, 4, index);
                peer.set_up().open(&line.address);
                (&peer.socket).write_all(&[1; 10]).unwrap();
                closed(&peer.socket);
            });
        }
    });
}

/// Long frames: of types that are never long, closed before their payload; and of unknown types,
/// held just before their end.
fn holders(line: &Line, siege: &Siege) {
    let mut held = Vec::new();
    for index in 0..siege.holders {
        let mut peer = attacker(line, 5, index);
        peer.set_up().send_part(0, 0x13, 16_000_000, 22);
        closed(&peer.socket);
        let mut peer = attacker(line, 6, index);
        peer.set_up().send_part(0, 0x7f, 65_000, 60_000);
        held.push(peer);
    }
    held.iter().for_each(|peer| closed(&peer.socket));
}

/// Opens, and nothing else: some are granted, and the rest is refused.
fn opens(line: &Line, siege: &Siege) {
    let mut peer = attacker(line, 7, 0);
    peer.set_up();
    for request in 0..siege.opens {
        peer.send_open(request, &line.address);
    }
    let mut kinds = BTreeSet::new();
    while !(kinds.contains(&0x12) && kinds.contains(&0x14)) {
        kinds.insert(peer.next().0);
    }
}

/// Shares that are no work, as fast as they are taken: closed after a while.
fn bad_shares(line: &Line, siege: &Siege) {
    let mut peer = attacker(line, 7, 1);
    peer.set_up().open(&line.address);
    for sequence in 1..=siege.bad_shares {
        peer.junk(sequence, abuse::now());
    }
    let errors = peer.until_closed().iter().filter(|(kind, _)| *kind == 0x1d).count();
    assert!(errors > 100, "{errors} answers before the close");
}

/// Peers that ask for long answers and read none.
fn deaf(line: &Line, siege: &Siege) {
    // All distinct, none supported: each comes back in the answer.
    let extensions = 3..=u16::MAX;
    let count = u16::try_from(extensions.len()).unwrap();
    let mut list = vec![7, 0];
    list.extend(count.to_le_bytes());
    list.extend(extensions.flat_map(u16::to_le_bytes));
    let ask = &|index| {
        let mut peer = attacker(line, 8, index);
        // Or the system would take megabytes in its place.
        SockRef::from(&peer.socket).set_recv_buffer_size(16 * 1024).unwrap();
        peer.set_up();
        for _ in 0..100 {
            peer.send(1, 0, &list);
        }
        peer
    };
    let peers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..siege.deaf).map(|index| scope.spawn(move || ask(index))).collect();
        asking.into_iter().map(|peer| peer.join().unwrap()).collect()
    });
    // They still don't read: the listener has to end it.
    let deadline = Instant::now() + PATIENCE;
    while line.sidecar.log().matches("slow-reader").count() < peers.len() {
        assert!(Instant::now() < deadline, "not closed:\n{}", line.sidecar.log());
        sleep(Duration::from_millis(100));
    }
}

/// The 99th percentile of a share's way to the pool and back.
fn p99(line: &Line, samples: u32) -> Option<Duration> {
    if samples == 0 {
        return None;
    }
    let mut times = Vec::new();
    let mut peer = attacker(line, 9, 0);
    peer.set_up().open(&line.address);
    for sequence in 1..=samples {
        let begun = Instant::now();
        peer.junk(sequence, abuse::now());
        while peer.next().0 != 0x1d {}
        times.push(begun.elapsed());
        sleep(Duration::from_millis(80));
    }
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied()
}

fn run(siege: &Siege) {
    let mut line = Line::start(LineOptions {
        // No block in hours, so that no share is stale.
        network_bits: "1c010000",
        minipool: vec!["-share-seconds".into(), "0.3".into()],
        listen: "connections_per_sec_per_address = 1000".into(),
        limits: "handshake_timeout_ms = 3000\nsetup_timeout_ms = 3000\nframe_timeout_ms = 3000\n\
                 write_stall_ms = 3000"
            .into(),
        ..LineOptions::default()
    })
    .unwrap();
    let (finish, finished) = watch::channel(false);
    let miners: Vec<_> = (0..siege.miners)
        .map(|number| {
            let mut options = line.miner(&format!("honest{number}")).unwrap();
            options.reconnect = false;
            options
        })
        .collect();
    block_on(async {
        let mining: Vec<_> = miners
            .into_iter()
            .map(|options| {
                let mut finished = finished.clone();
                tokio::spawn(miner::run(options, async move {
                    let _ = finished.wait_for(|finished| *finished).await;
                }))
            })
            .collect();
        tokio::task::block_in_place(|| {
            line.sidecar.wait_for_nth("channel opened", usize::from(siege.miners)).unwrap();
            let peace = p99(&line, siege.samples);
            let before = line.sidecar.resident_kib();
            let war = attack(&line, siege);
            for cause in ["handshake failed", "setup-deadline", "frame-deadline", "bad-frame"] {
                line.sidecar.wait_for(cause).unwrap();
            }
            line.sidecar.wait_for("bad-shares").unwrap();
            let deadline = Instant::now() + PATIENCE;
            while line.sidecar.resident_kib() > before + LEFT_KIB {
                let held = line.sidecar.resident_kib();
                assert!(Instant::now() < deadline, "{held} KiB after {before} KiB");
                sleep(Duration::from_millis(100));
            }
            let after = line.sidecar.resident_kib();
            report(&format!("resident: {before} KiB before, {after} KiB after"));
            if let (Some(peace), Some(war)) = (peace, war) {
                let ratio = war.as_secs_f64() / peace.as_secs_f64();
                report(&format!("p99 of a round trip: {peace:?}, besieged {war:?}: x {ratio:.2}"));
            }
        });
        finish.send(true).unwrap();
        for miner in mining {
            let summary = miner.await.unwrap().unwrap();
            assert_eq!((summary.connects, summary.unanswered), (1, 0), "{summary}");
            assert_eq!(summary.submitted, summary.accepted, "{summary}");
            assert!(summary.accepted > 0, "{summary}");
        }
    });
    let log = line.sidecar.log();
    assert!(!log.contains("panicked") && !log.contains("the link broke"), "{log}");
    line.stop().unwrap();
}

/// Figures for whoever runs this by hand.
#[allow(clippy::print_stdout)]
fn report(text: &str) {
    println!("{text}");
}

/// All at once; gives the p99 meanwhile.
fn attack(line: &Line, siege: &Siege) -> Option<Duration> {
    thread::scope(|scope| {
        for attack in [silent, slow, holders, opens, bad_shares, deaf] {
            scope.spawn(move || attack(line, siege));
        }
        p99(line, siege.samples)
    })
}

#[test]
fn fr_13_honest_miners_notice_nothing_of_a_siege() {
    run(&Siege {
        miners: 2,
        silent: 40,
        slow: 3,
        holders: 5,
        opens: 500,
        bad_shares: 2_000,
        deaf: 2,
        samples: 0,
    });
}

/// By hand, or with `make test-full`: it takes the machine for itself for a minute.
#[test]
#[ignore = "long: make test-full runs it"]
fn fr_13_fifty_honest_miners_notice_nothing_of_a_long_siege() {
    run(&Siege {
        miners: 50,
        silent: 1_000,
        slow: 30,
        holders: 50,
        opens: 5_000,
        bad_shares: 10_000,
        deaf: 10,
        samples: 300,
    });
}
