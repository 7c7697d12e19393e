//! The link's task over the ring, with a played pool: from a miner's wish to a verdict, and over a
//! stream that the pool ends in the middle.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::tests::{encoded, taken, welcome, IN_FLIGHT};
use super::*;
use crate::backend::{carrier, Command, Event as ToMiner, Judged, Port};
use crate::obs::{Counts, Journal};
use crate::types::{
    ChannelKey, ConnId, Connection, Kind, OpenRequest, RejectReason, Short, Submit, Target,
};

/// A pool that answers when it is told to.
struct Played {
    host: Host,
    waiting: Vec<Event>,
}

impl Played {
    /// The next event; the clock is a played one.
    async fn next(&mut self) -> Event {
        while self.waiting.is_empty() {
            sleep(Duration::from_millis(1)).await;
            self.host.poll(16, |event| self.waiting.push(*event));
        }
        self.waiting.remove(0)
    }

    async fn message(&mut self) -> (u32, ToPool) {
        match self.next().await {
            Event { stream, what: What::Message(record) } => (stream, taken(&self.host, record)),
            other => panic!("a message: {other:?}"),
        }
    }

    async fn hello(&mut self) -> (u32, v1::Hello) {
        match self.message().await {
            (stream, ToPool::Hello(hello)) => (stream, hello),
            other => panic!("a Hello: {other:?}"),
        }
    }

    async fn submit(&mut self) -> (u32, Share) {
        match self.next().await {
            Event { stream, what: What::Submit(submit) } => (stream, submit),
            other => panic!("a submit: {other:?}"),
        }
    }

    fn say(&self, stream: u32, message: FromPool) {
        self.host.control(stream, &encoded(message)).unwrap();
    }
}

fn channel() -> ChannelKey {
    ChannelKey::new(ConnId(1), 1).unwrap()
}

fn wish() -> Command {
    let connection = Connection {
        id: channel().conn(),
        remote_address: "127.0.0.1:1".into(),
        vendor: Bytes::new(),
        hardware_version: Bytes::new(),
        firmware: Bytes::new(),
        device_id: Bytes::new(),
        setup_flags: 0,
        extensions: Vec::new(),
        connected_ms: 0,
    };
    let request = OpenRequest {
        kind: Kind::Extended,
        user_identity: Bytes::from_static(b"user"),
        payout_key: None,
        quote: None,
        nominal_hash_rate: 1.0,
        max_target: Target::EASIEST,
        min_extranonce_size: 4,
    };
    Command::Open { channel: channel(), connection: Arc::new(connection), request }
}

fn share(token: u64, generation: u64) -> Command {
    let submit = Submit {
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce: Short::new(&[token as u8; 8]),
        worker: Short::default(),
        would_refuse: None,
    };
    Command::Submit { channel: channel(), token, generation, submit }
}

fn granted(channel_id: u64) -> FromPool {
    let job = v1::Job {
        id: 3,
        seq: 1,
        prev_hash: Bytes::from_static(&[1; 32]),
        nbits: 0x1d00_ffff,
        version: 0x2000_0000,
        coinbase_prefix: Bytes::from_static(&[1]),
        coinbase_suffix: Bytes::from_static(&[1]),
        ..v1::Job::default()
    };
    FromPool::ChannelOpened(v1::ChannelOpened {
        channel_id,
        extranonce_prefix: Bytes::from_static(&[1, 2, 3, 4]),
        extranonce_size: 8,
        target: Bytes::from_static(&[0xff; 32]),
        job: Some(job),
    })
}

/// The verdict that comes next, by its token.
async fn verdict(port: &mut Port) -> (u64, Verdict) {
    loop {
        match port.events.recv().await {
            Some(ToMiner::Verdict(Judged { token, verdict, .. })) => return (token, verdict),
            // Each stream says it again.
            Some(ToMiner::LinkUp(_)) => {}
            other => panic!("verdicts: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_submit_survives_a_stream_that_the_pool_ends_and_comes_again_under_its_id() {
    let pool = Pool::default();
    let (host, ring) = new(&pool, IN_FLIGHT).unwrap();
    let (backend, task) = carrier::link(ring, &pool, IN_FLIGHT, Journal::off(), Counts::default());
    let (stop, stops) = watch::channel(false);
    let task = tokio::spawn(task.run(stops));
    let mut played = Played { host, waiting: Vec::new() };
    let mut port = backend.attach(ConnId(1), 64);

    let (first, hello) = played.hello().await;
    assert!(hello.last_epoch.is_empty());
    played.say(first, welcome(false));
    assert!(matches!(port.events.recv().await, Some(ToMiner::LinkUp(_))));
    port.commands.send(wish()).await.unwrap();
    let (_, ToPool::OpenChannel(open)) = played.message().await else { panic!("a wish") };
    assert_eq!(open.channel_id, channel().to_wire());
    played.say(first, granted(open.channel_id));
    let Some(ToMiner::Opened { generation, .. }) = port.events.recv().await else {
        panic!("an open channel")
    };

    // Two shares: one is judged, the other waits when the pool hangs up.
    port.commands.send(share(1, generation)).await.unwrap();
    port.commands.send(share(2, generation)).await.unwrap();
    let (_, judged) = played.submit().await;
    let (_, unjudged) = played.submit().await;
    let credit = Difficulty { whole: 2, fraction: 3 };
    let accepted = Verdict::Accepted { hash: Hash([9; 32]), credit, block_candidate: false };
    played.host.complete(first, vec![(judged.id, accepted)]).unwrap();
    assert_eq!(verdict(&mut port).await, (1, accepted));
    played.host.hang_up(first).unwrap();
    assert_eq!(played.next().await, Event { stream: first, what: What::StreamEnded });

    let (second, hello) = played.hello().await;
    assert_eq!((second, &hello.last_epoch[..]), (first + 1, &[7; 16][..]));
    assert_eq!(hello.open_channel_ids, [open.channel_id]);
    played.say(second, welcome(true));
    let (stream, again) = played.submit().await;
    assert_eq!((stream, &again), (second, &unjudged), "the same share, the same id");
    let late = vec![(again.id, accepted)];
    assert_eq!(played.host.complete(first, late), Err(Refused::StreamOver));
    let stale = Verdict::Rejected(RejectReason::Stale);
    played.host.complete(second, vec![(again.id, stale)]).unwrap();
    let heard = verdict(&mut port).await;
    assert_eq!(heard, (2, stale), "what was said too late counts for nothing");

    // In the end the pool is told, and hangs up.
    drop(port);
    stop.send_replace(true);
    loop {
        match played.message().await {
            (stream, ToPool::Drain(_)) if stream == second => break,
            (_, ToPool::CloseChannel(_)) => {}
            other => panic!("a farewell: {other:?}"),
        }
    }
    assert_eq!(played.next().await, Event { stream: second, what: What::StreamEnded });
    played.host.hang_up(second).unwrap();
    task.await.unwrap();
}
