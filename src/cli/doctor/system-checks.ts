import { addressOfDataCenter } from "../../telegram/data-centers.js";
import { isInstalled } from "../client-library.js";
import type { CommandContext } from "../command.js";
import { CLIENTS } from "../settings.js";
import { durationText } from "../time-text.js";
import { type Finding, fail, messageOf, ok, warn } from "./finding.js";
import { measureClockOffset } from "./server-clock.js";

/** A smaller clock offset is harmless: cooldowns are longer than that. */
const TOLERATED_OFFSET_MS = 2_000;

/** Source: the field `engines` of package.json. */
export function checkNode(version: string = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isRight = major === 20 ? minor >= 19 : major > 22 || (major === 22 && minor >= 12);
  if (isRight) return ok("Node.js", version);
  return fail("Node.js", `${version} is too old`, "Install 20.19, or 22.12 or newer.");
}

/** Which SQLite driver is available: the one of Node.js, or the package that replaces it. */
export async function checkSqliteDriver(isNeeded: boolean): Promise<Finding> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > 22 || (major === 22 && minor >= 13)) return ok("SQLite", `of Node.js (${process.versions.sqlite ?? ""})`);
  try {
    import.meta.resolve("@keyv/sqlite");
    return ok("SQLite", "of the package @keyv/sqlite");
  } catch {
    const advice = "Install Node.js 22.13 or newer, or: npm install keyv@5 @keyv/sqlite@4.";
    const message = "Node.js has none of its own in this version, and @keyv/sqlite is not installed";
    return isNeeded ? fail("SQLite", message, advice) : ok("SQLite", `${message}; this storage needs none`);
  }
}

/** The libraries that connect accounts, and what they need to do so. */
export async function checkClient({ settings }: CommandContext): Promise<readonly Finding[]> {
  const installed: string[] = [];
  for (const name of CLIENTS) if (await isInstalled(name)) installed.push(name);
  const library =
    installed.length > 0
      ? ok("client library", installed.join(", "))
      : warn("client library", "none is installed: no account can connect", "npm install telegram");
  try {
    void settings.api;
    return [library, ok("API_ID, API_HASH", "are set")];
  } catch (error) {
    return [library, warn("API_ID, API_HASH", messageOf(error), "Only list, status and the like work without them.")];
  }
}

/** Whether Telegram can be reached from here, and by how much its clock and this one differ. */
export async function checkClock({ settings, signal }: CommandContext): Promise<Finding> {
  const { privateServer } = settings;
  const host = privateServer?.host ?? addressOfDataCenter(2, false) ?? "";
  const port = privateServer?.port ?? 443;
  const name = privateServer === undefined ? "Telegram" : `${host}:${port}`;
  try {
    const { offsetMs, uncertaintyMs } = await measureClockOffset(host, port, signal);
    return judgeClock("clock", name, offsetMs, uncertaintyMs);
  } catch (error) {
    signal.throwIfAborted();
    return warn(
      "clock",
      `${name} cannot be reached from here (${messageOf(error)}), so its clock is not known`,
      "Accounts with a proxy need no direct way; the others do: look at firewall and DNS.",
    );
  }
}

/** Cooldowns are stored as instants: a clock that is wrong ends them too early or too late after a restart. */
export function judgeClock(check: string, name: string, offsetMs: number, uncertaintyMs: number): Finding {
  if (Math.abs(offsetMs) <= TOLERATED_OFFSET_MS + uncertaintyMs) {
    return ok(
      check,
      `agrees with ${name} (within ${Math.max(1, Math.round((Math.abs(offsetMs) + uncertaintyMs) / 100) / 10)} s)`,
    );
  }
  const direction = offsetMs > 0 ? "behind" : "ahead of";
  return warn(
    check,
    `this machine is ${durationText(Math.abs(offsetMs))} ${direction} ${name}`,
    "Set the clock by NTP: a cooldown is stored as an instant, and a wrong clock ends it too early or too late.",
  );
}
