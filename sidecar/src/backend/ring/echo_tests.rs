//! Promises of the echo: what was asked for comes, in bounds, and what was said of it is told.

use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use super::tests::{encoded, polled, pool_ping, rejected, taken, text, welcome};
use super::*;
use crate::types::RejectReason;

const IN_FLIGHT: usize = 300;

/// An echo, and a pool that gives it a turn after each call.
struct Rig {
    host: Host,
    echo: Echo,
}

impl Rig {
    fn started() -> Self {
        let (host, mut echo) = echo(IN_FLIGHT).unwrap();
        assert!(!echo.drain() && !echo.was_started(), "not before it was started");
        assert!(echo.start());
        assert!(!echo.start(), "once");
        Self { host, echo }
    }

    fn poll(&mut self) -> Vec<Event> {
        let events = polled(&self.host);
        self.echo.turn();
        events
    }

    fn message(&mut self) -> ToPool {
        let events = self.poll();
        let [Event { what: What::Message(record), .. }] = events[..] else { panic!("{events:?}") };
        taken(&self.host, record)
    }

    fn say(&mut self, stream: u32, message: FromPool) {
        self.host.control(stream, &encoded(message)).unwrap();
        self.echo.turn();
    }

    fn complete(&mut self, stream: u32, verdicts: Vec<(u64, Verdict)>) {
        self.host.complete(stream, verdicts).unwrap();
        self.echo.turn();
    }

    fn welcomed(&mut self, stream: u32) {
        assert!(matches!(self.message(), ToPool::Hello(_)));
        let FromPool::Welcome(welcome) = welcome(false) else { panic!("a Welcome") };
        let fitting = v1::Welcome { verdict_ring: IN_FLIGHT as u32, ..welcome };
        self.say(stream, FromPool::Welcome(fitting));
        assert!(matches!(self.message(), ToPool::OpenChannel(open) if open.channel_id == 1));
    }

    /// Polls submits, and what is behind them.
    fn submits(&mut self) -> (Vec<Share>, Vec<What>) {
        let (mut submits, mut rest) = (Vec::new(), Vec::new());
        for event in self.poll() {
            match event.what {
                What::Submit(submit) if rest.is_empty() => submits.push(submit),
                other => rest.push(other),
            }
        }
        (submits, rest)
    }

