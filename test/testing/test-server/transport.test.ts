import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TransportDetector } from "../../../src/testing/test-server/transport.js";

const TAGS = { full: Buffer.alloc(0), abridged: Buffer.of(0xef), intermediate: Buffer.of(0xee, 0xee, 0xee, 0xee) };

/** A detector that knows its transport, to frame with. */
function framer(name: keyof typeof TAGS): TransportDetector {
  const detector = new TransportDetector();
  // Four bytes of a length that never completes tell "full".
  detector.read(name === "full" ? Buffer.of(12, 0, 0, 0) : TAGS[name]);
  return detector;
}

const packets = fc.array(
  fc.uint8Array({ minLength: 1, maxLength: 300 }).map((array) => Buffer.concat(Array(4).fill(Buffer.from(array)))),
  { minLength: 1, maxLength: 5 },
);

describe("TransportDetector.read()", () => {
  test.each(["full", "abridged", "intermediate"] as const)("%s, cut anywhere - gives the packets", (name) => {
    fc.assert(
      fc.property(packets, fc.array(fc.nat(2_000), { maxLength: 6 }), (sent, cuts) => {
        const { transport } = framer(name);
        const stream = Buffer.concat([TAGS[name], ...sent.map((packet) => transport?.frame(packet) ?? packet)]);
        const ends = [...cuts.map((cut) => cut % stream.length), stream.length].sort((a, b) => a - b);
        const detector = new TransportDetector();
        const read = ends.flatMap((end, i) => detector.read(stream.subarray(ends[i - 1] ?? 0, end)));
        expect(read.map(String)).toEqual(sent.map(String));
        expect(detector.transport?.name).toBe(name);
      }),
    );
  });

  test("a wrong checksum - throws", () => {
    const frame = framer("full").transport?.frame(Buffer.alloc(16)) ?? Buffer.alloc(0);
    frame[12] = 1;
    expect(() => new TransportDetector().read(frame)).toThrow("CRC32");
  });

  test("other protocols than MTProto - throws", () => {
    expect(() => new TransportDetector().read(Buffer.from("GET / HTTP/1.1\r\n\r\n"))).toThrow("cannot be");
  });
});
