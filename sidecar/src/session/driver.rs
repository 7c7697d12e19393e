//! The thin async driver of a [`Session`]: one task per connection owns the socket and everything
//! that belongs to it. A cancelled read or write loses nothing, and nothing is borrowed across an
//! await.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{sleep_until, timeout, Instant};

use super::drain::Drain;
use super::{caps, decode, farewell, Bounds, Cause, Effects, Outbound, Rates, Session};
use crate::backend::ledger::ShareLedger;
use crate::backend::{Backend, Command, Port};
use crate::config::Limits;
use crate::frame::{FrameError, Reader, Writer};
use crate::noise::{Acceptor, HandshakeError};
use crate::obs::{Clients, Counts, Hush, Journal, Line, Place, Presence};
use crate::sys::{stopped, unix_millis, unix_seconds};
use crate::types::{ConnId, Seats};

/// How long the last messages may take, and the peer may take to hear them, before the close.
const LINGER: Duration = Duration::from_secs(2);
/// Messages taken in a turn, then others have theirs: the runtime counts reads, and there can be
/// many messages in one. A longer message counts as one for each [`MESSAGE`] bytes of it.
const TURN: usize = 64;
/// What no message of a miner that mines is longer than, in bytes.
const MESSAGE: usize = 256;

/// Part of the outbox beyond which nothing is read from the miner: its own answers need not fill
/// what is meant for the pool's work.
const READING_PART: usize = 64;

/// Who has connected.
#[derive(Debug)]
pub struct Peer {
    /// Its number here.
    pub conn: ConnId,
    /// Where it comes from.
    pub address: String,
    /// Places for channels, shared with other connections from there.
    pub channels: Seats,
}

/// What every connection shares. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// Answers handshakes.
    pub acceptor: Acceptor,
    /// The way to the pool.
    pub backend: Backend,
    /// The operator's limits.
    pub limits: Limits,
    /// Extensions without which nobody may mine.
    pub required_extensions: Arc<[u16]>,
    /// Who keeps shares, and knows quotes; `None`: no credit goes to payout keys here. It ends with
    /// the link, whatever connections there are still.
    pub ledger: Option<Weak<dyn ShareLedger>>,
    /// The journal of answers.
    pub journal: Journal,
    /// The connections, for those who look.
    pub clients: Clients,
    /// Where everything is counted.
    pub counts: Counts,
    /// What strangers do is not told without end.
    pub strangers: Arc<Hush>,
}

/// Serves one connection until it ends. `arrived`: when it was accepted. `stop`: true when the
/// process wants to stop.
pub async fn run(
    stream: TcpStream,
    arrived: Instant,
    peer: Peer,
    context: Context,
    stop: watch::Receiver<bool>,
) {
    let conn = peer.conn;
    let cause = match serve(stream, arrived, peer, &context, stop).await {
        Ok((cause, presence)) => {
            let client = presence.client();
            let lasted_ms = unix_millis() - client.connected_ms;
            let (bytes_in, bytes_out) = (client.bytes_in.get(), client.bytes_out.get());
            presence.closed(&cause.to_string());
            let closed = |left_out: Option<u64>| {
                let text = "connection closed";
                tracing::info!(%cause, lasted_ms, bytes_in, bytes_out, left_out, "{text}");
            };
            // Whoever did not get that far is perhaps no miner.
            match client.setup() {
                Some(_) => closed(None),
                None => context.strangers.say(|left_out| closed(Some(left_out))),
            }
            cause.to_string()
        }
        Err(error) => {
            // Counted; goPool counts these lines, too.
            tracing::debug!(%error, "handshake failed");
            "handshake-failed".to_owned()
        }
    };
    context.counts.connections.closed.one(&cause);
    context.journal.record(Line::ConnectionClosed { conn: conn.0, cause });
}

