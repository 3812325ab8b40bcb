// Whether the picture that is shown moves: statistics count frames, not what is in them.

/** Small enough to cost nothing, large enough that whatever moves changes a pixel. */
const WIDTH = 64;
const HEIGHT = 36;
/** As in tally.py. */
const FREEZE_MS = 500;

export class Motion {
  #context = new OffscreenCanvas(WIDTH, HEIGHT).getContext("2d", { willReadFrequently: true });
  #seen = { shown: 0, moved: 0, freezes: 0 };
  #checksum = null;
  #shownAt = null;
  #longestGapMs = 0;

  /** Counts each picture that `video` shows from now on. */
  follow(video) {
    const next = (now) => {
      this.#take(video, now);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  /** Counts since the start; `longestGapMs` is of the time since the last reading. */
  reading() {
    const gapMs = Math.max(this.#longestGapMs, this.#shownAt === null ? 0 : performance.now() - this.#shownAt);
    this.#longestGapMs = 0;
    return { ...this.#seen, longestGapMs: Math.round(gapMs) };
  }

  #take(video, now) {
    if (this.#shownAt !== null) {
      const gapMs = now - this.#shownAt;
      this.#longestGapMs = Math.max(this.#longestGapMs, gapMs);
      this.#seen.freezes += Number(gapMs >= FREEZE_MS);
    }
    this.#shownAt = now;
    this.#context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    let checksum = 0;
    for (const level of this.#context.getImageData(0, 0, WIDTH, HEIGHT).data) {
      checksum = (checksum * 31 + level) | 0;
    }
    this.#seen.moved += Number(checksum !== this.#checksum);
    this.#checksum = checksum;
    this.#seen.shown += 1;
  }
}
