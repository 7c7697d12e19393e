/** Blocks and events: what happened, newest first. */

import { get } from "./api.js";
import { byId, copyButton, h, keyed, row, say, set, show } from "./dom.js";
import { exact, moment, NONE, stamp } from "./format.js";
import { showPager } from "./workers.js";

const BLOCKS = 10;
/** Events that are shown; older ones are in the service's database. */
const EVENTS = 200;

let blocksOffset = 0;
let turned = () => {};
/** What to call after a turn of the page of blocks. */
export const onBlocksPage = (changed) => {
  turned = changed;
};

/** Asks for the page of blocks and shows it. */
export async function refreshBlocks(signal, now) {
  const page = await get("blocks", { offset: blocksOffset, limit: BLOCKS }, signal);
  showBlocks(page, now());
}

/** The page of blocks. */
export function showBlocks(page, now) {
  keyed(
    byId("blocks-body"), page.items, (block) => `${block.hash} ${block.at_ms}`,
    (block) => row([
      ["Found", ""], ["Height", "", "num"],
      ["Hash", [h("code", { title: block.hash }, `…${block.hash.slice(-8)}`), copyButton(block.hash, "the hash")]],
      ["The node says", [h("span", { class: "chip" }), h("small")]],
      ["By", "", "by"],
    ]),
    (element, block) => {
      const [found, height, , node, by] = element.cells;
      say(found, stamp(block.at_ms, now));
      set(found, "title", moment(block.at_ms));
      say(height, block.height === null ? NONE : exact(block.height));
      const state = block.accepted === null ? "unknown" : block.accepted ? "accepted" : "refused";
      say(node.firstChild, state === "unknown" ? "waiting" : state);
      set(node.firstChild, "data-state", state);
      set(node.firstChild, "title", state === "unknown" ? "The node has not answered yet" : null);
      say(node.lastChild, block.detail ?? "");
      const name = [block.identity, block.worker].filter(Boolean).join(" / ");
      say(by, name);
      set(by, "title", `${name} at ${block.sidecar}`);
    },
  );
  show(byId("blocks-none"), page.items.length === 0);
  // The service may not count them.
  const total = page.total ?? page.offset + page.items.length;
  showPager(byId("blocks-pager"), { ...page, total }, BLOCKS, (offset) => {
    blocksOffset = offset;
    turned();
  });
}

let events = [];
let paused = false;

/** Sets the events up; `resumed` is called when they go on. */
export function initEvents(resumed) {
  const button = byId("events-pause");
  button.addEventListener("click", () => {
    paused = !paused;
    set(button, "aria-pressed", String(paused));
    say(button, paused ? "Go on" : "Pause");
    if (!paused) {
      resumed();
    }
  });
}

/** Asks for events since the last ones and shows them. */
export async function refreshEvents(signal, now) {
  if (paused) {
    return;
  }
  const after = events[0]?.id;
  const answer = await get("events", { after, limit: after === undefined ? EVENTS : 500 }, signal);
  showEvents(answer.items, now());
}

/** Adds events, newest last, to those that are shown. */
export function showEvents(items, now) {
  const known = new Set(events.map((event) => event.id));
  const fresh = items.filter((event) => !known.has(event.id)).reverse();
  events = [...fresh, ...events].slice(0, EVENTS);
  keyed(
    byId("events-list"), events, (event) => event.id,
    (event) => h("li", { "data-kind": event.kind },
      h("time", { datetime: new Date(event.at_ms).toISOString(), title: moment(event.at_ms) }),
      h("span", { class: "kind" }, event.kind), h("span", { class: "text" }, event.text),
      h("span", { class: "by" }, event.sidecar)),
    (element, event) => say(element.firstChild, stamp(event.at_ms, now)),
  );
  show(byId("events-none"), events.length === 0);
}
