//! From made to freed: what a call in the wrong order comes to.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::ptr;
use std::time::Duration;

use gopool_sv2_ffi::*;

use crate::rig::{accepted, blank, last_error, make, Listener, Scratch, Seen, TOML};

/// What every call on a runtime comes to.
fn all_calls(handle: gsv2_runtime) -> [(&'static str, gsv2_result); 10] {
    let (mut length, mut fd, mut buffer) = (0, 0, [0_u8; 512]);
    let mut event = blank();
    let verdict = accepted(1);
    let url = buffer.as_mut_ptr().cast();
    // SAFETY: the pointers are to what is above.
    unsafe {
        [
            ("url", gsv2_runtime_url(handle, url, 512, &raw mut length)),
            ("event_fd", gsv2_runtime_event_fd(handle, &raw mut fd)),
            ("poll", gsv2_runtime_poll(handle, &raw mut event, 1, &raw mut length)),
            ("take", gsv2_runtime_take(handle, 0, buffer.as_mut_ptr(), 512, &raw mut length)),
            ("complete", gsv2_runtime_complete(handle, 77, &raw const verdict, 1)),
            ("control", gsv2_runtime_control(handle, 77, ptr::null(), 0)),
            ("hang_up", gsv2_runtime_hang_up(handle, 77)),
            ("drain", gsv2_runtime_drain(handle)),
            ("start", gsv2_runtime_start(handle)),
            ("free", gsv2_runtime_free(handle)),
        ]
    }
}

#[test]
fn rejects_a_handle_that_was_freed_or_never_made() {
    let scratch = Scratch::new();
    let (code, freed) = make(&scratch.file(), Some(TOML));
    assert_eq!(code, GSV2_OK, "{}", last_error());
    assert_eq!(gsv2_runtime_start(freed), GSV2_OK, "{}", last_error());
    assert_eq!(gsv2_runtime_free(freed), GSV2_OK);
    // Its place is taken by another one, which must not be hit.
    let other = Listener::started();
    let never = [freed ^ (1 << 62), other.handle ^ (1 << 62), other.handle | 0xffff_0000];
    for stale in [freed, 0, 1, u64::MAX].into_iter().chain(never) {
        for (call, code) in all_calls(stale) {
            assert_eq!(code, GSV2_BAD_HANDLE, "{call} on {stale:#x}");
        }
    }
    assert!(other.accepts_connections());
}

#[test]
fn a_handle_is_never_used_again() {
    let scratch = Scratch::new();
    let mut handles = BTreeSet::new();
    for _ in 0..1000 {
        let (code, handle) = make(&scratch.file(), Some(TOML));
        assert_eq!(code, GSV2_OK, "{}", last_error());
        assert!(handle != 0 && handles.insert(handle), "{handle:#x} again");
        assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
    }
}

#[test]
fn what_is_not_started_has_no_address_and_nothing_to_stop() {
    let listener = Listener::new();
    let mut length = 0;
    let url = unsafe { gsv2_runtime_url(listener.handle, ptr::null_mut(), 0, &raw mut length) };
    assert_eq!(url, GSV2_WRONG_STATE);
    assert!(last_error().contains("start it"), "{}", last_error());
    assert_eq!(gsv2_runtime_drain(listener.handle), GSV2_WRONG_STATE);
    assert!(last_error().contains("nothing to stop"), "{}", last_error());
    assert!(!listener.is_readable(Duration::ZERO));
    assert_eq!(listener.poll(), []);
    assert_eq!(gsv2_runtime_hang_up(listener.handle, 0), GSV2_STREAM_OVER);
    assert_eq!(listener.complete(0, &[accepted(1)]), GSV2_STREAM_OVER);
    // And it can be started still.
    assert_eq!(gsv2_runtime_start(listener.handle), GSV2_OK, "{}", last_error());
    assert!(listener.accepts_connections());
}

#[test]
fn rejects_a_port_in_use_and_says_the_remedy() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let toml = TOML.replace("127.0.0.1:0", &address.to_string());
    let (code, handle) = make(&scratch.file(), Some(&toml));
    assert_eq!(code, GSV2_OK, "{}", last_error());
    assert_eq!(gsv2_runtime_start(handle), GSV2_START);
    let text = last_error();
    for want in ["[listen].address", &address.to_string(), "choose another port"] {
        assert!(text.contains(want), "{text:?} lacks {want:?}");
    }
    assert_eq!(gsv2_runtime_start(handle), GSV2_WRONG_STATE);
    assert_eq!(gsv2_runtime_drain(handle), GSV2_WRONG_STATE);
    assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
}

