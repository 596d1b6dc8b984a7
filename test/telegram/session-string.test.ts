import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { AuthKey } from "telegram/crypto/AuthKey.js";
import { StringSession } from "telegram/sessions/index.js";
import * as teleprotoKeys from "teleproto/crypto/AuthKey.js";
import * as teleprotoSessions from "teleproto/sessions/index.js";
import { describe, expect, test } from "vitest";
import { InvalidSessionError, OptionsError } from "../../src/errors.js";
import {
  authKeyFingerprint,
  formatSession,
  identifySession,
  parseSession,
  type SessionData,
  type SessionFormat,
} from "../../src/telegram/session-string.js";
import { byMtcute } from "./session-vectors.js";

const key = Buffer.from(Array.from({ length: 256 }, (_, index) => (index * 7 + 1) % 256));
const url = (...parts: readonly (Uint8Array | number[])[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part))).toString("base64url");
const padded = (text: string) => text.padEnd(Math.ceil(text.length / 4) * 4, "=");

/** Strings laid out by hand, as each library's source has it. */
const vectors = {
  gramjs: `1${Buffer.concat([Buffer.from([2, 0, 14]), Buffer.from("149.154.167.51"), Buffer.from([1, 187]), key]).toString("base64")}`,
  telethon: `1${padded(url([2, 149, 154, 167, 51, 1, 187], key))}`,
  telethon6: `1${padded(url([2, 0x20, 1, 6, 0x7c, 4, 0xe8, 0xf0, 2, 0, 0, 0, 0, 0, 0, 0, 10, 1, 187], key))}`,
  pyrogram: url([2, 0, 0, 0, 9, 0], key, [0, 0, 0, 1, 0, 0, 0, 5, 1]),
  pyrogram64: url([2, 1], key, [0, 0, 0, 1, 0, 0, 0, 5, 0]),
  pyrogram32: url([2, 0], key, [0, 0, 0, 5, 0]),
  mtcute: url(
    [3, 1, 0, 0, 0, 23, 2, 2, 0, 14],
    Buffer.from("149.154.167.51"),
    [0, 187, 1, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0x37, 0x97, 0x79, 0xbc, 254, 0, 1, 0],
    key,
  ),
  mtcuteMedia: url(
    [3, 4, 0, 0, 0, 23, 2, 2, 4, 14],
    Buffer.from("149.154.167.40"),
    [0, 187, 1, 0, 0, 23, 2, 2, 6, 15],
    Buffer.from("149.154.167.222"),
    [187, 1, 0, 0, 254, 0, 1, 0],
    key,
  ),
};

describe("parseSession() - each format", () => {
  const home = { dcId: 2, serverAddress: "149.154.167.51", port: 443, isTest: false };

  test.each<[string, string, Partial<SessionData>]>([
    ["gramjs", vectors.gramjs, { ...home, format: "gramjs" }],
    ["telethon", vectors.telethon, { ...home, format: "telethon" }],
    ["telethon6", vectors.telethon6, { ...home, format: "telethon", serverAddress: "2001:67c:4e8:f002::a" }],
    ["pyrogram", vectors.pyrogram, { ...home, format: "pyrogram", apiId: 9, userId: 2 ** 32 + 5, isBot: true }],
    ["pyrogram64", vectors.pyrogram64, { format: "pyrogram", isTest: true, serverAddress: "149.154.167.40", port: 80 }],
    ["pyrogram32", vectors.pyrogram32, { ...home, format: "pyrogram", userId: 5, isBot: false }],
    ["mtcute", vectors.mtcute, { ...home, format: "mtcute", userId: 2 ** 32 + 5, isBot: false }],
    [
      "mtcuteMedia",
      vectors.mtcuteMedia,
      {
        ...home,
        format: "mtcute",
        serverAddress: "149.154.167.40",
        isTest: true,
        media: { dcId: 2, serverAddress: "149.154.167.222", port: 443, isMediaOnly: true },
      },
    ],
  ])("%s", (_, text, expected) => {
    const session = parseSession(text);
    expect({ ...session }).toMatchObject(expected);
    expect(Buffer.from(session.authKey)).toEqual(key);
    expect(formatSession(session, session.format)).toBe(text);
  });

  test("mtcute's older way to say test server formats to today's", () => {
    const bytes = Buffer.from(vectors.mtcuteMedia, "base64url");
    bytes[1] = 4 | 2;
    bytes[8] = 0;
    bytes[32] = 2;
    const session = parseSession(bytes.toString("base64url"));
    expect(session.isTest).toBe(true);
    expect(formatSession(session, "mtcute")).toBe(vectors.mtcuteMedia);
  });

  test("the lengths are the documented ones", () => {
    const { gramjs, telethon, telethon6, pyrogram, pyrogram64, pyrogram32 } = vectors;
    const lengths = [gramjs, telethon, telethon6, pyrogram, pyrogram64, pyrogram32].map(({ length }) => length);
    expect(lengths).toEqual([369, 353, 369, 362, 356, 351]);
  });
});

