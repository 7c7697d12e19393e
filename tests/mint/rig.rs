//! A line with a mint bridge, and what its books say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use gopool_sv2::mint::ledger::{Books, Export};
use gopool_sv2_tests::fake_mint::{Database, FakeMint, HeldAddress, Settings};
use gopool_sv2_tests::{binaries, Line, LineOptions};
use serde_json::Value;

/// The generator of secp256k1, its double and its triple (SEC 2).
pub const KEYS: [&str; 3] = [
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
    "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
];

/// The easiest difficulty that minipool gives, 2^-32: nearly every hash is a share.
const EASIEST: &str = "2.3283064365386963e-10";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a rig differs from the usual one.
pub struct Options {
    /// Shares are searched for; otherwise nearly every hash is one, and counts one unit exactly.
    pub searched: bool,
    /// `[mint].seal_interval_sec`.
    pub seal_sec: u64,
    /// More TOML for `[mint]`.
    pub mint: &'static str,
    /// What the rest of the line is.
    pub line: LineOptions,
}

impl Default for Options {
    fn default() -> Self {
        let mint = "request_timeout_ms = 2000\n";
        Self { searched: false, seal_sec: 1, mint, line: LineOptions::default() }
    }
}

/// A line with a mint bridge.
pub struct Rig {
    pub line: Line,
    mint: HeldAddress,
    processor: HeldAddress,
    unit: u128,
}

impl Rig {
    pub fn start(options: Options) -> Self {
        let [mint, processor] = [0; 2].map(|_| HeldAddress::take().unwrap());
        let Options { searched, seal_sec, mint: more, mut line } = options;
        // 2^-16 of difficulty 1, so that a share that was searched for makes several units, or the
        // credit of one hash.
        let (unit, unit_difficulty) = match searched {
            true => (1 << 16, "0.0000152587890625"),
            false => (1, "0.000000000232830644"),
        };
        line.sections += &format!(
            "[mint]\nledger_file = \"ledger.db\"\nurl = \"http://{mint}\"\n\
             seal_interval_sec = {seal_sec}\nunit_difficulty = \"{unit_difficulty}\"\n{more}\
             [mint.processor]\nlisten = \"{processor}\"\nallow_plain = true\n"
        );
        let shares = match searched {
            true => "-share-seconds 0.05".to_owned(),
            false => format!("-min-difficulty {EASIEST} -max-difficulty {EASIEST}"),
        };
        let flags = format!("{shares} -template-seconds 3600 -events events");
        line.minipool.extend(flags.split_whitespace().map(Into::into));
        // Miners come back as often as they like.
        line.listen += "connections_per_sec = 0\nconnections_per_sec_per_address = 0\n";
        if line.network_bits == LineOptions::default().network_bits {
            // No block, hence no stale share.
            line.network_bits = "1c00ffff";
        }
        Self { line: Line::start(line).unwrap(), mint, processor, unit }
    }

