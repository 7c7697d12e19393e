//! Promises of the list of connections.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::*;
use crate::obs::totals::Totals;
use crate::obs::witness::Block;
use crate::types::{ChannelKey, Difficulty, Hash, RejectReason, Target};

fn facts(ordinal: u32, kind: Kind) -> ChannelFacts {
    ChannelFacts {
        key: ChannelKey::new(ConnId(7), ordinal).unwrap(),
        id: ordinal,
        kind,
        user_identity: Bytes::from_static(b"me"),
        prefix: Bytes::from_static(&[1, 2]),
        extranonce_size: 6,
        nominal_hash_rate: 1e12,
        target: Target::EASIEST,
        max_target: Target::EASIEST,
    }
}

#[test]
fn who_leaves_is_no_longer_listed_or_counted() {
    let counts = Counts::default();
    let clients = Clients::new(counts.clone());
    let first = clients.enter(ConnId(7), "192.0.2.1:1".into(), 5);
    let other = clients.clone().enter(ConnId(9), "192.0.2.2:1".into(), 6);
    assert_eq!(clients.page(1, 10)[0].id, 9);
    assert_eq!(clients.after(7, 10)[0].id, 9);
    assert!(clients.page(2, 10).is_empty() && clients.after(9, 1).is_empty());
    let standard = first.open(facts(1, Kind::Standard));
    let extended = first.open(facts(2, Kind::Extended));
    let sums = clients.get(7).unwrap().sums();
    assert_eq!((sums.standard, sums.extended, sums.hash_rate), (1, 1, 2e12_f32.into()));
    assert_eq!(counts.channels.open.of(Kind::Extended).get(), 1);
    drop(extended);
    assert_eq!(counts.channels.open.of(Kind::Extended).get(), 0);
    assert_eq!(counts.channels.opened.of(Kind::Extended).get(), 1);
    assert_eq!(clients.get(7).unwrap().channels()[0].id, 1);
    drop((first, other));
    assert_eq!(clients.len(), 1, "an open channel keeps its connection");
    drop(standard);
    assert!(clients.is_empty());
    assert_eq!(counts.connections.set_up.get(), 0, "it never was");
}

#[test]
fn a_channel_counts_for_itself_and_for_all() {
    let clients = Clients::default();
    let one = clients.enter(ConnId(7), String::new(), 0);
    let (a, b) = (one.open(facts(1, Kind::Standard)), one.open(facts(2, Kind::Standard)));
    a.accepted(3, Difficulty { whole: 5, fraction: 1 << 31 }, 9);
    b.accepted(1, Difficulty { whole: 1, fraction: 1 << 31 }, 2);
    b.rejected(RejectReason::Stale, true);
    b.rejected(RejectReason::BackendUnavailable, false);
    a.judged(&Hash([0; 32]), true, &Bytes::new());
    assert_eq!((a.book().accepted.get(), a.book().last_sequence.get()), (3, 9));
    assert_eq!((b.book().rejected.sum(), a.book().rejected.sum()), (2, 0));
    assert_eq!((a.book().blocks.get(), a.book().best()), (1, f64::MAX));
    let shares = &one.counts().shares;
    assert_eq!(shares.work.get(), Difficulty { whole: 7, fraction: 0 });
    assert_eq!((shares.accepted.get(), shares.rejected.sum(), shares.unjudged.sum()), (4, 1, 1));
}

#[test]
fn difficulties_are_those_of_their_targets() {
    let one = Target::from_nbits(0x1d00_ffff).unwrap();
    assert!((difficulty_of(&Hash(one.0)) - 1.0).abs() < 1e-9);
    let mut hard = [0; 32];
    hard[10] = 1;
    let want = 65_535.0 * 2.0_f64.powi(128);
    assert!((difficulty_of(&Hash(hard)) / want - 1.0).abs() < 1e-9);
}

/// Hears what happens, as short texts, and adds up the accepted shares.
#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<Vec<String>>,
    accepted: AtomicU64,
    work: Mutex<Difficulty>,
}

impl Ear {
    fn hear(&self, text: String) {
        self.heard.lock().unwrap().push(text);
    }
}

