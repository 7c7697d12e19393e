//! The file of the ledger: how it is opened, locked, checked and brought up to date.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::OsRng;
use rand::RngCore as _;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, ToSql};

use crate::mint::Scheme;

use super::error::OpenError;
use super::model::Identity;
use super::sinks::BOUND_SINKS;
use super::sql::Prepared as _;

/// Marks the file as ours (`PRAGMA application_id`): "gp1l".
const APPLICATION: i64 = 0x6770_316c;

/// What brings a file from version n (its place) to n + 1.
const STEPS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// Pages that a connection keeps in memory, in KiB. Share hashes fall anywhere into their tree: a
/// day of them has to fit, or each costs a read.
const CACHE_KIB: i64 = 32 * 1_024;

/// Statements that the writer keeps: more than it has.
const STATEMENTS: usize = 256;

/// How long SQLite waits for another connection's lock. Readers never hold the writer up; this is
/// for the recovery of a file that two of them open at once.
const BUSY: Duration = Duration::from_secs(5);

/// Permission bits that let others than the owner in.
const OTHERS: u32 = 0o077;

/// Settings that the ledger's promises rest on: name, what is set, what is read back.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("journal_mode", "WAL", "wal"),
    // Each commit waits for the disk: with less, a power cut takes acknowledged shares back.
    ("synchronous", "FULL", "2"),
    ("foreign_keys", "ON", "1"),
    ("trusted_schema", "OFF", "0"),
    ("cell_size_check", "ON", "1"),
];

/// A ledger file that is open for writing, and nobody else's as long as `lock` lives.
#[derive(Debug)]
pub(super) struct Opened {
    /// For the writer alone.
    pub(super) conn: Connection,
    /// Holds the lock.
    pub(super) lock: File,
    /// What the file says of itself.
    pub(super) identity: Identity,
}

/// Opens the ledger for writing; makes it when there is none.
pub(super) fn open(path: &Path, scheme: Scheme) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    make(path)?;
    let sqlite = sqlite(path);
    let conn = connect(path)?;
    set(&conn).map_err(&sqlite)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB).map_err(&sqlite)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // When the log is moved is its own matter (`Checkpoints`).
    quiet(&conn, "wal_autocheckpoint", 0).map_err(&sqlite)?;
    check(&conn)?;
    migrate(&conn, path)?;
    check(&conn)?;
    let identity = identity(&conn, scheme).map_err(&sqlite)?;
    if identity.scheme != scheme {
        let (found, wanted) = (identity.scheme.to_string(), scheme.to_string());
        return Err(OpenError::Scheme { found, wanted });
    }
    conn.execute_batch(FORGET_WAITS).map_err(&sqlite)?;
    conn.execute_batch(BOUND_SINKS).map_err(&sqlite)?;
    Ok(Opened { conn, lock, identity })
}

/// Waits are those of one process: what the next one does first is to try. They may have been
/// counted from a clock that was wrong, too, and end who knows when. And what the mint showed was
/// shown to whoever had this file before: that may have been an older file.
const FORGET_WAITS: &str = "BEGIN IMMEDIATE; \
    UPDATE quote SET next_try_ms = 0 WHERE state IN (0, 1) AND next_try_ms > 0; \
    UPDATE quote SET last_read_ms = 0 WHERE state IN (2, 3, 5) AND last_read_ms > 0; \
    UPDATE quote SET last_read_ms = 0 WHERE state = 4 AND last_read_ms > unixepoch() * 1000; \
    UPDATE quote SET seen = 0 WHERE state = 2 AND seen = 1; \
    UPDATE credit SET next_try_ms = 0 WHERE state NOT IN (0, 5, 6) AND next_try_ms > 0; COMMIT";

/// Opens the ledger for reading only, beside whoever writes.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = sqlite(path);
    private(path)?;
    let conn = connect(path)?;
    conn.pragma_update(None, "query_only", "ON").map_err(&sqlite)?;
    match version(&conn, path)? {
        found if found == known() => Ok(conn),
        found => Err(OpenError::Older { found, known: known() }),
    }
}

/// Opens the ledger once more, with the same settings, for the thread that moves its log.
pub(super) fn open_log(path: &Path) -> Result<Connection, OpenError> {
    let conn = connect(path)?;
    set(&conn).map_err(sqlite(path))?;
    check(&conn)?;
    Ok(conn)
}

/// Puts the path to SQLite's words.
fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError + '_ {
    move |error| OpenError::Sqlite { path: path.to_owned(), detail: error.to_string() }
}

fn file(path: &Path) -> impl Fn(io::Error) -> OpenError + '_ {
    move |source| OpenError::File { path: path.to_owned(), source }
}

/// The file beside the ledger whose name ends so.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Takes the lock, which is a file of its own: SQLite's locks end when any descriptor of the
/// database is closed in this process.
fn lock(path: &Path) -> Result<File, OpenError> {
    let name = beside(path, ".lock");
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    let opened = opened.map_err(file(&name))?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(file(&name)(error)),
    }
}

