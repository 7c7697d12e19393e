//! The file: whose it is, how it is checked, and what a full disk does.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::mint::ledger::{schema, turn::Turn};

#[test]
fn rejects_a_second_opener() {
    let stand = Stand::new();
    let second = start(&stand.settings);
    let text = second.unwrap_err().to_string();
    assert!(text.contains("in use by another process"), "{text}");
    // Readers may come.
    assert!(Books::open(&stand.settings.path).is_ok());
}

#[test]
fn keeps_the_file_to_its_owner() {
    let mut stand = Stand::new();
    let mode = |name: &str| {
        let file = fs::metadata(stand.folder.join(name)).unwrap();
        file.permissions().mode() & 0o777
    };
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    stand.ledger = None;
    let open = fs::Permissions::from_mode(0o640);
    fs::set_permissions(&stand.settings.path, open).unwrap();
    let text = start(&stand.settings).unwrap_err().to_string();
    assert!(text.contains("mode 640") && text.contains("chmod 600"), "{text}");
    assert!(matches!(Books::open(&stand.settings.path), Err(OpenError::Mode { .. })));
}

#[test]
fn rejects_each_setting_that_is_not_as_promised() {
    let stand = Stand::new();
    let connect = || rusqlite::Connection::open(&stand.settings.path).unwrap();
    let good = || {
        let conn = connect();
        conn.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
             PRAGMA cell_size_check = ON",
        )
        .unwrap();
        conn
    };
    schema::check(&good()).unwrap();
    for (name, wrong) in [
        ("synchronous", "OFF"),
        ("synchronous", "NORMAL"),
        ("foreign_keys", "OFF"),
        ("trusted_schema", "ON"),
        ("cell_size_check", "OFF"),
    ] {
        let conn = good();
        conn.execute_batch(&format!("PRAGMA {name} = {wrong}")).unwrap();
        match schema::check(&conn) {
            Err(OpenError::Setting { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{name} = {wrong}: {other:?}"),
        }
    }
    let other = rusqlite::Connection::open_in_memory().unwrap();
    assert!(matches!(schema::check(&other), Err(OpenError::Setting { name: "journal_mode", .. })));
}

#[test]
fn runs_with_the_settings_it_checks() {
    let stand = Stand::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let check =
        |turn: &mut Turn<'_>| Ok(schema::check(turn.conn).map_err(|error| error.to_string()));
    assert_eq!(runtime.block_on(stand.ledger().call(check)), Ok(Ok(())));
}

#[test]
fn rejects_files_of_others_and_of_later_versions() {
    let mut stand = Stand::new();
    stand.ledger = None;
    let conn = rusqlite::Connection::open(&stand.settings.path).unwrap();
    conn.pragma_update(None, "user_version", 5).unwrap();
    assert!(matches!(start(&stand.settings), Err(OpenError::Newer { found: 5, known: 4 })));
    assert!(matches!(Books::open(&stand.settings.path), Err(OpenError::Newer { .. })));
    conn.pragma_update(None, "user_version", 4).unwrap();
    conn.pragma_update(None, "application_id", 5).unwrap();
    assert!(matches!(start(&stand.settings), Err(OpenError::Foreign(_))));
    drop(conn);
    fs::write(&stand.settings.path, "not a database, but long enough to look like one".repeat(9))
        .unwrap();
    assert!(matches!(start(&stand.settings), Err(OpenError::Sqlite { .. })));
    let nowhere = stand.folder.join("none").join("ledger.db");
    let settings = Settings { path: nowhere.clone(), ..stand.settings.clone() };
    assert!(matches!(start(&settings), Err(OpenError::File { .. })));
    assert!(matches!(Books::open(&nowhere), Err(OpenError::File { .. })));
}

#[test]
fn rejects_another_scheme() {
    let mut stand = Stand::new();
    stand.ledger = None;
    stand.settings.scheme = Scheme::HashpoolPow2 { min_zero_bits: 32 };
    let text = start(&stand.settings).unwrap_err().to_string();
    assert!(text.contains("`linear`") && text.contains("`hashpool_pow2:32`"), "{text}");
}

#[tokio::test]
async fn keeps_its_names_over_restarts() {
    let mut stand = Stand::new();
    let (identity, secret) = (stand.ledger().identity().clone(), *stand.ledger().secret());
    assert_ne!(identity.pool_id, identity.source_id);
    stand.reopen();
    assert_eq!(stand.ledger().identity(), &identity);
    assert_eq!(stand.ledger().secret(), &secret);
    let other = Stand::new();
    assert_ne!(other.ledger().identity().pool_id, identity.pool_id);
    assert_ne!(other.ledger().secret(), &secret);
}

/// A share that takes room.
fn large(n: u64) -> LedgerShare {
    LedgerShare { worker: vec![b'w'; 255].into(), ..share(n, "a", Some(key(1))) }
}

#[tokio::test]
async fn keeps_nothing_by_halves_when_the_disk_is_full() {
    let mut stand = Stand::new();
    let outcomes = stand.record_all((1..=100).map(large).collect()).await;
    assert_eq!(outcomes, [Outcome::Recorded; 100]);
    let pages = |limit: &'static str| {
        move |turn: &mut Turn<'_>| {
            let now: u32 = turn.conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let limit = if limit == "full" { now + 3 } else { u32::MAX - 1 };
            let set = format!("PRAGMA max_page_count = {limit}");
            Ok(turn.conn.query_row(&set, [], |row| row.get::<_, i64>(0))?)
        }
    };
    stand.ledger().call(pages("full")).await.unwrap();
    let rows = stand.rows();
    // Far more than three pages take, in several transactions.
    let more: Vec<LedgerShare> = (101..=400).map(large).collect();
    let outcomes = stand.record_all(more.clone()).await;
    let recorded = outcomes.iter().filter(|outcome| **outcome == Outcome::Recorded).count();
    let failed = outcomes.iter().filter(|outcome| **outcome == Outcome::Failed).count();
    assert!(failed >= 100 && failed + recorded == 300, "{recorded} recorded, {failed} failed");
    let audit = stand.assert_sound().await;
    assert_eq!(audit.shares as usize, 100 + recorded, "exactly what was acknowledged");
    assert!(recorded > 0 || stand.rows() == rows);
    match &*stand.ledger().health().borrow() {
        Health::Down(reason) => assert!(reason.contains("full"), "{reason}"),
        Health::Up => panic!("a ledger that can't be written is up"),
    }
    // A call fails as well, and says why.
    let many = stand.ledger().record_many((500..=700).map(large).collect(), 1_000).await;
    assert!(matches!(many, Err(LedgerError::Storage(_))), "{many:?}");
    // Room again: the same submits are taken, those that were are known.
    stand.ledger().call(pages("room")).await.unwrap();
    let again = stand.record_all(more).await;
    for (before, now) in outcomes.iter().zip(again) {
        let want = match before {
            Outcome::Recorded => Outcome::Again,
            _ => Outcome::Recorded,
        };
        assert_eq!(now, want);
    }
    assert_eq!(*stand.ledger().health().borrow(), Health::Up);
    assert_eq!(stand.assert_sound().await.shares, 400);
}

