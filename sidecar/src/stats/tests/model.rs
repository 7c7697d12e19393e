//! Any order of events, repeats, restarts and failures: the sums are exact, and nothing is double.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::stats::file;
use crate::stats::ingest::{Ingest, Keep, Start};

/// What happens to a sidecar.
#[derive(Clone, Debug)]
enum Step {
    /// A miner opens a channel.
    Open(u8),
    /// A channel earns: shares, tenths of credit, refused ones, named or not, over so long.
    Earn { channel: u8, named: bool, accepted: u64, tenths: u32, stale: u64, seconds: i64 },
    /// A channel ends.
    End(u8),
    /// How it stands.
    Snapshot,
    /// The stream breaks, and so many of the last events come again.
    Repeat(u8),
    /// A transaction comes to nothing.
    Fail,
    /// The service is started anew.
    Restart,
    /// The sidecar is started anew: another sequence, and its channels are gone.
    Anew,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u8).prop_map(Step::Open),
        8 => (0..6_u8, any::<bool>(), 0..9_u64, any::<u32>(), 0..3_u64, 0..5_000_i64).prop_map(
            |(channel, named, accepted, tenths, stale, seconds)| {
                Step::Earn { channel, named, accepted, tenths, stale, seconds }
            }
        ),
        2 => (0..6_u8).prop_map(Step::End),
        2 => Just(Step::Snapshot),
        2 => (1..9_u8).prop_map(Step::Repeat),
        1 => Just(Step::Fail),
        1 => Just(Step::Restart),
        1 => Just(Step::Anew),
    ]
}

/// What everything must come to.
#[derive(Default)]
struct Model {
    /// By channel and whether it is the named worker's: accepted, rejected, work in 2^-32.
    workers: BTreeMap<(u8, bool), (i64, i64, u128)>,
    /// By source and channel: accepted, and whether it is open.
    sessions: BTreeMap<(u8, u8), (i64, bool)>,
    total: (i64, i64, u128),
}

const IDENTITIES: [&[u8]; 6] = [b"a", b"b", HOSTILE, b"", b"\0", b"a.b"];

struct Run {
    place: Place,
    conn: Option<Connection>,
    source: u8,
    events: Vec<v1::Event>,
    now: i64,
    model: Model,
}

impl Run {
    fn start(source: u8) -> Start {
        Start {
            sidecar: "one".to_owned(),
            source_id: vec![source; 16],
            durable: false,
            first_seq: 1,
        }
    }

    /// Delivers events behind what the file has, and `repeat` that it has already; with `fails`
    /// the transaction is taken back and done again.
    fn deliver(&mut self, repeat: usize, fails: bool) {
        let conn = self.conn.as_ref().unwrap();
        let mut ingest = Ingest::new(conn, Keep::from(&StatsService::default())).unwrap();
        let (source, have) = ingest.start(&Self::start(self.source), self.now).unwrap();
        let from = usize::try_from(have).unwrap().saturating_sub(repeat);
        for chunk in self.events[from..].chunks(3) {
            for attempt in [fails, false] {
                conn.execute_batch("BEGIN IMMEDIATE").unwrap();
                ingest.events(source, chunk, self.now).unwrap();
                ingest.flush().unwrap();
                if attempt {
                    conn.execute_batch("ROLLBACK").unwrap();
                    ingest.forget();
                } else {
                    conn.execute_batch("COMMIT").unwrap();
                    break;
                }
            }
        }
    }

