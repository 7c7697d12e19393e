//! Who is here: connections, channels, and whose work it is.

use bytes::Bytes;
use gopool_sv2_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, Statement};

use super::{cut, id, Channel, Ingest, Source};
use crate::obs::printable;
use crate::stats::text::short;

/// Longest name of a miner that is kept, in bytes: SV2's strings have no more.
const NAME_MAX: usize = 255;

/// Most extensions of a connection that are kept.
const EXTENSIONS_MAX: usize = 64;

/// Why sessions end whose end was never told.
const LOST: &str = "its end was not heard of";

/// Why sessions end whose sidecar says nothing any more.
pub(in crate::stats) const SILENT: &str = "its sidecar is silent";

pub(super) struct Statements<'c> {
    connect: Statement<'c>,
    connection: Statement<'c>,
    disconnect: Statement<'c>,
    end_connection: Statement<'c>,
    find_worker: Statement<'c>,
    add_worker: Statement<'c>,
    touch_worker: Statement<'c>,
    find: Statement<'c>,
    open: Statement<'c>,
    end: Statement<'c>,
    reopen: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connect: conn.prepare(
                "INSERT INTO connection VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
                 ON CONFLICT DO UPDATE SET extensions = excluded.extensions",
            )?,
            connection: conn.prepare(
                "SELECT address, vendor, hardware, firmware, flags, extensions FROM connection \
                 WHERE source = ?1 AND connection_id = ?2",
            )?,
            disconnect: conn
                .prepare("DELETE FROM connection WHERE source = ?1 AND connection_id = ?2")?,
            end_connection: conn.prepare(
                "UPDATE session SET ended_ms = ?3, reason = ?4 \
                 WHERE source = ?1 AND connection_id = ?2 AND ended_ms IS NULL",
            )?,
            find_worker: conn.prepare("SELECT id FROM worker WHERE identity = ?1 AND name = ?2")?,
            add_worker: conn.prepare(
                "INSERT INTO worker(identity, name, label, short, name_label, first_ms, last_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
            )?,
            touch_worker: conn.prepare(
                "UPDATE worker SET vendor = ?2, kind = ?3, last_ms = max(last_ms, ?4) \
                 WHERE id = ?1",
            )?,
            find: conn.prepare(
                "SELECT session.id, worker, identity, ended_ms IS NOT NULL FROM session \
                 JOIN worker ON worker.id = worker WHERE source = ?1 AND channel_id = ?2",
            )?,
            open: conn.prepare(
                "INSERT INTO session(source, channel_id, connection_id, kind, worker, address, \
                 vendor, hardware, firmware, flags, extensions, nominal, opened_ms, last_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13) \
                 ON CONFLICT(source, channel_id) DO UPDATE SET ended_ms = NULL, reason = NULL, \
                 connection_id = excluded.connection_id, kind = excluded.kind, \
                 worker = excluded.worker, address = excluded.address, \
                 vendor = excluded.vendor, hardware = excluded.hardware, \
                 firmware = excluded.firmware, flags = excluded.flags, \
                 extensions = excluded.extensions, nominal = excluded.nominal, \
                 opened_ms = min(opened_ms, excluded.opened_ms), \
                 last_ms = max(last_ms, excluded.last_ms)",
            )?,
            end: conn.prepare("UPDATE session SET ended_ms = ?2, reason = ?3 WHERE id = ?1")?,
            reopen: conn.prepare(
                "UPDATE session SET ended_ms = NULL, reason = NULL \
                     WHERE id = ?1 AND reason IN (?2, ?3)",
            )?,
        })
    }
}

/// What is known of a connection.
struct Peer {
    address: String,
    vendor: Vec<u8>,
    hardware: Vec<u8>,
    firmware: Vec<u8>,
    flags: i64,
    extensions: String,
}

fn name(bytes: &Bytes) -> &[u8] {
    bytes.get(..NAME_MAX).unwrap_or(bytes)
}

fn plural(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    }
}

