import { describe, expect, test } from "vitest";
import { OwnClaims } from "../../src/ownership/claims.js";

const TTL = 60_000;
const sent = (at: number) => ({ at, wallOffset: 0 });

describe("takeDue()", () => {
  test("returns each claim after a third of the ttl, once until it is scheduled again", () => {
    const claims = new OwnClaims(TTL);
    claims.set("a", sent(0));
    expect({ due: claims.takeDueForRenewal(19_999), nextAt: claims.nextAt }).toEqual({ due: [], nextAt: 20_000 });
    expect({
      due: claims.takeDueForRenewal(20_000),
      dueLater: claims.takeDueForRenewal(25_000),
      nextAt: claims.nextAt,
    }).toEqual({ due: ["a"], dueLater: [], nextAt: 45_000 });
    claims.set("a", sent(20_000));
    expect(claims.takeDueForRenewal(40_000)).toEqual(["a"]);
  });

  test("spreads thousands of claims made together, all of them long before they expire", () => {
    const claims = new OwnClaims(TTL);
    for (let index = 0; index < 5_000; index++) claims.set(`s${index}`, sent(0));
    let [now, count, most] = [20_000, 0, 0];
    while (count < 5_000) {
      expect(now).toBeLessThan(30_000);
      const due = claims.takeDueForRenewal(now);
      most = Math.max(most, due.length);
      count += due.length;
      for (const id of due) claims.set(id, sent(now));
      now = claims.nextAt;
    }
    expect(most).toBe(100);
    expect(claims.takeExpired(30_000)).toEqual([]);
  });
});

describe("takeSpent()", () => {
  test("returns a claim three quarters of a ttl after it was sent, whether or not a renewal was tried", () => {
    const claims = new OwnClaims(TTL);
    claims.set("a", sent(0));
    claims.set("b", sent(10_000));
    claims.takeDueForRenewal(20_000);
    expect(claims.handleOf("a")?.usableUntil).toBe(45_000);
    expect({ expired: claims.takeExpired(45_000), a: claims.get("a"), b: claims.get("b") }).toEqual({
      expired: ["a"],
      a: undefined,
      b: sent(10_000),
    });
    expect(claims.takeExpired(55_000)).toEqual(["b"]);
    expect(claims.nextAt).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("handleOf()", () => {
  test("returns the same handle while the claim is held; the end of the claim ends it", () => {
    const claims = new OwnClaims(TTL);
    claims.set("a", sent(0));
    const handle = claims.handleOf("a");
    claims.takeDueForRenewal(20_000);
    claims.set("a", sent(20_000));
    expect(claims.handleOf("a")).toBe(handle);
    expect(handle?.usableUntil).toBe(65_000);
    claims.delete("a");
    claims.set("a", sent(30_000));
    expect(handle?.usableUntil).toBe(Number.NEGATIVE_INFINITY);
    expect(claims.handleOf("a")?.usableUntil).toBe(75_000);
  });

  test("ends a handle whose time is over", () => {
    const claims = new OwnClaims(TTL);
    claims.set("a", sent(0));
    const handle = claims.handleOf("a");
    claims.takeExpired(45_000);
    expect(handle?.usableUntil).toBe(Number.NEGATIVE_INFINITY);
  });
});
