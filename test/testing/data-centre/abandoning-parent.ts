import { forkDataCentre } from "../../../src/testing/index.js";

const { port } = await forkDataCentre();
process.send?.(port);
