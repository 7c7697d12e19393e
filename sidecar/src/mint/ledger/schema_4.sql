-- When the last credit was settled whose shares are deleted: what was accepted until then may have
-- been recorded, and is not known any more.
INSERT INTO meta(key, value)
  SELECT 'forgotten_ms', ifnull(max(settled_ms), 0) FROM credit WHERE pruned > 0;

-- Those that are read because nobody has read them for long.
CREATE INDEX quote_idle ON quote(last_read_ms) WHERE quote_id IS NOT NULL;
