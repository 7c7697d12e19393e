/** The table of workers: searched, sorted and paged by the service, so that any number is fine. */

import { address, get } from "./api.js";
import { byId, h, keyed, row, say, set, show } from "./dom.js";
import { ago, count, exact, hashrate, moment, NONE, percent, short } from "./format.js";

const PAGE = 50;
/** Letters at the end of a long name that are shown whatever the room. */
const TAIL = 12;

/** Columns: sort key of the API, title, class, and which way it is sorted first. */
const COLUMNS = [
  ["identity", "Worker", "who", "asc"],
  ["hashrate", "Hashrate", "num", "desc"],
  ["accepted", "Accepted", "num", "desc"],
  ["rejected", "Rejected", "num", "desc"],
  ["work", "Work", "num", "desc"],
  ["best", "Best", "num", "desc"],
  ["last_share", "Last share", "num", "desc"],
  ["online", "Channels", "num", "desc"],
];

const asked = { offset: 0, sort: "hashrate", order: "desc", q: "", online: false };
let opened = () => {};

/** Sets the table up. `changed` asks anew, `open(worker)` shows the details. */
export function initWorkers(changed, open) {
  opened = open;
  const from = (change) => {
    Object.assign(asked, { offset: 0 }, change);
    changed();
  };
  for (const [key, title, kind, first] of COLUMNS) {
    const sort = () => {
      const turned = asked.order === "asc" ? "desc" : "asc";
      from({ sort: key, order: asked.sort === key ? turned : first });
      showSort();
    };
    const button = () => h("button", { type: "button", "data-sort": key, on: { click: sort } }, title);
    byId("workers-head").append(
      h("th", { role: "columnheader", scope: "col", class: kind, "data-column": key }, button()));
    // Where there is no room for a head the same buttons stand above the table.
    byId("sorts").append(button());
  }
  let typing;
  byId("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => from({ q: byId("search").value.trim() }), 250);
  });
  byId("online").addEventListener("change", () => from({ online: byId("online").checked }));
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    from({ q: byId("search").value.trim() });
  });
  byId("workers-head").append(
    h("th", { role: "columnheader", scope: "col", class: "device" }, "Device"));
  showSort();
}

function query() {
  const { offset, sort, order, q, online } = asked;
  return { offset, limit: PAGE, sort, order, q, online: online ? "true" : null };
}

function showSort() {
  for (const head of byId("workers-head").children) {
    const on = head.dataset.column === asked.sort;
    set(head, "aria-sort", on ? (asked.order === "asc" ? "ascending" : "descending") : null);
  }
  for (const button of byId("sorts").children) {
    const on = button.dataset.sort === asked.sort;
    set(button, "aria-pressed", on);
    set(button, "data-order", on ? asked.order : null);
  }
}

/** Asks for the page of workers and shows it. `now()` is the service's clock. */
export async function refreshWorkers(signal, now) {
  const page = await get("workers", query(), signal);
  if (page.items.length === 0 && page.total > 0 && asked.offset > 0) {
    // There are fewer than before.
    asked.offset = Math.floor((page.total - 1) / PAGE) * PAGE;
    return refreshWorkers(signal, now);
  }
  showWorkers(page, now());
}

/** The page of workers. */
export function showWorkers(page, now) {
  const { sort, order, q, online } = asked;
  const search = { sort, order, q, online: online ? "true" : null };
  set(byId("csv"), "href", address("workers.csv", search).href);
  keyed(byId("workers-body"), page.items, (worker) => worker.id, create, (element, worker) =>
    update(element, worker, now));
  const filtered = q !== "" || online;
  const none = filtered ? "No worker matches." : "No worker has mined here yet.";
  say(byId("workers-none"), none);
  show(byId("workers-none"), page.items.length === 0);
  showPager(byId("workers-pager"), page, PAGE, (offset) => {
    asked.offset = offset;
    workersMoved();
  });
}

