-- When the last credit was settled whose shares are deleted: what was accepted until then may have
-- been recorded, and is not known any more.
INSERT INTO meta(key, value)
  SELECT 'forgotten_ms', ifnull(max(settled_ms), 0) FROM credit WHERE pruned > 0;
