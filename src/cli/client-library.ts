import type { TelegramClient } from "telegram";
import type { GramjsOptions } from "../../adapters/client/gramjs.js";
import type { ClientAdapter } from "../connections/client-adapter.js";
import { CommandError } from "./command.js";
import { CLIENTS, type ClientName, type Settings } from "./settings.js";

/** The package of each client library. */
const PACKAGES: Readonly<Record<ClientName, string>> = { gramjs: "telegram", teleproto: "teleproto" };

/** Makes the client adapter of a library: what the command uses of a client, both have. */
export type CreateAdapter = (options: GramjsOptions) => ClientAdapter<TelegramClient>;

/** The client library to work with: the one that was asked for, else the first that is installed. Throws `CommandError`. */
export async function findClientLibrary({ client }: Pick<Settings, "client">): Promise<ClientName> {
  for (const name of client === undefined ? CLIENTS : [client]) {
    if (await isInstalled(name)) return name;
  }
  const packages = client === undefined ? "telegram" : PACKAGES[client];
  throw new CommandError(
    `No client library is installed${client === undefined ? "" : ` under the name ${packages}`}: npm install ${packages}.`,
  );
}

/** Whether the package of a client library is there. */
export async function isInstalled(name: ClientName): Promise<boolean> {
  try {
    import.meta.resolve(PACKAGES[name]);
    return true;
  } catch {
    return false;
  }
}

/** Loads the adapter of a client library. */
export async function loadClientAdapter(name: ClientName): Promise<CreateAdapter> {
  if (name === "gramjs") return (await import("../../adapters/client/gramjs.js")).gramjs;
  const { teleproto } = await import("../../adapters/client/teleproto.js");
  // The two classes are alike in what the command calls: both are forks of one code.
  return teleproto as unknown as CreateAdapter;
}

/** The client adapter that the settings ask for. Throws `UsageError` or `CommandError` when something is missing. */
export async function createClientAdapter(settings: Settings): Promise<ClientAdapter<TelegramClient>> {
  const { api, privateServer } = settings;
  const name = await findClientLibrary(settings);
  const adapter = await loadClientAdapter(name);
  return adapter({ ...api, server: privateServer });
}
