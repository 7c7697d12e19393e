//! The attacks. Each waits until the listener has ended what it began, and says what happened; what
//! doesn't happen within a minute, and what the listener does against the rules, panics.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gopool_sv2_tests::attacker::{junk_share, open_extended, Attacker, SETUP};
use gopool_sv2_tests::Heard;
use serde_json::{json, Value};
use socket2::SockRef;

use crate::aim::Aim;

/// How long a close that is due, or an answer, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two bytes of a slow peer: none of its frames is whole within 20 s.
const DRIP: Duration = Duration::from_millis(400);
/// The longest payload that a header can declare: 16 MiB less one byte (SV2 spec 3.2).
const LONGEST: usize = (1 << 24) - 1;
/// A payload of an unknown type that default limits let pass.
const PASSES: usize = 65_000;
/// Opens of one connection.
const OPENS_EACH: u32 = 100;
/// Bad shares that go out together.
const VOLLEY: u32 = 20;
/// The time of a volley: a thousand bad shares in a second.
const VOLLEY_TIME: Duration = Duration::from_millis(20);

const OPEN: u8 = 0x13;
const OPEN_ERROR: u8 = 0x12;
const OPENED: u8 = 0x14;
const SHARE_ERROR: u8 = 0x1d;
const UNKNOWN: u8 = 0x7f;

/// Reads and drops what comes until the listener closes; gives how many bytes came.
fn closed(mut socket: &TcpStream) -> u64 {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (deadline, mut bytes, mut all) = (Instant::now() + PATIENCE, [0; 4096], 0);
    loop {
        match socket.read(&mut bytes) {
            Ok(0) => return all,
            Ok(got) => all += got as u64,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not closed: {error}");
                return all;
            }
        }
        assert!(Instant::now() < deadline, "not closed");
    }
}

