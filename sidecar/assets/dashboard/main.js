/** Puts the page together: what is asked when, and what follows from what. */

import { Refused, Unreached } from "./api.js";
import { byId, say, show } from "./dom.js";
import { initDrawer, openDrawer } from "./drawer.js";
import { clock } from "./format.js";
import { showHealth, showMint } from "./health.js";
import { historyEvery, initHistory, refreshHistory, refreshRejects } from "./history.js";
import { initEvents, onBlocksPage, refreshBlocks, refreshEvents } from "./lists.js";
import { follow } from "./live.js";
import { repeat } from "./repeat.js";
import { showAbout, showStanding, showTiles } from "./summary.js";
import { initWorkers, onPage, refreshWorkers } from "./workers.js";

let summary = null;
let link = { state: "connecting" };
let heardAt = null;
/** By how much the service's clock is ahead of this one: ages are by its clock. */
let ahead = 0;

const now = () => Date.now() + ahead;
const time = () => ({ now: now(), here: Date.now(), heardAt });

/** A panel that asks by itself; its faults stand in its head, and what it showed stays. */
function panel(id, refresh, every) {
  const fault = byId(id).querySelector(".fault");
  let refreshed = null;
  return repeat(
    async (signal) => {
      await refresh(signal, now);
      refreshed = Date.now();
    },
    every,
    (error) => {
      // That the service is away stands at the top of the page already.
      const told = error !== null && !(error instanceof Unreached && refreshed !== null && link.state === "lost");
      const old = refreshed === null ? "" : ` Shown is what came at ${clock(refreshed)}.`;
      say(fault, told ? `Not refreshed: ${error.message}.${old}` : "");
      show(fault, told);
      if (error !== null && !(error instanceof Refused || error instanceof Unreached)) {
        console.error(error); // A fault of this page.
      }
    },
  );
}

const seconds = (n) => () => n * 1_000;

function start() {
  let [history, rejects] = [null, null];
  initHistory(() => {
    history.now();
    rejects.now();
  });
  initDrawer();
  let workers = null;
  initWorkers(() => workers.now(), (worker) => openDrawer(worker, now));
  onPage(() => workers.now());
  let events = null;
  initEvents(() => events.now());

  history = panel("history", refreshHistory, historyEvery);
  rejects = panel("rejects", refreshRejects, seconds(20));
  workers = panel("workers", refreshWorkers, seconds(10));
  events = panel("events", refreshEvents, seconds(5));
  const blocks = panel("blocks", refreshBlocks, seconds(30));
  onBlocksPage(() => blocks.now());
  const panels = [history, rejects, workers, events, blocks];

  const heard = (newer) => {
    const found = summary !== null && JSON.stringify(newer.blocks) !== JSON.stringify(summary.blocks);
    const back = link.state === "lost";
    [summary, ahead] = [newer, newer.now_ms - Date.now()];
    showTiles(summary, now());
    showHealth(summary, now());
    showMint(summary.mint, now());
    showAbout(summary, now());
    if (found) {
      blocks.now();
    }
    if (back) {
      panels.forEach((one) => one.now());
    }
  };
  const { retry } = follow(heard, (changed) => {
    link = changed;
    heardAt = changed.state === "lost" ? heardAt : Date.now();
    showStanding(summary, link, time());
  });
  byId("retry").addEventListener("click", retry);
  // Ages grow also while nothing comes.
  setInterval(() => showStanding(summary, link, time()), 1_000);
  showStanding(summary, link, time());
}

start();
