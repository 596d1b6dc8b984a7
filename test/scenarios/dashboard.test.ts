import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { hasBrowser, launchBrowser, WHY_NOT } from "../dashboard/browser.js";
import { serve } from "../dashboard/served.js";
import { Api, PromisedNetSockets } from "../fakes/client-library.js";
import { startChild } from "./child-processes.js";
import { callsOf, expectPeace, nameOf, type Pool, rejection, stage, until, within } from "./support.js";

let browser: Browser;

beforeAll(async () => {
  if (hasBrowser) browser = await launchBrowser();
  else console.warn(WHY_NOT);
}, 120_000);
afterAll(() => browser?.close());

/** Opens the page of a pool in the browser. */
async function openPage(pool: Pool): Promise<Page> {
  const { origin } = await serve(pool, { authorize: () => "manage" });
  const page = await browser.newPage({ viewport: { width: 1_360, height: 1_000 } });
  onTestFinished(() => page.close());
  await page.goto(origin);
  await page.locator("#main:not([hidden])").waitFor();
  return page;
}

const figure = (page: Page, name: string) => page.locator(`[data-figure="${name}"] .value`);
const row = (page: Page, id: string) =>
  page.locator("#sessions tbody tr", { has: page.getByText(id, { exact: true }) });

/** Floods by method as the legend of the chart shows them. */
async function shownFloods(page: Page): Promise<Readonly<Record<string, number>>> {
  const items = await page.locator('[data-chart="floods"] .legend li').allTextContents();
  return Object.fromEntries(items.map((text) => [text.split(" ")[0] ?? "", Number(text.split(" ")[1])]));
}