async fn serve(
    mut stream: TcpStream,
    arrived: Instant,
    Peer { conn, address, channels }: Peer,
    context: &Context,
    mut stop: watch::Receiver<bool>,
) -> Result<(Cause, Presence), HandshakeError> {
    let connected_ms = unix_millis();
    let accepted = tokio::select! {
        accepted = context.acceptor.accept(&mut stream, arrived, unix_seconds()) => accepted,
        () = stopped(&mut stop) => Err(HandshakeError::Stopping),
    };
    let ended = accepted.as_ref().err().map_or("ok", HandshakeError::name);
    context.counts.connections.handshakes.one(ended);
    let (encryptor, decryptor) = accepted?;
    let presence = context.clients.enter(conn, address.clone(), connected_ms);
    let limits = &context.limits;
    // Verdicts come one event per batch: in the worst case each alone. A new tip is one event per
    // channel, and a target may come with it.
    let mailbox = limits.mailbox_events
        + limits.max_in_flight_per_connection
        + 4 * limits.max_channels_per_connection;
    let port = context.backend.attach(conn, mailbox);
    let bounds = Bounds {
        channels: limits.max_channels_per_connection,
        in_flight: limits.max_in_flight_per_connection,
        rates: Rates::new(limits),
    };
    let mut reader = Reader::new(decryptor, limits.frame_bytes_before_setup);
    reader.set_caps(caps::before_setup);
    let (from_miner, to_miner) = stream.into_split();
    let driver = Driver {
        from_miner,
        to_miner,
        reader,
        begun: Instant::now(),
        writer: Writer::new(encryptor),
        session: Session::new(conn, address, connected_ms, bounds, port.limits)
            .seated(channels)
            .counted(presence.clone())
            .crediting(context.ledger.is_some())
            .requiring(Arc::clone(&context.required_extensions)),
        port,
        ledger: context.ledger.as_ref(),
        commands: VecDeque::new(),
        turn: 0,
        limits,
        journal: &context.journal,
        counts: &context.counts,
        presence: presence.clone(),
        strangers: &context.strangers,
        stop,
    };
    Ok((driver.run().await, presence))
}

struct Driver<'a> {
    from_miner: OwnedReadHalf,
    to_miner: OwnedWriteHalf,
    reader: Reader,
    writer: Writer,
    session: Session,
    /// The end of the handshake.
    begun: Instant,
    port: Port,
    ledger: Option<&'a Weak<dyn ShareLedger>>,
    /// Commands the pool's queue had no room for yet.
    commands: VecDeque<Command>,
    /// Messages taken in this turn.
    turn: usize,
    limits: &'a Limits,
    journal: &'a Journal,
    counts: &'a Counts,
    presence: Presence,
    strangers: &'a Hush,
    stop: watch::Receiver<bool>,
}

