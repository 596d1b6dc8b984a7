#!/usr/bin/env node
/** The command `telegram-session-pool`: see docs/cli.md. */
import { endSoon, runCommandLine } from "./run-command-line.js";

process.exitCode = await runCommandLine(process);
endSoon(process);
