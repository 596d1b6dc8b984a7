import { inspect } from "node:util";

/** Fields of clients, sessions, senders and keys through which a secret could be seen, also those that are set later. */
const HIDDEN = ["session", "apiHash", "_sender", "_proxy", "_initRequest", "_key", "_authKey", "authKey", "_hash"];

/**
 * Makes `inspect` and JSON of the object itself say nothing: they look through a Proxy. What inspects without the custom
 * way, and with hidden fields, finds accessors; only one that calls every getter still reads what is behind them.
 */
export function hideSecrets<T extends object>(target: T, kind: string): T {
  for (const key of HIDDEN) {
    const descriptor = Object.getOwnPropertyDescriptor(target, key);
    // What has an accessor keeps it: its class's own, or the one from here, as one key may serve several connections.
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

/** Takes every field out of what `Object.entries` and a spread show. */
export function hideFields(target: object): void {
  for (const [key, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(target))) {
    if (descriptor.enumerable === true) Object.defineProperty(target, key, { ...descriptor, enumerable: false });
  }
}
