/** A very small test runner for the browser. */

const tests = [];

/** Registers a test. */
export function test(name, body) {
  tests.push({ name, body });
}

/** Fails unless both are the same value, compared as JSON (with undefined, NaN told apart). */
export function equal(got, want) {
  const text = (value) =>
    JSON.stringify(value, (_, part) =>
      part === undefined ? "undefined" : typeof part === "number" && !Number.isFinite(part) ? String(part) : part);
  if (text(got) !== text(want)) {
    throw new Error(`got ${text(got)}, want ${text(want)}`);
  }
}

/** Fails unless it throws. */
export function throws(body) {
  try {
    body();
  } catch {
    return;
  }
  throw new Error("nothing was thrown");
}

/** Runs all tests; gives [{name, error}], error null where it passed. */
export async function run() {
  const results = [];
  for (const { name, body } of tests) {
    try {
      await body();
      results.push({ name, error: null });
    } catch (error) {
      results.push({ name, error: String(error?.stack ?? error) });
    }
  }
  return results;
}
