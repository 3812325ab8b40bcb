// WebDriver BiDi (W3C), as little of it as a page of the harness needs.

import { once } from "node:events";
import { WebSocket } from "ws";

/** Wait for no answer longer: a page joins within `DEADLINE_MS` of the browser's own tests, or tells why. */
const ANSWER_MS = 90_000;

export class Bidi {
  #socket;
  #asked = new Map();
  #last = 0;

  /** @param {string} url `ws://…/session` of a browser that nobody drives yet. */
  static async connect(url) {
    const socket = new WebSocket(url);
    await once(socket, "open");
    const bidi = new Bidi(socket);
    await bidi.send("session.new", { capabilities: {} });
    return bidi;
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on("message", (text) => {
      const { id, type, result, error, message } = JSON.parse(text);
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (type === "success") {
        asked?.settle(result);
      } else if (type === "error") {
        asked?.fail(new Error(`${error}: ${message}`));
      }
    });
    socket.on("close", () => {
      for (const { method, fail } of this.#asked.values()) {
        fail(new Error(`the browser went away during ${method}`));
      }
    });
  }

  /** One command; resolves to its result. */
  async send(method, params) {
    this.#last += 1;
    const id = this.#last;
    let timer;
    const answered = new Promise((settle, fail) => {
      this.#asked.set(id, { method, settle, fail });
      timer = setTimeout(() => fail(new Error(`no answer to ${method}`)), ANSWER_MS);
    });
    this.#socket.send(JSON.stringify({ id, method, params }));
    try {
      return await answered;
    } finally {
      clearTimeout(timer);
    }
  }

  /** A new tab at `url`, with Playwright's way of running functions in it. */
  async open(url) {
    const { context } = await this.send("browsingContext.create", { type: "tab" });
    await this.send("browsingContext.navigate", { context, url, wait: "complete" });
    return {
      /** Runs `work` in the page; what goes in and out crosses as JSON. */
      evaluate: async (work, argument) => {
        const call = `async (text) => JSON.stringify(await (${work})(text === "" ? undefined : JSON.parse(text)))`;
        const { type, result, exceptionDetails } = await this.send("script.callFunction", {
          functionDeclaration: call,
          arguments: [{ type: "string", value: argument === undefined ? "" : JSON.stringify(argument) }],
          target: { context },
          awaitPromise: true,
        });
        if (type === "exception") {
          throw new Error(exceptionDetails.text);
        }
        return result.value === undefined ? undefined : JSON.parse(result.value);
      },
      close: () => this.send("browsingContext.close", { context }),
    };
  }

  close() {
    this.#socket.close();
  }
}
