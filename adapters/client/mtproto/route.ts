import { OptionsError } from "../../../src/errors.js";
import { isFakeTls, type ProxyProfile } from "../../../src/options/proxy.js";
import type { ClientParams, Library } from "./library.js";

/**
 * Throws `OptionsError` when the library cannot connect through this proxy, or could pass it by. `name`: what the message
 * begins with.
 */
export function checkRoute(
  library: Library,
  name: string,
  { networkSocket }: ClientParams,
  proxy: ProxyProfile | undefined,
): void {
  if (proxy === undefined) return;
  const { differences, PromisedNetSockets } = library;
  if (proxy.secret !== undefined && isFakeTls(proxy.secret) && !differences.speaksFakeTls) {
    throw new OptionsError(
      `${name} is an MTProto proxy with fake TLS (its secret begins with ee), which ${differences.name} cannot speak: use teleproto() 1.229 or newer, or a proxy with a plain or dd secret.`,
    );
  }
  if (networkSocket === undefined || networkSocket === PromisedNetSockets) return;
  if (networkSocket.prototype instanceof PromisedNetSockets) return;
  throw new OptionsError(
    `${name} needs clientOptions.networkSocket to extend the PromisedNetSockets of ${differences.name}: any other class may pass the proxy by.`,
  );
}

/** The proxy that the adapter's own options name, if any. */
export function configuredProxy({ proxy }: ClientParams): ProxyProfile | undefined {
  return (proxy as ProxyProfile | null | undefined) ?? undefined;
}