describe("parseSession() - strings of other programs", () => {
  test.each(Object.entries(byMtcute))("@mtcute/convert: %s", (_, text) => {
    const session = parseSession(text);
    expect(Buffer.from(session.authKey)).toEqual(key);
    expect(formatSession(session, session.format)).toBe(text);
  });

  test("@mtcute/convert - writes the strings that were laid out by hand", () => {
    const { gramjs, telethon, telethon6, pyrogram } = byMtcute;
    expect({ ...vectors, gramjs, telethon, telethon6, pyrogram }).toEqual(vectors);
    const { mtcuteFromPyrogram: text } = byMtcute;
    const media = { dcId: 2, serverAddress: "149.154.167.35", port: 443, isMediaOnly: false };
    expect({ ...parseSession(text) }).toMatchObject({ userId: 2 ** 32 + 5, isBot: true, media });
  });
});

describe("parseSession() - strings of GramJS and teleproto", () => {
  test.each([
    ["telegram", savedByGramjs],
    ["teleproto", savedByTeleproto],
  ])("the strings of %s, byte for byte", async (_, saved) => {
    for (const address of ["149.154.167.51", "91.108.56.130", "venus.web.telegram.org", "2001:67c:4e8:f002::a"]) {
      const text = await saved(5, address, 80);
      const session = parseSession(text);
      expect(session).toMatchObject({ dcId: 5, serverAddress: address, port: 80, format: "gramjs" });
      expect(Buffer.from(session.authKey)).toEqual(key);
      expect(formatSession(session, "gramjs")).toBe(text);
    }
  });

  test.each(["telethon", "telethon6", "pyrogram32", "mtcute"] as const)("strings converted from %s", async (name) => {
    const session = parseSession(vectors[name]);
    const loaded = new StringSession(formatSession(session, "gramjs"));
    await loaded.load();
    expect({ dcId: loaded.dcId, serverAddress: loaded.serverAddress, port: loaded.port }).toEqual({
      dcId: 2,
      serverAddress: session.serverAddress,
      port: 443,
    });
    expect(loaded.getAuthKey()?.getKey()).toEqual(key);
  });

  test.each(["telethon", "telethon6"] as const)("a string of %s, which reads it the same way", (name) => {
    const session = parseSession(vectors[name]);
    const loaded = new StringSession(vectors[name]);
    expect({ dcId: loaded.dcId, serverAddress: loaded.serverAddress, port: loaded.port }).toEqual({
      dcId: 2,
      serverAddress: session.serverAddress,
      port: session.port,
    });
  });
});

