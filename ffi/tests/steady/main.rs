//! Once a line runs, a share costs no memory: from a miner's socket through the C ABI to the pool
//! and back to the socket nothing of ours allocates. Alone in its program: it counts what the whole
//! process allocates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod counting;
mod miner;
#[path = "../abi/rig.rs"]
mod rig;

use gopool_sv2_ffi::*;
use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use counting::{count, Counting, Inside};
use miner::Miner;
use rig::{accepted, blank, last_error, Listener, Seen, PATIENCE};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Shares before any is counted: queues find their size.
const WARM_UP: u32 = 5_000;
/// Shares that are counted.
const SHARES: u32 = 20_000;

/// The pool's side of an open channel, in memory of its own.
struct Pool<'a> {
    listener: &'a Listener,
    stream: u32,
    events: Vec<gsv2_event>,
    verdicts: Vec<gsv2_verdict>,
}

impl Pool<'_> {
    /// Accepts the next shares, as they come.
    fn accept(&mut self, mut shares: u32) {
        while shares > 0 {
            assert!(self.listener.is_readable(PATIENCE), "no share comes");
            let (events, mut count) = (self.events.as_mut_ptr(), 0);
            let inside = Inside::new();
            let code = unsafe { gsv2_runtime_poll(self.listener.handle, events, 256, &mut count) };
            drop(inside);
            assert_eq!(code, GSV2_OK, "{}", last_error());
            self.verdicts.clear();
            for event in &self.events[..count] {
                assert_eq!(event.kind, GSV2_EVENT_SUBMIT, "{event:?}");
                self.verdicts.push(accepted(event.id));
            }
            let inside = Inside::new();
            let code = self.listener.complete(self.stream, &self.verdicts);
            drop(inside);
            assert_eq!(code, GSV2_OK, "{}", last_error());
            shares -= count as u32;
        }
    }
}

/// A miner whose channel the pool has opened.
fn opened<'a>(listener: &'a Listener) -> (Miner, Pool<'a>) {
    let mut seen = Seen::new(listener);
    let stream = seen.welcome();
    seen.line("link to the pool is up");
    let mut miner = Miner::connect(listener.address());
    miner.open();
    let (_, ToPool::OpenChannel(wish)) = seen.message() else { panic!("an OpenChannel") };
    let granted = v1::ChannelOpened {
        channel_id: wish.channel_id,
        extranonce_prefix: vec![5; 4].into(),
        extranonce_size: 8,
        target: vec![0xff; 32].into(),
        job: Some(miner::job()),
    };
    assert_eq!(listener.control(stream, FromPool::ChannelOpened(granted)), GSV2_OK);
    assert!(miner.is_open());
    seen.line("channel opened");
    (miner, Pool { listener, stream, events: vec![blank(); 256], verdicts: Vec::new() })
}

#[test]
fn a_share_of_the_steady_state_allocates_nothing_of_ours() {
    let listener = Listener::started();
    let (mut miner, mut pool) = opened(&listener);
    let mut mine = |shares: u32, window: u32| {
        for _ in 0..shares / window {
            miner.submit(window);
            pool.accept(window);
            miner.accepted(window);
        }
    };
    for window in [1, 16, 250] {
        mine(WARM_UP, window);
        let counted = count(|| mine(SHARES, window));
        counted.print(&format!("{SHARES} shares, {window} at a time"), u64::from(SHARES));
        // Threads make room once, queues grow with the longest burst so far, and the key file is
        // looked at now and then.
        let few = counted.estimated(counted.ours) * 200 < u64::from(SHARES);
        assert!(few, "ours: {}, see above; GOPOOL_SV2_STACKS=1 shows where", counted.ours);
    }
}
