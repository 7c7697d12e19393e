//! How the model follows a step, and what it expects of it.

use super::*;

impl Model {
    /// The listener stops.
    pub const fn stops(&mut self) {
        self.sweeps = true;
    }

    /// The miner says this.
    pub fn hears(&mut self, message: &Inbound<'_>) {
        self.heard = Some(match message {
            Inbound::Open(open) => Heard::Open {
                request_id: open.request_id,
                kind: open.kind,
                most: open.max_target,
                min_size: open.min_extranonce_size,
            },
            Inbound::Submit { kind, channel_id, sequence, .. } => {
                let chan = self.chans.get_mut(channel_id).filter(|chan| chan.kind == *kind);
                let known = self.set_up && chan.is_some();
                self.sequence = self.sequence.max(*sequence).min(u32::MAX - 1);
                if let Some(chan) = chan {
                    chan.submits.push_back((*sequence, State::Refused));
                }
                Heard::Submit { channel: *channel_id, sequence: *sequence, known }
            }
            Inbound::Update { channel_id, max_target, .. } => {
                Heard::Update { channel: *channel_id, most: *max_target }
            }
            Inbound::Close { channel_id } => Heard::Close { id: *channel_id },
            _ => Heard::Other,
        });
    }

    /// The pool says this.
    pub fn told(&mut self, event: &Event) {
        match event {
            Event::LinkUp(limits) => self.limits = Some(*limits),
            Event::LinkLost => {
                self.sweeps = true;
                self.limits = None;
                self.held.clear();
            }
            Event::Opened { channel, generation, grant, job } => {
                self.sweeps |= job.version_mask == 0;
                self.granted = Some((*channel, *generation, grant.clone()));
            }
            Event::Reopened { channel, generation, target, job } => {
                self.sweeps |= job.version_mask == 0;
                let limits = self.limits;
                if let Some(chan) = self.chan(*channel) {
                    chan.generation = *generation;
                    chan.limits = limits.unwrap_or(chan.limits);
                    (chan.wanted, chan.pool_knows) = (*target, *target);
                    // The tip is told again, whatever it is.
                    chan.tip = None;
                }
            }
            Event::Unrestored { channel } => {
                self.sweeps = true;
                self.held.remove(channel);
            }
            Event::Unjudged(submits) => {
                for (judged, _) in submits {
                    self.judged(judged);
                }
            }
            Event::Refused { channel, .. } => {
                if self.asked.contains_key(channel) {
                    self.held.remove(channel);
                }
            }
            Event::Verdict(judged) => self.judged(judged),
            Event::Updated { channel, request, refused } => {
                let found = self.updates.iter().position(|u| (u.0, u.1) == (*channel, *request));
                let Some(found) = found else { return };
                let (_, _, most) = self.updates.remove(found);
                if let (None, Some(chan)) = (refused, self.chan(*channel)) {
                    chan.most = most;
                }
            }
            Event::Target { channel, target } => {
                if let Some(chan) = self.chan(*channel) {
                    (chan.wanted, chan.pool_knows) = (*target, *target);
                }
            }
            Event::Job { job, .. } => self.sweeps |= job.version_mask == 0,
            Event::Kick { channel, kick } => {
                self.sweeps = true;
                match kick.action {
                    KickAction::CloseChannel => drop(self.held.remove(channel)),
                    _ => self.held.clear(),
                }
            }
            Event::BlockResult { .. } | Event::QuoteFound { .. } | Event::MintCredit { .. } => {}
        }
    }

    fn judged(&mut self, judged: &Judged) {
        let is = |w: &Waiting| (w.key, w.token) == (judged.channel, judged.token);
        let Some(found) = self.waiting.iter().position(is) else { return };
        let Waiting { key, token, sequence, .. } = self.waiting.remove(found);
        // Sequence numbers may repeat; tokens rise.
        let elder = |w: &&Waiting| w.key == key && w.sequence == sequence && w.token < token;
        let elders = self.waiting.iter().filter(elder).count();
        let Some(chan) = self.chan(key) else { return };
        let open = |submit: &&mut (u32, State)| *submit == &mut (sequence, State::Waits);
        let submit = chan.submits.iter_mut().filter(open).nth(elders).expect("a submit that waits");
        submit.1 = match judged.verdict {
            Verdict::Accepted { credit, .. } => State::Accepted(credit),
            Verdict::Rejected(_) => State::Refused,
        };
    }

