import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { hasBrowser, launchBrowser } from "./browser.js";
import { serve } from "./served.js";

/** The rules of axe-core: https://github.com/dequelabs/axe-core. */
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser: Browser;

beforeAll(async () => {
  if (hasBrowser) browser = await launchBrowser();
}, 120_000);
afterAll(() => browser?.close());

interface Look {
  readonly colorScheme: "light" | "dark";
  readonly width: number;
}

/** The page of a pool with a session in most states, floods, a lease, and a run of `map` with something uncertain. */
async function open({ colorScheme, width }: Look): Promise<Page> {
  const { pool, telegram } = await openPool({
    sessions: ["alice", "bob", "carol", "dave", "erin", "frank"],
    traceLeases: true,
  });
  const { origin } = await serve({ eu: pool, us: (await openPool()).pool }, { authorize: () => "manage" });
  const answers: Readonly<Record<string, FakeRpcError>> = {
    alice: new FakeRpcError(401, "AUTH_KEY_UNREGISTERED"),
    bob: new FakeRpcError(420, "FLOOD_WAIT_600"),
    carol: new FakeRpcError(400, "PEER_FLOOD"),
    dave: new FakeRpcError(420, "FROZEN_METHOD_INVALID"),
  };
  telegram.onCall = ({ id }) => {
    const error = answers[id];
    if (error !== undefined) throw error;
  };
  for (const id of Object.keys(answers)) {
    await pool.use((client) => client.call(READ), { id, retry: "none" }).catch(() => {});
  }
  telegram.onCall = () => {
    throw new FakeRpcError(500, "INTERNAL");
  };
  for await (const _ of pool.map(["a"], (client) => client.call(WRITE), { concurrency: 1 }));
  await pool.update("erin", { tags: ["eu"] });
  await pool.disable("erin");
  await pool.acquire();
  // The rules are a script that the policy of the page refuses.
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme, bypassCSP: true });
  onTestFinished(() => page.close());
  await page.goto(origin);
  await page.locator("#main:not([hidden])").waitFor();
  return page;
}

/** What the rules of axe-core find on the page. */
async function violationsOf(page: Page): Promise<readonly string[]> {
  await page.evaluate(AXE);
  return page.evaluate(`axe.run().then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ": " + html.slice(0, 200) + " " + failureSummary)))`);
}

const LOOKS: readonly Look[] = [
  { colorScheme: "light", width: 1_360 },
  { colorScheme: "dark", width: 1_360 },
  { colorScheme: "light", width: 390 },
  { colorScheme: "dark", width: 390 },
];

describe.runIf(hasBrowser)("the page of the dashboard", () => {
  test.each(LOOKS)("in $colorScheme colors, $width pixels wide - breaks no rule of axe-core", async (look) => {
    const page = await open(look);
    expect(await violationsOf(page)).toEqual([]);
    await page.getByRole("button", { name: "bob", exact: true }).click();
    await page.locator("dialog[open]").waitFor();
    expect(await violationsOf(page)).toEqual([]);
    await page.locator("dialog").getByRole("button", { name: "Remove" }).click();
    expect(await violationsOf(page)).toEqual([]);
  });

  test("in Chromium's accessibility tree - names every control, column, chart and figure", async () => {
    const page = await open({ colorScheme: "light", width: 1_360 });
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send("Accessibility.getFullAXTree");
    const shown = nodes.filter(({ ignored }) => !ignored);
    const named = (role: string): readonly string[] =>
      shown.filter((node) => node.role?.value === role).map((node) => String(node.name?.value ?? ""));
    const CONTROLS = ["button", "searchbox", "combobox", "link", "textbox"];
    expect(CONTROLS.flatMap((role) => named(role)).filter((name) => name.trim() === "")).toEqual([]);
    expect(named("columnheader")).toEqual(["Session", "State", "Cools for", "Reason", "Held by", "Last used", "Proxy"]);
    expect(named("rowheader").map((name) => name.split(" ")[0])).toEqual([
      "alice",
      "bob",
      "carol",
      "dave",
      "erin",
      "frank",
    ]);
    expect(named("searchbox")).toEqual(["Search sessions"]);
    expect(named("table")).toEqual(["Sessions"]);
    expect(named("figure")).toEqual([
      "Floods by method",
      "Calls per second",
      "Waiting callers",
      "Deaths and restrictions",
    ]);
    expect(named("StaticText")).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^1 flood in the last hour\. 1 by GetFullUser$/),
        expect.stringMatching(/ now, at most .* calls per second in the last hour\.$/),
        "0 callers wait now, at most 0 in the last hour.",
        "1 death and 2 restrictions in the last hour.",
      ]),
    );
    expect(named("button")).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^Can work now ?0 ?of 6 sessions/),
        expect.stringMatching(/^Dead ?1 ?AUTH_KEY_UNREGISTERED: alice/),
      ]),
    );
  });
});
