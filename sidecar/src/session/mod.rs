//! One connection: SetupConnection, channels, shares, and when it ends.
//!
//! [`Session`] is a pure step function: frames, events of the pool and time go in, messages for the
//! miner and commands for the pool come out. [`run`] is the thin driver around it that owns the
//! socket.

mod caps;
mod context;
mod credits;
mod drain;
mod driver;
mod events;
mod extensions;
mod farewell;
mod inbound;
mod mining;
mod outbound;
mod pace;
mod passage;
mod patience;
mod scratch;
mod setup;
mod timers;
mod tlv;
mod wire;
mod work;

#[cfg(test)]
mod credit_tests;
#[cfg(test)]
pub(crate) mod driver_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod pace_tests;
#[cfg(test)]
mod payout_tests;
#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod target_walk;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timers_tests;
#[cfg(test)]
mod unruly;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use context::{Context, Peer};
pub use driver::run;
pub use inbound::{decode, Inbound, Open, Setup};
pub use outbound::{Opened, Outbound};
pub use pace::Rates;
pub use passage::Passage;

use pace::Pace;

use extensions::Extensions;

use crate::backend::Command;
use crate::channel::{Answer, Channel, Outcome};
use crate::obs::{Line, Presence};
use crate::types::{
    ChannelKey, ConnId, Connection, Difficulty, OpenRequest, QuoteRef, RejectReason, Seat, Seats,
    Short, TargetLimits,
};

/// Bounds of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Channels open, or being opened, at a time.
    pub channels: usize,
    /// Submits that wait for an answer at a time; beyond it the socket isn't read.
    pub in_flight: usize,
    /// How often it may do what.
    pub rates: Rates,
}

/// Why a connection ends. Each has a short name for logs and statistics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The peer closed it.
    #[error("peer-closed")]
    PeerClosed,
    /// The socket failed.
    #[error("socket-error")]
    Socket,
    /// No SetupConnection in time.
    #[error("setup-deadline")]
    SetupDeadline,
    /// It began to mine without an extension that is required here.
    #[error("required-extension")]
    RequiredExtension,
    /// SetupConnection was refused.
    #[error("setup-refused")]
    SetupRefused,
    /// Something else came before SetupConnection.
    #[error("no-setup-connection")]
    NoSetup,
    /// A frame can't be read: garbage, tampering, or longer than allowed here.
    #[error("bad-frame")]
    BadFrame,
    /// A frame was begun and not finished in time.
    #[error("frame-deadline")]
    FrameDeadline,
    /// A known message that doesn't parse.
    #[error("bad-message")]
    BadMessage,
    /// We couldn't make a message. Our fault.
    #[error("encode-failed")]
    Encode,
    /// It never had a channel in the time it was given.
    #[error("no-channel")]
    NoChannel,
    /// It said nothing for too long.
    #[error("idle")]
    Idle,
    /// Too many refused shares, and none accepted in between.
    #[error("bad-shares")]
    BadShares,
    /// Too many messages.
    #[error("message-rate")]
    MessageRate,
    /// The peer doesn't read what we send.
    #[error("slow-reader")]
    SlowReader,
    /// The events of the pool piled up.
    #[error("mailbox-full")]
    MailboxFull,
    /// The pool was away for too long.
    #[error("pool-lost")]
    PoolLost,
    /// The pool was restarted and did not grant a channel again as it was.
    #[error("unrestored")]
    Unrestored,
    /// The pool sent the miner away.
    #[error("kicked")]
    Kicked,
    /// We are stopping.
    #[error("stopping")]
    Stopping,
}

/// What a step brings about, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// For the miner.
    pub out: Vec<Outbound>,
    /// For the pool.
    pub commands: Vec<Command>,
    /// Quotes that wishes for channels name: whose are they?
    pub lookups: Vec<(ChannelKey, QuoteRef)>,
    /// For the journal.
    pub lines: Vec<Line>,
    /// Close the connection once `out` is sent.
    pub close: Option<Cause>,
    /// Memory for shares that name workers, on their way to the books.
    named: Vec<(Short, Result<Difficulty, RejectReason>)>,
}

impl Effects {
    /// Empties it, and says for how many things of a kind it has room at most.
    fn clear(&mut self) -> usize {
        let Self { out, commands, lookups, lines, close, named } = self;
        out.clear();
        commands.clear();
        lookups.clear();
        lines.clear();
        *close = None;
        named.clear();
        let (all, shares) = (out.capacity().max(commands.capacity()), named.capacity());
        all.max(lookups.capacity()).max(lines.capacity()).max(shares)
    }
}

#[derive(Debug)]
enum Phase {
    /// Waiting for SetupConnection.
    Setup,
    /// Open for channels.
    Mining(Arc<Connection>),
    /// Nothing is taken any more.
    Closed,
}

