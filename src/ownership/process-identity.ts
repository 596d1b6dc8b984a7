import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** Identifies a thread of a process, so that others on the same host can check whether it still runs. */
export interface ProcessIdentity {
  /** Boot id and process id namespace; `null` where the system does not provide them. */
  readonly host: string | null;
  readonly pid: number;
  /** The kernel's id of the thread: a worker thread has pools of its own. */
  readonly thread: number;
  /** When the thread began, in the kernel's ticks since boot: process ids are reused, with another start. */
  readonly startedAt: string;
}

/**
 * This thread's identity. `host` replaces the boot id where several machines can show the same one.
 * Source: proc(5), "/proc/sys/kernel/random/boot_id", "/proc/pid/stat", "/proc/thread-self"; namespaces(7).
 */
export function ownIdentity(host?: string): ProcessIdentity {
  try {
    const [pid, thread] = readlinkSync("/proc/thread-self").split("/task/").map(Number);
    const startedAt = threadAt(process.pid, thread ?? 0)?.startedAt;
    // Another namespace's /proc shows other numbers than the ones that signals take.
    if (pid !== process.pid || thread === undefined || startedAt === undefined) return unknownHost();
    const boot = host ?? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return { host: `${boot} ${readlinkSync("/proc/self/ns/pid")}`, pid, thread, startedAt };
  } catch {
    return unknownHost();
  }
}

/** Returns whether the thread still runs; in doubt, true. Only meaningful on the same host. */
export function isRunning(identity: ProcessIdentity): boolean {
  if (!hasProcess(identity.pid)) return false;
  const thread = threadAt(identity.pid, identity.thread);
  // A process of another user may be hidden (the hidepid option of /proc): it is there, and nothing else is known of it.
  if (thread === undefined && !isVisible(identity.pid)) return true;
  if (thread !== undefined && thread.startedAt !== identity.startedAt) return false;
  return isAlive(thread) || isEnding(identity.pid);
}

/** Whether both are the same thread of the same process. */
export function isSameThread(one: ProcessIdentity, other: ProcessIdentity): boolean {
  return (
    one.host !== null &&
    one.host === other.host &&
    one.pid === other.pid &&
    one.thread === other.thread &&
    one.startedAt === other.startedAt
  );
}

function unknownHost(): ProcessIdentity {
  return { host: null, pid: process.pid, thread: 0, startedAt: "" };
}

/** Signal 0 only checks; EPERM means that the process belongs to another user. */
function hasProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function isVisible(pid: number): boolean {
  try {
    statSync(`/proc/${pid}/stat`);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether the main thread is dead and another one is not: a killed process one of whose threads still writes to its disk.
 * Sockets are the process's, and open until its last thread is gone. Source: proc(5), "/proc/pid/task".
 */
function isEnding(pid: number): boolean {
  if (isAlive(threadAt(pid, pid))) return false;
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) => isAlive(threadAt(pid, Number(thread))));
  } catch {
    return false;
  }
}

function isAlive(thread: ThreadState | undefined): boolean {
  return thread !== undefined && thread.state !== "Z" && thread.state !== "X";
}

interface ThreadState {
  readonly state: string;
  readonly startedAt: string;
}

/** Fields 3 and 22 of its stat line; the name before them may hold anything, also brackets. */
function threadAt(pid: number, thread: number): ThreadState | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    const [state = "", startedAt = ""] = [fields[0], fields[19]];
    return { state, startedAt };
  } catch {
    return undefined;
  }
}
