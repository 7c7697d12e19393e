-- Tables of the ledger, version 1. Times are milliseconds since the epoch. Work is 16 bytes,
-- big-endian, in units of 2^-32 of difficulty 1. States are numbered in state.rs.

CREATE TABLE meta(
  key TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Account = (identity, payout key). No key: unassigned, never sealed.
CREATE TABLE account(
  id INTEGER PRIMARY KEY,
  identity BLOB NOT NULL CHECK(length(identity) <= 255),
  payout_key BLOB CHECK(length(payout_key) = 33),
  -- Work of sealed and carried credits that no amount holds.
  carry BLOB NOT NULL DEFAULT (zeroblob(16)) CHECK(length(carry) = 16),
  -- Shares of its credits but the open one.
  closed_shares INTEGER NOT NULL DEFAULT 0,
  -- Amounts of its confirmed credits, 16 bytes big-endian.
  confirmed BLOB NOT NULL DEFAULT (zeroblob(16)) CHECK(length(confirmed) = 16),
  frozen INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX account_owner ON account(identity, ifnull(payout_key, x''));

-- What the pool's own API set, for channels without a key.
CREATE TABLE payout(
  identity BLOB PRIMARY KEY CHECK(length(identity) <= 255),
  payout_key BLOB NOT NULL CHECK(length(payout_key) = 33),
  set_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE quote(
  quote_ref TEXT PRIMARY KEY,
  account_id INTEGER NOT NULL REFERENCES account(id),
  request TEXT NOT NULL UNIQUE,
  state INTEGER NOT NULL,
  candidate_quote_id TEXT UNIQUE,
  quote_id TEXT UNIQUE,
  expiry_s INTEGER NOT NULL DEFAULT 0,
  created_ms INTEGER NOT NULL,
  opened_ms INTEGER NOT NULL DEFAULT 0,
  payments INTEGER NOT NULL DEFAULT 0,
  paid_seen INTEGER NOT NULL DEFAULT 0,
  issued_seen INTEGER NOT NULL DEFAULT 0,
  last_read_ms INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_try_ms INTEGER NOT NULL DEFAULT 0,
  last_error TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX quote_account ON quote(account_id, created_ms);
CREATE INDEX quote_unfinished ON quote(next_try_ms) WHERE state IN (0, 1);
CREATE UNIQUE INDEX quote_taking ON quote(account_id) WHERE state IN (0, 1, 2);

CREATE TABLE credit(
  id INTEGER PRIMARY KEY,
  account_id INTEGER NOT NULL REFERENCES account(id),
  state INTEGER NOT NULL,
  scheme TEXT NOT NULL,
  work BLOB NOT NULL DEFAULT (zeroblob(16)) CHECK(length(work) = 16),
  shares INTEGER NOT NULL DEFAULT 0,
  -- What of both was told as accrued, and when.
  told_work BLOB NOT NULL DEFAULT (zeroblob(16)) CHECK(length(told_work) = 16),
  told_shares INTEGER NOT NULL DEFAULT 0,
  told_ms INTEGER NOT NULL,
  opened_ms INTEGER NOT NULL,
  -- From SEALED on, never changed.
  unit_work BLOB CHECK(length(unit_work) = 16),
  carry_in BLOB CHECK(length(carry_in) = 16),
  amount INTEGER,
  share_root BLOB CHECK(length(share_root) = 32),
  payment_id TEXT UNIQUE,
  quote_ref TEXT REFERENCES quote(quote_ref),
  frozen_from INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_try_ms INTEGER NOT NULL DEFAULT 0,
  sealed_ms INTEGER,
  sent_ms INTEGER,
  -- The number of the event that told of it: its place in the order of sending.
  sent_seq INTEGER NOT NULL DEFAULT 0,
  -- Set when it is confirmed or carried.
  settled_ms INTEGER,
  last_error TEXT,
  -- 0: all its shares are here; 1: some were deleted; 2: all were.
  pruned INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX credit_open ON credit(account_id) WHERE state = 0;
CREATE INDEX credit_account ON credit(account_id, id);
CREATE INDEX credit_waiting ON credit(state, id) WHERE state NOT IN (0, 5, 6);
CREATE INDEX credit_quote ON credit(quote_ref, state) WHERE quote_ref IS NOT NULL;
CREATE INDEX credit_prunable ON credit(settled_ms) WHERE settled_ms IS NOT NULL AND pruned < 2;

CREATE TABLE share(
  share_hash BLOB PRIMARY KEY CHECK(length(share_hash) = 32),
  credit_id INTEGER NOT NULL REFERENCES credit(id),
  work BLOB NOT NULL CHECK(length(work) = 16),
  height INTEGER NOT NULL,
  is_block INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  -- 24 bytes: session and submit of this listener. None: the pool's own door.
  origin BLOB CHECK(length(origin) = 24),
  worker BLOB NOT NULL CHECK(length(worker) <= 255)
) STRICT, WITHOUT ROWID;
CREATE INDEX share_credit ON share(credit_id);

-- Numbered from meta's event_seq in the same transaction, so that no number is ever left out.
CREATE TABLE event(
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  payload BLOB NOT NULL
) STRICT;

CREATE TABLE consumer(
  name TEXT PRIMARY KEY,
  acked_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
