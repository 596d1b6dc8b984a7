import type { Accounts } from "./accounts.js";
import type { ApiCall } from "./api-call.js";
import type { Authorization } from "./authorization.js";
import type { Answer } from "./call.js";
import type { Chats } from "./chats.js";
import type { DataCenters } from "./data-centers.js";
import type { Libraries } from "./libraries.js";
import type { TlWritable } from "./library.js";
import type { PeerDirectory } from "./peer-directory.js";
import type { Records } from "./records.js";
import type { Rules } from "./rules.js";
import type { SignIns } from "./sign-ins.js";
import type { Timers } from "./timers.js";
import type { Uploads } from "./uploads.js";
import type { Waits } from "./waits.js";

/** Answers one method, with all of the test server at hand. */
export type ServerHandler = (call: ApiCall) => Answer | Promise<Answer>;

/** The parts of a test server that its handlers and its call server share. */
export interface Services {
  readonly host: string;
  readonly libraries: Libraries;
  readonly accounts: Accounts;
  readonly world: PeerDirectory;
  readonly chats: Chats;
  readonly uploads: Uploads;
  readonly records: Records;
  readonly rules: Rules;
  readonly waits: Waits;
  readonly timers: Timers;
  /** By full method name. */
  readonly handlers: Map<string, ServerHandler>;
  readonly dataCenters: DataCenters;
  readonly signIns: SignIns;
  /** Sends an update to the connections of one auth key that take updates. */
  pushTo(authorization: Authorization, update: TlWritable): void;
}
