import { retryDelayMs } from "./backoff";
import { Problem } from "./problem";
import type { Whep } from "./whep";

export interface HandoverParts {
  join: () => Promise<Whep>;
  /** The new session has media. */
  onReady: (whep: Whep) => void;
  random: () => number;
}

/** How long a new session may take to its first media before it counts as failed. */
const READY_MS = 12_000;

/** Makes a session to follow one that still plays: tries until a new one has media, or is called off. */
export class Handover {
  readonly #parts: HandoverParts;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #candidate: Whep | null = null;
  #calledOff = false;

  constructor(parts: HandoverParts) {
    this.#parts = parts;
    void this.#try();
  }

  /** Ends what was begun; a session that has been handed over is no longer its business. */
  callOff(): void {
    this.#calledOff = true;
    clearTimeout(this.#timer);
    void this.#candidate?.stop();
    this.#candidate = null;
  }

  async #try(): Promise<void> {
    try {
      const whep = await this.#parts.join();
      if (this.#calledOff) {
        void whep.stop();
        return;
      }
      this.#candidate = whep;
      this.#after(READY_MS, () => this.#again(null));
      const look = () => this.#look(whep);
      whep.connection.addEventListener("connectionstatechange", look);
      for (const track of whep.tracks) {
        track.addEventListener("unmute", look);
      }
      look();
    } catch (error) {
      // A refusal that asking again does not change: the present session plays to its end.
      if (!this.#calledOff && (!(error instanceof Problem) || error.transient)) {
        this.#again(error instanceof Problem ? error.retryAfterS : null);
      }
    }
  }

  #look(whep: Whep): void {
    if (this.#candidate !== whep) {
      return;
    }
    const state = whep.connection.connectionState;
    if (state === "failed" || state === "closed") {
      this.#again(null);
    } else if (state === "connected" && whep.tracks.some(({ muted }) => !muted)) {
      clearTimeout(this.#timer);
      this.#candidate = null;
      this.#parts.onReady(whep);
    }
  }

  #again(retryAfterS: number | null): void {
    void this.#candidate?.stop();
    this.#candidate = null;
    this.#attempt += 1;
    this.#after(retryDelayMs(this.#attempt, retryAfterS, this.#parts.random()), () => void this.#try());
  }

  #after(delayMs: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, delayMs);
  }
}
