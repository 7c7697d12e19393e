//! The thread that owns the one connection that writes.
//!
//! It takes what has queued while the last transaction was written, writes it in one, and answers
//! after its commit. Between transactions it deletes what is too old.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gopool_sv2_proto::v1;
use rusqlite::Connection;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use super::clean;
use super::figures::Figures;
use super::file::{is_damage, mark_damaged};
use super::ingest::{Ingest, Keep, Source, Start};

/// Batches that wait for the writer at most; further senders wait for their turn.
pub(super) const WAITING: usize = 32;

/// Most batches of one transaction.
const TOGETHER: usize = 16;

/// Tasks after which a step of retention has its turn, however busy the writer is.
const TURN: u32 = 32;

/// Why something was not written. The text is for the sidecar's operator, too.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unwritten(pub(super) String);

type Answer<T> = oneshot::Sender<Result<T, Unwritten>>;

/// What the writer is asked for.
pub(super) enum Task {
    /// A stream begins.
    Start { start: Start, now: i64, answer: Answer<(Source, u64)> },
    /// Events of a source.
    Events { source: Source, events: Vec<v1::Event>, now: i64, answer: Answer<()> },
    /// Time passes.
    Clean { now: i64 },
}

/// How the writer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It writes.
    Up,
    /// It can't write; it tries again with what comes next.
    Down(String),
    /// The file is damaged: nothing but a new start helps.
    Damaged(String),
}

/// The writer's state.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) tasks: mpsc::Receiver<Task>,
    pub(super) standing: Arc<watch::Sender<Standing>>,
    pub(super) keep: Keep,
    pub(super) figures: Arc<Figures>,
}

impl Writer {
    /// Runs until nobody can ask for anything any more, and all that was asked is done.
    pub(super) fn run(mut self, conn: &Connection) {
        let mut ingest = match Ingest::new(conn, self.keep) {
            Ok(ingest) => ingest,
            Err(error) => {
                self.tell(Some(&error));
                return;
            }
        };
        let (mut cleans, mut since) = (None, 0_u32);
        loop {
            if let Some(now) = cleans.filter(|_| since >= TURN) {
                (cleans, since) = (self.clean(conn, now).then_some(now), 0);
            }
            let task = match (self.tasks.try_recv(), cleans) {
                (Ok(task), _) => task,
                (Err(TryRecvError::Empty), Some(now)) => {
                    cleans = self.clean(conn, now).then_some(now);
                    continue;
                }
                (Err(TryRecvError::Empty), None) => match self.tasks.blocking_recv() {
                    Some(task) => task,
                    None => return,
                },
                (Err(TryRecvError::Disconnected), _) => return,
            };
            since = since.saturating_add(1);
            match task {
                Task::Clean { now } => cleans = Some(now),
                Task::Start { start, now, answer } => {
                    self.start(conn, &mut ingest, &start, now, answer);
                }
                first => self.events(conn, &mut ingest, first, &mut cleans),
            }
        }
    }

    /// One transaction with the batches that wait.
    fn events(
        &mut self,
        conn: &Connection,
        ingest: &mut Ingest<'_>,
        first: Task,
        cleans: &mut Option<i64>,
    ) {
        let (mut answers, mut batches, mut task) = (Vec::new(), Vec::new(), Some(first));
        let mut later = None;
        while let Some(taken) = task.take() {
            match taken {
                Task::Events { source, events, now, answer } => {
                    answers.push(answer);
                    batches.push((source, events, now));
                }
                Task::Clean { now } => *cleans = Some(now),
                start @ Task::Start { .. } => {
                    later = Some(start);
                    break;
                }
            }
            if batches.len() < TOGETHER {
                task = self.tasks.try_recv().ok();
            }
        }
        let before = ingest.counted;
        let done = transact(conn, ingest, |ingest| {
            for (source, events, now) in &batches {
                ingest.events(*source, events, *now)?;
            }
            Ok(())
        });
        match &done {
            Ok(()) => self.figures.wrote(ingest.counted.0 - before.0, ingest.counted.1 - before.1),
            Err(_) => ingest.counted = before,
        }
        self.tell(done.as_ref().err());
        let done = done.map_err(unwritten);
        for answer in answers {
            let _ = answer.send(done.clone());
        }
        if let Some(Task::Start { start, now, answer }) = later {
            self.start(conn, ingest, &start, now, answer);
        }
    }

    /// A stream begins. That this could be written says nothing of events: it may need no room.
    fn start(
        &self,
        conn: &Connection,
        ingest: &mut Ingest<'_>,
        start: &Start,
        now: i64,
        answer: Answer<(Source, u64)>,
    ) {
        let done = transact(conn, ingest, |ingest| ingest.start(start, now));
        if let Err(error) = &done {
            self.tell(Some(error));
        }
        // Who asked may be gone.
        let _ = answer.send(done.map_err(unwritten));
    }

    /// One step of retention. `true`: there may be more.
    fn clean(&self, conn: &Connection, now: i64) -> bool {
        let step = || -> rusqlite::Result<bool> {
            let transaction = conn.unchecked_transaction()?;
            let more = clean::step(&transaction, &self.keep, now)?;
            transaction.commit()?;
            clean::shrink(conn)?;
            Ok(more)
        };
        let done = step();
        if let Err(error) = &done {
            tracing::warn!(%error, "what is too old can't be deleted now");
            self.tell(Some(error));
        }
        done.unwrap_or(false)
    }

    fn tell(&self, error: Option<&rusqlite::Error>) {
        tell(&self.standing, &self.path, error);
    }
}

/// The database was used, and this came of it. Damage is for good.
pub(super) fn tell(
    standing: &watch::Sender<Standing>,
    path: &Path,
    error: Option<&rusqlite::Error>,
) {
    let now = match error {
        None => Standing::Up,
        Some(error) if is_damage(error) => Standing::Damaged(error.to_string()),
        Some(error) => Standing::Down(words(error)),
    };
    standing.send_if_modified(|standing| {
        if *standing == now || matches!(standing, Standing::Damaged(_)) {
            return false;
        }
        match &now {
            Standing::Up => tracing::info!("the database can be written again"),
            Standing::Down(reason) => {
                tracing::error!(%reason, "the database can't be written: sidecars keep events");
            }
            Standing::Damaged(reason) => {
                tracing::error!(%reason, "the database is damaged: stopping");
                mark_damaged(path);
            }
        }
        *standing = now;
        true
    });
}

fn unwritten(error: rusqlite::Error) -> Unwritten {
    Unwritten(format!("the statistics can't be kept: {}", words(&error)))
}

/// An error with its remedy.
fn words(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            format!("{error}: free some space; nothing else has to be done")
        }
        _ => error.to_string(),
    }
}

/// Runs `work` in a transaction: all of it is in the file, or nothing is.
fn transact<'c, T>(
    conn: &Connection,
    ingest: &mut Ingest<'c>,
    work: impl FnOnce(&mut Ingest<'c>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let done = (|| {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let done = work(ingest)?;
        ingest.flush()?;
        conn.execute_batch("COMMIT")?;
        Ok(done)
    })();
    if done.is_err() {
        ingest.forget();
        // After some errors SQLite has rolled back by itself.
        if !conn.is_autocommit() {
            if let Err(error) = conn.execute_batch("ROLLBACK") {
                tracing::error!(%error, "a transaction can't be taken back");
            }
        }
    }
    done
}
