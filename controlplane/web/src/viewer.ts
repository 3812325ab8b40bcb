import { retryDelayMs } from "./backoff";
import { Handover } from "./handover";
import type { News } from "./news";
import { Problem } from "./problem";
import type { Whep } from "./whep";

/** What the viewer sees happen. */
export type ViewerState =
  | { phase: "joining" }
  /** Nobody publishes; asked again at `retryAtMs` on the page's clock. `begun`: somebody did before. */
  | { phase: "waiting"; retryAtMs: number; begun: boolean }
  /** The node cannot be reached, is full, or the path broke. */
  | { phase: "reconnecting"; retryAtMs: number; problem: Problem | null }
  | { phase: "playing" }
  /** Connected, but no media has come for a while. */
  | { phase: "stalled" }
  /** Connected, and the node says that the publisher is away. */
  | { phase: "away" }
  /** The node said no, and asking again will not help. */
  | { phase: "refused"; problem: Problem }
  | { phase: "left" };

export interface ViewerParts {
  join: () => Promise<Whep>;
  onState: (state: ViewerState) => void;
  /** Hands over the tracks of each new connection. */
  onTracks: (tracks: readonly MediaStreamTrack[]) => void;
  /** How many watch; null while that is not known. */
  onViewers: (viewers: number | null) => void;
  now: () => number;
  random: () => number;
}

/** No media for this long is worth a word to the viewer. */
const STALL_MS = 3_000;

/** A publisher may be gone 30 s before its stream ends (domain.md 13); then ask afresh. */
const GAP_MS = 32_000;

/** ICE often recovers from `disconnected` within two of its checks; beyond that, join anew. */
const DISCONNECTED_MS = 4_000;

/** Media that was on its way when the publisher went may still be counted for this long. */
const AWAY_MS = 1_500;

/** How often a session without media is asked for at the node: it may be gone. */
const CHECK_MS = 3_000;

/** The time a handshake may take before the path counts as blocked. */
const CONNECT_MS = 12_000;

/** Keeps one viewer in a stream: joins, waits while it is not live, rejoins when the path breaks. */
export class Viewer {
  readonly #parts: ViewerParts;
  #whep: Whep | null = null;
  /** Set while an attempt is wanted; an attempt that finds another here has been given up. */
  #wanted: object | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #bytes = 0;
  #progressAtMs = 0;
  #awayAtMs = 0;
  #checkedAtMs = 0;
  /** Whether media has played since the page was opened. */
  #begun = false;
  #handover: Handover | null = null;
  #state: ViewerState = { phase: "left" };

  constructor(parts: ViewerParts) {
    this.#parts = parts;
  }

  get connection(): RTCPeerConnection | null {
    return this.#whep?.connection ?? null;
  }

  /** Joins now: at first, or at once when the user will not wait for the next attempt. */
  async join(): Promise<void> {
    this.#drop();
    if (this.#state.phase !== "waiting" && this.#state.phase !== "reconnecting") {
      this.#enter({ phase: "joining" });
    }
    const wanted = {};
    this.#wanted = wanted;
    try {
      const whep = await this.#parts.join();
      if (this.#wanted !== wanted) {
        // The request was on its way and made a session: end it, or it lingers.
        void whep.stop();
        return;
      }
      this.#adopt(whep);
      this.#after(CONNECT_MS, () => this.#retry(null));
      this.#onConnection(whep);
    } catch (error) {
      if (this.#wanted === wanted) {
        this.#onRefusal(error);
      }
    }
  }

