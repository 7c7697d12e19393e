//! Who is let in, and who is not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use gopool_sv2_tests::attacker::{socket, socket_from, Attacker};
use gopool_sv2_tests::{Line, LineOptions};

/// Whether the listener closed a connection without a word.
fn is_closed(mut socket: TcpStream) -> bool {
    match socket.read(&mut [0; 1]) {
        Ok(got) => got == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn hs_14_connections_beyond_those_of_one_address_are_closed_at_once() {
    let mut line = Line::start(LineOptions {
        listen: "max_connections_per_address = 2".into(),
        // What is closed is not closed by this.
        limits: "handshake_timeout_ms = 600000".into(),
        ..LineOptions::default()
    })
    .unwrap();
    let (first, second) = (socket(&line), socket(&line));
    assert!(is_closed(socket(&line)));
    line.sidecar.wait_for("1 by [listen].max_connections_per_address").unwrap();
    // Those that were there keep their places, and one that is free is given again.
    Attacker::on(first).set_up().open(&line.address);
    line.sidecar.wait_for("connection closed cause=peer-closed").unwrap();
    Attacker::new(&line).set_up().open(&line.address);
    drop(second);
    line.stop().unwrap();
}

#[test]
fn hs_14_connections_that_come_too_often_are_closed_at_once() {
    let mut line = Line::start(LineOptions {
        listen: "connections_per_sec_per_address = 1".into(),
        ..LineOptions::default()
    })
    .unwrap();
    let mut places: Vec<_> = (0..20).map(|_| socket(&line)).collect();
    // Twenty seconds' worth came at once; at one a second, most of these are too many.
    let storm: Vec<_> = (0..40).map(|_| socket(&line)).collect();
    line.sidecar.wait_for("by [listen].connections_per_sec_per_address").unwrap();
    Attacker::on(places.remove(0)).set_up().open(&line.address);
    drop(storm);
    line.stop().unwrap();
}

/// A PROXY protocol v2 header for a connection from `source`.
fn proxy_header(source: [u8; 4]) -> Vec<u8> {
    let ends = [&source[..], &[127, 0, 0, 1], &[0x12, 0x34, 0x0d, 0x08]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0, 12], &ends].concat()
}

#[test]
fn hs_14_a_trusted_balancer_says_whose_the_connection_is() {
    let mut line = Line::start(LineOptions {
        // Loopback, but of the two addresses only one.
        listen: "proxy_protocol_from = [\"127.2.0.1\"]\nmax_connections_per_address = 1".into(),
        limits: "handshake_timeout_ms = 2000".into(),
        ..LineOptions::default()
    })
    .unwrap();
    let through = |source| {
        let mut socket = socket_from(&line, [127, 2, 0, 1]);
        socket.write_all(&proxy_header(source)).unwrap();
        socket
    };
    // Two of the balancer's miners count as two, and the same one counts once.
    let mut first = Attacker::on(through([203, 0, 113, 9]));
    first.set_up().open(&line.address);
    let mut second = Attacker::on(through([203, 0, 113, 10]));
    second.set_up().open(&line.address);
    assert!(is_closed(through([203, 0, 113, 9])));
    line.sidecar.wait_for("peer=203.0.113.9:4660").unwrap();
    line.sidecar.wait_for("the last from 203.0.113.9").unwrap();

    // Without a header the balancer gets nothing: at once when something else comes, and within
    // the handshake's deadline when nothing does.
    let mut bare = socket_from(&line, [127, 2, 0, 1]);
    bare.write_all(&[0x55; 64]).unwrap();
    assert!(is_closed(bare));
    line.sidecar.wait_for("no PROXY protocol v2 header").unwrap();
    assert!(is_closed(socket_from(&line, [127, 2, 0, 1])));
    line.sidecar.wait_for("no PROXY header in time").unwrap();

    // From anybody else a header is the beginning of a handshake like any 64 bytes.
    let mut stranger = socket_from(&line, [127, 2, 0, 2]);
    let forged = [proxy_header([203, 0, 113, 9]), vec![7; 36]].concat();
    assert_eq!(forged.len(), 64);
    stranger.write_all(&forged).unwrap();
    stranger.read_exact(&mut [0; 234]).unwrap();
    stranger.write_all(&[0; 22]).unwrap();
    assert!(is_closed(stranger));
    assert!(!line.sidecar.log().contains("peer=127.2.0.1"));
    line.stop().unwrap();
}