describe("formatSession() - there and back", () => {
  const authKey = fc.uint8Array({ minLength: 256, maxLength: 256 }).filter((bytes) => bytes.some((byte) => byte !== 0));
  const ipv4 = fc.ipV4().filter((address) => !address.startsWith("0."));
  const ipv6 = fc.ipV6().filter((address) => /^(?:2|f)[\da-f]{3}:/.test(address));
  const session = fc.record({
    dcId: fc.integer({ min: 1, max: 5 }),
    serverAddress: fc.oneof(ipv4, ipv6),
    port: fc.integer({ min: 1, max: 65_535 }),
    authKey,
    isTest: fc.constant(false),
    userId: fc.option(fc.maxSafeNat(), { nil: undefined }),
    isBot: fc.boolean(),
    apiId: fc.option(fc.nat(), { nil: undefined }),
    isShortUserId: fc.boolean(),
  });
  const formats: readonly SessionFormat[] = ["gramjs", "telethon", "pyrogram", "mtcute"];

  test.each(formats)("%s keeps the key, the data center and its own characters", (format) => {
    fc.assert(
      fc.property(session, (fields) => {
        const text = formatSession({ ...fields, format }, format);
        const read = parseSession(text);
        expect(read.format).toBe(format);
        expect(read.dcId).toBe(fields.dcId);
        expect(Buffer.from(read.authKey)).toEqual(Buffer.from(fields.authKey));
        expect(formatSession(read, format)).toBe(text);
        if (format !== "pyrogram") expect(read.port).toBe(fields.port);
        if (format === "pyrogram" || format === "mtcute") expect(read.userId ?? 0).toBe(fields.userId ?? 0);
        if (format === "pyrogram")
          expect({ apiId: read.apiId, isBot: read.isBot }).toEqual({ apiId: fields.apiId, isBot: fields.isBot });
      }),
    );
  });

  test("a host name does not fit into Telethon's", () => {
    const fields = {
      dcId: 2,
      serverAddress: "venus.web.telegram.org",
      port: 443,
      authKey: key,
      isTest: false,
    } as const;
    expect(() => formatSession({ ...fields, format: "gramjs" }, "telethon")).toThrow(/by host/);
    expect(() => formatSession({ ...fields, format: "gramjs" }, "tdata" as SessionFormat)).toThrow(InvalidSessionError);
  });
});

