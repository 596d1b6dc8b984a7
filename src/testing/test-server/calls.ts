import { isRefusedToFrozen } from "./account-state.js";
import { encodeAnswer } from "./answers.js";
import { ApiCall } from "./api-call.js";
import { rememberFailure, type WireSession } from "./authorization.js";
import { type Answer, RpcError } from "./call.js";
import type { Connection } from "./connection.js";
import type { TelegramLibrary } from "./library.js";
import { acknowledgement, type IncomingMessage, rpcError, rpcResult } from "./messages.js";
import type { OpenCallRecord } from "./records.js";
import type { FailAction, Verdict } from "./rules.js";
import type { Services } from "./services.js";
import { parseWait, secondsLeft, type WaitWindow } from "./waits.js";
import { warn } from "./warnings.js";
import { layerOf, unwrap } from "./wrappers.js";

const WAIT_CODE = 420;
const BAD_REQUEST = 400;
const SERVER_ERROR = 500;
const UNAUTHORIZED = 401;
const PASSWORD_NEEDED = "SESSION_PASSWORD_NEEDED";

/** What may be called before anybody has signed in. Source: core.telegram.org/api/auth. */
const GUEST_METHODS: ReadonlySet<string> = new Set([
  "account.GetPassword",
  "auth.CancelCode",
  "auth.CheckPassword",
  "auth.ExportLoginToken",
  "auth.ImportAuthorization",
  "auth.ImportLoginToken",
  "auth.LogOut",
  "auth.ResendCode",
  "auth.SendCode",
  "auth.SignIn",
  "auth.SignUp",
  "help.GetAppConfig",
  "help.GetConfig",
  "help.GetNearestDc",
]);

/** A call on its way through the server. */
interface ServerCall {
  readonly call: ApiCall;
  readonly record: OpenCallRecord;
  readonly connection: Connection;
  readonly session: WireSession;
  readonly messageId: bigint;
  readonly after: readonly bigint[];
}

/** What became of an execution. */
type Outcome = { readonly body: Uint8Array } | { readonly error: RpcError };

/** Takes API requests, asks the rules, runs handlers, answers, and records all of it. */
export class CallServer {
  readonly #services: Services;

  constructor(services: Services) {
    this.#services = services;
  }

  /** Serves an API request that came in packet number `packet`. */
  receive(connection: Connection, message: IncomingMessage, packet: number): void {
    const { authorization, session } = connection;
    if (authorization === undefined || session === undefined) return;
    const { account } = authorization;
    const at = Date.now();
    const library = this.#libraryOf(connection, message.body);
    const { query, after, isConnect, takesUpdates, client } = this.#unwrap(message.body, library);
    authorization.client = client ?? authorization.client;
    connection.takesUpdates ||= takesUpdates;
    const method = library.methodOf(query.readUInt32LE(0)) ?? unknownMethod(query);
    const call = new ApiCall(authorization, method, query, isConnect, library);
    const record: OpenCallRecord = {
      account: account.name,
      method,
      peer: call.peer,
      at,
      packet,
      connection: connection.id,
      isConnect,
      outcome: "pending",
      executed: false,
    };
    this.#services.records.calls.add(record);
    this.#inTurn({ call, record, connection, session, messageId: message.id, after });
  }

