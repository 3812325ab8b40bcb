// A client that is no browser, in a process of its own: orders go to its stdin, answers come from its
// stdout, one line of JSON each (clients/orders.py).

import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { artifacts } from "./node.js";

/** Each client gives up by itself before, and says why. */
const ANSWER_MS = 60_000;

export class Puppet {
  #child;
  #answers = [];
  #waiting = null;
  #log;

  /**
   * @param {string[]} command Interpreter and program.
   * @param {string} name Of the log in the artifacts.
   */
  constructor([program, ...args], name) {
    mkdirSync(artifacts, { recursive: true });
    this.#log = join(artifacts, `${name}.log`);
    this.#child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1", PYTHONUNBUFFERED: "1" },
    });
    this.#child.stderr.pipe(createWriteStream(this.#log));
    // Orders to a process that ended are answered by its end.
    this.#child.stdin.on("error", () => undefined);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      // Libraries that were asked to tell more do so here too.
      if (line.startsWith("{")) {
        this.#take(JSON.parse(line));
      }
    });
    this.#child.on("error", (error) => this.#take({ error: error.message }));
    this.#child.on("close", (code, signal) => this.#take({ error: `it ended (${signal ?? code}) without an answer` }));
  }

  /** Gives one order; resolves to its answer, rejects with what the client says is wrong. */
  async ask(order) {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`);
    let timer;
    const answer = await new Promise((settle) => {
      timer = setTimeout(settle, ANSWER_MS, { error: `no answer to ${order.do} within ${ANSWER_MS} ms` });
      this.#waiting = settle;
      this.#deliver();
    });
    clearTimeout(timer);
    if (answer.error !== undefined) {
      throw new Error(`${answer.error} (${this.#log})`);
    }
    return answer;
  }

  /** Ends the session as its client would, then the process. */
  async end() {
    try {
      return (await this.ask({ do: "leave" })).left;
    } finally {
      this.#child.kill("SIGKILL");
    }
  }

  kill() {
    this.#child.kill("SIGKILL");
  }

  #take(answer) {
    this.#answers.push(answer);
    this.#deliver();
  }

  #deliver() {
    if (this.#waiting !== null && this.#answers.length > 0) {
      this.#waiting(this.#answers.shift());
      this.#waiting = null;
    }
  }
}