describe("parseSession() - an invalid session string", () => {
  const flip = (text: string) => text.replaceAll("+", "-").replaceAll("/", "_");
  const zero = Buffer.alloc(256);

  test.each<[string, unknown, RegExp]>([
    ["undefined", undefined, /is a string, and this is undefined/],
    ["null", null, /this is null/],
    ["a session object", new StringSession(vectors.gramjs), /this is an object/],
    ["nothing", "", /empty/],
    ["whitespace", " \n", /empty/],
    ["a line break after it", `${vectors.gramjs}\n`, /line break after/],
    ["a space after it", `${vectors.gramjs} `, /whitespace after/],
    ["a space before it", ` ${vectors.gramjs}`, /whitespace before/],
    ["a broken line", `${vectors.gramjs.slice(0, 80)}\n${vectors.gramjs.slice(80)}`, /whitespace inside/],
    ["quotation marks", `"${vectors.gramjs}"`, /quotation marks/],
    ["a bot token", "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", /bot token/],
    ["a phone number", "+1 202 555 0100", /phone number/],
    ["a phone number", "12025550100", /phone number/],
    ["JSON", `{"session":"${vectors.gramjs}"}`, /JSON/],
    ["an api hash", "0123456789abcdef0123456789abcdef", /api hash/],
    ["a key in hexadecimal", key.toString("hex"), /hexadecimal/],
    ["a file name", "alice.session", /session file/],
    ["a word", "hello", /not a session string/],
    ["the version alone", "1", /263 bytes/],
    ["GramJS's without its end", vectors.gramjs.slice(0, -16), /lacks 11 bytes of what GramJS/],
    ["GramJS's without most of it", vectors.gramjs.slice(0, 40), /lacks 246 bytes of what GramJS/],
    ["GramJS's without one character", vectors.gramjs.slice(0, -1), /padding|lacks 1 byte /],
    ["Telethon's without its end", vectors.telethon.slice(0, -9), /lacks 6 bytes of what Telethon/],
    ["Telethon's IPv6 without its end", vectors.telethon6.slice(0, -9), /lacks 6 bytes of what Telethon/],
    ["Pyrogram's without its end", vectors.pyrogram.slice(0, -2), /Pyrogram.*351, 356, 362/],
    ["mtcute's without its end", vectors.mtcute.slice(0, -8), /lacks 6 bytes of what mtcute/],
    ["something after it", `${vectors.gramjs.replace(/=+$/, "")}AAAA`, /longer than GramJS/],
    ["two of them", vectors.telethon + vectors.telethon, /padding in its middle/],
    ["GramJS's in the other alphabet", flip(vectors.gramjs), /URL-safe base64 alphabet/],
    [
      "Telethon's in the other alphabet",
      `1${Buffer.from(vectors.telethon.slice(1), "base64url").toString("base64")}`,
      /standard base64/,
    ],
    ["Telethon's without padding", vectors.telethon.replace(/=+$/, ""), /padding at its end/],
    ["another version", `2${vectors.gramjs.slice(1)}`, /version/],
    ["another version of mtcute", url([9], Buffer.from(vectors.mtcute, "base64url").subarray(1)), /version/],
    ["a key of zeros", `1${padded(url([2, 149, 154, 167, 51, 1, 187], zero))}`, /all zeros/],
    ["no data center", `1${padded(url([0, 149, 154, 167, 51, 1, 187], key))}`, /impossible data center/],
    ["no port", `1${padded(url([2, 149, 154, 167, 51, 0, 0], key))}`, /impossible data center/],
    [
      "no address",
      vectors.gramjs.replace(Buffer.from("149.154").toString("base64").slice(0, 8), "AAAAAAAA"),
      /impossible data center/,
    ],
    ["Pyrogram's with damage", url([9, 0, 0, 0, 9, 0], key, [0, 0, 0, 1, 0, 0, 0, 5, 1]), /damaged/],
    ["Pyrogram's with damage", url([2, 0, 0, 0, 9, 7], key, [0, 0, 0, 1, 0, 0, 0, 5, 1]), /damaged/],
    ["Pyrogram's with an impossible user id", url([2, 0], key, [255, 255, 255, 255, 0, 0, 0, 5, 0]), /damaged/],
    ["text of other letters", `${vectors.pyrogram.slice(0, 300)}€`, /characters in it/],
    ["a book", "A".repeat(5_000), /far too long/],
  ])("%s", (_, text, expected) => {
    expect(() => parseSession(text as string)).toThrow(InvalidSessionError);
    expect(() => parseSession(text as string)).toThrow(expected);
  });

  const le = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];
  const tl = (value: Buffer): Buffer =>
    Buffer.concat([value.length < 254 ? Buffer.from([value.length]) : Buffer.from([254, 0, 1, 0]), value]);
  const oldMtcute = (version: number): string =>
    url(
      [version, ...le(1), ...le(0x18b7a10d), ...le(0), ...le(2)],
      tl(Buffer.from("149.154.167.50")),
      le(443),
      tl(key),
    );
  const gogram = JSON.stringify({ key: key.toString("base64"), dc_id: 2, ip_addr: "149.154.167.51:443" });

  test.each<[string, unknown, RegExp]>([
    [
      "Pyrogram's with padding, which Pyrogram reads",
      `${vectors.pyrogram}==`,
      /padding.*Pyrogram does not write. Remove the =/,
    ],
    ["Pyrogram's oldest form with padding", `${vectors.pyrogram32}=`, /Remove the =/],
    ["Telethon's without padding", vectors.telethon.replace(/=+$/, ""), /Copy it whole, the = at its end/],
    ["Telethon's without its 1", vectors.telethon.slice(1), /lacks its first character/],
    ["Telethon's without its 1 and padding", vectors.telethon.slice(1).replace(/=+$/, ""), /lacks its first character/],
    ["Telethon's IPv6 without its 1", vectors.telethon6.slice(1), /lacks its first character/],
    ["GramJS's without its 1", vectors.gramjs.slice(1), /lacks its first character/],
    ["mtcute's version 1", oldMtcute(1), /version 1 of mtcute.*current mtcute/],
    ["mtcute's version 2", oldMtcute(2), /version 2 of mtcute.*current mtcute/],
    ["gogram's", `1BvE${Buffer.from(gogram).toString("base64url")}`, /gogram.*does not read/],
    ["gogram's older ones", `1BvX${url(key, Buffer.from(":_:149.154.167.51:443:_:2:_:6"))}`, /gogram.*does not read/],
    ["gotd's", `{"Version":1,"Data":{"DC":2,"AuthKey":"${key.toString("base64")}"}}`, /gotd/],
    [
      "an unknown fork of Pyrogram's, with something behind it",
      url([2, 0, 0, 0, 9, 0], key, Buffer.alloc(41, 7)),
      /a fork that is not known/,
    ],
    [
      "a session file read as text",
      `SQLite format 3\0${"x".repeat(30_000)}`,
      /content of a session file.*export a string/,
    ],
    ["a session file", Buffer.from(`SQLite format 3\0${"x".repeat(99)}`), /content of a session file.*export a string/],
    ["a Buffer", Buffer.from(vectors.gramjs), /bytes: read the file as text/],
    ["the path of a tdata folder", "/home/me/Telegram Desktop/tdata", /tdata folder.*importAccounts/],
    [
      "the path of a tdata folder of Windows",
      "C:\\Users\\me\\Telegram Desktop\\tdata\\",
      /tdata folder.*importAccounts/,
    ],
    ["the name of a tdata folder", "tdata", /tdata folder/],
    ["another path", "./accounts/alice.txt", /path/],
    ["a line of an .env file", `SESSION=${vectors.gramjs}`, /line of settings.*behind its first =/],
    ["the name of a journal", "alice.session-journal", /name of a session file/],
  ])("%s: the message says what it is, and what helps", (_, text, expected) => {
    expect(() => parseSession(text as string)).toThrow(InvalidSessionError);
    expect(() => parseSession(text as string)).toThrow(expected);
  });

  test("formatSession() - wrong arguments", () => {
    const session = parseSession(vectors.gramjs);
    const nothing = Object.create(null) as never;
    for (const wrong of [null, undefined, 5, "text", Symbol("x")]) {
      expect(() => formatSession(wrong as never, "gramjs")).toThrow(OptionsError);
    }
    for (const wrong of [null, undefined, 5, Symbol("x"), nothing]) {
      expect(() => formatSession(session, wrong as never)).toThrow(OptionsError);
    }
    const fields = { ...session, authKey: session.authKey };
    for (const wrong of [null, Symbol("x"), nothing, 5n]) {
      for (const field of ["serverAddress", "dcId", "port", "authKey", "media", "userId", "apiId"]) {
        expect(() => formatSession({ ...fields, [field]: wrong }, "mtcute"), field).toThrow(InvalidSessionError);
      }
    }
  });

  test("any damage to a string is noticed or harmless, and no message repeats a part of it", () => {
    const texts = fc.constantFrom(...Object.values(vectors));
    const damage = fc.tuple(texts, fc.nat(360), fc.nat(360), fc.string({ maxLength: 3 }));
    fc.assert(
      fc.property(damage, ([text, from, length, put]) => {
        expectStrict(text.slice(0, from) + put + text.slice(from + length));
      }),
      { numRuns: 1_000 },
    );
    fc.assert(fc.property(fc.string({ maxLength: 500 }), (text) => expectStrict(text)));
    fc.assert(fc.property(fc.base64String({ maxLength: 500 }), (text) => expectStrict(`1${text}`)));
  });
});

