//! Memory of miners that have left, back to the system.

use std::convert::Infallible;
use std::time::Duration;

use gopool_sv2::obs::Clients;

/// How often somebody looks how many miners there are.
const LOOK: Duration = Duration::from_secs(2);
/// Fewer that left are not worth it: the next ones take their place.
const MANY: usize = 1_000;

/// Looks after it for as long as it is polled. glibc keeps what is free between pieces that aren't,
/// so that a pool never got back what ten thousand miners held an hour ago; other allocators need
/// no help.
pub(crate) async fn look_after(clients: Clients) -> Infallible {
    let mut tide = Tide::default();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if tide.is_out(clients.len()) {
            // Milliseconds for each hundred MiB, and whoever allocates meanwhile waits: not on a
            // thread that serves miners.
            let _ = tokio::task::spawn_blocking(give_back).await;
        }
    }
}

/// How many there were at most since the last time.
#[derive(Debug, Default)]
struct Tide {
    most: usize,
}

impl Tide {
    /// Whether many have left, and no more than half are still there; then it counts anew.
    fn is_out(&mut self, now: usize) -> bool {
        self.most = self.most.max(now);
        let out = self.most - now >= MANY && now <= self.most / 2;
        if out {
            self.most = now;
        }
        out
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    // SAFETY: it may be called at any time, from any thread; whatever allocates in this process, it
    // touches only what nobody has.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_when_many_have_left_and_not_for_a_few() {
        let mut tide = Tide::default();
        let mut at = |now: usize| tide.is_out(now);
        assert!(!at(0) && !at(1_500) && !at(600), "fewer than a thousand left");
        assert!(!at(9_000) && !at(5_000), "more than half are there");
        assert!(at(4_500) && !at(4_400), "once for each time");
        assert!(!at(3_500) && at(2_000), "and again when they go on leaving");
        assert!(!at(10_000) && at(0) && !at(0));
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn memory_that_is_free_between_pieces_in_use_goes_back() {
        const PIECES: usize = 20_000;
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        // What stays lies among what goes: none of it ends a heap, which glibc would cut by itself.
        let mut kept = Vec::new();
        let mut freed = Vec::new();
        for i in 0..PIECES {
            freed.push(vec![1_u8; 12 * 1024]);
            if i % 8 == 0 {
                kept.push(vec![1_u8; 64]);
            }
        }
        let most = resident();
        drop(freed);
        give_back();
        let left = resident();
        assert!(most - left > PIECES * 12 * 1024 / 2, "{most} and then {left}");
        assert_eq!(kept.len(), PIECES / 8);
    }
}