    fn tell(&mut self, what: What) {
        let seq = self.events.len() as u64 + 1;
        self.now += 1_000;
        self.events.push(v1::Event { seq, at_ms: self.now, event: Some(what) });
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Open(channel) => {
                let identity = IDENTITIES[usize::from(*channel)];
                self.tell(connected(u64::from(*channel)));
                self.tell(started((*channel).into(), (*channel).into(), identity));
                let key = (self.source, *channel);
                self.model.sessions.entry(key).or_default().1 = true;
            }
            Step::Earn { channel, named, accepted, tenths, stale, seconds } => {
                let key = (self.source, *channel);
                let Some(session) = self.model.sessions.get_mut(&key) else { return };
                let credit = v1::Difficulty { whole: 3 * accepted, fraction: *tenths };
                let work = u128::from(credit.whole) << 32 | u128::from(credit.fraction);
                let (accepted, stale) = (*accepted, *stale);
                let signed = (i64::try_from(accepted).unwrap(), i64::try_from(stale).unwrap());
                session.0 += signed.0;
                for sum in [
                    self.model.workers.entry((*channel, *named)).or_default(),
                    &mut self.model.total,
                ] {
                    *sum = (sum.0 + signed.0, sum.1 + signed.1, sum.2 + work);
                }
                let reason = v1::RejectReason::StaleShare.into();
                let totals = v1::ShareTotals {
                    channel_id: (*channel).into(),
                    worker: Bytes::from_static(if *named { b"w" } else { b"" }),
                    accepted,
                    credit: Some(credit),
                    rejected: vec![v1::RejectCount { reason, count: stale }],
                    best: None,
                    since_ms: self.now - seconds * 1_000,
                    user_identity: Bytes::new(),
                };
                self.tell(What::ShareTotals(totals));
            }
            Step::End(channel) => {
                if let Some(session) = self.model.sessions.get_mut(&(self.source, *channel)) {
                    session.1 = false;
                    let (channel_id, reason) = ((*channel).into(), "gone".to_owned());
                    self.tell(What::ChannelEnded(v1::ChannelEnded { channel_id, reason }));
                }
            }
            Step::Snapshot => {
                let since = self.now - 10_000;
                self.tell(snapshot(1, since));
            }
            Step::Repeat(count) => self.deliver((*count).into(), false),
            Step::Fail => self.deliver(0, true),
            Step::Restart => {
                self.conn = None;
                self.conn = Some(file::open(&self.place.database(), self.now).unwrap().conn);
            }
            Step::Anew => {
                self.deliver(0, false);
                self.source += 1;
                self.events.clear();
                for session in self.model.sessions.values_mut() {
                    session.1 = false;
                }
                // It begins a stream at once.
                self.deliver(0, false);
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let conn = self.conn.as_ref().unwrap();
        type Sum = (i64, i64, u128);
        let sums = |query: &str| -> Sum {
            let query = format!(
                "SELECT ifnull(sum(accepted), 0), ifnull(sum(rejected), 0), \
                 ifnull(sum(work), 0), ifnull(sum(fraction), 0) FROM {query}"
            );
            let row = |row: &rusqlite::Row<'_>| {
                let (whole, fraction) = (row.get::<_, i64>(2)?, row.get::<_, i64>(3)?);
                let work =
                    (u128::from(whole.unsigned_abs()) << 32) + u128::from(fraction.unsigned_abs());
                Ok((row.get(0)?, row.get(1)?, work))
            };
            conn.query_row(&query, [], row).unwrap()
        };
        let total = self.model.total;
        prop_assert_eq!(sums("sidecar"), total);
        prop_assert_eq!(sums("worker"), total);
        prop_assert_eq!(sums("session"), total);
        for level in 0..4 {
            prop_assert_eq!(sums(&format!("history WHERE level = {level}")), total);
        }
        for level in [2, 3] {
            prop_assert_eq!(sums(&format!("worker_history WHERE level = {level}")), total);
        }
        for ((channel, named), sum) in &self.model.workers {
            let identity = crate::obs::printable(IDENTITIES[usize::from(*channel)]);
            let name = if *named { "w" } else { "" };
            let of = format!("worker WHERE label = '{identity}' AND name_label = '{name}'");
            prop_assert_eq!(sums(&of), *sum, "{}", of);
        }
        let rejects = "SELECT ifnull(sum(count), 0) FROM reject WHERE level = 1";
        let rejects: i64 = conn.query_row(rejects, [], |row| row.get(0)).unwrap();
        prop_assert_eq!(rejects, total.1);
        let mut statement = conn
            .prepare(
                "SELECT source.source_id, channel_id, accepted, ended_ms IS NULL FROM session \
                 JOIN source ON source.id = source",
            )
            .unwrap();
        let rows = statement.query_map([], |row| {
            let source: Vec<u8> = row.get(0)?;
            Ok(((source[0], row.get(1)?), (row.get(2)?, row.get(3)?)))
        });
        let sessions: BTreeMap<(u8, u8), (i64, bool)> =
            rows.unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&sessions, &self.model.sessions);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn keeps_exact_sums_whatever_breaks(
        steps in prop::collection::vec(step(), 1..60),
        name in 0..u32::MAX,
    ) {
        let place = Place::new(&format!("model-{name}"));
        let conn = file::open(&place.database(), T0).unwrap().conn;
        let mut run = Run {
            place,
            conn: Some(conn),
            source: 1,
            events: Vec::new(),
            now: T0,
            model: Model::default(),
        };
        for step in &steps {
            run.take(step);
        }
        run.deliver(0, false);
        run.check()?;
        // The whole story again changes nothing.
        run.deliver(usize::MAX, false);
        run.check()?;
    }
}
