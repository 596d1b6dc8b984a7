import { connect } from "node:net";
import { systemClock } from "../../common/clock.js";
import { CredentialEncryption } from "../../encryption/credentials.js";
import type { Sealer } from "../../encryption/sealer.js";
import type { ResolvedProfile } from "../../options/client-profile.js";
import { type ProxyProfile, proxyName } from "../../options/proxy.js";
import { StorageTimeout } from "../../storage/storage-timeout.js";
import type { CommandContext } from "../command.js";
import { type Finding, fail, messageOf, ok, warn } from "./finding.js";
import { isSealed, type ReadableRecord } from "./storage-checks.js";

const SEALER_TIMEOUT_MS = 5_000;
const PROXY_TIMEOUT_MS = 5_000;
const MOST_NAMED = 3;

/** Whether SESSION_POOL_KEY opens every account; and the proxies of those that it opens. */
export async function checkCredentials(
  records: readonly ReadableRecord[],
  context: CommandContext,
): Promise<readonly Finding[]> {
  if (records.length === 0) return [];
  const { settings } = context;
  let sealer: Sealer | undefined;
  try {
    sealer = settings.sealer({ allowPlaintext: true });
  } catch (error) {
    return [
      fail("encryption", `SESSION_POOL_KEY is no key: ${messageOf(error)}`, "Make one: openssl rand -base64 32."),
    ];
  }
  const opener = new CredentialEncryption(sealer, new StorageTimeout(systemClock, SEALER_TIMEOUT_MS), true);
  const profiles: ResolvedProfile[] = [];
  const closed: string[] = [];
  let reason = "";
  for (const { id, record } of records) {
    try {
      profiles.push((await opener.open(id, record)).profile);
    } catch (error) {
      closed.push(id);
      reason = messageOf(error);
    }
  }
  return [keyFinding(records, closed, reason, settings.keys.length), ...(await checkProxies(profiles, context))];
}

function keyFinding(
  records: readonly ReadableRecord[],
  closed: readonly string[],
  reason: string,
  keys: number,
): Finding {
  const sealed = records.filter(isSealed).length;
  if (closed.length > 0) {
    const named = closed.slice(0, MOST_NAMED).join(", ");
    const more = closed.length > MOST_NAMED ? ` and ${closed.length - MOST_NAMED} more` : "";
    const message = `${named}${more} cannot be opened: ${reason}`;
    if (sealed > 0 && keys === 0) {
      return fail(
        "encryption",
        "the accounts are encrypted and SESSION_POOL_KEY is not set",
        "Set it, in the environment or in .env.",
      );
    }
    return fail(
      "encryption",
      message,
      "Put the key they were encrypted with into SESSION_POOL_KEY, after the newer ones.",
    );
  }
  if (sealed === records.length) return ok("encryption", "SESSION_POOL_KEY opens every account");
  if (keys > 0) {
    return fail(
      "encryption",
      `${records.length - sealed} of ${records.length} accounts are not encrypted, and SESSION_POOL_KEY is set`,
      "telegram-session-pool rotate-keys --from-plaintext",
    );
  }
  return warn(
    "encryption",
    "accounts are stored unencrypted: read access to the storage is access to the accounts",
    "Set SESSION_POOL_KEY (openssl rand -base64 32), then: rotate-keys --from-plaintext.",
  );
}

/** Whether each proxy accepts connections. Nothing is sent to it. */
async function checkProxies(
  profiles: readonly ResolvedProfile[],
  { signal }: CommandContext,
): Promise<readonly Finding[]> {
  const uses = new Map<string, { proxy: ProxyProfile; count: number }>();
  for (const { proxy } of profiles) {
    if (typeof proxy !== "object") continue;
    const name = proxyName(proxy);
    uses.set(name, { proxy, count: (uses.get(name)?.count ?? 0) + 1 });
  }
  return Promise.all(
    [...uses].map(async ([name, { proxy, count }]): Promise<Finding> => {
      const accounts = `${count} ${count === 1 ? "account" : "accounts"}`;
      try {
        await reach(proxy, signal);
        return ok("proxy", `${name} accepts connections (${accounts})`);
      } catch (error) {
        signal.throwIfAborted();
        return fail(
          "proxy",
          `${name} cannot be reached (${messageOf(error)}): ${accounts} cannot connect`,
          "Start it, or give these accounts another one with pool.update().",
        );
      }
    }),
  );
}

function reach({ ip, port }: ProxyProfile, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: ip, port, signal });
    const end = (finish: () => void): void => {
      socket.destroy();
      finish();
    };
    socket.setTimeout(PROXY_TIMEOUT_MS, () =>
      end(() => reject(new Error(`no answer within ${PROXY_TIMEOUT_MS / 1000} s`))),
    );
    socket.once("connect", () => end(resolve));
    socket.once("error", (error) => end(() => reject(error)));
  });
}
