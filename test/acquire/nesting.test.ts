import { describe, expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/errors.js";
import { openPool, watch } from "../fakes/pools.js";
import { settled } from "../fakes/virtual-clock.js";

const traceLeases = true;

describe("use() inside use()", () => {
  test("when only the enclosing work could serve it - is refused at once, with the reason", async () => {
    const { pool } = await openPool({ sessions: ["a"], traceLeases });
    const nested = pool.use(async () => {
      await settled();
      return pool.use(() => "never");
    });
    await expect(nested).rejects.toBeInstanceOf(NoSessionAvailableError);
    await expect(nested).rejects.toThrow('holds every session that matches ("a"), so it would wait for itself');
    expect(pool.status()).toMatchObject({ free: 1, waiters: 0 });
  });

  test("when nested several levels deep - is refused, by id and by tag", async () => {
    const { pool } = await openPool({ sessions: ["a", "b"], traceLeases });
    await pool.update("b", { tags: ["x"] });
    const levels = pool.use(() => pool.use(() => pool.use(() => "never")));
    await expect(levels).rejects.toThrow("would wait for itself");
    await expect(pool.use((_, { id }) => pool.acquire({ id }))).rejects.toThrow("would wait for itself");
    const byTag = pool.use(() => pool.use(() => "never", { tags: ["x"] }), { id: "b" });
    await expect(byTag).rejects.toThrow("would wait for itself");
  });

  test("when another session can serve it - waits", async () => {
    const { pool } = await openPool({ sessions: ["a", "b"], traceLeases });
    const other = await pool.acquire({ id: "b" });
    const nested = watch(pool.use(() => pool.use((_, { id }) => id)));
    await settled();
    expect(nested.state).toBe("pending");
    other.release();
    await settled();
    expect(nested.value).toBe("b");
  });

  test("after the work around it has ended - waits", async () => {
    const { pool } = await openPool({ sessions: ["a"], traceLeases });
    let later: Promise<string> = Promise.resolve("");
    await pool.use(() => {
      later = settled().then(() => pool.use((_, { id }) => id));
    });
    const held = await pool.acquire();
    await settled();
    held.release();
    expect(await later).toBe("a");
  });
});
