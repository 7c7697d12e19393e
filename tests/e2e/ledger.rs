//! `gopool-sv2 ledger`, as an operator meets it, over a ledger that the library has written.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use bytes::Bytes;
use gopool_sv2::mint::ledger::{
    Due, Ledger as _, LedgerShare, Origin, Settings, Source, SqliteLedger, Terms,
};
use gopool_sv2::mint::{PayoutKey, Scheme, Work};
use gopool_sv2::types::{Difficulty, Hash, QuoteRef};
use gopool_sv2_tests::binaries;
use serde_json::Value;
use tempfile::TempDir;

use crate::block_on;

const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
/// The mint's id of the quote that the hostile account is paid on.
const SECRET: &str = "018f3c5e-quote-id-of-the-mint";

/// All bytes there are: 255 of them, without `x`.
fn hostile() -> Bytes {
    (0..=u8::MAX).filter(|byte| *byte != b'x').collect()
}

fn open(directory: &Path) -> SqliteLedger {
    let settings = Settings {
        path: directory.join("ledger.db"),
        scheme: Scheme::Linear,
        max_shares: 64,
        accrued_every_ms: 10_000,
    };
    SqliteLedger::open(&settings, tokio::sync::mpsc::channel(64).0).unwrap()
}

/// A ledger of two accounts: credit 1, of 56 and of a hostile name, was sent; credit 2, of bob,
/// waits for a quote.
async fn write(ledger: &SqliteLedger) {
    let share = |n: u8, identity: Bytes| LedgerShare {
        id: n.into(),
        source: Source::V2(Origin { session: [7; 16], submit: n.into() }),
        hash: Hash([n; 32]),
        identity,
        payout_key: Some(PayoutKey::from_hex(KEY.as_bytes()).unwrap()),
        quote: None,
        worker: hostile(),
        credit: Difficulty { whole: 7, fraction: 0 },
        block_candidate: n == 1,
        height: 1,
        at_ms: 1_000,
    };
    ledger.record_many((1..=8).map(|n| share(n, hostile())).collect(), 1_000).await.unwrap();
    ledger.record_many(vec![share(9, "bob".into())], 1_000).await.unwrap();
    ledger.close_due(Due { opened_by_ms: i64::MAX, work_from: Work::ZERO }, 2_000).await.unwrap();
    let terms = Terms { unit_work: Work::DIFFICULTY_1, min_amount: 1 };
    assert_eq!(ledger.seal(terms, 10, 2_000).await.unwrap().sealed, 2);
    let quote = || "gp1q:one".to_owned();
    ledger.new_quote(1, quote(), "ehash:one".to_owned(), 2_000).await.unwrap();
    ledger.quote_creating(quote()).await.unwrap();
    ledger.quote_opened(quote(), SECRET.to_owned(), 0, 2_000).await.unwrap();
    assert_eq!(ledger.assign(256, 3).await, Ok(1));
    ledger.mark_sent(vec![1], 3_000).await.unwrap();
}

/// Runs a command of it; what it prints never has a byte that moves a terminal.
fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(&binaries().unwrap().sidecar);
    let output = command.arg("ledger").args(arguments).current_dir(directory).output().unwrap();
    for byte in output.stdout.iter().chain(&output.stderr) {
        let fine = matches!(byte, b' '..=b'~' | b'\n' | b'\t');
        assert!(fine, "byte {byte:#x} from {arguments:?}");
    }
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Runs a command on the ledger; checks its exit code and that it says all of this.
fn says(directory: &Path, arguments: &[&str], code: i32, wanted: &[&str]) -> String {
    let output = run(directory, &[arguments, &["--ledger", "ledger.db"]].concat());
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for part in wanted {
        assert!(text.contains(part), "{arguments:?} does not say {part:?}:\n{text}");
    }
    text
}

/// The lines of a command's JSON, each an object with a kind.
fn lines(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = run(directory, &[arguments, &["--json", "--ledger", "ledger.db"]].concat());
    let text = text(&output);
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(&text)).collect();
    assert!(lines.iter().all(|line| line["kind"].is_string()), "{text}");
    lines
}