impl Driver<'_> {
    async fn run(mut self) -> Cause {
        let cause = self.until_closed().await;
        match cause {
            Cause::MailboxFull => self.counts.bounds.full(Place::Mailbox),
            Cause::SlowReader => self.counts.bounds.full(Place::Outbox),
            _ => {}
        }
        if cause == Cause::Stopping {
            let mut fx = Effects::default();
            self.session.stop(&mut fx);
            // It ends all the same.
            let _ = self.apply(fx);
        }
        let flushed = timeout(
            self.linger(),
            farewell::say(&mut self.writer, &mut self.to_miner, &mut self.from_miner),
        );
        // A peer that is gone or slow can't be told anything more.
        let _ = flushed.await;
        let mut fx = Effects::default();
        self.session.end(&mut fx);
        self.commands.extend(fx.commands);
        for command in self.commands {
            // Bounded: the link takes or refuses commands all the time.
            if self.port.commands.send(command).await.is_err() {
                break;
            }
        }
        cause
    }

    async fn until_closed(&mut self) -> Cause {
        let setup_deadline = Instant::now() + Duration::from_millis(self.limits.setup_timeout_ms);
        let stall = Duration::from_millis(self.limits.write_stall_ms);
        let mut stall_deadline = Instant::now() + stall;
        let drain_timeout = Duration::from_millis(self.limits.drain_timeout_ms);
        let frame_timeout = Duration::from_millis(self.limits.frame_timeout_ms);
        let mut frame_deadline: Option<Instant> = None;
        let mut was_full = false;
        let mut full_since: Option<Instant> = None;
        let mut drain: Option<Drain> = None;
        loop {
            match self.step_frames() {
                Ok(0) => {}
                // Each frame has its own deadline.
                Ok(_) => frame_deadline = None,
                Err(cause) => return cause,
            }
            self.push_commands();
            let full = !self.session.takes_more();
            if full && !std::mem::replace(&mut was_full, full) {
                self.counts.bounds.full(Place::Unanswered);
            }
            was_full = full;
            if self.turn >= TURN {
                self.turn = 0;
                yield_now().await;
                continue;
            }
            if let Some(drain) = &mut drain {
                let idle = self.session.waiting() == 0 && self.commands.is_empty();
                let mut fx = Effects::default();
                let over = drain.step(&mut self.session, idle, Instant::now(), &mut fx);
                let failed = self.apply(fx).err();
                if let Some(cause) = failed.or_else(|| over.then(|| drain.cause.clone())) {
                    return cause;
                }
            }
            let reads = drain.as_ref().is_none_or(Drain::reads) && self.takes_more();
            frame_deadline = (reads && self.reader.is_mid_frame())
                .then(|| frame_deadline.unwrap_or_else(|| Instant::now() + frame_timeout));
            let set_up = self.session.is_set_up();
            let due = self.session.due();
            let writes = !self.writer.pending().is_empty();
            let listens = self.has_outbox();
            let queue = (!self.commands.is_empty()).then(|| self.port.commands.clone());
            let now = Instant::now();
            let drain_step = drain.as_ref().map_or(now, |drain| drain.wakes(now));
            full_since = (!listens).then(|| full_since.unwrap_or(now));
            let full_deadline = full_since.unwrap_or(now) + stall;
            tokio::select! {
                () = self.port.events.ready(), if listens => {
                    if let Err(cause) = self.step_events() {
                        return cause;
                    }
                }
                read = self.from_miner.read_buf(self.reader.room()), if reads => match read {
                    // It may have closed only its own direction: what waits is still answered.
                    Ok(0) => {
                        drain = Some(Drain::closed(drain, now, drain_timeout));
                    }
                    Ok(read) => self.presence.client().bytes_in.add(read as u64),
                    Err(error) => return socket_cause(&error),
                },
                sent = self.to_miner.write(self.writer.pending()), if writes => match sent {
                    Ok(0) => return Cause::PeerClosed,
                    Ok(sent) => {
                        self.writer.advance(sent);
                        self.presence.client().bytes_out.add(sent as u64);
                        stall_deadline = Instant::now() + stall;
                    }
                    Err(error) => return socket_cause(&error),
                },
                // The place is used at once: others wait for the same queue.
                place = place(queue) => {
                    let Ok(permit) = place else { return Cause::PoolLost };
                    if let Some(command) = self.commands.pop_front() {
                        permit.send(command);
                    }
                }
                () = sleep_until(setup_deadline), if !set_up => {
                    let mut fx = Effects::default();
                    self.session.setup_deadline(&mut fx);
                    if let Err(cause) = self.apply(fx) {
                        return cause;
                    }
                }
                () = sleep_until(self.begun + due.unwrap_or_default()),
                    if due.is_some() && listens =>
                {
                    let mut fx = Effects::default();
                    self.session.set_elapsed(self.begun.elapsed());
                    self.session.tick(&mut fx);
                    if let Err(cause) = self.apply(fx) {
                        return cause;
                    }
                }
                () = sleep_until(stall_deadline), if writes => return Cause::SlowReader,
                // It takes just enough to go on.
                () = sleep_until(full_deadline), if full_since.is_some() => {
                    return Cause::SlowReader;
                }
                () = sleep_until(frame_deadline.unwrap_or(now)), if frame_deadline.is_some() => {
                    return Cause::FrameDeadline;
                }
                () = stopped(&mut self.stop), if drain.is_none() => {
                    drain = Some(Drain::stopping(now, drain_timeout - self.linger()));
                }
                () = sleep_until(drain_step), if drain.is_some() => {}
            }
            if !writes {
                stall_deadline = Instant::now() + stall;
            }
        }
    }

    /// For the last words; out of the time that a stop may take.
    fn linger(&self) -> Duration {
        LINGER.min(Duration::from_millis(self.limits.drain_timeout_ms) / 2)
    }

    /// Whether more may be written: with too much unsent nothing is taken from either side, so what
    /// waits is bounded by that and one step. A peer that takes nothing, or never enough, runs into
    /// its deadline.
    fn has_outbox(&self) -> bool {
        self.writer.pending().len() <= self.limits.outbox_bytes
    }

    /// Whether more of the miner's messages may be answered.
    fn answers_fit(&self) -> bool {
        self.writer.pending().len() <= self.limits.outbox_bytes / READING_PART
    }

    /// Whether the socket may be read: no more than the pool and the miner can follow.
    fn takes_more(&self) -> bool {
        self.answers_fit() && self.commands.is_empty() && self.session.takes_more()
    }

    /// Takes the frames that are there, as long as the session takes more, and says how many. What
    /// the good frames before a bad one brought about happens all the same.
    fn step_frames(&mut self) -> Result<usize, Cause> {
        if !self.answers_fit() {
            return Ok(0);
        }
        let mut fx = Effects::default();
        let mut count = 0;
        let taken = self.take_frames(&mut fx, &mut count);
        if count > 0 {
            self.presence.active();
        }
        self.apply(fx).and(taken)?;
        Ok(count)
    }

    fn take_frames(&mut self, fx: &mut Effects, count: &mut usize) -> Result<(), Cause> {
        while self.commands.is_empty()
            && fx.close.is_none()
            && self.turn < TURN
            && self.session.takes_more()
        {
            let frame = match self.reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    self.strangers.say(|left_out| {
                        tracing::info!(%error, left_out, "closing: bad frame");
                    });
                    return Err(Cause::BadFrame);
                }
            };
            self.turn += 1 + frame.payload.len() / MESSAGE;
            let message = decode(frame).map_err(|error| {
                self.strangers.say(|left_out| {
                    tracing::info!(%error, left_out, "closing: bad message");
                });
                Cause::BadMessage
            })?;
            self.session.set_elapsed(self.begun.elapsed());
            self.session.receive(message, unix_seconds(), fx);
            *count += 1;
            if self.session.is_set_up() {
                self.reader.set_max_payload(self.limits.frame_bytes);
                self.reader.set_caps(caps::after_setup);
            }
        }
        Ok(())
    }

    /// Takes what the mailbox holds in one step, so that only the newest job is announced.
    fn step_events(&mut self) -> Result<(), Cause> {
        let (events, arrived) = self.port.events.take();
        if events.is_empty() {
            return Err(Cause::MailboxFull);
        }
        let mut fx = Effects::default();
        self.session.set_elapsed(self.begun.elapsed());
        self.session.events(events, arrived, &mut fx);
        self.apply(fx)
    }

    /// Carries out what a step brought about. Err: the connection is to be closed.
    fn apply(&mut self, fx: Effects) -> Result<(), Cause> {
        for line in fx.lines {
            self.journal.record(line);
        }
        for (channel, quote) in fx.lookups {
            let answer = self.port.quote_answer(channel);
            // Without one the answer that is dropped says so.
            if let Some(ledger) = self.ledger.and_then(Weak::upgrade) {
                ledger.find_quote(quote, answer);
            }
        }
        self.commands.extend(fx.commands);
        for message in &fx.out {
            if let Outbound::OpenError { reason, .. } = message {
                self.counts.channels.refused(*reason);
            }
            message.write(&mut self.writer).map_err(|error| {
                tracing::error!(%error, ?message, "a message can't be sent");
                match error {
                    FrameError::KeyExhausted => Cause::BadFrame,
                    _ => Cause::Encode,
                }
            })?;
        }
        match fx.close {
            Some(cause) => Err(cause),
            None => Ok(()),
        }
    }

    fn push_commands(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            if let Err(refused) = self.port.commands.try_send(command) {
                self.counts.bounds.full(Place::Commands);
                return self.commands.push_front(refused.into_inner());
            }
        }
    }
}

/// A place in the queue, when one is wanted.
async fn place(
    queue: Option<mpsc::Sender<Command>>,
) -> Result<mpsc::OwnedPermit<Command>, mpsc::error::SendError<()>> {
    match queue {
        Some(queue) => queue.reserve_owned().await,
        None => std::future::pending().await,
    }
}

fn socket_cause(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Cause::PeerClosed,
        _ => {
            tracing::info!(%error, "socket");
            Cause::Socket
        }
    }
}
