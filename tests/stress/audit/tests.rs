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
    /// `None`: at once.
    answered: Option<Instant>,
    lives: u32,
    faults: Vec<Record>,
}

fn case(fate: Fate, told: Option<&'static str>, booked: &'static [&'static str]) -> Case {
    let (sent, answered, lives, faults) = (Instant::now(), None, 1, Vec::new());
    Case { fate, told, booked, sent, answered, lives, faults }
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
        let at = self.answered.unwrap_or(sent + Duration::from_millis(5));
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
    fn with(self, kind: Kind) -> Self {
        self.with_after(kind, Duration::from_millis(1))
    }

    /// Something went wrong for a second, so long after the share was sent.
    fn with_after(mut self, kind: Kind, time: Duration) -> Self {
        let begun = self.sent + time;
        self.lives += u32::from(kind == Kind::KillSidecar);
        self.faults.push(Record { kind, begun, ended: begun + Duration::from_secs(1) });
        self
    }

    /// Without its answer until the sidecar was killed, so long after the share was sent.
    fn cut_after(mut self, time: Duration) -> Self {
        self.answered = Some(self.sent + time);
        self.with_after(Kind::KillSidecar, time)
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
fn rejects_what_a_kill_can_not_explain_for_it_came_too_late() {
    let late = SHORTLY + Duration::from_millis(6);
    let heard = |told| case(Fate::Accepted, told, &["aa"]).with_after(Kind::KillSidecar, late);
    heard(Some("")).audit().assert_right();
    assert_ne!(heard(None).audit().wrong.len(), 0, "heard long before");
    let stale = || case(rejected("stale-share"), None, &[]);
    assert_eq!(stale().with(Kind::KillSidecar).audit().wrong.len(), 0);
    assert_ne!(stale().with_after(Kind::KillSidecar, late).audit().wrong.len(), 0);
    for (told, booked) in [(None, &["aa"][..]), (Some(""), &["aa"]), (None, &[])] {
        let cut = |time| case(Fate::Cut, told, booked).cut_after(time);
        cut(SHORTLY).audit().assert_right();
        assert_ne!(cut(late).audit().wrong.len(), 0, "not answered in peace");
        // Another fault may hold a share up, but not for ever.
        let held = |time| cut(time).with(Kind::StallDown);
        held(late).audit().assert_right();
        assert_ne!(held(late + HELD_UP).audit().wrong.len(), 0, "not answered at all");
    }
}

#[test]
fn a_sidecar_that_stood_still_when_it_was_killed_did_nothing_meanwhile() {
    let late = SHORTLY + Duration::from_millis(500);
    let mut case = case(Fate::Accepted, None, &["aa"]).with_after(Kind::KillSidecar, late);
    let begun = case.sent + Duration::from_millis(600);
    let stop = Record { kind: Kind::StopSidecar, begun, ended: case.sent + late };
    case.faults.push(stop);
    case.audit().assert_right();
}

#[test]
fn rejects_credit_for_what_a_cut_off_miner_would_have_been_denied() {
    let cut = |reason| case(Fate::Cut, Some(reason), &["aa"]);
    let wrong = |case: Case| case.audit().wrong.len();
    let time = Duration::from_millis(10);
    assert_eq!(wrong(cut("backend-unavailable").cut_after(time)), 0);
    assert_ne!(wrong(cut("stale-share").cut_after(time)), 0, "told by nobody who was killed");
    assert_eq!(wrong(cut("stale-share").cut_after(time).with(Kind::KillPool)), 0);
    assert_eq!(wrong(case(Fate::Cut, Some("stale-share"), &[]).cut_after(time)), 0);
}

#[test]
fn a_sidecar_is_not_killed_twice_in_one_life() {
    let now = Instant::now();
    let seconds = |begun, ended| Record {
        kind: Kind::KillSidecar,
        begun: now + Duration::from_secs(begun),
        ended: now + Duration::from_secs(ended),
    };
    let records = [seconds(2, 4), seconds(1, 6), seconds(5, 7), seconds(9, 10)];
    let deaths: Vec<_> = Faults::new(&records, 4).deaths.iter().map(|d| d.at - now).collect();
    assert_eq!(deaths, [1, 5, 9].map(Duration::from_secs));
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
    let away = r#"{"event":"answer","worker":"m0.c0.s0","accepted":false,
        "reason":"backend-unavailable"}"#
        .replace("\n       ", "");
    audit(rejected("backend-unavailable"), &away).assert_equal();
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