#[derive(Debug)]
struct Opening {
    request_id: u32,
    request: OpenRequest,
    seat: Seat,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    conn: ConnId,
    remote_address: String,
    connected_ms: i64,
    bounds: Bounds,
    limits: Option<TargetLimits>,
    phase: Phase,
    extensions: Extensions,
    /// Channels by the miner's id. Each by itself: a map takes memory for a dozen at once, and most
    /// connections have one.
    channels: BTreeMap<u32, Box<Channel>>,
    /// Channels by ours.
    by_key: BTreeMap<ChannelKey, u32>,
    opening: BTreeMap<ChannelKey, Opening>,
    /// Places for channels, shared with other connections of the address.
    shared: Seats,
    /// Where it counts for those who look; `None`: nobody does.
    presence: Option<Presence>,
    /// Payout keys are of use here.
    payout_keys: bool,
    /// It was told to connect anew.
    dismissed: bool,
    /// One counter for channels and their groups, one for jobs: ids are never used twice.
    next_channel_id: u32,
    next_job_id: u32,
    opened: u32,
    pace: Pace,
    /// Channels with answers to send.
    answered: Vec<u32>,
    /// No channel was told its last message before this; `None`: there was none yet.
    quietest: Option<Duration>,
}

impl Session {
    /// A connection whose handshake is done. `limits`: the pool's, when the link is up.
    #[must_use]
    pub fn new(
        conn: ConnId,
        remote_address: String,
        connected_ms: i64,
        bounds: Bounds,
        limits: Option<TargetLimits>,
    ) -> Self {
        Self {
            conn,
            remote_address,
            connected_ms,
            bounds,
            limits,
            phase: Phase::Setup,
            extensions: Extensions::default(),
            channels: BTreeMap::new(),
            by_key: BTreeMap::new(),
            opening: BTreeMap::new(),
            shared: Seats::default(),
            presence: None,
            payout_keys: false,
            dismissed: false,
            next_channel_id: 1,
            next_job_id: 1,
            opened: 0,
            pace: Pace::new(bounds.rates),
            answered: Vec::new(),
            quietest: None,
        }
    }

    /// Whether SetupConnection succeeded.
    #[must_use]
    pub const fn is_set_up(&self) -> bool {
        matches!(self.phase, Phase::Mining(_))
    }

    /// Whether it has a channel.
    #[must_use]
    pub fn has_channels(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Submits that wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.channels.values().map(|channel| channel.waiting()).sum()
    }

    /// Whether more may be read from the miner.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        self.waiting() < self.bounds.in_flight
    }

    /// Says how long ago the handshake ended, for the steps to come.
    pub const fn set_elapsed(&mut self, elapsed: Duration) {
        self.pace.set_now(elapsed);
    }

    /// Takes one message of the miner; `now` is unix seconds.
    pub fn receive(&mut self, message: Inbound<'_>, now: u32, fx: &mut Effects) {
        let from = fx.out.len();
        self.pace.message(matches!(message, Inbound::Submit { .. }));
        match (&self.phase, message) {
            (Phase::Closed, _) => {}
            (Phase::Setup, Inbound::Setup(setup)) => self.set_up(setup, fx),
            (Phase::Setup, Inbound::MalformedSetup) => self.refuse_malformed_setup(fx),
            (Phase::Setup, _) => self.close(Cause::NoSetup, fx),
            (Phase::Mining(connection), message) => {
                let connection = Arc::clone(connection);
                self.mine(&connection, message, now, fx);
                self.send_answers(fx);
            }
        }
        self.note_told(from, fx);
        self.keep_pace(fx);
    }

    /// No SetupConnection came in time.
    pub fn setup_deadline(&mut self, fx: &mut Effects) {
        if matches!(self.phase, Phase::Setup) {
            self.close(Cause::SetupDeadline, fx);
        }
    }

    /// Counts the channels beside those of other connections.
    #[must_use]
    pub fn seated(mut self, channels: Seats) -> Self {
        self.shared = channels;
        self
    }

    /// Counts there for those who look.
    #[must_use]
    pub fn counted(mut self, presence: Presence) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Takes payout keys with user identities, and tells of credits whoever asks for it, when
    /// `payout_keys`; refuses both otherwise.
    #[must_use]
    pub const fn crediting(mut self, payout_keys: bool) -> Self {
        self.payout_keys = payout_keys;
        self.extensions.set_crediting(payout_keys);
        self
    }

    /// We are going to stop: the miner is told to connect anew, after the answers there are. What
    /// it has sent already, and sends until it hears that, is judged and answered; no channel is
    /// opened any more.
    pub fn dismiss(&mut self, fx: &mut Effects) {
        if self.is_set_up() && !std::mem::replace(&mut self.dismissed, true) {
            fx.out.push(Outbound::Reconnect { host: String::new(), port: 0 });
        }
    }

    /// We stop: the miner is told to connect anew, unless it was, after the answers there are.
    pub fn stop(&mut self, fx: &mut Effects) {
        if self.is_set_up() {
            self.send_away(Cause::Stopping, fx);
        }
    }

    /// The connection ends: frees what it holds at the pool.
    pub fn end(&mut self, fx: &mut Effects) {
        self.extensions.report();
        self.phase = Phase::Closed;
        let keys: Vec<_> = self.by_key.keys().chain(self.opening.keys()).copied().collect();
        for channel in keys {
            fx.commands.push(Command::Close { channel, reason: "connection closed" });
        }
        self.channels.clear();
        self.by_key.clear();
        self.opening.clear();
    }

    fn take_opening(&mut self, key: &ChannelKey) -> Option<Opening> {
        let opening = self.opening.remove(key);
        if self.opening.is_empty() {
            // An emptied map keeps memory for a dozen.
            self.opening = BTreeMap::new();
        }
        opening
    }

    fn close(&mut self, cause: Cause, fx: &mut Effects) {
        self.phase = Phase::Closed;
        fx.close.get_or_insert(cause);
    }

    /// Closes a connection that exceeded a limit.
    fn keep_pace(&mut self, fx: &mut Effects) {
        if let Some(cause) = self.pace.exceeded().filter(|_| !matches!(self.phase, Phase::Closed)) {
            self.close(cause, fx);
        }
    }

    fn new_job_id(&mut self) -> u32 {
        let id = self.next_job_id;
        self.next_job_id += 1;
        id
    }

    /// Sends the answers that are due, in order per channel, and writes them into the journal.
    fn send_answers(&mut self, fx: &mut Effects) {
        let mut answered = std::mem::take(&mut self.answered);
        for id in answered.drain(..) {
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            answers_of(self.conn, channel, &mut self.pace, fx);
        }
        self.answered = answered;
    }
}

