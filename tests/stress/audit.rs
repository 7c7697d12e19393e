//! Compares three books of the same shares: the miners', the sidecar's and the pool's.
//!
//! A miner's Successes are a part of the sidecar's, and those a part of what the pool accepted and
//! did not withdraw. Where one lacks what another has, something was killed or cut off: each such
//! difference is counted under its explanation, and one without makes the books wrong.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use gopool_sv2_tests as harness;

use crate::fault::{Kind, Record};
use crate::miner::{End, Fate, Journal, Submit};

/// Wrong entries that are listed one by one.
const LISTED: usize = 20;
/// Until the sidecar can tell a pool that was away what it told its miners, at most: several faults
/// may follow each other, and a silent pool has to be noticed and dialled again.
const RECOVERY: Duration = Duration::from_secs(15);
/// A kill cuts off what was under way, and that is never long: what was done earlier before it is
/// on the books.
const SHORTLY: Duration = Duration::from_secs(2);
/// What a share may wait longer for its verdict when something else went wrong meanwhile: a silent
/// pool is noticed within 3 s ([`crate::chaos::Stage::set`]), the grace lasts another 3.
const HELD_UP: Duration = Duration::from_secs(6);

/// Journals of the two processes, and how often half a line was left in each.
pub struct Books<'a> {
    /// The sidecar's.
    pub sidecar: (harness::Books, usize),
    /// The pool's.
    pub pool: (harness::Books, usize),
    /// The sidecar's log.
    pub log: &'a str,
}

/// What the comparison comes to.
#[derive(Debug, Default)]
pub struct Audit {
    /// Shares sent.
    pub sent: usize,
    /// Accepted, as miners heard.
    pub heard: usize,
    /// Accepted, as the sidecar told.
    pub told: usize,
    /// Accepted, as the pool booked and did not take back.
    pub booked: usize,
    /// Taken back by the pool.
    pub withdrawn: usize,
    /// Rejections that miners heard, by reason.
    pub rejected: BTreeMap<String, usize>,
    /// Submits whose connection ended before the answer.
    pub cut: usize,
    /// The longest that one of them had waited when the sidecar was killed.
    pub waited: Duration,
    /// Differences by explanation.
    pub explained: BTreeMap<String, usize>,
    /// What can't be.
    pub wrong: Vec<String>,
    /// Connections that ended against the miner's will.
    pub lost: usize,
    /// Faults by kind.
    pub faults: BTreeMap<Kind, usize>,
    /// How often the pool had lost its channels, by the sidecar's log.
    pub begun_anew: usize,
    /// How often a broken stream was taken up again, by the sidecar's log.
    pub resumed: usize,
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: usize = self.faults.values().sum();
        writeln!(f, "{faults} faults {:?}", self.faults)?;
        writeln!(
            f,
            "  sent {}, accepted: heard {}, told {}, booked {} (withdrawn {})",
            self.sent, self.heard, self.told, self.booked, self.withdrawn
        )?;
        let (cut, waited) = (self.cut, self.waited);
        writeln!(f, "  rejected {:?}, cut {cut}, after {waited:.1?} at most", self.rejected)?;
        writeln!(f, "  differences: {:?}; wrong: {}", self.explained, self.wrong.len())?;
        write!(
            f,
            "  connections lost {}; streams resumed {}, begun anew {}",
            self.lost, self.resumed, self.begun_anew
        )
    }
}

/// What the sidecar answered.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Accepted,
    Rejected(String),
}

/// An acceptance of the pool.
struct Booked {
    hash: String,
    withdrawn: bool,
}

/// The end of a life of the sidecar.
#[derive(Debug, Clone, Copy)]
struct Death {
    /// When it was killed.
    at: Instant,
    /// Since when it did nothing: it may have stood still before.
    idle: Instant,
}

/// What went wrong, as explanations need it.
struct Faults<'a> {
    all: &'a [Record],
    /// Of each life that was ended by a kill, in order.
    deaths: Vec<Death>,
}

impl<'a> Faults<'a> {
    /// `lives`: of the sidecar; all but the last were killed.
    fn new(all: &'a [Record], lives: u32) -> Self {
        let mut kills: Vec<_> = all.iter().filter(|f| f.kind == Kind::KillSidecar).collect();
        kills.sort_by_key(|kill| kill.begun);
        let mut deaths: Vec<Death> = Vec::new();
        let mut back: Option<Instant> = None;
        for kill in kills {
            // Who is dead already isn't killed again; the first one to end brings it back.
            if let Some(back) = back.as_mut().filter(|back| kill.begun <= **back) {
                *back = kill.ended.min(*back);
            } else {
                let still = all.iter().filter(|f| {
                    f.kind == Kind::StopSidecar && (f.begun..=f.ended).contains(&kill.begun)
                });
                let idle = still.map(|stop| stop.begun).chain([kill.begun]).min();
                deaths.push(Death { at: kill.begun, idle: idle.unwrap_or(kill.begun) });
                back = Some(kill.ended);
            }
        }
        deaths.truncate(lives.saturating_sub(1) as usize);
        Self { all, deaths }
    }