describe("identifySession()", () => {
  const messageOf = (read: (text: string) => unknown, text: string): string | undefined => {
    try {
      read(text);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };

  test.each(Object.entries(vectors))("accepts %s", (_, text) => {
    expect(() => identifySession(text)).not.toThrow();
  });

  test("throws for exactly what parseSession() does not read, with the same message", () => {
    const damage = fc.oneof(
      fc.tuple(fc.nat(400), fc.constant("")).map(([at, put]) => ({ at, cut: 400, put })),
      fc.record({ at: fc.nat(400), cut: fc.nat(4), put: fc.string({ maxLength: 4 }) }),
      fc.record({ at: fc.nat(40), cut: fc.nat(4), put: fc.stringMatching(/^[A-Za-z0-9+/=_-]{0,4}$/) }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...Object.values(vectors)), damage, (text, { at, cut, put }) => {
        const damaged = text.slice(0, at) + put + text.slice(at + cut);
        expect(messageOf(identifySession, damaged)).toBe(messageOf(parseSession, damaged));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("SessionData - its key", () => {
  test("is in no inspection, JSON or copy", () => {
    const session = parseSession(vectors.gramjs);
    const shown = [
      inspect(session, { showHidden: true, getters: true, depth: 9, maxArrayLength: null }),
      JSON.stringify(session),
      inspect({ ...session }),
      inspect(structuredClone(session)),
    ].join();
    expect(shown).toContain("149.154.167.51");
    expect(shown).not.toMatch(/authKey|Uint8Array|Buffer/);
  });

  test("cannot be changed from outside", () => {
    const session = parseSession(vectors.gramjs);
    session.authKey.fill(0);
    expect(Buffer.from(session.authKey)).toEqual(key);
    expect(Object.isFrozen(session)).toBe(true);
  });

  test("authKeyFingerprint() - MTProto's auth_key_id", () => {
    const expected = createHash("sha1").update(key).digest().subarray(12).toString("hex");
    expect(authKeyFingerprint(key)).toBe(expected);
    expect(authKeyFingerprint(parseSession(vectors.pyrogram).authKey)).toBe(expected);
  });
});

async function savedByGramjs(dcId: number, address: string, port: number): Promise<string> {
  const session = new StringSession("");
  session.setDC(dcId, address, port);
  const authKey = new AuthKey();
  await authKey.setKey(key);
  session.setAuthKey(authKey, dcId);
  return session.save();
}

async function savedByTeleproto(dcId: number, address: string, port: number): Promise<string> {
  const session = new teleprotoSessions.StringSession("");
  session.setDC(dcId, address, port);
  const authKey = new teleprotoKeys.AuthKey();
  await authKey.setKey(key);
  session.setAuthKey(authKey, dcId);
  return session.save();
}

/** Either it formats back to the same characters, or it is refused without a piece of it in the message. */
function expectStrict(text: string): void {
  try {
    const session = parseSession(text);
    expect(formatSession(session, session.format)).toBe(text);
  } catch (error) {
    if (!(error instanceof InvalidSessionError)) throw error;
    // With its stack and its causes.
    const told = inspect(error, { showHidden: true, depth: 9 });
    for (let at = 0; at + 12 <= text.length; at += 1) {
      if (told.includes(text.slice(at, at + 12))) throw new Error("It repeats a piece of the text.");
    }
  }
}

describe("parseSession() - strings of Pyrogram's forks, which carry an address", () => {
  const address = (length: number) => Buffer.from("149.154.167.91".padEnd(length, "\0"), "latin1");
  const fork = (version: number, length: number) =>
    Buffer.concat([
      Buffer.from([version, 4, 0, 0, 0, 9, 0]),
      key,
      Buffer.from([0, 0, 0, 1, 0, 0, 0, 5, 1, 1, 187]),
      address(length),
    ]);
  const withChecksum = (bytes: Buffer) => {
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(crc32(bytes), 0);
    return Buffer.concat([bytes, checksum]);
  };
  const read = { dcId: 4, serverAddress: "149.154.167.91", port: 443, apiId: 9, userId: 2 ** 32 + 5, isBot: true };

  test.each([
    ["290 bytes", fork(2, 16)],
    ["294 bytes", withChecksum(fork(2, 16))],
    ["322 bytes", fork(3, 48)],
    ["326 bytes", withChecksum(fork(3, 48))],
  ])("%s - reads it with and without its prefix, and writes Pyrogram's own form", (_, bytes) => {
    const text = bytes.toString("base64url");
    for (const session of [parseSession(text), parseSession(`WZ_${text}`)]) {
      expect(session).toMatchObject({ ...read, format: "pyrogram" });
      expect(parseSession(formatSession(session, "pyrogram"))).toMatchObject({
        dcId: 4,
        apiId: 9,
        userId: read.userId,
      });
    }
  });

  test.each([
    ["a byte changed under its checksum", Buffer.concat([Buffer.from([2, 5]), withChecksum(fork(2, 16)).subarray(2)])],
    ["another version", Buffer.concat([Buffer.from([9]), fork(2, 16).subarray(1)])],
    ["the version of the other length", fork(3, 16)],
  ])("%s - InvalidSessionError", (_, bytes) => {
    expect(() => parseSession(bytes.toString("base64url"))).toThrow(InvalidSessionError);
  });
});
