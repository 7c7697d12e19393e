/**
 * How numbers and times are written, in one place. Pure: nothing here knows the page or the clock.
 *
 * Whatever is not a finite number is written as NONE; times are milliseconds since the epoch and
 * shown in the reader's own time zone, on a clock of 24 hours.
 */

/** What stands where there is no figure. */
export const NONE = "–";

/** A thin space that does not break: between a number and its unit. */
const GAP = "\u202f";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const LARGE = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Three significant digits without an exponent: 1.23, 12.3, 123, 0.00123. */
function three(value) {
  const size = Math.abs(value);
  // What rounds up to the next power of ten has its digits.
  if (size >= 99.95 || size === 0) {
    return value.toFixed(0);
  }
  if (size >= 0.9995) {
    return value.toFixed(size >= 9.995 ? 1 : 2);
  }
  // Below 10^-6 the digits that count would be too far to the right.
  return size < 1e-6 ? value.toExponential(1) : String(Number(value.toPrecision(2)));
}

/** A value in [1, 1000) and the letter that makes it what it was. */
function scaled(value) {
  let [step, size] = [0, Math.abs(value)];
  // 999.5 would be written as 1000.
  while (size >= 999.5 && step < LARGE.length - 1) {
    size /= 1_000;
    step += 1;
  }
  return [Math.sign(value) * size, LARGE[step]];
}

/** A hash rate in H/s as number and unit: ["1.23", "TH/s"]. */
export function hashrateParts(hs) {
  if (!isNumber(hs)) {
    return [NONE, ""];
  }
  const [size, letter] = scaled(hs);
  return [three(size), `${letter}H/s`];
}

/** A hash rate in H/s: "1.23 TH/s". */
export function hashrate(hs) {
  const [size, unit] = hashrateParts(hs);
  return unit === "" ? size : `${size}${GAP}${unit}`;
}

/** A count: exact below 100,000, then "1.23 M". `exact` has the rest. */
export function count(n) {
  if (!isNumber(n)) {
    return NONE;
  }
  return Math.abs(n) < 100_000 ? exact(n) : short(n);
}

/** Anything without a unit of its own, such as work and difficulty: "1.23 M". */
export function short(value) {
  if (!isNumber(value)) {
    return NONE;
  }
  const [size, letter] = scaled(value);
  return letter === "" ? three(size) : `${three(size)}${GAP}${letter}`;
}

/** Every digit, in groups of three: "1,234,567". */
export function exact(value) {
  if (!isNumber(value)) {
    return NONE;
  }
  const [whole, rest] = String(Math.abs(value)).split(".");
  const grouped = whole.includes("e") ? whole : whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${value < 0 ? "-" : ""}${grouped}${rest === undefined ? "" : `.${rest}`}`;
}

/** A part of a whole in percent: "0.12 %"; nothing of nothing is NONE. */
export function percent(part, whole) {
  if (!isNumber(part) || !isNumber(whole) || whole <= 0) {
    return NONE;
  }
  const value = (part / whole) * 100;
  if (value > 0 && value < 0.01) {
    return `<0.01${GAP}%`;
  }
  // Not "100" as long as something is missing.
  const digits = value === 0 || value === 100 ? 0 : value < 10 || value > 99.9 ? 2 : 1;
  return `${Math.min(value, value < 100 ? 99.99 : 100).toFixed(digits)}${GAP}%`;
}

/** Milliseconds that something took: "0.42 ms", "12.3 ms", "1.20 s". */
export function latency(ms) {
  if (!isNumber(ms)) {
    return NONE;
  }
  return ms >= 999.5 ? `${three(ms / SECOND)}${GAP}s` : `${three(ms)}${GAP}ms`;
}

/** How long something lasts, in at most two units: "3 s", "2 h 10 min", "5 d 1 h". */
export function duration(ms) {
  if (!isNumber(ms)) {
    return NONE;
  }
  const left = Math.max(0, ms);
  const two = (large, one, small, other) => {
    const [a, b] = [Math.floor(left / large), Math.floor((left % large) / small)];
    return b === 0 ? `${a}${GAP}${one}` : `${a}${GAP}${one} ${b}${GAP}${other}`;
  };
  if (left < MINUTE) {
    return `${Math.floor(left / SECOND)}${GAP}s`;
  }
  if (left < HOUR) {
    return `${Math.floor(left / MINUTE)}${GAP}min`;
  }
  return left < DAY ? two(HOUR, "h", MINUTE, "min") : two(DAY, "d", HOUR, "h");
}

/** How long ago it was at `now`: "now", "12 s ago"; NONE for never. */
export function ago(at, now) {
  if (!isNumber(at) || !isNumber(now)) {
    return NONE;
  }
  return now - at < SECOND ? "now" : `${duration(now - at)} ago`;
}

const two = (n) => String(n).padStart(2, "0");
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** "22 Nov 2026". */
export function date(ms) {
  if (!isNumber(ms)) {
    return NONE;
  }
  const at = new Date(ms);
  return `${at.getDate()} ${MONTHS[at.getMonth()]} ${at.getFullYear()}`;
}

/** "14:05:09", or "14:05". */
export function clock(ms, seconds = true) {
  if (!isNumber(ms)) {
    return NONE;
  }
  const at = new Date(ms);
  const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return seconds ? `${minutes}:${two(at.getSeconds())}` : minutes;
}

/** A moment in full: "22 Nov 2026, 14:05:09". */
export function moment(ms) {
  return isNumber(ms) ? `${date(ms)}, ${clock(ms)}` : NONE;
}

/** A moment as short as it is clear at `now`: "14:05:09", "20 Nov, 14:05", "20 Nov 2025, 14:05:09". */
export function stamp(ms, now) {
  if (!isNumber(ms) || !isNumber(now) || date(ms) === date(now)) {
    return clock(ms);
  }
  const [at, today] = [new Date(ms), new Date(now)];
  const sameYear = at.getFullYear() === today.getFullYear();
  return sameYear ? `${at.getDate()} ${MONTHS[at.getMonth()]}, ${clock(ms, false)}` : moment(ms);
}

/**
 * Labels of a time axis: times for steps below a day, else dates. The first, and the first of
 * each day or year, say which one it is in a second line.
 */
export function ticks(times, stepMs) {
  let before = "";
  return times.map((time) => {
    const at = new Date(time);
    const day = `${at.getDate()} ${MONTHS[at.getMonth()]}`;
    const monthly = stepMs >= 27 * DAY;
    const [first, second] =
      stepMs < DAY
        ? [clock(time, stepMs < MINUTE), day]
        : [monthly ? MONTHS[at.getMonth()] : day, String(at.getFullYear())];
    const label = second === before ? first : `${first}\n${second}`;
    before = second;
    return label;
  });
}

/** Both ends of a long text, such as a hash: "00000000…1a2b3c4d". */
export function ends(text, letters = 8) {
  const all = String(text);
  return all.length <= 2 * letters + 1 ? all : `${all.slice(0, letters)}…${all.slice(-letters)}`;
}
