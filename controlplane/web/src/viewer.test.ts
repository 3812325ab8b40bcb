import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Problem } from "./problem";
import { FakePeer } from "./testing/peer";
import { Viewer, type ViewerState } from "./viewer";
import type { Whep } from "./whep";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const notLive = new Problem("not-live", 409, "Nobody publishes here.", 2);

/** A viewer whose joins end as told, one after the other. */
function watch(...outcomes: ("joins" | Error)[]) {
  const states: ViewerState[] = [];
  const peers: FakePeer[] = [];
  let joins = 0;
  let stops = 0;
  const viewer = new Viewer({
    join: async () => {
      joins += 1;
      const outcome = outcomes.shift() ?? "joins";
      if (outcome !== "joins") {
        throw outcome;
      }
      const peer = new FakePeer();
      peers.push(peer);
      const stop = async () => {
        stops += 1;
      };
      return { connection: peer.asConnection(), tracks: [], stop } as unknown as Whep;
    },
    onState: (state) => states.push(state),
    onTracks: () => undefined,
    now: () => Date.now(),
    random: () => 0,
  });
  return {
    viewer,
    peers,
    phases: () => states.map(({ phase }) => phase),
    state: () => states.at(-1),
    joins: () => joins,
    stops: () => stops,
  };
}

it("waits for the class to begin, no sooner than the node said, and starts by itself", async () => {
  const story = watch(notLive, notLive, "joins");
  await story.viewer.join();
  expect(story.state()).toMatchObject({ phase: "waiting", retryAtMs: Date.now() + 2_000 });
  await vi.advanceTimersByTimeAsync(1_999);
  expect(story.joins()).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(story.joins()).toBe(2);
  await vi.advanceTimersByTimeAsync(2_000);
  story.peers[0]?.become("connected");
  // The waiting screen stands still between the attempts.
  expect(story.phases()).toEqual(["joining", "waiting", "waiting", "playing"]);
});

it("asks at once when the user will not wait", async () => {
  const story = watch(notLive, "joins");
  await story.viewer.join();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(story.joins()).toBe(2);
  expect(story.state()).toEqual({ phase: "playing" });
});

it("gives up on an answer that asking again does not change", async () => {
  const story = watch(new Problem("wrong-room", 403, "This token is for room art-1.", null));
  await story.viewer.join();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(story.joins()).toBe(1);
  expect(story.state()).toMatchObject({ phase: "refused", problem: { slug: "wrong-room" } });
});

it("keeps trying while the node cannot be reached", async () => {
  const story = watch(new TypeError("Failed to fetch"), new TypeError("Failed to fetch"), "joins");
  await story.viewer.join();
  await vi.advanceTimersByTimeAsync(1_000 + 1_500);
  story.peers[0]?.become("connected");
  expect(story.phases()).toEqual(["joining", "reconnecting", "reconnecting", "playing"]);
});

it("rejoins when the path breaks, and ends the old session", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.peers[0]?.become("failed");
  expect(story.stops()).toBe(1);
  await vi.advanceTimersByTimeAsync(1_000);
  story.peers[1]?.become("connected");
  expect(story.phases()).toEqual(["joining", "playing", "reconnecting", "playing"]);
});

it("gives ICE a moment to recover by itself", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.peers[0]?.become("disconnected");
  await vi.advanceTimersByTimeAsync(3_900);
  story.peers[0]?.become("connected");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(story.joins()).toBe(1);
  expect(story.phases()).toEqual(["joining", "playing"]);
});

it("does not wait for ever for a path that a firewall blocks", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connecting");
  await vi.advanceTimersByTimeAsync(12_000);
  expect(story.state()?.phase).toBe("reconnecting");
});

it("says that the picture stopped, and goes on when it comes back", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.viewer.onProgress(1_000);
  await vi.advanceTimersByTimeAsync(3_000);
  story.viewer.onProgress(1_000);
  expect(story.state()?.phase).toBe("stalled");
  story.viewer.onProgress(2_000);
  expect(story.state()?.phase).toBe("playing");
  expect(story.joins()).toBe(1);
});

it("asks afresh when the publisher stays away longer than a stream may have a gap", async () => {
  const story = watch("joins", notLive);
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.viewer.onProgress(1_000);
  await vi.advanceTimersByTimeAsync(32_000);
  story.viewer.onProgress(1_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(story.state()?.phase).toBe("waiting");
});

it("ends a session that was on its way when the user left", async () => {
  const story = watch();
  const joining = story.viewer.join();
  story.viewer.leave();
  await joining;
  expect(story.stops()).toBe(1);
  expect(story.phases()).toEqual(["joining", "left"]);
});