    /// What the step brought about is what it may.
    pub fn saw(&mut self, session: &Session, fx: Effects) {
        let heard = self.heard.take();
        let over = fx.close.is_some();
        let before = fx.commands.len();
        let answers = fx.out.iter().map(|message| self.out(message, heard)).sum::<usize>();
        for command in &fx.commands {
            self.command(command, heard);
        }
        if let (Some(Heard::Open { .. } | Heard::Update { .. }), true, false) =
            (heard, self.set_up, over)
        {
            let questions = before + fx.lookups.len();
            assert_eq!(questions + fx.out.len(), 1, "one answer or one question: {fx:?}");
        }
        if let (Some(Heard::Submit { known: false, .. }), true, false) = (heard, self.set_up, over)
        {
            assert_eq!(answers, 1, "a share for no channel is answered at once");
        }
        if let Some(Heard::Close { id }) = heard {
            let gone = |(own, chan): (&u32, &Chan)| *own == id || chan.group == id;
            let found = self.chans.iter().find(|(own, chan)| gone((own, chan))).map(|c| *c.0);
            if let Some(chan) = found.filter(|_| self.set_up).and_then(|id| self.chans.remove(&id))
            {
                assert!(!self.held.contains(&chan.key), "the pool isn't told of a close");
                self.waiting.retain(|w| w.key != chan.key);
                self.updates.retain(|u| u.0 != chan.key);
            }
        }
        self.granted = None;
        self.sweeps = false;
        self.over |= over;
        if over {
            return;
        }
        for (id, chan) in &self.chans {
            assert!(chan.tip.is_some(), "{id}: a channel without work");
            let due = chan.submits.front().is_some_and(|s| s.1 != State::Waits);
            assert!(!due, "{id}: an answer is held back: {:?}", chan.submits);
            assert_eq!(chan.told, chan.bound(), "{id}: the miner's target");
            assert_eq!(chan.pool_knows, chan.told, "{id}: what the pool takes for it");
            assert_eq!(chan.summed, chan.credited.whole, "{id}: credit that was told");
        }
        let waiting: usize = self.chans.values().map(|chan| chan.submits.len()).sum();
        assert_eq!(session.waiting(), waiting);
        assert!(self.chans.len() + self.asked.len() <= self.bounds.channels);
        assert_eq!(session.is_set_up(), self.set_up);
    }

    fn command(&mut self, command: &Command, heard: Option<Heard>) {
        match (command, heard) {
            (
                Command::Open { channel, request, .. },
                Some(Heard::Open { request_id, kind, most, min_size }),
            ) => {
                assert!(self.set_up && self.limits.is_some() && channel.conn() == self.conn);
                assert!(self.used.insert(*channel), "a key is used twice");
                assert_eq!((request.kind, request.max_target), (kind, most));
                assert!(request.nominal_hash_rate.is_finite() && request.nominal_hash_rate >= 0.0);
                assert_ne!(most, Target::ZERO);
                self.held.insert(*channel);
                self.asked.insert(*channel, Asked { request_id, kind, most, min_size });
            }
            (
                Command::Submit { channel, token, generation, submit },
                Some(Heard::Submit { channel: id, sequence, known: true }),
            ) => {
                let chan = self.chans.get_mut(&id).expect("a channel");
                assert_eq!((*channel, *generation), (chan.key, chan.generation));
                assert_eq!(submit.extranonce.len(), chan.size);
                let last = chan.submits.back_mut().expect("the submit");
                assert_eq!(last.0, sequence);
                last.1 = State::Waits;
                let (key, token, submit) = (*channel, *token, *submit);
                self.waiting.push(Waiting { key, token, sequence, submit });
            }
            (
                Command::Update { channel, request, max_target, .. },
                Some(Heard::Update { channel: id, most }),
            ) => {
                assert_eq!((*channel, *max_target), (self.chans[&id].key, most));
                self.updates.push((*channel, *request, most));
            }
            (Command::TargetInEffect { channel, wanted, target }, _) => {
                let chan = self.chan(*channel).expect("an open channel");
                assert_eq!(*wanted, chan.wanted, "the target that is answered");
                chan.pool_knows = *target;
            }
            (Command::Close { channel, .. }, _) => {
                self.held.remove(channel);
            }
            (command, heard) => panic!("{command:?} after {heard:?}"),
        }
    }

