//! Who is let in, and who is not.

use std::io::Read as _;
use std::net::TcpStream;

use gopool_sv2_tests::{Line, LineOptions};

use crate::attacker::{socket, Attacker};

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