#[tokio::test]
async fn fails_calls_but_not_shares_when_only_the_call_can_not_be_done() {
    let mut stand = Stand::new();
    let broken = |turn: &mut Turn<'_>| Ok(turn.conn.execute("INSERT INTO none VALUES (1)", [])?);
    let ledger = stand.ledger().clone();
    let call = tokio::spawn(async move { ledger.call(broken).await });
    let outcomes = stand.record_all((1..=50).map(|n| share(n, "a", None)).collect()).await;
    assert_eq!(outcomes, [Outcome::Recorded; 50]);
    assert!(matches!(call.await.unwrap(), Err(LedgerError::Storage(_))));
    assert_eq!(*stand.ledger().health().borrow(), Health::Up);
}

/// A ledger as version 1 wrote it: an account with a credit sent on a quote, and another with one
/// that waits.
fn write_version_1(settings: &Settings) {
    let conn = rusqlite::Connection::open(&settings.path).unwrap();
    fs::set_permissions(&settings.path, fs::Permissions::from_mode(0o600)).unwrap();
    conn.execute_batch(include_str!("../schema.sql")).unwrap();
    let hashes = [Hash([1; 32]), Hash([2; 32])];
    let root = |hash: &Hash| {
        let mut root = ShareRoot::default();
        root.add(&hash.0);
        root.root()
    };
    let add = "INSERT INTO meta(key, value) VALUES (?1, ?2)";
    for (name, length) in [("pool_id", 16), ("source_id", 16), ("secret", 32)] {
        conn.execute(add, (name, vec![7_u8; length])).unwrap();
    }
    conn.execute(add, ("scheme", Scheme::Linear.to_string())).unwrap();
    conn.execute(add, ("event_seq", 0)).unwrap();
    for (id, hash) in (1_u64..).zip(hashes) {
        let add = "INSERT INTO account(id, identity, payout_key, carry, closed_shares) \
                   VALUES (?1, ?2, ?3, ?4, 1)";
        let carry = Work(worth(1).0 * 2 - TERMS.unit_work.0);
        let identity = format!("a{id}").into_bytes();
        conn.execute(add, (id, identity, key(id as u32), carry)).unwrap();
        if id == 1 {
            let add = "INSERT INTO quote(quote_ref, account_id, request, state, quote_id, \
                       created_ms, opened_ms, payments) \
                       VALUES ('q', 1, 'ehash:q', 2, 'i', 1, 2, 1)";
            conn.execute(add, []).unwrap();
        }
        let add = "INSERT INTO credit(id, account_id, state, scheme, work, shares, told_ms, \
                   opened_ms, unit_work, carry_in, amount, share_root, payment_id, quote_ref) \
                   VALUES (?1, ?1, ?2, ?3, ?4, 1, 0, 1, ?5, zeroblob(16), 1, ?6, ?7, ?8)";
        let (state, quote) = match id {
            1 => (CreditState::Sent, Some("q")),
            _ => (CreditState::Sealed, None),
        };
        let work = Work(worth(1).0 * 2);
        let (root, name) = (root(&hash), payment_id(&[7; 16], id, &root(&hash)));
        let row = (id, state, "linear", work, TERMS.unit_work, root, name, quote);
        conn.execute(add, row).unwrap();
        let add =
            "INSERT INTO share(share_hash, credit_id, work, height, is_block, at_ms, worker) \
                   VALUES (?1, ?2, ?3, 0, 0, 1, x'')";
        conn.execute(add, (hash, id, work)).unwrap();
    }
    conn.pragma_update(None, "application_id", 0x6770_316c).unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
}

