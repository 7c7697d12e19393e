/** Everything about one worker, at the side: figures, the last day, and its sessions. */

import { get } from "./api.js";
import { byId, copyButton, facts, h, row, say, set, show } from "./dom.js";
import { ago, count, duration, ends, exact, hashrate, moment, NONE, percent, short, stamp } from "./format.js";
import { Plot } from "./plots.js";
import { repeat } from "./repeat.js";
import { rows } from "./series.js";

const DAY = 86_400_000;
const EVERY = 10_000;

const drawer = () => byId("drawer");
const lines = [{ label: "hashrate", write: hashrate, ink: 0, area: true }];
const plot = new Plot("worker", "Hashrate, last day", lines, "worker");
const parts = {
  facts: h("dl", { class: "facts" }),
  sessions: h("div", { class: "sessions" }),
};
let asking = null;

/** Sets the drawer up. */
export function initDrawer() {
  byId("drawer-body").append(parts.facts, plot.element, h("h3", {}, "Sessions"), parts.sessions);
  byId("drawer-close").addEventListener("click", () => drawer().close());
  // The dialog fills its box: what is hit outside of it is the backdrop.
  drawer().addEventListener("click", (event) => {
    if (event.target === drawer()) {
      drawer().close();
    }
  });
  drawer().addEventListener("close", () => asking?.stop());
}

/** Opens it for a worker of the table; Esc closes it, and the focus goes back. */
export function openDrawer(worker, now) {
  asking?.stop();
  title(worker);
  showFacts(worker, now());
  parts.sessions.replaceChildren(h("p", { class: "none" }, "Asking…"));
  const fault = drawer().querySelector(".fault");
  show(fault, false);
  if (!drawer().open) {
    drawer().showModal();
  }
  asking = repeat(
    async (signal) => {
      const account = await get(`accounts/${encodeURIComponent(worker.id)}`, {}, signal);
      showAccount(account, now());
    },
    () => EVERY,
    (error) => {
      say(fault, error === null ? "" : `Not refreshed: ${error.message}`);
      show(fault, error !== null);
    },
  );
}

function title(worker) {
  const name = [worker.identity, worker.worker].filter(Boolean).join(" / ");
  byId("drawer-title").replaceChildren(h("span", {}, name), " ", copyButton(name, "the name"));
}

function showAccount(account, now) {
  showFacts(account, now);
  const history = account.history;
  const { t, columns } = rows(history, ["hashrate_hs"], now);
  plot.update({
    t, values: [columns.hashrate_hs], from: now - DAY, to: now, stepMs: history.step_ms, title: "The last day",
  });
  showSessions(account.sessions, now);
}

function showFacts(worker, now) {
  const shares = worker.accepted + worker.rejected;
  const entries = [
    ["Hashrate", hashrate(worker.hashrate_hs)],
    ["Accepted", exact(worker.accepted)],
    ["Rejected", `${exact(worker.rejected)} (${percent(worker.rejected, shares)})`],
    ["Work", short(worker.work)],
    ["Best share", short(worker.best)],
    ["Channels open", count(worker.online)],
    ["Last share", ago(worker.last_share_ms, now)],
    ["Last activity", ago(worker.last_activity_ms, now)],
    ["First seen", moment(worker.first_seen_ms)],
    ["Device", worker.vendor],
    ["Connection", worker.connection],
  ];
  parts.facts.replaceChildren(...facts(entries));
}

function showSessions(sessions, now) {
  if (sessions.length === 0) {
    parts.sessions.replaceChildren(h("p", { class: "none" }, "No session is kept."));
    return;
  }
  const head = (text, kind) => h("th", { role: "columnheader", scope: "col", class: kind ?? null }, text);
  const body = sessions.map((session) => {
    const lasted = duration((session.ended_ms ?? now) - session.opened_ms);
    const open = session.ended_ms === null;
    const device = [session.vendor, session.hardware, session.firmware].filter(Boolean).join(" · ");
    const more = [
      `${session.kind} channel ${session.channel_id}`,
      `connection ${session.connection_id}`,
      session.address === null ? "" : `from ${session.address}`,
      `flags ${session.flags}`,
      session.extensions.length === 0 ? "" : `extensions ${session.extensions.map(extension).join(", ")}`,
      `at ${session.sidecar}`,
    ].filter(Boolean);
    const ended = open ? `open for ${lasted}` : `${lasted}, ended: ${session.reason ?? "unknown"}`;
    const element = row([
      ["Opened", [
        h("span", { class: "dot", "data-state": open ? "up" : "off" }),
        stamp(session.opened_ms, now), h("small", {}, ended),
      ]],
      ["Device", [device === "" ? NONE : device, h("small", {}, more.join(", "))]],
      ["Accepted", count(session.accepted), "num"],
      ["Rejected", count(session.rejected), "num"],
      ["Work", short(session.work), "num"],
    ]);
    set(element, "title", moment(session.opened_ms));
    return element;
  });
  const table = h("table", { role: "table" },
    h("caption", { class: "unseen" }, "Sessions of this worker, newest first"),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      head("Opened"), head("Device"), head("Accepted", "num"), head("Rejected", "num"), head("Work", "num"))),
    h("tbody", { role: "rowgroup" }, body));
  parts.sessions.replaceChildren(table);
}

const extension = (id) => (typeof id === "number" ? `0x${id.toString(16).padStart(4, "0")}` : ends(id));
