import fc from "fast-check";
import { test } from "vitest";
import { Pair, stepOf } from "./session-table-pair.js";

test.each([
  [1, Number.POSITIVE_INFINITY, false],
  [1, 2, false],
  [2, Number.POSITIVE_INFINITY, false],
  [3, 2, false],
  [1, Number.POSITIVE_INFINITY, true],
  [3, 2, true],
])(
  "SessionTable - %d leases a session, at most %d leased, freezes %s: every step as the model says",
  (leasesPerSession, maxConnected, hasFreezes) => {
    fc.assert(
      fc.property(
        fc.array(stepOf(["a", "b", "c", "d", "e"], hasFreezes), { minLength: 1, maxLength: 300, size: "max" }),
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
