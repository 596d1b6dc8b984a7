import { describe, expect, test } from "vitest";
import { FixedWindows } from "../../../src/testing/test-server/fixed-windows.js";

describe("take()", () => {
  test("a full window - lasts its length from its first call", () => {
    const windows = new FixedWindows({ calls: 2, perMs: 5_000 });
    expect([windows.take("a", 0), windows.take("a", 4_000), windows.take("a", 4_100)]).toEqual([
      undefined,
      undefined,
      1,
    ]);
    expect(windows.take("b", 4_100)).toBeUndefined();
    expect([windows.take("a", 5_100), windows.take("a", 5_100), windows.take("a", 5_100)]).toEqual([
      undefined,
      undefined,
      5,
    ]);
  });

  test("penalty - the wait doubles with every refusal in a row", () => {
    const windows = new FixedWindows({ calls: 1, perMs: 2_000, penalty: 2 });
    expect([windows.take("a", 0), windows.take("a", 0)]).toEqual([undefined, 2]);
    expect([windows.take("a", 2_000), windows.take("a", 2_000)]).toEqual([undefined, 4]);
    expect([windows.take("a", 6_000), windows.take("a", 6_000)]).toEqual([undefined, 8]);
  });

  test("penalty - a window without a refusal ends it", () => {
    const windows = new FixedWindows({ calls: 1, perMs: 2_000, penalty: 2 });
    for (const at of [0, 0, 2_000, 2_000, 6_000, 8_000]) windows.take("a", at);
    expect(windows.take("a", 8_000)).toBe(2);
  });
});
