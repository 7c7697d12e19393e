/** Columns of the history as plots get them. */

import {
  alone, gaps, inWords, percentages, perMinute, RANGES, rolling, rows, sample, windowOf,
} from "/assets/series.js";
import { equal, test } from "./check.js";

const FAR = 1e12;
const history = (t, values, step = 10) => ({ t, step_ms: step, a: values });

test("keeps nulls and zeros apart", () => {
  const { t, columns } = rows(history([0, 10, 20], [0, null, 5]), ["a"], FAR);
  equal([t, columns.a], [[0, 10, 20], [0, null, 5]]);
});

test("makes rows for steps that are missing", () => {
  equal(rows(history([0, 10, 30], [1, 2, 3]), ["a"], FAR).columns.a, [1, 2, null, 3]);
  const { t, columns } = rows(history([0, 100], [1, 2]), ["a"], FAR);
  equal([t, columns.a], [[0, 10, 90, 100], [1, null, null, 2]]);
});

test("leaves out what is not over, but not all there is", () => {
  const now = 100_000;
  const taken = (t, values) => rows(history(t, values, 10_000), ["a"], now).columns.a;
  equal(taken([70_000, 80_000, 90_000], [1, 2, 3]), [1, 2]);
  equal(taken([95_000], [3]), [3]);
  equal(rows({ t: [], step_ms: 10, a: [] }, ["a"], now), { t: [], columns: { a: [] } });
});

test("does not call it a gap that a report is under way", () => {
  const now = 100_000;
  const taken = (t, values) => rows(history(t, values, 10_000), ["a"], now).columns.a;
  equal(taken([50_000, 60_000, 70_000, 80_000], [1, 2, null, null]), [1, 2]);
  equal(taken([20_000, 30_000, 40_000, 50_000], [1, 2, null, null]), [1, 2, null, null]);
});

test("takes a column that the answer lacks as unknown", () => {
  equal(rows(history([0, 10], [1, 2]), ["b"], FAR).columns.b, [null, null]);
});

test("averages no further than a gap", () => {
  equal(rolling([3, 6, 9, null, 1, 2], 2), [3, 4.5, 7.5, null, 1, 1.5]);
  equal(rolling([1, 2], 1), [1, 2]);
});

test("turns counts into rates and parts", () => {
  equal(perMinute([1, null, 0], 10_000), [6, null, 0]);
  equal(percentages([1, 0, null, 0], [3, 0, 1, 5]), [25, null, null, 0]);
});

test("finds gaps and what stands alone", () => {
  equal(gaps([0, 10, 20, 30], [[1, null, null, 4], [null, null, null, 1]], 10), [[10, 30]]);
  equal(gaps([0, 10], [[0, 0]], 10), []);
  equal(alone([1, null, 2, 3, null, 4]), [0, 5]);
  equal(alone([null, null]), []);
});

test("says a plot in words", () => {
  equal(inWords("x", [null, null], String), "x: –");
  equal(inWords("x", [1, null, 3], String), "x: now 3, mean 2, lowest 1, highest 3");
});

test("samples with the newest", () => {
  equal(sample(5, 10), [0, 1, 2, 3, 4]);
  equal(sample(5, 2), [1, 4]);
  equal(sample(0, 2), []);
});

test("asks for windows of whole steps and few points", () => {
  for (const range of RANGES) {
    const { from, to, step } = windowOf(range, 1_795_000_123_456);
    equal([to % step, (to - from) / step <= 2_000, to - from], [0, true, range.span]);
    equal(windowOf(range, to - 1), { from, to, step });
  }
});
