import { inspect } from "node:util";

/** Fields of clients, sessions, senders and keys that may expose a secret, also when they are set later. */
const HIDDEN = ["session", "apiHash", "_sender", "_proxy", "_initRequest", "_key", "_authKey", "authKey", "_hash"];

/**
 * Redacts the object itself for `inspect` and JSON, which see through a Proxy. An inspection of hidden fields without the
 * custom method finds accessors; only one that calls every getter still reads the values.
 */
export function hideSecrets<T extends object>(target: T, kind: string): T {
  for (const key of HIDDEN) {
    const descriptor = Object.getOwnPropertyDescriptor(target, key);
    // An accessor stays: of its class, or from an earlier call, since one key may serve several connections.
    if (descriptor === undefined ? key in target : !("value" in descriptor)) continue;
    let value: unknown = descriptor?.value;
    Object.defineProperty(target, key, {
      get: () => value,
      set: (next: unknown) => {
        value = next;
      },
      enumerable: false,
      configurable: true,
    });
  }
  const text = `[TelegramClient ${kind}: redacted]`;
  Object.defineProperty(target, inspect.custom, { value: () => text, enumerable: false, configurable: true });
  Object.defineProperty(target, "toJSON", { value: () => text, enumerable: false, configurable: true });
  return target;
}

/** Hides every field from `Object.entries` and spreads. */
export function hideFields(target: object): void {
  for (const [key, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(target))) {
    if (descriptor.enumerable === true) Object.defineProperty(target, key, { ...descriptor, enumerable: false });
  }
}
