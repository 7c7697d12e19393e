/** Plots over a range of time, and the rejected shares of that time. */

import { get } from "./api.js";
import { byId, h, keyed, row, say, set, show } from "./dom.js";
import { count, exact, hashrate, latency, percent, short } from "./format.js";
import { Plot } from "./plots.js";
import { percentages, perMinute, RANGES, rolling, rows, windowOf } from "./series.js";
import { rejectMeaning } from "./words.js";

const KEY = "gopool-sv2-range";
const COLUMNS = [
  "hashrate_hs", "accepted", "rejected", "connections", "standard_channels", "extended_channels",
  "ack_p50_ms", "ack_p99_ms", "mint_waiting", "mint_confirmed",
];
const inPercent = (value) => percent(value, 100);
const rate = (value) => short(value);
/** Over a longer step it is an average. */
const whole = (value) => count(Math.round(value));

const plots = {
  hashrate: new Plot("hashrate", "Hashrate", [
    { label: "10 s", write: hashrate, ink: 0, faint: true },
    { label: "hashrate", write: hashrate, ink: 0, area: true },
  ]),
  shares: new Plot("shares", "Shares", [
    { label: "accepted a minute", write: rate, ink: 0, area: true },
    { label: "rejected", write: inPercent, ink: 1, scale: "z", least: 2 },
  ]),
  connections: new Plot("connections", "Connections and channels", [
    { label: "miners", write: whole, ink: 0, whole: true, least: 4 },
    { label: "standard", write: whole, ink: 2, whole: true },
    { label: "extended", write: whole, ink: 3, whole: true },
  ]),
  ack: new Plot("ack", "Answer time", [
    { label: "median", write: latency, ink: 0 },
    { label: "p99", write: latency, ink: 1 },
  ]),
  mint: new Plot("mint", "Mint", [
    { label: "credits waiting", write: whole, ink: 1, whole: true, least: 4 },
    { label: "confirmed", write: short, ink: 0, scale: "z" },
  ]),
};

/** The range that is looked at. */
export let range = RANGES[0];

/** Makes the plots and the buttons for ranges; `changed` is called for another one. */
export function initHistory(changed) {
  byId("plots").append(...Object.values(plots).map((plot) => plot.element));
  plots.mint.show(false);
  try {
    range = RANGES.find((one) => one.name === localStorage.getItem(KEY)) ?? range;
  } catch {
    // Storage may be forbidden: it begins with the first one.
  }
  byId("ranges").append(...RANGES.map((one) => {
    const radio = h("input", { type: "radio", name: "range", value: one.name });
    radio.checked = one === range;
    radio.addEventListener("change", () => {
      range = one;
      try {
        localStorage.setItem(KEY, one.name);
      } catch {
        // It holds until the page is loaded again.
      }
      changed();
    });
    return h("label", { title: `The ${one.title}` }, radio, h("span", {}, one.name));
  }));
}

/** How often the history is worth asking for. */
export const historyEvery = () => Math.min(60_000, Math.max(10_000, range.step / 5));

/** Asks for the history and draws it. `now()` is the service's clock. */
export async function refreshHistory(signal, now) {
  const asked = range;
  const { from, to, step } = windowOf(asked, now());
  const history = await get("history", { from, to, step }, signal);
  if (asked === range) {
    draw(history, asked, from, to, now());
  }
}

function draw(history, { title, smooth, step }, from, to, now) {
  const { t, columns: c } = rows(history, COLUMNS, now);
  const stepMs = history.step_ms;
  const common = { t, from, to, stepMs, title: `The ${title}` };
  // The service may have chosen longer steps: nothing to smooth then.
  const width = stepMs === step ? smooth : 1;
  const raw = width > 1 ? c.hashrate_hs : c.hashrate_hs.map(() => null);
  plots.hashrate.update({ ...common, values: [raw, rolling(c.hashrate_hs, width)] });
  const accepted = rolling(perMinute(c.accepted, stepMs), width);
  const rejected = rolling(perMinute(c.rejected, stepMs), width);
  plots.shares.update({ ...common, values: [accepted, percentages(rejected, accepted)] });
  plots.connections.update({ ...common, values: [c.connections, c.standard_channels, c.extended_channels] });
  plots.ack.update({ ...common, values: [c.ack_p50_ms, c.ack_p99_ms] });
  const mint = [c.mint_waiting, c.mint_confirmed];
  plots.mint.show(mint.some((values) => values.some((value) => value !== null)));
  plots.mint.update({ ...common, values: mint });
}

/** Asks for the rejected shares of the range and shows them. */
export async function refreshRejects(signal, now) {
  const asked = range;
  const { from, to } = windowOf(asked, now());
  const rejects = await get("rejects", { from, to }, signal);
  if (asked === range) {
    showRejects(rejects, asked.title);
  }
}

/** The table of rejected shares, most frequent first. */
export function showRejects(rejects, title) {
  const items = [...rejects.items].sort((a, b) => b.count - a.count);
  say(byId("rejects-range"), `${title}, ${exact(rejects.total)} in all`);
  keyed(
    byId("rejects-body"), items, (item) => item.reason,
    (item) => row([
      ["Reason", [h("span", { class: "reason" }, item.reason), h("small", {}, rejectMeaning(item.reason))]],
      ["Shares", "", "num"],
      ["Part", [h("span"), h("progress", { max: "1", "aria-hidden": "true" })], "num part"],
    ]),
    (element, item) => {
      const [, shares, part] = element.cells;
      say(shares, count(item.count));
      set(shares, "title", exact(item.count));
      say(part.firstChild, percent(item.count, rejects.total));
      part.lastChild.value = rejects.total > 0 ? item.count / rejects.total : 0;
    },
  );
  show(byId("rejects-none"), items.length === 0);
}
