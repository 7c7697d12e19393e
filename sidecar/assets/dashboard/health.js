/** How each dependency of each sidecar stands, and the way of credits to the mint. */

import { byId, facts, h, keyed, prose, row, say, set, show } from "./dom.js";
import { ago, count, duration, exact, moment } from "./format.js";
import { sidecars } from "./standing.js";
import { creditMeaning, remedy } from "./words.js";

const RANK = { down: 0, degraded: 1, unknown: 2, up: 3, off: 4 };
const rank = (one) => RANK[one.state] ?? 1;

/** The list of dependencies: what is wrong comes first, the rest is short. */
export function showHealth(summary, now) {
  const present = sidecars(summary);
  const connected = new Map(present.map((sidecar) => [sidecar.id, sidecar.connected]));
  const many = present.length > 1;
  const all = summary.health
    .filter((one) => connected.has(one.sidecar))
    // Of who is not heard only the past is known.
    .map((one) => ({
      ...one, said: one.state, state: connected.get(one.sidecar) || one.state === "off" ? one.state : "unknown",
    }))
    .map((one, index) => ({ ...one, index, key: `${one.sidecar}/${one.name}` }))
    .sort((a, b) => rank(a) - rank(b) || a.index - b.index);
  const items = many ? [...all.filter((one) => rank(one) < 2), ...groups(present, all)] : all;
  keyed(
    byId("health-list"), items, (item) => item.key,
    (item) => (item.parts === undefined ? createOne() : createGroup()),
    (element, item) => (item.parts === undefined ? updateOne(element, item, many, now) : updateGroup(element, item)),
  );
  show(byId("health-none"), all.length === 0);
}

/** A line for each sidecar, with what it has and depends on. */
const groups = (present, all) =>
  present.map(({ id }) => ({
    key: `${id}`, id, parts: all.filter((one) => one.sidecar === id && one.state !== "off"),
  }));

const createOne = () =>
  h("li", {}, ["dot", "name", "word", "since", "remedy"].map((part) => h("span", { class: part })));

function updateOne(element, one, many, now) {
  const [, name, word, since, what] = element.children;
  set(element, "data-state", one.state);
  say(name, many ? `${one.sidecar} ${one.name}` : one.name);
  say(word, one.state === "unknown" ? `was ${one.said}` : one.state);
  say(since, heard(one, now));
  set(since, "title", one.since_ms === null ? null : `${one.said} since ${moment(one.since_ms)}`);
  prose(what, one.state === "unknown" ? "" : remedy(one));
}

const createGroup = () => h("li", { class: "group" }, h("strong"), h("span", { class: "parts" }));

function updateGroup(element, { id, parts }) {
  say(element.firstChild, id);
  keyed(
    element.lastChild, parts, (one) => one.key,
    () => h("span", {}, h("span", { class: "dot" }), h("span")),
    (part, one) => {
      set(part, "data-state", one.state);
      set(part, "title", one.state === "unknown" ? `was ${one.said}` : one.state);
      say(part.lastChild, one.state === "up" ? one.name : `${one.name} ${one.state}`);
    },
  );
}

function heard(one, now) {
  if (one.state === "off" || one.state === "unknown") {
    return "";
  }
  const trouble = one.state !== "up";
  if (trouble && one.since_ms !== null) {
    return `for ${duration(now - one.since_ms)}`;
  }
  return one.age_ms === null ? "" : `heard ${ago(-one.age_ms, 0)}`;
}

/** The mint's panel; there is none without a mint. */
export function showMint(mint, now) {
  show(byId("mint"), mint !== null);
  if (mint === null) {
    return;
  }
  const body = byId("mint-body");
  if (body.childElementCount === 0) {
    body.append(
      h("p", { class: "alarm", role: "status", hidden: true }), h("dl", { class: "facts" }), creditTable(),
      h("p", { class: "none" }, "No credit waits."),
    );
  }
  const [alarm, list, table, none] = body.children;
  const stopped = "Sending is stopped until the operator has looked: `gopool-sv2 ledger reconcile` says why, " +
    "`gopool-sv2 ledger resume` goes on.";
  prose(alarm, mint.sending_stopped ? stopped : "");
  show(alarm, mint.sending_stopped);
  const oldest = mint.oldest_unconfirmed_ms > 0 ? mint.oldest_unconfirmed_ms : null;
  const entries = [
    ["Confirmed", exact(mint.confirmed)],
    ["Oldest unconfirmed", oldest === null ? "none" : `sent ${duration(now - oldest)} ago`],
    ["Surplus at the mint", exact(mint.surplus)],
  ];
  keyed(
    list, entries, ([term]) => term, (entry) => facts([entry])[0],
    (element, [term, value]) => {
      say(element.lastChild, value);
      const odd = (term === "Surplus at the mint" && mint.surplus > 0) ||
        (term === "Oldest unconfirmed" && oldest !== null && now - oldest > 900_000);
      set(element, "data-odd", odd);
    },
  );
  const credits = mint.credits.filter((credit) => credit.count > 0);
  keyed(
    table.tBodies[0], credits, (credit) => credit.state,
    (credit) => row([
      ["State", [h("span", { class: "reason" }, credit.state), h("small")]],
      ["Credits", "", "num"],
      ["Amount", "", "num"],
    ]),
    (element, credit) => {
      prose(element.cells[0].lastChild, creditMeaning(credit.state));
      set(element, "data-state", credit.state);
      say(element.cells[1], count(credit.count));
      say(element.cells[2], credit.amount === 0 ? "" : exact(credit.amount));
    },
  );
  show(table, credits.length > 0);
  show(none, credits.length === 0);
}

function creditTable() {
  const head = (text, kind) => h("th", { role: "columnheader", scope: "col", class: kind ?? null }, text);
  return h("table", { role: "table" },
    h("caption", { class: "unseen" }, "Credits that wait, by state"),
    h("thead", { role: "rowgroup" },
      h("tr", { role: "row" }, head("Credits that wait"), head("Count", "num"), head("Amount", "num"))),
    h("tbody", { role: "rowgroup" }));
}
