/** The head of the page, its banner, and the tiles. */

import { byId, h, keyed, prose, say, set, show } from "./dom.js";
import {
  ago, count, duration, ends, exact, hashrate, hashrateParts, latency, moment, NONE, percent, short,
} from "./format.js";
import { standing } from "./standing.js";

/** The head and the banner: how everything stands, and how old that is. */
export function showStanding(summary, link, time) {
  const now = standing(summary, link, time);
  set(byId("state"), "data-level", now.level);
  say(byId("state-word"), now.word);
  const fresh = time.heardAt !== null && now.word !== "Stale";
  say(byId("heard"), fresh ? `updated ${ago(time.heardAt, time.here)}` : "");
  const banner = byId("banner");
  set(banner, "data-level", now.level);
  prose(byId("banner-text"), now.text);
  say(byId("banner-aside"), now.aside);
  show(banner, now.text !== "");
  show(byId("retry"), link.state === "lost");
  set(document.body, "data-old", now.word === "Reconnecting" || now.word === "Stale");
  const rate = summary === null ? "" : `${hashrate(summary.hashrate_hs.m10)} · `;
  const title = `${now.word === "Serving" ? "" : `${now.word} · `}${rate}Stratum V2`;
  if (document.title !== title) {
    document.title = title;
  }
}

/** What the tiles say: [title, figures, lines]; a figure is [value, unit, label, exact value]. */
export function tiles(summary, now) {
  const { hashrate_hs: rates, shares, last_day: day, best, blocks, channels } = summary;
  const rate = (hs, label) => [...hashrateParts(hs), label, hs === null ? "" : `${exact(hs)} H/s`];
  const number = (n, label = "") => [count(n), "", label, exact(n)];
  const ack = (ms) => latency(ms).split("\u202f");
  return [
    {
      key: "hashrate", title: "Hashrate",
      figures: [
        rate(rates.m1, "1 min"), rate(rates.m10, "10 min"), rate(rates.h1, "1 h"), rate(rates.d1, "1 d"),
      ],
      lines: [],
    },
    {
      key: "shares", title: "Shares, last day",
      figures: [number(day.accepted, "accepted"), number(day.rejected, "rejected")],
      lines: shares.accepted + shares.rejected === 0 ? [] : [
        `${percent(day.rejected, day.accepted + day.rejected)} rejected; ever ` +
          `${count(shares.accepted)}, ${percent(shares.rejected, shares.accepted + shares.rejected)}`,
      ],
    },
    {
      key: "ack", title: "Answer time, 10 min",
      figures: [
        [...pair(ack(summary.ack_ms.p50)), "median", ""], [...pair(ack(summary.ack_ms.p99)), "p99", ""],
      ],
      lines: [`p90 ${latency(summary.ack_ms.p90)}`],
    },
    {
      key: "workers", title: "Workers",
      figures: [number(summary.workers.online, "online"), number(summary.workers.known, "known")],
      lines: [],
    },
    {
      key: "connections", title: "Connections",
      figures: [
        number(summary.connections, "miners"), number(channels.standard + channels.extended, "channels"),
      ],
      lines: [`${count(channels.standard)} standard, ${count(channels.extended)} extended`],
    },
    {
      key: "best", title: "Best share",
      figures: [[short(best?.difficulty), "", best === null ? "" : ago(best.at_ms, now), exact(best?.difficulty)]],
      lines: best === null ? [] : [nameOf(best, (name) => ends(name, 14))],
      hint: best === null ? "" : nameOf(best, String),
    },
    {
      key: "blocks", title: "Blocks",
      figures: [number(blocks.found, "found"), number(blocks.accepted, "accepted")],
      lines: [
        `${count(blocks.refused)} refused` + (blocks.unknown > 0 ? `, ${count(blocks.unknown)} waiting` : ""),
      ],
    },
  ];
}

const nameOf = (one, write) => [one.identity, one.worker].filter(Boolean).map(write).join(" / ");

const pair = ([value, unit]) => [value, unit ?? ""];

/** Draws the tiles. */
export function showTiles(summary, now) {
  keyed(byId("tiles"), tiles(summary, now), (tile) => tile.key, create, update);
}

function create(tile) {
  return h(
    "div", { class: `tile tile-${tile.key}` },
    h("h3", {}, tile.title),
    h("div", { class: "figures" }, tile.figures.map(() =>
      h("p", { class: "figure" }, ["value", "unit", "label"].map((part) => h("span", { class: part }))),
    )),
    h("div", { class: "lines" }),
  );
}

function update(element, tile) {
  const figures = element.querySelectorAll(".figure");
  tile.figures.forEach(([value, unit, label, title], index) => {
    const [shown, measure, name] = figures[index].children;
    say(shown, value);
    say(measure, unit);
    say(name, label);
    set(figures[index], "title", title === "" || title === NONE || title === value ? null : title);
  });
  keyed(
    element.querySelector(".lines"), tile.lines.map((text, index) => ({ text, index })),
    (line) => line.index, () => h("p"),
    (line, { text }) => {
      say(line, text);
      set(line, "title", tile.hint ?? text);
    },
  );
}

/** The foot: which program says all this. */
export function showAbout(summary, now) {
  const up = duration(now - summary.started_ms);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  say(byId("about"), `gopool-sv2 stats ${summary.version}, up for ${up}. Times are those of ${zone}.`);
  set(byId("about"), "title", `since ${moment(summary.started_ms)}`);
}
