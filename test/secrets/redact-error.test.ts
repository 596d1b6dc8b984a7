import { expect, test } from "vitest";
import { redactError } from "../../src/common/redact-error.js";

test("redactError() - keeps name, message and code, and no secret anywhere", () => {
  const error = Object.assign(new TypeError("auth failed for socks5://joe:hunter2@10.0.0.1"), {
    code: "EAUTH",
    options: { proxy: { password: "hunter2" } },
  });
  const plain = redactError(error, ["hunter2", undefined, ""]);
  expect(plain).toMatchObject({ name: "TypeError", code: "EAUTH" });
  expect(plain.message).toBe("auth failed for socks5://joe:[redacted]@10.0.0.1");
  expect(`${plain.stack} ${JSON.stringify(plain)} ${Object.keys(plain)}`).not.toMatch(/hunter2|options/);
  expect(redactError("a text", []).message).toBe("a text");
});

test("redactError() - a short secret is removed where it stands alone, and not inside other words", () => {
  const error = new Error("getaddrinfo ENOTFOUND proxy.invalid for socks5://joe:x@proxy.invalid");
  expect(redactError(error, ["x"]).message).toBe(
    "getaddrinfo ENOTFOUND proxy.invalid for socks5://joe:[redacted]@proxy.invalid",
  );
  expect(
    redactError(new Error("0123456789abcdef0123456789abcdefX"), ["0123456789abcdef0123456789abcdef"]).message,
  ).toBe("[redacted]X");
});
