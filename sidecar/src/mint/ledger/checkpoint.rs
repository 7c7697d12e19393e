//! The write-ahead log beside the writer: what no share should wait for.
//!
//! Moving what is in it to its place takes a write for each page and two waits for the disk. And a
//! commit waits longer when it makes the log's file longer, or writes where the system no longer
//! has the file in its memory: half a page of the file is read before it is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::hooks::Wal;
use rusqlite::Connection;

use super::schema;
use crate::sys::logging_thread;

/// Pages written after which the log is moved. That disturbs the writer's own waits for the disk,
/// however often it is done: with 500 shares a second one move every four seconds stays out of the
/// slowest hundredth of the answers, four moves a second do not.
const PAGES: u32 = 12_000;

/// Pages of the log from which on it is begun anew: the writer moves the few that were written
/// meanwhile. Costs 100 MB of disk, more while somebody reads for long.
const PAGES_MAX: u32 = 24_000;

/// How often more the thread moves a log that is to be begun anew. SQLite waits for the disk to
/// have all that was moved only when nothing was written until then: that may take a tenth of a
/// second, and what the thread has not had done, the writer does. Each time takes only what came
/// meanwhile.
const TRIES: usize = 5;

/// Pages of the log at which the writer moves it, should nobody else do it.
const PAGES_BOUND: u32 = 64_000;

/// Pages of the log from which on it is made ready ahead of the writer: some hundred commits. Who
/// has fewer in the life of a process needs none of this.
const PAGES_BUSY: u32 = 4_000;

/// Pages made ready at once: a tenth of a second's under the heaviest load.
const PAGES_AHEAD: u32 = 1_024;

/// Bytes of a page in the log, with its header.
const PAGE: u64 = 4_096 + 24;

/// Bytes that the file grows by at once, or is read by: a commit that comes meanwhile waits for
/// those that it grew by, too.
const STEP: usize = 256 * 1_024;

/// What the thread is asked for.
enum Wish {
    /// Move the log.
    Move,
    /// Make these pages ready to be written: the first, and the one behind the last.
    Ready(u32, u32),
}

/// The writer's end.
pub(super) struct Checkpoints {
    /// None only while this is dropped.
    wishes: Option<SyncSender<Wish>>,
    thread: Option<JoinHandle<()>>,
    /// Tells the thread not to make anything ready any more.
    ending: Arc<AtomicBool>,
    /// Pages of the log when it was last moved; 0: nothing new.
    moved: Arc<AtomicU32>,
    /// Pages of the log.
    pages: Arc<AtomicU32>,
    /// Pages at the last commit, and the most that there were.
    before: u32,
    most: u32,
    /// Pages when it was last asked to be moved.
    asked: u32,
    /// Pages that are ready, or asked to be.
    ready: u32,
}

