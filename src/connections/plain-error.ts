/**
 * A failure without what must not be seen: what a proxy or socket library throws may carry the proxy's password in its
 * fields or its text. Only name, message and code are kept, and the secrets are cut out of the message.
 */
export function plainError(error: unknown, secrets: readonly (string | undefined)[]): Error {
  const source = error instanceof Error ? error : new Error(String(error));
  let message = source.message;
  for (const secret of secrets)
    if (secret !== undefined && secret !== "") message = message.replaceAll(secret, "[redacted]");
  const plain = new Error(message);
  plain.name = source.name;
  const code: unknown = Reflect.get(source, "code");
  return typeof code === "string" || typeof code === "number" ? Object.assign(plain, { code }) : plain;
}
