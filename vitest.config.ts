import { defineConfig, type ViteUserConfig } from "vitest/config";

const common = {
  setupFiles: ["test/canary/setup.ts"],
  testTimeout: 20_000,
  hookTimeout: 20_000,
};

/** What is tested over each client library: see test/matrix. */
const matrix = ["test/scenarios/**/*.test.ts", "test/adapters/client/both/**/*.test.ts"];

const config: ViteUserConfig = defineConfig({
  test: {
    // Most tests over the data centre wait, they do not compute: two at once even on two cores.
    maxWorkers: 2,
    projects: [
      { test: { ...common, name: "telegram", include: ["test/**/*.test.ts"], env: { TELEGRAM_LIBRARY: "telegram" } } },
      { test: { ...common, name: "teleproto", include: matrix, env: { TELEGRAM_LIBRARY: "teleproto" } } },
    ],
    coverage: { provider: "v8", include: ["src/**", "adapters/**"] },
  },
});

export default config;
