import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { isThenable, textOf, warn } from "../common/process-warning.js";

/** What a request may do: look, or look and change sessions. */
export type Access = "view" | "manage";

/** What `authorize` may answer. `true` and `{ manage: false }` are `"view"`, `{ manage: true }` is `"manage"`. */
export type AuthorizeAnswer = boolean | null | undefined | "view" | "manage" | { readonly manage: boolean };

/** Decides what a request may do. An answer that is no {@link AuthorizeAnswer} grants nothing. */
export type Authorize = (request: IncomingMessage) => AuthorizeAnswer | Promise<AuthorizeAnswer>;

/** Why a request is refused: a sentence for the person who made it. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Header in which the page sends its token. */
export const TOKEN_HEADER = "x-session-pool-token";

/** Headers by which proxies say that a request is not from the connection that it comes over. */
const FORWARDING_HEADER = /^(x-forwarded(-.*)?|forwarded|via|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip)$/;
/** Time that `authorize` may take. */
const AUTHORIZE_WITHIN_MS = 10_000;

/** Decides what requests may do. */
export class AccessControl {
  readonly #authorize: Authorize | undefined;
  #hasFailed = false;
  /** Proves that a change comes from a page of this dashboard: no other origin can read it. */
  readonly token: string = randomBytes(32).toString("base64url");

  constructor(authorize: Authorize | undefined) {
    this.#authorize = authorize;
  }

  /** Resolves with what the request may do. Rejects with a {@link Refusal} if that is nothing. */
  async check(request: IncomingMessage): Promise<Access> {
    if (this.#authorize === undefined) {
      checkLocal(request);
      return "view";
    }
    let access: Access | false;
    try {
      access = toAccess(await inTime(this.#authorize(request)));
    } catch (error) {
      if (error instanceof Refusal) throw error;
      if (!this.#hasFailed)
        warn(`authorize of the dashboard failed; further failures are not reported: ${textOf(error)}`);
      this.#hasFailed = true;
      throw new Refusal(403, "The function authorize of this dashboard has failed, so nothing is shown.");
    }
    if (access === false) throw new Refusal(403, "You are not allowed to see this dashboard (authorize).");
    return access;
  }

  /**
   * Throws a {@link Refusal} unless the request comes from a page of this dashboard: browsers say from which origin a
   * request is made, and only that page knows the token.
   */
  checkOrigin({ headers }: IncomingMessage): void {
    const site = headers["sec-fetch-site"];
    const isForeign = site === undefined ? !isOwnOrigin(headers.origin, hostOf(headers)) : site !== "same-origin";
    if (isForeign) throw new Refusal(403, "Changes are taken from the page of this dashboard only.");
    const token = headers[TOKEN_HEADER];
    if (typeof token !== "string" || !isEqual(token, this.token))
      throw new Refusal(403, "The page is out of date. Reload it and try again.");
  }
}

/**
 * Throws a {@link Refusal} if the page of another origin asks for the state of the pools: a server that allows that to all its
 * paths (CORS) does not mean these.
 */
export function checkReader({ headers }: IncomingMessage): void {
  const { origin, "sec-fetch-site": site } = headers;
  const isForeign =
    site === undefined
      ? origin !== undefined && !isOwnOrigin(origin, hostOf(headers))
      : /^(cross|same)-site$/.test(site);
  if (isForeign) throw new Refusal(403, "The state of the pools is shown on the page of this dashboard only.");
}

/** Resolves with what `authorize` answers. Rejects with a {@link Refusal} if that takes too long. */
async function inTime(answer: unknown): Promise<unknown> {
  if (!isThenable(answer)) return answer;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const seconds = AUTHORIZE_WITHIN_MS / 1_000;
    const refusal = new Refusal(503, `The function authorize of this dashboard has not answered within ${seconds} s.`);
    timer = setTimeout(() => reject(refusal), AUTHORIZE_WITHIN_MS).unref();
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

function toAccess(answer: unknown): Access | false {
  if (answer === "view" || answer === "manage") return answer;
  if (answer === true) return "view";
  if (typeof answer !== "object" || answer === null) return false;
  const manage: unknown = Reflect.get(answer, "manage");
  if (typeof manage !== "boolean") return false;
  return manage ? "manage" : "view";
}

/**
 * Without `authorize` only this machine may look. The name that was asked for counts as well: a page of another site can
 * have its own name resolve to 127.0.0.1 and then read what it gets (DNS rebinding).
 */
function checkLocal({ headers, httpVersion, socket }: IncomingMessage): void {
  const advice = "Pass authorize to dashboard() to decide who may look.";
  if (!isLoopbackAddress(socket.remoteAddress))
    throw new Refusal(403, `Without authorize this dashboard answers requests from its own machine only. ${advice}`);
  // No browser speaks HTTP/1.0; nginx does by default, without a header that names it.
  if (httpVersion === "1.0" || Object.keys(headers).some((name) => FORWARDING_HEADER.test(name)))
    throw new Refusal(
      403,
      `This request came through a proxy, or as HTTP/1.0 as from a proxy, which hides whose it is. ${advice}`,
    );
  if (!isLoopbackHost(hostOf(headers)))
    throw new Refusal(403, `Without authorize this dashboard answers to localhost and 127.0.0.1 only. ${advice}`);
}

/** Whether an address is of this machine. Source: RFC 1122, 3.2.1.3; RFC 4291, 2.5.3 and 2.5.5.2. */
export function isLoopbackAddress(address: string | undefined): boolean {
  const plain = address?.replace(/^::ffff:/i, "");
  return plain === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(plain ?? "");
}

/** The name that was asked for; HTTP/2 has it in a field of its own. */
function hostOf(headers: IncomingHttpHeaders): string | undefined {
  const authority: unknown = headers[":authority"];
  return headers.host ?? (typeof authority === "string" ? authority : undefined);
}

/** Whether a `Host` header names this machine. */
function isLoopbackHost(host: string | undefined): boolean {
  const name = host?.replace(/:\d+$/, "").toLowerCase();
  return name === "localhost" || name === "[::1]" || isLoopbackAddress(name);
}

/** Browsers that do not send `Sec-Fetch-Site` send `Origin` with each POST. */
function isOwnOrigin(origin: string | undefined, host: string | undefined): boolean {
  if (origin === undefined || host === undefined || !URL.canParse(origin)) return false;
  return new URL(origin).host === host.toLowerCase();
}

/** Takes the same time whatever the first difference is. */
function isEqual(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
