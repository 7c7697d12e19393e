//! What those who hear the events can have of them. One that has more has heard another ledger of
//! the same name: this one was restored from an old copy, or a copy of it runs elsewhere.

use rand::rngs::OsRng;
use rand::RngCore as _;
use rusqlite::{Connection, OptionalExtension as _};

use crate::event::Overtaken;

use super::books::Books;
use super::error::LedgerError;
use super::schema;
use super::sql::Prepared as _;
use super::store::SqliteLedger;
use super::turn::Turn;
use super::Result;

/// Whoever may have been told of any event has at most those that are here.
pub(super) const BOUND_SINKS: &str = "UPDATE sink SET bound = \
    (SELECT value FROM meta WHERE key = 'event_seq') WHERE bound IS NULL";

/// How a sink was found to be ahead, if it was.
fn found(conn: &Connection, sink: &str) -> rusqlite::Result<Option<Overtaken>> {
    let row = "SELECT ahead, newest FROM sink WHERE name = ?1 AND ahead IS NOT NULL";
    conn.one(row, [sink], |row| Ok(Overtaken { have: row.get(0)?, newest: row.get(1)? })).optional()
}

impl Turn<'_> {
    /// [`SqliteLedger::overtaken`].
    fn overtaken(&self, sink: &str, have: u64) -> Result<Option<Overtaken>> {
        // From now on nothing is pruned before it has it, though it never said that it has any.
        let waits = "INSERT INTO consumer(name, acked_seq) VALUES (?1, 0) ON CONFLICT DO NOTHING";
        self.conn.run(waits, [sink])?;
        if let Some(found) = found(self.conn, sink)? {
            return Ok(Some(found));
        }
        let newest: u64 = schema::meta(self.conn, "event_seq")?;
        let bound = "SELECT bound FROM sink WHERE name = ?1";
        let bound = self.conn.one(bound, [sink], |row| row.get(0)).optional()?;
        // Who was never told of any can have none.
        let most: u64 = bound.map_or(0, |bound: Option<u64>| bound.unwrap_or(newest));
        if have <= most {
            let flows = "INSERT INTO sink(name) VALUES (?1) ON CONFLICT DO UPDATE SET bound = NULL";
            self.conn.run(flows, [sink])?;
            return Ok(None);
        }
        let set = "INSERT INTO sink(name, bound, ahead, newest) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO UPDATE SET bound = ?2, ahead = ?3, newest = ?4";
        self.conn.run(set, (sink, most, have.min(i64::MAX.unsigned_abs()), newest))?;
        // What was paid since then is not in here: it could be paid once more, under another name.
        self.stop_sending(
            "the pool has events that this ledger doesn't: it seems to be an old copy",
        )?;
        found(self.conn, sink).map_err(Into::into)
    }

    /// [`SqliteLedger::resume_events`].
    fn resume_events(&self) -> Result<()> {
        if self.conn.run("DELETE FROM sink WHERE ahead IS NOT NULL", [])? == 0 {
            return Ok(());
        }
        let mut source = [0; 16];
        OsRng
            .try_fill_bytes(&mut source)
            .map_err(|error| LedgerError::Storage(format!("no random bytes: {error}")))?;
        let set = "UPDATE meta SET value = ?1 WHERE key = 'source_id'";
        self.conn.run(set, [source])?;
        // The others hear all of it anew, too.
        self.conn.run("DELETE FROM sink", [])?;
        // They keep their rows: nothing is pruned that they have not got.
        self.conn.run("UPDATE consumer SET acked_seq = 0", [])?;
        Ok(())
    }
}

impl Books {
    /// The sink that was found to have more events than it can have from here, with what it had;
    /// `None`: there is none, and events flow.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn overtaken(&self) -> Result<Option<(String, Overtaken)>> {
        let row = "SELECT name, ahead, newest FROM sink WHERE ahead IS NOT NULL ORDER BY name";
        let found = self.conn.query_row(row, [], |row| {
            Ok((row.get(0)?, Overtaken { have: row.get(1)?, newest: row.get(2)? }))
        });
        Ok(found.optional()?)
    }
}

impl Books {
    /// [`SqliteLedger::acked_by`].
    fn acked_by(&self, sink: &str) -> Result<u64> {
        let row = "SELECT acked_seq FROM consumer WHERE name = ?1";
        let acked = self.conn.query_row(row, [sink], |row| row.get(0)).optional()?;
        Ok(acked.unwrap_or_default())
    }

    /// [`super::Ledger::sinks_heard`].
    pub(super) fn sinks_heard(&self) -> Result<bool> {
        let unheard = "SELECT 1 FROM sink WHERE bound IS NOT NULL AND ahead IS NULL LIMIT 1";
        Ok(self.conn.query_row(unheard, [], |_| Ok(())).optional()?.is_none())
    }
}

impl SqliteLedger {
    /// The last event that a sink is known to have; 0: it is not known to have any.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn acked_by(&self, sink: String) -> Result<u64> {
        self.read(move |books| books.acked_by(&sink)).await
    }

    /// A sink says that it has all events up to `have`, and is going to be told of more; `None`: it
    /// may be. Otherwise no event may go to it, and no payment to the mint, until the operator has
    /// looked; that is on the disk then, and stays so whatever the sink says later.
    ///
    /// # Errors
    /// [`LedgerError`]; then nothing may be sent to it either.
    pub async fn overtaken(&self, sink: String, have: u64) -> Result<Option<Overtaken>> {
        self.call(move |turn| turn.overtaken(&sink, have)).await
    }

    /// Ends what [`SqliteLedger::overtaken`] began: the sequence of events gets a new name, and
    /// goes to everybody from its first event that is still here. The ledger has to be opened again
    /// to be known by it. Changes nothing where events flow.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn resume_events(&self) -> Result<()> {
        self.call(|turn| turn.resume_events()).await
    }
}
