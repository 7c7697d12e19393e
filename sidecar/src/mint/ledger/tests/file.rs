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
    conn.pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(start(&stand.settings), Err(OpenError::Newer { found: 2, known: 1 })));
    assert!(matches!(Books::open(&stand.settings.path), Err(OpenError::Newer { .. })));
    conn.pragma_update(None, "user_version", 1).unwrap();
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
    let many = stand.ledger().record_many((500..=700).map(large).collect()).await;
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
