import { afterEach, describe, expect, test, vi } from "vitest";
import { gramjs } from "../../../adapters/client/gramjs.js";
import { ifThere, importParts, type Package } from "../../../adapters/client/mtproto/loading.js";
import { teleproto } from "../../../adapters/client/teleproto.js";
import { OptionsError, SessionPool } from "../../../src/index.js";

const OPTIONS = { apiId: 1, apiHash: "hash" };

const missing = (what: string) => Object.assign(new Error(`Cannot find ${what}`), { code: "ERR_MODULE_NOT_FOUND" });

type Parts = { readonly root: object; readonly sender: object };

const packageOf = (change: Partial<Package<Parts>["parts"]>): Package<Parts> => ({
  adapter: "teleproto",
  name: "teleproto",
  range: "^1.223.0",
  parts: { root: async () => ({ name: "root" }), sender: async () => ({ name: "sender" }), ...change },
});

describe("importParts()", () => {
  test("all there - each by its name", async () => {
    expect(await importParts(packageOf({}))).toEqual({ root: { name: "root" }, sender: { name: "sender" } });
  });

  test("the package is not installed - one sentence with the command", async () => {
    const outcome = importParts(packageOf({ root: () => Promise.reject(missing("package")) }));
    await expect(outcome).rejects.toBeInstanceOf(OptionsError);
    await expect(outcome).rejects.toThrow('teleproto() needs the package "teleproto": npm install teleproto@^1.223.0');
  });

  test.each(["ERR_MODULE_NOT_FOUND", "ERR_PACKAGE_PATH_NOT_EXPORTED"])("a part is not there (%s)", async (code) => {
    const failure = Object.assign(new Error("no"), { code });
    const outcome = importParts(packageOf({ sender: () => Promise.reject(failure) }));
    await expect(outcome).rejects.toBeInstanceOf(OptionsError);
    await expect(outcome).rejects.toThrow(
      'teleproto() does not know this version of "teleproto" (its part "sender" is not there): npm install teleproto@^1.223.0',
    );
  });

  test("not there, in Vite's words - the same", async () => {
    const failure = new Error('Could not resolve "teleproto" imported by "telegram-session-pool".');
    const outcome = importParts(packageOf({ root: () => Promise.reject(failure) }));
    await expect(outcome).rejects.toThrow("npm install teleproto@^1.223.0");
  });

  test("ifThere() - nothing where it is missing, the error where it fails", async () => {
    expect(await ifThere(async () => 1)).toBe(1);
    expect(await ifThere(() => Promise.reject(missing("part")))).toBeUndefined();
    await expect(ifThere(() => Promise.reject(new SyntaxError("broken")))).rejects.toThrow("broken");
  });

  test("a part that fails by itself - its own error", async () => {
    const failure = new SyntaxError("broken");
    await expect(importParts(packageOf({ sender: () => Promise.reject(failure) }))).rejects.toBe(failure);
    await expect(importParts(packageOf({ root: () => Promise.reject(failure) }))).rejects.toBe(failure);
  });
});

describe("SessionPool.open()", () => {
  afterEach(() => {
    vi.doUnmock("telegram");
    vi.doUnmock("teleproto");
    vi.doUnmock("telegram/network/MTProtoSender.js");
    vi.doUnmock("teleproto/network/MTProtoSender.js");
    vi.resetModules();
  });

  const adapters = [
    ["telegram", "gramjs", () => gramjs(OPTIONS)],
    ["teleproto", "teleproto", () => teleproto(OPTIONS)],
  ] as const;

  test.each(adapters)("%s is installed - opens", async (_, __, adapter) => {
    await using pool = await SessionPool.open({ client: adapter() as never });
    expect(pool.status().total).toBe(0);
  });

  test.each(adapters)("a %s with another sender - OptionsError names the part", async (name, call, adapter) => {
    vi.doMock(`${name}/network/MTProtoSender.js`, () => ({ MTProtoSender: class {} }));
    const opening = SessionPool.open({ client: adapter() as never });
    await expect(opening).rejects.toMatchObject({ name: "OptionsError" });
    await expect(opening).rejects.toThrow(
      `${call}() does not know this version of "${name}" (sender.connect is not there)`,
    );
  });
});

describe("options", () => {
  test.each([gramjs, teleproto] as readonly ((options: never) => unknown)[])("%o - the same checks", (adapter) => {
    const attempt = (options: unknown) => () => adapter(options as never);
    expect(attempt(undefined)).toThrow(`${adapter.name}: expected { apiId, apiHash }`);
    expect(attempt({ ...OPTIONS, apiKey: 1 })).toThrow(`${adapter.name}: unknown option "apiKey"`);
    expect(attempt({ ...OPTIONS, apiId: "1" })).toThrow(`${adapter.name}: apiId must be a whole number`);
    expect(attempt({ ...OPTIONS, apiHash: "" })).toThrow(`${adapter.name}: apiHash must be a non-empty string`);
    expect(attempt({ ...OPTIONS, clientOptions: null })).toThrow(`${adapter.name}: clientOptions must be an object`);
    expect(attempt({ ...OPTIONS, onConnect: 1 })).toThrow(`${adapter.name}: onConnect must be a function`);
  });

  test("create() before open() - OptionsError", () => {
    expect(() => teleproto(OPTIONS).create(undefined as never)).toThrow(
      "teleproto: open() has to come before create().",
    );
  });
});
