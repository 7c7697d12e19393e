//! The pool's sessions: how they begin, go on with another stream, and end; and opens and closes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use gopool_sv2_proto::v1;
use prost::Message as _;

use super::host::{level, target, Channel, Host, LEVELS};
use super::pool::{Entry, PoolSession};
use super::stage::{Event, Promise};
use super::wire::{ToPool, ToSidecar};
use super::world::World;

impl World {
    pub(super) fn pool_hello(&mut self, stream: u64, hello: &v1::Hello) {
        if hello.cancelled_submit_ids.len() > hello.max_in_flight as usize {
            let text = format!("{} are cancelled", hello.cancelled_submit_ids.len());
            self.stage.breaks(Promise::Bounds, text);
        }
        // What an older Hello says of open channels holds no more, and its stream is left already.
        let late = self.pool.session.as_ref().is_some_and(|s| hello.dial <= s.dial);
        self.stage.counts.late_hellos += u64::from(late);
        if late || self.pool.draining {
            self.wire.leave_pool(&mut self.stage, stream);
            return;
        }
        // The epoch is the session's: one that began behind the sidecar's back, because its Welcome
        // was lost, must not pass for the one before.
        let resumed = self.pool.session.as_ref().is_some_and(|s| hello.last_epoch == s.epoch());
        let older = self.pool.session.as_ref().and_then(|session| session.latest);
        if let Some(older) = older {
            self.stage.counts.fenced += 1;
            self.fence(older);
        }
        if !resumed {
            self.pool_ends_session();
            self.pool.lives += 1;
            self.pool.session = Some(PoolSession {
                life: self.pool.lives,
                max_in_flight: hello.max_in_flight as usize,
                latest: Some(stream),
                dial: hello.dial,
                breaks: 0,
                ring: VecDeque::new(),
                stream,
                last_submit: 0,
                channels: BTreeMap::new(),
                cancelled: BTreeSet::new(),
                left: BTreeSet::new(),
                kicks: BTreeMap::new(),
                seq: 0,
            });
        }
        let repairs = if resumed { self.pool_resumes(stream, hello) } else { Vec::new() };
        let last_submit_id = self.pool.session.as_ref().map_or(0, |s| s.last_submit);
        let easiest = self.pool.host.as_ref().map_or(0, |host| host.easiest);
        let welcome = v1::Welcome {
            protocol: 1,
            epoch: self.pool.session.as_ref().map_or(Bytes::new(), PoolSession::epoch),
            resumed,
            easiest_target: Bytes::copy_from_slice(&target(easiest).0),
            hardest_target: Bytes::new(),
            resume_window_ms: self.limits.window as u32,
            verdict_ring: hello.max_in_flight,
            software: String::new(),
            last_submit_id,
        };
        // Before all that waits already.
        let bytes = welcome.encode_to_vec();
        self.stage.trace(format_args!("{stream} <- Welcome, resumed: {resumed}"), &bytes);
        self.wire.send_to_sidecar(&mut self.stage, stream, ToSidecar::Welcome(welcome));
        let link = self.pool.links.entry(stream).or_default();
        link.again = last_submit_id;
        link.welcomed = true;
        for entry in repairs {
            self.pool_says(entry);
        }
        self.pool_wakes(stream);
    }

    /// Of what is under way on a stream that another replaces, only shares and closes are taken.
    fn fence(&mut self, older: u64) {
        let arrived = self.wire.leave_pool(&mut self.stage, older);
        for message in arrived {
            match message {
                ToPool::SubmitBatch(batch) => self.pool_submits(older, batch.submits),
                ToPool::CloseChannel(close) => self.pool_hears_close(close),
                _ => {}
            }
        }
        self.pool.links.remove(&older);
    }

