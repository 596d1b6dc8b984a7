import { defineConfig, type ViteUserConfig } from "vitest/config";
// @ts-expect-error It has no types.
import { embedPage } from "./embed-page.mjs";

const common = {
  setupFiles: ["test/canary/setup.ts"],
  // Ends tests that hang. No test needs more than some seconds of CPU, but on a machine with much else to do a second of CPU
  // takes half a minute: what has to settle in time is checked by the clock of the test, not by this.
  testTimeout: 90_000,
  hookTimeout: 90_000,
};

/** What is true of both client libraries is tested over both: see test/fakes/client-library.ts. */
const both = ["test/scenarios/**/*.test.ts", "test/adapters/client/both/**/*.test.ts"];
const teleproto = "test/adapters/client/teleproto/**/*.test.ts";
/** About processes, files, claims, limits and the order of items: no library makes a difference. */
const ofOne = ["ownership", "crashes", "storage", "map", "budgets"].map((name) => `test/scenarios/${name}.test.ts`);

const plugins = [embedPage()];

const config: ViteUserConfig = defineConfig({
  test: {
    // Many tests start processes of their own and have limits in real time: no more at once than the smallest machine has cores.
    maxWorkers: 2,
    projects: [
      {
        plugins,
        test: {
          ...common,
          name: "telegram",
          include: ["test/**/*.test.ts"],
          exclude: [teleproto],
          env: { TELEGRAM_LIBRARY: "telegram" },
        },
      },
      {
        plugins,
        test: {
          ...common,
          name: "teleproto",
          include: [...both, teleproto],
          exclude: ofOne,
          env: { TELEGRAM_LIBRARY: "teleproto" },
        },
      },
    ],
    coverage: { provider: "v8", include: ["src/**", "adapters/**"] },
  },
});

export default config;
