import type { Answer } from "./call.js";
import type { TlWritable } from "./library.js";
import { SERVICE } from "./messages.js";

function written(id: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(id, 0);
  return bytes;
}

function vectorOf(objects: readonly TlWritable[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(SERVICE.vector, 0);
  head.writeUInt32LE(objects.length, 4);
  return Buffer.concat([head, ...objects.map((object) => object.getBytes())]);
}

/** The bytes of what a handler answered. */
export function encodeAnswer(answer: Answer): Uint8Array {
  if (answer instanceof Uint8Array) return answer;
  if (typeof answer === "boolean") return written(answer ? SERVICE.boolTrue : SERVICE.boolFalse);
  return "getBytes" in answer ? answer.getBytes() : vectorOf(answer);
}
