//! What systemd hears of the sidecar, on a socket of its own, as sd_notify(3) has it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use gopool_sv2_tests::{Line, LineOptions};

/// For what takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it is told until it is told `wanted`, that included.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut message = [0; 256];
    while heard.last().map(String::as_str) != Some(wanted) {
        let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("{error}: {heard:?}"));
        let text = String::from_utf8(message[..length].to_vec()).unwrap();
        heard.extend(text.lines().map(str::to_owned));
    }
    heard
}

#[test]
fn is_ready_when_the_pool_was_reached_and_alive_until_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=100000".into()];
    let mut line = Line::start(LineOptions {
        with_pool: false,
        sidecar_by: ["env".into()].into_iter().chain(environment).collect(),
        ..LineOptions::default()
    })
    .unwrap();
    // It listens, and has no pool.
    for _ in 0..10 {
        assert_eq!(until(&socket, "WATCHDOG=1"), ["WATCHDOG=1"]);
    }
    line.start_pool().unwrap();
    let heard = until(&socket, "READY=1");
    assert!(heard[..heard.len() - 1].iter().all(|said| said == "WATCHDOG=1"), "{heard:?}");
    // Once, and alive from then on.
    for _ in 0..10 {
        assert_eq!(until(&socket, "WATCHDOG=1"), ["WATCHDOG=1"]);
    }
    line.sidecar.signal("TERM").unwrap();
    let heard = until(&socket, "STOPPING=1");
    assert!(!heard.contains(&"READY=1".to_owned()), "{heard:?}");
    assert!(line.sidecar.wait().unwrap().success());
}
