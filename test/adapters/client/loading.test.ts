import { afterEach, describe, expect, test, vi } from "vitest";
import { gramjs } from "../../../adapters/client/gramjs.js";
import { packageFailure, partFailure, undefinedIfMissing } from "../../../adapters/client/mtproto/load-library.js";
import { teleproto } from "../../../adapters/client/teleproto.js";
import { OptionsError, SessionPool } from "../../../src/index.js";

const OPTIONS = { apiId: 1, apiHash: "hash" };

const PACKAGE = { adapter: "teleproto", name: "teleproto", range: "^1.223.0" };

const missing = (message: string, code = "ERR_MODULE_NOT_FOUND") => Object.assign(new Error(message), { code });

describe("packageFailure()", () => {
  test.each([
    missing("Cannot find package 'teleproto' imported from /app/index.js"),
    missing("Cannot find module 'teleproto'", "MODULE_NOT_FOUND"),
    new Error('Could not resolve "teleproto" imported by "telegram-session-pool".'),
  ])("%s - one sentence with the command", (error) => {
    const failure = packageFailure(PACKAGE, error);
    expect(failure).toBeInstanceOf(OptionsError);
    expect(failure).toMatchObject({
      message: 'teleproto() needs the package "teleproto": npm install teleproto@^1.223.0',
      cause: error,
    });
  });

  test("a package that fails by itself - its own error", () => {
    const failure = new SyntaxError("broken");
    expect(packageFailure(PACKAGE, failure)).toBe(failure);
  });
});

describe("partFailure()", () => {
  const file = "network/MTProtoSender.js";

  test.each([
    missing(`Cannot find module '/app/node_modules/teleproto/${file}' imported from /app/index.js`),
    missing(`Package subpath './${file}' is not defined by "exports" in /app`, "ERR_PACKAGE_PATH_NOT_EXPORTED"),
    missing(`Cannot find module 'teleproto/${file}'`, "MODULE_NOT_FOUND"),
    new Error(`Could not resolve "teleproto/${file}" imported by "telegram-session-pool".`),
  ])("%s - names the part and the command", (error) => {
    const failure = partFailure(PACKAGE, error);
    expect(failure).toBeInstanceOf(OptionsError);
    expect(failure).toMatchObject({
      message: `teleproto() does not know this version of "teleproto" (its part "${file}" is not there): npm install teleproto@^1.223.0`,
    });
  });

  test("an error that names nothing - still the command", () => {
    expect(partFailure(PACKAGE, missing("no"))).toMatchObject({
      message: expect.stringContaining("(one of its parts is not there): npm install teleproto@^1.223.0"),
    });
  });

  test("a part that fails by itself - its own error", () => {
    const failure = new SyntaxError("broken");
    expect(partFailure(PACKAGE, failure)).toBe(failure);
  });

  test("undefinedIfMissing() - nothing where it is missing, the error where it fails", () => {
    expect(undefinedIfMissing(missing("part"))).toBeUndefined();
    expect(() => undefinedIfMissing(new SyntaxError("broken"))).toThrow("broken");
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
    expect(attempt({ ...OPTIONS, update: true })).toThrow('Did you mean "updates"?');
    expect(attempt({ ...OPTIONS, apiId: "1" })).toThrow(`${adapter.name}: apiId must be a whole number`);
    expect(attempt({ ...OPTIONS, apiId: "12345" })).toThrow("; got a string of 5 characters. Convert it: Number(…).");
    expect(attempt({ ...OPTIONS, apiId: Number.NaN })).toThrow("; got NaN.");
    expect(attempt({ apiHash: "x" })).toThrow("; got undefined.");
    expect(attempt({ ...OPTIONS, apiHash: "" })).toThrow(`${adapter.name}: apiHash must be a non-empty string`);
    expect(attempt({ ...OPTIONS, apiHash: "" })).toThrow("; got an empty string.");
    expect(attempt({ ...OPTIONS, clientOptions: null })).toThrow(`${adapter.name}: clientOptions must be an object`);
    expect(attempt({ ...OPTIONS, onConnect: 1 })).toThrow(`${adapter.name}: onConnect must be a function`);
  });

  test("create() before open() - OptionsError", () => {
    expect(() => teleproto(OPTIONS).create(undefined as never)).toThrow(
      "teleproto: open() has to come before create().",
    );
  });
});
