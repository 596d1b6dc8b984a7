import { randomBytes } from "node:crypto";
import type { ApiCall } from "../api-call.js";
import { RpcError } from "../call.js";
import type { TlObject } from "../library.js";
import type { ServerHandler, Services } from "../services.js";
import { DC_ID } from "../session-string.js";

function savePart({ uploads }: Services): ServerHandler {
  return ({ account, request }) => {
    const { length } = request.bytes as Buffer;
    uploads.save(account, String(request.fileId), Number(request.filePart), length);
    return true;
  };
}

/** What a stored file is known by. */
function fileFields(): Readonly<Record<string, unknown>> {
  return {
    id: randomBytes(8).readBigInt64LE(0),
    accessHash: randomBytes(8).readBigInt64LE(0),
    fileReference: randomBytes(8),
    date: Math.floor(Date.now() / 1000),
    dcId: DC_ID,
  };
}

/** Keeps an uploaded file as the media of a message. Throws as Telegram does when parts are missing. */
export function mediaObject({ uploads }: Services, { account, tl }: ApiCall, input: TlObject): TlObject {
  const file = input.file as TlObject | undefined;
  if (file === undefined) throw new RpcError(400, "MEDIA_INVALID");
  const size = uploads.take(account, String(file.id), Number(file.parts));
  if (input.className === "InputMediaUploadedPhoto") {
    const sizes = [tl("PhotoSize", { type: "x", w: 800, h: 600, size })];
    return tl("MessageMediaPhoto", { photo: tl("Photo", { ...fileFields(), sizes }) });
  }
  const { mimeType, attributes } = input;
  return tl("MessageMediaDocument", {
    document: tl("Document", { ...fileFields(), size: BigInt(size), mimeType, attributes }),
  });
}

/** What an account uploads. */
export function mediaHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  return [
    ["upload.SaveFilePart", savePart(services)],
    ["upload.SaveBigFilePart", savePart(services)],
  ];
}
