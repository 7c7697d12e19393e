//! The thin async driver of a [`Session`]: one task per connection owns the socket and everything
//! that belongs to it. A cancelled read or write loses nothing, and nothing is borrowed across an
//! await.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout, Instant};

use super::context::{Context, Peer};
use super::drain::Drain;
use super::passage::{self, Passage};
use super::patience::Patience;
use super::wire::{Done, Wire};
use super::{caps, decode, scratch, Bounds, Cause, Effects, Outbound, Rates, Session};
use crate::backend::ledger::ShareLedger;
use crate::backend::{Command, Port};
use crate::config::Limits;
use crate::frame::{FrameError, Reader, Writer};
use crate::noise::HandshakeError;
use crate::obs::{Counts, Hush, Journal, Line, Place, Presence};
use crate::sys::{stopped, unix_millis, unix_seconds};

/// How long the last messages may take, and the peer may take to hear them, before the close.
const LINGER: Duration = Duration::from_secs(2);
/// Messages taken in a turn, then others have theirs: the runtime counts reads, and there can be
/// many messages in one. A longer message counts as one for each [`MESSAGE`] bytes of it.
const TURN: usize = 64;
/// What no message of a miner that mines is longer than, in bytes.
const MESSAGE: usize = 256;

/// How long a connection without a channel waits for its turn at most, and then goes on without:
/// half of what it has for its setup by default.
const TURN_MAX: Duration = Duration::from_secs(5);

/// When an alarm rings that nobody set.
const FAR: Duration = Duration::from_secs(3_600);

/// Part of the outbox beyond which nothing is read from the miner: its own answers need not fill
/// what is meant for the pool's work.
const READING_PART: usize = 64;

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
    let driver = Driver {
        wire: Wire::new(stream, reader, Writer::new(encryptor)),
        begun: Instant::now(),
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
        coming: &context.coming,
        going: &context.going,
        stop,
    };
    Ok((driver.run().await, presence))
}

struct Driver<'a> {
    wire: Wire,
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
    coming: &'a Passage,
    going: &'a Passage,
    stop: watch::Receiver<bool>,
}

impl<'a> Driver<'a> {
    async fn run(mut self) -> Cause {
        let cause = self.until_closed().await;
        // When thousands are cut off at once. The last words may take long.
        drop(self.going.turn().await);
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
        // A peer that is gone or slow can't be told anything more.
        let _ = timeout(self.linger(), self.wire.farewell()).await;
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
        let drain_timeout = Duration::from_millis(self.limits.drain_timeout_ms);
        let mut patience = Patience::new(self.limits, Instant::now());
        // Set anew only when it has to ring earlier: once in a while it rings for nothing.
        let mut alarm = pin!(sleep(FAR));
        let mut was_full = false;
        let mut drain: Option<Drain> = None;
        loop {
            let held_back = !self.answers_fit() || !self.commands.is_empty();
            let turn = match self.wire.reader.can_go_on() {
                true => self.newcomers_turn().await,
                false => None,
            };
            let stepped = self.step_frames();
            drop(turn);
            match stepped {
                Ok(0) => {}
                Ok(_) => patience.framed(),
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
                if let Err(cause) = self.flush(&mut patience) {
                    return cause;
                }
                if !self.wire.reader.is_mid_frame() {
                    // It may go on on another thread, and this one would have to get memory anew.
                    self.wire.pause();
                }
                yield_now().await;
                continue;
            }
            let listens = self.has_outbox();
            if listens && self.port.events.has_some() {
                if !self.session.has_channels() {
                    // It may take until the turn comes.
                    if let Err(cause) = self.flush(&mut patience) {
                        return cause;
                    }
                }
                let _turn = self.newcomers_turn().await;
                self.turn += 1;
                match self.step_events() {
                    Ok(()) => continue,
                    Err(cause) => return cause,
                }
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
            // What all of it brought about goes out in one piece.
            if let Err(cause) = self.flush(&mut patience) {
                return cause;
            }
            // Frames that have come already may be taken now: nothing else would say so.
            if held_back && self.takes_more() && self.wire.reader.is_mid_frame() {
                continue;
            }
            let reads = drain.as_ref().is_none_or(Drain::reads) && self.takes_more();
            let (now, writes) = (Instant::now(), self.wire.unsent() > 0);
            if self.session.is_set_up() {
                patience.set_up();
            }
            let listens = self.has_outbox();
            patience.wait(writes, !listens, reads && self.wire.reader.is_mid_frame(), now);
            let due = self.session.due().filter(|_| listens).map(|due| self.begun + due);
            let drains = drain.as_ref().map(|drain| drain.wakes(now));
            let rings = [patience.ends(), due, drains].into_iter().flatten().min();
            if let Some(rings) = rings.filter(|rings| *rings < alarm.deadline()) {
                alarm.as_mut().reset(rings);
            }
            let queue = (!self.commands.is_empty()).then(|| self.port.commands.clone());
            if !reads {
                self.wire.pause();
            }
            tokio::select! {
                () = self.port.events.ready(), if listens => {
                    let _turn = self.newcomers_turn().await;
                    self.turn += 1;
                    if let Err(cause) = self.step_events() {
                        return cause;
                    }
                }
                done = self.wire.turn(reads, writes) => match done {
                    // It may have closed only its own direction: what waits is still answered.
                    Done::Read(Ok(0)) => {
                        drain = Some(Drain::closed(drain, Instant::now(), drain_timeout));
                    }
                    Done::Read(Ok(read)) => self.presence.client().bytes_in.add(read as u64),
                    Done::Writable(Ok(())) => {}
                    Done::Read(Err(error)) | Done::Writable(Err(error)) => {
                        return socket_cause(&error);
                    }
                },
                // The place is used at once: others wait for the same queue.
                place = place(queue) => {
                    let Ok(permit) = place else { return Cause::PoolLost };
                    if let Some(command) = self.commands.pop_front() {
                        permit.send(command);
                    }
                }
                () = stopped(&mut self.stop), if drain.is_none() => {
                    // Now, and not when it began to wait.
                    let now = Instant::now();
                    drain = Some(Drain::stopping(now, drain_timeout - self.linger()));
                }
                () = alarm.as_mut() => {
                    let now = Instant::now();
                    alarm.as_mut().reset(now + FAR);
                    let fx = &mut Effects::default();
                    match patience.ended(now) {
                        Some(Cause::SetupDeadline) => self.session.setup_deadline(fx),
                        Some(cause) => return cause,
                        None if listens => {
                            self.session.set_elapsed(self.begun.elapsed());
                            self.session.tick(fx);
                        }
                        None => {}
                    }
                    if let Err(cause) = self.apply(std::mem::take(fx)) {
                        return cause;
                    }
                }
            }
        }
    }

    /// The turn of a connection that has no channel yet: when thousands come at once. None: it
    /// needs none, or goes on without.
    async fn newcomers_turn(&mut self) -> Option<passage::Turn<'a>> {
        if self.session.has_channels() {
            return None;
        }
        // While it waits it has no memory but for what has come of a frame.
        self.wire.pause();
        tokio::select! {
            turn = timeout(TURN_MAX, self.coming.turn()) => turn.ok(),
            () = stopped(&mut self.stop) => None,
        }
    }