#[test]
fn reads_beside_a_running_sidecar_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let ledger = open(at);
    block_on(write(&ledger));
    let accounts = says(at, &["accounts"], 0, &[KEY, "\"bob\"", "\\x1b", "\\xff", "2 accounts"]);
    assert!(accounts.contains("63 pending, 0 confirmed"), "{accounts}");
    let stuck = says(at, &["stuck"], 0, &["sent", "sealed", "gp1q:one", KEY]);
    let export = says(at, &["export"], 0, &["gp1c:", "block"]);
    let verify = says(at, &["verify"], 0, &["2 credits, 9 shares", "adds up"]);
    for text in [accounts, stuck, export, verify] {
        assert!(!text.contains(SECRET), "{text}");
    }
    says(at, &["stuck", "--secrets"], 0, &[SECRET]);

    let accounts = lines(at, &["accounts"]);
    let hex: String = hostile().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(accounts[0]["identity_hex"], hex);
    assert_eq!((&accounts[0]["pending"], &accounts[0]["payout_key"]), (&56.into(), &KEY.into()));
    let kinds = |arguments: &[&str], kind: &str| {
        lines(at, arguments).iter().filter(|line| line["kind"] == kind).count()
    };
    for (kind, count) in [("account", 2), ("credit", 2), ("share", 9)] {
        assert_eq!(kinds(&["export"], kind), count, "{kind}");
    }
    assert_eq!(kinds(&["export", "--account", "2"], "share"), 1);
    assert_eq!(kinds(&["export", "--account", "2", "--no-shares"], "share"), 0);
    says(at, &["export", "--account", "9"], 1, &["no account 9"]);
    assert_eq!(kinds(&["stuck"], "stuck"), 2);

    // What would change something only says so, and leaves the ledger to the sidecar.
    let dry = says(at, &["freeze", "--account", "2"], 0, &["would", "hold it back", "--yes"]);
    assert!(dry.contains("\"bob\""), "{dry}");
    says(at, &["freeze", "--account", "2", "--yes"], 1, &["stop it", "nothing was changed"]);
    says(at, &["requeue", "1"], 1, &["can't", "only lost"]);
    assert_eq!(lines(at, &["accounts"]), accounts, "a dry run has changed something");
}

#[test]
fn rejects_a_ledger_that_does_not_add_up() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let ledger = open(at);
    block_on(write(&ledger));
    // As an operator makes a copy, beside the one that runs.
    let copy = at.join("copy.db");
    let file = rusqlite::Connection::open(at.join("ledger.db")).unwrap();
    file.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
    let verify = |file: &str, code: i32| {
        let says = |json: &[&str]| {
            let output = run(at, &[&["verify", "--ledger", file], json].concat());
            assert_eq!(output.status.code(), Some(code), "{file}: {}", text(&output));
            text(&output)
        };
        let json: Value = serde_json::from_str(&says(&["--json"])).unwrap();
        (says(&[]), json)
    };
    let audit = |ok: bool, faults: &[&str]| {
        serde_json::json!({
            "kind": "audit", "ok": ok, "accounts": 2, "credits": 2, "shares": 9, "faults": faults,
        })
    };
    let sound = |file: &str| {
        let (words, json) = verify(file, 0);
        assert_eq!(json, audit(true, &[]));
        assert_eq!(words, "2 accounts, 2 credits, 9 shares: all of it adds up\n");
    };
    sound("ledger.db");
    sound("copy.db");

    let damaged = rusqlite::Connection::open(&copy).unwrap();
    let less = "UPDATE share SET work = zeroblob(16) WHERE share_hash = ?1";
    assert_eq!(damaged.execute(less, [[1_u8; 32]]), Ok(1));
    let fault = "credit 1 is not the work of its shares";
    let (words, json) = verify("copy.db", 1);
    assert_eq!(json, audit(false, &[fault]));
    for part in ["9 shares: it does not add up", fault, "keep this file as it is"] {
        assert!(words.contains(part), "{words}");
    }
    // What can't even be read is no fault among others.
    damaged.execute("UPDATE credit SET state = 77", []).unwrap();
    says(at, &["verify"], 0, &["adds up"]);
    let output = run(at, &["verify", "--json", "--ledger", "copy.db"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!text(&output).contains("\"ok\":true"), "{output:?}");
}

