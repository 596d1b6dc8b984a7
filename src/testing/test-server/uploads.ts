import { RpcError } from "./call.js";

interface Upload {
  readonly parts: Set<number>;
  size: number;
}

/** Uploads that were never used are forgotten, the oldest first. */
const UPLOADS_KEPT = 100;

/** The file parts each account has sent. A file is its own account's only. */
export class Uploads {
  readonly #uploads = new Map<string, Upload>();

  /** Takes a part of a file. The same part again replaces itself. */
  save(account: string, fileId: string, part: number, size: number): void {
    const key = `${account}\n${fileId}`;
    const upload = this.#uploads.get(key) ?? { parts: new Set(), size: 0 };
    if (!upload.parts.has(part)) upload.size += size;
    upload.parts.add(part);
    this.#uploads.set(key, upload);
    for (const oldest of this.#uploads.keys()) {
      if (this.#uploads.size <= UPLOADS_KEPT) break;
      this.#uploads.delete(oldest);
    }
  }

  /** The size of a complete file. Throws FILE_PART_X_MISSING as Telegram does. */
  take(account: string, fileId: string, parts: number): number {
    const key = `${account}\n${fileId}`;
    const upload = this.#uploads.get(key);
    for (let part = 0; part < parts; part++) {
      if (upload?.parts.has(part) !== true) throw new RpcError(400, `FILE_PART_${part}_MISSING`);
    }
    this.#uploads.delete(key);
    return upload?.size ?? 0;
  }
}
