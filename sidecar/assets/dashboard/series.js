/** Columns of the history, as plots need them. Pure. */

import { NONE } from "./format.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How often sidecars report, and how late they may be before it is a gap; in milliseconds. */
const REPORT = 10_000;
const LATE = 40_000;

/**
 * What can be looked at: how far back, and in which steps. `smooth` is how many steps a hash rate is
 * the mean of: in ten seconds even a large miner finds few shares.
 */
export const RANGES = [
  { name: "1 h", title: "last hour", span: HOUR, step: 10_000, smooth: 6 },
  { name: "6 h", title: "last 6 hours", span: 6 * HOUR, step: MINUTE, smooth: 1 },
  { name: "24 h", title: "last 24 hours", span: DAY, step: 5 * MINUTE, smooth: 1 },
  { name: "7 d", title: "last 7 days", span: 7 * DAY, step: 15 * MINUTE, smooth: 1 },
  { name: "90 d", title: "last 90 days", span: 90 * DAY, step: 3 * HOUR, smooth: 1 },
  { name: "2 y", title: "last 2 years", span: 730 * DAY, step: DAY, smooth: 1 },
];

/** The range and its query at a time; ends on whole steps, so that the same question is asked twice. */
export function windowOf(range, now) {
  const to = Math.ceil(now / range.step) * range.step;
  return { from: to - range.span, to, step: range.step };
}

/**
 * The columns with a row for each step that is missing (all null), so that a gap is a gap, and
 * without last steps that are not over or not reported. Columns that the answer lacks are null throughout.
 *
 * @param {object} history an answer of /history: `t`, `step_ms` and columns.
 * @param {string[]} names of the columns.
 * @param {number} now by the service's clock.
 * @returns {{t: number[], columns: Record<string, (number|null)[]>}}
 */
export function rows(history, names, now) {
  const step = history.step_ms;
  let length = history.t.length;
  // A sum that is not over yet, or not reported, looks like a fall. Better one that grows than none.
  while (length > 1 && history.t[length - 1] + step > now - REPORT) {
    length -= 1;
  }
  const silent = (index) => names.every((name) => (history[name]?.[index] ?? null) === null);
  while (length > 1 && history.t[length - 1] > now - LATE && silent(length - 1)) {
    length -= 1;
  }
  const t = [];
  const columns = Object.fromEntries(names.map((name) => [name, []]));
  const add = (time, index) => {
    t.push(time);
    for (const name of names) {
      columns[name].push(index === null ? null : (history[name]?.[index] ?? null));
    }
  };
  for (let index = 0; index < length; index += 1) {
    const [before, time] = [t.at(-1), history.t[index]];
    if (before !== undefined && time - before > 1.5 * step) {
      // The first and the last missing step are enough to draw a gap.
      add(before + step, null);
      if (time - before > 2.5 * step) {
        add(time - step, null);
      }
    }
    add(time, index);
  }
  return { t, columns };
}

/** For each value the mean of the last `width` ones; a gap begins anew, and stays one. */
export function rolling(values, width) {
  if (width <= 1) {
    return values;
  }
  let [sum, from] = [0, 0];
  return values.map((value, index) => {
    if (value === null) {
      [sum, from] = [0, index + 1];
      return null;
    }
    sum += value;
    if (index - from + 1 > width) {
      sum -= values[from];
      from += 1;
    }
    return sum / (index - from + 1);
  });
}

/** Counts of steps as counts a minute. */
export const perMinute = (counts, stepMs) =>
  counts.map((count) => (count === null ? null : (count * MINUTE) / stepMs));

/** The part of `part` in both together, in percent; null where there is neither. */
export const percentages = (part, rest) =>
  part.map((value, index) => {
    const whole = value === null || rest[index] === null ? 0 : value + rest[index];
    return whole > 0 ? (value / whole) * 100 : null;
  });

/** Stretches of time in which all of some columns are null: [from, to], in milliseconds. */
export function gaps(t, columns, stepMs) {
  const found = [];
  for (let index = 0; index < t.length; index += 1) {
    if (columns.some((values) => values[index] !== null)) {
      continue;
    }
    const last = found.at(-1);
    if (last !== undefined && last.index === index - 1) {
      [last.index, last.to] = [index, t[index] + stepMs];
    } else {
      found.push({ index, from: t[index], to: t[index] + stepMs });
    }
  }
  return found.map(({ from, to }) => [from, to]);
}

/** Indexes of values without a neighbour: a line can't show them, a point can. */
export function alone(values) {
  const none = (index) => values[index] === null || values[index] === undefined;
  return values.flatMap((_, index) =>
    !none(index) && none(index - 1) && none(index + 1) ? [index] : [],
  );
}

/**
 * A plot in words, for who does not see it.
 *
 * @param {string} label of the series.
 * @param {(number|null)[]} values of it.
 * @param {(value: number) => string} write a value.
 */
export function inWords(label, values, write) {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) {
    return `${label}: ${NONE}`;
  }
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const [least, most] = known.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  return `${label}: now ${write(known.at(-1))}, mean ${write(mean)}, lowest ${write(least)}, highest ${write(most)}`;
}

/** At most `count` indexes of `length`, evenly, with the last one. */
export function sample(length, count) {
  const every = Math.max(1, Math.ceil(length / count));
  const picked = [];
  for (let index = length - 1; index >= 0; index -= every) {
    picked.push(index);
  }
  return picked.reverse();
}
