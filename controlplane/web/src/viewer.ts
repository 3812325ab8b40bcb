import { retryDelayMs } from "./backoff";
import { Problem } from "./problem";
import type { Whep } from "./whep";

/** What the viewer sees happen. */
export type ViewerState =
  | { phase: "joining" }
  /** Nobody publishes yet; asked again at `retryAtMs` on the page's clock. */
  | { phase: "waiting"; retryAtMs: number }
  /** The node cannot be reached, is full, or the path broke. */
  | { phase: "reconnecting"; retryAtMs: number; problem: Problem | null }
  | { phase: "playing" }
  /** Connected, but no media has come for a while. */
  | { phase: "stalled" }
  /** The node said no, and asking again will not help. */
  | { phase: "refused"; problem: Problem }
  | { phase: "left" };

export interface ViewerParts {
  join: () => Promise<Whep>;
  onState: (state: ViewerState) => void;
  /** Hands over the tracks of each new connection. */
  onTracks: (tracks: readonly MediaStreamTrack[]) => void;
  now: () => number;
  random: () => number;
}

/** No media for this long is worth a word to the viewer. */
const STALL_MS = 3_000;

/** A publisher may be gone 30 s before its stream ends (domain.md 13); then ask afresh. */
const GAP_MS = 32_000;

/** ICE often recovers from `disconnected` within two of its checks; beyond that, join anew. */
const DISCONNECTED_MS = 4_000;

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
      this.#whep = whep;
      this.#bytes = 0;
      this.#parts.onTracks(whep.tracks);
      whep.connection.addEventListener("connectionstatechange", () => this.#onConnection(whep));
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
    if (this.#state.phase !== "playing" && this.#state.phase !== "stalled") {
      return;
    }
    const now = this.#parts.now();
    if (bytes > this.#bytes) {
      this.#bytes = bytes;
      this.#progressAtMs = now;
      if (this.#state.phase === "stalled") {
        this.#enter({ phase: "playing" });
      }
    } else if (now - this.#progressAtMs >= GAP_MS) {
      this.#retry(null);
    } else if (this.#state.phase === "playing" && now - this.#progressAtMs >= STALL_MS) {
      this.#enter({ phase: "stalled" });
    }
  }

  /** Ends the session for good. */
  leave(): void {
    this.#drop();
    this.#enter({ phase: "left" });
  }

  #onConnection(whep: Whep): void {
    if (whep !== this.#whep) {
      return;
    }
    switch (whep.connection.connectionState) {
      case "connected":
        clearTimeout(this.#timer);
        this.#attempt = 0;
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
        ? { phase: "waiting", retryAtMs }
        : { phase: "reconnecting", retryAtMs, problem },
    );
    this.#after(delayMs, () => void this.join());
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#wanted = null;
    const whep = this.#whep;
    this.#whep = null;
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