  /** A client that names its layer is read and answered in that layer from then on. */
  #libraryOf(connection: Connection, body: Buffer): TelegramLibrary {
    const { libraries } = this.#services;
    const layer = layerOf(body);
    if (layer !== undefined) connection.library = libraries.ofLayer(layer);
    return connection.library ?? libraries.main;
  }

  #unwrap(body: Buffer, library: TelegramLibrary): ReturnType<typeof unwrap> {
    try {
      return unwrap(body, library);
    } catch {
      // A wrapper around something of another layer: it is refused by its number.
      return { query: body, after: [], isConnect: false, takesUpdates: false };
    }
  }

  /** Waits for the calls it is chained to, and refuses it when one of them failed. */
  #inTurn(passage: ServerCall): void {
    const { after, session } = passage;
    const missing = after.find((id) => session.pending.has(id));
    if (missing !== undefined) {
      session.pending.get(missing)?.push(() => this.#inTurn(passage));
      this.#leavePending(passage);
    } else if (after.some((id) => session.failed.has(id))) {
      this.#refuse(passage, new RpcError(BAD_REQUEST, "MSG_WAIT_FAILED"), 0);
      this.#settle(passage);
    } else {
      this.#serve(passage);
    }
  }

  #serve(passage: ServerCall): void {
    const { call } = passage;
    const { waits, rules } = this.#services;
    const now = Date.now();
    const running = call.isConnect ? undefined : waits.running(call.account, call.method, call.peer, now);
    if (running !== undefined) {
      const error = new RpcError(WAIT_CODE, running.prefix + secondsLeft(running, now));
      this.#refuse(passage, error, 0, running);
      this.#settle(passage);
      return;
    }
    const verdict = rules.ofCall(call, now);
    const { action } = verdict;
    if (action?.kind === "cut" && action.at === "before") {
      passage.record.outcome = "cut";
      passage.connection.destroy();
    } else if (action !== undefined && "executes" in action && action.executes === false) {
      this.#withhold(passage, verdict);
    } else if (action?.kind === "fail" && action.executes !== true) {
      this.#withhold(passage, verdict);
    } else {
      this.#execute(passage, (outcome) => this.#conclude(passage, verdict, outcome));
    }
  }

  /** Ends a call that must not take effect. */
  #withhold(passage: ServerCall, verdict: Verdict): void {
    if (verdict.action?.kind === "fail") this.#fail(passage, verdict.action, verdict.delayMs);
    else this.#staySilent(passage);
    this.#settle(passage);
  }

  /** Ends a call that took effect, or was refused by its handler. */
  #conclude(passage: ServerCall, { action, delayMs }: Verdict, outcome: Outcome): void {
    passage.record.executed = "body" in outcome;
    if (action?.kind === "cut") {
      passage.record.outcome = "cut";
      passage.connection.destroy();
    } else if (action?.kind === "mute") {
      this.#staySilent(passage);
    } else if (action?.kind === "fail") {
      this.#fail(passage, action, delayMs);
    } else if ("error" in outcome) {
      this.#refuse(passage, outcome.error, delayMs, this.#openWait(passage, outcome.error.message, true));
    } else {
      this.#answer(passage, rpcResult(passage.messageId, outcome.body), "ok", delayMs);
    }
    this.#settle(passage);
  }

  #execute(passage: ServerCall, done: (outcome: Outcome) => void): void {
    let answer: Answer | Promise<Answer>;
    try {
      answer = this.#handle(passage.call);
      if (!(answer instanceof Promise)) {
        done({ body: encodeAnswer(answer) });
        return;
      }
    } catch (error) {
      done({ error: refusalOf(error) });
      return;
    }
    this.#leavePending(passage);
    answer
      .then((value): Outcome => ({ body: encodeAnswer(value) }))
      .catch((error: unknown): Outcome => ({ error: refusalOf(error) }))
      .then(done)
      .catch(warn);
  }

  #handle(call: ApiCall): Answer | Promise<Answer> {
    if (call.owner.isGuest && !GUEST_METHODS.has(call.method)) {
      throw new RpcError(UNAUTHORIZED, call.authorization.passwordNeededBy ? PASSWORD_NEEDED : "AUTH_KEY_UNREGISTERED");
    }
    if (call.owner.state.freeze !== null && isRefusedToFrozen(call.method)) {
      throw new RpcError(WAIT_CODE, "FROZEN_METHOD_INVALID");
    }
    const handler = this.#services.handlers.get(call.method);
    if (handler !== undefined) return handler(call);
    throw new RpcError(BAD_REQUEST, call.method.startsWith("INPUT_METHOD") ? call.method : "METHOD_INVALID");
  }

  #fail(passage: ServerCall, action: FailAction, delayMs: number): void {
    const isWait = parseWait(action.message) !== undefined;
    const error = new RpcError(action.code ?? (isWait ? WAIT_CODE : BAD_REQUEST), action.message);
    this.#refuse(passage, error, delayMs, this.#openWait(passage, action.message, action.sticky ?? true));
  }

  #openWait({ call }: ServerCall, error: string, isEnforced: boolean): WaitWindow | undefined {
    if (parseWait(error) === undefined) return undefined;
    const { account, method, peer } = call;
    const event = this.#services.records.nextEvent();
    return this.#services.waits.open({ account, method, peer, error, isEnforced, event, now: Date.now() });
  }

  #refuse(passage: ServerCall, error: RpcError, delayMs: number, window?: WaitWindow): void {
    const { messageId, session } = passage;
    rememberFailure(session, messageId);
    const body = rpcError(messageId, error.code, error.message);
    this.#answer(passage, body, error.message, delayMs, (id) => {
      if (window !== undefined) this.#services.waits.told(window, id, this.#services.records.nextEvent(), Date.now());
    });
  }

  #answer(
    { connection, record, messageId }: ServerCall,
    body: Buffer,
    outcome: string,
    delayMs: number,
    onSent?: (messageId: bigint) => void,
  ): void {
    const send = (): void => {
      record.outcome = connection.isClosed ? "unanswered" : outcome;
      connection.send({ body, isContent: true, ...(onSent === undefined ? {} : { onSent }) });
    };
    if (delayMs === 0) {
      send();
      return;
    }
    this.#acknowledge(connection, messageId);
    this.#services.timers.after(delayMs, send);
  }

  #staySilent({ record, connection, messageId }: ServerCall): void {
    record.outcome = "unanswered";
    this.#acknowledge(connection, messageId);
  }

  #acknowledge(connection: Connection, messageId: bigint): void {
    connection.send({ body: acknowledgement([messageId]), isContent: false });
  }

  #leavePending({ session, messageId, connection }: ServerCall): void {
    if (session.pending.has(messageId)) return;
    session.pending.set(messageId, []);
    this.#acknowledge(connection, messageId);
  }

  /** Lets go on what was chained to the call. */
  #settle({ session, messageId }: ServerCall): void {
    const waiting = session.pending.get(messageId);
    session.pending.delete(messageId);
    for (const proceed of waiting ?? []) proceed();
  }
}

/** What Telegram calls a method that its layer does not have. */
function unknownMethod(query: Buffer): string {
  return `INPUT_METHOD_INVALID_${query.readUInt32LE(0)}_0`;
}

function refusalOf(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  warn(error);
  return new RpcError(SERVER_ERROR, "HANDLER_FAILED");
}
