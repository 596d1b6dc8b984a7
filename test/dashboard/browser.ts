import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

/** Chromium of Debian, or the one that `CHROMIUM` names. */
const EXECUTABLE: string = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Whether there is a browser to test with. */
export const hasBrowser: boolean = existsSync(EXECUTABLE);

/** Starts a browser without a window, with a profile of its own that is deleted at its end. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Why tests in a browser are skipped. */
export const WHY_NOT: string = `There is no browser at ${EXECUTABLE}: the tests of the page are skipped. Install chromium, or name one in CHROMIUM.`;