  /** Takes a reading of received bytes; the page calls it about once a second. */
  onProgress(bytes: number): void {
    const { phase } = this.#state;
    if (phase !== "playing" && phase !== "stalled" && phase !== "away") {
      return;
    }
    const now = this.#parts.now();
    const silentMs = now - this.#progressAtMs;
    if (bytes > this.#bytes) {
      this.#bytes = bytes;
      this.#progressAtMs = now;
      if (phase === "stalled" || (phase === "away" && now - this.#awayAtMs >= AWAY_MS)) {
        this.#enter({ phase: "playing" });
      }
    } else if (silentMs >= GAP_MS) {
      this.#retry(null);
    } else if (silentMs >= STALL_MS) {
      if (phase === "playing") {
        this.#enter({ phase: "stalled" });
      }
      void this.#check(now);
    }
  }

  /** Ends the session for good. */
  leave(): void {
    this.#drop();
    this.#enter({ phase: "left" });
  }

  /** Makes this session the one that is shown. */
  #adopt(whep: Whep): void {
    this.#whep = whep;
    this.#bytes = 0;
    this.#parts.onTracks(whep.tracks);
    whep.connection.addEventListener("connectionstatechange", () => this.#onConnection(whep));
    whep.listen((news) => this.#onNews(whep, news));
  }

  #onNews(whep: Whep, news: News): void {
    if (whep !== this.#whep) {
      return;
    }
    const { phase } = this.#state;
    switch (news.event) {
      case "active":
        if (phase === "away") {
          this.#progressAtMs = this.#parts.now();
          this.#enter({ phase: "playing" });
        }
        break;
      case "inactive":
        if (phase === "playing" || phase === "stalled") {
          this.#awayAtMs = this.#parts.now();
          this.#enter({ phase: "away" });
        }
        break;
      case "viewercount":
        this.#parts.onViewers(news.viewers);
        break;
      case "reconnect":
        if (news.reason === "gone") {
          this.#rejoin();
        } else {
          this.#handover ??= new Handover({
            join: this.#parts.join,
            onReady: (successor) => this.#succeed(successor),
            random: this.#parts.random,
          });
        }
        break;
    }
  }

  /** The new session plays: the old one ends only now. */
  #succeed(successor: Whep): void {
    const old = this.#whep;
    this.#handover = null;
    this.#adopt(successor);
    this.#onConnection(successor);
    void old?.stop();
  }

  /** Asks the node after a session without media; one that it does not know is not worth waiting for. */
  async #check(now: number): Promise<void> {
    const whep = this.#whep;
    if (whep === null || now - this.#checkedAtMs < CHECK_MS) {
      return;
    }
    this.#checkedAtMs = now;
    if ((await whep.lives()) === false && whep === this.#whep) {
      this.#rejoin();
    }
  }

  /** The session is gone while the node is there: no reason to wait. */
  #rejoin(): void {
    this.#drop();
    this.#enter({ phase: "reconnecting", retryAtMs: this.#parts.now(), problem: null });
    void this.join();
  }

  #onConnection(whep: Whep): void {
    if (whep !== this.#whep) {
      return;
    }
    switch (whep.connection.connectionState) {
      case "connected":
        clearTimeout(this.#timer);
        this.#attempt = 0;
        this.#begun = true;
        this.#progressAtMs = this.#parts.now();
        if (this.#state.phase !== "playing") {
          this.#enter({ phase: "playing" });
        }
        break;
      case "disconnected":
        this.#after(DISCONNECTED_MS, () => this.#retry(null));
        break;
      case "failed":
      case "closed":
        this.#retry(null);
        break;
      case "new":
      case "connecting":
        break;
    }
  }

  #onRefusal(error: unknown): void {
    if (error instanceof Problem && !error.transient) {
      this.#enter({ phase: "refused", problem: error });
    } else {
      this.#retry(error instanceof Problem ? error : null);
    }
  }

  #retry(problem: Problem | null): void {
    this.#drop();
    this.#attempt += 1;
    const delayMs = retryDelayMs(this.#attempt, problem?.retryAfterS ?? null, this.#parts.random());
    const retryAtMs = this.#parts.now() + delayMs;
    this.#enter(
      problem?.slug === "not-live"
        ? { phase: "waiting", retryAtMs, begun: this.#begun }
        : { phase: "reconnecting", retryAtMs, problem },
    );
    this.#after(delayMs, () => void this.join());
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#wanted = null;
    this.#handover?.callOff();
    this.#handover = null;
    const whep = this.#whep;
    this.#whep = null;
    this.#parts.onViewers(null);
    void whep?.stop();
  }

  #after(delayMs: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, delayMs);
  }

  #enter(state: ViewerState): void {
    this.#state = state;
    this.#parts.onState(state);
  }
}
