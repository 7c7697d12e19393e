//! How often a connection may do what costs others something. Pure: the time is passed in.

use std::time::Duration;

use crate::config::Limits;
use crate::types::{Bucket, Rate, RejectReason};

use super::Cause;

const MINUTE: Duration = Duration::from_secs(60);
/// Updates of a channel that may come at once: a proxy sums up devices that come one by one.
const UPDATE_BURST: u32 = 10;
/// A message costs two tokens, so that half a message can be counted.
const MESSAGE: u32 = 2;
/// A connection may send this many times its messages per minute before it is closed: the figure
/// speaks of what is usual.
const MESSAGE_SLACK: u32 = 2;
/// Numbers of extensions that a connection may ask for in a minute, and twice as many at once: a
/// request with all that there are costs as much as a hundred shares.
const EXTENSIONS_PER_MIN: u32 = 1 << 16;
/// For this long a submit counts half: devices begin at a low difficulty.
const WARM_UP: Duration = Duration::from_secs(240);

/// The operator's limits as rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// From the end of the handshake to the first open channel; `None`: no limit.
    pub first_open: Option<Duration>,
    /// From the last message of a connection to its end; `None`: no limit.
    pub idle: Option<Duration>,
    /// From the last message for a channel to its target told once more; `None`: never.
    pub silence: Option<Duration>,
    /// Opens of the connection.
    pub opens: Rate,
    /// Updates of each channel.
    pub updates: Rate,
    /// Refused shares of the connection, none accepted in between.
    pub bad_shares: Rate,
    /// Messages of the connection, in [`MESSAGE`]s.
    pub messages: Rate,
}

impl Rates {
    /// No limit at all.
    pub const UNLIMITED: Self = Self {
        first_open: None,
        idle: None,
        silence: None,
        opens: Rate::UNLIMITED,
        updates: Rate::UNLIMITED,
        bad_shares: Rate::UNLIMITED,
        messages: Rate::UNLIMITED,
    };

    /// As configured.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let millis = |ms| (ms > 0).then(|| Duration::from_millis(ms));
        // A proxy opens all of its channels as soon as it is connected.
        let channels = u32::try_from(limits.max_channels_per_connection).unwrap_or(u32::MAX);
        let per_min = |count, burst| Rate::new(count, MINUTE, burst);
        let bad_shares = limits.bad_shares_per_min;
        let messages = limits.messages_per_min.saturating_mul(MESSAGE_SLACK * MESSAGE);
        Self {
            first_open: millis(limits.first_open_timeout_ms),
            idle: millis(limits.idle_timeout_ms),
            silence: millis(limits.channel_silence_ms),
            opens: per_min(limits.opens_per_min, limits.opens_per_min.max(channels)),
            updates: per_min(limits.updates_per_min, UPDATE_BURST),
            bad_shares: per_min(bad_shares, bad_shares),
            messages: per_min(messages, messages),
        }
    }
}

/// The pace of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    rates: Rates,
    now: Duration,
    /// When the last message came.
    heard: Duration,
    opens: Bucket,
    bad_shares: Bucket,
    messages: Bucket,
    extensions: Bucket,
    exceeded: Option<Cause>,
}

impl Pace {
    pub(super) fn new(rates: Rates) -> Self {
        let now = Duration::ZERO;
        let (opens, bad_shares, messages, extensions) = Default::default();
        Self { rates, now, heard: now, opens, bad_shares, messages, extensions, exceeded: None }
    }

    /// The time since the handshake, for the steps to come.
    pub(super) const fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// The time told last.
    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    /// When the last message came; at first, the end of the handshake.
    pub(super) const fn heard(&self) -> Duration {
        self.heard
    }

    /// A message came; `is_submit`: a share.
    pub(super) fn message(&mut self, is_submit: bool) {
        self.heard = self.now;
        let tokens = if is_submit && self.now < WARM_UP { MESSAGE / 2 } else { MESSAGE };
        if !self.messages.take(self.rates.messages, tokens, self.now) {
            self.exceeded.get_or_insert(Cause::MessageRate);
        }
    }

    /// So many extensions were asked for, in one message.
    pub(super) fn requested(&mut self, extensions: usize) {
        let rate = Rate::new(EXTENSIONS_PER_MIN, MINUTE, 2 * EXTENSIONS_PER_MIN);
        let tokens = u32::try_from(extensions).unwrap_or(u32::MAX).max(1);
        if !self.extensions.take(rate, tokens, self.now) {
            self.exceeded.get_or_insert(Cause::MessageRate);
        }
    }

    /// Whether one more channel may be opened now.
    pub(super) fn open(&mut self) -> bool {
        self.opens.take(self.rates.opens, 1, self.now)
    }

    /// Whether a channel may be updated now; `bucket` is the channel's.
    pub(super) fn update(&self, bucket: &mut Bucket) -> bool {
        bucket.take(self.rates.updates, 1, self.now)
    }

    /// A submit was answered; `refused`: why it is not credited. Reasons that say nothing of the
    /// miner's work don't count.
    pub(super) fn answered(&mut self, refused: Option<RejectReason>) {
        match refused {
            None => self.bad_shares.fill(),
            Some(
                RejectReason::BackendUnavailable
                | RejectReason::RateLimited
                | RejectReason::Unauthorized,
            ) => {}
            Some(_) => {
                if !self.bad_shares.take(self.rates.bad_shares, 1, self.now) {
                    self.exceeded.get_or_insert(Cause::BadShares);
                }
            }
        }
    }

    /// The limit that was exceeded; the connection is to be closed.
    pub(super) fn exceeded(&self) -> Option<Cause> {
        self.exceeded.clone()
    }
}
