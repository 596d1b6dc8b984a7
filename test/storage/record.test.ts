import { describe, expect, test } from "vitest";
import { decodeRecord, encodeRecord, type SessionRecord } from "../../src/storage/record.js";

const record: SessionRecord = {
  session: "canary",
  fingerprint: "0123456789abcdef",
  tags: ["x"],
  profile: { deviceModel: "Pixel" },
  addedAt: 1,
  lastUsedAt: null,
  cooldown: { until: 5, reason: "FLOOD_WAIT" },
  methods: { "messages.SendMessage": 7 },
  peers: { "channel:5": 8 },
  restriction: { until: null, reason: "FROZEN" },
  deadReason: null,
  disabledReason: "off",
  owner: { pool: "p", beat: 2, ttlMs: 60_000, host: "h", pid: 7, thread: 7, startedAt: "99" },
  isRemoved: false,
  accountId: "5000000001",
  isBot: false,
  expiresAt: 9,
  authorizationTtlDays: 180,
};

const changed = (change: object): string => JSON.stringify({ ...JSON.parse(encodeRecord(record)), ...change });

describe("decodeRecord()", () => {
  test("reads what encodeRecord() wrote", () => {
    expect(decodeRecord(encodeRecord(record))).toMatchObject(record);
  });

  test.each([
    "",
    "not json",
    "null",
    "5",
    "[]",
    '"text"',
    "{}",
    '{"v":0}',
    '{"v":"1"}',
    encodeRecord(record).slice(0, -1),
  ])("refuses %j", (data) => {
    expect(() => decodeRecord(data)).toThrow();
  });

  test("fields of the account - missing as in a record of an earlier version, are null", () => {
    const { accountId: _, isBot: __, expiresAt: ___, ...earlier } = JSON.parse(encodeRecord(record));
    expect(decodeRecord(JSON.stringify(earlier))).toMatchObject({ accountId: null, isBot: null, expiresAt: null });
  });

  test("names a newer format, and leaves it alone", () => {
    expect(() => decodeRecord(changed({ v: 2 }))).toThrow("newer version");
  });

  test.each([
    { session: "" },
    { session: 5 },
    { fingerprint: "xyz" },
    { tags: "x" },
    { tags: [5] },
    { profile: null },
    { profile: [] },
    { addedAt: "1" },
    { addedAt: null },
    { lastUsedAt: "1" },
    { cooldown: 5 },
    { cooldown: { until: null, reason: "x" } },
    { cooldown: { until: 5 } },
    { methods: [] },
    { methods: { x: "5" } },
    { peers: null },
    { restriction: { until: "5", reason: "x" } },
    { restriction: { until: 5 } },
    { deadReason: 5 },
    { disabledReason: undefined },
    { accountId: "alice" },
    { accountId: "0" },
    { accountId: 5 },
    { isBot: "no" },
    { expiresAt: "9" },
  ])("refuses %j, names the field and repeats no value", (change) => {
    const [field] = Object.keys(change);
    expect(() => decodeRecord(changed(change))).toThrow(`"${field}"`);
    expect(() => decodeRecord(changed(change))).not.toThrow("canary");
  });
});
