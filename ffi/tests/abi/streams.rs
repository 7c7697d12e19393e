//! What a host hands over on a stream, right and wrong, and from several threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::thread;

use gopool_sv2::backend::ring::MESSAGE_BYTES_MAX;
use gopool_sv2_ffi::*;
use gopool_sv2_proto::v1;
use prost::Message as _;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use crate::rig::{accepted, blank, last_error, until, Listener, Seen};

fn ping(id: u64) -> FromPool {
    FromPool::Ping(v1::Ping { id, sent_us: 0 })
}

/// Waits for the answer to a Ping, behind which nothing of before is under way.
fn answered(listener: &Listener, seen: &mut Seen<'_>, stream: u32, id: u64) {
    assert_eq!(listener.control(stream, ping(id)), GSV2_OK, "{}", last_error());
    let (of, message) = seen.message();
    assert!(matches!(message, ToPool::Pong(v1::Pong { id: got, .. }) if got == id), "{message:?}");
    assert_eq!(of, stream);
}

#[test]
fn a_verdict_on_an_unknown_submit_is_logged_and_changes_nothing() {
    let listener = Listener::started();
    let mut seen = Seen::new(&listener);
    let stream = seen.welcome();
    assert_eq!(listener.complete(stream, &[accepted(4711)]), GSV2_OK, "{}", last_error());
    seen.line("submit_id=4711");
    let line = seen.lines.iter().find(|line| line.contains("submit_id=4711")).unwrap();
    assert!(line.contains("never was"), "{line}");
    answered(&listener, &mut seen, stream, 1);
    assert!(listener.accepts_connections());
}

#[test]
fn rejects_a_verdict_that_makes_no_sense_and_all_those_beside_it() {
    let listener = Listener::started();
    let mut seen = Seen::new(&listener);
    let stream = seen.welcome();
    let good = accepted(5001);
    for bad in [
        gsv2_verdict { reason: 999, accepted: 0, ..accepted(5002) },
        gsv2_verdict { reason: u32::MAX, accepted: 0, ..accepted(5002) },
        gsv2_verdict { reason: 1, ..accepted(5002) },
        gsv2_verdict { accepted: 2, ..accepted(5002) },
        gsv2_verdict { accepted: 255, ..accepted(5002) },
        gsv2_verdict { block_candidate: 2, ..accepted(5002) },
    ] {
        let code = listener.complete(stream, &[good, bad, good]);
        assert_eq!(code, GSV2_INVALID_ARGUMENT, "{bad:?}");
        let text = last_error();
        assert!(text.contains("verdicts[1]") && text.contains("5002"), "{text}");
    }
    assert_eq!(listener.complete(stream, &[accepted(5003)]), GSV2_OK);
    seen.line("submit_id=5003");
    let taken = |id: &str| seen.lines.iter().any(|line| line.contains(id));
    assert!(!taken("5001") && !taken("5002"), "{:?}", seen.lines);
}

#[test]
fn rejects_bytes_that_are_no_message_and_goes_on() {
    let listener = Listener::started();
    let mut seen = Seen::new(&listener);
    let stream = seen.welcome();
    let control = |bytes: &[u8]| unsafe {
        gsv2_runtime_control(listener.handle, stream, bytes.as_ptr(), bytes.len())
    };
    let mut cut = v1::SessionResponse { message: Some(ping(1 << 40)) }.encode_to_vec();
    cut.pop();
    for garbage in [&[0xff; 40][..], b"GET / HTTP/1.1\r\n\r\n", &cut] {
        assert_eq!(control(garbage), GSV2_BAD_MESSAGE, "{garbage:?}");
        assert!(last_error().contains("SessionResponse"), "{}", last_error());
    }
    assert_eq!(control(&vec![0; MESSAGE_BYTES_MAX + 1]), GSV2_INVALID_ARGUMENT);
    assert!(last_error().contains(&MESSAGE_BYTES_MAX.to_string()), "{}", last_error());
    answered(&listener, &mut seen, stream, 2);
}

#[test]
fn rejects_what_is_said_on_an_old_stream() {
    let listener = Listener::started();
    let mut seen = Seen::new(&listener);
    let old = seen.welcome();
    assert_eq!(gsv2_runtime_hang_up(listener.handle, old), GSV2_OK);
    let ended = seen.next();
    assert_eq!((ended.kind, ended.stream), (GSV2_EVENT_STREAM_ENDED, old));
    let new = seen.welcome();
    assert_eq!(new, old + 1);
    for stream in [0, old, new + 1, u32::MAX] {
        assert_eq!(listener.control(stream, ping(1)), GSV2_STREAM_OVER);
        assert_eq!(listener.complete(stream, &[accepted(1)]), GSV2_STREAM_OVER);
        assert_eq!(listener.complete(stream, &[]), GSV2_STREAM_OVER);
        assert_eq!(gsv2_runtime_hang_up(listener.handle, stream), GSV2_STREAM_OVER);
        assert!(last_error().contains("over"), "{}", last_error());
    }
    answered(&listener, &mut seen, new, 2);
}

#[test]
fn two_threads_that_poll_lose_no_event_and_get_none_twice() {
    const PINGS: u64 = 2000;
    let listener = Listener::started();
    let stream = Seen::new(&listener).welcome();
    let (pongs, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let polls = || {
        let (mut events, mut count) = (vec![blank(); 16], 0);
        while !over.load(Ordering::Relaxed) {
            let to = events.as_mut_ptr();
            match unsafe { gsv2_runtime_poll(listener.handle, to, 16, &raw mut count) } {
                GSV2_OK => {}
                GSV2_BUSY => assert_eq!(count, 0),
                other => panic!("{other}: {}", last_error()),
            }
            for event in &events[..count] {
                match event.kind {
                    GSV2_EVENT_LOG => drop(listener.take(event)),
                    GSV2_EVENT_ROOM => {}
                    GSV2_EVENT_MESSAGE => {
                        let bytes = listener.take(event);
                        let request = v1::SessionRequest::decode(&bytes[..]).unwrap();
                        let Some(ToPool::Pong(pong)) = request.message else { panic!("a Pong") };
                        pongs.lock().unwrap().push(pong.id);
                    }
                    other => panic!("an event of kind {other}"),
                }
            }
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(polls), scope.spawn(polls)];
        for id in 0..PINGS {
            until("room for a Ping", || match listener.control(stream, ping(id)) {
                GSV2_OK => true,
                GSV2_FULL => false,
                other => panic!("{other}: {}", last_error()),
            });
        }
        let all = || pongs.lock().unwrap().len() as u64 >= PINGS;
        until("every Pong, or a thread that failed", || {
            all() || threads.iter().any(|thread| thread.is_finished())
        });
        over.store(true, Ordering::Relaxed);
    });
    let mut pongs = pongs.into_inner().unwrap();
    pongs.sort_unstable();
    assert!(pongs.into_iter().eq(0..PINGS), "each once");
}
