// A Lectern node of its own for one test file: two processes, free ports, a data directory that goes
// away with it.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const here = import.meta.dirname;
const binary = resolve(process.env.LECTERN_BIN ?? join(here, "../../../target/debug/lectern"));

/** Where logs, tables and pictures of a run are kept. */
export const artifacts = resolve(join(here, "../../../e2e-artifacts"));

/** A debug build starts both processes well within this; longer means it never will. */
const START_MS = 20_000;
/** domain.md: SIGINT stops within 2 s. The rest is for a busy machine. */
const STOP_MS = 5_000;

/**
 * Starts `lectern up --json` and waits for its ready line.
 *
 * @param {{openTokens?: boolean, args?: string[]}} [options]
 */
export async function startNode({ openTokens = false, args = [] } = {}) {
  const dataDir = mkdtempSync(join(tmpdir(), "lectern-e2e-"));
  const flags = [
    ["--http", "127.0.0.1:0"],
    ["--ops", "127.0.0.1:0"],
    ["--media-ops", "127.0.0.1:0"],
    ["--media-port", "0"],
    ["--data-dir", dataDir],
    [`--open-tokens=${openTokens}`],
  ].flat();
  const child = spawn(binary, ["up", "--json", ...flags, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: dataDir,
    // The machine's own settings for a node are not this one's.
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("LECTERN_"))),
  });
  mkdirSync(artifacts, { recursive: true });
  const log = join(artifacts, `${basename(process.argv[1] ?? "node", ".test.js")}-node.log`);
  child.stderr.pipe(createWriteStream(log));
  const exited = once(child, "exit").then(([code, signal]) => ({ code, signal }));
  exited.catch(() => undefined);

  const line = await within(START_MS, Promise.race([firstLine(child.stdout), exited]));
  if (typeof line !== "string") {
    child.kill("SIGKILL");
    const why = line === null ? `was not ready within ${START_MS} ms` : `ended (${line.signal ?? line.code}) at once`;
    throw new Error(`lectern up ${why}:\n${tail(log)}`);
  }
  const ready = JSON.parse(line);

  return {
    ready,
    /** Origin of pages, WHIP and WHEP, for example `http://127.0.0.1:34567`. */
    http: ready.http.startsWith("http") ? ready.http : `http://${ready.http}`,
    log,
    dataDir,

    /**
     * A room token, as an operator makes one; every call is somebody else (another `sub`).
     *
     * @param {{role: string, room: string, name?: string, ttl?: string}} wish
     */
    async token(wish) {
      const wishes = Object.entries(wish).flatMap(([flag, value]) => [`--${flag}`, value]);
      const { stdout } = await promisify(execFile)(binary, ["token", "--data-dir", dataDir, ...wishes]);
      return stdout.trim();
    },

    /**
     * Ends a process and waits until the one that replaces it serves.
     *
     * @param {"controlplane" | "dataplane"} part
     * @param {"SIGKILL" | "SIGTERM"} [how]
     * @returns {Promise<number>} Milliseconds from the one to the other.
     */
    async kill(part, how = "SIGKILL") {
      const since = performance.now();
      const killed = find(child.pid, part);
      assert.ok(killed !== undefined, `there is no ${part} at the moment:\n${tail(log)}`);
      process.kill(killed, how);
      const back = async () => {
        const now = find(child.pid, part);
        return now !== undefined && now !== killed && (await serves(ready.ops)) && (await serves(ready.media_ops));
      };
      while (!(await back())) {
        assert.ok(performance.now() - since < START_MS, `the ${part} is not back:\n${tail(log)}`);
        await new Promise((settle) => setTimeout(settle, 5));
      }
      return performance.now() - since;
    },

    /** SIGTERM, as systemd and containers send it: the node drains. */
    terminate() {
      child.kill("SIGTERM");
    },

    /** How `lectern up` ended by itself, or null when it runs after `ms`. */
    async ended(ms = STOP_MS) {
      return within(ms, exited);
    },

    /** Removes what a node leaves that ended by itself. */
    tidy() {
      rmSync(dataDir, { recursive: true, force: true });
    },

    /** Ctrl-C. Resolves to the exit code; rejects when a process outlives it. */
    async stop() {
      child.kill("SIGINT");
      const outcome = await within(STOP_MS, exited);
      if (outcome === null) {
        child.kill("SIGKILL");
        throw new Error(`lectern up survived SIGINT for ${STOP_MS} ms:\n${tail(log)}`);
      }
      rmSync(dataDir, { recursive: true, force: true });
      return outcome;
    },
  };
}

/** Whether the process behind this ops port may get traffic. */
async function serves(ops) {
  const answer = await fetch(`http://${ops}/readyz`).catch(() => null);
  return answer?.status === 200;
}

/**
 * The process that plays this part now; a restarted one has another number than the ready line says.
 *
 * @returns {number | undefined}
 */
function find(up, part) {
  return childrenOf(up).find(({ words }) => isPart(words, part))?.pid;
}

function isPart(words, part) {
  return part === "controlplane" ? words[1] === "controlplane" : basename(words[0] ?? "") === "lectern-dataplane";
}

/** Command lines of a process's children, from /proc. */
function childrenOf(parent) {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.flatMap((name) => {
    try {
      // The name in parentheses may hold anything; what follows the last one is fixed.
      const [, ppid] = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      const words = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      return Number(ppid) === parent ? [{ pid: Number(name), words }] : [];
    } catch {
      return [];
    }
  });
}

/** The last lines of a log, to be read in a failed assertion. */
export function tail(path, lines = 30) {
  try {
    return readFileSync(path, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } catch {
    return "(no log)";
  }
}

async function firstLine(stream) {
  const lines = createInterface({ input: stream });
  const [line] = await once(lines, "line");
  return line;
}

/** What `wanted` settles to, or null after `ms`. */
async function within(ms, wanted) {
  let timer;
  const deadline = new Promise((settle) => {
    timer = setTimeout(settle, ms, null);
  });
  try {
    return await Promise.race([wanted, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
