import fc from "fast-check";
import { test } from "vitest";
import { Pair, stepOf } from "./session-table-pair.js";

test.each([
  [1, Number.POSITIVE_INFINITY],
  [1, 2],
  [2, Number.POSITIVE_INFINITY],
  [3, 2],
])(
  "SessionTable - %d leases a session, at most %d leased: every step as the model says",
  (leasesPerSession, maxConnected) => {
    fc.assert(
      fc.property(
        fc.array(stepOf(["a", "b", "c", "d", "e"]), { minLength: 1, maxLength: 300, size: "max" }),
        (steps) => {
          const pair = new Pair({ leasesPerSession, maxConnected });
          for (const one of steps) {
            pair.run(one);
            pair.check();
          }
        },
      ),
      { numRuns: 300 },
    );
  },
);
