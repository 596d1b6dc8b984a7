export { memory } from "../../src/records/memory-storage.js";
