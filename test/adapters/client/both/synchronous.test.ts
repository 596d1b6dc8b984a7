import type { TelegramClient as GramjsClient } from "telegram";
import type { TelegramClient as TeleprotoClient } from "teleproto";
import { expect, test } from "vitest";
import { LeaseRules } from "../../../../adapters/client/mtproto/leased-client.js";
import { loadUnderTest } from "../../../fakes/client-library.js";

/** The methods of a client that its types give no promise for. */
type Synchronous<Client> = {
  [Name in keyof Client & string]-?: Client[Name] extends (...values: never[]) => infer Result
    ? Result extends Promise<unknown>
      ? never
      : Name
    : never;
}[keyof Client & string];

/** Typed as anything: they are fields. */
type Fields = "_floodWaitedRequests" | "_borrowedSenderPromises";

// The compiler refuses a name that is missing or too many.
const names: Readonly<Record<Exclude<Synchronous<GramjsClient> | Synchronous<TeleprotoClient>, Fields>, true>> = {
  on: true,
  _createExportedSender: true,
  _removeSender: true,
  addEventHandler: true,
  buildReplyMarkup: true,
  iterDialogs: true,
  iterDownload: true,
  iterMessages: true,
  iterParticipants: true,
  listEventHandlers: true,
  removeEventHandler: true,
  setLogLevel: true,
  setParseMode: true,
  _getResponseMessage: true,
  iterAdminLog: true,
  iterChatInviteImporters: true,
  iterExportedChatInvites: true,
  _sanitizeParseMode: true,
  _teardownUpdateState: true,
  _makeSender: true,
};

test("isSynchronous() - every method that its library's types give no promise for", async () => {
  const { differences, TelegramClient } = await loadUnderTest();
  const plan = new LeaseRules(undefined as never, undefined as never, undefined as never, differences.synchronous);
  const there = Object.keys(names).filter((name) => name in TelegramClient.prototype);
  expect(there.filter((name) => !plan.isSynchronous(name))).toEqual([]);
});
