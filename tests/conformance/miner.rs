//! A miner that says what the tests want and checks what it hears.

use std::time::{Duration, Instant};

use gopool_sv2_tests::{Heard, RawPeer, CHANNEL_BIT};

use crate::message::{Job, Message, Opened, Tip, U256};
use crate::rig::{rig, Rig};
use crate::work::Share;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Any hash is good enough.
pub const EASIEST: U256 = [0xff; 32];
/// No channel of anybody.
pub const NO_CHANNEL: u32 = 0xffff_fff0;

/// A connection.
pub struct Miner {
    pub peer: RawPeer,
    /// All that was heard after the setup.
    pub heard: Vec<Message>,
    next: u32,
    user: Vec<u8>,
}

/// An open channel and its newest job.
#[derive(Debug, Clone)]
pub struct Channel {
    pub id: u32,
    pub group: u32,
    pub extended: bool,
    pub prefix: Vec<u8>,
    pub size: u16,
    pub target: U256,
    pub job: Job,
    pub tip: Tip,
}

/// A wish for a channel.
#[derive(Debug, Clone)]
pub struct Wish {
    pub extended: bool,
    pub request: u32,
    /// `None`: the rig's.
    pub user: Option<Vec<u8>>,
    pub rate: f32,
    pub max_target: U256,
    pub min_size: u16,
}

impl Wish {
    pub const fn standard() -> Self {
        let max_target = EASIEST;
        Self { extended: false, request: 7, user: None, rate: 0.0, max_target, min_size: 0 }
    }

    pub const fn extended() -> Self {
        let mut wish = Self::standard();
        wish.extended = true;
        wish
    }
}

/// SetupConnection.
pub fn setup_payload(protocol: u8, min: u16, max: u16, flags: u32) -> Vec<u8> {
    let mut payload = vec![protocol];
    payload.extend(min.to_le_bytes());
    payload.extend(max.to_le_bytes());
    payload.extend(flags.to_le_bytes());
    for text in ["127.0.0.1", "\0", "tests", "", "", "conformance"] {
        match text {
            "\0" => payload.extend(3336_u16.to_le_bytes()),
            text => {
                payload.push(text.len() as u8);
                payload.extend(text.as_bytes());
            }
        }
    }
    payload
}

impl Miner {
    /// After the handshake.
    pub fn fresh(rig: &Rig) -> Self {
        let peer = RawPeer::on(rig.socket());
        Self { peer, heard: Vec::new(), next: 1, user: rig.user.clone().into_bytes() }
    }

    /// After a setup with these flags.
    pub fn with_flags(flags: u32) -> Self {
        Self::at(rig(), flags)
    }

    /// After a setup with these flags, on any server.
    pub fn at(rig: &Rig, flags: u32) -> Self {
        let mut miner = Self::fresh(rig);
        miner.say(0x00, &setup_payload(0, 2, 2, flags));
        match miner.next() {
            Message::SetupSuccess { .. } => miner,
            other => panic!("the setup failed: {other:?}"),
        }
    }

    /// After a plain setup.
    pub fn new() -> Self {
        Self::with_flags(0)
    }

    /// Sends a core message, with the channel bit where the specification has it.
    pub fn say(&mut self, message_type: u8, payload: &[u8]) {
        let bit =
            if matches!(message_type, 0x16 | 0x18 | 0x1a | 0x1b | 0x22) { CHANNEL_BIT } else { 0 };
        self.peer.send(bit, message_type, payload);
    }

    /// What comes within `patience`; `None`: nothing, or the end.
    pub fn next_within(&mut self, patience: Duration) -> Option<Message> {
        let Heard::Frame(frame) = self.peer.hear(patience) else { return None };
        let message = Message::read(&frame);
        let message = message.unwrap_or_else(|| panic!("no message of a server: {frame:?}"));
        self.heard.push(message.clone());
        Some(message)
    }

    pub fn next(&mut self) -> Message {
        self.next_within(PATIENCE).expect("a message in time")
    }

    /// Waits for a message that is picked; others are kept in `heard`.
    pub fn until<T>(&mut self, what: &str, pick: impl Fn(&Message) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while let Some(message) =
            self.next_within(deadline.saturating_duration_since(Instant::now()))
        {
            if let Some(found) = pick(&message) {
                return found;
            }
        }
        panic!("no {what} among {:?}", self.heard);
    }

    /// What comes in this time.
    pub fn listen(&mut self, time: Duration) -> Vec<Message> {
        let (from, deadline) = (self.heard.len(), Instant::now() + time);
        while self.next_within(deadline.saturating_duration_since(Instant::now())).is_some() {}
        self.heard[from..].to_vec()
    }