impl Ingest<'_> {
    pub(super) fn connection_opened(
        &mut self,
        source: Source,
        at: i64,
        connection: &v1::Connection,
    ) -> rusqlite::Result<()> {
        let extensions: Vec<u32> =
            connection.extensions.iter().copied().take(EXTENSIONS_MAX).collect();
        let opened = connection.connected_ms.clamp(1, at);
        let opened = if connection.connected_ms > 0 { opened } else { at };
        let new = self.people.connect.execute((
            source.id,
            id(connection.id),
            cut(&connection.remote_address),
            name(&connection.vendor),
            name(&connection.hardware_version),
            name(&connection.firmware),
            connection.setup_flags,
            serde_json::json!(extensions).to_string(),
            opened,
        ))?;
        if new == 0 {
            return Ok(());
        }
        let vendor = printable(name(&connection.vendor));
        let device = printable(name(&connection.hardware_version));
        let text = format!("connection {} opened: {vendor} {device}", connection.id);
        self.event(source, at, "connection-opened", &text, None)
    }

    pub(super) fn connection_closed(
        &mut self,
        source: Source,
        at: i64,
        closed: &v1::ConnectionClosed,
    ) -> rusqlite::Result<()> {
        let (connection, cause) = (id(closed.connection_id), cut(&closed.cause));
        let known = self.people.disconnect.execute((source.id, connection))?;
        let ended = (source.id, connection, at, &cause);
        if self.people.end_connection.execute(ended)? > 0 {
            self.channels.retain(|(of, _), _| *of != source.id);
        }
        if known == 0 {
            return Ok(());
        }
        let text = format!("connection {} closed: {cause}", closed.connection_id);
        self.event(source, at, "connection-closed", &text, None)
    }

    pub(super) fn channel_started(
        &mut self,
        source: Source,
        at: i64,
        started: &v1::ChannelStarted,
    ) -> rusqlite::Result<()> {
        let worker = self.worker(&started.user_identity, &Bytes::new(), at)?;
        let connection = id(started.connection_id);
        let peer = self.people.connection.query_row((source.id, connection), |row| {
            Ok(Peer {
                address: row.get(0)?,
                vendor: row.get(1)?,
                hardware: row.get(2)?,
                firmware: row.get(3)?,
                flags: row.get(4)?,
                extensions: row.get(5)?,
            })
        });
        let peer = peer.optional()?.unwrap_or_else(|| Peer {
            address: String::new(),
            vendor: Vec::new(),
            hardware: Vec::new(),
            firmware: Vec::new(),
            flags: 0,
            extensions: "[]".to_owned(),
        });
        let kind = match started.kind() {
            v1::ChannelKind::Extended => 2,
            v1::ChannelKind::Standard | v1::ChannelKind::Unspecified => 1,
        };
        let nominal = f64::from(started.nominal_hash_rate);
        let known = self.find(source, started.channel_id)?;
        self.people.open.execute(rusqlite::params![
            source.id,
            id(started.channel_id),
            connection,
            kind,
            worker,
            peer.address,
            peer.vendor,
            peer.hardware,
            peer.firmware,
            peer.flags,
            peer.extensions,
            if nominal.is_finite() { nominal } else { 0.0 },
            at,
        ])?;
        self.people.touch_worker.execute((worker, &peer.vendor, kind, at))?;
        self.channels.remove(&(source.id, started.channel_id));
        if known.is_some_and(|known| known.worker == worker) {
            return Ok(());
        }
        let kind = if kind == 2 { "extended" } else { "standard" };
        let text = format!("{kind} channel {} opened:", started.channel_id);
        self.event(source, at, "channel-opened", &text, Some(worker))
    }

    pub(super) fn channel_ended(
        &mut self,
        source: Source,
        at: i64,
        ended: &v1::ChannelEnded,
    ) -> rusqlite::Result<()> {
        let Some(channel) = self.find(source, ended.channel_id)? else { return Ok(()) };
        let reason = cut(&ended.reason);
        self.people.end.execute((channel.session, at, &reason))?;
        self.channels.remove(&(source.id, ended.channel_id));
        if channel.ended {
            return Ok(());
        }
        let text = format!("channel {} ended ({reason}):", ended.channel_id);
        self.event(source, at, "channel-ended", &text, Some(channel.worker))
    }

    fn find(&mut self, source: Source, channel: u64) -> rusqlite::Result<Option<Channel>> {
        let found = self.people.find.query_row((source.id, id(channel)), |row| {
            Ok(Channel {
                session: row.get(0)?,
                worker: row.get(1)?,
                identity: row.get::<_, Vec<u8>>(2)?.into(),
                ended: row.get(3)?,
            })
        });
        found.optional()
    }

    /// The channel that a sum is of. One whose opening was lost is of this identity, as far as
    /// that is known, and the rest is there when it is told again.
    pub(super) fn channel(
        &mut self,
        source: Source,
        at: i64,
        channel: u64,
        identity: &Bytes,
    ) -> rusqlite::Result<Channel> {
        if let Some(known) = self.channels.get(&(source.id, channel)) {
            return Ok(known.clone());
        }
        if self.find(source, channel)?.is_none() {
            let worker = self.worker(identity, &Bytes::new(), at)?;
            let nothing: &[u8] = b"";
            self.people.open.execute(rusqlite::params![
                source.id,
                id(channel),
                0,
                0,
                worker,
                "",
                nothing,
                nothing,
                nothing,
                0,
                "[]",
                0.0,
                at,
            ])?;
        }
        let found = self.find(source, channel)?;
        let found = found.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        if found.ended {
            // Its end was only guessed, or this is the rest of what it did.
            self.people.reopen.execute((found.session, LOST, SILENT))?;
        }
        self.channels.insert((source.id, channel), found.clone());
        Ok(found)
    }

    /// The row of a worker, new or not.
    pub(super) fn worker(
        &mut self,
        identity: &Bytes,
        worker: &Bytes,
        at: i64,
    ) -> rusqlite::Result<i64> {
        let (identity, worker) = (name(identity), name(worker));
        let found = self.people.find_worker.query_row((identity, worker), |row| row.get(0));
        if let Some(found) = found.optional()? {
            return Ok(found);
        }
        let label = printable(identity);
        let shortened = short(&label);
        self.people.add_worker.execute((
            identity,
            worker,
            label,
            shortened,
            printable(worker),
            at,
        ))?;
        Ok(self.conn.last_insert_rowid())
    }

    /// The process of a sidecar is another one now: what the last one had is over.
    pub(super) fn end_others(&mut self, source: Source) -> rusqlite::Result<()> {
        let others = "source IN (SELECT id FROM source WHERE sidecar = ?1 AND id <> ?2 \
                      AND durable = 0)";
        let gone = self.conn.execute(
            &format!("DELETE FROM connection WHERE {others}"),
            (source.sidecar, source.id),
        )?;
        let ended = self.conn.execute(
            &format!(
                "UPDATE session SET ended_ms = (SELECT last_ms FROM source WHERE id = \
                 session.source), reason = 'the sidecar was started anew' \
                 WHERE {others} AND ended_ms IS NULL"
            ),
            (source.sidecar, source.id),
        )?;
        self.channels.clear();
        let now = self.now;
        let text = match gone + ended {
            0 => "the sidecar was started".to_owned(),
            _ => format!(
                "the sidecar was started anew: {} and {} are over",
                plural(gone, "connection"),
                plural(ended, "channel")
            ),
        };
        self.event(source, now, "sidecar-started", &text, None)
    }

    /// Events of a source were lost: nobody knows what is still open of it.
    pub(super) fn end_all(&mut self, source: Source) -> rusqlite::Result<()> {
        self.conn.execute("DELETE FROM connection WHERE source = ?1", [source.id])?;
        self.conn.execute(
            "UPDATE session SET ended_ms = last_ms, reason = ?2 \
             WHERE source = ?1 AND ended_ms IS NULL",
            (source.id, LOST),
        )?;
        self.channels.retain(|(of, _), _| *of != source.id);
        Ok(())
    }
}