let workersMoved = () => {};
/** What to call after a turn of the page. */
export const onPage = (turned) => {
  workersMoved = turned;
};

function create(worker) {
  const spans = ["dot", "head", "tail", "sub"].map((part) => h("span", { class: part }));
  const name = h("button", { type: "button", class: "name" }, spans);
  const cells = COLUMNS.map(([key, title, kind], index) => [
    title, index === 0 ? [name, h("small")] : "", `${kind} c-${key}`,
  ]);
  const element = row([...cells, ["Device", "", "device"]]);
  const open = () => opened(element.worker);
  name.addEventListener("click", (event) => {
    event.stopPropagation();
    open();
  });
  element.addEventListener("click", () => {
    // Who selects text to copy it wants no drawer.
    if (getSelection().isCollapsed) {
      open();
    }
  });
  element.worker = worker;
  return element;
}

function update(element, worker, now) {
  element.worker = worker;
  const [who, rate, accepted, rejected, work, best, last, channels, device] = element.cells;
  const [dot, head, tail, sub] = who.firstChild.children;
  const on = worker.online > 0;
  set(dot, "data-state", on ? "up" : "off");
  set(dot, "title", on ? "online" : "offline");
  const cut = worker.identity.length > 2 * TAIL ? worker.identity.length - TAIL : worker.identity.length;
  say(head, worker.identity.slice(0, cut));
  say(tail, worker.identity.slice(cut));
  say(sub, worker.worker);
  set(who.firstChild, "title", [worker.identity, worker.worker].filter(Boolean).join(" / "));
  // Beside the figures where there is room, else below the name.
  const kind = [worker.vendor, worker.connection].filter(Boolean).join(" · ");
  say(who.lastChild, kind);
  say(device, kind);
  set(device, "title", kind);
  say(rate, hashrate(worker.hashrate_hs));
  say(accepted, count(worker.accepted));
  set(accepted, "title", exact(worker.accepted));
  const part = percent(worker.rejected, worker.accepted + worker.rejected);
  if (rejected.childElementCount === 0) {
    rejected.append(h("span"), " ", h("span", { class: "soft" }));
  }
  say(rejected.firstChild, count(worker.rejected));
  say(rejected.lastChild, worker.rejected === 0 ? "" : part);
  set(rejected, "data-odd", worker.rejected > 20 && worker.rejected > 0.05 * worker.accepted);
  say(work, short(worker.work));
  set(work, "title", exact(worker.work));
  say(best, short(worker.best));
  set(best, "title", exact(worker.best));
  say(last, ago(worker.last_share_ms, now));
  set(last, "title", worker.last_share_ms === null ? null : moment(worker.last_share_ms));
  say(channels, on ? count(worker.online) : NONE);
}

/** Buttons for the pages of a list, and which one it is. */
export function showPager(nav, page, size, go) {
  if (nav.childElementCount === 0) {
    const button = (text, name) => h("button", { type: "button", "data-go": name }, text);
    nav.append(
      button("First", "first"), button("Previous", "previous"), h("p", { role: "status" }),
      button("Next", "next"), button("Last", "last"));
    nav.addEventListener("click", (event) => nav.go?.(event.target.dataset?.go));
  }
  const last = Math.max(0, Math.floor((page.total - 1) / size) * size);
  const targets = {
    first: 0, previous: Math.max(0, page.offset - size), next: Math.min(last, page.offset + size), last,
  };
  nav.go = (name) => {
    if (name in targets && targets[name] !== page.offset) {
      go(targets[name]);
    }
  };
  for (const button of nav.querySelectorAll("button")) {
    // Not `disabled`: that would take the focus away from who pages by keyboard.
    set(button, "aria-disabled", targets[button.dataset.go] === page.offset ? "true" : null);
  }
  const end = page.offset + page.items.length;
  const which = `${exact(page.offset + 1)}–${exact(end)} of ${exact(page.total)}`;
  say(nav.querySelector("p"), page.total === 0 ? "" : which);
  show(nav, page.total > size);
}
