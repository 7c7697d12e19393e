//! The history: one writer, and readers beside it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use gopool_sv2_proto::v1;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch, Semaphore};

use super::figures::Figures;
use super::file::{self, OpenError, Opened};
use super::ingest::{Keep, Source, Start};
use super::writer::{self, Standing, Task, Unwritten, Writer, WAITING};
use crate::sys::logging_thread;

/// Questions that are answered at a time; further ones wait for their turn.
const READERS: usize = 4;

/// How a history is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The file, on a local file system.
    pub(super) path: PathBuf,
    pub(super) keep: Keep,
    /// Pages that the file may have at most; `None`: as many as the disk takes.
    pub(super) pages_max: Option<u32>,
}

/// The history in an SQLite file, with a thread of its own that writes. Cheap to clone. The file
/// is free for another process when the last clone is gone.
#[derive(Clone, Debug)]
pub(super) struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// None only while this is dropped.
    tasks: Option<mpsc::Sender<Task>>,
    standing: Arc<watch::Sender<Standing>>,
    figures: Arc<Figures>,
    turns: Semaphore,
    /// Idle readers.
    readers: Mutex<Vec<Connection>>,
    writer: Option<JoinHandle<()>>,
    /// Held as long as the writer runs.
    lock: Option<File>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last reader must not be the last connection: then it would empty the log.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.tasks.take());
        if let Some(writer) = self.writer.take() {
            if writer.join().is_err() {
                tracing::error!("the writer of the history has panicked");
            }
        }
        drop(self.lock.take());
    }
}

/// Why something can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("the database can't be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the service stops")]
    Closed,
}

impl Store {
    /// Opens the history, or makes it, and starts its writer. Blocks on the disk.
    pub(super) fn open(settings: &Settings, now: i64) -> Result<Self, OpenError> {
        let path = &settings.path;
        let Opened { conn, lock } = file::open(path, now)?;
        if let Some(pages) = settings.pages_max {
            let set = file::quiet(&conn, "max_page_count", pages);
            set.map_err(|error| OpenError::Sqlite(path.clone(), error))?;
        }
        let reader = file::open_to_read(path);
        let reader = reader.map_err(|error| OpenError::Sqlite(path.clone(), error))?;
        let (tasks, queue) = mpsc::channel(WAITING);
        let standing = Arc::new(watch::Sender::new(Standing::Up));
        let figures = Arc::new(Figures::default());
        let writer = Writer {
            path: path.clone(),
            tasks: queue,
            standing: Arc::clone(&standing),
            keep: settings.keep,
            figures: Arc::clone(&figures),
        };
        let failed = |error: io::Error| OpenError::File(path.clone(), error);
        let writer = logging_thread("history", move || writer.run(&conn)).map_err(failed)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.clone(),
                tasks: Some(tasks),
                standing,
                figures,
                turns: Semaphore::new(READERS),
                readers: Mutex::new(vec![reader]),
                writer: Some(writer),
                lock: Some(lock),
            }),
        })
    }

    pub(super) fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.shared.figures)
    }

    /// How the writer stands, as it changes.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    /// A stream begins.
    pub(super) async fn start(&self, start: Start, now: i64) -> Result<(Source, u64), Unwritten> {
        let (answer, answered) = oneshot::channel();
        self.ask(Task::Start { start, now, answer }).await?;
        answered.await.map_err(|_| closed())?
    }

    /// Events of a source; comes back when they are in the file.
    pub(super) async fn events(
        &self,
        source: Source,
        events: Vec<v1::Event>,
        now: i64,
    ) -> Result<(), Unwritten> {
        let (answer, answered) = oneshot::channel();
        self.ask(Task::Events { source, events, now, answer }).await?;
        answered.await.map_err(|_| closed())?
    }

    /// Has what is too old deleted.
    pub(super) async fn clean(&self, now: i64) {
        // Who has stopped has nothing to clean.
        let _ = self.ask(Task::Clean { now }).await;
    }

    async fn ask(&self, task: Task) -> Result<(), Unwritten> {
        let tasks = self.shared.tasks.as_ref().ok_or_else(closed)?;
        tasks.send(task).await.map_err(|_| closed())
    }

    /// Runs `read` on a connection that only reads, on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unread> {
        let _turn = self.shared.turns.acquire().await.map_err(|_| Unread::Closed)?;
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let idle = shared.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = match idle {
                Some(conn) => conn,
                None => file::open_to_read(&shared.path)?,
            };
            // All statements of one answer see the same moment.
            let transaction = conn.unchecked_transaction()?;
            let found = read(&transaction);
            transaction.finish()?;
            shared.readers.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            found
        };
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            let done: rusqlite::Result<T> = read();
            if let Err(error) = &done {
                // The writer may not come by the pages that are damaged for a long time.
                if file::is_damage(error) {
                    writer::tell(&shared.standing, &shared.path, Some(error));
                }
            }
            Ok(done?)
        });
        done.await.map_err(|_| Unread::Closed)?
    }
}

fn closed() -> Unwritten {
    Unwritten("the statistics service stops".to_owned())
}