/// Whether a write says that the listener is gone; it may only be slow.
fn is_gone(error: &std::io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Connections that say nothing, before and after the handshake.
pub fn silent(aim: &Aim, count: u32) -> Value {
    let sockets: Vec<_> = (0..count).map(|_| aim.socket()).collect();
    let peers: Vec<_> = (0..count / 10).map(|_| aim.peer()).collect();
    sockets.iter().for_each(|socket| assert_eq!(closed(socket), 0, "nothing was asked"));
    for peer in &peers {
        closed(&peer.socket);
    }
    json!({ "closed": sockets.len(), "closed_after_handshake": peers.len() })
}

/// A byte now and then, of what would be right: in the handshake, in SetupConnection, in the first
/// open, and in a share.
pub fn slow(aim: &Aim, count: u32) -> Value {
    let stages = [
        |aim: &Aim| drip(&aim.socket(), &[0x55; 64]),
        |aim: &Aim| {
            let mut peer = aim.peer();
            let frame = peer.seal(0, 0, &SETUP, SETUP.len());
            drip(&peer.socket, &frame);
        },
        |aim: &Aim| {
            let mut peer = aim.peer();
            let open = open_extended(1, &aim.user);
            let frame = peer.set_up().seal(0, OPEN, &open, open.len());
            drip(&peer.socket, &frame);
        },
        |aim: &Aim| {
            let mut peer = aim.peer();
            let share = junk_share(1, now());
            let frame = peer.set_up().open(&aim.user).seal(0x8000, 0x1b, &share, share.len());
            drip(&peer.socket, &frame);
        },
    ];
    thread::scope(|scope| {
        for stage in stages {
            for _ in 0..count {
                scope.spawn(move || stage(aim));
            }
        }
    });
    json!({ "stages": stages.len(), "closed_at_each": count })
}

/// Sends `bytes` one at a time and holds the rest back until the listener closes, which it must do
/// before it has them all.
fn drip(mut socket: &TcpStream, bytes: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    for byte in bytes {
        if socket.write_all(&[*byte]).is_err() {
            return;
        }
        assert!(Instant::now() < deadline, "not closed");
        thread::sleep(DRIP);
    }
    closed(socket);
}

/// Frames of 16 MiB that never end: all of each but its last byte, as far as the listener takes it.
/// Of a type that is never long, and of an unknown one. And the longest frame that passes.
pub fn holders(aim: &Aim, count: u32) -> Value {
    let (together, each) = (&Barrier::new(count as usize), &|together: &Barrier| {
        let mut frames = [(OPEN, LONGEST), (UNKNOWN, LONGEST), (UNKNOWN, PASSES)].map(|frame| {
            let (message_type, length) = frame;
            let mut peer = aim.peer();
            let header = peer.set_up().seal(0, message_type, &[], length);
            peer.write(&header);
            (peer, length)
        });
        // All hold at once.
        together.wait();
        frames.each_mut().map(|(peer, length)| {
            let taken = push(&peer.socket, *length - 1);
            closed(&peer.socket);
            taken
        })
    });
    let taken: Vec<_> = thread::scope(|scope| {
        let peers: Vec<_> = (0..count).map(|_| scope.spawn(move || each(together))).collect();
        peers.into_iter().map(|peer| peer.join().unwrap()).collect()
    });
    let all = |frame: usize| taken.iter().map(|taken: &[usize; 3]| taken[frame]).sum::<usize>();
    json!({
        "closed": 3 * taken.len(),
        "declared_bytes_each": LONGEST,
        "bytes_left_to_the_network": [all(0), all(1), all(2)],
    })
}

/// Writes `length` bytes, or as many as can be; gives how many.
fn push(mut socket: &TcpStream, length: usize) -> usize {
    let (chunk, mut taken) = (vec![0x55; 64 * 1024], 0);
    while taken < length {
        match socket.write(&chunk[..chunk.len().min(length - taken)]) {
            Ok(some) => taken += some,
            Err(error) if is_gone(&error) => break,
            Err(_) => {}
        }
    }
    taken
}

/// Opens, and nothing else: some are granted, and the rest is refused. Channels stay open until
/// all are answered.
pub fn opens(aim: &Aim, count: u32) -> Value {
    let ask = |count: u32| {
        let mut peer = aim.peer();
        peer.set_up();
        for request in 0..count {
            peer.send_open(request, &aim.user);
        }
        let (mut granted, mut refused) = (0, 0);
        while granted + refused < count {
            match peer.next_frame().0 {
                OPENED => granted += 1,
                OPEN_ERROR => refused += 1,
                _ => {}
            }
        }
        (peer, granted, refused)
    };
    let ask = &ask;
    let begun = Instant::now();
    let asked: Vec<_> = thread::scope(|scope| {
        let counts = (0..count).step_by(OPENS_EACH as usize).map(|at| OPENS_EACH.min(count - at));
        let peers: Vec<_> = counts.map(|count| scope.spawn(move || ask(count))).collect();
        peers.into_iter().map(|peer| peer.join().unwrap()).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let granted: u32 = asked.iter().map(|(_, granted, _)| granted).sum();
    let refused: u32 = asked.iter().map(|(_, _, refused)| refused).sum();
    json!({
        "connections": asked.len(), "granted": granted, "refused": refused, "seconds": seconds,
    })
}

/// Shares that are no work, at a steady pace. A peer that is closed for it comes back.
pub fn bad_shares(aim: &Aim, count: u32) -> Value {
    let (mut sent, mut refused, mut closed) = (0, 0, 0);
    let begun = Instant::now();
    let mut due = begun;
    let mut last = None;
    while sent < count {
        let mut peer = aim.peer();
        peer.set_up().open(&aim.user);
        let mut open = true;
        while open && sent < count {
            let volley = VOLLEY.min(count - sent);
            for _ in 0..volley {
                sent += 1;
                peer.junk(sent, now());
            }
            due += VOLLEY_TIME;
            (refused, open) = listen(&mut peer, refused, due);
        }
        if !open {
            closed += 1;
        }
        last = Some(peer);
    }
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(mut peer) = last {
        // One more answer to each that is not closed for.
        refused = listen(&mut peer, refused, Instant::now() + Duration::from_secs(2)).0;
    }
    json!({ "sent": sent, "refused": refused, "closed": closed, "seconds": seconds })
}

/// Counts refusals until `until` or the close; false: closed.
fn listen(peer: &mut Attacker, mut refused: u32, until: Instant) -> (u32, bool) {
    loop {
        match peer.hear(until.saturating_duration_since(Instant::now())) {
            Heard::Frame(frame) => refused += u32::from(frame.message_type == SHARE_ERROR),
            Heard::Silence => return (refused, true),
            Heard::Closed { .. } => return (refused, false),
        }
    }
}

/// Peers that ask and read no answer, until the listener ends it: twice for all extensions there
/// are, which is answered with as many, then for channels.
pub fn deaf(aim: &Aim, count: u32) -> Value {
    // All distinct, none supported.
    let extensions = 3..=u16::MAX;
    let mut list = vec![7, 0];
    list.extend(u16::try_from(extensions.len()).unwrap().to_le_bytes());
    list.extend(extensions.flat_map(u16::to_le_bytes));
    let ask = &|| {
        let mut peer = aim.peer();
        // Or the system would take megabytes in its place.
        SockRef::from(&peer.socket).set_recv_buffer_size(16 * 1024).unwrap();
        peer.set_up();
        let open = open_extended(1, &aim.user);
        let mut frames = peer.seal(1, 0, &list, list.len());
        frames.extend(peer.seal(1, 0, &list, list.len()));
        let deadline = Instant::now() + PATIENCE;
        let mut asked = 2_u64;
        loop {
            let mut left = frames.as_slice();
            while !left.is_empty() {
                match (&peer.socket).write(left) {
                    Ok(taken) => left = &left[taken..],
                    Err(error) if is_gone(&error) => return asked,
                    Err(_) => assert!(Instant::now() < deadline, "not closed"),
                }
            }
            frames = (0..OPENS_EACH).flat_map(|_| peer.seal(0, OPEN, &open, open.len())).collect();
            asked += u64::from(OPENS_EACH);
        }
    };
    let asked: Vec<_> = thread::scope(|scope| {
        let peers: Vec<_> = (0..count).map(|_| scope.spawn(ask)).collect();
        peers.into_iter().map(|peer| peer.join().unwrap()).collect()
    });
    json!({ "closed": asked.len(), "asked": asked.iter().sum::<u64>() })
}

/// The clock, in unix seconds.
fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32
}
