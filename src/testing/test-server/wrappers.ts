import type { ClientDescription } from "./authorization.js";
import type { TelegramLibrary, TlObject } from "./library.js";

/** A request out of its wrappers. */
export interface Unwrapped {
  readonly query: Buffer;
  /** The messages that have to have succeeded before. */
  readonly after: readonly bigint[];
  readonly isConnect: boolean;
  /** Whether its connection takes updates from now on. */
  readonly takesUpdates: boolean;
  /** What the client says of itself, with its `initConnection`. */
  readonly client?: ClientDescription | undefined;
}

// These have not changed their numbers for many layers.
const INVOKE_AFTER_MESSAGE = 0xcb9f372d;
const INVOKE_AFTER_MESSAGES = 0x3dc4b4f0;
const INVOKE_WITHOUT_UPDATES = 0xbf9459b7;
const INVOKE_WITH_LAYER = 0xda9b0d0d;
const INIT_CONNECTION = 0xc1cd5ea9;
const NO_MESSAGES: readonly bigint[] = [];

function queryOf(wrapper: TlObject): Buffer | undefined {
  const query = wrapper.query as TlObject | undefined;
  const isWrapper = wrapper.className === "InitConnection" || wrapper.className.startsWith("InvokeWith");
  return isWrapper && query !== undefined ? query.getBytes() : undefined;
}

/** The layer that a client names, if the request is wrapped so. */
export function layerOf(body: Buffer): number | undefined {
  return body.readUInt32LE(0) === INVOKE_WITH_LAYER ? body.readInt32LE(4) : undefined;
}

function describeClient({ apiId, deviceModel, systemVersion, appVersion }: TlObject): ClientDescription {
  return {
    apiId: Number(apiId),
    deviceModel: String(deviceModel),
    systemVersion: String(systemVersion),
    appVersion: String(appVersion),
  };
}

/** Takes a request out of `invokeAfterMsg`, `invokeWithLayer`, `initConnection` and whatever else it is in. */
export function unwrap(body: Buffer, library: TelegramLibrary): Unwrapped {
  let query = body;
  let after = NO_MESSAGES;
  let isConnect = false;
  let takesUpdates = true;
  let client: ClientDescription | undefined;
  for (;;) {
    const constructorId = query.readUInt32LE(0);
    if (constructorId === INVOKE_AFTER_MESSAGE) {
      after = [...after, query.readBigInt64LE(4)];
      query = query.subarray(12);
    } else if (constructorId === INVOKE_AFTER_MESSAGES) {
      const count = query.readUInt32LE(8);
      after = [...after, ...Array.from({ length: count }, (_, i) => query.readBigInt64LE(12 + i * 8))];
      query = query.subarray(12 + count * 8);
    } else if (constructorId === INVOKE_WITHOUT_UPDATES) {
      takesUpdates = false;
      query = query.subarray(4);
    } else if (constructorId === INVOKE_WITH_LAYER) {
      query = query.subarray(8);
    } else if (
      constructorId === INIT_CONNECTION ||
      library.methodOf(constructorId)?.startsWith("InvokeWith") === true
    ) {
      isConnect ||= constructorId === INIT_CONNECTION;
      const wrapper = library.read(query);
      if (constructorId === INIT_CONNECTION) client = describeClient(wrapper);
      const inner = queryOf(wrapper);
      if (inner === undefined) return { query, after, isConnect, takesUpdates, client };
      query = inner;
    } else {
      return { query, after, isConnect, takesUpdates, client };
    }
  }
}
