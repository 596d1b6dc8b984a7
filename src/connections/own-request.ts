import { LeaseReleasedError } from "../errors.js";
import type { ClientAdapter } from "./client-adapter.js";
import type { Connection } from "./connection.js";
import { LeaseScope } from "./lease-scope.js";

/**
 * Sends a request of the pool itself over a connected client, outside of any caller's lease and through the request gate.
 * Rejects as the request does, and if the client adapter cannot make one.
 *
 * @param method the full name: `"help.GetAppConfig"`
 */
export async function sendOwnRequest<Client>(
  client: ClientAdapter<Client>,
  connection: Connection<Client>,
  method: string,
  fields: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const request = client.createRequest?.(method, fields);
  if (request === undefined) throw new TypeError("The client adapter has no createRequest().");
  return sendRaw(client, connection, request);
}

/** Sends a raw request of the pool itself, as {@link sendOwnRequest} does. */
export async function sendRaw<Client>(
  client: ClientAdapter<Client>,
  connection: Connection<Client>,
  request: unknown,
): Promise<unknown> {
  const { id: sessionId, handle } = connection;
  const scope = new LeaseScope(sessionId);
  scope.attempt = undefined;
  try {
    return await client.invoke(handle.guard(scope), request);
  } finally {
    scope.end(() => new LeaseReleasedError("The pool's own request has ended.", { sessionId }));
  }
}
