//! Moving what is in the write-ahead log to its place, beside the writer: that takes a write for
//! each page and two waits for the disk, for which no share should wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::sys::logging_thread;

/// Pages written, about, after which the log is moved. That disturbs the writer's own waits for the
/// disk, however often it is done: with 500 shares a second one move every four seconds stays out
/// of the slowest hundredth of the answers, four moves a second do not. Costs 50 MB of disk.
const PAGES: usize = 12_000;

/// Pages of the log from which on it is begun anew: the writer moves the few that were written
/// meanwhile.
const PAGES_MAX: u32 = 24_000;

/// Pages of the log at which SQLite moves it while the writer waits, should nobody else do it.
pub(super) const PAGES_BOUND: i64 = 64_000;

/// Pages that a transaction writes at least, about.
const PAGES_COMMIT: usize = 6;

/// The writer's end.
pub(super) struct Checkpoints {
    /// None only while this is dropped.
    wish: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Pages of the log when it was last moved; 0: nothing new.
    moved: Arc<AtomicU32>,
    written: usize,
}

impl Checkpoints {
    /// Starts the thread that moves the log, on a connection of its own. It ends with this.
    pub(super) fn start(conn: Connection) -> std::io::Result<Self> {
        // One wish that waits is as good as many.
        let (wish, wishes) = sync_channel(1);
        let moved = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&moved);
        let thread = logging_thread("ledger-log", move || run(&conn, &wishes, &told))?;
        Ok(Self { wish: Some(wish), thread: Some(thread), moved, written: 0 })
    }

    /// After each transaction of the writer, with the number of shares in it.
    pub(super) fn after(&mut self, conn: &Connection, shares: usize) {
        self.written += shares + PAGES_COMMIT;
        let wish = self.wish.as_ref().filter(|_| self.written >= PAGES);
        if wish.is_some_and(|wish| wish.try_send(()).is_ok()) {
            self.written = 0;
        }
        if self.moved.swap(0, Ordering::Relaxed) >= PAGES_MAX {
            // Only when nothing is left in the log is it begun anew, by the next transaction.
            move_log(conn);
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.wish.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that moves the ledger's log has panicked");
        }
    }
}

fn run(conn: &Connection, wishes: &Receiver<()>, moved: &AtomicU32) {
    while wishes.recv().is_ok() {
        moved.store(move_log(conn), Ordering::Relaxed);
    }
}

/// Moves what can be moved without making anybody wait. Answers the pages in the log, 0 when it
/// could not be done: then it stays as it is, and nothing is lost.
fn move_log(conn: &Connection) -> u32 {
    let pages = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
    match pages {
        Ok(pages) => u32::try_from(pages).unwrap_or(0),
        Err(error) => {
            tracing::warn!(%error, "the ledger's log could not be moved to its place");
            0
        }
    }
}
