/** How everything stands, in one word and one sentence. Pure. */

import { clock, duration, moment } from "./format.js";
import { remedy } from "./words.js";

/** Without a word from the service for so long, figures are called old. */
const QUIET_MS = 20_000;

/**
 * What the head of the page says.
 *
 * @param {object|null} summary the newest one.
 * @param {{state: string, error?: Error, retryAt?: number}} link how the line to the service is.
 * @param {{now: number, here: number, heardAt: number|null}} time the service's clock, this one, and
 *   when the newest summary came by this one.
 * @returns {{level: string, word: string, text: string, aside: string}} level is "good", "warn", "bad"
 *   or "idle"; the text is empty where there is nothing to do, and changes only when something happens
 *   (it is read out); aside is what changes with the time.
 */
export function standing(summary, link, time) {
  const quiet = time.heardAt === null || time.here - time.heardAt > QUIET_MS;
  if (link.state === "lost" && (quiet || summary === null)) {
    return lost(summary, link, time);
  }
  if (summary === null) {
    return said("idle", "Connecting", "");
  }
  // Before the first one ever everything is stale, too.
  if (summary.sidecars.length === 0) {
    const text =
      "No sidecar has reported yet. Set [stats].sink in sidecar.toml to what [stats].events says here.";
    return said("idle", "Waiting", text);
  }
  const since = summary.stale_since_ms;
  if (since !== null) {
    const text =
      `Stale since ${moment(since)}: no sidecar is heard, and figures are those of then. ` +
      "Does the sidecar run, and does its [stats].sink name this service?";
    return said("bad", "Stale", text, `${duration(time.now - since)} by now.`);
  }
  return troubles(summary);
}

const said = (level, word, text, aside = "") => ({ level, word, text, aside });

/** With a capital and a full stop. */
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

function lost(summary, link, time) {
  const wait = Math.ceil(((link.retryAt ?? time.here) - time.here) / 1_000);
  const next = wait > 0 ? `Next try in ${wait} s.` : "Trying again.";
  const old = summary === null ? "" : ` Figures are those of ${clock(time.heardAt)}.`;
  const why = link.error?.message ?? "the line to the statistics service is down";
  const text = `${sentence(why)} Mining does not depend on it.${old}`;
  return said("bad", "Reconnecting", text, next);
}

/** The sidecars that count: one that was not heard for a day was taken away, or has another name. */
export function sidecars(summary) {
  const day = 86_400_000;
  return summary.sidecars.filter(
    (sidecar) => sidecar.connected || sidecar.last_event_ms > summary.now_ms - day);
}

function troubles(summary) {
  const present = sidecars(summary);
  const heard = new Set(present.filter((sidecar) => sidecar.connected).map(({ id }) => id));
  const health = summary.health.filter(
    (one) => heard.has(one.sidecar) && (one.state === "down" || one.state === "degraded"));
  const away = present.filter((sidecar) => !sidecar.connected);
  const many = present.length > 1;
  const texts = health.map((one) => {
    const of = many ? ` of ${one.sidecar}` : "";
    return sentence(`${one.name}${of} is ${one.state}: ${remedy(one)}`);
  });
  for (const sidecar of away) {
    texts.push(`Sidecar ${sidecar.id} was last heard at ${moment(sidecar.last_event_ms)}.`);
  }
  if (summary.mint?.sending_stopped && !health.some((one) => one.name === "mint")) {
    texts.push("Nothing is sent to the mint: `gopool-sv2 ledger reconcile` says why.");
  }
  if (texts.length === 0) {
    return said("good", "Serving", "");
  }
  const shown = texts.slice(0, 3).join(" ") + (texts.length > 3 ? ` And ${texts.length - 3} more: see Health.` : "");
  const poolless = new Set(
    health.filter((one) => one.name === "pool" && one.state === "down").map((one) => one.sidecar));
  // Others may still serve while one has lost its pool.
  return heard.size > 0 && poolless.size === heard.size
    ? said("bad", "Not serving", shown)
    : said("warn", "Degraded", shown);
}
