import { onTestFailed } from "vitest";

/** The seed of the running test: another one in each run, or `TEST_SEED`. It is printed when the test fails. */
export function testSeed(): number {
  const seed = Number(process.env.TEST_SEED ?? 1 + (Date.now() % 1_000_000));
  onTestFailed(() => console.error(`TEST_SEED=${seed} repeats the random choices of this test.`));
  return seed;
}