    /// What comes before the answer to a share for no channel: shows that the connection lives, and
    /// what was already on its way.
    pub fn fence(&mut self) -> Vec<Message> {
        let (from, sequence) = (self.heard.len(), 0xf000_0000 + self.heard.len() as u32);
        let words = [NO_CHANNEL, sequence, 1, 1, 1, 1];
        let share: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        self.say(0x1a, &share);
        self.until("answer to a share for no channel", |message| match message {
            Message::Rejected { sequence: s, .. } if *s == sequence => Some(()),
            _ => None,
        });
        let mut before = self.heard.split_off(from);
        before.pop();
        self.heard.extend_from_slice(&before);
        before
    }

    /// Sends an open.
    pub fn ask(&mut self, wish: &Wish) {
        let user = wish.user.clone().unwrap_or_else(|| self.user.clone());
        let mut payload = wish.request.to_le_bytes().to_vec();
        payload.push(user.len() as u8);
        payload.extend(user);
        payload.extend(wish.rate.to_le_bytes());
        payload.extend(wish.max_target);
        if wish.extended {
            payload.extend(wish.min_size.to_le_bytes());
        }
        self.say(if wish.extended { 0x13 } else { 0x10 }, &payload);
    }

    /// The answer to an open.
    pub fn answer(&mut self, wish: &Wish) -> Result<Opened, String> {
        self.ask(wish);
        let request = wish.request;
        self.until("answer to an open", |message| match message {
            Message::Opened(opened) if opened.request == request => Some(Ok(opened.clone())),
            Message::OpenError { request: r, code } if *r == request => {
                Some(Err(String::from_utf8(code.clone()).expect("ASCII")))
            }
            _ => None,
        })
    }

    /// Opens a channel and waits for its first job.
    pub fn open(&mut self, wish: &Wish) -> Channel {
        let opened = self.answer(wish).expect("the channel is opened");
        let id = opened.channel;
        let job = self.job(id);
        let tip = self.tip(id);
        assert_eq!((tip.job, job.min_ntime), (job.id, None), "the first job is a future one");
        Channel {
            id,
            group: opened.group,
            extended: opened.extended,
            prefix: opened.prefix,
            size: opened.size,
            target: opened.target,
            job,
            tip,
        }
    }

    /// Waits for a job of the channel.
    pub fn job(&mut self, channel: u32) -> Job {
        self.until("job", |message| match message {
            Message::Job(job) if job.channel == channel => Some(job.clone()),
            _ => None,
        })
    }

    /// Waits for a SetNewPrevHash of the channel.
    pub fn tip(&mut self, channel: u32) -> Tip {
        self.until("prev-hash", |message| match message {
            Message::Tip(tip) if tip.channel == channel => Some(*tip),
            _ => None,
        })
    }

    /// Waits for a SetTarget of the channel.
    pub fn target(&mut self, channel: u32) -> U256 {
        self.until("target", |message| match message {
            Message::Target { channel: c, target } if *c == channel => Some(*target),
            _ => None,
        })
    }

    pub fn update(&mut self, channel: u32, rate: f32, max_target: &U256) {
        let mut payload = channel.to_le_bytes().to_vec();
        payload.extend(rate.to_le_bytes());
        payload.extend(max_target);
        self.say(0x16, &payload);
    }

    pub fn close(&mut self, channel: u32) {
        let mut payload = channel.to_le_bytes().to_vec();
        payload.extend(b"\x03bye");
        self.say(0x18, &payload);
    }

    /// Sends a share.
    pub fn submit(&mut self, share: &Share) {
        let kind = if share.extranonce.is_some() { 0x1b } else { 0x1a };
        self.say(kind, &share.payload());
    }

    /// Sends a share under the next sequence number and waits for its answer.
    pub fn judge(&mut self, share: &Share) -> Result<(), String> {
        let mut share = share.clone();
        share.sequence = 1_000_000 + self.next;
        self.next += 1;
        self.submit(&share);
        self.verdict(share.sequence)
    }

    /// Waits for the answer to the share with this sequence number, the last one sent.
    pub fn verdict(&mut self, sequence: u32) -> Result<(), String> {
        self.until("answer to a share", |message| match message {
            Message::Accepted { last, .. } if *last == sequence => Some(Ok(())),
            Message::Rejected { sequence: s, code, .. } if *s == sequence => {
                Some(Err(String::from_utf8(code.clone()).expect("ASCII")))
            }
            _ => None,
        })
    }

    /// Whether the other side closes; what it said before.
    pub fn closes(&mut self) -> (bool, Vec<Message>) {
        let from = self.heard.len();
        loop {
            match self.peer.hear(PATIENCE) {
                Heard::Frame(frame) => {
                    let message = Message::read(&frame).expect("a message of a server");
                    self.heard.push(message);
                }
                Heard::Closed { orderly } => return (orderly, self.heard[from..].to_vec()),
                Heard::Silence => panic!("the server doesn't close"),
            }
        }
    }
}