    fn death(&self, life: u32) -> Option<&Death> {
        self.deaths.get(life as usize)
    }

    /// Whether what was done at `time`, in that life, may have been lost with it.
    fn cut_off(&self, life: u32, time: Instant) -> bool {
        self.death(life).is_some_and(|death| death.idle <= time + SHORTLY)
    }

    /// As [`Self::cut_off`], for a share that was sent at `time` and had no answer.
    fn cut_off_waiting(&self, life: u32, time: Instant) -> bool {
        let Some(death) = self.death(life) else { return false };
        let held = |f: &Record| {
            f.kind != Kind::KillSidecar && f.begun <= death.at && time <= f.ended + SHORTLY
        };
        self.cut_off(life, time)
            || (self.all.iter().any(held) && death.idle <= time + SHORTLY + HELD_UP)
    }
}

impl Audit {
    /// Compares. `lives`: of the sidecar; all but the last were ended by a kill.
    pub fn of(journals: &[Journal], books: &Books<'_>, faults: &[Record], lives: u32) -> Self {
        let mut audit = Self::default();
        for fault in faults {
            *audit.faults.entry(fault.kind).or_default() += 1;
        }
        audit.resumed = books.log.matches("the session goes on where it was").count();
        audit.begun_anew = books.log.matches("the pool was restarted").count();
        let kills = |kind| faults.iter().filter(|fault| fault.kind == kind).count();
        if audit.begun_anew > kills(Kind::KillPool) {
            audit.wrong(format!("the pool had lost its channels {} times", audit.begun_anew));
        }
        for line in books.log.lines().filter(|line| line.contains("ERROR")) {
            // What the lack of descriptors is meant to bring about.
            if !line.contains("accept failed") {
                audit.wrong(line.to_owned());
            }
        }
        if books.sidecar.1 > kills(Kind::KillSidecar) || books.pool.1 > 0 {
            let torn = (books.sidecar.1, books.pool.1);
            audit.wrong(format!("half lines in the journals of sidecar and pool: {torn:?}"));
        }
        let told = audit.told(&books.sidecar.0);
        let booked = audit.booked(&books.pool.0);
        let mut seen = HashSet::new();
        let faults = Faults::new(faults, lives);
        for journal in journals {
            audit.connections(journal, &faults);
            for submit in &journal.submits {
                let (told, booked) = (told.get(&submit.name), booked.get(&submit.name));
                audit.submit(submit, told, booked, &faults);
                seen.insert(submit.name.as_str());
            }
        }
        for name in booked.keys().chain(told.keys()).filter(|name| !seen.contains(name.as_str())) {
            audit.wrong(format!("{name}: no miner sent it"));
        }
        audit
    }

    /// Fails the test that asks when something is wrong.
    pub fn assert_right(&self) {
        let list = self.wrong.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>();
        assert!(list.is_empty(), "{} wrong, such as:\n{}", self.wrong.len(), list.join("\n"));
    }

    /// Fails the test that asks when the books differ at all.
    pub fn assert_equal(&self) {
        self.assert_right();
        assert_eq!((self.heard, self.told), (self.booked, self.booked), "{self}");
        assert!(self.explained.is_empty() && self.cut == 0 && self.lost == 0, "{self}");
    }

    fn wrong(&mut self, text: String) {
        self.wrong.push(text);
    }

    fn explain(&mut self, text: &str) {
        *self.explained.entry(text.to_owned()).or_default() += 1;
    }

    fn told(&mut self, journal: &harness::Books) -> HashMap<String, Told> {
        let mut told = HashMap::new();
        for line in journal.of("answer") {
            let name = line.text("worker").to_owned();
            let answer = match line.is("accepted") {
                true => Told::Accepted,
                false => Told::Rejected(line.text("reason").to_owned()),
            };
            self.told += usize::from(answer == Told::Accepted);
            if let Some(before) = told.insert(name, answer) {
                self.wrong(format!("{}: told twice, {before:?} before", line.text("worker")));
            }
        }
        for line in journal.of("closed").filter(|line| line.number("dropped") > 0) {
            self.wrong(format!("the sidecar's journal lacks lines: {line:?}"));
        }
        told
    }