    fn pool_resumes(&mut self, stream: u64, hello: &v1::Hello) -> Vec<Entry> {
        let Some(session) = &mut self.pool.session else { return Vec::new() };
        (session.latest, session.dial) = (Some(stream), hello.dial);
        session.breaks += 1;
        if self.pool.counts_anew {
            session.seq = 0;
        }
        let have: BTreeSet<u64> = hello.open_channel_ids.iter().copied().collect();
        session.stream = stream;
        // Cancelled before closed.
        self.pool_cancels(&hello.cancelled_submit_ids);
        let Some(session) = &mut self.pool.session else { return Vec::new() };
        let stays = |id: &u64, c: &Channel| have.contains(id) && c.open;
        let missing = session.channels.iter().filter(|(id, c)| !stays(id, c));
        let missing: Vec<_> = missing.map(|(id, _)| *id).collect();
        for id in missing {
            self.sidecar_closed(id);
        }
        let Some(session) = &mut self.pool.session else { return Vec::new() };
        let mut repairs = Vec::new();
        for id in have.iter().filter(|id| !session.channels.contains_key(id)) {
            let plain = v1::Kick {
                channel_id: *id,
                action: v1::KickAction::CloseChannel.into(),
                reason: "closed by the pool".into(),
                ..v1::Kick::default()
            };
            let mut kick = session.kicks.get(id).cloned().unwrap_or(plain);
            kick.channel_id = *id;
            repairs.push(Entry::message(ToSidecar::Kick(kick)));
        }
        for (channel_id, channel) in session.channels.iter().filter(|(_, c)| c.retargeted) {
            let target = Bytes::copy_from_slice(&target(channel.wanted).0);
            let set = v1::SetTarget { channel_id: *channel_id, target };
            repairs.push(Entry::message(ToSidecar::SetTarget(set)));
        }
        for (id, channel) in &session.channels {
            repairs.extend(channel.newest.iter().map(|job| Entry::Job(*id, Arc::clone(job))));
        }
        repairs
    }

    /// The stream is over for the pool.
    pub(super) fn pool_left(&mut self, stream: u64) {
        self.wire.leave_pool(&mut self.stage, stream);
        self.pool.links.remove(&stream);
        let Some(session) = &mut self.pool.session else { return };
        if session.latest != Some(stream) {
            return;
        }
        session.latest = None;
        session.breaks += 1;
        self.stage.after(self.limits.window, Event::Window(session.breaks));
    }

    pub(super) fn pool_window(&mut self, breaks: u64) {
        let over = |s: &PoolSession| s.latest.is_none() && s.breaks == breaks;
        if self.pool.session.as_ref().is_some_and(over) {
            self.stage.trace(format_args!("the pool's session ends"), &[]);
            self.stage.counts.sessions_expired += 1;
            self.pool_ends_session();
        }
    }

    fn pool_ends_session(&mut self) {
        // Whoever comes next waits until all is closed.
        let Some(session) = self.pool.session.take() else { return };
        if let Some(host) = &mut self.pool.host {
            let open = session.channels.values().filter(|channel| channel.open);
            open.for_each(|channel| host.free(channel.prefix));
        }
    }

    pub(super) fn pool_boots(&mut self) {
        if self.pool.host.is_some() {
            return;
        }
        self.stage.counts.restarts += u64::from(self.pool.epochs > 0);
        self.pool.epochs += 1;
        self.pool.draining = false;
        self.pool.host = Some(Host::new(&mut self.stage, self.pool.epochs));
        self.stage.trace(format_args!("the pool starts, epoch {}", self.pool.epochs), &[]);
        let soon = self.stage.between(300, 2_000);
        self.stage.after(soon, Event::Work(self.pool.epochs));
    }

    pub(super) fn pool_crashes(&mut self) {
        if self.pool.host.take().is_none() {
            return;
        }
        self.stage.trace(format_args!("the pool dies"), &[]);
        self.pool.session = None;
        self.pool.links.clear();
        for stream in self.wire.open_streams() {
            self.wire.break_stream(&mut self.stage, stream);
        }
        let down = if self.calm || self.stage.chance(70) { 1_500 } else { 16_000 };
        let down = self.stage.between(10, down);
        self.stage.after(down, Event::Boot);
    }

