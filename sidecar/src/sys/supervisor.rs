//! What whoever supervises this process (systemd, sd_notify(3)) is told: that it is ready, alive,
//! and about to stop. Without one nothing happens. For the program only.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{interval, MissedTickBehavior};

fn tell(state: NotifyState<'_>) {
    // It is told again, or ends us if that matters to it.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the supervisor can't be told");
    }
}

/// It does its work now. Once.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// It is about to stop.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// It is alive: to be told by what must not get stuck.
pub fn alive() {
    tell(NotifyState::Watchdog);
}

/// How often [`alive`] must be told; `None`: nobody waits for it (WatchdogSec= of the unit).
#[must_use]
pub fn watchdog() -> Option<Duration> {
    // systemd.service(5) wants it at half of the time after which we are ended.
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

/// Tells that the event loop is alive, from a task of its own on it, when somebody waits for that.
/// A loop that is stuck says nothing.
pub fn watch() {
    if let Some(every) = watchdog() {
        beat(every, alive);
    }
}

fn beat(every: Duration, tell: impl Fn() + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            tell();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{mpsc, Arc};
    use std::thread::sleep;

    use super::*;

    const EVERY: Duration = Duration::from_millis(5);

    #[test]
    fn a_stuck_event_loop_says_nothing() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let beats = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&beats);
        let heart = runtime.spawn(async move {
            let count = move || {
                counted.fetch_add(1, Ordering::SeqCst);
            };
            beat(EVERY, count).await
        });
        let after = |count: u64| {
            while beats.load(Ordering::SeqCst) <= count {
                sleep(EVERY);
            }
        };
        after(3);
        let (stuck, is_stuck) = mpsc::sync_channel(1);
        let (free, is_free) = mpsc::sync_channel::<()>(1);
        runtime.spawn(async move {
            stuck.send(()).unwrap();
            is_free.recv().unwrap();
        });
        is_stuck.recv().unwrap();
        let before = beats.load(Ordering::SeqCst);
        sleep(20 * EVERY);
        assert_eq!(beats.load(Ordering::SeqCst), before);
        free.send(()).unwrap();
        after(before);
        heart.abort();
    }
}
