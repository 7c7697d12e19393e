//! The comparison against books in which something is wrong.

use std::io::Write as _;

use super::*;
use crate::miner::Connection;

/// One share on three books, each with its own word on it.
struct Case {
    fate: Fate,
    told: Option<&'static str>,
    booked: &'static [&'static str],
    sent: Instant,
    lives: u32,
    faults: Vec<Record>,
}

fn case(fate: Fate, told: Option<&'static str>, booked: &'static [&'static str]) -> Case {
    Case { fate, told, booked, sent: Instant::now(), lives: 1, faults: Vec::new() }
}

fn rejected(reason: &str) -> Fate {
    Fate::Rejected(reason.to_owned())
}

fn book(lines: &[String]) -> (harness::Books, usize) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    harness::Books::read_lives(file.path()).unwrap()
}

impl Case {
    fn audit(self) -> Audit {
        let (name, hash, sent) = ("m0.c0.s0".to_owned(), "aa".to_owned(), self.sent);
        let at = sent + Duration::from_millis(5);
        let submit = Submit { name, hash, sent, fate: self.fate, at, life: 0 };
        let journal = Journal { submits: vec![submit], ..Journal::default() };
        let answer = |reason: &str| {
            let accepted = reason.is_empty();
            let words = format!(r#""accepted":{accepted},"reason":"{reason}""#);
            format!(r#"{{"event":"answer","worker":"m0.c0.s0",{words}}}"#)
        };
        let verdict = |hash: &&str| {
            format!(r#"{{"event":"verdict","worker":"m0.c0.s0","accepted":true,"hash":"{hash}"}}"#)
        };
        let books = Books {
            sidecar: book(&self.told.map(answer).into_iter().collect::<Vec<_>>()),
            pool: book(&self.booked.iter().map(verdict).collect::<Vec<_>>()),
            log: "",
        };
        Audit::of(&[journal], &books, &self.faults, self.lives)
    }

    /// Killed just after the share was sent.
    fn with(mut self, kind: Kind) -> Self {
        let begun = self.sent + Duration::from_millis(1);
        self.lives += u32::from(kind == Kind::KillSidecar);
        self.faults.push(Record { kind, begun, ended: begun + Duration::from_secs(1) });
        self
    }
}

#[test]
fn books_that_agree_are_equal() {
    case(Fate::Accepted, Some(""), &["aa"]).audit().assert_equal();
    case(rejected("stale-share"), Some("stale-share"), &[]).audit().assert_equal();
}

#[test]
fn rejects_each_way_in_which_books_can_be_wrong() {
    let stale = Some("stale-share");
    for (what, case) in [
        ("an acceptance that nobody booked", case(Fate::Accepted, Some(""), &[])),
        ("one that was not told", case(Fate::Accepted, None, &["aa"])),
        ("one that was told as rejected", case(Fate::Accepted, stale, &["aa"])),
        ("one booked with another hash", case(Fate::Accepted, Some(""), &["bb"])),
        ("one booked twice", case(Fate::Accepted, Some(""), &["aa", "aa"])),
        ("one told and not booked", case(rejected("stale-share"), Some(""), &[])),
        ("silence", case(Fate::Open, None, &[])),
        ("a rejection told otherwise", case(rejected("stale-share"), Some("x"), &[])),
        ("an odd rejection", case(rejected("invalid-share"), Some("invalid-share"), &[])),
        ("credit for what was rejected in peace", case(rejected("stale-share"), stale, &["aa"])),
        ("not booked, whoever was killed", case(Fate::Accepted, None, &[]).with(Kind::KillPool)),
        ("an old job in peace", case(rejected("invalid-job-id"), Some("invalid-job-id"), &[])),
        ("credit denied for a cut", case(rejected("stale-share"), stale, &["aa"]).with(Kind::Cut)),
        ("a journal cut off by nobody", case(Fate::Accepted, None, &["aa"]).with(Kind::KillPool)),
    ] {
        assert_ne!(case.audit().wrong.len(), 0, "{what}");
    }
}

#[test]
fn a_kill_explains_what_it_cut_off_and_is_counted() {
    for case in [
        case(Fate::Accepted, None, &["aa"]).with(Kind::KillSidecar),
        case(Fate::Cut, None, &["aa"]).with(Kind::KillSidecar),
        case(Fate::Cut, Some(""), &["aa"]).with(Kind::KillSidecar),
        case(rejected("stale-share"), Some("stale-share"), &["aa"]).with(Kind::KillPool),
    ] {
        let audit = case.audit();
        audit.assert_right();
        assert_eq!(audit.explained.values().sum::<usize>(), 1, "{audit}");
    }
}

#[test]
fn rejects_a_connection_that_ended_before_anybody_was_killed() {
    let kill = Instant::now();
    let ended = |ended, life| {
        let end = End::Lost("gone".into());
        let connections = vec![Connection { life, ended, end }];
        let journal = Journal { connections, ..Journal::default() };
        let faults = [Record { kind: Kind::KillSidecar, begun: kill, ended: kill }];
        let books = Books { sidecar: book(&[]), pool: book(&[]), log: "" };
        Audit::of(&[journal], &books, &faults, 2).wrong.len()
    };
    assert_eq!(ended(kill + Duration::from_millis(1), 0), 0);
    assert_eq!(ended(kill - Duration::from_millis(1), 0), 1);
    assert_eq!(ended(kill + Duration::from_millis(1), 1), 1, "the last life was not killed");
}

#[test]
fn what_is_withdrawn_is_not_booked() {
    let lines = [
        r#"{"event":"verdict","worker":"m0.c0.s0","accepted":true,"hash":"aa"}"#.to_owned(),
        r#"{"event":"withdrawn","hash":"aa"}"#.to_owned(),
    ];
    let audit = |fate: Fate, answer: &str| {
        let (name, hash, sent) = ("m0.c0.s0".to_owned(), "aa".to_owned(), Instant::now());
        let submit = Submit { name, hash, sent, fate, at: sent, life: 0 };
        let journal = Journal { submits: vec![submit], ..Journal::default() };
        let books = Books { sidecar: book(&[answer.to_owned()]), pool: book(&lines), log: "" };
        Audit::of(&[journal], &books, &[], 1)
    };
    let away = r#"{"event":"answer","worker":"m0.c0.s0","reason":"backend-unavailable"}"#;
    audit(rejected("backend-unavailable"), away).assert_equal();
    let good = r#"{"event":"answer","worker":"m0.c0.s0","accepted":true}"#;
    assert_eq!(audit(Fate::Accepted, good).wrong.len(), 2, "heard, and told");
}

#[test]
fn rejects_what_the_log_calls_an_error() {
    let audit = |log| {
        let books = Books { sidecar: book(&[]), pool: book(&[]), log };
        Audit::of(&[], &books, &[], 1).wrong.len()
    };
    assert_eq!(audit("t ERROR the pool sent nonsense\nt  INFO fine\n"), 1);
    assert_eq!(audit("t ERROR accept failed error=Too many open files\n"), 0);
    assert_eq!(audit("t  WARN the pool was restarted: opening\n"), 1, "and nobody killed it");
}

#[test]
fn rejects_half_lines_that_no_kill_left() {
    let torn = || book(&["{\"event\":\"ans".to_owned()]);
    let now = Instant::now();
    let kill = [Record { kind: Kind::KillSidecar, begun: now, ended: now }];
    let wrong = |sidecar, pool, faults: &[Record]| {
        Audit::of(&[], &Books { sidecar, pool, log: "" }, faults, 2).wrong.len()
    };
    assert_eq!(wrong(torn(), book(&[]), &kill), 0);
    assert_eq!(wrong(torn(), book(&[]), &[]), 1);
    assert_eq!(wrong(book(&[]), torn(), &kill), 1, "the pool cuts them off");
}
