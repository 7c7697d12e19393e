-- History of a pool. Times are milliseconds since the epoch. Work is two integers, whole and
-- fraction (in 2^-32). Counts and sums stop at 2^62 instead of overflowing.
CREATE TABLE sidecar(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    first_ms INTEGER NOT NULL,
    -- The newest of its events.
    last_ms INTEGER NOT NULL,
    -- Up to where it has said how it stands; 0: never.
    heard_ms INTEGER NOT NULL DEFAULT 0,
    -- How far its last two snapshots were apart.
    every_ms INTEGER NOT NULL DEFAULT 0,
    connections INTEGER NOT NULL DEFAULT 0,
    standard INTEGER NOT NULL DEFAULT 0,
    extended INTEGER NOT NULL DEFAULT 0,
    handshakes_failed INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    -- How its mint stands, as JSON; NULL: there is none.
    mint TEXT,
    -- In its life.
    accepted INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    work INTEGER NOT NULL DEFAULT 0,
    fraction INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE source(
    id INTEGER PRIMARY KEY,
    sidecar INTEGER NOT NULL REFERENCES sidecar(id),
    source_id BLOB NOT NULL,
    durable INTEGER NOT NULL,
    -- The newest event that is kept.
    have INTEGER NOT NULL DEFAULT 0,
    last_ms INTEGER NOT NULL,
    UNIQUE(sidecar, source_id)
) STRICT;

-- Whose work it is: an account (name is empty), or a worker that shares of it name.
CREATE TABLE worker(
    id INTEGER PRIMARY KEY,
    identity BLOB NOT NULL,
    name BLOB NOT NULL,
    -- The same for people: whole, with its address shortened, and the worker's name.
    label TEXT NOT NULL,
    short TEXT NOT NULL,
    name_label TEXT NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    last_share_ms INTEGER,
    vendor BLOB NOT NULL DEFAULT x'',
    kind INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    work INTEGER NOT NULL DEFAULT 0,
    fraction INTEGER NOT NULL DEFAULT 0,
    best REAL NOT NULL DEFAULT 0,
    best_ms INTEGER,
    UNIQUE(identity, name)
) STRICT;
CREATE INDEX worker_best ON worker(best);

-- Open connections.
CREATE TABLE connection(
    source INTEGER NOT NULL REFERENCES source(id),
    connection_id INTEGER NOT NULL,
    address TEXT NOT NULL,
    vendor BLOB NOT NULL,
    hardware BLOB NOT NULL,
    firmware BLOB NOT NULL,
    flags INTEGER NOT NULL,
    extensions TEXT NOT NULL,
    opened_ms INTEGER NOT NULL,
    PRIMARY KEY(source, connection_id)
) STRICT, WITHOUT ROWID;

-- Channels, open (ended_ms IS NULL) and ended.
CREATE TABLE session(
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES source(id),
    channel_id INTEGER NOT NULL,
    connection_id INTEGER NOT NULL,
    -- 0: its opening was never heard.
    kind INTEGER NOT NULL,
    worker INTEGER NOT NULL REFERENCES worker(id),
    address TEXT NOT NULL,
    vendor BLOB NOT NULL,
    hardware BLOB NOT NULL,
    firmware BLOB NOT NULL,
    flags INTEGER NOT NULL,
    extensions TEXT NOT NULL,
    nominal REAL NOT NULL,
    opened_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    reason TEXT,
    accepted INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    work INTEGER NOT NULL DEFAULT 0,
    fraction INTEGER NOT NULL DEFAULT 0,
    UNIQUE(source, channel_id)
) STRICT;
CREATE INDEX session_worker ON session(worker, opened_ms);
CREATE INDEX session_open ON session(source, connection_id, worker) WHERE ended_ms IS NULL;
CREATE INDEX session_ended ON session(ended_ms) WHERE ended_ms IS NOT NULL;

-- What a named worker did in a session.
CREATE TABLE part(
    worker INTEGER NOT NULL REFERENCES worker(id),
    session INTEGER NOT NULL REFERENCES session(id),
    last_ms INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    work INTEGER NOT NULL DEFAULT 0,
    fraction INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(worker, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX part_session ON part(session);

-- The pool, in buckets of its levels (0: 10 s, 1: 1 min, 2: 5 min, 3: 1 h). No row: nothing was
-- heard of that sidecar. What stands for a time is summed up over its milliseconds.
CREATE TABLE history(
    level INTEGER NOT NULL,
    t INTEGER NOT NULL,
    sidecar INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    work INTEGER NOT NULL,
    fraction INTEGER NOT NULL,
    heard_ms INTEGER NOT NULL,
    connections_ms INTEGER NOT NULL,
    standard_ms INTEGER NOT NULL,
    extended_ms INTEGER NOT NULL,
    mint_ms INTEGER NOT NULL,
    waiting_ms REAL NOT NULL,
    confirmed REAL NOT NULL,
    PRIMARY KEY(level, t, sidecar)
) STRICT, WITHOUT ROWID;

CREATE TABLE reject(
    level INTEGER NOT NULL,
    t INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY(level, t, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE ack(
    level INTEGER NOT NULL,
    t INTEGER NOT NULL,
    -- In microseconds; 0: longer than every bound.
    upto INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY(level, t, upto)
) STRICT, WITHOUT ROWID;

-- Each worker, at levels 2 and 3. By time first: it is written at one end and deleted at the other.
CREATE TABLE worker_history(
    level INTEGER NOT NULL,
    t INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    work INTEGER NOT NULL,
    fraction INTEGER NOT NULL,
    PRIMARY KEY(level, t, worker)
) STRICT, WITHOUT ROWID;

CREATE TABLE block(
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    sidecar INTEGER NOT NULL REFERENCES sidecar(id),
    worker INTEGER NOT NULL REFERENCES worker(id),
    height INTEGER,
    at_ms INTEGER NOT NULL,
    -- NULL: the node has not answered.
    accepted INTEGER,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX block_at ON block(at_ms);

CREATE TABLE event(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    sidecar INTEGER NOT NULL REFERENCES sidecar(id),
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    -- Whom it is about.
    worker INTEGER
) STRICT;

CREATE TABLE health(
    sidecar INTEGER NOT NULL REFERENCES sidecar(id),
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    age_ms INTEGER,
    since_ms INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY(sidecar, name)
) STRICT, WITHOUT ROWID;
