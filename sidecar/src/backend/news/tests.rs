//! News reach the connections of an account that have asked for them, and no others.

use std::sync::Arc;

use super::*;
use crate::backend::channels::Channels;
use crate::backend::ledger::Returns;
use crate::backend::{Directory, Event, Mailbox};
use crate::types::{Connection, Grant, Kind, OpenRequest, Target};

/// The generator of the curve.
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn payout_key() -> PayoutKey {
    PayoutKey::from_hex(KEY.as_bytes()).unwrap()
}

fn key(conn: u64, ordinal: u32) -> ChannelKey {
    ChannelKey::new(ConnId(conn), ordinal).unwrap()
}

struct Rig {
    directory: Directory,
    channels: Channels,
    returns: Returns,
}

impl Rig {
    fn new() -> Self {
        let (directory, channels) = (Directory::default(), Channels::default());
        let returns = Returns::new(directory.clone(), channels.accounts());
        Self { directory, channels, returns }
    }

    fn wish(&mut self, channel: ChannelKey, identity: &'static str, keyed: bool, asked: bool) {
        let connection = Connection {
            id: channel.conn(),
            remote_address: String::new(),
            vendor: Bytes::new(),
            hardware_version: Bytes::new(),
            firmware: Bytes::new(),
            device_id: Bytes::new(),
            setup_flags: 0,
            extensions: if asked { vec![2, MINT_CREDITS] } else { vec![2] },
            connected_ms: 0,
        };
        let request = OpenRequest {
            kind: Kind::Extended,
            user_identity: Bytes::from_static(identity.as_bytes()),
            payout_key: keyed.then(payout_key),
            quote: None,
            nominal_hash_rate: 1.0,
            max_target: Target::EASIEST,
            min_extranonce_size: 4,
        };
        self.channels.open(channel, Arc::new(connection), request);
    }

    fn open(&mut self, channel: ChannelKey, identity: &'static str, keyed: bool, asked: bool) {
        self.wish(channel, identity, keyed, asked);
        self.grant(channel);
    }

    fn grant(&mut self, channel: ChannelKey) {
        let prefix = Bytes::from_static(&[1; 4]);
        let grant = Grant { prefix, extranonce_size: 8, target: Target::EASIEST };
        self.channels.granted(channel, &grant);
    }

    fn attach(&self, conn: u64, room: usize) -> Mailbox {
        self.directory.attach(ConnId(conn), room).0
    }

    fn tell(&self, identity: &'static str) -> usize {
        let news = MintNews::Failed { error_code: "f".into() };
        self.returns.tell_news(Bytes::from_static(identity.as_bytes()), payout_key(), news)
    }
}

/// The channels that the news are for, of each event.
fn heard(mailbox: &mut Mailbox) -> Vec<Vec<ChannelKey>> {
    let mut all = Vec::new();
    while let Ok(event) = mailbox.try_recv() {
        let Event::MintCredit { channels, .. } = event else { panic!("{event:?}") };
        all.push(channels);
    }
    all
}

#[test]
fn each_connection_of_the_account_hears_once_whatever_channels_it_has() {
    let mut rig = Rig::new();
    let (mut first, mut second) = (rig.attach(1, 8), rig.attach(2, 8));
    assert!(!rig.returns.has_listeners());
    for channel in [key(1, 1), key(1, 2), key(2, 1)] {
        rig.open(channel, "a", true, true);
    }
    rig.open(key(2, 2), "b", true, true);
    assert!(rig.returns.has_listeners());
    assert_eq!(rig.tell("a"), 2);
    assert_eq!(heard(&mut first), [vec![key(1, 1), key(1, 2)]]);
    assert_eq!(heard(&mut second), [vec![key(2, 1)]]);
    assert_eq!(rig.tell("b"), 1);
    assert_eq!((heard(&mut first), heard(&mut second)), (vec![], vec![vec![key(2, 2)]]));
}

#[test]
fn rejects_who_did_not_ask_and_who_only_writes_the_name() {
    let mut rig = Rig::new();
    let mut mailboxes = [rig.attach(1, 8), rig.attach(2, 8), rig.attach(3, 8)];
    rig.open(key(1, 1), "a", true, false);
    rig.open(key(2, 1), "a", false, true);
    rig.wish(key(3, 1), "a", true, true);
    assert!(!rig.returns.has_listeners(), "with nobody to hear it nothing is looked up");
    assert_eq!(rig.tell("a"), 0);
    assert!(mailboxes.iter_mut().all(|mailbox| heard(mailbox).is_empty()));
    rig.grant(key(3, 1));
    assert_eq!(rig.tell("a"), 1, "the wish was granted");
}

#[test]
fn a_closed_channel_hears_nothing_and_one_that_the_pool_lost_does() {
    let mut rig = Rig::new();
    let mut mailbox = rig.attach(1, 8);
    rig.open(key(1, 1), "a", true, true);
    rig.open(key(1, 2), "a", true, true);
    rig.channels.suspend();
    assert_eq!(rig.tell("a"), 1);
    rig.channels.remove(key(1, 1));
    assert_eq!(rig.tell("a"), 1);
    assert_eq!(heard(&mut mailbox), [vec![key(1, 1), key(1, 2)], vec![key(1, 2)]]);
    rig.channels.remove_connection(ConnId(1));
    assert!(!rig.returns.has_listeners());
    rig.open(key(1, 3), "a", true, true);
    rig.channels.clear();
    assert!(!rig.returns.has_listeners());
    rig.open(key(1, 4), "a", true, true);
    assert_eq!(rig.tell("a"), 1, "cleared, it is still the same list");
}

#[test]
fn news_take_no_room_that_others_need() {
    let mut rig = Rig::new();
    let mut mailbox = rig.attach(1, 4);
    rig.open(key(1, 1), "a", true, true);
    let told: usize = (0..9).map(|_| rig.tell("a")).sum();
    assert_eq!(told, 2);
    for _ in 0..2 {
        assert!(rig.directory.deliver(ConnId(1), Event::LinkLost));
    }
    assert!(matches!(mailbox.try_recv(), Ok(Event::MintCredit { .. })));
    assert!(!mailbox.has_ended());
}
