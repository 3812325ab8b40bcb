import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { News } from "./news";
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
  const ears: ((news: News) => void)[] = [];
  const stopped: number[] = [];
  const shown: number[] = [];
  const viewers: (number | null)[] = [];
  const known = { lives: true as boolean | null, asked: 0 };
  let joins = 0;
  const viewer = new Viewer({
    join: async () => {
      joins += 1;
      const outcome = outcomes.shift() ?? "joins";
      if (outcome !== "joins") {
        throw outcome;
      }
      const peer = new FakePeer();
      const index = peers.push(peer) - 1;
      return {
        connection: peer.asConnection(),
        tracks: [peer.track],
        stop: async () => {
          stopped.push(index);
        },
        listen: (onNews: (news: News) => void) => {
          ears[index] = onNews;
        },
        lives: async () => {
          known.asked += 1;
          return known.lives;
        },
      } as unknown as Whep;
    },
    onState: (state) => states.push(state),
    onTracks: (tracks) => shown.push(peers.findIndex(({ track }) => Object.is(track, tracks[0]))),
    onViewers: (count) => viewers.push(count),
    now: () => Date.now(),
    random: () => 0,
  });
  return {
    viewer,
    peers,
    phases: () => states.map(({ phase }) => phase),
    state: () => states.at(-1),
    joins: () => joins,
    stops: () => stopped.length,
    stopped,
    shown,
    viewers,
    known,
    hears: (news: News, session = 0) => ears[session]?.(news),
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
  // For who has seen it, the class has not yet to begin.
  expect(story.state()).toMatchObject({ phase: "waiting", begun: true });
});

it("says that the teacher is away as soon as the node does, and goes on with them", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.viewer.onProgress(1_000);
  story.hears({ event: "inactive" });
  // What was on its way is still counted.
  await vi.advanceTimersByTimeAsync(900);
  story.viewer.onProgress(1_100);
  expect(story.state()?.phase).toBe("away");
  story.hears({ event: "active" });
  expect(story.state()?.phase).toBe("playing");
  expect(story.joins()).toBe(1);
});

it("believes its eyes when media comes and the node forgot to say so", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.hears({ event: "inactive" });
  await vi.advanceTimersByTimeAsync(5_000);
  story.viewer.onProgress(1_000);
  expect(story.state()?.phase).toBe("playing");
});

it("counts the viewers for as long as somebody tells", async () => {
  const story = watch();
  await story.viewer.join();
  story.hears({ event: "viewercount", viewers: 12 });
  story.viewer.leave();
  story.hears({ event: "viewercount", viewers: 13 });
  expect(story.viewers).toEqual([null, 12, null]);
});

it("moves off a node that drains without a moment of darkness", async () => {
  const draining = new Problem("draining", 503, "This node is about to go.", 5);
  const story = watch("joins", draining, "joins");
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.hears({ event: "reconnect", reason: "draining" });
  story.hears({ event: "reconnect", reason: "draining" });
  await vi.advanceTimersByTimeAsync(4_999);
  expect(story.joins()).toBe(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(story.joins()).toBe(3);
  story.peers[1]?.become("connected");
  // Connected is not enough: the old one plays until the new one has a picture.
  expect(story.shown).toEqual([0]);
  story.peers[1]?.hearsMedia();
  expect(story.shown).toEqual([0, 1]);
  expect(story.stopped).toEqual([0]);
  expect(story.phases()).toEqual(["joining", "playing"]);
  // Now it is the new one that counts.
  story.peers[0]?.become("failed");
  expect(story.state()?.phase).toBe("playing");
  story.peers[1]?.become("failed");
  expect(story.state()?.phase).toBe("reconnecting");
});

it("stays to the end on a node that drains when there is no other", async () => {
  const refused = new Problem("token-expired", 401, "Expired at 10:00.", null);
  const story = watch("joins", refused);
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.hears({ event: "reconnect", reason: "draining" });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(story.joins()).toBe(2);
  expect(story.state()?.phase).toBe("playing");
});

it("calls the move off when the user leaves", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.hears({ event: "reconnect", reason: "draining" });
  story.viewer.leave();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(story.stopped.toSorted()).toEqual([0, 1]);
  expect(story.joins()).toBe(2);
  expect(story.state()?.phase).toBe("left");
});

it("joins anew at once when the node has lost its media", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.hears({ event: "reconnect", reason: "gone" });
  await vi.advanceTimersByTimeAsync(0);
  story.peers[1]?.become("connected");
  expect(story.stopped).toEqual([0]);
  expect(story.phases()).toEqual(["joining", "playing", "reconnecting", "playing"]);
});

it("asks after a session that has gone silent, and joins anew when the node does not know it", async () => {
  const story = watch();
  await story.viewer.join();
  story.peers[0]?.become("connected");
  story.viewer.onProgress(1_000);
  const read = async (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      story.viewer.onProgress(1_000);
    }
  };
  // The control plane may be away itself: that says nothing of the session.
  story.known.lives = null;
  await read(8);
  expect(story.known.asked).toBe(2);
  expect(story.joins()).toBe(1);
  story.known.lives = false;
  await read(1);
  await vi.advanceTimersByTimeAsync(0);
  expect(story.joins()).toBe(2);
});

it("ends a session that was on its way when the user left", async () => {
  const story = watch();
  const joining = story.viewer.join();
  story.viewer.leave();
  await joining;
  expect(story.stops()).toBe(1);
  expect(story.phases()).toEqual(["joining", "left"]);
});
