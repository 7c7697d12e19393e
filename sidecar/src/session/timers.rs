//! What time alone brings about: connections that do nothing end, and channels of which the miner
//! heard nothing hear something.

use std::time::Duration;

use super::{Cause, Effects, Outbound, Session};

impl Session {
    /// When [`Session::tick`] has something to do, since the handshake; may be too early, never too
    /// late. `None`: not before something else happens.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        [self.first_open_due(), self.idle_due(), self.silence_due()].into_iter().flatten().min()
    }

    /// Does what is due by now (see [`Session::set_elapsed`]).
    pub fn tick(&mut self, fx: &mut Effects) {
        let now = self.pace.now();
        let is_due = |due: Option<Duration>| due.is_some_and(|due| due <= now);
        if is_due(self.first_open_due()) {
            self.close(Cause::NoChannel, fx);
        } else if is_due(self.idle_due()) {
            self.close(Cause::Idle, fx);
        } else if is_due(self.silence_due()) {
            self.break_silence(now, fx);
        }
    }

    /// The end of a connection that never had a channel and asks for none.
    fn first_open_due(&self) -> Option<Duration> {
        let never = self.is_set_up() && self.next_channel_id == 1 && self.opening.is_empty();
        self.bounds.rates.first_open.filter(|_| never)
    }

    /// The end of a connection that says nothing.
    fn idle_due(&self) -> Option<Duration> {
        let idle = self.bounds.rates.idle.filter(|_| self.is_set_up())?;
        Some(self.pace.heard().saturating_add(idle))
    }

    /// When the first channel may have been silent for too long.
    fn silence_due(&self) -> Option<Duration> {
        Some(self.quietest?.saturating_add(self.bounds.rates.silence?))
    }

    /// Tells each channel that was silent its target once more. It changes nothing for the miner;
    /// middleboxes and firmware see that the connection lives.
    fn break_silence(&mut self, now: Duration, fx: &mut Effects) {
        let Some(silence) = self.bounds.rates.silence else { return };
        for channel in self.channels.values_mut() {
            if channel.told().saturating_add(silence) <= now {
                let (channel_id, target) = (channel.id(), channel.target());
                fx.out.push(Outbound::Target { channel_id, target });
                channel.set_told(now);
            }
        }
        self.quietest = self.channels.values().map(|channel| channel.told()).min();
    }

    /// Keeps in mind which channels the messages from the `from`-th on were for.
    pub(super) fn note_told(&mut self, from: usize, fx: &Effects) {
        let now = self.pace.now();
        for message in fx.out.get(from..).unwrap_or_default() {
            let id = message.channel_id();
            if let Some(channel) = id.and_then(|id| self.channels.get_mut(&id)) {
                channel.set_told(now);
                self.quietest.get_or_insert(now);
            }
        }
    }
}