    /// Where the mint's HTTP API is to be, and what it dials.
    pub const fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.mint.get(), self.processor.get())
    }

    /// One try to start the mint; fails as long as its processor is away.
    pub async fn try_mint(&self, database: Database) -> Result<FakeMint, String> {
        let (listen, processor) = self.addresses();
        let settings = Settings { listen, ..Settings::new(processor) };
        FakeMint::start(settings, database).await
    }

    /// Starts the mint.
    pub async fn start_mint(&self, database: Database) -> FakeMint {
        self.try_mint(database).await.unwrap()
    }

    /// The whole lines of a file.
    pub fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.line.path(file)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        // A pool that was killed leaves half a line, and goes on in the next.
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What the pool has accepted.
    pub fn booked(&self) -> Vec<Value> {
        let lines = self.lines("minipool.journal").into_iter();
        lines.filter(|line| line["event"] == "verdict" && line["accepted"] == true).collect()
    }

    /// Hashes of what the pool has accepted, as explorers print them.
    pub fn booked_hashes(&self) -> BTreeSet<String> {
        self.booked().iter().map(|line| line["hash"].as_str().unwrap().to_owned()).collect()
    }

    /// Whole units in what the pool has booked.
    pub fn owed(&self) -> u64 {
        let credit = |line: &Value| {
            let part = |name: &str| u128::from(line["credit"][name].as_u64().unwrap());
            (part("whole") << 32) + part("fraction")
        };
        u64::try_from(self.booked().iter().map(credit).sum::<u128>() / self.unit).unwrap()
    }

    /// What the pool kept of the ledger's events, which must be a sequence.
    pub fn events(&self) -> Vec<Value> {
        let files = fs::read_dir(self.line.path("events")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        if files.is_empty() {
            return Vec::new();
        }
        let [file] = files.as_slice() else { panic!("one source: {files:?}") };
        let events = self.lines(&format!("events/{}", file.to_str().unwrap()));
        for (event, seq) in events.iter().zip(1_u64..) {
            assert_eq!(event["seq"], seq.to_string(), "{event}");
        }
        events
    }

    /// The numbers of the ledger's events that the pool kept, of each sequence.
    pub fn histories(&self) -> Vec<Vec<u64>> {
        let files = fs::read_dir(self.line.path("events")).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let seq = |event: Value| event["seq"].as_str().unwrap().parse().unwrap();
        files
            .map(|file| self.lines(&format!("events/{file}")).into_iter().map(seq).collect())
            .collect()
    }

    /// Sum of a field over the events of a kind.
    pub fn told(&self, kind: &str, field: &str) -> u64 {
        let amount = |event: &Value| event[kind][field].as_str().map(|text| text.parse::<u64>());
        self.events().iter().filter_map(amount).map(Result::unwrap).sum()
    }

    /// What the sidecar's admin address says of its readiness, with `[admin].listen` as
    /// `unix:admin.sock`: the HTTP status and the answer.
    pub fn readiness(&self) -> (u16, Value) {
        let mut admin = UnixStream::connect(self.line.path("admin.sock")).unwrap();
        let ask = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        admin.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        admin.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Waits until the pool has all events, and checks by them that the credits of each account
    /// were sealed, sent and confirmed in the order in which they were opened. How many were
    /// confirmed, of each account.
    pub async fn confirmed_in_order(&self) -> Vec<usize> {
        let newest = || self.books().event_range().unwrap().0;
        until("the pool has all", || self.events().len() as u64 == newest()).await;
        let mut accounts = BTreeMap::new();
        let mut lives: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for event in self.events() {
            for kind in ["mint_sealed", "mint_sent", "mint_confirmed"] {
                let Some(credit) = event[kind]["credit_id"].as_str() else { continue };
                let credit: u64 = credit.parse().unwrap();
                if kind == "mint_sealed" {
                    let of = |field: &str| event[kind][field].to_string();
                    accounts.insert(credit, (of("user_identity"), of("payout_key")));
                }
                lives.entry((kind, accounts[&credit].clone())).or_default().push(credit);
            }
        }
        for (step, credits) in &lives {
            assert!(credits.windows(2).all(|pair| pair[0] < pair[1]), "{step:?}: {credits:?}");
        }
        let confirmed = lives.iter().filter(|((kind, _), _)| *kind == "mint_confirmed");
        confirmed.map(|(_, credits)| credits.len()).collect()
    }

    /// The ledger, as it is now.
    pub fn books(&self) -> Books {
        Books::open(&self.line.path("ledger.db")).unwrap()
    }

    /// Amounts that the mint confirmed, and those that it did not confirm yet, of all accounts.
    pub fn confirmed_and_pending(&self) -> (u64, u64) {
        let accounts = self.books().accounts(0, 1_000).unwrap();
        let sum = |(confirmed, pending), account: &gopool_sv2::mint::ledger::AccountBooks| {
            (confirmed + account.confirmed_amount, pending + account.pending_amount)
        };
        accounts.iter().fold((0, 0), sum)
    }

    /// Hashes of the shares in the ledger, as explorers print them.
    pub fn ledger_hashes(&self) -> BTreeSet<String> {
        self.credits_of_shares().into_keys().collect()
    }

    /// Shares in the ledger by their hashes, as explorers print them, with their credits' numbers,
    /// which are in the order of opening.
    pub fn credits_of_shares(&self) -> BTreeMap<String, u64> {
        let (mut shares, mut of) = (BTreeMap::new(), 0);
        let take = |row| {
            match row {
                Export::Account(_) => {}
                Export::Credit(credit) => of = credit.id,
                Export::Share { hash, .. } => {
                    let hex = hash.iter().rev().map(|byte| format!("{byte:02x}")).collect();
                    assert_eq!(shares.insert(hex, of), None, "a hash twice");
                }
            }
            true
        };
        self.books().export(take).unwrap();
        shares
    }

    /// Checks that the ledger adds up. Shares in it.
    pub fn verify(&self) -> u64 {
        let audit = self.books().verify().unwrap();
        assert!(audit.faults.is_empty(), "{:?}", audit.faults);
        audit.shares
    }

    /// Stops the sidecar, has the operator do this to its ledger, and starts it again.
    pub fn while_stopped(&mut self, change: impl FnOnce(&Self)) {
        self.line.sidecar.signal("TERM").unwrap();
        assert!(self.line.sidecar.wait().unwrap().success());
        change(self);
        self.line.start_sidecar().unwrap();
    }

    /// `gopool-sv2 ledger`, on this ledger. What it prints.
    pub fn operator(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&binaries().unwrap().sidecar);
        command.arg("ledger").args(arguments).arg("--ledger").arg(self.line.path("ledger.db"));
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(status.success(), "{arguments:?}: {text}");
        text
    }

    /// Waits until the mint has all that the pool has booked, and the ledger knows. The mint asks
    /// its processor as often as it is asked.
    pub async fn settled(&self, mint: &FakeMint) {
        let (owed, what) = (self.owed(), "the mint has it all, and the ledger knows");
        until(what, || {
            mint.pass_ten_seconds();
            mint.database().paid() == owed && self.confirmed_and_pending() == (owed, 0)
        })
        .await;
        self.verify();
    }
}

/// Waits until it holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
