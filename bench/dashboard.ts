/*
 * What the dashboard costs: npm run build && npx tsx bench/dashboard.ts
 *
 * One viewer on 5,000 sessions, of which some are leased, cool and recover each second: CPU of the process and bytes. With
 * Chromium at hand (`CHROMIUM`, else /usr/bin/chromium) also the frames of its table while it is scrolled.
 */
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, get, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { formatSession, memory, SessionPool } from "telegram-session-pool";
import { dashboard } from "telegram-session-pool/dashboard";
import { nothing } from "./nothing-client.js";

const SESSIONS = 5_000;
const SECONDS = 20;
const LEASES_PER_SECOND = 200;
const COOLDOWNS_PER_SECOND = 20;

type Pool = SessionPool<object>;

async function openPool(): Promise<Pool> {
  const pool = await SessionPool.open({ client: nothing, storage: memory() });
  const sessions = Array.from({ length: SESSIONS }, (_, index) => {
    const authKey = new Uint8Array(256);
    new DataView(authKey.buffer).setUint32(0, index + 1);
    const server = { dcId: 2, serverAddress: "149.154.167.51", port: 443, isTest: false };
    const session = formatSession({ ...server, authKey, format: "gramjs" }, "gramjs");
    return { id: `session-${index}`, session, tags: [`group-${index % 10}`] };
  });
  await pool.addMany(sessions);
  return pool;
}

/** Leases and cools sessions until the signal aborts. */
async function work(pool: Pool, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (let index = 0; index < LEASES_PER_SECOND / 10; index++) {
      const lease = await pool.acquire();
      if (index < COOLDOWNS_PER_SECOND / 10) lease.coolDown(30 + index);
      lease.release();
    }
    await sleep(100);
  }
}

/** Part of one core that the process uses for so long, in percent. */
async function cpuPercent(seconds: number): Promise<number> {
  const before = process.cpuUsage();
  await sleep(seconds * 1_000);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / (seconds * 10_000);
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Follows the events as a page does. Returns how many bytes have come so far. */
async function follow(origin: string): Promise<{ bytes(): number; close(): void }> {
  let bytes = 0;
  const request = get(`${origin}/events`, (response) => {
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
  });
  while (bytes < 1_000) await sleep(50);
  await sleep(1_000);
  return { bytes: () => bytes, close: () => request.destroy() };
}

/** Bytes of the first answer to a page, which asks for it in gzip. */
async function firstBytes(origin: string): Promise<number> {
  const request = get(`${origin}/state`, { headers: { "accept-encoding": "gzip" } });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  return bytes;
}

/** Times between the frames of a page that scrolls through all sessions, in milliseconds. */
const SCROLL = `new Promise((resolve) => {
  const viewport = document.querySelector(".viewport");
  document.querySelector("#sessions").scrollIntoView();
  const frames = [];
  let last = performance.now();
  const step = (now) => {
    frames.push(now - last);
    last = now;
    viewport.scrollTop += 420;
    if (frames.length < 400) requestAnimationFrame(step);
    else resolve(frames.slice(1));
  };
  requestAnimationFrame(step);
})`;

async function measureScrolling(origin: string): Promise<void> {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (!existsSync(executablePath)) return console.log(`scrolling: not measured, there is no ${executablePath}`);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  const page = await browser.newPage({ viewport: { width: 1_360, height: 1_000 } });
  await page.goto(origin);
  await page.locator("#main:not([hidden])").waitFor();
  const frames = ((await page.evaluate(SCROLL)) as number[]).sort((one, other) => one - other);
  const at = (part: number): string => (frames[Math.floor(frames.length * part)] ?? 0).toFixed(1);
  console.log(
    `scrolling, 10 lines a frame: ${at(0.5)} ms a frame (median), ${at(0.95)} ms (95 %), ${at(0.995)} ms (99.5 %)`,
  );
  await browser.close();
}

const pool = await openPool();
const stop = new AbortController();
const working = work(pool, stop.signal);
const without = await cpuPercent(SECONDS);
const board = dashboard(pool);
const server = createServer(board).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const mounted = await cpuPercent(SECONDS);
const viewer = await follow(originOf(server));
const first = viewer.bytes();
const compressed = await firstBytes(originOf(server));
const viewed = await cpuPercent(SECONDS);
console.log(`${SESSIONS} sessions, ${LEASES_PER_SECOND} leases and ${COOLDOWNS_PER_SECOND} cooldowns a second`);
console.log(
  `CPU without a dashboard ${without.toFixed(1)} %, with one ${mounted.toFixed(1)} %, with one viewer ${viewed.toFixed(1)} %`,
);
console.log(
  `${(compressed / 1_000).toFixed(0)} kB at first (${(first / 1_000).toFixed(0)} kB without gzip), then ${((viewer.bytes() - first) / SECONDS / 1_000).toFixed(1)} kB a second`,
);
viewer.close();
await measureScrolling(originOf(server));
stop.abort();
await working;
board.close();
server.close();
server.closeAllConnections();
await pool.destroy();
