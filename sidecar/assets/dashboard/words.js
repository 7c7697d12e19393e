/** What codes mean, and what to do: for people who see them for the first time. */

const REJECTS = {
  "stale-share":
    "Work of an older block. A few at each new block are normal; many: slow lines to miners or to the node.",
  "duplicate-share": "The same share twice: usually the miner's firmware, or two proxies on one prefix.",
  "difficulty-too-low": "Easier than the target. Some right after a new target are normal.",
  "invalid-job-id": "A job that the channel never had: a miner that mixes up its connections.",
  "invalid-channel-id": "A channel that is closed, or never was.",
  "bad-extranonce-size": "An extranonce of the wrong length: the miner's firmware or proxy.",
  "version-rolling-not-allowed": "The job forbids version rolling. See the pool's version mask.",
  "invalid-non-rollable-version-bit": "A version bit outside the mask was changed: the miner's firmware.",
  "ntime-too-old": "The block time is before the job allows: the miner's clock or firmware.",
  "ntime-too-new": "The block time is too far ahead: the miner's clock, or the clock here.",
  "invalid-share": "Worth nothing for another reason; the pool's log says which.",
  "rate-limited": "More shares than the pool takes: its difficulty for this worker is too low.",
  "backend-unavailable": "Nobody could judge it: the pool was away. See its health and log.",
  unauthorized: "The worker may not mine here, or no longer.",
};

/** What a reason of a rejected share means. */
export const rejectMeaning = (reason) => REJECTS[reason] ?? "";

const REMEDIES = {
  pool: "Is the pool running, and is [pool].address of the sidecar right? Miners get no new work until it is back.",
  template: "No new work from the pool: look at its log and at its Bitcoin node.",
  ledger: "Shares with payout keys are refused until it can be written: is the disk full, or its path wrong?",
  mint: "Credits wait and are sent when the mint is back: is it running, and are its address and certificates right?",
  sink: "Events are kept until it is back. Is it running, and is its address right?",
};

/** What to do about a dependency, where it doesn't say so itself. */
export function remedy(dependency) {
  if (dependency.detail) {
    return dependency.detail;
  }
  if (dependency.state === "up" || dependency.state === "off") {
    return "";
  }
  return REMEDIES[String(dependency.name).split(":")[0]] ?? "See the sidecar's log.";
}

const CREDITS = {
  open: "still takes shares",
  closed: "complete, gets its amount next",
  sealed: "has an amount, needs a deposit quote",
  assigned: "has a deposit quote, is sent next",
  sent: "sent, the mint has not shown it yet",
  frozen: "held back by the operator",
  lost: "the mint does not know its quote: `gopool-sv2 ledger stuck`",
};

/** What a state of a credit means. */
export const creditMeaning = (state) => CREDITS[state] ?? "";
