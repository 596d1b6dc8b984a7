import { afterAll, beforeEach, vi } from "vitest";
import { expectNoFindings } from "./canary.js";
import { watchOutput } from "./output-watch.js";
import { watchPools } from "./pool-watch.js";

// Promise 7, over every test file: no session string is in anything that a pool or this process tells.
watchOutput();

// The real module, watched: by this way it is loaded only where a test needs it.
vi.doMock("../../src/session-pool.js", async (load) => {
  const pool = await load<typeof import("../../src/session-pool.js")>();
  watchPools(pool.SessionPool);
  return pool;
});

// The hook that is registered first runs last: the test's own have closed its pools by then.
beforeEach(({ onTestFinished }) => onTestFinished(expectNoFindings));
afterAll(expectNoFindings);
