import { OptionsError } from "../../../src/errors.js";
import { describeType, isObject, unknownOption } from "../../../src/options/validators.js";
import { rsaFingerprint, rsaNumbers } from "../../../src/telegram/rsa-key.js";
import type { Library } from "./library.js";

/** A server that speaks MTProto and is not Telegram's. */
export interface PrivateServer {
  /** The number of its data center: connects to it go to `host` and `port`, regardless of the address in a session. */
  readonly dcId: number;
  readonly host: string;
  readonly port: number;
  /** The RSA public key of the server, in PEM. Auth keys are created only with a server that holds the private key. */
  readonly publicKey: string;
}

const FIELDS: readonly (keyof PrivateServer)[] = ["dcId", "host", "port", "publicKey"];
const MAX_DC = 255;
const PORTS = 0x10000;

/** Throws `OptionsError` for what is no private server. */
export function checkServer(adapter: string, server: unknown): void {
  const expected = `${adapter}: server must be { dcId, host, port, publicKey }`;
  if (!isObject(server)) throw new OptionsError(`${expected}; got ${describeType(server)}.`);
  for (const key of Object.keys(server)) {
    if (!FIELDS.includes(key as keyof PrivateServer)) throw unknownOption(`${adapter}: server`, key, FIELDS);
  }
  const { dcId, host, port, publicKey } = server as Partial<Record<keyof PrivateServer, unknown>>;
  const isWhole = (value: unknown, end: number): boolean =>
    Number.isInteger(value) && Number(value) > 0 && Number(value) < end;
  if (!isWhole(dcId, MAX_DC + 1)) throw new OptionsError(`${expected}; dcId must be a number from 1 to 255.`);
  if (typeof host !== "string" || host === "")
    throw new OptionsError(`${expected}; host must be an address or a name.`);
  if (!isWhole(port, PORTS)) throw new OptionsError(`${expected}; port must be a number from 1 to 65535.`);
  try {
    rsaFingerprint(String(publicKey));
  } catch (cause) {
    throw new OptionsError(`${expected}; publicKey must be an RSA public key in PEM.`, { cause });
  }
}

/** Makes the server's RSA key known to the library's key exchange. */
export async function addServerKey(library: Library, { publicKey }: PrivateServer): Promise<void> {
  const { modulus, exponent } = rsaNumbers(publicKey);
  const keys = await library.serverKeys();
  keys.set(String(rsaFingerprint(publicKey)), {
    n: library.helpers.returnBigInt(BigInt(`0x${modulus.toString("hex")}`)),
    e: Number(`0x${exponent.toString("hex")}`),
  });
}

/** Replaces the library's choice of an address: GramJS uses a port of its own, and reads large ones as negative. */
export function dialedAddress(
  server: PrivateServer,
  to: { readonly dcId: number; readonly port: number | undefined },
): { readonly ip?: string; readonly port: number } {
  if (to.dcId === server.dcId || to.port === undefined) return { ip: server.host, port: server.port };
  return { port: to.port < 0 ? to.port + PORTS : to.port };
}
