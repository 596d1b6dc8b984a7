import { describe, expect, test } from "vitest";
import { Emitter } from "../../src/common/emitter.js";

interface Events {
  moved(id: string, to: number): void;
  stopped(): void;
}

describe("Emitter", () => {
  test("emit() - calls the listeners of that event in the order of their subscription", () => {
    const emitter = new Emitter<Events>();
    const calls: string[] = [];
    emitter.on("moved", (id, to) => calls.push(`first ${id} ${to}`));
    emitter.on("stopped", () => calls.push("stopped"));
    emitter.on("moved", (id) => calls.push(`second ${id}`));

    emitter.emit("moved", "a", 1);

    expect(calls).toEqual(["first a 1", "second a"]);
  });

  test("emit() - without a listener - does nothing", () => {
    expect(() => new Emitter<Events>().emit("stopped")).not.toThrow();
  });

  test("emit() - a listener throws - the caller gets the error, and later listeners are not called", () => {
    const emitter = new Emitter<Events>();
    const calls: string[] = [];
    emitter.on("stopped", () => {
      throw new Error("broken");
    });
    emitter.on("stopped", () => calls.push("later"));

    expect(() => emitter.emit("stopped")).toThrow("broken");
    expect(calls).toEqual([]);
  });

  test("on() - during an emit - the new listener is called from the next emit on", () => {
    const emitter = new Emitter<Events>();
    const calls: string[] = [];
    emitter.on("stopped", () => {
      calls.push("outer");
      emitter.on("stopped", () => calls.push("inner"));
    });

    emitter.emit("stopped");
    expect(calls).toEqual(["outer"]);
    emitter.emit("stopped");
    expect(calls).toEqual(["outer", "outer", "inner"]);
  });

  test("on() - the returned function - ends this subscription alone", () => {
    const emitter = new Emitter<Events>();
    const calls: string[] = [];
    const listener = (): void => void calls.push("called");
    const end = emitter.on("stopped", listener);
    emitter.on("stopped", listener);
    end();
    end();

    emitter.emit("stopped");

    expect(calls).toEqual(["called"]);
  });

  test("emit() - inside a listener of the same event - completes before the outer one continues", () => {
    const emitter = new Emitter<Events>();
    const calls: string[] = [];
    emitter.on("moved", (id, to) => {
      calls.push(`first ${id}`);
      if (to === 1) emitter.emit("moved", "b", 2);
    });
    emitter.on("moved", (id) => calls.push(`second ${id}`));

    emitter.emit("moved", "a", 1);

    expect(calls).toEqual(["first a", "first b", "second b", "second a"]);
  });
});
