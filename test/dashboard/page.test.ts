import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { DashboardOptions, DashboardPools } from "../../src/dashboard/index.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { hasBrowser, launchBrowser, WHY_NOT } from "./browser.js";
import { serve } from "./served.js";

let browser: Browser;

beforeAll(async () => {
  if (hasBrowser) browser = await launchBrowser();
  else console.warn(WHY_NOT);
}, 120_000);
afterAll(() => browser?.close());

/** What a page did that it should not have. */
interface Watched {
  readonly page: Page;
  readonly origin: string;
  /** Errors, violations of the Content-Security-Policy, and requests to other origins. */
  readonly faults: readonly string[];
}

async function open(pools: DashboardPools, options: DashboardOptions = {}): Promise<Watched> {
  const { origin } = await serve(pools, options);
  const page = await browser.newPage({ viewport: { width: 1_280, height: 1_000 } });
  onTestFinished(() => page.close());
  const faults: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${origin}/`)) faults.push(`a request to ${request.url()}`);
  });
  await page.goto(origin);
  await page.locator("#main:not([hidden])").waitFor();
  return { page, origin, faults };
}

const figure = (page: Page, name: string) => page.locator(`[data-figure="${name}"] .value`);
const names = (page: Page) => page.locator("#sessions .name").allTextContents();

describe.runIf(hasBrowser)("the page", () => {
  test("shows what the pool says, live", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice", "bob", "carol"] });
    const { page, faults } = await open(pool);
    expect(await figure(page, "free").textContent()).toBe("3");
    expect(await figure(page, "next").textContent()).toBe("now");
    expect(await names(page)).toEqual(["alice", "bob", "carol"]);
    telegram.onCall = ({ id }) => {
      throw id === "alice" ? new FakeRpcError(401, "AUTH_KEY_UNREGISTERED") : new FakeRpcError(420, "FLOOD_WAIT_600");
    };
    for (const id of ["alice", "bob", "carol"]) {
      await pool.use((client) => client.call(READ), { id, retry: "none" }).catch(() => {});
    }
    await page.locator('[data-figure="free"] .value', { hasText: /^0$/ }).waitFor();
    expect(await figure(page, "next").textContent()).toMatch(/^(10 min|9 min 5\d s)$/);
    expect(await figure(page, "floods").textContent()).toBe("GetFullUser");
    expect(await figure(page, "dead").textContent()).toBe("1");
    expect(await page.locator('[data-figure="dead"] .detail').textContent()).toMatch(/^AUTH_KEY_UNREGISTERED: alice, /);
    expect(faults).toEqual([]);
  });

  test("filters and sorts", async () => {
    const { pool } = await openPool({ sessions: ["a10", "a9", "b1"] });
    await pool.update("b1", { tags: ["warm"] });
    await pool.disable("a9", "on holiday");
    const { page, faults } = await open(pool);
    expect(await names(page)).toEqual(["a9", "a10", "b1"]);
    await page.getByRole("button", { name: "Session", exact: true }).click();
    expect(await names(page)).toEqual(["b1", "a10", "a9"]);
    expect(await page.getByRole("columnheader", { name: "Session" }).getAttribute("aria-sort")).toBe("descending");
    await page.getByRole("button", { name: "disabled" }).click();
    expect(await names(page)).toEqual(["a9"]);
    await page.getByRole("button", { name: "disabled" }).click();
    await page.getByLabel("Search sessions").fill("HOLIDAY");
    expect(await names(page)).toEqual(["a9"]);
    await page.getByLabel("Search sessions").fill("");
    await page.getByLabel("Tag").selectOption("warm");
    expect(await names(page)).toEqual(["b1"]);
    expect(faults).toEqual([]);
  });
});
