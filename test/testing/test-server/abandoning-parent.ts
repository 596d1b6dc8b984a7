import { forkTestServer } from "../../../src/testing/index.js";

const { port } = await forkTestServer();
process.send?.(port);
