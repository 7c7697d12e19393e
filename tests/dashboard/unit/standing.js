/** One word for how everything stands. */

import { standing } from "/assets/standing.js";
import { equal, test } from "./check.js";

const NOW = Date.UTC(2026, 10, 22, 14, 5, 9);
const time = { now: NOW, here: NOW, heardAt: NOW - 1_000 };
const LIVE = { state: "live" };

const summary = (changes = {}) => ({
  now_ms: NOW, stale_since_ms: null, mint: null,
  sidecars: [{ id: "a", connected: true, last_event_ms: NOW, since_ms: NOW }],
  health: [{ sidecar: "a", name: "pool", state: "up", age_ms: 1, since_ms: 1, detail: "" }],
  ...changes,
});
const pool = (sidecar, state, detail = "") => ({ sidecar, name: "pool", state, age_ms: 1, since_ms: 1, detail });
const told = (changes, link = LIVE, at = time) => {
  const { level, word, text } = standing(changes === null ? null : summary(changes), link, at);
  return [level, word, text];
};

test("serves when all is well", () => {
  equal(told({}), ["good", "Serving", ""]);
  equal(told({ health: [pool("a", "off")] }), ["good", "Serving", ""]);
});

test("connects before it knows", () => {
  equal(told(null), ["idle", "Connecting", ""]);
});

test("says that no sidecar has come yet, which is stale too", () => {
  equal(told({ sidecars: [], stale_since_ms: 5 }).slice(0, 2), ["idle", "Waiting"]);
});

test("says since when figures are old", () => {
  const [level, word, text] = told({ stale_since_ms: NOW - 60_000 });
  equal([level, word, text.startsWith("Stale since 22 Nov 2026, 14:04:09")], ["bad", "Stale", true]);
});

test("says what is wrong and what to do", () => {
  equal(told({ health: [pool("a", "degraded", "it is slow")] }), ["warn", "Degraded", "Pool is degraded: it is slow."]);
  const [level, word, text] = told({ health: [pool("a", "down")] });
  equal([level, word, text.includes("[pool].address")], ["bad", "Not serving", true]);
});

test("serves on where only one of several pools is away", () => {
  const sidecars = ["a", "b"].map((id) => ({ id, connected: true, last_event_ms: NOW, since_ms: NOW }));
  equal(told({ sidecars, health: [pool("a", "down", "x"), pool("b", "up")] }), ["warn", "Degraded", "Pool of a is down: x."]);
  equal(told({ sidecars, health: [pool("a", "down", "x"), pool("b", "down", "y")] })[1], "Not serving");
});

test("counts a sidecar that is away for a day, and then forgets it", () => {
  const gone = (ms) => ({ id: "b", connected: false, last_event_ms: NOW - ms, since_ms: 0 });
  const here = summary().sidecars[0];
  equal(told({ sidecars: [here, gone(3_600_000)] })[1], "Degraded");
  const health = [pool("a", "up"), pool("b", "down", "x")];
  equal(told({ sidecars: [here, gone(90_000_000)], health })[1], "Serving");
});

test("says that nothing is sent to the mint", () => {
  equal(told({ mint: { sending_stopped: true } })[1], "Degraded");
});

test("keeps quiet about a line that comes back at once", () => {
  const link = { state: "lost", error: new Error("it broke"), retryAt: NOW + 3_000 };
  equal(told({}, link)[1], "Serving");
  const [level, word, text] = told({}, link, { ...time, heardAt: NOW - 30_000 });
  equal([level, word], ["bad", "Reconnecting"]);
  equal(text, "It broke. Mining does not depend on it. Figures are those of 14:04:39.");
  equal(told(null, link)[1], "Reconnecting");
});

test("does not change its text while it counts down", () => {
  const at = (here) => standing(null, { state: "lost", error: new Error("x"), retryAt: NOW + 5_000 }, { ...time, here });
  equal(at(NOW).text, at(NOW + 2_000).text);
  equal([at(NOW).aside, at(NOW + 9_000).aside], ["Next try in 5 s.", "Trying again."]);
});