fn answers_of(conn: ConnId, channel: &mut Channel, pace: &mut Pace, fx: &mut Effects) {
    let (channel_id, key) = (channel.id(), channel.key().to_wire());
    let Effects { out, lines, named, .. } = fx;
    // Out of the channel, so that both can be used.
    let book = channel.take_book();
    let (mut accepted, mut work, mut last) = (0, Difficulty::default(), 0);
    channel.drain_answers(
        |answer| out.push(Outbound::Answer { channel_id, answer }),
        |settled| {
            let reason = match settled.outcome {
                Outcome::Accepted(credit) => {
                    (accepted, last) = (accepted + 1, settled.sequence);
                    work = work.saturating_add(credit);
                    None
                }
                Outcome::Rejected(reason) | Outcome::Unjudged(reason) => Some(reason),
            };
            let judged = !matches!(settled.outcome, Outcome::Unjudged(_));
            if let Some(book) = &book {
                book.answered(pace.now().saturating_sub(settled.came));
                if let Some(reason) = reason {
                    book.rejected(reason, judged);
                }
                if !settled.worker.is_empty() && book.tells_workers_apart() {
                    named.push((settled.worker, settled.outcome.credit()));
                }
            }
            let answered = (settled.submit_id, settled.sequence, settled.worker);
            if judged {
                pace.answered(reason);
            }
            lines.push(answer_line(conn, key, answered, reason));
        },
    );
    if let Some(book) = book {
        if accepted > 0 {
            book.accepted(accepted, work, last);
        }
        book.named(named);
        named.clear();
        channel.set_book(book);
    }
}

fn answer_line(
    conn: ConnId,
    channel: u64,
    (submit_id, seq, worker): (u64, u32, Short),
    reason: Option<RejectReason>,
) -> Line {
    Line::Answer {
        conn: conn.0,
        channel,
        submit_id,
        seq,
        worker,
        accepted: reason.is_none(),
        reason: reason.map_or("", RejectReason::as_str),
    }
}

/// A share for no channel of this connection: answered at once, there are no elders. `was_open`:
/// there was one. Of others nothing is written down: a peer could fill the disk with it.
fn unknown_channel(
    conn: ConnId,
    (channel_id, was_open): (u32, bool),
    sequence: u32,
    fx: &mut Effects,
) {
    let reason = RejectReason::InvalidChannelId;
    let line =
        was_open.then(|| answer_line(conn, 0, (0, sequence, Short::default()), Some(reason)));
    fx.lines.extend(line);
    fx.out.push(Outbound::Answer { channel_id, answer: Answer::Error { sequence, reason } });
}

fn copied(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