    pub(super) fn pool_opens(&mut self, stream: u64, open: v1::OpenChannel) {
        self.pool.orders += 1;
        let (order, id) = (self.pool.orders, open.channel_id);
        let Some(session) = &mut self.pool.session else { return };
        if session.channels.contains_key(&id) {
            let text = format!("OpenChannel {id:x} on {stream} is in use");
            return self.stage.breaks(Promise::Contract, text);
        }
        if !self.pool.links.entry(stream).or_default().opens.insert(id) {
            let text = format!("OpenChannel {id:x} comes again on {stream}");
            return self.stage.breaks(Promise::Contract, text);
        }
        session.channels.insert(id, Channel::new(open, order));
        let luck = self.stage.between(if self.calm { 10 } else { 0 }, 99);
        let most = match luck {
            0..=2 => return, // it hangs until it is closed
            3..=5 => 9_000,
            6..=14 => 900,
            _ => 30,
        };
        let soon = self.stage.between(0, most);
        self.stage.after(soon, Event::OpenDone(session.life, id, order));
    }

    pub(super) fn pool_opened(&mut self, life: u32, id: u64, order: u64) {
        let now = self.unix_now(self.pool.skew);
        let calm = self.calm;
        let (Some(session), Some(host)) = (&mut self.pool.session, &mut self.pool.host) else {
            return;
        };
        if session.life != life {
            return;
        }
        let Some(channel) = session.channels.get_mut(&id).filter(|c| c.order == order) else {
            return; // closed meanwhile
        };
        let reopen = channel.request.reopen;
        let bad_luck = !calm && self.stage.chance(3);
        if !self.pool.has_work || self.pool.draining || bad_luck {
            session.channels.remove(&id);
            if let Some(link) = session.latest.and_then(|s| self.pool.links.get_mut(&s)) {
                link.opens.remove(&id);
            }
            self.stage.counts.reopens_refused += u64::from(reopen);
            let reason = match bad_luck {
                true => v1::RefuseReason::Unauthorized,
                false if self.stage.chance(50) => v1::RefuseReason::RateLimited,
                false => v1::RefuseReason::NoWork,
            };
            let reason = reason.into();
            let refused = v1::ChannelRefused { channel_id: id, reason, detail: String::new() };
            return self.pool_says(Entry::message(ToSidecar::ChannelRefused(refused)));
        }
        self.stage.counts.reopened += u64::from(reopen);
        let grantable = self.pool.grantable;
        channel.prefix = host.grant(&channel.request.wanted_extranonce_prefix, grantable);
        channel.open = true;
        channel.wanted = match reopen && self.stage.chance(70) {
            true => level(&channel.request.last_target),
            false => self.stage.between(0, LEVELS.into()) as u8,
        };
        let job = Arc::new(host.job(&mut self.stage, life, self.pool.tip, now));
        channel.give(&job);
        let opened = v1::ChannelOpened {
            channel_id: id,
            extranonce_prefix: Bytes::copy_from_slice(&channel.prefix.to_be_bytes()),
            extranonce_size: channel.rolls(),
            target: Bytes::copy_from_slice(&target(channel.wanted).0),
            job: Some((*job).clone()),
        };
        self.pool_says(Entry::message(ToSidecar::ChannelOpened(opened)));
    }

    pub(super) fn pool_hears_close(&mut self, close: v1::CloseChannel) {
        self.pool_cancels(&close.cancelled_submit_ids);
        self.sidecar_closed(close.channel_id);
    }

    pub(super) fn pool_hears_report(&mut self, report: &v1::TargetInEffect) {
        let session = self.pool.session.as_mut();
        if let Some(channel) = session.and_then(|s| s.channels.get_mut(&report.channel_id)) {
            channel.reports(report);
        }
    }

