import { createConnection } from "node:net";

/**
 * Whether something listens where the tests' server should be. Where nothing does its tests are skipped, with a line
 * that says so; in CI they run and fail.
 */
export async function isServerThere(name: string, url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const isThere = await new Promise<boolean>((resolve) => {
    const socket = createConnection({ host: hostname, port: Number(port), timeout: 2_000 });
    const settle = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", settle(true)).once("error", settle(false)).once("timeout", settle(false));
  });
  const isRequired = process.env.CI === "true";
  const what = isRequired ? "are required here (CI=true)" : "are skipped";
  if (!isThere) console.warn(`No ${name} at ${hostname}:${port}: its storage tests ${what}.`);
  return isThere || isRequired;
}