/// Makes the file, with its mode, when there is none. SQLite gives its other files the same mode.
fn make(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(made) => {
            made.sync_all().map_err(file(path))?;
            // The name of the file has to be on the disk, too.
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(file(folder))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => private(path),
        Err(error) => Err(file(path)(error)),
    }
}

fn private(path: &Path) -> Result<(), OpenError> {
    let mode = fs::metadata(path).map_err(file(path))?.permissions().mode() & 0o777;
    match mode & OTHERS {
        0 => Ok(()),
        _ => Err(OpenError::Mode { path: path.to_owned(), mode }),
    }
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    conn.busy_timeout(BUSY).map_err(sqlite(path))?;
    Ok(conn)
}

fn set(conn: &Connection) -> rusqlite::Result<()> {
    for (name, value, _) in SETTINGS {
        quiet(conn, name, value)?;
    }
    Ok(())
}

/// Sets a setting, some of which answer with a row.
fn quiet(conn: &Connection, name: &str, value: impl ToSql) -> rusqlite::Result<()> {
    match conn.pragma_update_and_check(None, name, value, |_| Ok(())) {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
        done => done,
    }
}

/// Reads the settings back: SQLite keeps silent about one that it does not take.
pub(super) fn check(conn: &Connection) -> Result<(), OpenError> {
    for (name, _, wanted) in SETTINGS {
        let found = conn.pragma_query_value(None, name, |row| {
            row.get_ref(0).map(|value| match value {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                _ => String::new(),
            })
        });
        let found = found.unwrap_or_else(|error| error.to_string());
        if found != wanted {
            return Err(OpenError::Setting { name, wanted, found });
        }
    }
    Ok(())
}

/// The latest version that this program knows.
const fn known() -> i64 {
    STEPS.len() as i64
}

/// The version of the file: 0 when it is empty.
fn version(conn: &Connection, path: &Path) -> Result<i64, OpenError> {
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(sqlite(path))?;
    let version = number("user_version").map_err(sqlite(path))?;
    let tables = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0));
    let tables: i64 = tables.map_err(sqlite(path))?;
    let empty = application == 0 && version == 0 && tables == 0;
    match empty || application == APPLICATION {
        true if version <= known() => Ok(version),
        true => Err(OpenError::Newer { found: version, known: known() }),
        false => Err(OpenError::Foreign(path.to_owned())),
    }
}

/// Brings the file to the latest version, step by step, all in one transaction.
fn migrate(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = version(conn, path)?;
    let todo = STEPS.iter().skip(usize::try_from(found).unwrap_or_default());
    if found == known() {
        return Ok(());
    }
    let done = (|| {
        // A table that others point to can be replaced only so; and only outside of a transaction.
        quiet(conn, "foreign_keys", "OFF")?;
        let transaction = conn.unchecked_transaction()?;
        for step in todo {
            transaction.execute_batch(step)?;
        }
        let stray = transaction.query_row("PRAGMA foreign_key_check", [], |_| Ok(()));
        if stray.optional()?.is_some() {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
                Some("a row points nowhere".to_owned()),
            ));
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known())?;
        transaction.commit()?;
        quiet(conn, "foreign_keys", "ON")
    })();
    done.map_err(sqlite(path))
}

/// What is constant in the life of the file; drawn at its first opening.
fn identity(conn: &Connection, scheme: Scheme) -> rusqlite::Result<Identity> {
    let transaction = conn.unchecked_transaction()?;
    let mut add = transaction.prepare("INSERT OR IGNORE INTO meta(key, value) VALUES (?1, ?2)")?;
    for (key, bytes) in [("pool_id", 16), ("source_id", 16), ("secret", 32)] {
        let mut random = vec![0; bytes];
        OsRng.try_fill_bytes(&mut random).map_err(|error| {
            rusqlite::Error::ToSqlConversionFailure(Box::new(io::Error::other(error)))
        })?;
        add.execute((key, random))?;
    }
    add.execute(("scheme", scheme.to_string()))?;
    add.execute(("event_seq", 0_i64))?;
    drop(add);
    let identity = read_identity(&transaction)?;
    transaction.commit()?;
    Ok(identity)
}

/// What is constant in the life of the file.
pub(super) fn read_identity(conn: &Connection) -> rusqlite::Result<Identity> {
    let scheme: String = meta(conn, "scheme")?;
    Ok(Identity {
        pool_id: meta(conn, "pool_id")?,
        source_id: meta(conn, "source_id")?,
        scheme: scheme.parse().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(
                0,
                rusqlite::types::Type::Text,
                Box::new(error),
            )
        })?,
    })
}

/// One value of `meta`.
pub(super) fn meta<T: rusqlite::types::FromSql>(
    conn: &Connection,
    key: &str,
) -> rusqlite::Result<T> {
    conn.one("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
}
