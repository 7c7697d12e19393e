/**
 * Doing something again and again: not while nobody looks, less often while it fails, and never
 * twice at a time.
 */

/** Longest pause between tries that fail, in milliseconds. */
const PAUSE_MAX = 60_000;

/**
 * Calls `task(signal)` now and then `every()` milliseconds after it ended. Gives two functions:
 * `now` calls it at once (what was under way is aborted), `stop` ends it. A task that throws is called
 * again after pauses that double; `failed(error)` is told, and told null once it works again.
 */
export function repeat(task, every, failed = () => {}) {
  let [timer, controller, pause, due, stopped] = [null, null, 0, false, false];

  const plan = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(run, ms);
  };
  const run = async () => {
    if (stopped) {
      return;
    }
    if (document.hidden) {
      due = true;
      return;
    }
    controller?.abort();
    const mine = new AbortController();
    controller = mine;
    try {
      await task(mine.signal);
      if (mine.signal.aborted) {
        return; // A newer one runs.
      }
      pause = 0;
      failed(null);
    } catch (error) {
      if (mine.signal.aborted) {
        return;
      }
      pause = Math.min(PAUSE_MAX, Math.max(every(), pause * 2));
      failed(error);
    }
    controller = null;
    plan(pause || every());
  };
  const look = () => {
    if (!document.hidden && due) {
      due = false;
      run();
    }
  };
  document.addEventListener("visibilitychange", look);
  run();
  return {
    now() {
      clearTimeout(timer);
      run();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      controller?.abort();
      document.removeEventListener("visibilitychange", look);
    },
  };
}
