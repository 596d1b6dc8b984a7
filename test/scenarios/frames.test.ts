import { type Socket, Server } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { ConnectError } from "../../src/index.js";