describe.runIf(hasBrowser)("the page of the dashboard", () => {
  test("over a test server - shows the floods and deaths that the server has answered with", async () => {
    const { server, open } = await stage({ accounts: 6 });
    const pool = await open({ cooldownScope: "method" });
    const page = await openPage(pool);
    server.fail({ method: "users.GetFullUser", account: "account1", message: "FLOOD_WAIT_60" });
    server.fail({ method: "users.GetFullUser", account: "account2", message: "FLOOD_WAIT_90" });
    server.fail({ method: "contacts.ResolveUsername", account: "account3", message: "FLOOD_WAIT_120" });
    for (const id of ["account1", "account2"]) {
      await rejection(pool.invoke(new Api.users.GetFullUser({ id: "me" }), { id, retry: "none" }));
    }
    const resolve = new Api.contacts.ResolveUsername({ username: "somebody" });
    await rejection(pool.invoke(resolve, { id: "account3", retry: "none" }));
    server.revoke("account4", { code: 401, message: "USER_DEACTIVATED_BAN" });
    await rejection(pool.use(nameOf, { id: "account4", retry: "none" }));
    const told: Record<string, number> = {};
    for (const { method } of server.waits()) {
      const name = method.slice(method.indexOf(".") + 1);
      told[name] = (told[name] ?? 0) + 1;
    }
    expect(told).toEqual({ GetFullUser: 2, ResolveUsername: 1 });
    await until(
      "the page shows what the server has told",
      async () => (await figure(page, "dead").textContent()) === "1",
    );
    expect(await shownFloods(page)).toEqual(told);
    expect(await figure(page, "floods").textContent()).toBe("GetFullUser");
    expect(await figure(page, "free").textContent()).toBe("5");
    expect(await row(page, "account1").locator(".partial").textContent()).toMatch(/^GetFullUser (1 min( 1 s)?|5\d s)$/);
    expect(await row(page, "account4").locator(".c-reason").textContent()).toBe("USER_DEACTIVATED_BAN");
    // Beside the pool's own requests as a session first connects.
    const calls = server
      .calls()
      .filter(({ isConnect, method }) => !isConnect && method !== "account.GetAuthorizations").length;
    const shown = await page.locator('[data-chart="calls"] figcaption').textContent();
    expect({ calls, isShown: Number(/at most ([\d.]+)/.exec(shown ?? "")?.[1]) > 0 }).toEqual({
      calls: callsOf(server, "users.GetFullUser").length + callsOf(server, "contacts.ResolveUsername").length + 1,
      isShown: true,
    });
    expectPeace(server, "method");
  });

  test("with the right to - what it changes holds at the server, and nothing changes without a yes", async () => {
    const { server, open } = await stage({ accounts: 3 });
    const pool = await open();
    for (const id of ["account1", "account2", "account3"]) await pool.use(nameOf, { id });
    const page = await openPage(pool);
    const dialog = page.locator("dialog");
    const ask = async (id: string, action: string): Promise<void> => {
      await page.getByRole("button", { name: id, exact: true }).click();
      await dialog.getByRole("button", { name: action }).click();
      await dialog.locator(".question").waitFor();
    };
    await ask("account1", "Disable");
    await page.keyboard.press("Escape");
    expect(pool.get("account1")?.state).toBe("free");
    await ask("account1", "Disable");
    await dialog.locator(".yes").click();
    await row(page, "account1").locator('.state[data-state="disabled"]').waitFor();
    const before = server.calls().length;
    await rejection(pool.use(nameOf, { id: "account1" }));
    expect(server.calls()).toHaveLength(before);
    await ask("account1", "Enable");
    await dialog.locator(".yes").click();
    await row(page, "account1").locator('.state[data-state="free"]').waitFor();
    expect(await pool.use(nameOf, { id: "account1" })).toBe("account1");
    await ask("account2", "Remove");
    await dialog.locator(".yes").click();
    await page.locator("#sessions .summary", { hasText: /^2 sessions$/ }).waitFor();
    await until("its connection is closed", () =>
      server.connections().every(({ account, closedAt }) => account !== "account2" || closedAt !== null),
    );
    expect(pool.sessions().map(({ id }) => id)).toEqual(["account1", "account3"]);
  });

  test("beside another process - shows which of them holds what, as long as it does", async () => {
    const scene = await stage({ accounts: 3 });
    const child = startChild(scene, "neighbour", "{}");
    await child.said("loaded");
    child.tell("open");
    await child.said("opened");
    child.tell("hold");
    await child.said("got", 3);
    const pool = await scene.open({ add: [] });
    const page = await openPage(pool);
    await row(page, "account1").getByText(`process ${child.process.pid}`).waitFor();
    expect(await figure(page, "holders").textContent()).toBe("1 process");
    expect(await page.locator("#processes li").allTextContents()).toEqual([`Process ${child.process.pid}3 sessions`]);
    await child.kill("SIGKILL");
    expect(await pool.use(nameOf, { id: "account1", wait: 30_000 })).toBe("account1");
    await row(page, "account1").getByText("this process").waitFor();
    expect(await row(page, "account1").locator(".state").textContent()).toBe("free");
  });

  test("of accounts - shows which are frozen, end soon, and have several sessions", async () => {
    const frozenUntil = Math.floor(Date.now() / 1_000) * 1_000 + 20 * 86_400_000;
    const { server, open } = await stage({
      accounts: [
        { name: "icy", freeze: { until: frozenUntil } },
        { name: "idle", authorizationTtlDays: 12 },
        { name: "plain", authorizationTtlDays: 180 },
      ],
    });
    const client = { server: server.server, clientOptions: { networkSocket: PromisedNetSockets } };
    const pool = await open({ client, connectTimeoutMs: 60_000 });
    for (const { name } of server.accounts) await pool.check(name);
    await within(60_000, pool.duplicate("plain", "laptop"));
    const page = await openPage(pool);
    const chip = (flag: string) => page.locator(`[data-flag="${flag}"]`);
    await page.locator("#accounts li").first().waitFor();
    const chips = await Promise.all(["frozen", "ends soon", "shared account"].map((flag) => chip(flag).textContent()));
    expect(chips).toEqual(["frozen1", "ends soon1", "shared account2"]);
    expect(await row(page, "icy").locator(".flag").textContent()).toBe("frozen");
    expect(await row(page, "idle").locator(".flag").textContent()).toMatch(/^ends in 1[12] d$/);
    await chip("shared account").click();
    expect(await page.locator("#sessions .name").allTextContents()).toEqual(["laptop", "plain"]);
    const account = String(server.accounts.find(({ name }) => name === "plain")?.userId);
    expect(await page.locator("#accounts .title").allTextContents()).toEqual([
      "icy is frozen",
      "idle ends soon",
      `Account ${account}`,
    ]);
    await page.getByRole("button", { name: "laptop", exact: true }).click();
    expect(await page.locator("dialog dl").textContent()).toContain(`${account}, of 2 sessions: laptop, plain`);
  });
});