    /// The pool's acceptances by name. Of rejected shares the book may hold sums only.
    fn booked(&mut self, journal: &harness::Books) -> HashMap<String, Booked> {
        let withdrawn: HashSet<&str> = journal.of("withdrawn").map(|l| l.text("hash")).collect();
        let (mut booked, mut hashes) = (HashMap::new(), HashSet::new());
        for line in journal.of("verdict").filter(|line| line.is("accepted")) {
            let (name, hash) = (line.text("worker").to_owned(), line.text("hash"));
            if !hashes.insert(hash) {
                self.wrong(format!("{name}: credited twice, {hash}"));
            }
            let withdrawn = withdrawn.contains(hash);
            self.withdrawn += usize::from(withdrawn);
            self.booked += usize::from(!withdrawn);
            let entry = Booked { hash: hash.to_owned(), withdrawn };
            if booked.insert(name, entry).is_some() {
                self.wrong(format!("{}: accepted twice", line.text("worker")));
            }
        }
        booked
    }

    fn connections(&mut self, journal: &Journal, faults: &Faults<'_>) {
        for text in &journal.miscounted {
            self.wrong(text.clone());
        }
        for connection in &journal.connections {
            let End::Lost(why) = &connection.end else { continue };
            self.lost += 1;
            let death = faults.death(connection.life);
            if death.is_none_or(|death| death.at > connection.ended) {
                self.wrong(format!("a connection ended though nobody was killed: {why}"));
            }
        }
    }

    fn submit(
        &mut self,
        submit: &Submit,
        told: Option<&Told>,
        booked: Option<&Booked>,
        faults: &Faults<'_>,
    ) {
        let name = &submit.name;
        self.sent += 1;
        // The journal of the share path is written behind the answer.
        let unwritten = faults.cut_off(submit.life, submit.at);
        let counts = booked.is_some_and(|booked| !booked.withdrawn);
        if booked.is_some_and(|booked| booked.hash != submit.hash) {
            self.wrong(format!("{name}: booked with another hash"));
        }
        match &submit.fate {
            Fate::Open => self.wrong(format!("{name}: never answered")),
            Fate::Accepted => {
                self.heard += 1;
                match told {
                    Some(Told::Accepted) => {}
                    None if unwritten => self.explain("heard, not in the killed sidecar's journal"),
                    other => self.wrong(format!("{name}: heard accepted, told {other:?}")),
                }
                if !counts {
                    self.wrong(format!("{name}: heard accepted, not booked"));
                }
            }
            Fate::Rejected(reason) => {
                *self.rejected.entry(reason.clone()).or_default() += 1;
                // Two tips may have passed while the link was down: then it is no known job's.
                let away = |f: &Record| f.begun <= submit.at && submit.sent <= f.ended + RECOVERY;
                match reason.as_str() {
                    "stale-share" | "backend-unavailable" => {}
                    "invalid-job-id" if faults.all.iter().any(away) => {}
                    _ => self.wrong(format!("{name}: {reason}")),
                }
                match told {
                    Some(Told::Rejected(told)) if told == reason => {}
                    None if unwritten => self.explain("heard, not in the killed sidecar's journal"),
                    other => self.wrong(format!("{name}: heard {reason}, told {other:?}")),
                }
                if counts {
                    self.denied(submit, reason, faults.all);
                }
            }
            Fate::Cut => {
                self.cut += 1;
                if let Some(death) = faults.death(submit.life) {
                    let waited = death.idle.saturating_duration_since(submit.sent);
                    self.waited = self.waited.max(waited);
                }
                if !faults.cut_off_waiting(submit.life, submit.sent) {
                    self.wrong(format!("{name}: not answered, long before anybody was killed"));
                }
                match told {
                    Some(Told::Accepted) => self.explain("told, and the connection was killed"),
                    Some(Told::Rejected(reason)) if counts => {
                        self.denied(submit, reason, faults.all);
                    }
                    None if counts => self.explain("booked, and the sidecar was killed"),
                    _ => {}
                }
            }
        }
        if told == Some(&Told::Accepted) && !counts {
            self.wrong(format!("{name}: told accepted, not booked"));
        }
    }

    /// The pool counts what the miner was told it doesn't: only that one of the two was killed
    /// before they could speak of it may be why.
    fn denied(&mut self, submit: &Submit, reason: &str, faults: &[Record]) {
        // A rejection for want of a pool is made good with the next stream, any other never: it
        // comes of a pool that was killed and knows nothing of the share.
        let (sidecar, later) = match reason {
            "backend-unavailable" => (true, RECOVERY),
            _ => (false, Duration::ZERO),
        };
        let meant = |fault: &&Record| {
            (fault.kind == Kind::KillPool || sidecar && fault.kind == Kind::KillSidecar)
                && submit.sent <= fault.begun
                && fault.begun <= submit.at + later
        };
        match faults.iter().find(meant) {
            Some(fault) => self.explain(&format!("booked, answered {reason}: {:?}", fault.kind)),
            None => self.wrong(format!("{}: booked, told {reason}, nobody killed", submit.name)),
        }
    }
}

#[cfg(test)]
mod tests;
