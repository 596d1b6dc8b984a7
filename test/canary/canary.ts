import { leakingFace, leakingMessage } from "./faces.js";

export { remember } from "./session-finder.js";

/** A call of a pool that was made, and how it is to be looked at once it has settled. */
interface Call {
  readonly promise: Promise<unknown>;
  readonly where: string;
  /** What of the resolved value is the pool's own and has to be without a session. */
  readonly own: (value: unknown) => unknown;
}

/** In one place and one test. */
const MOST_FULL_LOOKS = 100;
const realImmediate = setImmediate;

const found = new Set<string>();
const calls: Call[] = [];
let seen = new WeakSet<object>();
const fullLooks = new Map<string, number>();
let permissions: { readonly where: string; isUsed: boolean }[] = [];

/** Looks at something that a program could log, and notes where a session string is in it. Never throws. */
export function look(where: string, value: unknown): void {
  const face = leakingFace(value);
  if (face !== undefined) note(`${where} (${face})`);
}

/** The same for what there can be thousands of in one test: the first ones are looked at from every side. */
export function lookOften(where: string, value: unknown): void {
  if (typeof value === "object" && value !== null) {
    if (seen.has(value)) return;
    seen.add(value);
  }
  const looks = fullLooks.get(where) ?? 0;
  fullLooks.set(where, looks + 1);
  const face = looks >= MOST_FULL_LOOKS ? leakingMessage(value) : leakingFace(value);
  if (face !== undefined) note(`${where} (${face})`);
}

/**
 * Looks at a call when the test is over: until then nothing is attached to its promise, so that it rejects as unhandled as
 * it would.
 */
export function lookLater(where: string, promise: Promise<unknown>, own: Call["own"] = (value) => value): void {
  calls.push({ promise, where, own });
}

/**
 * Lets this test show a session string in one place, which is how the canary's words about it begin. Only for what the
 * test itself puts there, with the reason; a permission that is not used fails the test.
 */
export function allowSessionIn(where: string, _reason: string): void {
  permissions.push({ where, isUsed: false });
}

/** Where session strings were seen since the last time; forgets it. */
export async function takeFindings(): Promise<readonly string[]> {
  // Whoever is to be told of a rejection that nobody handles is told before a handler is attached here.
  await nextTurn();
  for (const call of calls.splice(0)) lookAt(call);
  await nextTurn();
  const needless = permissions.filter(({ isUsed }) => !isUsed);
  const findings = [...found, ...needless.map(({ where }) => `nothing that begins with "${where}", though it may`)];
  found.clear();
  seen = new WeakSet();
  fullLooks.clear();
  permissions = [];
  return findings;
}

/** Throws when a session string was seen; says where, not what. */
export async function expectNoFindings(): Promise<void> {
  const findings = await takeFindings();
  if (findings.length > 0) throw new Error(`A session string was seen in ${findings.join("; ")}`);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => realImmediate(resolve));
}

/** One that has not settled yet is looked at when it does: the test that runs then is told. */
function lookAt({ promise, where, own }: Call): void {
  promise.then(
    (value) => lookOften(`what ${where} resolved`, own(value)),
    (error: unknown) => lookOften(`the rejection of ${where}`, error),
  );
}

function note(finding: string): void {
  const permission = permissions.find(({ where }) => finding.startsWith(where));
  if (permission === undefined) found.add(finding);
  else permission.isUsed = true;
}
