/** Numbers and times as they are written. The browser is set to UTC. */

import {
  ago, clock, count, date, duration, ends, exact, hashrate, hashrateParts, latency, moment, NONE, percent, short, stamp,
  ticks,
} from "/assets/format.js";
import { equal, test } from "./check.js";

/** With spaces as people type them. */
const plain = (text) => text.replaceAll("\u202f", " ");
const NOTHING = [null, undefined, NaN, Infinity, "12", {}];
const at = Date.UTC(2026, 10, 22, 14, 5, 9);

test("writes hash rates with the unit that fits", () => {
  for (const [hs, want] of [
    [0, "0 H/s"], [0.5, "0.5 H/s"], [1, "1.00 H/s"], [999.4, "999 H/s"], [999.6, "1.00 kH/s"], [9.996, "10.0 H/s"],
    [99.96, "100 H/s"], [1e12, "1.00 TH/s"],
    [1.2345e12, "1.23 TH/s"], [12.345e15, "12.3 PH/s"], [123.45e18, "123 EH/s"], [9.995e20, "1.00 ZH/s"],
    [1e27, "1000 YH/s"],
  ]) {
    equal(plain(hashrate(hs)), want);
  }
  equal(hashrateParts(2.5e9), ["2.50", "GH/s"]);
});

test("writes nothing where there is no number", () => {
  for (const value of NOTHING) {
    for (const write of [hashrate, count, short, exact, latency, duration, date, clock, moment]) {
      equal(write(value), NONE);
    }
    equal(ago(value, at), NONE);
    equal(stamp(value, at), NONE);
    equal(percent(value, 10), NONE);
  }
});

test("writes counts exactly as long as they are short", () => {
  for (const [n, want] of [
    [0, "0"], [7, "7"], [1000, "1,000"], [99_999, "99,999"], [100_000, "100 k"], [1_234_567, "1.23 M"], [-1234, "-1,234"],
  ]) {
    equal(plain(count(n)), want);
  }
  equal(exact(12_345_678_901), "12,345,678,901");
  equal(exact(1234.5678), "1,234.5678");
  equal(exact(1e21), "1e+21");
});

test("writes work and difficulty short", () => {
  for (const [value, want] of [[0, "0"], [0.000004, "0.000004"], [1e-9, "1.0e-9"], [12.34, "12.3"], [8.213e12, "8.21 T"]]) {
    equal(plain(short(value)), want);
  }
});

test("never rounds a part up to the whole or down to nothing", () => {
  for (const [part, whole, want] of [
    [0, 10, "0 %"], [10, 10, "100 %"], [1, 1e6, "<0.01 %"], [999_999, 1e6, "99.99 %"], [1, 8, "12.5 %"], [1, 300, "0.33 %"],
    [0, 0, NONE], [1, 0, NONE], [1, -3, NONE],
  ]) {
    equal(plain(percent(part, whole)), want);
  }
});

test("writes latencies", () => {
  for (const [ms, want] of [[0, "0 ms"], [0.042, "0.042 ms"], [1.5, "1.50 ms"], [999.4, "999 ms"], [1200, "1.20 s"]]) {
    equal(plain(latency(ms)), want);
  }
});

test("writes durations in two units at most", () => {
  const [second, minute, hour, day] = [1e3, 6e4, 36e5, 864e5];
  for (const [ms, want] of [
    [-5, "0 s"], [999, "0 s"], [59_999, "59 s"], [minute, "1 min"], [hour - 1, "59 min"], [hour, "1 h"],
    [2 * hour + 10 * minute, "2 h 10 min"], [day - second, "23 h 59 min"], [day, "1 d"], [5 * day + hour, "5 d 1 h"],
  ]) {
    equal(plain(duration(ms)), want);
  }
  equal(ago(at - 400, at), "now");
  equal(plain(ago(at - 12_000, at)), "12 s ago");
  equal(ago(at + 5_000, at), "now");
});

test("writes moments as short as they are clear", () => {
  equal(moment(at), "22 Nov 2026, 14:05:09");
  equal(stamp(at - 3_600_000, at), "13:05:09");
  equal(stamp(at - 86_400_000, at), "21 Nov, 14:05");
  equal(stamp(at - 366 * 86_400_000, at), "21 Nov 2025, 14:05:09");
});

test("says on an axis which day or year it is, once", () => {
  const hour = 3_600_000;
  const night = Date.UTC(2026, 10, 22, 23);
  equal(ticks([night, night + hour, night + 2 * hour], hour), ["23:00\n22 Nov", "00:00\n23 Nov", "01:00"]);
  equal(ticks([Date.UTC(2026, 11, 31), Date.UTC(2027, 0, 1)], 24 * hour), ["31 Dec\n2026", "1 Jan\n2027"]);
  equal(ticks([Date.UTC(2026, 11, 1), Date.UTC(2027, 0, 1)], 28 * 24 * hour), ["Dec\n2026", "Jan\n2027"]);
  equal(ticks([at], 1_000), ["14:05:09\n22 Nov"]);
});

test("shows both ends of what is long", () => {
  equal(ends("0123456789abcdefg"), "0123456789abcdefg");
  equal(ends("0123456789abcdefgh"), "01234567…abcdefgh");
});