#[test]
fn rejects_a_key_that_is_not_there() {
    let scratch = Scratch::new();
    let toml = TOML.replace("authority.key", "nowhere.key");
    let (code, handle) = make(&scratch.file(), Some(&toml));
    assert_eq!(code, GSV2_OK, "{}", last_error());
    assert_eq!(gsv2_runtime_start(handle), GSV2_START);
    assert!(last_error().contains("nowhere.key"), "{}", last_error());
    assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
}

#[test]
fn a_second_start_changes_nothing() {
    let listener = Listener::started();
    let url = listener.url();
    assert_eq!(gsv2_runtime_start(listener.handle), GSV2_WRONG_STATE);
    assert!(last_error().contains("started before"), "{}", last_error());
    assert_eq!(listener.url(), url);
    let mut seen = Seen::new(&listener);
    seen.welcome();
    seen.line("link to the pool is up");
    assert_eq!(gsv2_runtime_start(listener.handle), GSV2_WRONG_STATE);
    assert!(listener.accepts_connections());
    assert_eq!(gsv2_runtime_drain(listener.handle), GSV2_OK, "{}", last_error());
}

#[test]
fn a_drain_ends_the_stream_and_then_everything() {
    let listener = Listener::started();
    let address = listener.address();
    let mut seen = Seen::new(&listener);
    let stream = seen.welcome();
    seen.line("link to the pool is up");
    assert_eq!(gsv2_runtime_drain(listener.handle), GSV2_OK);
    assert_eq!(gsv2_runtime_drain(listener.handle), GSV2_OK, "again it changes nothing");
    let (of, farewell) = seen.message();
    assert_eq!(of, stream);
    let farewell = format!("{farewell:?}");
    assert!(farewell.starts_with("Drain"), "{farewell}");
    assert_eq!(seen.next().kind, GSV2_EVENT_STREAM_ENDED);
    assert_eq!(gsv2_runtime_hang_up(listener.handle, stream), GSV2_OK);
    assert_eq!(seen.next().kind, GSV2_EVENT_DRAINED);
    assert!(!listener.is_readable(Duration::ZERO), "the last event");
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
    for (call, code) in all_calls(listener.handle) {
        let want = match call {
            "take" => GSV2_NO_RECORD,
            "complete" | "control" | "hang_up" => GSV2_STREAM_OVER,
            "start" => GSV2_WRONG_STATE,
            _ => GSV2_OK,
        };
        assert_eq!(code, want, "{call}");
    }
}

#[test]
fn two_listeners_serve_at_a_time_and_one_ends_alone() {
    let (one, two) = (Listener::started(), Listener::started());
    assert_ne!(one.url(), two.url());
    let (mut of_one, mut of_two) = (Seen::new(&one), Seen::new(&two));
    let (stream, _) = (of_one.welcome(), of_two.welcome());
    of_one.line("link to the pool is up");
    of_two.line("link to the pool is up");
    assert!(one.accepts_connections() && two.accepts_connections());
    let address = one.address();
    assert_eq!(gsv2_runtime_drain(one.handle), GSV2_OK);
    of_one.message();
    assert_eq!(of_one.next().kind, GSV2_EVENT_STREAM_ENDED);
    assert_eq!(gsv2_runtime_hang_up(one.handle, stream), GSV2_OK);
    assert_eq!(of_one.next().kind, GSV2_EVENT_DRAINED);
    assert!(TcpStream::connect(address).is_err());
    drop(one);
    assert!(two.accepts_connections());
    assert_eq!(gsv2_runtime_hang_up(two.handle, 1), GSV2_OK);
    assert_eq!(of_two.next().kind, GSV2_EVENT_STREAM_ENDED);
    assert_eq!(of_two.welcome(), 2, "and its link comes again");
}
