//! A timer that is good to some microseconds: tokio's own are to a millisecond, and whatever is due
//! in the same one would be sent at once.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use gopool_sv2_tests::Result;
use rustix::io::read;
use rustix::time::{
    timerfd_create, timerfd_settime, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags,
    Timespec,
};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel, which takes a descriptor.
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // What replaces it is unsafe, for descriptors that are not owned; this one is.
        #[allow(deprecated)]
        let registered = AsyncFd::new(timer)?;
        Ok(Self(registered))
    }

    /// Has it ring at a moment, or now if that is past, in place of what it was set to.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set(&self, at: Instant) -> Result<()> {
        // Zero would stop it.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let it_value =
            Timespec { tv_sec: left.as_secs().try_into()?, tv_nsec: left.subsec_nanos().into() };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let time = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &time)?;
        Ok(())
    }

    /// Waits until it rings. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn ring(&self) -> Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|timer| Ok(read(timer, &mut count)?)) {
                Ok(rang) => return Ok(rang.map(drop)?),
                Err(_not_yet) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rings_when_it_is_set_and_again_when_it_is_set_again() {
        let alarm = Alarm::new().unwrap();
        for wait in [Duration::from_millis(3), Duration::ZERO, Duration::from_micros(200)] {
            let at = Instant::now() + wait;
            alarm.set(at).unwrap();
            alarm.ring().await.unwrap();
            assert!(Instant::now() >= at);
        }
        alarm.set(Instant::now() + Duration::from_secs(3600)).unwrap();
        alarm.set(Instant::now()).unwrap();
        alarm.ring().await.unwrap();
    }
}