impl Checkpoints {
    /// Starts the thread, with `conn`, a connection of its own. It ends with this.
    pub(super) fn start(writer: &mut Connection, conn: Connection) -> io::Result<Self> {
        // As SQLite spells it: the ledger's name may be a link to another folder.
        let path = writer.path().map(|path| schema::beside(Path::new(path), "-wal"));
        // What an earlier process left, or a migration.
        move_log(&conn);
        let pages = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&pages);
        let hooked = writer.wal_hook(Some(move |wal: &mut Wal, count| {
            let count = u32::try_from(count).unwrap_or(0);
            told.store(count, Ordering::Relaxed);
            if count >= PAGES_BOUND {
                // An error here would take back nothing: the commit is done.
                let _ = wal.checkpoint();
            }
            Ok(())
        }));
        hooked.map_err(io::Error::other)?;
        // What has no room is asked for again after the next commit.
        let (wishes, queue) = sync_channel(2);
        let (moved, ending) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (told, ended, now) = (Arc::clone(&moved), Arc::clone(&ending), Arc::clone(&pages));
        let mut log = Log { path, file: None, ended };
        let work = move || run(&conn, &queue, &now, &told, &mut log);
        let thread = logging_thread("ledger-log", work)?;
        Ok(Self {
            wishes: Some(wishes),
            thread: Some(thread),
            ending,
            moved,
            pages,
            before: 0,
            most: 0,
            asked: 0,
            ready: 0,
        })
    }

    /// After each transaction of the writer.
    pub(super) fn after(&mut self, conn: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.before {
            // It was begun anew.
            (self.asked, self.ready) = (0, 0);
        }
        self.before = pages;
        self.most = self.most.max(pages);
        if pages >= self.asked.saturating_add(PAGES) && self.wish(Wish::Move) {
            self.asked = pages;
        }
        if self.most >= PAGES_BUSY && pages + PAGES_AHEAD / 2 >= self.ready {
            let end = pages + PAGES_AHEAD;
            if self.wish(Wish::Ready(self.ready.max(pages), end)) {
                self.ready = end;
            }
        }
        if self.moved.swap(0, Ordering::Relaxed) >= PAGES_MAX {
            // Only when nothing is left in the log is it begun anew, by the next transaction.
            move_log(conn);
        }
    }

    /// Whether the wish waits for the thread now.
    fn wish(&self, wish: Wish) -> bool {
        self.wishes.as_ref().is_some_and(|wishes| wishes.try_send(wish).is_ok())
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        drop(self.wishes.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that moves the ledger's log has panicked");
        }
    }
}

fn run(
    conn: &Connection,
    wishes: &Receiver<Wish>,
    pages: &AtomicU32,
    moved: &AtomicU32,
    log: &mut Log,
) {
    while let Ok(wish) = wishes.recv() {
        match wish {
            Wish::Move => {
                let mut there = move_log(conn);
                for _ in 0..TRIES {
                    if there < PAGES_MAX || there == pages.load(Ordering::Relaxed) {
                        break;
                    }
                    there = move_log(conn);
                }
                moved.store(there, Ordering::Relaxed);
            }
            Wish::Ready(from, to) => {
                // It only takes longer then.
                if let Err(error) = log.make_ready(from, to) {
                    tracing::debug!(%error, "the ledger's log could not be made ready");
                }
            }
        }
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

/// The log's file, which SQLite writes meanwhile. SQLite locks the database and its index, never
/// this file: a descriptor of our own, and its end, change nothing for it.
struct Log {
    /// None: its name is no text, and it is made as it comes.
    path: Option<PathBuf>,
    file: Option<File>,
    ended: Arc<AtomicBool>,
}

impl Log {
    /// Has the system hold these pages of the file in its memory, or the file be as long as it gets
    /// under load.
    fn make_ready(&mut self, from: u32, to: u32) -> io::Result<()> {
        let file = match (self.file.take(), &self.path) {
            (Some(file), _) => file,
            (None, Some(path)) => OpenOptions::new().read(true).append(true).open(path)?,
            (None, None) => return Ok(()),
        };
        let file = self.file.insert(file);
        let long = u64::from(PAGES_MAX + PAGES_AHEAD) * PAGE;
        let (mut at, end) = (u64::from(from) * PAGE, u64::from(to) * PAGE);
        let mut step = vec![0; STEP];
        while at < end && !self.ended.load(Ordering::Relaxed) {
            match file.read_at(&mut step, at)? {
                0 => break,
                read => at += read as u64,
            }
        }
        step.fill(0);
        // What is appended begins behind all that is in the file, whatever the writer does (that is
        // what O_APPEND promises). To SQLite the log ends before the first page that is not of this
        // log: zeros have neither its salt nor a number.
        while at < end
            && file.metadata()?.len() < long.max(end)
            && !self.ended.load(Ordering::Relaxed)
        {
            file.write_all(&step)?;
            file.sync_data()?;
        }
        Ok(())
    }
}
