import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { OptionsError } from "../../src/errors.js";
import { isProfile } from "../../src/options/client-profile.js";
import type { ProxyProfile } from "../../src/options/proxy.js";
import { parseProxyUrl } from "../../src/options/proxy-url.js";
import { resolveProfile } from "../../src/options/validate.js";

const SECRET = "s3cret-hunter2";
const PLAIN = "ab".repeat(16);

describe("parseProxyUrl()", () => {
  test.each<[string, ProxyProfile]>([
    ["socks5://1.2.3.4:1080", { ip: "1.2.3.4", port: 1080, socksType: 5 }],
    ["SOCKS5://1.2.3.4:1080/", { ip: "1.2.3.4", port: 1080, socksType: 5 }],
    [
      "socks5h://me:pass@gate_1.example:9",
      { ip: "gate_1.example", port: 9, socksType: 5, username: "me", password: "pass" },
    ],
    [
      "socks5://me%40home:p%3A%2F%3F%23%25@[2001:db8::1]:1080",
      { ip: "2001:db8::1", port: 1080, socksType: 5, username: "me@home", password: "p:/?#%" },
    ],
    ["socks4://me@1.2.3.4:1080", { ip: "1.2.3.4", port: 1080, socksType: 4, username: "me" }],
    [
      "http://me:pass@gate.example:3128",
      { ip: "gate.example", port: 3128, protocol: "http", username: "me", password: "pass" },
    ],
    ["http://[2001:db8::1]", { ip: "2001:db8::1", port: 80, protocol: "http" }],
    ["http://1.2.3.4:80", { ip: "1.2.3.4", port: 80, protocol: "http" }],
    [`tg://proxy?server=mt.example&port=443&secret=${PLAIN}`, { ip: "mt.example", port: 443, secret: PLAIN }],
    [`tg:proxy?server=mt.example&port=443&secret=dd${PLAIN}`, { ip: "mt.example", port: 443, secret: `dd${PLAIN}` }],
    [
      `https://t.me/proxy?server=1.2.3.4&port=443&secret=ee${PLAIN}6578616d706c65&channel=@any`,
      { ip: "1.2.3.4", port: 443, secret: `ee${PLAIN}6578616d706c65` },
    ],
    [
      "https://telegram.me/proxy?server=1.2.3.4&port=443&secret=++v7+/v7+/v7+/v7+/v7+w==",
      { ip: "1.2.3.4", port: 443, secret: "++v7+/v7+/v7+/v7+/v7+w==" },
    ],
    [
      "tg://socks?server=1.2.3.4&port=1080&user=me&pass=pa%26ss",
      { ip: "1.2.3.4", port: 1080, socksType: 5, username: "me", password: "pa&ss" },
    ],
    ["https://t.me/socks?server=1.2.3.4&port=1080", { ip: "1.2.3.4", port: 1080, socksType: 5 }],
  ])("%s - the proxy that it names", (url, proxy) => {
    expect(parseProxyUrl("proxy", url)).toEqual(proxy);
    expect(isProfile({ proxy })).toBe(true);
  });

  test.each([
    ["", /no URL/],
    [SECRET, /no URL/],
    [`1.2.3.4:1080:me:${SECRET}`, /no URL|unknown kind/],
    [`me:${SECRET}@1.2.3.4:1080`, /unknown kind/],
    [`socks5://me:${SECRET}/x@1.2.3.4:1080`, /percent-encoded/],
    [`socks5://me:1?${SECRET}@1.2.3.4:1080`, /percent-encoded/],
    [`socks5://me:1#${SECRET}@1.2.3.4:1080`, /percent-encoded/],
    [`socks5://me:%${SECRET}@1.2.3.4:1080`, /percent-encoded/],
    [`socks5://me:${SECRET}@1.2.3.4`, /no port/],
    [`socks5://me:${SECRET}@1.2.3.4:0`, /wrong port/],
    [`socks5://me:${SECRET}@:1080`, /no URL|unknown kind/],
    [`socks5://me:${SECRET}@${SECRET}!:1080`, /wrong host/],
    [`socks4://me:${SECRET}@1.2.3.4:1080`, /SOCKS4 cannot send/],
    [`https://me:${SECRET}@1.2.3.4:443`, /TLS to the proxy/],
    [`ftp://me:${SECRET}@1.2.3.4:21`, /unknown kind/],
    [`tg://resolve?domain=${SECRET}`, /something else/],
    [`https://t.me/${SECRET}`, /something else/],
    ["tg://proxy?server=1.2.3.4&port=443", /without its secret/],
    [`tg://proxy?server=1.2.3.4&port=443&secret=${SECRET}`, /wrong secret/],
    [`tg://proxy?port=443&secret=${PLAIN}`, /wrong host/],
    [`tg://proxy?server=1.2.3.4&secret=${PLAIN}`, /no port/],
    [`https://t.me/proxy?server=${SECRET}!&port=443&secret=${PLAIN}`, /wrong host/],
  ])("%s - OptionsError that repeats nothing of it", (url, message) => {
    let error: unknown;
    try {
      parseProxyUrl("add: profile.proxy", url);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(OptionsError);
    expect((error as Error).message).toMatch(/^add: profile\.proxy /);
    expect((error as Error).message).toMatch(message);
    expect(inspect(error, { depth: 9, showHidden: true }).replace(/ +at .*/g, "")).not.toMatch(/s3cret|hunter2|abab/);
  });
});

describe("resolveProfile() - proxies that do not fit together", () => {
  const at = { ip: "1.2.3.4", port: 1080 };
  test.each([
    [{ ...at, socksType: 5, secret: PLAIN }, /exclude each other/],
    [{ ...at, socksType: 5, protocol: "http" }, /exclude each other/],
    [{ ...at, protocol: "http", secret: PLAIN }, /exclude each other/],
    [{ ...at, secret: PLAIN, password: SECRET }, /takes no username and no password/],
    [{ ...at, secret: PLAIN, username: SECRET }, /takes no username and no password/],
    [{ ...at, socksType: 4, password: SECRET }, /SOCKS4 cannot send/],
    [{ ...at, protocol: "https" }, /must be "http"/],
    [at, /needs socksType/],
    ["", /no URL/],
    [null, /must be/],
  ])("%j - OptionsError, never no proxy", (proxy, message) => {
    const resolve = () => resolveProfile("add", { proxy: proxy as never });
    expect(resolve).toThrow(OptionsError);
    expect(resolve).toThrow(message);
    expect(resolve).not.toThrow(/s3cret|abab/);
  });

  test("a URL - becomes a ProxyProfile; no proxy stays none", () => {
    expect(resolveProfile("add", { apiId: 5, proxy: "http://1.2.3.4:8080" })).toEqual({
      apiId: 5,
      proxy: { ip: "1.2.3.4", port: 8080, protocol: "http" },
    });
    expect(resolveProfile("add", { apiId: 5, proxy: undefined })).toEqual({ apiId: 5 });
  });
});

describe("isProfile() - proxies in records", () => {
  const at = { ip: "1.2.3.4", port: 1080 };
  test.each([
    [{ ...at, socksType: 5 }, true],
    [{ ...at, socksType: 5, secret: "of an earlier version" }, true],
    [{ ...at, protocol: "http", username: "u", password: "p", added: "by a newer version" }, true],
    [{ ...at, protocol: "https" }, false],
    [{ ...at, protocol: "http", socksType: 5 }, false],
    ["http://1.2.3.4:1080", false],
    [at, false],
  ])("%j - %s", (proxy, isUsable) => {
    expect(isProfile({ proxy })).toBe(isUsable);
  });

  test("an HTTP proxy - is neither SOCKS nor MTProto for a version that does not know it", () => {
    const { socksType, secret } = parseProxyUrl("proxy", "http://1.2.3.4:1080");
    expect([socksType, secret]).toEqual([undefined, undefined]);
  });
});