#[test]
fn holds_back_and_lets_go_what_the_operator_names() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let ledger = open(at);
    block_on(write(&ledger));
    drop(ledger);
    let frozen = || lines(at, &["accounts"])[1]["frozen"].clone();
    says(at, &["freeze", "--account", "2"], 0, &["would"]);
    assert_eq!(frozen(), false, "a dry run");
    says(at, &["freeze", "--account", "2", "--yes"], 0, &["done"]);
    assert_eq!(frozen(), true);
    says(at, &["stuck"], 0, &["unfreeze --account"]);
    says(at, &["freeze", "--account", "2", "--yes"], 0, &["nothing to do"]);
    says(at, &["unfreeze", "--account", "2", "--yes"], 0, &["done"]);
    assert_eq!(frozen(), false);

    let state = || lines(at, &["stuck"])[0]["state"].clone();
    says(at, &["freeze", "--credit", "1", "--yes"], 0, &["done", "may know of it"]);
    assert_eq!(state(), "frozen");
    says(at, &["requeue", "1", "--yes"], 1, &["can't", "unfreeze"]);
    says(at, &["unfreeze", "--credit", "1", "--yes"], 0, &["as sent"]);
    assert_eq!(state(), "sent");
    says(at, &["freeze", "--credit", "77", "--yes"], 1, &["no credit 77"]);
    says(at, &["verify"], 0, &["adds up"]);
}

#[test]
fn sends_what_a_mint_lost_again_as_the_same_payment() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let ledger = open(at);
    block_on(async {
        write(&ledger).await;
        let lost = ledger.quote_lost("gp1q:one".to_owned(), "gone\x1b[2J".to_owned(), 4_000).await;
        assert_eq!(lost, Ok(1));
    });
    drop(ledger);
    let first = || lines(at, &["stuck"])[0].clone();
    let before = first();
    assert_eq!(before["state"], "lost");
    let payment = before["payment_id"].as_str().unwrap();
    says(at, &["stuck"], 0, &["requeue"]);
    // One that can't be keeps all from being done.
    says(at, &["requeue", "1", "2", "99", "--yes"], 1, &["would", "nothing to do", "can't"]);
    assert_eq!(first(), before);
    says(at, &["requeue", "--lost"], 0, &["would", payment]);
    assert_eq!(first(), before, "a dry run");
    says(at, &["requeue", "--lost", "--yes"], 0, &["done", payment]);
    let after = first();
    assert_eq!((&after["state"], &after["quote"]), (&"sealed".into(), &Value::Null));
    assert_eq!(after["payment_id"], payment);
    says(at, &["requeue", "--lost", "--yes"], 0, &["no credit is lost"]);
    says(at, &["verify"], 0, &["adds up"]);
}

