import { BlockList, isIP } from "node:net";

/**
 * The addresses of Telegram's data centers by number, for session formats that contain only the number.
 * Source: pyrogram/session/internals/data_center.py; the same networks in TDLib's and Telegram Desktop's built-in lists.
 */
const PRODUCTION_ADDRESSES_BY_DC: ReadonlyMap<number, string> = new Map([
  [1, "149.154.175.53"],
  [2, "149.154.167.51"],
  [3, "149.154.175.100"],
  [4, "149.154.167.91"],
  [5, "91.108.56.130"],
]);

/** The same for the test servers, which have separate accounts (core.telegram.org/api/auth#test-accounts). */
const TEST_ADDRESSES_BY_DC: ReadonlyMap<number, string> = new Map([
  [1, "149.154.175.10"],
  [2, "149.154.167.40"],
  [3, "149.154.175.117"],
]);

const TEST_ADDRESSES: ReadonlySet<string> = new Set(TEST_ADDRESSES_BY_DC.values());

/** The IPv4 address of a data center; `undefined` for an unknown number. */
export function addressOfDataCenter(id: number, isTest: boolean): string | undefined {
  return (isTest ? TEST_ADDRESSES_BY_DC : PRODUCTION_ADDRESSES_BY_DC).get(id);
}

/** Whether an address is one of Telegram's test servers. */
export function isTestAddress(address: string): boolean {
  return TEST_ADDRESSES.has(address);
}

/** Telegram's published networks. Source: core.telegram.org/resources/cidr.txt. */
const NETWORKS: readonly string[] = [
  "91.105.192.0/23",
  "91.108.4.0/22",
  "91.108.8.0/22",
  "91.108.12.0/22",
  "91.108.16.0/22",
  "91.108.20.0/22",
  "91.108.56.0/22",
  "149.154.160.0/20",
  "185.76.151.0/24",
  "2001:67c:4e8::/48",
  "2001:b28:f23c::/48",
  "2001:b28:f23d::/48",
  "2001:b28:f23f::/48",
  "2a0a:f280::/32",
  // Not in that list, but an additional address of data center 2 in TDLib (DcOptions) and Telegram Desktop (BuiltInDc).
  "95.161.76.100/32",
];

const TELEGRAM_NETWORKS: BlockList = new BlockList();
for (const network of NETWORKS) {
  const [address = "", prefix] = network.split("/");
  TELEGRAM_NETWORKS.addSubnet(address, Number(prefix), isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Telegram's web sockets: `venus.web.telegram.org`, `zws2.web.telegram.org` (core.telegram.org/mtproto/transports#uri-format). */
const WEB_HOST = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+web\.telegram\.org$/i;

/**
 * Whether an address belongs to Telegram: an IP address in one of its networks, or a host under `web.telegram.org`. A
 * session with another server would reveal its key to the operator of that server.
 */
export function isTelegramAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return address.length <= 253 && WEB_HOST.test(address);
  if (address.includes("%")) return false;
  return TELEGRAM_NETWORKS.check(address, family === 6 ? "ipv6" : "ipv4");
}