    /// Sends what waits, as much of it as the peer takes now.
    fn flush(&mut self, patience: &mut Patience) -> Result<(), Cause> {
        let sent = self.wire.flush().map_err(|error| socket_cause(&error))?;
        if sent > 0 {
            self.presence.client().bytes_out.add(sent as u64);
            patience.sent();
        }
        Ok(())
    }

    /// For the last words; out of the time that a stop may take.
    fn linger(&self) -> Duration {
        LINGER.min(Duration::from_millis(self.limits.drain_timeout_ms) / 2)
    }

    /// Whether more may be written: with too much unsent nothing is taken from either side, so what
    /// waits is bounded by that and one step. A peer that takes nothing, or never enough, runs into
    /// its deadline.
    fn has_outbox(&self) -> bool {
        self.wire.unsent() <= self.limits.outbox_bytes
    }

    /// Whether more of the miner's messages may be answered.
    fn answers_fit(&self) -> bool {
        self.wire.unsent() <= self.limits.outbox_bytes / READING_PART
    }

    /// Whether the socket may be read: no more than the pool and the miner can follow.
    fn takes_more(&self) -> bool {
        self.answers_fit() && self.commands.is_empty() && self.session.takes_more()
    }

    /// Takes the frames that are there, as long as the session takes more, and says how many. What
    /// the good frames before a bad one brought about happens all the same.
    fn step_frames(&mut self) -> Result<usize, Cause> {
        if !self.answers_fit() || !self.wire.reader.is_mid_frame() {
            return Ok(0);
        }
        let (mut fx, mut count) = (scratch::effects(), 0);
        self.session.set_elapsed(self.begun.elapsed());
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
            let frame = match self.wire.next_frame() {
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
            self.session.receive(message, unix_seconds(), fx);
            *count += 1;
            if self.session.is_set_up() {
                self.wire.reader.set_max_payload(self.limits.frame_bytes);
                self.wire.reader.set_caps(caps::after_setup);
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
        let mut fx = scratch::effects();
        self.session.set_elapsed(self.begun.elapsed());
        let memory = self.session.events(events, arrived, &mut fx);
        self.port.events.reuse(memory);
        self.apply(fx)
    }

    /// Carries out what a step brought about. Err: the connection is to be closed.
    fn apply(&mut self, mut fx: Effects) -> Result<(), Cause> {
        // First what others wait for.
        self.commands.extend(fx.commands.drain(..));
        self.push_commands();
        for line in fx.lines.drain(..) {
            self.journal.record(line);
        }
        for (channel, quote) in fx.lookups.drain(..) {
            let answer = self.port.quote_answer(channel);
            // Without one the answer that is dropped says so.
            if let Some(ledger) = self.ledger.and_then(Weak::upgrade) {
                ledger.find_quote(quote, answer);
            }
        }
        for message in &fx.out {
            if let Outbound::OpenError { reason, .. } = message {
                self.counts.channels.refused(*reason);
            }
        }
        self.wire.put(&fx.out).map_err(|(error, message)| {
            tracing::error!(%error, ?message, "a message can't be sent");
            match error {
                FrameError::KeyExhausted => Cause::BadFrame,
                _ => Cause::Encode,
            }
        })?;
        let close = fx.close.take();
        scratch::put_effects(fx);
        close.map_or(Ok(()), Err)
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