/// Answers every request as a mint that shows these amounts, until the test ends. Its URL.
fn mint(paid: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                request.extend(byte);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            assert!(request.starts_with(&format!("GET /v1/mint/quote/ehash/{SECRET} ")));
            let body = format!(
                "{{\"quote\":\"{SECRET}\",\"request\":\"ehash:one\",\"unit\":\"hash\",\
                 \"pubkey\":\"{KEY}\",\"amount_paid\":{paid},\"amount_issued\":0}}"
            );
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn compares_with_the_mint_and_lets_sending_go_on_after_a_surplus() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let ledger = open(at);
    block_on(write(&ledger));
    let reconcile = |paid: u64, code: i32, more: &[&str]| {
        let config = format!(
            "[mint]\nledger_file = \"ledger.db\"\nurl = \"{}\"\n[mint.processor]\n\
             allow_plain = true\n",
            mint(paid)
        );
        fs::write(at.join("c.toml"), config).unwrap();
        let output = run(at, &[&["reconcile", "--config", "c.toml"], more].concat());
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{paid} paid: {text}");
        text
    };
    let even = reconcile(56, 0, &["--all"]);
    assert!(even.contains("even") && even.contains("gp1q:one"), "{even}");
    assert!(!even.contains(SECRET) && reconcile(56, 0, &["--all", "--secrets"]).contains(SECRET));
    assert!(!reconcile(55, 0, &[]).contains("gp1q:one"), "what is on its way is no difference");
    // A foreign payment: found here, and by the sidecar, which stops sending.
    assert!(reconcile(61, 1, &[]).contains("5 more than was sent"));
    let json = reconcile(61, 1, &["--json"]);
    assert!(json.contains("\"result\":\"surplus\"") && json.contains("\"ok\":false"), "{json}");
    block_on(ledger.confirm("gp1q:one".to_owned(), 61, 0, 5_000)).unwrap();
    let stopped = reconcile(61, 1, &[]);
    assert!(stopped.contains("sending is stopped") && stopped.contains("ledger resume --yes"));
    says(at, &["accounts"], 0, &["sending is stopped"]);
    says(at, &["resume"], 0, &["would", "5 more"]);
    says(at, &["resume", "--yes"], 1, &["stop it"]);
    drop(ledger);
    says(at, &["resume", "--yes"], 0, &["done"]);
    says(at, &["resume", "--yes"], 0, &["nothing to do"]);
    assert!(reconcile(61, 0, &["--all"]).contains("5 that somebody else paid"));
    assert!(reconcile(62, 1, &[]).contains("1 more than was sent"));
    // The sidecar's next reading does not stop it again.
    let ledger = open(at);
    block_on(ledger.confirm("gp1q:one".to_owned(), 61, 0, 6_000)).unwrap();
    let totals = says(at, &["accounts"], 0, &["56 confirmed"]);
    assert!(!totals.contains("stopped"), "{totals}");
    // A mint that lost what it had shown.
    assert!(reconcile(55, 1, &[]).contains("forgotten"));
}

#[test]
fn shows_that_the_ledger_is_an_old_copy_and_ends_that_when_the_operator_says_so() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let ledger = open(at);
    let source = ledger.identity().source_id;
    block_on(async {
        write(&ledger).await;
        let overtaken = ledger.overtaken("pool".to_owned(), 99).await.unwrap();
        assert_eq!(overtaken.map(|overtaken| overtaken.have), Some(99));
    });
    let config = format!(
        "[mint]\nledger_file = \"ledger.db\"\nurl = \"{}\"\n[mint.processor]\n\
         allow_plain = true\n",
        mint(56)
    );
    fs::write(at.join("c.toml"), config).unwrap();
    let reconcile = |json: &[&str], code: i32| {
        let output = run(at, &[&["reconcile", "--config", "c.toml"], json].concat());
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    };
    for text in [
        says(at, &["stuck"], 0, &["docs/mint.md", "`ledger resume`"]),
        says(at, &["accounts"], 0, &["sending is stopped"]),
        reconcile(&[], 1),
    ] {
        assert!(text.contains("events are stopped because of the pool: it has event 99"), "{text}");
    }
    let json = reconcile(&["--json"], 1);
    assert!(json.contains("\"events_stopped\":\"stopped because of the pool: it has event 99"));
    for command in ["stuck", "accounts"] {
        let lines = lines(at, &[command]);
        assert!(lines.last().unwrap()["events_stopped"].is_string(), "{lines:?}");
    }
    let changes = || {
        let lines = lines(at, &["resume"]);
        let steps = lines.iter().filter(|line| line["kind"] == "step");
        steps.map(|step| (step["change"].clone(), step["status"].clone())).collect::<Vec<_>>()
    };
    let both = |status: &str| {
        ["resume", "resume-events"].map(|change| (change.into(), status.into())).to_vec()
    };
    assert_eq!(changes(), both("would"));
    says(at, &["resume", "--yes"], 1, &["stop it"]);
    drop(ledger);
    says(at, &["resume", "--yes"], 0, &["done: let sending", "done: let events"]);
    assert_eq!(changes(), both("nothing to do"));
    assert!(!reconcile(&[], 0).contains("stopped"));
    says(at, &["resume", "--recount"], 0, &["would: count anew"]);
    assert_ne!(open(at).identity().source_id, source);
    says(at, &["verify"], 0, &["adds up"]);
}

