import { inspect } from "node:util";
import { expect, test } from "vitest";
import { hideSecrets } from "../../../../adapters/client/mtproto/secrets.js";

test("hideSecrets() - the same object twice: its fields keep their values, and can be set", () => {
  const key: { _key: string } = { _key: "former" };
  hideSecrets(hideSecrets(key, "auth key"), "auth key");
  expect(key._key).toBe("former");
  key._key = "next";
  expect(key._key).toBe("next");
  expect(inspect(key, { customInspect: false, showHidden: true })).not.toContain("next");
});
