-- Version 2 of the ledger: quotes that wallets made by themselves. Runs without foreign keys, for a
-- table is replaced that others point to; they are checked at its end.

CREATE TABLE quote_2(
  quote_ref TEXT PRIMARY KEY,
  -- The account that it was made for. None: a wallet made it, and it is its key's.
  account_id INTEGER REFERENCES account(id),
  payout_key BLOB NOT NULL CHECK(length(payout_key) = 33),
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
INSERT INTO quote_2
  SELECT quote_ref, account_id, payout_key, request, state, candidate_quote_id, quote_id, expiry_s,
    created_ms, opened_ms, payments, paid_seen, issued_seen, last_read_ms, attempts, next_try_ms,
    last_error
  FROM quote JOIN account ON account.id = account_id;
DROP TABLE quote;
ALTER TABLE quote_2 RENAME TO quote;
CREATE INDEX quote_account ON quote(account_id, created_ms);
CREATE INDEX quote_unfinished ON quote(next_try_ms)
  WHERE state IN (0, 1) AND account_id IS NOT NULL;
CREATE UNIQUE INDEX quote_taking ON quote(account_id)
  WHERE state IN (0, 1, 2) AND account_id IS NOT NULL;
CREATE INDEX quote_open ON quote(opened_ms) WHERE state = 2;
CREATE INDEX quote_unread ON quote(last_read_ms) WHERE state IN (2, 3);
CREATE INDEX quote_unused ON quote(created_ms) WHERE state = 1 AND account_id IS NULL;

-- The quote that the shares' channels named. Not of those that the ledger must have: it is
-- forgotten when nobody uses it.
ALTER TABLE credit ADD COLUMN wish TEXT;
DROP INDEX credit_open;
CREATE UNIQUE INDEX credit_open ON credit(account_id, ifnull(wish, '')) WHERE state = 0;

-- What waits is looked for each second, among all credits that ever were, and for each account: the
-- indexes of version 1 were of no use for that.
DROP INDEX credit_waiting;
CREATE INDEX credit_state ON credit(state, id);
DROP INDEX credit_account;
CREATE INDEX credit_account ON credit(account_id, state);

-- What an account has to do with a quote that its channels named.
CREATE TABLE naming(
  account_id INTEGER NOT NULL REFERENCES account(id),
  quote_ref TEXT NOT NULL,
  -- 1: the quote takes credits of the account.
  takes INTEGER NOT NULL,
  -- Credits of the account that were assigned to it.
  payments INTEGER NOT NULL DEFAULT 0,
  -- Work of sealed credits for it that no amount holds; goes to the account when it takes no more.
  carry BLOB NOT NULL DEFAULT (zeroblob(16)) CHECK(length(carry) = 16),
  PRIMARY KEY(account_id, quote_ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX naming_quote ON naming(quote_ref);
