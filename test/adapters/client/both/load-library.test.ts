import { describe, expect, test } from "vitest";
import type { Library, SenderOptions } from "../../../../adapters/client/mtproto/library.js";
import { findMissingInternal } from "../../../../adapters/client/mtproto/load-library.js";
import { loadUnderTest } from "../../../fakes/client-library.js";

const library = await loadUnderTest();

describe("missingPart()", () => {
  test("the installed version - nothing is missing", () => {
    expect(findMissingInternal(library)).toBeUndefined();
  });

  test.each<[string, Partial<Library>]>([
    ["library.MTProtoSender", { MTProtoSender: undefined as never }],
    ["library.GZIPPacked.gzipIfSmaller", { GZIPPacked: {} as never }],
    ["library.errors.SlowModeWaitError", { errors: { ...library.errors, SlowModeWaitError: undefined as never } }],
    ["library.Api.PeerChannel", { Api: { ...library.Api, PeerChannel: undefined as never } }],
  ])("without %s - its name", (path, change) => {
    expect(findMissingInternal({ ...library, ...change })).toBe(path);
  });

  test("a sender built in another way - the first part that is not there", () => {
    class OtherSender extends library.MTProtoSender {
      constructor(authKey: unknown, options: SenderOptions) {
        super(authKey, options);
        Object.defineProperty(this, "_pendingState", { value: {} });
      }
    }
    expect(findMissingInternal({ ...library, MTProtoSender: OtherSender })).toBe("sender._pendingState.get");
  });

  test("a part of this library alone - counts too", () => {
    const differences = { ...library.differences, parts: ["client._noSuchPart.deep"] };
    expect(findMissingInternal({ ...library, differences })).toBe("client._noSuchPart.deep");
  });
});