    fn account(&mut self, stream: u32) -> v1::Account {
        let get = v1::GetAccount { call_id: 5, ..v1::GetAccount::default() };
        self.say(stream, FromPool::GetAccount(get));
        match self.message() {
            ToPool::Account(account) => account,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_ping_brings_as_many_submits_and_then_its_pong() {
    let mut rig = Rig::started();
    rig.welcomed(1);
    let job = v1::Job { id: 77, ..v1::Job::default() };
    let opened = v1::ChannelOpened {
        channel_id: 1,
        extranonce_size: 10,
        job: Some(job),
        ..v1::ChannelOpened::default()
    };
    rig.say(1, FromPool::ChannelOpened(opened));
    rig.host.control(1, &pool_ping(260)).unwrap();
    rig.echo.turn();
    let (submits, rest) = rig.submits();
    assert!(submits.iter().map(|s| s.id).eq(1..=260));
    let [What::Message(pong)] = rest[..] else { panic!("{rest:?}") };
    assert_eq!(taken(&rig.host, pong), ToPool::Pong(v1::Pong { id: 260, sent_us: 0 }));
    let last = submits.last().unwrap();
    assert_eq!((last.channel_id, last.job_id, last.nonce), (1, 77, 260));
    assert_eq!(last.extranonce[..], [4, 1, 0, 0, 0, 0, 0, 0, 4, 1]);
    assert_eq!(last.worker[..], *b"echo");
    assert_eq!(submits[0].worker[..], *b"");
}

#[test]
fn tells_what_it_was_told_of_its_submits() {
    let mut rig = Rig::started();
    rig.welcomed(1);
    rig.host.control(1, &pool_ping(4)).unwrap();
    rig.echo.turn();
    assert_eq!(rig.submits().0.len(), 4);
    let credit = Difficulty { whole: 3, fraction: 1 << 31 };
    let hash = crate::types::Hash([0xab; 32]);
    let good = |block_candidate| Verdict::Accepted { hash, credit, block_candidate };
    let bad = Verdict::Rejected(RejectReason::Stale);
    rig.complete(1, vec![(1, good(false)), (3, bad), (2, good(true)), (2, bad), (9, bad)]);
    let lines = rig.poll().into_iter().map(|event| match event.what {
        What::Log { level: tracing::Level::WARN, record } => text(&rig.host, record),
        other => panic!("{other:?}"),
    });
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 2, "a verdict comes once: {lines:?}");
    assert!(lines[0].contains("submit 2") && lines[1].contains("submit 9"), "{lines:?}");
    let account = rig.account(1);
    let hash = "ab".repeat(32);
    let want = v1::Account {
        call_id: 5,
        shares: 2,
        accrued: Some(v1::Difficulty { whole: 7, fraction: 0 }),
        pending_amount: 1,
        confirmed_amount: 1,
        issued_amount: 1,
        unit: "echo".into(),
        quote_requests: vec![
            format!("2 accepted 3+2147483648 {hash} block"),
            "3 rejected stale-share".into(),
            format!("1 accepted 3+2147483648 {hash}"),
        ],
        frozen: true,
        quote_ids: Vec::new(),
    };
    assert_eq!(account, want);
}

#[test]
fn no_more_wait_for_a_verdict_than_was_said() {
    let mut rig = Rig::started();
    rig.welcomed(1);
    rig.host.control(1, &pool_ping(u64::MAX)).unwrap();
    rig.echo.turn();
    let (submits, rest) = rig.submits();
    assert_eq!((submits.len(), rest.len()), (IN_FLIGHT, 0));
    // Another Ping asks for nothing.
    rig.host.control(1, &pool_ping(7)).unwrap();
    rig.echo.turn();
    assert!(matches!(rig.message(), ToPool::Pong(v1::Pong { id: 7, .. })));
    rig.complete(1, (1..=10).map(rejected).collect());
    let (submits, rest) = rig.submits();
    assert!(submits.iter().map(|s| s.id).eq(301..=310) && rest.is_empty());
}

#[test]
fn a_pool_that_does_not_poll_gets_no_more_than_the_ring_holds() {
    let (host, mut echo) = echo(1 << 20).unwrap();
    echo.start();
    let FromPool::Welcome(welcome) = welcome(false) else { panic!("a Welcome") };
    let fitting = v1::Welcome { verdict_ring: 1 << 20, ..welcome };
    host.control(1, &encoded(FromPool::Welcome(fitting))).unwrap();
    host.control(1, &pool_ping(u64::MAX)).unwrap();
    echo.turn();
    let mut said = 0;
    while host.control(1, &pool_ping(1)).is_ok() {
        echo.turn();
        said += 1;
        assert!(said <= 4096, "no bound");
    }
    let events = polled(&host);
    assert!(events.len() <= 4096 + 256, "{}", events.len());
    let told = (0..4).any(|_| {
        echo.turn();
        let events = polled(&host);
        for event in &events {
            if let What::Message(record) = event.what {
                assert!(matches!(taken(&host, record), ToPool::Pong(_)), "{event:?}");
            }
        }
        events.iter().any(|event| event.what == What::Room)
    });
    assert!(told, "it reads on when there is room");
}

#[test]
fn streams_come_and_go_and_are_strangers() {
    let mut rig = Rig::started();
    rig.welcomed(1);
    rig.host.control(1, &pool_ping(3)).unwrap();
    rig.echo.turn();
    rig.host.hang_up(1).unwrap();
    rig.echo.turn();
    let ended = |stream| Event { stream, what: What::StreamEnded };
    let events = polled(&rig.host);
    let [end, Event { stream: 2, what: What::Message(_) }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*end, ended(1));
    // No Welcome: it begins again.
    rig.host.control(2, &pool_ping(3)).unwrap();
    rig.echo.turn();
    let events = polled(&rig.host);
    let [Event { what: What::Log { .. }, .. }, end, Event { stream: 3, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*end, ended(2));
    let FromPool::Welcome(welcome) = welcome(false) else { panic!("a Welcome") };
    let fitting = v1::Welcome { verdict_ring: IN_FLIGHT as u32, ..welcome };
    rig.say(3, FromPool::Welcome(fitting));
    assert!(matches!(rig.message(), ToPool::OpenChannel(_)));
    assert_eq!(rig.account(3).shares, 0);
    // The last word, the pool's answer to it, and the end.
    assert!(rig.echo.drain() && rig.echo.drain());
    let events = rig.poll();
    let [Event { what: What::Message(record), .. }, end] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*end, ended(3));
    assert!(matches!(taken(&rig.host, *record), ToPool::Drain(_)));
    rig.host.control(3, &pool_ping(9)).unwrap();
    rig.echo.turn();
    assert_eq!(rig.poll(), [], "it asks for nothing any more");
    rig.host.hang_up(3).unwrap();
    rig.echo.turn();
    assert_eq!(rig.poll(), [Event { stream: 0, what: What::Drained }]);
    assert!(rig.echo.drain());
    assert_eq!(rig.poll(), []);
}

#[test]
fn an_echo_that_is_not_greeted_stops_at_once() {
    let mut rig = Rig::started();
    assert!(rig.echo.drain());
    assert_eq!(rig.poll(), [Event { stream: 0, what: What::Drained }]);
}
