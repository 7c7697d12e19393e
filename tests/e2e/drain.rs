//! The sidecar stops, and another takes its place.

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::Duration;

use common_messages_sv2::ReconnectOwned;
use gopool_sv2::client::{ClientError, Incoming};
use gopool_sv2::miner::{self, ChannelKind};
use gopool_sv2_tests::attacker::Attacker;
use gopool_sv2_tests::{binaries, Line, LineOptions, Process};
use parsers_sv2::CommonMessagesOwned;
use rustix::io::{fcntl_getfd, fcntl_setfd, FdFlags};

use crate::abuse::now;
use crate::block_on;
use crate::peer::Peer;

/// Reads until Reconnect comes, and then to the end, which must be an orderly one.
pub async fn hears_reconnect(peer: &mut Peer) -> ReconnectOwned {
    let told = loop {
        let next = peer.next().await.expect("a Reconnect before the end");
        if let Incoming::Common(CommonMessagesOwned::Reconnect(told)) = next {
            break told;
        }
    };
    loop {
        match peer.next().await {
            Err(ClientError::Closed { source: None, .. }) => return told,
            // Work goes on until the miner has heard of it.
            Ok(Incoming::Mining(_)) => {}
            other => panic!("no miner is told twice: {other:?}"),
        }
    }
}

#[test]
fn shares_that_are_sent_before_the_miner_heeds_a_reconnect_are_judged() {
    let line = Line::start(LineOptions::default()).unwrap();
    let mut peer = Attacker::new(&line);
    peer.set_up().open(&line.address);
    line.sidecar.signal("TERM").unwrap();
    while peer.next_frame().0 != 0x04 {}
    for sequence in 1..=20 {
        peer.junk(sequence, now());
    }
    peer.socket.shutdown(Shutdown::Write).unwrap();
    let answers = peer.until_closed();
    let reasons: Vec<_> = answers.iter().filter(|(kind, _)| *kind == 0x1d).collect();
    assert_eq!(reasons.len(), 20, "{answers:?}");
    // By the pool: none is a share but by a miracle.
    let judged = |payload: &[u8]| payload.ends_with(b"difficulty-too-low");
    assert!(reasons.iter().all(|(_, payload)| judged(payload)), "{answers:?}");
    let mut line = line;
    assert!(line.sidecar.wait().unwrap().success());
    assert!(line.pool.take().unwrap().stop().unwrap().success());
}

#[test]
fn a_stop_tells_every_miner_to_reconnect_and_exits_0() {
    let line = Line::start(LineOptions::default()).unwrap();
    block_on(async {
        let (mut one, _) = Peer::mining(&line, "one").await.unwrap();
        let (mut other, _) = Peer::mining(&line, "other").await.unwrap();
        line.sidecar.signal("TERM").unwrap();
        for peer in [&mut one, &mut other] {
            let told = hears_reconnect(peer).await;
            assert_eq!((told.new_host.as_bytes().len(), told.new_port), (0, 0), "the same place");
        }
    });
    let mut line = line;
    assert!(line.sidecar.wait().unwrap().success());
    let pool = line.pool.take().unwrap();
    assert!(!pool.log().contains("session ended"), "the pool knows that it stopped");
    assert!(pool.stop().unwrap().success());
}

/// A sidecar on a socket that stays open when it goes.
fn sidecar_on(line: &Line, socket: &TcpListener, name: &str) -> Process {
    let config = fs::read_to_string(line.path("sidecar.toml")).unwrap();
    let address = format!("address = \"{}\"", socket.local_addr().unwrap());
    let config = config
        .replace("address = \"127.0.0.1:0\"", &address)
        .replace("[pool]\n", &format!("[pool]\nsidecar_id = \"{name}\"\n"))
        .replace("sidecar.journal", &format!("{name}.journal"));
    let path = line.path(&format!("{name}.toml"));
    fs::write(&path, config).unwrap();
    let mut command = Command::new("bash");
    let program = "exec 3<&\"$1\"; shift; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    command.args(["-c", program, "bash", &socket.as_raw_fd().to_string()]);
    command.arg(&binaries().unwrap().sidecar).args(["serve", "--config"]).arg(path);
    let mut process = Process::start(name, &line.path(""), &mut command).unwrap();
    process.wait_for("link to the pool is up").unwrap();
    process
}

#[test]
fn an_upgrade_never_closes_the_port() {
    let minipool = vec!["-share-seconds".into(), "0.05".into()];
    let line = Line::start(LineOptions { minipool, ..LineOptions::default() }).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let flags = fcntl_getfd(&socket).unwrap();
    fcntl_setfd(&socket, flags - FdFlags::CLOEXEC).unwrap();
    let address = socket.local_addr().unwrap();

    let first = sidecar_on(&line, &socket, "first");
    let mut miner = line.miner("miner").unwrap();
    miner.kind = ChannelKind::Extended;
    miner.status_interval = Duration::from_millis(200);
    let url = line.url.replace(&format!(":{}/", line.port()), &format!(":{}/", address.port()));
    miner.url = url.parse().unwrap();
    let heard = || line.books("miner").map(|books| books.accepted()).unwrap_or_default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let summary = block_on(async {
        let mining = tokio::spawn(miner::run(miner, async {
            let _ = stopped.await;
        }));
        let more = async |count: u64| {
            let before = heard();
            for _ in 0..1200 {
                if heard() >= before + count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("no share accepted within a minute");
        };
        more(3).await;
        first.signal("TERM").unwrap();
        let mut first = first;
        assert!(first.wait().unwrap().success());
        // Nobody serves it, and yet it takes who comes.
        drop(TcpStream::connect(address).unwrap());
        let second = sidecar_on(&line, &socket, "second");
        more(3).await;
        stop.send(()).unwrap();
        let summary = mining.await.unwrap().unwrap();
        assert!(second.stop().unwrap().success());
        summary
    });
    assert!(summary.connects >= 2 && summary.accepted >= 6, "{summary}");
    line.stop().unwrap();
}

#[test]
fn rejects_a_socket_that_listens_elsewhere() {
    let line = Line::start(LineOptions::default()).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    fcntl_setfd(&socket, FdFlags::empty()).unwrap();
    let mut command = Command::new("bash");
    let program = "exec 3<&\"$1\"; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$2\" serve --config \"$3\"";
    command.args(["-c", program, "bash", &socket.as_raw_fd().to_string()]);
    command.arg(&binaries().unwrap().sidecar).arg(line.path("sidecar.toml"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("ListenStream="), "{said}");
    line.stop().unwrap();
}
