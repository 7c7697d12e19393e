//! Signals are the host's: its handlers and masks stay, and none is delivered to the library's
//! threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "abi/rig.rs"]
mod rig;

use std::fs;
use std::mem::zeroed;
use std::ptr;

use gopool_sv2_ffi::*;
use rig::{until, Listener};

/// What Go's runtime, or any other, has handlers for; and those that are asked for most.
const WATCHED: [i32; 9] = [
    libc::SIGPIPE,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGURG,
    libc::SIGPROF,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGCHLD,
];

fn members(set: &libc::sigset_t) -> Vec<i32> {
    (1..=64).filter(|signal| unsafe { libc::sigismember(set, *signal) } == 1).collect()
}

/// The signals that this thread blocks.
fn mask() -> Vec<i32> {
    // SAFETY: the call fills the set.
    unsafe {
        let mut set = zeroed();
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut set), 0);
        members(&set)
    }
}

/// Handler, flags and mask of each signal.
fn handlers() -> Vec<(i32, usize, i32, Vec<i32>)> {
    let handlers = WATCHED.iter().map(|signal| unsafe {
        let mut action: libc::sigaction = zeroed();
        assert_eq!(libc::sigaction(*signal, ptr::null(), &raw mut action), 0);
        (*signal, action.sa_sigaction, action.sa_flags, members(&action.sa_mask))
    });
    handlers.collect()
}

extern "C" fn nothing(_: i32) {}

#[test]
fn a_start_changes_neither_handlers_nor_the_mask_of_who_calls() {
    // SAFETY: the handler does nothing; the sets are filled before they are read.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGURG, &raw const action, ptr::null_mut()), 0);
        assert_eq!(libc::sigaction(libc::SIGPROF, &raw const action, ptr::null_mut()), 0);
        let mut set = zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR2);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()), 0);
    }
    let before = (mask(), handlers());
    assert!(before.0.contains(&libc::SIGUSR2) && !before.0.contains(&libc::SIGURG));
    let listener = Listener::started();
    assert_eq!((mask(), handlers()), before, "started");
    assert!(listener.accepts_connections());
    assert_eq!(gsv2_runtime_drain(listener.handle), GSV2_OK);
    drop(listener);
    assert_eq!((mask(), handlers()), before, "freed");
}

/// The signals that each of the library's threads blocks, as bits.
fn masks_of_the_library() -> Vec<u64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let masks = tasks.filter_map(|task| {
        // One of the other test may end meanwhile.
        let status = fs::read_to_string(task.unwrap().path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let ours = field("Name:")?.trim() == "gsv2";
        ours.then(|| u64::from_str_radix(field("SigBlk:").unwrap().trim(), 16).unwrap())
    });
    masks.collect()
}

#[test]
fn the_librarys_threads_take_no_signal_of_the_process() {
    let _listener = Listener::started();
    let blocks = |mask: u64, signal: i32| mask & 1 << (signal - 1) != 0;
    // A thread that has just begun blocks all until it has its own mask.
    until("threads that leave faults deadly", || {
        let masks = masks_of_the_library();
        masks.len() >= 3 && masks.iter().all(|mask| !blocks(*mask, libc::SIGSEGV))
    });
    for mask in masks_of_the_library() {
        for signal in [
            libc::SIGPIPE,
            libc::SIGURG,
            libc::SIGPROF,
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGUSR1,
        ] {
            assert!(blocks(mask, signal), "{signal} in {mask:x}");
        }
    }
}