impl Witness for Ear {
    fn connection_opened(&self, connection: &Connection) {
        self.hear(format!("opened {} {:?}", connection.id.0, connection.extensions));
    }
    fn connection_closed(&self, closed: Closed<'_>) {
        self.hear(format!("closed {} {}", closed.id, closed.cause));
    }
    fn channel_started(&self, book: &ChannelBook) {
        self.hear(format!("started {}", book.id));
    }
    fn totals(&self, _: &ChannelBook, totals: Totals) {
        self.accepted.fetch_add(totals.accepted, Ordering::Relaxed);
        let mut work = self.work.lock().unwrap();
        *work = work.saturating_add(totals.credit);
        self.hear("totals".to_owned());
    }
    fn channel_ended(&self, _: ChannelKey, reason: &str) {
        self.hear(format!("ended: {reason}"));
    }
    fn block(&self, block: Block<'_>) {
        self.hear(format!("block {}", block.hash));
    }
}

fn heard_by(ear: &Arc<Ear>) -> Clients {
    let counts = Counts::default();
    counts.tell(Arc::clone(ear) as Arc<dyn Witness>);
    Clients::new(counts)
}

fn setup(extensions: Vec<u16>) -> Arc<Connection> {
    Arc::new(Connection {
        id: ConnId(7),
        remote_address: String::new(),
        vendor: Bytes::new(),
        hardware_version: Bytes::new(),
        firmware: Bytes::new(),
        device_id: Bytes::new(),
        setup_flags: 0,
        extensions,
        connected_ms: 0,
    })
}

#[test]
fn a_witness_hears_the_life_of_a_connection_in_order_and_nothing_after_its_end() {
    let ear = Arc::new(Ear::default());
    let clients = heard_by(&ear);
    let stranger = clients.enter(ConnId(6), String::new(), 0);
    stranger.closed("no-setup-connection");
    let one = clients.enter(ConnId(7), String::new(), 0);
    one.set_up(setup(vec![]));
    one.set_up(setup(vec![2]));
    let mut channel = one.open(facts(1, Kind::Standard));
    channel.judged(&Hash([0; 32]), true, &Bytes::from_static(b"w"));
    channel.accepted(1, Difficulty { whole: 1, fraction: 0 }, 1);
    let client = clients.get(7).unwrap();
    let book = Arc::clone(&client.channels()[0]);
    channel.ends("closed by the miner");
    drop(channel);
    // Whoever looked before the end finds nothing more to tell.
    book.tell(&*ear);
    book.tell_totals(&*ear);
    client.tell(&*ear);
    one.closed("peer-closed");
    client.tell(&*ear);
    one.closed("peer-closed");
    let heard = ear.heard.lock().unwrap().join("; ");
    assert_eq!(
        heard,
        "opened 7 []; opened 7 [2]; started 1; totals; \
         ended: closed by the miner; opened 7 [2]; closed 7 peer-closed"
    );
}

#[test]
fn no_share_is_lost_or_told_twice_when_it_is_counted_while_sums_are_taken() {
    let ear = Arc::new(Ear::default());
    let clients = heard_by(&ear);
    let one = clients.enter(ConnId(7), String::new(), 0);
    let channel = one.open(facts(1, Kind::Standard));
    let book = Arc::clone(&one.client().channels()[0]);
    let credit = Difficulty { whole: 2, fraction: 0xc000_0001 };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                book.tell_totals(&*ear);
            }
        });
        for index in 0..20_000 {
            channel.accepted(1, credit, index);
        }
        drop(channel);
        over.store(true, Ordering::Relaxed);
    });
    let mut want = Difficulty::default();
    (0..20_000).for_each(|_| want = want.saturating_add(credit));
    assert_eq!(ear.accepted.load(Ordering::Relaxed), 20_000);
    assert_eq!(*ear.work.lock().unwrap(), want);
    assert!(ear.heard.lock().unwrap().last().unwrap().starts_with("ended"));
}

#[test]
fn without_a_witness_nothing_is_kept_for_one() {
    let clients = Clients::default();
    let one = clients.enter(ConnId(7), String::new(), 0);
    let channel = one.open(facts(1, Kind::Standard));
    assert!(!channel.tells_workers_apart());
    let ear = Ear::default();
    channel.accepted(1, Difficulty::default(), 1);
    channel.book().tell(&ear);
    channel.book().tell_totals(&ear);
    assert!(ear.heard.lock().unwrap().is_empty());
}
