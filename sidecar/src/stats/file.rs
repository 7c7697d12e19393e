//! The file of the history: how it is opened, locked, checked, and moved aside when it is damaged.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};

/// Marks the file as ours (`PRAGMA application_id`): "gp2s".
const APPLICATION: i64 = 0x6770_3273;

/// What brings a file from version n (its place) to n + 1.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// How long SQLite waits for another connection's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Pages that the writer keeps in memory, and a reader, in KiB.
const CACHE_KIB: (i64, i64) = (16 * 1_024, 4 * 1_024);

/// Permission bits that let others than the owner in.
const OTHERS: u32 = 0o077;

/// Why the history can't be opened. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file, or one beside it, can't be used.
    #[error("{0}: {1}: let this user write there, or name another file as [stats].database")]
    File(PathBuf, io::Error),
    /// Another process has it.
    #[error(
        "{0} is in use by another `gopool-sv2 stats`: end it, or name another file as \
         [stats].database"
    )]
    InUse(PathBuf),
    /// The file is something else, and is left alone.
    #[error("{0} is a database of something else: name another file as [stats].database")]
    Foreign(PathBuf),
    /// The file is of a later version of this program.
    #[error(
        "{0} was made by a newer version ({1}; this one knows {2}): run that, or name another"
    )]
    Newer(PathBuf, i64, i64),
    /// SQLite can't open it.
    #[error("{0}: {1}")]
    Sqlite(PathBuf, rusqlite::Error),
}

/// A history that is open for writing, and nobody else's as long as `lock` lives.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) conn: Connection,
    /// Held for as long as it is written.
    pub(super) lock: File,
}

/// Opens the history for writing; makes it when there is none. A damaged one is moved aside, and a
/// new one begun.
pub(super) fn open(path: &Path, now: i64) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    match attempt(path) {
        Ok(conn) => Ok(Opened { conn, lock }),
        Err(OpenError::Sqlite(_, error)) if is_damage(&error) => {
            let aside = move_aside(path, now)?;
            tracing::error!(
                %error,
                "the database was damaged and is now {}: a new one is begun",
                aside.display()
            );
            Ok(Opened { conn: attempt(path)?, lock })
        }
        Err(error) => Err(error),
    }
}

fn attempt(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |error| OpenError::Sqlite(path.to_owned(), error);
    let fresh = make(path)?;
    let conn = connect(path).map_err(sqlite)?;
    let marked = damaged(path).exists();
    if marked {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let text = Some("it was found damaged when it was last used".to_owned());
        return Err(sqlite(rusqlite::Error::SqliteFailure(code, text)));
    }
    // Nothing is written before it is known whose it is.
    let version = number(&conn, "user_version").map_err(sqlite)?;
    let application = number(&conn, "application_id").map_err(sqlite)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = conn.query_row(tables, [], |row| row.get(0)).map_err(sqlite)?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    if application != APPLICATION && (application != 0 || version != 0 || tables != 0) {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    if version > known {
        return Err(OpenError::Newer(path.to_owned(), version, known));
    }
    private(path)?;
    set(&conn, fresh).map_err(sqlite)?;
    check(&conn).map_err(sqlite)?;
    let step = || -> rusqlite::Result<()> {
        let transaction = conn.unchecked_transaction()?;
        for step in STEPS.iter().skip(usize::try_from(version).unwrap_or_default()) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    };
    step().map_err(sqlite)?;
    Ok(conn)
}

/// A look at the structure of every page, without the contents of indexes: seconds for a gigabyte.
fn check(conn: &Connection) -> rusqlite::Result<()> {
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            Err(rusqlite::Error::SqliteFailure(code, Some(found)))
        }
    }
}

/// Opens the history for reading only, beside whoever writes.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path)?;
    quiet(&conn, "query_only", "ON")?;
    quiet(&conn, "cache_size", -CACHE_KIB.1)?;
    Ok(conn)
}

/// Whether an error says that the file itself is damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Notes that the file is damaged: the next start moves it aside.
pub(super) fn mark_damaged(path: &Path) {
    if let Err(error) = fs::write(damaged(path), b"") {
        tracing::error!(%error, "that the database is damaged can't be noted beside it");
    }
}

/// The name of a file beside.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn damaged(path: &Path) -> PathBuf {
    beside(path, ".damaged")
}

/// Gives the file and its log other names.
fn move_aside(path: &Path, now: i64) -> Result<PathBuf, OpenError> {
    let aside = beside(path, &format!(".damaged-{now}"));
    let failed = |error| OpenError::File(aside.clone(), error);
    for ending in ["-wal", "-shm"] {
        let moved = fs::rename(beside(path, ending), beside(&aside, ending));
        moved.or_else(if_there).map_err(failed)?;
    }
    fs::rename(path, &aside).map_err(failed)?;
    fs::remove_file(damaged(path)).or_else(if_there).map_err(failed)?;
    Ok(aside)
}

fn if_there(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// Takes the lock, which is a file of its own: SQLite's locks end when any descriptor of the
/// database is closed in this process.
fn lock(path: &Path) -> Result<File, OpenError> {
    let name = beside(path, ".lock");
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    let opened = opened.map_err(|error| OpenError::File(name.clone(), error))?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::File(name, error)),
    }
}

/// Makes the file when there is none, for this user only; says whether it did.
fn make(path: &Path) -> Result<bool, OpenError> {
    let failed = |error| OpenError::File(path.to_owned(), error);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Takes the file away from others: it says who mines, and from where.
fn private(path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::File(path.to_owned(), error);
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & OTHERS != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    Ok(conn)
}

/// The writer's settings.
fn set(conn: &Connection, fresh: bool) -> rusqlite::Result<()> {
    if fresh {
        // Only a new file takes it: space that retention frees goes back to the disk in steps.
        quiet(conn, "auto_vacuum", "INCREMENTAL")?;
    }
    quiet(conn, "journal_mode", "WAL")?;
    // What a power cut takes back the sidecar sends again, or it is a gap: no money hangs on it.
    quiet(conn, "synchronous", "NORMAL")?;
    quiet(conn, "foreign_keys", "OFF")?;
    quiet(conn, "trusted_schema", "OFF")?;
    quiet(conn, "cell_size_check", "ON")?;
    quiet(conn, "cache_size", -CACHE_KIB.0)
}

fn number(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

/// Sets a setting, some of which answer with a row.
pub(super) fn quiet(conn: &Connection, name: &str, value: impl ToSql) -> rusqlite::Result<()> {
    match conn.pragma_update_and_check(None, name, value, |_| Ok(())) {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
        done => done,
    }
}
