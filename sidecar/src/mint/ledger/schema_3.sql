-- Version 3 of the ledger: what sinks of events can have, where credits were sent before, and which
-- quotes were looked at.

-- To whom events were sent.
CREATE TABLE sink(
  name TEXT PRIMARY KEY,
  -- The highest number that it can have from here. None: events flow to it, it may have any.
  bound INTEGER,
  -- What it had, and what the newest was here, when it was first seen to have more than that.
  ahead INTEGER,
  newest INTEGER
) STRICT, WITHOUT ROWID;
-- A ledger that was used may have sent all it has.
INSERT INTO sink(name) SELECT 'pool' FROM meta WHERE key = 'event_seq';

-- Quotes that the mint did not know any more, with what was sent on them and is not there now.
CREATE TABLE former(
  credit_id INTEGER NOT NULL REFERENCES credit(id),
  quote_ref TEXT NOT NULL REFERENCES quote(quote_ref),
  -- The later quote that was open at the mint when it still did not know this one.
  gone_on TEXT,
  PRIMARY KEY(credit_id, quote_ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_quote ON former(quote_ref);
INSERT INTO former(credit_id, quote_ref)
  SELECT id, quote_ref FROM credit WHERE state = 8 OR state = 7 AND frozen_from = 8;

-- 1: what the mint shows of it was looked at since the ledger was opened, or it is new since then.
ALTER TABLE quote ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
CREATE INDEX quote_unseen ON quote(quote_ref) WHERE state = 2 AND seen = 0;
