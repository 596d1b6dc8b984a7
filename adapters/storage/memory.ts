export { memory } from "../../src/storage/memory.js";