#[tokio::test]
async fn survives_the_step_from_version_1_with_all_that_was_in_it() {
    let mut stand = Stand::new();
    stand.ledger = None;
    fs::remove_dir_all(&stand.folder).unwrap();
    fs::create_dir_all(&stand.folder).unwrap();
    write_version_1(&stand.settings);
    // Nothing of it is read as something else before.
    assert!(matches!(Books::open(&stand.settings.path), Err(OpenError::Older { found: 1, .. })));
    stand.reopen();
    let audit = stand.assert_sound().await;
    assert_eq!((audit.accounts, audit.credits, audit.shares), (2, 2, 2));
    let quote = stand.ledger().quote("q".into()).await.unwrap().unwrap();
    assert_eq!((quote.account_id, quote.payout_key), (Some(1), key(1)));
    assert_eq!(stand.ledger().confirm("q".into(), 1, 0, 3).await, Ok(Reading::Even(1)));
    // Rows still have to point somewhere.
    let conn = rusqlite::Connection::open(&stand.settings.path).unwrap();
    conn.pragma_update(None, "foreign_keys", "ON").unwrap();
    let stray = "UPDATE credit SET quote_ref = 'nowhere' WHERE id = 2";
    assert!(conn.execute(stray, []).unwrap_err().to_string().contains("FOREIGN KEY"));
    drop(conn);
    // And it goes on as a new one would.
    let wallets = stand.wallet_quote(1, key(1), 4).await;
    let named = |n| LedgerShare { quote: Some(wallets), ..share(n, "a1", Some(key(1))) };
    stand.record_all(vec![named(9), named(10)]).await;
    stand.seal(5).await;
    assert_eq!(stand.prove_quotes(6).await, ["w1"]);
    assert_eq!(stand.send(2, "q2").await.len(), 2);
    stand.reopen();
    stand.assert_sound().await;
}