#[test]
fn names_what_the_command_lacks() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let nothing = run(at, &["accounts"]);
    assert_eq!(nothing.status.code(), Some(64));
    assert!(text(&nothing).contains("--config FILE or --ledger FILE"), "{nothing:?}");
    for command in ["accounts", "verify", "export", "stuck", "resume"] {
        says(at, &[command], 1, &["ledger.db"]);
    }
    says(at, &["resume", "--yes"], 1, &["ledger.db"]);
    assert_eq!(fs::read_dir(at).unwrap().count(), 0, "a ledger was made");
    fs::write(at.join("c.toml"), "[listen]\naddress = \"127.0.0.1:1\"\n").unwrap();
    let bridgeless = run(at, &["accounts", "--config", "c.toml"]);
    assert_eq!(bridgeless.status.code(), Some(64));
    assert!(text(&bridgeless).contains("[mint].ledger_file"), "{bridgeless:?}");
    for bad in [&["freeze"][..], &["freeze", "--account", "1", "--credit", "1"], &["requeue"]] {
        says(at, bad, 64, &["Usage"]);
    }
    drop(open(at));
    says(at, &["reconcile"], 64, &["which mint"]);
    says(at, &["accounts", "--help"], 0, &["--ledger"]);
}

#[test]
fn says_which_quotes_wallets_made() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let ledger = open(at);
    let key = PayoutKey::from_hex(KEY.as_bytes()).unwrap();
    let quote = QuoteRef::from_number(7);
    block_on(async {
        write(&ledger).await;
        ledger.new_wallet_quote(quote, key, "wallets-id".to_owned(), 2_000).await.unwrap();
        let share = LedgerShare {
            id: 0,
            source: Source::V1,
            hash: Hash([99; 32]),
            identity: "carol".into(),
            payout_key: Some(key),
            quote: Some(quote),
            worker: Bytes::new(),
            credit: Difficulty { whole: 7, fraction: 0 },
            block_candidate: false,
            height: 1,
            at_ms: 1_000,
        };
        ledger.record_many(vec![share], 1_000).await.unwrap();
        let due = Due { opened_by_ms: i64::MAX, work_from: Work::ZERO };
        ledger.close_due(due, 2_000).await.unwrap();
        ledger
            .seal(Terms { unit_work: Work::DIFFICULTY_1, min_amount: 1 }, 10, 2_000)
            .await
            .unwrap();
        ledger.quote_opened(quote.to_string(), "wallets-id".to_owned(), 0, 2_000).await.unwrap();
        assert_eq!(ledger.assign(256, 3_000).await, Ok(1));
    });
    let stuck = lines(at, &["stuck"]);
    let made_by = |identity: &str| {
        let of = stuck.iter().find(|line| line["identity"] == identity).unwrap();
        of["quote_made_by"].clone()
    };
    assert_eq!((made_by("carol"), made_by("bob")), ("wallet".into(), Value::Null));
    assert!(stuck.iter().any(|line| line["quote_made_by"] == "pool"), "{stuck:?}");
    let export = lines(at, &["export"]);
    let named: Vec<_> = export.iter().filter_map(|line| line["named_quote"].as_str()).collect();
    assert_eq!(named, [quote.to_string()]);
    let text = says(at, &["stuck"], 0, &["made by", "wallet", &quote.to_string()]);
    assert!(!text.contains("wallets-id"), "{text}");
}