    /// One message for the miner; 1 when it answers a share for no channel.
    fn out(&mut self, message: &Outbound, heard: Option<Heard>) -> usize {
        messages::check(message);
        meet(match message {
            Outbound::SetupSuccess { .. } | Outbound::SetupError { .. } => "setup",
            Outbound::Opened(_) => "opened",
            Outbound::OpenError { .. } => "open error",
            Outbound::Job { announcement, .. } if announcement.new_tip.is_some() => "new tip",
            Outbound::Job { .. } => "job",
            Outbound::Target { .. } => "target",
            Outbound::UpdateError { .. } => "update error",
            Outbound::Answer { answer: Answer::Success { count: 1, .. }, .. } => "success",
            Outbound::Answer { answer: Answer::Success { .. }, .. } => "success of several",
            Outbound::Answer { answer: Answer::Error { .. }, .. } => "error",
            Outbound::Close { .. } => "close",
            Outbound::Reconnect { .. } => "reconnect",
            _ => "others",
        });
        assert!(
            self.set_up
                || matches!(message, Outbound::SetupSuccess { .. } | Outbound::SetupError { .. }),
            "before the setup: {message:?}"
        );
        match message {
            Outbound::SetupSuccess { version: 2, flags: 0 } => self.set_up = true,
            Outbound::SetupError { .. } => assert!(!self.set_up),
            Outbound::Opened(opened) => self.opens(opened),
            Outbound::OpenError { request_id, .. } => {
                let found = self.asked.iter().find(|asked| asked.1.request_id == *request_id);
                if let Some(key) = found.map(|asked| *asked.0) {
                    self.asked.remove(&key);
                } else {
                    let own = matches!(
                        heard,
                        Some(Heard::Open { request_id: r, .. }) if r == *request_id
                    );
                    assert!(own, "nobody asked: {message:?}");
                }
            }
            Outbound::Job { channel_id, announcement } => self.works(*channel_id, announcement),
            Outbound::Target { channel_id, target } => {
                self.chans.get_mut(channel_id).expect("an open channel").told = *target;
            }
            Outbound::Answer { channel_id, answer } => {
                if let Some(Heard::Submit { channel, sequence, known: false }) = heard {
                    let reason = RejectReason::InvalidChannelId;
                    assert_eq!(
                        (*channel_id, *answer),
                        (channel, Answer::Error { sequence, reason })
                    );
                    return 1;
                }
                self.answered(*channel_id, *answer);
            }
            Outbound::Close { channel_id, .. } => {
                assert!(self.sweeps, "a channel is closed for nothing");
                let chan = self.chans.remove(channel_id).expect("an open channel");
                assert!(chan.submits.is_empty(), "closed without an answer: {:?}", chan.submits);
                self.waiting.retain(|w| w.key != chan.key);
                self.updates.retain(|u| u.0 != chan.key);
            }
            Outbound::UpdateError { .. }
            | Outbound::CustomJobError { .. }
            | Outbound::ExtensionsSuccess { .. }
            | Outbound::ExtensionsError { .. }
            | Outbound::Reconnect { .. } => {}
            other => panic!("{other:?}"),
        }
        0
    }

    fn opens(&mut self, opened: &Opened) {
        let (key, generation, grant) = self.granted.take().expect("a grant");
        let asked = self.asked.remove(&key).expect("somebody asked");
        assert_eq!((opened.request_id, opened.kind), (asked.request_id, asked.kind));
        assert_eq!((opened.channel_id, opened.group_id), (self.next_id, self.next_id + 1));
        self.next_id += 2;
        assert_eq!(
            (&opened.prefix, opened.extranonce_size),
            (&grant.prefix, grant.extranonce_size)
        );
        assert!(u16::from(grant.extranonce_size) >= asked.min_size);
        let chan = Chan {
            key,
            generation,
            group: opened.group_id,
            kind: asked.kind,
            size: grant.extranonce_size.into(),
            limits: self.limits.expect("the pool's limits"),
            wanted: grant.target,
            most: asked.most,
            told: opened.target,
            pool_knows: grant.target,
            tip: None,
            submits: VecDeque::new(),
            credited: Difficulty::default(),
            summed: 0,
        };
        self.chans.insert(opened.channel_id, chan);
    }

    fn works(&mut self, id: u32, job: &Announcement) {
        assert!(job.job_id > self.last_job, "a job id is used twice");
        self.last_job = job.job_id;
        let chan = self.chans.get_mut(&id).expect("an open channel");
        let standard = matches!(job.body, Body::Standard { .. });
        assert_eq!(standard, chan.kind == Kind::Standard);
        assert_eq!(job.new_tip.is_some(), job.min_ntime.is_none(), "future until the tip comes");
        if let Some(tip) = job.new_tip {
            assert_ne!(chan.tip.replace(tip.prev_hash), Some(tip.prev_hash), "no new tip");
        }
        assert!(chan.tip.is_some(), "the first job has no tip");
        if let Body::Extended(body) = &job.body {
            assert_eq!(chan.tip, Some(body.prev_hash));
        }
    }

    fn answered(&mut self, id: u32, answer: Answer) {
        let sweeps = self.sweeps;
        let chan = self.chans.get_mut(&id).expect("an open channel");
        match answer {
            Answer::Error { sequence, .. } => {
                let (first, state) = chan.submits.pop_front().expect("a submit");
                assert_eq!(first, sequence, "out of order");
                let refused = state == State::Refused || state == State::Waits && sweeps;
                assert!(refused, "{state:?} is told an error");
            }
            Answer::Success { last_sequence, count, sum } => {
                assert!(count > 0);
                let mut last = None;
                for _ in 0..count {
                    let (sequence, state) = chan.submits.pop_front().expect("a submit");
                    let State::Accepted(credit) = state else { panic!("{state:?} is a success") };
                    chan.credited = chan.credited.saturating_add(credit);
                    last = Some(sequence);
                }
                assert_eq!(last, Some(last_sequence));
                chan.summed += sum;
            }
        }
    }

    /// The connection is gone: nothing of it is left at the pool.
    pub fn ended(&mut self, fx: Effects) {
        assert!(fx.out.is_empty());
        for command in &fx.commands {
            let Command::Close { channel, .. } = command else { panic!("{command:?}") };
            self.held.remove(channel);
        }
        assert!(self.held.is_empty(), "left at the pool: {:?}", self.held);
    }
}
