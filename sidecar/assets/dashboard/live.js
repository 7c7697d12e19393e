/**
 * The summary as it changes: server-sent events, read by hand because an EventSource can show no
 * token and tells no reason; where they can't be had, the summary is asked for instead.
 */

import { address, ask, get, Refused, Unreached } from "./api.js";

/** Nothing heard for so long (the service says something every 15 s): the line is dead. */
const SILENCE = 40_000;
/** How long a page that nobody sees keeps its line: browsers have six for all pages of a service. */
const UNSEEN = 30_000;
/** Pauses between tries, from and to, in milliseconds. */
const PAUSE = { least: 500, most: 30_000 };
/** Between questions where there are no events, and how often before those are tried again. */
const POLL = { every: 5_000, times: 12 };
/** An event longer than this is none of ours. */
const EVENT_MAX = 4 << 20;

/** Takes a stream of server-sent events apart; `push` gives those that a piece of text completes. */
export class EventReader {
  #rest = "";
  #name = "";
  #data = [];

  /** @returns {{name: string, data: string}[]} */
  push(text) {
    this.#rest += text;
    const events = [];
    // A CR at the very end may be the half of a line's end.
    for (let end; (end = /\r\n|\n|\r(?=[^])/.exec(this.#rest)) !== null; ) {
      const line = this.#rest.slice(0, end.index);
      this.#rest = this.#rest.slice(end.index + end[0].length);
      this.#line(line, events);
    }
    if (this.#rest.length > EVENT_MAX) {
      throw new Error("an event without an end");
    }
    return events;
  }

  #line(line, events) {
    if (line === "") {
      if (this.#data.length > 0) {
        events.push({ name: this.#name || "message", data: this.#data.join("\n") });
      }
      [this.#name, this.#data] = ["", []];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") {
      this.#name = value;
    } else if (field === "data") {
      this.#data.push(value);
    }
  }
}

/**
 * Follows the summary for as long as the page lives.
 *
 * @param {(summary: object) => void} heard for each summary.
 * @param {(link: {state: string, error?: Error, retryAt?: number}) => void} changed says how the
 *   line is, at each sign of life: "live", "polling"; or "lost", with the time of the next try.
 * @returns {{retry: () => void}} tries at once instead of waiting.
 */
export function follow(heard, changed) {
  let wake = () => {};
  const sleep = (ms) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  (async () => {
    for (let failures = 0; ; ) {
      await seen();
      try {
        await listen(heard, () => {
          failures = 0;
          changed({ state: "live" });
        });
        // The service ends a connection after its time: that is no failure, but don't hurry.
        await sleep(PAUSE.least);
        continue;
      } catch (error) {
        if (document.hidden) {
          continue;
        }
        if (error instanceof Refused && (await poll(heard, changed, sleep))) {
          failures = 0;
          continue;
        }
        if (!(error instanceof Refused || error instanceof Unreached)) {
          console.error(error); // A fault of this page, or of the answer.
        }
        failures += 1;
        const longest = Math.min(PAUSE.most, PAUSE.least * 2 ** Math.min(failures, 10));
        const pause = longest * (0.75 + Math.random() / 4);
        changed({ state: "lost", error, retryAt: Date.now() + pause });
        await sleep(pause);
      }
    }
  })();
  return { retry: () => wake() };
}

/** When somebody sees the page. */
async function seen() {
  while (document.hidden) {
    await new Promise((changed) => document.addEventListener("visibilitychange", changed, { once: true }));
  }
}

/** Reads events until their end. Throws when there are none or they break off. */
async function listen(heard, lives) {
  const dead = new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => dead.abort(new Error("nothing was heard for 40 s")), SILENCE);
  };
  let unseen;
  const look = () => {
    clearTimeout(unseen);
    unseen = document.hidden ? setTimeout(() => dead.abort(new Error("nobody looks")), UNSEEN) : undefined;
  };
  alive();
  look();
  document.addEventListener("visibilitychange", look);
  try {
    const response = await ask(address("live"), "text/event-stream", dead.signal);
    const events = new EventReader();
    const stream = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece; !(piece = await read(stream, dead.signal)).done; ) {
      alive();
      for (const event of events.push(piece.value)) {
        if (event.name === "summary") {
          heard(JSON.parse(event.data));
        }
      }
      lives();
    }
  } finally {
    clearTimeout(timer);
    clearTimeout(unseen);
    document.removeEventListener("visibilitychange", look);
    // Where an event could not be read, the rest of the stream is nobody's.
    dead.abort();
  }
}

async function read(stream, signal) {
  try {
    return await stream.read();
  } catch (error) {
    const why = signal.aborted ? signal.reason.message : error.message;
    throw new Unreached(`the line to the statistics service broke off (${why})`);
  }
}

/** Asks instead of listening, for a minute. Whether that works. */
async function poll(heard, changed, sleep) {
  for (let n = 0; n < POLL.times; n += 1) {
    try {
      heard(await get("summary"));
    } catch {
      return false;
    }
    changed({ state: "polling" });
    await sleep(POLL.every);
  }
  return true;
}
