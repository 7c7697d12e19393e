//! A process in which listeners come and go is the same afterwards. Alone in its program: it counts
//! what the whole process has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "abi/rig.rs"]
mod rig;

use std::fs;

use gopool_sv2_ffi::*;
use rig::{last_error, make, until, Listener, Scratch, Seen, TOML};

/// Set to anything to start and stop ten times as often.
const LONG: &str = "GOPOOL_SV2_LONG";

/// Threads and descriptors of this process.
fn counts() -> (usize, usize) {
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn starting_and_stopping_leaves_no_thread_and_no_descriptor() {
    let scratch = Scratch::new();
    let times = if std::env::var_os(LONG).is_some() { 1000 } else { 100 };
    let mut before = counts();
    for time in 0..times {
        let (code, handle) = make(&scratch.file(), Some(TOML));
        assert_eq!(code, GSV2_OK, "{}", last_error());
        assert_eq!(gsv2_runtime_start(handle), GSV2_OK, "{}", last_error());
        let (threads, descriptors) = counts();
        assert!(threads > before.0 && descriptors > before.1, "{threads} {descriptors}");
        assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
        if time == 0 {
            // What the process opens once stays; its threads do not. A thread that was joined may
            // still be on its way out of the list.
            until("the threads of before", || counts().0 == before.0);
            before = counts();
        }
    }
    until("the threads and descriptors of before", || counts() == before);

    // The same after an end in order.
    let listener = Listener::started();
    let mut seen = Seen::new(&listener);
    let stream = seen.welcome();
    seen.line("link to the pool is up");
    assert_eq!(gsv2_runtime_drain(listener.handle), GSV2_OK);
    seen.message();
    assert_eq!(gsv2_runtime_hang_up(listener.handle, stream), GSV2_OK);
    while seen.next().kind != GSV2_EVENT_DRAINED {}
    drop(listener);
    until("the threads and descriptors of before", || counts() == before);
}
