import { retryDelayMs } from "./backoff";
import type { News } from "./news";
import { Problem } from "./problem";
import type { Whip } from "./whip";

/** What the publisher sees happen. */
export type PublisherState =
  | { phase: "idle" }
  | { phase: "connecting" }
  | { phase: "live"; sinceMs: number }
  /** Was live; the path or the node broke and is tried again at `retryAtMs`. */
  | { phase: "reconnecting"; retryAtMs: number }
  /** The node refused, cannot be reached, or no media path opened. */
  | { phase: "failed"; why: Failure };

export type Failure =
  | { kind: "refused"; problem: Problem }
  | { kind: "unreachable" }
  | { kind: "blocked" };

export interface PublisherParts {
  publish: () => Promise<Whip>;
  onState: (state: PublisherState) => void;
  /** How many watch; null while that is not known. */
  onViewers: (viewers: number | null) => void;
  now: () => number;
  random: () => number;
}

const DISCONNECTED_MS = 4_000;
const CONNECT_MS = 12_000;

/**
 * The node reports on a publisher's packets several times a second. Silence for this long means that it
 * or the path is gone, seconds before ICE says so.
 */
const SILENT_MS = 1_200;

/** How often a session in silence is asked for at the node. */
const CHECK_MS = 1_000;

/**
 * Keeps one publisher live from the click to the click. A first attempt that fails is told to the
 * user at once; a session that was live is brought back without asking.
 */
export class Publisher {
  readonly #parts: PublisherParts;
  #whip: Whip | null = null;
  /** Set while an attempt is wanted; an attempt that finds another here has been given up. */
  #wanted: object | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #sinceMs: number | null = null;
  #bytes = 0;
  #heardAtMs = 0;
  #checkedAtMs = 0;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
  }

  get whip(): Whip | null {
    return this.#whip;
  }

  start(): Promise<void> {
    this.#sinceMs = null;
    this.#attempt = 0;
    this.#parts.onState({ phase: "connecting" });
    return this.#publish();
  }

  /** Takes a reading of all bytes that came from the node; the page calls it twice a second. */
  onProgress(bytes: number): void {
    const whip = this.#whip;
    if (whip?.connection.connectionState !== "connected") {
      return;
    }
    const now = this.#parts.now();
    if (bytes > this.#bytes) {
      this.#bytes = bytes;
      this.#heardAtMs = now;
    } else if (now - this.#heardAtMs >= SILENT_MS && now - this.#checkedAtMs >= CHECK_MS) {
      this.#checkedAtMs = now;
      void this.#check(whip);
    }
  }

  stop(): void {
    this.#drop();
    this.#sinceMs = null;
    this.#parts.onState({ phase: "idle" });
  }

  async #publish(): Promise<void> {
    this.#drop();
    const wanted = {};
    this.#wanted = wanted;
    try {
      const whip = await this.#parts.publish();
      if (this.#wanted !== wanted) {
        // The request was on its way and made a session: end it, or it lingers.
        void whip.stop();
        return;
      }
      this.#whip = whip;
      this.#bytes = 0;
      whip.listen((news) => this.#onNews(whip, news));
      whip.connection.addEventListener("connectionstatechange", () => this.#onConnection(whip));
      this.#after(CONNECT_MS, () => this.#fail({ kind: "blocked" }));
      this.#onConnection(whip);
    } catch (error) {
      if (this.#wanted === wanted) {
        this.#fail(
          error instanceof Problem ? { kind: "refused", problem: error } : { kind: "unreachable" },
        );
      }
    }
  }

  /** A session that the node does not know any more is not worth waiting for. */
  async #check(whip: Whip): Promise<void> {
    if ((await whip.lives()) === false) {
      this.#rejoin(whip);
    }
  }

  #onNews(whip: Whip, news: News): void {
    if (whip !== this.#whip) {
      return;
    }
    if (news.event === "viewercount") {
      this.#parts.onViewers(news.viewers);
    } else if (news.event === "reconnect" && news.reason === "gone") {
      this.#rejoin(whip);
    }
    // A node that drains keeps its publishers to the end of their class: here is nothing to do.
  }

  /** The session is gone while the node is there: no reason to wait. */
  #rejoin(whip: Whip): void {
    if (whip === this.#whip) {
      this.#parts.onState({ phase: "reconnecting", retryAtMs: this.#parts.now() });
      void this.#publish();
    }
  }

  #onConnection(whip: Whip): void {
    if (whip !== this.#whip) {
      return;
    }
    switch (whip.connection.connectionState) {
      case "connected":
        clearTimeout(this.#timer);
        this.#attempt = 0;
        this.#heardAtMs = this.#parts.now();
        this.#sinceMs ??= this.#parts.now();
        this.#parts.onState({ phase: "live", sinceMs: this.#sinceMs });
        break;
      case "disconnected":
        this.#after(DISCONNECTED_MS, () => this.#fail({ kind: "blocked" }));
        break;
      case "failed":
      case "closed":
        this.#fail({ kind: "blocked" });
        break;
      case "new":
      case "connecting":
        break;
    }
  }

  #fail(why: Failure): void {
    this.#drop();
    const final = why.kind === "refused" && !why.problem.transient;
    if (this.#sinceMs === null || final) {
      this.#sinceMs = null;
      this.#parts.onState({ phase: "failed", why });
      return;
    }
    this.#attempt += 1;
    const retryAfterS = why.kind === "refused" ? why.problem.retryAfterS : null;
    const delayMs = retryDelayMs(this.#attempt, retryAfterS, this.#parts.random());
    this.#parts.onState({ phase: "reconnecting", retryAtMs: this.#parts.now() + delayMs });
    this.#after(delayMs, () => void this.#publish());
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#wanted = null;
    const whip = this.#whip;
    this.#whip = null;
    this.#parts.onViewers(null);
    void whip?.stop();
  }

  #after(delayMs: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, delayMs);
  }
}
