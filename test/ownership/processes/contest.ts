import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SessionPool } from "../../../src/index.js";
import { decodeRecord } from "../../../src/storage/record.js";
import { sessionString } from "../../fakes/sessions.js";
import { type Child, startScript } from "./child.js";
import { openPlace, type Place, type PlaceAddress } from "./places.js";
import { Referee, refereedClient } from "./refereed-client.js";

const script = fileURLToPath(new URL("./claimant.ts", import.meta.url));

/** Tests have shorter ones. */
const PLAYS_WITHIN_MS = 120_000;

/** What one process of a contest has done. */
export interface Score {
  readonly pid: number;
  readonly tookMs: number;
  /** What it has connected at the end. */
  readonly connected: readonly string[];
  readonly connects: number;
  /** Sessions that it connected while another process had them connected. */
  readonly violations: readonly string[];
  readonly lost: readonly string[];
  readonly failures: readonly string[];
}

/** How a contest has ended. */
export interface Outcome {
  readonly scores: readonly Score[];
  /** The process that the record of each session names as its owner, when all are done. */
  readonly owners: ReadonlyMap<string, number | null>;
  /** The same when all have closed their pools. */
  readonly ownersAfterwards: ReadonlyMap<string, number | null>;
  readonly tookMs: number;
}

/** What the processes do: take all they can get and keep it, or take and give up so many times. */
export type Game = { readonly word: "claim" } | { readonly word: "pass on"; readonly rounds: number };

export interface ContestOptions {
  readonly place: Place;
  readonly processes: readonly Child[];
  readonly game: Game;
  /** Of the random choices of all processes. */
  readonly seed: number;
  readonly ttlMs?: number;
  readonly idleTimeoutMs?: number;
}

/** Starts processes for contests; each takes part in one after the other. */
export async function startClaimants(count: number): Promise<readonly Child[]> {
  const children = Array.from({ length: count }, () => startScript(script, {}));
  await Promise.all(children.map((child) => child.said("ready")));
  return children;
}

/** Ends them: each by itself when it can, else by force. */
export async function endClaimants(children: readonly Child[]): Promise<void> {
  for (const child of children) {
    child.tell("close", {});
    child.tell("leave", {});
  }
  const timer = setTimeout(() => {
    for (const child of children) child.process.kill("SIGKILL");
  }, 2_000);
  await Promise.all(children.map(({ ended }) => ended));
  clearTimeout(timer);
}

/** Adds so many sessions to the place. */
export async function fill({ address }: Place, sessions: number): Promise<void> {
  const { storage, end } = openPlace(address);
  const client = refereedClient(new Referee(tmpdir()));
  const pool = await SessionPool.open({ client, storage, storageTimeoutMs: 60_000 });
  const ids = Array.from({ length: sessions }, (_, index) => `session-${index}`);
  await Promise.all(ids.map((id) => pool.add(id, sessionString(id))));
  await pool.close();
  await end();
}

/** Lets the processes play on the place, all from the same moment on. */
export async function play({ place, processes, game, seed, ttlMs, idleTimeoutMs }: ContestOptions): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "referee-"));
  try {
    const take = { word: "take", address: place.address, folder, ttlMs, idleTimeoutMs };
    await all(processes, "opened", take, (index) => ({ seed: seed + index }));
    const from = performance.now();
    const lines = await all(processes, "done", game);
    const tookMs = performance.now() - from;
    const owners = await ownersIn(place.address);
    await all(processes, "closed", { word: "close" });
    const ownersAfterwards = await ownersIn(place.address);
    const scores = lines.map((line, index) => ({
      ...(line as unknown as Score),
      pid: processes[index]?.process.pid ?? 0,
    }));
    return { scores, owners, ownersAfterwards, tookMs };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Command = { readonly word: string } & Readonly<Record<string, unknown>>;

/** Tells all of them the same, and waits for what each says to it. */
async function all(
  children: readonly Child[],
  answer: string,
  { word, ...details }: Command,
  own: (index: number) => object = () => ({}),
) {
  const answers = children.map((child) => {
    const before = child.lines.filter((line) => line.word === answer).length;
    return child.said(answer, before + 1, PLAYS_WITHIN_MS);
  });
  for (const [index, child] of children.entries()) child.tell(word, { ...details, ...own(index) });
  return Promise.all(answers);
}

async function ownersIn(address: PlaceAddress): Promise<ReadonlyMap<string, number | null>> {
  const { storage, end } = openPlace(address);
  await storage.open?.();
  const records = (await storage.list()).filter(({ id }) => id.startsWith("session-"));
  await storage.close?.();
  await end();
  return new Map(records.map(({ id, data }) => [id, decodeRecord(data).owner?.pid ?? null]));
}
