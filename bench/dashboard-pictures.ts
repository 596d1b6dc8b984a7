/*
 * Takes the pictures of the dashboard for the documents: npm run build && npx tsx bench/dashboard-pictures.ts
 */
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Page } from "playwright-core";
import type { dashboard as makeDashboard } from "../src/dashboard/index.js";
import { launchBrowser } from "../test/dashboard/browser.js";
import { root } from "../test/examples/build.js";
import { SamplePool } from "./dashboard-sample.js";

interface Picture {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly scheme: "light" | "dark";
  /** What is done before it is taken. */
  readonly prepare?: (page: Page) => Promise<void>;
}

const openSession = async (page: Page): Promise<void> => {
  await page.getByRole("button", { name: "bob", exact: true }).click();
  await page.locator("dialog[open]").waitFor();
};

const PICTURES: readonly Picture[] = [
  { name: "dashboard-desktop-light", width: 1_360, height: 1_000, scheme: "light" },
  { name: "dashboard-desktop-dark", width: 1_360, height: 1_000, scheme: "dark" },
  { name: "dashboard-tablet-light", width: 834, height: 1_112, scheme: "light" },
  { name: "dashboard-tablet-dark", width: 834, height: 1_112, scheme: "dark", prepare: openSession },
  { name: "dashboard-phone-light", width: 390, height: 844, scheme: "light" },
  { name: "dashboard-phone-dark", width: 390, height: 844, scheme: "dark" },
];

// The built one has its page embedded.
const { dashboard } = (await import("telegram-session-pool/dashboard" as string)) as {
  readonly dashboard: typeof makeDashboard;
};
const folder = join(root, "docs/images");
mkdirSync(folder, { recursive: true });
const sample = await SamplePool.open();
const board = dashboard(sample.pool, { authorize: () => "manage" });
await sample.fill();
await sample.makeHour();
const server = createServer(board).listen(0, "127.0.0.1");
await new Promise<void>((resolve) => server.once("listening", resolve));
const browser = await launchBrowser();
for (const { name, width, height, scheme, prepare } of PICTURES) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme });
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await page.locator("#main:not([hidden])").waitFor();
  await prepare?.(page);
  await page.waitForTimeout(1_200);
  await page.screenshot({ path: join(folder, `${name}.png`) });
  await page.close();
}
await browser.close();
board.close();
server.close();
server.closeAllConnections();
await sample[Symbol.asyncDispose]();