    /// The sidecar has answered these: they are not credited.
    fn pool_cancels(&mut self, cancelled: &[u64]) {
        let Some(session) = &mut self.pool.session else { return };
        let cancelled: BTreeSet<u64> = cancelled.iter().copied().collect();
        let owed = session.channels.values().flat_map(|c| c.owed.intersection(&cancelled));
        let owed: Vec<_> = owed.copied().collect();
        session.cancelled.extend(owed);
        for answered in &session.ring {
            let id = answered.verdict.submit_id;
            if cancelled.contains(&id) {
                self.truth.uncredited(&mut self.stage, id);
            }
        }
        session.ring.retain(|answered| !cancelled.contains(&answered.verdict.submit_id));
    }

    /// The sidecar has closed a channel: it waits for none of its answers and has room for others,
    /// so they must not push out of the ring what is waited for.
    fn sidecar_closed(&mut self, id: u64) {
        if let Some(session) = &mut self.pool.session {
            session.ring.retain(|answered| answered.channel != id);
            let owed = session.channels.get(&id).map(|c| c.owed.iter().copied());
            session.left.extend(owed.into_iter().flatten());
        }
        self.pool_closes(id);
    }

    /// A channel is closed at the pool, whoever wants it. Its prefix is free a little later.
    pub(super) fn pool_closes(&mut self, id: u64) {
        let channel = self.pool.session.as_mut().and_then(|s| s.channels.remove(&id));
        let epoch = self.pool.host.as_ref().map(|host| host.epoch);
        if let (Some(channel), Some(epoch)) = (channel.filter(|c| c.open), epoch) {
            let most = if self.stage.chance(90) { 2 } else { 200 };
            let soon = self.stage.between(0, most);
            self.stage.after(soon, Event::Free(epoch, channel.prefix));
        }
    }

    pub(super) fn pool_frees(&mut self, epoch: u32, prefix: u32) {
        if let Some(host) = self.pool.host.as_mut().filter(|host| host.epoch == epoch) {
            host.free(prefix);
        }
    }

    /// New work for all channels, and the next round of it.
    pub(super) fn pool_works(&mut self, epoch: u32) {
        if self.pool.host.as_ref().is_none_or(|host| host.epoch != epoch) {
            return;
        }
        if !self.rests && self.stage.chance(40) {
            self.pool.tip += 1;
        }
        self.pool_gives_work();
        // Two at once, now and then.
        let pause = if self.stage.chance(15) { (0, 15) } else { (300, 2_500) };
        let soon = self.stage.between(pause.0, pause.1);
        self.stage.after(soon, Event::Work(epoch));
    }

    pub(super) fn pool_gives_work(&mut self) {
        let now = self.unix_now(self.pool.skew);
        let (Some(session), Some(host)) = (&mut self.pool.session, &mut self.pool.host) else {
            return;
        };
        let mut job = Arc::new(host.job(&mut self.stage, session.life, self.pool.tip, now));
        let mut entries = Vec::new();
        for (id, channel) in session.channels.iter_mut().filter(|(_, c)| c.open) {
            if host.own_jobs && !entries.is_empty() {
                job = Arc::new(host.job(&mut self.stage, session.life, self.pool.tip, now));
            }
            channel.give(&job);
            entries.push(Entry::Job(*id, Arc::clone(&job)));
        }
        for entry in entries {
            self.pool_says(entry);
        }
    }

    /// The pool sends a miner away.
    pub(super) fn pool_kicks(&mut self, id: u64, action: v1::KickAction) {
        let Some(session) = &mut self.pool.session else { return };
        let Some(conn) = session.channels.get(&id).filter(|c| c.open).map(|c| c.conn) else {
            return;
        };
        self.stage.counts.kicks += 1;
        let whole = action != v1::KickAction::CloseChannel;
        let of_it =
            session.channels.iter().filter(|(other, c)| **other == id || (whole && c.conn == conn));
        let gone: Vec<_> = of_it.map(|(id, _)| *id).collect();
        let reason = "sent away".into();
        let kick = v1::Kick { channel_id: id, action: action.into(), reason, ..Default::default() };
        for id in gone {
            if let Some(session) = &mut self.pool.session {
                session.kicks.insert(id, kick.clone());
            }
            self.pool_closes(id);
        }
        self.pool_says(Entry::message(ToSidecar::Kick(kick)));
    }
}
