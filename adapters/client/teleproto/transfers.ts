import type { LibraryErrors } from "../mtproto/library.js";

/** The parts of teleproto that uploads and downloads need. */
export interface TransferParts {
  readonly Api: object;
  readonly errors: Pick<LibraryErrors, "RPCError">;
  readonly transfers: {
    readonly MediaAbortError: new () => Error;
    readonly CdnRedirectError: new (redirect: never) => Error;
  };
}

/** How much of a file is transferred at once (network/MediaScheduler.js, 1.229.0). */
export interface TransferWindows {
  readonly partSize: number;
  readonly cdnSupported: boolean;
  readonly download: Window;
  readonly upload: Window;
}

interface Window {
  readonly maxSessions: number;
  readonly maxWindow: number;
}

type GetFile = new (fields: Readonly<Record<string, unknown>>) => object;

interface Api {
  readonly upload: { readonly GetFile: GetFile; readonly FileCdnRedirect: new () => object };
}

/** The part of a client, or of a lease's view of it, that parts of files go through. */
interface Invoker {
  invoke(request: never, dcId?: number): Promise<unknown>;
}

/**
 * Replaces teleproto's own scheduler of file parts. That one opens up to eight connections per data center, binds
 * temporary keys on them, sleeps out floods and repeats requests; this one sends each part once, like every other request
 * of the client, so that the pool counts it, refuses it while the session is cooling, and ends it with the lease.
 */
export class MediaTransfers {
  readonly opts: TransferWindows;
  readonly #carrier: Invoker;
  readonly #parts: TransferParts;

  constructor(carrier: Invoker, parts: TransferParts, windows: TransferWindows) {
    this.#carrier = carrier;
    this.#parts = parts;
    // One connection carries the load of eight, and each part has to be answered within the timeout of a call.
    this.opts = {
      ...windows,
      download: { ...windows.download, maxSessions: 1 },
      upload: { ...windows.upload, maxSessions: 1 },
    };
  }

  async getFile(
    dcId: number,
    location: unknown,
    offset: unknown,
    limit: number,
    signal?: AbortSignal,
    onMigrate?: (dcId: number) => void,
  ): Promise<unknown> {
    const { upload } = this.#parts.Api as Api;
    const { cdnSupported } = this.opts;
    const request = new upload.GetFile({ location, offset, limit, precise: false, cdnSupported });
    const file = await this.#send(request, dcId, signal).catch((error: unknown) => {
      const other = this.#movedTo(error);
      if (other === undefined || other === dcId) throw error;
      onMigrate?.(other);
      return this.#send(request, other, signal);
    });
    if (file instanceof upload.FileCdnRedirect) throw new this.#parts.transfers.CdnRedirectError(file as never);
    return Reflect.get(Object(file), "bytes");
  }

  savePart(dcId: number, request: object, signal?: AbortSignal): Promise<unknown> {
    return this.#send(request, dcId, signal);
  }

  /** Nothing to release: it uses the connections of the client. */
  async purge(): Promise<void> {}

  async close(): Promise<void> {}

  async #send(request: object, dcId: number, signal: AbortSignal | undefined): Promise<unknown> {
    const { MediaAbortError } = this.#parts.transfers;
    if (signal?.aborted === true) throw new MediaAbortError();
    const answer = this.#carrier.invoke(request as never, dcId);
    if (signal === undefined) return answer;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new MediaAbortError());
      signal.addEventListener("abort", stop, { once: true });
      answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    });
  }

  /** Where Telegram says that the file is (FILE_MIGRATE_n). */
  #movedTo(error: unknown): number | undefined {
    if (!(error instanceof this.#parts.errors.RPCError)) return undefined;
    const { errorMessage, newDc } = error as { errorMessage?: string; newDc?: number };
    return errorMessage?.startsWith("FILE_MIGRATE") === true ? newDc : undefined;
  }
}
