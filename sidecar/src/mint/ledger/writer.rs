//! The thread that owns the one connection that writes.
//!
//! It takes what has queued while the last transaction went to the disk (at most
//! [`BATCH_SHARES_MAX`] shares), writes it in one transaction and answers after its commit: no
//! timer, and the busier it is the more shares go by one commit.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, watch};

use super::checkpoint::Checkpoints;
use super::error::LedgerError;
use super::model::{Health, Identity, Kept, LedgerShare, Outcome};
use super::turn::Turn;
use crate::obs::Counts;

/// Most shares of one transaction.
pub const BATCH_SHARES_MAX: usize = 128;

/// When the calls of a transaction have taken this long, those that are left have the next one: the
/// shares that have come meanwhile wait for the end of this one. Each has at least one call.
const CALLS_FOR: Duration = Duration::from_millis(1);

/// What a call answers once its transaction has ended.
pub(super) type Answer = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

/// A call: does its part inside of the transaction, or hears that there is none. `false`: nothing
/// of it may be kept.
pub(super) type Call = Box<dyn FnOnce(Result<&mut Turn<'_>, LedgerError>) -> (bool, Answer) + Send>;

/// What the writer is asked for.
pub(super) enum Task {
    /// Write a share.
    Share(Box<LedgerShare>),
    /// Do a call.
    Call(Call),
}

/// The writer's state.
pub(super) struct Writer {
    pub(super) tasks: Receiver<Task>,
    pub(super) outcomes: mpsc::Sender<Vec<Kept>>,
    pub(super) health: watch::Sender<Health>,
    pub(super) accrued_every_ms: i64,
    pub(super) checkpoints: Checkpoints,
    pub(super) counts: Counts,
}

/// Says so when the writer is gone by a fault of its own: shares with a key are refused from then
/// on, and nobody else could tell why.
struct ToldWhenGone(Counts);

impl Drop for ToldWhenGone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ledger.standing.down("its writer has failed, see the log: restart the sidecar");
        }
    }
}

impl Writer {
    /// Runs until nobody can ask for anything any more, and all that was asked is done.
    pub(super) fn run(mut self, conn: &Connection, identity: &Identity) {
        let _told = ToldWhenGone(self.counts.clone());
        let mut turn = match Turn::new(conn, identity, self.accrued_every_ms) {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(%error, "the ledger's writer could not start");
                self.counts.ledger.standing.down(&error.to_string());
                self.health.send_replace(Health::Down(error.to_string()));
                return;
            }
        };
        // A few: each caller waits for the answer of its one.
        let mut calls = VecDeque::new();
        loop {
            let mut shares = Vec::new();
            let mut task = match calls.is_empty() {
                true => self.tasks.recv().ok(),
                false => self.tasks.try_recv().ok(),
            };
            if task.is_none() && calls.is_empty() {
                return;
            }
            while let Some(taken) = task {
                match taken {
                    Task::Share(share) => shares.push(*share),
                    Task::Call(call) => calls.push_back(call),
                }
                if shares.len() == BATCH_SHARES_MAX {
                    break;
                }
                task = self.tasks.try_recv().ok();
            }
            self.batch(&mut turn, shares, &mut calls);
            self.checkpoints.after(conn);
        }
    }

    /// One transaction: the shares, then calls, first come first. Answers when it has ended. What
    /// is left of the calls had no time.
    fn batch(&self, turn: &mut Turn<'_>, shares: Vec<LedgerShare>, calls: &mut VecDeque<Call>) {
        let begun = Instant::now();
        let mut outcomes = Vec::with_capacity(shares.len());
        let mut answers = Vec::with_capacity(calls.len());
        let done = transact(turn, |turn| {
            for share in &shares {
                outcomes.push(Kept { id: share.id, outcome: turn.record(share, share.at_ms)? });
            }
            turn.flush()?;
            let first = Instant::now();
            while let Some(call) = calls.pop_front() {
                let answer = guarded(turn, call)?;
                answers.push(answer);
                if first.elapsed() >= CALLS_FOR {
                    break;
                }
            }
            Ok(())
        });
        let error = done.as_ref().err().map(ToString::to_string);
        self.counts.ledger.committed(begun.elapsed(), error.as_deref());
        self.tell(&done);
        if done.is_err() {
            outcomes.clear();
            let failed = |share: &LedgerShare| Kept { id: share.id, outcome: Outcome::Failed };
            outcomes.extend(shares.iter().map(failed));
        }
        for kept in &outcomes {
            self.counts.ledger.shares.one(kept.outcome.as_str());
        }
        // The receiver may be gone: then nobody waits for it.
        if !outcomes.is_empty() && self.outcomes.blocking_send(outcomes).is_err() {
            tracing::debug!("nobody takes the ledger's outcomes any more");
        }
        for answer in answers {
            answer(done.clone());
        }
        if let Err(error) = done {
            for unreached in calls.drain(..) {
                let (_, answer) = unreached(Err(error.clone()));
                answer(Err(error.clone()));
            }
        }
    }

    fn tell(&self, done: &Result<(), LedgerError>) {
        let now = match done {
            Ok(()) => Health::Up,
            Err(error) => Health::Down(error.to_string()),
        };
        self.health.send_if_modified(|health| {
            if *health == now {
                return false;
            }
            match &now {
                Health::Up => tracing::info!("the ledger can be written again"),
                Health::Down(reason) => tracing::error!(%reason, "the ledger can't be written"),
            }
            *health = now;
            true
        });
    }
}

/// Runs `work` in a transaction of its own: all of it is on the disk, or nothing is.
fn transact(
    turn: &mut Turn<'_>,
    work: impl FnOnce(&mut Turn<'_>) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    turn.forget();
    turn.conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = work(turn).and_then(|()| Ok(turn.conn.execute_batch("COMMIT")?));
    turn.forget();
    // After some errors SQLite has rolled back by itself.
    if done.is_err() && !turn.conn.is_autocommit() {
        turn.conn.execute_batch("ROLLBACK")?;
    }
    done
}

/// Runs one call so that its failure takes back its own part only. `Err` when the transaction as a
/// whole is gone.
fn guarded(turn: &mut Turn<'_>, call: Call) -> Result<Answer, LedgerError> {
    turn.conn.execute_batch("SAVEPOINT call")?;
    let (keep, answer) = call(Ok(&mut *turn));
    let end = if keep { "RELEASE call" } else { "ROLLBACK TO call; RELEASE call" };
    if !keep {
        turn.forget();
    }
    match turn.conn.execute_batch(end) {
        Ok(()) => Ok(answer),
        Err(error) => {
            let error = LedgerError::from(error);
            answer(Err(error.clone()));
            Err(error)
        }
    }
}
