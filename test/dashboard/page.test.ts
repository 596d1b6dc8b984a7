import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import type { DashboardOptions, DashboardPools } from "../../src/dashboard/index.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
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
  readonly server: Server;
  /** Errors, violations of the Content-Security-Policy, and requests to other origins. */
  readonly faults: readonly string[];
}

async function open(pools: DashboardPools, options: DashboardOptions = {}): Promise<Watched> {
  const { origin, server } = await serve(pools, options);
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
  return { page, server, faults };
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

  test("hostile ids, tags and reasons - are text", async () => {
    const { pool } = await openPool();
    const hostile = [
      "<script>document.title='hacked'</script>",
      '"><img src=x onerror=alert(1)>',
      "\u202egnp.exe",
      "bell\u0007 and \u001b[31mred",
      "javascript:alert(1)",
      "{{constructor.constructor('alert(1)')()}}",
      "../../state?x=1#y&z",
    ];
    for (const id of hostile) {
      await pool.add(id, sessionString(id), { tags: [id, "<b>tag</b>"] });
      await pool.disable(id, id.repeat(Math.ceil(10_000 / id.length)));
    }
    const { page, faults } = await open(pool, { authorize: () => "manage" });
    const shown = await names(page);
    expect(shown.sort()).toEqual(
      [hostile[0], hostile[1], "⟨U+202E⟩gnp.exe", "bell␇ and ␛[31mred", hostile[4], hostile[5], hostile[6]].sort(),
    );
    for (const name of shown) {
      await page.getByRole("button", { name, exact: true }).click();
      expect(await page.locator("dialog h2").textContent()).toBe(name);
      expect(await page.locator("dialog").textContent()).toContain("<b>tag</b>");
      await page.keyboard.press("Escape");
    }
    expect(await page.evaluate("document.querySelectorAll('img, b > *, script:not([src])').length")).toBe(0);
    expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
    expect(await page.title()).toBe("Session pool");
    expect(faults).toEqual([]);
    // Its path leads to the session itself, and nowhere else.
    await page.getByRole("button", { name: "../../state?x=1#y&z", exact: true }).click();
    await page.locator("dialog").getByRole("button", { name: "Enable" }).click();
    await page.locator("dialog .yes").click();
    await vi.waitFor(() => expect(pool.get("../../state?x=1#y&z")).toMatchObject({ state: "free" }));
  });

  test("with the right to - disables, enables and removes after a question", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const { page, faults } = await open(pool, { authorize: () => "manage" });
    const dialog = page.locator("dialog");
    await page.getByRole("button", { name: "alice", exact: true }).click();
    await dialog.getByRole("button", { name: "Remove" }).click();
    expect(await dialog.locator(".question").textContent()).toContain("Remove this session and its record?");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    expect(pool.get("alice")).toMatchObject({ state: "free" });
    await dialog.getByRole("button", { name: "Disable" }).click();
    await dialog.locator(".yes").click();
    await page.locator('#sessions .state[data-state="disabled"]').waitFor();
    expect(pool.get("alice")).toMatchObject({ state: "disabled", reason: "disabled in the dashboard" });
    await page.getByRole("button", { name: "bob", exact: true }).click();
    await dialog.getByRole("button", { name: "Remove" }).click();
    await dialog.locator(".yes").click();
    await page.getByText("1 session", { exact: true }).waitFor();
    expect(pool.sessions().map(({ id }) => id)).toEqual(["alice"]);
    expect(faults).toEqual([]);
  });

  test("with the right to look - offers no change", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { page } = await open(pool, { authorize: () => "view" });
    await page.getByRole("button", { name: "alice", exact: true }).click();
    await page.locator("dialog[open]").waitFor();
    expect(await page.locator("dialog").getByRole("button").allTextContents()).toEqual(["×"]);
  });

  test("by keyboard alone - reaches every session and its dialog", async () => {
    const { pool } = await openPool({ sessions: Array.from({ length: 200 }, (_, index) => `s${index}`) });
    const { page } = await open(pool);
    await page.getByRole("region", { name: "Table of sessions" }).focus();
    const focused = () => page.evaluate("document.activeElement.textContent");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    expect(await focused()).toBe("s1");
    await page.keyboard.press("End");
    expect(await focused()).toBe("s199");
    await page.keyboard.press("ArrowUp");
    expect(await focused()).toBe("s198");
    await page.keyboard.press("Home");
    expect(await focused()).toBe("s0");
    await page.keyboard.press("Enter");
    expect(await page.locator("dialog[open] h2").textContent()).toBe("s0");
    await page.keyboard.press("Escape");
    expect(await focused()).toBe("s0");
  });

  test("every control has a name, and the table its counts", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const { page } = await open(pool);
    const unnamed = `[...document.querySelectorAll("button, input, select, section, table, nav")]
      .filter((element) => !element.textContent.trim() && !element.getAttribute("aria-label"))
      .map((element) => element.outerHTML)`;
    expect(await page.evaluate(unnamed)).toEqual([]);
    expect(await page.locator("table").getAttribute("aria-rowcount")).toBe("3");
    expect(await page.locator("[aria-rowindex]").count()).toBe(3);
    expect(await page.locator('[role="status"]').count()).toBeGreaterThan(1);
    expect(await page.locator(".state-bar").getAttribute("aria-label")).toBe("Sessions by state: 2 free");
  });

  test("a map - shows its progress, and what is uncertain", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice"] });
    const { page } = await open(pool);
    telegram.onCall = ({ number }) => {
      if (number === 2) throw new FakeRpcError(500, "INTERNAL");
    };
    const run = pool.map(["a", "b", "c"], (client) => client.call(WRITE), { concurrency: 1 });
    for await (const _ of run);
    await page.locator('[data-figure="uncertain"] .value', { hasText: /^1$/ }).waitFor();
    expect(await page.locator("#runs .value").textContent()).toBe("3 of 3");
    expect(await page.locator("#runs pre").textContent()).toBe("1");
  });

  test("a lease with traceLeases - shows for how long, and where it was taken", async () => {
    const { pool } = await openPool({ sessions: ["alice"], traceLeases: true });
    using _lease = await pool.acquire();
    const { page } = await open(pool);
    expect(await page.locator("#leases .value").textContent()).toMatch(/^held for \d+ s$/);
    expect(await page.locator("#leases pre").textContent()).toContain("page.test.ts");
  });

  test("several pools - shows one after the other", async () => {
    const eu = await openPool({ sessions: ["alice"] });
    const us = await openPool({ sessions: ["bob", "carol"] });
    const { page } = await open({ eu: eu.pool, us: us.pool });
    expect(await names(page)).toEqual(["alice"]);
    await page.getByRole("button", { name: "us 2/2" }).click();
    expect(await names(page)).toEqual(["bob", "carol"]);
  });

  test("a pool that is closed - stays as it was, and says so", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { page } = await open(pool);
    await pool.close();
    await page.getByText("This pool is closed.").waitFor();
    expect(await page.locator("#connection").textContent()).toBe("Closed");
    await page.reload();
    await page.getByText("This pool is closed.").waitFor();
    expect(await names(page)).toEqual(["alice"]);
  });

  test("a server that is away for a while - connects again, and shows what was missed", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const { page, server } = await open(pool);
    const { port } = server.address() as AddressInfo;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await page.getByText("The connection to the server is lost.").waitFor();
    await pool.disable("bob", "on holiday");
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    await page.locator('#sessions .state[data-state="disabled"]').waitFor();
    expect(await page.locator("#connection").textContent()).toBe("Live");
  });

  test("5,000 sessions - has the lines in sight alone, wherever it is scrolled to", async () => {
    const { pool } = await openPool();
    await pool.addMany(
      Array.from({ length: 5_000 }, (_, index) => ({ id: `session-${index}`, session: sessionString(`s${index}`) })),
    );
    const { page, faults } = await open(pool);
    expect(await page.locator("#sessions tbody tr").count()).toBeLessThan(60);
    await page.locator("#sessions").evaluate((element) => element.scrollIntoView());
    for (const top of [50_000, 110_000, 219_000, 0]) {
      await page.locator(".viewport").evaluate((element, to) => element.scrollTo(0, to), top);
      await page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))");
      const middle = await page.evaluate(`(() => {
        const { left, top, height } = document.querySelector(".viewport").getBoundingClientRect();
        return document.elementFromPoint(left + 40, top + height / 2).closest("tr").getAttribute("aria-rowindex");
      })()`);
      expect(Math.abs(Number(middle) - top / 44)).toBeLessThan(30);
    }
    await page.getByLabel("Search sessions").fill("session-4999");
    expect(await names(page)).toEqual(["session-4999"]);
    expect(faults).toEqual([]);
  });

  test.each([390, 834, 1_360])("a window of %i pixels - has nothing that is wider", async (width) => {
    const { pool } = await openPool({ sessions: ["a-name-that-is-very-long-".repeat(10), "bob"] });
    const { page } = await open(pool);
    await page.setViewportSize({ width, height: 900 });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(width);
    expect(await page.locator(".viewport").evaluate((element) => element.scrollWidth <= element.clientWidth)).toBe(
      true,
    );
  });
});
